//! Cards, links and shareables: what is taken has one spelling, and is what a plain reading has.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use npchat::client::card::{Card, Introduction, Shareable};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(card) = Card::parse(bytes) {
        check_card(&card, bytes);
        let link = card.to_link("https://page.example/");
        assert_eq!(Introduction::parse(&link), Ok(Introduction::Card(card)));
    }
    // A shareable's JSON, so that a change of one byte is one of its text.
    let shareable = URL_SAFE_NO_PAD.encode(bytes);
    if let Ok(shareable) = Shareable::parse(&shareable) {
        check_shareable(&shareable, bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Introduction::parse(text) {
        Ok(Introduction::Card(card)) => assert!(text.trim().ends_with(&card.to_fragment())),
        Ok(Introduction::Shareable(shareable)) => {
            let again = shareable.0.to_shareable();
            assert_eq!(Shareable::parse(&again), Ok(shareable));
        }
        Err(_) => {}
    }
});

fn check_card(card: &Card, bytes: &[u8]) {
    assert_eq!(card.to_bytes(), bytes);
    let length = usize::from(bytes[131]);
    for (key, at) in [(card.auth.as_bytes(), 1), (card.dh.as_bytes(), 66)] {
        assert_eq!(key, &bytes[at..at + 65]);
        assert!(p256::PublicKey::from_sec1_bytes(key).is_ok());
    }
    assert_eq!(card.origin.as_str().as_bytes(), &bytes[132..132 + length]);
    let rest = &bytes[132 + length..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    assert_eq!(card.name.as_str().as_bytes(), &rest[..end]);
    assert_eq!(card.pass.as_ref().map(|pass| &pass.as_bytes()[..]), rest.get(end + 1..));
    check_words(card);
}

fn check_words(card: &Card) {
    assert!(card.name.as_str().len() <= 64 && !card.name.as_str().contains('\0'));
    let origin = card.origin.as_str();
    assert!(origin.starts_with("http://") || origin.starts_with("https://"));
    assert!(!origin.ends_with('/') && origin.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!origin.contains(['#', '?', '\\', '"', '<', '>']), "{origin}");
    let scheme = if card.origin.is_https() { "https" } else { "http" };
    let (authority, path) = (card.origin.authority(), card.origin.path());
    assert_eq!(format!("{scheme}://{authority}{path}"), origin);
    assert!(!authority.contains('@') && (path.is_empty() || path.starts_with('/')));
}

fn check_shareable(shareable: &Shareable, json: &[u8]) {
    let Shareable(card) = shareable;
    let document: Value = serde_json::from_slice(json).expect("it was read before");
    let contact = &document["contact"];
    assert_eq!(contact["name"], card.name.as_str());
    assert_eq!(contact["origin"], card.origin.as_str());
    for (name, key) in [("auth", card.auth.as_bytes()), ("dh", card.dh.as_bytes())] {
        assert_eq!(contact["keys"][name]["base64"], URL_SAFE_NO_PAD.encode(key));
    }
    check_words(card);
    assert_eq!(Shareable::parse(&card.to_shareable()).as_ref(), Ok(shareable));
    assert_eq!(Card::parse(&card.to_bytes()).as_ref(), Ok(card));
}
