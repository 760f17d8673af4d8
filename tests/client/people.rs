//! Alice and Bob of the vectors, others made at random, and base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use npchat::client::content::{Body, Content, Heads};
use npchat::client::identity::{AgreementSecret, Identity, SigningSecret};
use npchat::client::names::{Name, Origin};

/// When all keys of the vectors came into use, and their first message was written.
pub(crate) const NOW_MS: u64 = 1_793_000_000_000;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

pub(crate) fn fixed<const N: usize>(text: &Value) -> [u8; N] {
    decode(text).try_into().unwrap()
}

pub(crate) fn relay() -> Origin {
    Origin::parse("https://relay.example").unwrap()
}

/// Of `identities` in a file of vectors.
pub(crate) fn identity(value: &Value) -> Identity {
    let name = Name::parse(value["name"].as_str().unwrap()).unwrap();
    let auth = SigningSecret::from_scalar(&fixed(&value["auth"]["private_scalar"])).unwrap();
    let dh = AgreementSecret::from_scalar(&fixed(&value["dh"]["private_scalar"]), NOW_MS).unwrap();
    let identity = Identity::from_keys(name, relay(), auth, vec![dh]).unwrap();
    assert_eq!(identity.id().to_string(), value["id"].as_str().unwrap());
    assert_eq!(
        identity.public_key().as_bytes().to_vec(),
        decode(&value["auth"]["public"])
    );
    assert_eq!(
        identity.dh().public().as_bytes().to_vec(),
        decode(&value["dh"]["public"])
    );
    identity
}

pub(crate) fn stranger(name: &str) -> Identity {
    Identity::generate(Name::parse(name).unwrap(), relay(), NOW_MS).unwrap()
}

/// A text with no heads.
pub(crate) fn text(to: &Identity, text: &str) -> Content {
    Content {
        time_ms: NOW_MS,
        to: to.id(),
        heads: Heads::default(),
        body: Body::Text(text.into()),
        card: None,
    }
}
