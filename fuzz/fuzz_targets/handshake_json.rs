//! Handshakes: the same that a plain reading of `serde_json`'s value has, and no member twice.

#![no_main]

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use npchat::protocol::id::PublicKey;
use npchat::protocol::login::{
    self, Challenge, HANDSHAKE_MAX_BYTES, Handshake, HandshakeError, JSON_MAX_DEPTH, Solution,
};

fuzz_target!(|text: &[u8]| {
    let parsed = login::parse(text);
    assert_eq!(parsed, expected(text));
    if parsed.is_ok() {
        check_order(text, &parsed);
    }
});

/// The members may come in any order, and with any white space between them.
fn check_order(text: &[u8], parsed: &Result<Option<Handshake>, HandshakeError>) {
    let value: Value = serde_json::from_slice(text).expect("it was read before");
    // A map of values is sorted by name.
    for again in [serde_json::to_vec(&value), serde_json::to_vec_pretty(&value)] {
        let again = again.expect("a value can be written");
        // Numbers may get longer.
        if again.len() <= HANDSHAKE_MAX_BYTES {
            assert_eq!(login::parse(&again), *parsed);
        }
    }
}

fn expected(text: &[u8]) -> Result<Option<Handshake>, HandshakeError> {
    if text.len() > HANDSHAKE_MAX_BYTES {
        return Err(HandshakeError::Malformed);
    }
    let value: Value = serde_json::from_slice(text).map_err(|_| HandshakeError::Malformed)?;
    let text = str::from_utf8(text).expect("JSON is UTF-8");
    if depth(&value) > JSON_MAX_DEPTH.into() || Names::any_twice(text) {
        return Err(HandshakeError::Malformed);
    }
    let members = ["publicKey", "challenge", "solution"].map(|name| value.get(name));
    let request = value.get("get");
    if members == [None; 3] {
        let wanted = request.and_then(Value::as_str) == Some("challenge");
        return Ok(wanted.then_some(Handshake::ChallengeRequest));
    }
    if request.is_some() {
        return Err(HandshakeError::Malformed);
    }
    let [public_key, challenge, solution] = members;
    let public_key = bytes::<65>(public_key).and_then(|key| PublicKey::from_sec1(&key));
    let public_key = public_key.ok_or(HandshakeError::BadKey)?;
    let part = |name: &str| challenge.and_then(|challenge| challenge.get(name));
    let (Some(text), Some(signature)) = (bytes(part("txt")), bytes(part("sig"))) else {
        return Err(HandshakeError::BadChallenge);
    };
    let challenge = Challenge { text, signature };
    let solution = bytes(solution).ok_or(HandshakeError::BadSolution)?;
    Ok(Some(Handshake::Solution(Box::new(Solution {
        public_key,
        challenge,
        solution,
    }))))
}

/// Canonical base64url: what these bytes are written as.
fn bytes<const N: usize>(value: Option<&Value>) -> Option<[u8; N]> {
    let text = value?.as_str()?;
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    (URL_SAFE_NO_PAD.encode(bytes) == text).then_some(bytes)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Walks a text that is known to be JSON, and collects the names of each object that it is in.
#[derive(Default)]
struct Names {
    /// `None` stands for an array.
    open: Vec<Option<BTreeSet<String>>>,
    /// The next string in this object is a name.
    at_name: bool,
}

impl Names {
    fn any_twice(text: &str) -> bool {
        let mut names = Self::default();
        let mut rest = text;
        while let Some(byte) = rest.bytes().next() {
            let length = if byte == b'"' { string_length(rest) } else { 1 };
            let (token, tail) = rest.split_at(length.max(rest.chars().next().map_or(1, char::len_utf8)));
            if !names.visit(token) {
                return true;
            }
            rest = tail;
        }
        false
    }

    /// Whether the names are still different.
    fn visit(&mut self, token: &str) -> bool {
        match token {
            "{" => {
                self.open.push(Some(BTreeSet::new()));
                self.at_name = true;
            }
            "[" => self.open.push(None),
            "}" | "]" => {
                self.open.pop();
            }
            "," => self.at_name = matches!(self.open.last(), Some(Some(_))),
            _ if token.starts_with('"') && self.at_name => {
                self.at_name = false;
                let name = serde_json::from_str(token).expect("a name is a string");
                return self
                    .open
                    .last_mut()
                    .and_then(Option::as_mut)
                    .is_some_and(|names| names.insert(name));
            }
            _ => {}
        }
        true
    }
}

/// From a quote to the quote that ends the string.
fn string_length(text: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
