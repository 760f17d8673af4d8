//! Identity files: what is written is read, and nothing else is.

use zeroize::Zeroize;

use super::*;
use crate::client::identity::KeyError;

fn identity() -> Identity {
    let name = Name::parse("Zoë \"Z\"").unwrap();
    let relay = Origin::parse("https://relay.example").unwrap();
    let mut identity = Identity::generate(name, relay, 1_793_000_000_000).unwrap();
    identity.renew_dh(1_793_000_000_001).unwrap();
    identity
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.into()).unwrap()
}

fn assert_same(one: &Identity, other: &Identity) {
    assert_eq!(one.card(None), other.card(None));
    let keys = |identity: &Identity| -> Vec<_> {
        let keys = identity.dh_keys();
        keys.map(|key| (*key.public().as_bytes(), *key.scalar(), key.since_ms()))
            .collect()
    };
    assert_eq!(keys(one), keys(other));
    assert_eq!(one.auth.scalar(), other.auth.scalar());
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn an_identity_is_read_back_as_it_was_written_with_and_without_a_passphrase() {
    let identity = identity();
    let plain = identity.to_bytes(None).unwrap();
    assert_same(&Identity::parse(&plain, None).unwrap(), &identity);
    assert_same(&Identity::parse(&plain, Some(&passphrase("x"))).unwrap(), &identity);
    assert_eq!(is_sealed(&plain), Ok(false));

    let sealed = identity.to_bytes(Some(&passphrase("pass"))).unwrap();
    assert_same(&Identity::parse(&sealed, Some(&passphrase("pass"))).unwrap(), &identity);
    assert_eq!(is_sealed(&sealed), Ok(true));
    assert_eq!(Identity::parse(&sealed, None).err(), Some(FileError::PassphraseNeeded));
    let wrong = Identity::parse(&sealed, Some(&passphrase("Pass")));
    assert_eq!(wrong.err(), Some(FileError::WrongPassphrase));
    // Nothing of the keys, and other random numbers each time.
    let again = identity.to_bytes(Some(&passphrase("pass"))).unwrap();
    assert_ne!(sealed, again);
    assert!(!String::from_utf8_lossy(&sealed).contains("Zoë"));
}

#[test]
fn a_file_with_as_many_keys_as_there_can_be_is_read() {
    let mut identity = identity();
    identity.set_name(Name::parse(&"\u{1}".repeat(64)).unwrap());
    identity.set_relay(Origin::parse(&format!("https://a/{}", "b".repeat(245))).unwrap());
    for now in 0..2 * DH_KEYS_MAX as u64 {
        identity.renew_dh(1_793_000_000_002 + now).unwrap();
    }
    assert_eq!(identity.dh_keys().count(), DH_KEYS_MAX);
    let sealed = identity.to_bytes(Some(&passphrase("pass"))).unwrap();
    assert!(sealed.len() <= FILE_MAX_BYTES);
    assert_same(&Identity::parse(&sealed, Some(&passphrase("pass"))).unwrap(), &identity);
}

#[test]
fn a_sealed_file_that_was_altered_does_not_open() {
    let sealed = identity().to_bytes(Some(&passphrase("pass"))).unwrap();
    let document = Json::parse(&sealed).unwrap();
    for member in ["salt", "iv", "sealed"] {
        let text = document.text(member).unwrap();
        let altered = if text.starts_with('A') { "B" } else { "A" }.to_owned() + &text[1..];
        let altered = replaced(&sealed, text, &altered);
        let opened = Identity::parse(&altered, Some(&passphrase("pass")));
        assert_eq!(opened.err(), Some(FileError::WrongPassphrase), "{member}");
    }
    let altered = replaced(&sealed, "600000", "600001");
    let opened = Identity::parse(&altered, Some(&passphrase("pass")));
    assert_eq!(opened.err(), Some(FileError::WrongPassphrase));
}

#[test]
fn rounds_are_neither_less_than_ours_nor_without_end() {
    let sealed = identity().to_bytes(Some(&passphrase("pass"))).unwrap();
    for rounds in [
        "599999",
        "1",
        "0",
        "-600000",
        "600000.0",
        "50000001",
        "4294967296",
        "null",
    ] {
        let altered = replaced(&sealed, "600000", rounds);
        let opened = Identity::parse(&altered, Some(&passphrase("pass")));
        assert_eq!(opened.err(), Some(FileError::Malformed), "{rounds}");
    }
    let altered = replaced(&sealed, KDF, "argon2id");
    let opened = Identity::parse(&altered, Some(&passphrase("pass")));
    assert_eq!(opened.err(), Some(FileError::UnknownVersion));
}

#[test]
fn keys_that_do_not_belong_together_are_refused() {
    let plain = identity().to_bytes(None).unwrap();
    let other = identity().to_bytes(None).unwrap();
    let [document, other] = [&plain, &other].map(|bytes| Json::parse(bytes).unwrap());
    let member = |document: &Json, kind: &str, name: &str| {
        let keys = document.member(kind).unwrap();
        let keys = keys.as_array().map_or(keys, |keys| &keys[0]);
        keys.text(name).unwrap().to_owned()
    };
    for kind in ["auth", "dh"] {
        for name in ["public", "private"] {
            let altered = replaced(&plain, &member(&document, kind, name), &member(&other, kind, name));
            assert_eq!(
                Identity::parse(&altered, None).err(),
                Some(FileError::BadKey),
                "{kind} {name}"
            );
        }
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        let altered = replaced(&plain, &member(&document, kind, "private"), &zero);
        assert_eq!(Identity::parse(&altered, None).err(), Some(FileError::BadKey), "{kind}");
    }
}

#[test]
fn what_is_no_identity_file_is_refused() {
    let plain = identity().to_bytes(None).unwrap();
    let refused = |bytes: &[u8]| Identity::parse(bytes, None).err();
    assert_eq!(
        refused(&replaced(&plain, "\"version\":1", "\"version\":2")),
        Some(FileError::UnknownVersion)
    );
    for (from, to) in [
        ("identity", "something"),
        ("\"version\":1", "\"version\":\"1\""),
        ("\"version\":1,", ""),
        ("https://relay.example", "relay.example"),
        ("\"name\"", "\"Name\""),
        ("\"since\":1793000000001", "\"since\":-1"),
        ("\"auth\"", "\"x\""),
        ("\"dh\"", "\"x\""),
        ("\"private\"", "\"public\""),
        ("}\n", "} x"),
    ] {
        assert_eq!(
            refused(&replaced(&plain, from, to)),
            Some(FileError::Malformed),
            "{from}"
        );
    }
    let no_keys = replaced(&plain, "\"dh\":[", "\"dh\":[],\"older\":[");
    assert_eq!(refused(&no_keys), Some(FileError::Malformed));
    for bytes in [&b""[..], b"{}", b"\xff", &vec![b' '; FILE_MAX_BYTES + 1]] {
        assert_eq!(refused(bytes), Some(FileError::Malformed));
        assert!(is_sealed(bytes).is_err());
    }
    for length in 0..plain.len() - 1 {
        assert_eq!(refused(&plain[..length]), Some(FileError::Malformed), "{length}");
    }
}

#[test]
fn what_is_read_can_be_erased_and_no_debug_form_shows_a_secret() {
    let identity = identity();
    let plain = identity.to_bytes(None).unwrap();
    let mut document = Json::parse(&plain).unwrap();
    document.zeroize();
    let shown = format!("{document:?} {identity:?} {:?}", passphrase("secret"));
    assert!(!shown.contains("secret"));
    let private = URL_SAFE_NO_PAD.encode(identity.dh().scalar());
    assert!(String::from_utf8_lossy(&plain).contains(&private) && !shown.contains(&private));
    assert_eq!(KeyError::BadScalar.to_string().lines().count(), 1);
}

#[test]
fn a_passphrase_has_1_to_1024_bytes() {
    assert!(Passphrase::new(String::new()).is_none());
    assert!(Passphrase::new("x".repeat(PASSPHRASE_MAX_BYTES)).is_some());
    assert!(Passphrase::new("x".repeat(PASSPHRASE_MAX_BYTES + 1)).is_none());
}
