//! Envelopes v1: both directions, what npchat-web would drop, and what is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use npchat::client::content::MessageHash;
use npchat::client::envelope1::{ENVELOPE_MAX_BYTES, Message, OpenError, claimed_sender, open, seal};
use npchat::client::identity::Identity;
use npchat::client::seal_error::SealError;

use crate::people::{NOW_MS, encode, stranger};

const HASH: [u8; 32] = [7; 32];

fn post(from: &Identity, to: &Identity, text: &str) -> Vec<u8> {
    seal(from, &to.card(None), &Message::Text(text.into()), None, NOW_MS)
        .unwrap()
        .bytes
}

/// What arrives of a text.
fn arrive(text: &str) -> Message {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    open(&bob, &alice.card(None), &post(&alice, &bob, text))
        .unwrap()
        .message
}

#[test]
fn a_message_goes_both_ways_with_its_place_in_the_chain() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let previous = Some(MessageHash::from_bytes(HASH));
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        for message in [
            Message::Text("ünïcödé 🚀".into()),
            Message::Resend(MessageHash::from_bytes(HASH)),
        ] {
            let sealed = seal(from, &to.card(None), &message, previous, NOW_MS).unwrap();
            let opened = open(to, &from.card(None), &sealed.bytes).unwrap();
            assert_eq!((opened.message, opened.previous), (message, previous));
            assert_eq!((opened.hash, opened.time_ms), (sealed.hash, NOW_MS));
            // From the own side, as when a contact posts it again.
            let own = open(from, &to.card(None), &sealed.bytes);
            assert_eq!(own, Err(OpenError::OtherSender(from.id())));
        }
    }
}

#[test]
fn a_text_that_is_json_gets_a_space_without_width_at_its_end() {
    for text in [
        "42",
        "-1.5e3",
        "true",
        "\"hi\"",
        "{}",
        "[1]",
        " {\"a\":[]} ",
        "\u{feff}42",
        "1e999",
        "\"\\ud800\"",
    ] {
        assert_eq!(arrive(text), Message::Text(format!("{text}\u{200b}")), "{text}");
    }
    for text in [
        "",
        "null",
        " null ",
        "hello",
        "4 2",
        "{",
        "{a:1}",
        "'hi'",
        "undefined",
        "NaN",
        "\u{a0}1",
    ] {
        assert_eq!(arrive(text), Message::Text(text.into()), "{text}");
    }
}

#[test]
fn a_request_is_one_hash_and_nothing_else() {
    let hash = encode(&HASH);
    let typed = format!(r#"{{"resend":"{hash}"}}"#);
    assert_eq!(arrive(&typed), Message::Text(format!("{typed}\u{200b}")));
    // npchat-web seals what is typed as it is.
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let request = Message::Resend(MessageHash::from_bytes(HASH));
    let sealed = seal(&alice, &bob.card(None), &request, None, NOW_MS).unwrap();
    assert_eq!(open(&bob, &alice.card(None), &sealed.bytes).unwrap().message, request);
}

/// The envelope with one member changed.
fn altered(envelope: &[u8], member: &str, value: Option<Value>) -> Vec<u8> {
    let mut members: BTreeMap<String, Value> = serde_json::from_slice(envelope).unwrap();
    match value {
        Some(value) => members.insert(member.into(), value),
        None => members.remove(member),
    };
    serde_json::to_vec(&members).unwrap()
}

#[test]
fn an_envelope_with_any_bit_flipped_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let envelope = post(&alice, &bob, "hello");
    let card = alice.card(None);
    assert!(open(&bob, &card, &envelope).is_ok());
    // In another order, with a member more, and with white space, it is the same.
    let again = altered(&envelope, "later", Some(1.into()));
    assert!(open(&bob, &card, &[&again[..], b"\n"].concat()).is_ok());
    for bit in 0..8 * envelope.len() {
        let mut altered = envelope.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&bob, &card, &altered).is_err(), "bit {bit}");
    }
}

#[test]
fn both_hashes_and_the_signature_are_checked() {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(stranger);
    let envelope = post(&alice, &bob, "hello");
    let refused = |envelope: &[u8]| open(&bob, &alice.card(None), envelope).unwrap_err();
    let hash = || Some(Value::from(encode(&HASH)));
    assert_eq!(refused(&altered(&envelope, "h", hash())), OpenError::WrongHash);
    assert_eq!(refused(&altered(&envelope, "p", hash())), OpenError::WrongHash);
    assert_eq!(refused(&altered(&envelope, "t", Some(1.into()))), OpenError::WrongHash);
    let signature = alice.sign(b"something else").unwrap();
    let signature = Some(Value::from(encode(&signature)));
    assert_eq!(refused(&altered(&envelope, "s", signature)), OpenError::WrongSignature);
    // What carol says is alice's.
    let forged = altered(&post(&carol, &bob, "hello"), "f", Some(alice.id().to_string().into()));
    assert_eq!(refused(&forged), OpenError::WrongHash);
    assert_eq!(
        refused(&post(&carol, &bob, "hello")),
        OpenError::OtherSender(carol.id())
    );
    // To another recipient, with the sender's signature.
    assert_eq!(refused(&post(&alice, &carol, "hello")), OpenError::NotForUs);
}

#[test]
fn a_member_that_is_missing_or_malformed_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let envelope = post(&alice, &bob, "hello");
    let open = |envelope: &[u8]| open(&bob, &alice.card(None), envelope);
    for member in ["t", "iv", "m", "f", "h", "s"] {
        for value in [
            None,
            Some(Value::Null),
            Some("".into()),
            Some(1.5.into()),
            Some("AAAA=".into()),
        ] {
            let envelope = altered(&envelope, member, value);
            // An empty ciphertext is base64url of nothing: its hash is another one.
            let error = open(&envelope).unwrap_err();
            assert!(
                matches!(error, OpenError::Malformed | OpenError::WrongHash),
                "{member}: {error:?}"
            );
        }
    }
    assert_eq!(
        open(&altered(&envelope, "p", Some(Value::Null))),
        Err(OpenError::Malformed)
    );
    for text in ["", "{}", "[]", "null", "hello"] {
        assert_eq!(open(text.as_bytes()), Err(OpenError::Malformed));
        assert_eq!(claimed_sender(text.as_bytes()), None);
    }
}

#[test]
fn a_text_over_what_a_relay_takes_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let seal = |length: usize| {
        let message = Message::Text("x".repeat(length));
        seal(&alice, &bob.card(None), &message, None, NOW_MS).map(|sealed| sealed.bytes.len())
    };
    assert!(seal(48_800).unwrap() <= ENVELOPE_MAX_BYTES);
    assert_eq!(seal(49_152), Err(SealError::TooLong));
}
