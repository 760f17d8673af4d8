//! The texts of the login in both directions, read strictly and written exactly (PROTOCOL.md part 1, Receiving; part
//! 2).
//!
//! No signature is made or checked here, and no challenge remembered.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::protocol::id::{PUBLIC_KEY_BYTES, PublicKey};
use crate::protocol::json::Json;

pub use crate::protocol::json::JSON_MAX_DEPTH;

/// The one subprotocol spoken here (PROTOCOL.md part 2). Its case counts, as that of every subprotocol's name does.
pub const SUBPROTOCOL: &str = "npchat.2";

/// Length of a challenge's text, before base64url.
pub const CHALLENGE_BYTES: usize = 32;
/// Length of an ES256 signature in the form `r || s`, each half 32 bytes big-endian.
pub const SIGNATURE_BYTES: usize = 64;
/// Largest text that may be a challenge request or a solution.
pub const HANDSHAKE_MAX_BYTES: usize = 2 * 1024;
/// The text that asks for a challenge.
pub const CHALLENGE_REQUEST: &[u8] = br#"{"get":"challenge"}"#;
/// The text that reports a login that has succeeded.
pub const DONE: &[u8] = br#"{"message":"handshake done"}"#;

/// What a client has to sign to log in, and the server's signature over it (PROTOCOL.md part 1, Receiving).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Fresh random bytes: `txt`.
    pub text: [u8; CHALLENGE_BYTES],
    /// ES256 over `text`, as `r || s`: `sig`.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// What a client says to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// `{"get":"challenge"}`.
    ChallengeRequest,
    /// The answer to a challenge; boxed, as the other variant holds nothing.
    Solution(Box<Solution>),
}

/// The answer to a challenge, each member decoded and of the right form, and none of them believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The key that is to log in.
    pub public_key: PublicKey,
    /// The challenge that this says it answers.
    pub challenge: Challenge,
    /// What should be the key's ES256 signature over the challenge's text, with npchat.2 bound to a host, as `r || s`.
    pub solution: [u8; SIGNATURE_BYTES],
}

/// What a relay says to a client, but for mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// A challenge to be signed.
    Challenge(Box<Challenge>),
    /// The client is logged in: [`DONE`].
    Done,
    /// So many messages expired (PROTOCOL.md part 2).
    Lost {
        /// How many.
        expired: u64,
    },
    /// The login failed for the reason with this code, as
    /// [`CloseReason::code`](crate::protocol::error::CloseReason::code) has it. A later version may have others.
    Error(String),
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// Over [`HANDSHAKE_MAX_BYTES`]; or not JSON, a member twice in one object, or nested deeper than
    /// [`JSON_MAX_DEPTH`]; or a request and a solution in one.
    Malformed,
    /// `publicKey` is missing or not the 87 characters of an uncompressed point.
    BadKey,
    /// `challenge` is missing or not an object with a `txt` of 43 characters and a `sig` of 86.
    BadChallenge,
    /// `solution` is missing or not 86 characters of base64url.
    BadSolution,
}

/// Reads a text frame. `Ok(None)` is JSON that says nothing of a login: an object with neither the member `get` with
/// the value `"challenge"` nor any of `publicKey`, `challenge` and `solution`, or no object at all.
///
/// Whatever has one of the three is a solution, and has to be a good one. Unknown members may stand anywhere.
/// Strings that aren't Unicode (lone surrogates) and numbers that no `f64` holds aren't taken for JSON
/// (RFC 8259 §6 and §8.2 leave both open).
///
/// # Errors
/// Any [`HandshakeError`]; of several bad members the first in the order of the enum is told.
pub fn parse(text: &[u8]) -> Result<Option<Handshake>, HandshakeError> {
    if text.len() > HANDSHAKE_MAX_BYTES {
        return Err(HandshakeError::Malformed);
    }
    let document = Json::parse(text).ok_or(HandshakeError::Malformed)?;
    let request = document.member("get");
    let public_key = document.member("publicKey");
    let challenge = document.member("challenge");
    let solution = document.member("solution");

    if public_key.is_none() && challenge.is_none() && solution.is_none() {
        let wanted = request.and_then(Json::as_text) == Some("challenge");
        return Ok(wanted.then_some(Handshake::ChallengeRequest));
    }
    if request.is_some() {
        return Err(HandshakeError::Malformed);
    }
    let solution = Solution {
        public_key: public_key.and_then(read_key).ok_or(HandshakeError::BadKey)?,
        challenge: challenge.and_then(read_challenge).ok_or(HandshakeError::BadChallenge)?,
        solution: solution.and_then(Json::as_bytes).ok_or(HandshakeError::BadSolution)?,
    };
    Ok(Some(Handshake::Solution(Box::new(solution))))
}

