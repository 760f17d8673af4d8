//! Envelope v1, as npchat-web writes and reads it (PROTOCOL.md, Envelope v1).
//!
//! JSON in the clear around a text encrypted by the key that both sides' agreement keys have in common, for ever and in
//! both directions. Somebody who has been seen with envelope v2 is neither sent this nor believed: that is for the
//! caller to remember. This is the only file that names aes-gcm, which alone takes its 32-byte IV.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, consts::U32};
use aes_gcm::{AesGcm, aes::Aes256};
use aws_lc_rs::rand::fill;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::seal_error::SealError;
use crate::client::card::Card;
use crate::client::content::{MessageHash, TIME_MAX_MS};
use crate::client::identity::{AgreementSecret, Identity};
use crate::client::keys::AgreementKey;
use crate::client::write::push_member;
use crate::protocol::id::RecipientId;
use crate::protocol::json::Json;
use crate::protocol::login::SIGNATURE_BYTES;
use crate::protocol::signature;

/// Largest envelope: what a relay takes unless it is told otherwise.
pub const ENVELOPE_MAX_BYTES: usize = 64 * 1024;

const IV_BYTES: usize = 32;

type Cipher = AesGcm<Aes256, U32>;

/// What an envelope says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text, a link of the conversation's chain.
    Text(String),
    /// "Post the envelope with this hash again." It has a predecessor, and is nobody's.
    Resend(MessageHash),
}

/// An envelope, made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// JSON: what is posted, and posted again, unchanged, if it is asked for.
    pub bytes: Vec<u8>,
    /// Its name: `h`.
    pub hash: MessageHash,
}

/// What was in an envelope, its signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its name: `h`.
    pub hash: MessageHash,
    /// The last message that its sender had, sent or received: `p`.
    pub previous: Option<MessageHash>,
    /// Milliseconds since 1970 by the sender's clock, at most [`TIME_MAX_MS`]: `t`.
    pub time_ms: u64,
    /// What it says.
    pub message: Message,
}

/// Why an envelope can't be opened. Anybody can post anything to an id: only [`OpenError::BadText`] is known to be the
/// fault of the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Over [`ENVELOPE_MAX_BYTES`], not JSON, or a member is missing or malformed.
    Malformed,
    /// It names another sender. The own id comes from a contact that posts again what it was sent.
    OtherSender(RecipientId),
    /// `h` isn't the hash of the rest.
    WrongHash,
    /// The signature isn't the contact's.
    WrongSignature,
    /// It isn't encrypted with the key of these two.
    NotForUs,
    /// What was encrypted isn't UTF-8.
    BadText,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is no envelope",
            Self::OtherSender(_) => "the envelope is from another sender",
            Self::WrongHash => "the envelope's hash is wrong",
            Self::WrongSignature => "the envelope's signature is wrong",
            Self::NotForUs => "the envelope is for another recipient",
            Self::BadText => "the message isn't text",
        })
    }
}

impl std::error::Error for OpenError {}

/// Encrypts and signs a message for a contact. `previous` is the last message of the conversation, sent or received;
/// a later time than [`TIME_MAX_MS`] is written as that one.
///
/// A text that is itself JSON gets a U+200B at its end, since some versions of npchat-web drop it otherwise.
///
/// # Errors
/// Any [`SealError`].
pub fn seal(
    identity: &Identity,
    contact: &Card,
    message: &Message,
    previous: Option<MessageHash>,
    time_ms: u64,
) -> Result<Sealed, SealError> {
    let mut iv = [0; IV_BYTES];
    fill(&mut iv).map_err(|_| SealError::System)?;
    let key = agree(identity.dh(), &contact.dh).ok_or(SealError::System)?;
    seal_with(identity, &key, &message.to_plaintext(), previous, time_ms, iv)
}

