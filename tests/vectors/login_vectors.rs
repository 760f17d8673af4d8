//! Every login answer of `login.json` and, bound to a host, of `login-v2.json`: read and verified as
//! the server does it, and by p256 as a second opinion.
//!
//! No server runs here: what a session makes of a bad answer is tested over a socket elsewhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these fail a test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::{Value, json};

use npchat::protocol::host::Host;
use npchat::protocol::id::RecipientId;
use npchat::protocol::login::Challenge;
use npchat::protocol::login::{self, Handshake, HandshakeError, Solution};
use npchat::protocol::signature;

/// The server's own signature is no part of the vectors: any will do, as nothing here compares it.
const CHALLENGE_SIGNATURE: [u8; 64] = [7; 64];

struct Vectors {
    text: [u8; 32],
    /// What the solutions are bound to, if to anything.
    host: Option<Host>,
    /// What a good solution is over.
    signed: Vec<u8>,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    id: RecipientId,
    public_key: String,
    solution: String,
    accept: bool,
}

impl Vectors {
    fn load() -> Self {
        Self::read(include_str!("login.json"))
    }

    fn load_bound_to_a_host() -> Self {
        Self::read(include_str!("login-v2.json"))
    }

    fn read(file: &str) -> Self {
        let file: Value = serde_json::from_str(file).unwrap();
        let bytes = |name: &str| file[name].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let text = bytes("txt").unwrap();
        Self {
            signed: bytes("signed_bytes").unwrap_or_else(|| text.clone()),
            text: text.try_into().unwrap(),
            host: file["host"].as_str().map(|host| Host::parse(host.as_bytes()).unwrap()),
            cases: file["cases"].as_array().unwrap().iter().map(Case::read).collect(),
        }
    }
}

impl Vectors {
    /// As the server verifies it.
    fn verify(&self, answer: &Solution) -> bool {
        let (key, text) = (&answer.public_key, &answer.challenge.text);
        match &self.host {
            Some(host) => signature::verify_for_host(key, host, text, &answer.solution),
            None => signature::verify(key, text, &answer.solution),
        }
    }

    fn check(&self) {
        for case in &self.cases {
            let accepted = case.parse(&self.text).is_ok_and(|solution| {
                assert_eq!(
                    solution.challenge,
                    Challenge {
                        text: self.text,
                        signature: CHALLENGE_SIGNATURE
                    }
                );
                solution.public_key.id() == case.id && self.verify(&solution)
            });
            assert_eq!(accepted, case.accept, "{}", case.name);
            assert_eq!(case.second_opinion(&self.signed), case.accept, "{}: p256", case.name);
        }
    }
}

impl Case {
    fn read(case: &Value) -> Self {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        Self {
            name: text("name"),
            id: RecipientId::parse(text("id").as_bytes()).unwrap(),
            public_key: text("publicKey"),
            solution: text("solution"),
            accept: case["accept"].as_bool().unwrap(),
        }
    }

    /// What a client with this answer sends.
    fn message(&self, text: &[u8]) -> String {
        json!({
            "publicKey": self.public_key,
            "challenge": { "txt": URL_SAFE_NO_PAD.encode(text), "sig": URL_SAFE_NO_PAD.encode(CHALLENGE_SIGNATURE) },
            "solution": self.solution,
        })
        .to_string()
    }

    fn parse(&self, text: &[u8]) -> Result<Box<Solution>, HandshakeError> {
        match login::parse(self.message(text).as_bytes())? {
            Some(Handshake::Solution(solution)) => Ok(solution),
            other => panic!("{}: read as {other:?}", self.name),
        }
    }

    /// The same answer without any of our code: p256, told to take no point but an uncompressed one.
    fn second_opinion(&self, signed: &[u8]) -> bool {
        let key = URL_SAFE_NO_PAD.decode(&self.public_key).unwrap();
        let solution = URL_SAFE_NO_PAD.decode(&self.solution).unwrap();
        key.first() == Some(&0x04)
            && VerifyingKey::from_sec1_bytes(&key).is_ok_and(|key| {
                Signature::from_slice(&solution).is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            })
    }
}

#[test]
fn every_answer_is_taken_or_refused_as_the_file_says_and_as_p256_says() {
    let vectors = Vectors::load();
    assert!(vectors.cases.len() >= 18);
    vectors.check();
}

#[test]
fn every_answer_for_a_host_is_taken_or_refused_as_the_file_says_and_as_p256_says() {
    let vectors = Vectors::load_bound_to_a_host();
    assert!(vectors.cases.len() >= 3);
    let host = vectors.host.as_ref().unwrap();
    let signed = [b"npchat/2 login\0", host.as_bytes(), b"\0", &vectors.text].concat();
    assert_eq!(signed, vectors.signed);
    vectors.check();
}

#[test]
fn an_answer_for_a_host_is_good_for_that_host_and_for_no_other_version() {
    let vectors = Vectors::load_bound_to_a_host();
    let case = vectors.cases.iter().find(|case| case.accept).unwrap();
    let answer = case.parse(&vectors.text).unwrap();
    for host in [
        "chat.example.org",
        "chat.example.org:8444",
        "chat.example.org.:8443",
        "hat.example.org:8443",
    ] {
        let host = Some(Host::parse(host.as_bytes()).unwrap());
        assert!(
            !Vectors {
                host,
                ..Vectors::load_bound_to_a_host()
            }
            .verify(&answer)
        );
    }
    assert!(!signature::verify(
        &answer.public_key,
        &answer.challenge.text,
        &answer.solution
    ));

    let bare = Vectors::load();
    for case in bare.cases.iter().filter(|case| case.accept) {
        let answer = case.parse(&bare.text).unwrap();
        let host = vectors.host.as_ref().unwrap();
        assert!(!signature::verify_for_host(
            &answer.public_key,
            host,
            &answer.challenge.text,
            &answer.solution
        ));
    }
}

#[test]
fn a_key_or_a_solution_of_the_wrong_form_is_told_apart() {
    let vectors = Vectors::load();
    let failure = |name: &str| {
        let case = vectors.cases.iter().find(|case| case.name == name).unwrap();
        case.parse(&vectors.text).err()
    };
    for name in [
        "key compressed (02)",
        "key hybrid (06)",
        "key 64 bytes",
        "key 66 bytes",
        "key empty",
        "key point at infinity",
    ] {
        assert_eq!(failure(name), Some(HandshakeError::BadKey), "{name}");
    }
    for name in ["63 bytes", "65 bytes", "empty"] {
        assert_eq!(failure(name), Some(HandshakeError::BadSolution), "{name}");
    }
    for name in [
        "r zero",
        "s = n",
        "signed by another key",
        "key off the curve",
        "key all zero coordinates",
    ] {
        assert_eq!(failure(name), None, "{name}: only its signature is bad");
    }
}

#[test]
fn an_answer_is_good_for_its_own_challenge_only() {
    let vectors = Vectors::load();
    for case in vectors.cases.iter().filter(|case| case.accept) {
        let solution = case.parse(&vectors.text).unwrap();
        let mut other_text = vectors.text;
        other_text[31] ^= 1;
        assert!(
            !signature::verify(&solution.public_key, &other_text, &solution.solution),
            "{}",
            case.name
        );
    }
}
