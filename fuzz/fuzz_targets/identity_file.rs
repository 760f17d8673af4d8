//! Identity files and npchat-web's exports: what is taken is written again as the same identity.
//!
//! Without a passphrase: to try one takes a tenth of a second, on purpose.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

use npchat::client::identity::Identity;
use npchat::client::identity::file::{FILE_MAX_BYTES, FileError, is_sealed};
use npchat::client::identity::web::Export;

fuzz_target!(|bytes: &[u8]| {
    let parsed = Identity::parse(bytes, None);
    if let Ok(is_sealed) = is_sealed(bytes) {
        assert_eq!(parsed.as_ref().err() == Some(&FileError::PassphraseNeeded), is_sealed);
    }
    if let Ok(identity) = parsed {
        check(&identity);
    }
    // An export's JSON, so that a change of one byte is one of its text.
    if let Ok(export) = Export::parse(&URL_SAFE_NO_PAD.encode(bytes)) {
        check(&export.identity);
        for contact in export.contacts {
            assert!(!contact.0.name.as_str().is_empty());
        }
    }
});

fn check(identity: &Identity) {
    let written = identity.to_bytes(None).expect("random numbers aren't needed");
    assert!(written.len() <= FILE_MAX_BYTES);
    let again = Identity::parse(&written, None).expect("it was just written");
    assert_eq!(again.card(None), identity.card(None));
    let since = |identity: &Identity| identity.dh_keys().map(|key| key.since_ms()).collect::<Vec<_>>();
    assert_eq!(since(&again), since(identity));
    assert!(since(identity).is_sorted_by(|newer, older| newer >= older));
    assert_eq!(again.to_bytes(None).expect("as before")[..], written[..]);
    for key in identity.dh_keys() {
        assert!(p256::PublicKey::from_sec1_bytes(key.public().as_bytes()).is_ok());
    }
}
