//! The vectors of both envelopes, made by `WebCrypto`.

use serde_json::Value;

use npchat::client::card::{ComparingDigits, Introduction};
use npchat::client::content::{Body, Content, MessageHash};
use npchat::client::identity::Identity;
use npchat::client::identity::file::Passphrase;
use npchat::client::{envelope1, envelope2};

use crate::hpke;
use crate::people::{decode, encode, fixed, identity};

struct Vectors {
    file: Value,
    people: Vec<Identity>,
}

impl Vectors {
    fn load(text: &str) -> Self {
        let file: Value = serde_json::from_str(text).unwrap();
        let people = file["identities"].as_array().unwrap().iter().map(identity).collect();
        Self { file, people }
    }

    fn v1() -> Self {
        Self::load(include_str!("../vectors/envelope-v1.json"))
    }

    fn v2() -> Self {
        Self::load(include_str!("../vectors/envelope-v2.json"))
    }

    fn messages(&self) -> &[Value] {
        self.file["messages"].as_array().unwrap()
    }

    fn person(&self, name: &Value) -> &Identity {
        let is_named = |person: &&Identity| Some(person.name().as_str()) == name.as_str();
        self.people.iter().find(is_named).unwrap()
    }
}

#[test]
fn every_vector_of_envelope_v2_opens_to_its_content_and_hash() {
    let vectors = Vectors::v2();
    assert!(vectors.messages().len() >= 11);
    for message in vectors.messages() {
        let opened = envelope2::open(vectors.person(&message["to"]), &decode(&message["envelope"])).unwrap();
        let content = message["content"].as_str().unwrap();
        assert_eq!(opened.sender, *vectors.person(&message["from"]).public_key());
        assert_eq!(opened.hash.to_string(), message["h"].as_str().unwrap());
        assert_eq!(opened.bytes, content.as_bytes());
        assert_eq!(opened.content, Content::parse(content.as_bytes()).unwrap());
        assert_eq!(opened.hash, MessageHash::of(&opened.sender, &opened.bytes));
        if opened.content.body != Body::Unknown {
            // `JSON.stringify` has written the same bytes as we do.
            assert_eq!(opened.content.to_bytes(), opened.bytes);
        }
    }
}

#[test]
fn every_vector_of_envelope_v2_is_made_again_byte_for_byte_by_a_second_implementation_of_hpke() {
    let vectors = Vectors::v2();
    for message in vectors.messages() {
        let [from, to] = ["from", "to"].map(|side| vectors.person(&message[side]));
        let content = message["content"].as_str().unwrap();
        let sender = from.public_key().as_bytes();
        let mut plaintext = [&decode(&message["s"])[..], sender, content.as_bytes()].concat();
        plaintext.resize(plaintext.len().next_multiple_of(256), b' ');
        let ephemeral = fixed(&message["skE"]);
        let recipient = to.dh().public().as_bytes();
        let (enc, ciphertext) = hpke::seal::<32>(&ephemeral, recipient, b"npchat/2 envelope\0", b"", &plaintext);
        let envelope = [&[2], &enc[..], &ciphertext].concat();
        assert_eq!(
            encode(&envelope),
            message["envelope"].as_str().unwrap(),
            "{}",
            message["about"]
        );
    }
}

#[test]
fn cards_and_comparing_digits_are_those_of_the_vectors() {
    let vectors = Vectors::v2();
    for card in vectors.file["cards"].as_array().unwrap() {
        let text = card["card"].as_str().unwrap();
        let own = vectors.person(&card["of"]).card(None);
        assert_eq!(own.to_fragment(), text);
        assert_eq!(Introduction::parse(text), Ok(Introduction::Card(own)));
    }
    let [alice, bob] = ["alice", "bob"].map(|name| vectors.person(&name.into()).card(None));
    let digits = ComparingDigits::of((&alice.auth, &alice.dh), (&bob.auth, &bob.dh));
    assert_eq!(digits.to_string(), vectors.file["comparing_digits"].as_str().unwrap());
    let other_side = ComparingDigits::of((&bob.auth, &bob.dh), (&alice.auth, &alice.dh));
    assert_eq!(other_side, digits);
    // The digits cover the key that is sealed to, which the id doesn't.
    let altered = ComparingDigits::of((&alice.auth, &bob.dh), (&bob.auth, &bob.dh));
    assert_ne!(altered, digits);
}

#[test]
fn an_identity_file_of_a_browser_opens_plain_and_sealed() {
    let vectors = Vectors::v2();
    let file = &vectors.file["identity_file"];
    let [plain, sealed, passphrase] = ["plain", "sealed", "passphrase"].map(|name| file[name].as_str().unwrap());
    let passphrase = Passphrase::new(passphrase.into()).unwrap();
    let own = vectors.person(&file["of"]);
    for identity in [
        Identity::parse(plain.as_bytes(), None).unwrap(),
        Identity::parse(sealed.as_bytes(), Some(&passphrase)).unwrap(),
    ] {
        assert_eq!(identity.card(None), own.card(None));
        let written = identity.to_bytes(None).unwrap();
        assert_eq!(written.strip_suffix(b"\n"), Some(plain.as_bytes()));
    }
}

#[test]
fn every_vector_of_envelope_v1_opens_and_the_chain_runs_through_them() {
    let vectors = Vectors::v1();
    assert!(vectors.messages().len() >= 5);
    let mut previous = None;
    for message in vectors.messages() {
        let envelope = message["envelope"].as_str().unwrap().as_bytes();
        let [from, to] = ["from", "to"].map(|side| vectors.person(&message[side]));
        let opened = envelope1::open(to, &from.card(None), envelope).unwrap();
        let text = message["plaintext"].as_str().unwrap();
        assert_eq!(opened.message, envelope1::Message::Text(text.into()));
        assert_eq!(opened.hash.to_string(), message["hash"].as_str().unwrap());
        assert_eq!(opened.previous, previous);
        assert_eq!(envelope1::claimed_sender(envelope), Some(from.id()));
        previous = Some(opened.hash);
    }
}

#[test]
fn the_shareables_of_the_vectors_are_read_and_written_alike() {
    let vectors = Vectors::v1();
    for (name, shareable) in vectors.file["shareables"].as_object().unwrap() {
        let text = shareable.as_str().unwrap();
        let person = vectors.person(&name.as_str().into());
        let link = format!("https://page.example/#{text}");
        let Ok(Introduction::Shareable(shareable)) = Introduction::parse(&link) else {
            panic!("no shareable of {name}");
        };
        assert_eq!(shareable.0.id(), person.id());
        assert_eq!(shareable.0.dh, *person.dh().public());
        assert_eq!(shareable.0.origin.as_str(), "http://127.0.0.1:8000");
        assert_eq!(shareable.0.to_shareable(), text);
    }
}
