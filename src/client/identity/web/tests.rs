//! An export as npchat-web makes it.

use super::*;

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn jwk(scalar: &[u8; 32], public: &[u8; 65]) -> String {
    let [d, x, y] = [&scalar[..], &public[1..33], &public[33..]].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    format!(r#"{{"key_ops":["sign"],"ext":true,"kty":"EC","x":"{x}","y":"{y}","crv":"P-256","d":"{d}"}}"#)
}

fn pair(scalar: &[u8; 32], public: &[u8; 65]) -> String {
    let private = encode(&jwk(scalar, public));
    format!(
        r#"{{"base64":{{"publicKey":"{}","privateKey":"{private}"}}}}"#,
        URL_SAFE_NO_PAD.encode(public)
    )
}

/// The JSON of an export, and the identity in it.
fn export() -> (String, Identity) {
    let name = Name::parse("Anonymous").unwrap();
    let origin = Origin::parse("https://axl.npchat.org").unwrap();
    let identity = Identity::generate(name, origin, 7).unwrap();
    let contact = Identity::generate(Name::parse("bob").unwrap(), identity.relay().clone(), 7).unwrap();
    let contact = URL_SAFE_NO_PAD.decode(contact.card(None).to_shareable()).unwrap();
    let contact = String::from_utf8(contact).unwrap();
    let contact = contact
        .strip_prefix(r#"{"contact":"#)
        .unwrap()
        .strip_suffix('}')
        .unwrap();
    let auth = pair(&identity.auth.scalar(), identity.public_key().as_bytes());
    let dh = pair(&identity.dh().scalar(), identity.dh().public().as_bytes());
    let words = r#""name":"Anonymous","origin":"https://axl.npchat.org""#;
    let json = format!(r#"{{"keys":{{"auth":{auth},"dh":{dh}}},{words},"contacts":[{contact},{{}}]}}"#);
    (json, identity)
}

#[test]
fn an_export_has_the_keys_the_name_the_relay_and_the_contacts() {
    let (json, identity) = export();
    for link in [encode(&json), format!(" https://web.npchat.org#{}\n", encode(&json))] {
        let export = Export::parse(&link).unwrap();
        assert_eq!(export.identity.card(None), identity.card(None));
        assert_eq!(export.identity.auth.scalar(), identity.auth.scalar());
        assert_eq!(export.identity.dh().scalar(), identity.dh().scalar());
        let [Shareable(contact)] = &export.contacts[..] else {
            panic!("{} contacts", export.contacts.len());
        };
        assert_eq!(contact.name.as_str(), "bob");
    }
    let shown = format!("{:?}", Export::parse(&encode(&json)));
    assert!(!shown.contains(&URL_SAFE_NO_PAD.encode(identity.dh().scalar())));
}

#[test]
fn an_export_that_is_malformed_is_refused() {
    let (json, identity) = export();
    let refused = |json: &str| Export::parse(&encode(json)).err();
    for (from, to) in [
        ("keys", "x"),
        ("Anonymous", "\\u0000"),
        ("https://axl.npchat.org", "axl"),
        ("publicKey", "x"),
    ] {
        assert_eq!(
            refused(&json.replacen(from, to, 1)),
            Some(FileError::Malformed),
            "{from}"
        );
    }
    let other = URL_SAFE_NO_PAD.encode(identity.public_key().as_bytes());
    let own = URL_SAFE_NO_PAD.encode(identity.dh().public().as_bytes());
    assert_eq!(refused(&json.replacen(&own, &other, 1)), Some(FileError::BadKey));
    assert_eq!(refused(&json.replacen(&other, &own, 1)), Some(FileError::BadKey));
    let zero = pair(&[0; 32], identity.dh().public().as_bytes());
    let dh = pair(&identity.dh().scalar(), identity.dh().public().as_bytes());
    assert_eq!(refused(&json.replacen(&dh, &zero, 1)), Some(FileError::BadKey));
    for link in ["", "#", "hello!", &"x".repeat(EXPORT_MAX_BYTES + 1)] {
        assert_eq!(Export::parse(link).err(), Some(FileError::Malformed));
    }
}
