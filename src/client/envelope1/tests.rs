//! Vectors made again, their random numbers given.

use super::*;
use crate::client::identity::SigningSecret;
use crate::client::names::{Name, Origin};

fn fixed<const N: usize>(text: &serde_json::Value) -> [u8; N] {
    URL_SAFE_NO_PAD
        .decode(text.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}

fn identity(value: &serde_json::Value) -> Identity {
    let auth = SigningSecret::from_scalar(&fixed(&value["auth"]["private_scalar"])).unwrap();
    let dh = AgreementSecret::from_scalar(&fixed(&value["dh"]["private_scalar"]), 0).unwrap();
    let name = Name::parse(value["name"].as_str().unwrap()).unwrap();
    let relay = Origin::parse("http://127.0.0.1:8000").unwrap();
    Identity::from_keys(name, relay, auth, vec![dh]).unwrap()
}

#[test]
fn every_vector_is_made_again_but_for_its_signature() {
    let file = include_str!("../../../tests/vectors/envelope-v1.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let people: Vec<_> = file["identities"].as_array().unwrap().iter().map(identity).collect();
    let named = |name: &serde_json::Value| {
        let is_named = |person: &&Identity| Some(person.name().as_str()) == name.as_str();
        people.iter().find(is_named).unwrap()
    };
    for message in file["messages"].as_array().unwrap() {
        let text = message["envelope"].as_str().unwrap();
        let envelope: serde_json::Value = serde_json::from_str(text).unwrap();
        let previous = envelope["p"]
            .as_str()
            .map(|hash| MessageHash::parse(hash.as_bytes()).unwrap());
        let (from, to) = (named(&message["from"]), named(&message["to"]));
        let shared = from.dh().agree(to.dh().public()).unwrap();
        assert_eq!(*shared, fixed(&message["shared_x"]));
        let key = agree(from.dh(), to.dh().public()).unwrap();
        let plaintext = message["plaintext"].as_str().unwrap();
        let time_ms = envelope["t"].as_u64().unwrap();
        let sealed = seal_with(from, &key, plaintext, previous, time_ms, fixed(&envelope["iv"])).unwrap();
        // ES256 has a random number of its own; it stands at the end.
        let unsigned = |text: &str| text.split_once(r#""s":""#).map(|(before, _)| before.to_owned());
        let bytes = String::from_utf8(sealed.bytes).unwrap();
        assert_eq!(unsigned(&bytes), unsigned(text));
        assert_eq!(bytes.len(), text.len());
        assert_eq!(sealed.hash.to_string(), message["hash"].as_str().unwrap());
    }
}