/// Appends `{"challenge":{"txt":"…","sig":"…"}}`.
pub fn write_challenge(out: &mut Vec<u8>, challenge: &Challenge) {
    out.extend_from_slice(br#"{""#);
    write_challenge_member(out, challenge);
    out.push(b'}');
}

/// Appends `{"lost":{"expired":n}}`: so many messages expired (PROTOCOL.md part 2).
pub fn write_lost(out: &mut Vec<u8>, expired: u64) {
    out.extend_from_slice(br#"{"lost":{"expired":"#);
    out.extend_from_slice(expired.to_string().as_bytes());
    out.extend_from_slice(b"}}");
}

/// Appends `{"error":"…"}`. The code is one of our own words, such as
/// [`CloseReason::code`](crate::protocol::error::CloseReason::code): it is written as it stands, so it must not need an
/// escape.
pub fn write_error(out: &mut Vec<u8>, code: &'static str) {
    debug_assert!(
        code.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    );
    out.extend_from_slice(br#"{"error":""#);
    out.extend_from_slice(code.as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Appends the answer to a challenge: `{"publicKey":"…","challenge":{"txt":"…","sig":"…"},"solution":"…"}`.
pub fn write_solution(out: &mut Vec<u8>, solution: &Solution) {
    out.extend_from_slice(br#"{"publicKey":""#);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(solution.public_key.as_bytes()).as_bytes());
    out.extend_from_slice(br#"",""#);
    write_challenge_member(out, &solution.challenge);
    out.extend_from_slice(br#","solution":""#);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(solution.solution).as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Reads what a relay says: the other direction of [`parse`]. `Ok(None)` is JSON that is none of these, as a later
/// version of the protocol may have it. Unknown members may stand anywhere.
///
/// # Errors
/// [`HandshakeError::Malformed`], and [`HandshakeError::BadChallenge`].
pub fn parse_announcement(text: &[u8]) -> Result<Option<Announcement>, HandshakeError> {
    if text.len() > HANDSHAKE_MAX_BYTES {
        return Err(HandshakeError::Malformed);
    }
    let document = Json::parse(text).ok_or(HandshakeError::Malformed)?;
    if let Some(challenge) = document.member("challenge") {
        let challenge = read_challenge(challenge).ok_or(HandshakeError::BadChallenge)?;
        return Ok(Some(Announcement::Challenge(Box::new(challenge))));
    }
    if let Some(code) = document.text("error") {
        return Ok(Some(Announcement::Error(code.to_owned())));
    }
    let lost = document.member("lost").and_then(|lost| lost.member("expired"));
    if let Some(expired) = lost.and_then(Json::as_count) {
        return Ok(Some(Announcement::Lost { expired }));
    }
    let is_done = document.text("message") == Some("handshake done");
    Ok(is_done.then_some(Announcement::Done))
}

/// Appends what follows a quotation mark.
fn write_challenge_member(out: &mut Vec<u8>, challenge: &Challenge) {
    out.extend_from_slice(br#"challenge":{"txt":""#);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(challenge.text).as_bytes());
    out.extend_from_slice(br#"","sig":""#);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(challenge.signature).as_bytes());
    out.extend_from_slice(br#""}"#);
}

fn read_key(value: &Json) -> Option<PublicKey> {
    PublicKey::from_sec1(&value.as_bytes::<PUBLIC_KEY_BYTES>()?)
}

fn read_challenge(value: &Json) -> Option<Challenge> {
    Some(Challenge {
        text: value.member("txt")?.as_bytes::<CHALLENGE_BYTES>()?,
        signature: value.member("sig")?.as_bytes::<SIGNATURE_BYTES>()?,
    })
}

#[cfg(test)]
mod tests;