/// [`seal`], its one random number given: what a test vector fixes.
fn seal_with(
    identity: &Identity,
    key: &Cipher,
    plaintext: &str,
    previous: Option<MessageHash>,
    time_ms: u64,
    iv: [u8; IV_BYTES],
) -> Result<Sealed, SealError> {
    let ciphertext = key
        .encrypt(&iv.into(), plaintext.as_bytes())
        .map_err(|_| SealError::System)?;
    let header = Header {
        time_ms: time_ms.min(TIME_MAX_MS),
        from: identity.id(),
        previous,
    };
    let hash = header.hash(&iv, &ciphertext);
    let signature = identity.sign(hash.as_bytes()).map_err(|_| SealError::System)?;
    let mut out = format!(r#"{{"t":{}"#, header.time_ms);
    push_member(&mut out, "iv", &URL_SAFE_NO_PAD.encode(iv));
    push_member(&mut out, "m", &URL_SAFE_NO_PAD.encode(&ciphertext));
    push_member(&mut out, "f", &header.from.to_string());
    push_member(&mut out, "h", &hash.to_string());
    if let Some(previous) = previous {
        push_member(&mut out, "p", &previous.to_string());
    }
    push_member(&mut out, "s", &URL_SAFE_NO_PAD.encode(signature));
    out.push('}');
    if out.len() > ENVELOPE_MAX_BYTES {
        return Err(SealError::TooLong);
    }
    let bytes = out.into_bytes();
    Ok(Sealed { bytes, hash })
}

/// The id that an envelope names as its sender, believed by nobody: to find the contact that may open it.
#[must_use]
pub fn claimed_sender(envelope: &[u8]) -> Option<RecipientId> {
    Envelope::parse(envelope).map(|envelope| envelope.header.from)
}

/// Verifies and decrypts an envelope of a contact. Members may come in any order; unknown ones are ignored.
///
/// # Errors
/// Any [`OpenError`].
pub fn open(identity: &Identity, contact: &Card, envelope: &[u8]) -> Result<Opened, OpenError> {
    let Envelope {
        header,
        iv,
        ciphertext,
        hash,
        signature,
    } = Envelope::parse(envelope).ok_or(OpenError::Malformed)?;
    if header.from != contact.id() {
        return Err(OpenError::OtherSender(header.from));
    }
    if hash != header.hash(&iv, &ciphertext) {
        return Err(OpenError::WrongHash);
    }
    if !signature::verify(&contact.auth, hash.as_bytes(), &signature) {
        return Err(OpenError::WrongSignature);
    }
    let plaintext = identity
        .dh_keys()
        .find_map(|key| agree(key, &contact.dh)?.decrypt(&iv.into(), ciphertext.as_slice()).ok())
        .ok_or(OpenError::NotForUs)?;
    Ok(Opened {
        hash,
        previous: header.previous,
        time_ms: header.time_ms,
        message: Message::from_plaintext(plaintext).ok_or(OpenError::BadText)?,
    })
}

/// The cipher with the key of these two, the raw x-coordinate that they agree on.
fn agree(own: &AgreementSecret, other: &AgreementKey) -> Option<Cipher> {
    let shared = own.agree(other).ok()?;
    Cipher::new_from_slice(shared.as_slice()).ok()
}

impl Message {
    fn to_plaintext(&self) -> String {
        match self {
            Self::Text(text) if is_dropped(text) => format!("{text}\u{200b}"),
            Self::Text(text) => text.clone(),
            Self::Resend(hash) => format!(r#"{{"resend":"{hash}"}}"#),
        }
    }

    /// `None` if it isn't UTF-8.
    fn from_plaintext(plaintext: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(plaintext).ok()?;
        Some(match read_resend(&text) {
            Some(hash) => Self::Resend(hash),
            None => Self::Text(text),
        })
    }
}

/// Whether npchat-web takes the text for a control message, and shows nothing: what `JSON.parse` takes, but for `null`.
fn is_dropped(text: &str) -> bool {
    // `TextDecoder` leaves it out.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.trim_ascii() != "null" && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A person may type `{"resend":…}`: it is a request only if the hash is one, and there is nothing else.
fn read_resend(text: &str) -> Option<MessageHash> {
    if !text.starts_with('{') {
        return None;
    }
    match Json::parse(text.as_bytes())? {
        Json::Object(members) if members.len() == 1 => {
            let hash = members.get("resend")?.as_text()?;
            MessageHash::parse(hash.as_bytes())
        }
        _ => None,
    }
}

/// What the hash covers beside the ciphertext.
struct Header {
    time_ms: u64,
    from: RecipientId,
    previous: Option<MessageHash>,
}

impl Header {
    fn hash(&self, iv: &[u8; IV_BYTES], ciphertext: &[u8]) -> MessageHash {
        let mut header = format!(r#"{{"t":{},"f":"{}""#, self.time_ms, self.from);
        if let Some(previous) = &self.previous {
            push_member(&mut header, "p", &previous.to_string());
        }
        header.push('}');
        let hash = Sha256::new_with_prefix(iv);
        MessageHash::from_bytes(hash.chain_update(ciphertext).chain_update(header).finalize().into())
    }
}

/// An envelope's members, none of them believed yet.
struct Envelope {
    header: Header,
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
    hash: MessageHash,
    signature: [u8; SIGNATURE_BYTES],
}

impl Envelope {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > ENVELOPE_MAX_BYTES {
            return None;
        }
        let document = Json::parse(bytes)?;
        let text = |name| document.text(name);
        let hash = |value: &Json| MessageHash::parse(value.as_text()?.as_bytes());
        let previous = match document.member("p") {
            Some(value) => Some(hash(value)?),
            None => None,
        };
        Some(Self {
            header: Header {
                time_ms: document.member("t")?.as_count().filter(|time| *time <= TIME_MAX_MS)?,
                from: RecipientId::parse(text("f")?.as_bytes())?,
                previous,
            },
            iv: document.member("iv")?.as_bytes()?,
            ciphertext: URL_SAFE_NO_PAD.decode(text("m")?).ok()?,
            hash: hash(document.member("h")?)?,
            signature: document.member("s")?.as_bytes()?,
        })
    }
}

#[cfg(test)]
mod tests;
