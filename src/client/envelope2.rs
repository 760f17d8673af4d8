//! Envelope v2: a content signed by its sender and sealed to its recipient (PROTOCOL.md, Envelope v2).
//!
//! `02 || enc || ct`, by HPKE's base mode (RFC 9180) around `s || A || content || spaces`. The relay sees neither
//! sender nor length, but for the number of blocks. This is the only file that names rustls' HPKE.

use std::fmt;

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use super::seal_error::SealError;
use crate::client::content::{CONTENT_MAX_BYTES, Content, ContentError, MessageHash};
use crate::client::identity::{AgreementSecret, Identity};
use crate::client::keys::AgreementKey;
use crate::protocol::id::{PUBLIC_KEY_BYTES, PublicKey};
use crate::protocol::login::SIGNATURE_BYTES;
use crate::protocol::signature;

/// A plaintext is of so many blocks of so many bytes, that its length tells little.
pub const BLOCK_BYTES: usize = 256;
/// What an envelope has beside its plaintext: version, encapsulated key, tag.
pub const OVERHEAD_BYTES: usize = 1 + PUBLIC_KEY_BYTES + 16;
/// Largest envelope: 255 blocks. A relay takes 64 KiB unless it is told otherwise.
pub const ENVELOPE_MAX_BYTES: usize = OVERHEAD_BYTES + HEAD_BYTES + CONTENT_MAX_BYTES;

const VERSION: u8 = 2;
/// Signature and key before a content.
const HEAD_BYTES: usize = SIGNATURE_BYTES + PUBLIC_KEY_BYTES;
const _: () = assert!((HEAD_BYTES + CONTENT_MAX_BYTES).is_multiple_of(BLOCK_BYTES) && ENVELOPE_MAX_BYTES <= 64 * 1024);

/// What an envelope is sealed for, and nothing else that HPKE seals.
const INFO: &[u8] = b"npchat/2 envelope\0";
/// What no other text that a key of npchat signs begins with.
const SIGNATURE_LABEL: &[u8] = b"npchat/2 signature\0";

/// What was in an envelope, its signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who signed it. The id is [`PublicKey::id`]; it may be the own one, in a copy for the own other devices.
    pub sender: PublicKey,
    /// The name of the message in its conversation.
    pub hash: MessageHash,
    /// What it says.
    pub content: Content,
    /// The content as it was hashed: to be kept if the message is.
    pub bytes: Vec<u8>,
}

/// Why an envelope can't be opened. Anybody can post anything to an id: all but the last two mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Not the first byte or not a length of an envelope v2.
    NotAnEnvelope,
    /// None of the own keys opens it: it was altered, or sealed to another key.
    NotForUs,
    /// The signature isn't the sender's, or was made for another recipient's key.
    WrongSignature,
    /// The signed content is malformed, or of a later version: the fault of this sender.
    Content {
        /// Who signed it.
        sender: PublicKey,
        /// The hash that it would have as a message.
        hash: MessageHash,
        /// What is wrong with it.
        error: ContentError,
    },
    /// The signed content is for another recipient: the fault of this sender.
    WrongRecipient {
        /// Who signed it.
        sender: PublicKey,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEnvelope => f.write_str("this is no envelope"),
            Self::NotForUs => f.write_str("the envelope was altered, or is for another recipient"),
            Self::WrongSignature => f.write_str("the envelope's signature is wrong"),
            Self::Content { error, .. } => error.fmt(f),
            Self::WrongRecipient { .. } => f.write_str("the content is for another recipient"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Whether this looks like an envelope v2: its first byte, and a length of 1 to 255 blocks.
#[must_use]
pub fn is_envelope(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
        && bytes.len() <= ENVELOPE_MAX_BYTES
        && bytes
            .len()
            .checked_sub(OVERHEAD_BYTES)
            .is_some_and(|length| length != 0 && length.is_multiple_of(BLOCK_BYTES))
}

/// Signs and seals a content, the bytes of [`Content::to_bytes`], to `recipient`. Sealed again, it is another envelope
/// with the same hash.
///
/// # Errors
/// Any [`SealError`].
pub fn seal(identity: &Identity, recipient: &AgreementKey, content: &[u8]) -> Result<Vec<u8>, SealError> {
    if content.len() > CONTENT_MAX_BYTES {
        return Err(SealError::TooLong);
    }
    let sender = identity.public_key();
    let signed = signed_bytes(&MessageHash::of(sender, content), recipient);
    let signature = identity.sign(&signed).map_err(|_| SealError::System)?;
    let mut plaintext = [&signature[..], sender.as_bytes(), content].concat();
    plaintext.resize(plaintext.len().next_multiple_of(BLOCK_BYTES), b' ');
    let key = HpkePublicKey(recipient.as_bytes().to_vec());
    let (enc, ciphertext) = SUITE.seal(INFO, &[], &plaintext, &key).map_err(|_| SealError::System)?;
    Ok([&[VERSION], &enc.0[..], &ciphertext].concat())
}

/// Opens an envelope with the own keys, the newest first, and verifies who signed it.
///
/// # Errors
/// Any [`OpenError`].
pub fn open(identity: &Identity, envelope: &[u8]) -> Result<Opened, OpenError> {
    if !is_envelope(envelope) {
        return Err(OpenError::NotAnEnvelope);
    }
    let (enc, ciphertext) = envelope
        .get(1..)
        .and_then(|rest| rest.split_at_checked(PUBLIC_KEY_BYTES))
        .ok_or(OpenError::NotAnEnvelope)?;
    // Never agree with what is no point of the curve, whatever the library makes of it.
    let enc = AgreementKey::from_sec1(enc).ok_or(OpenError::NotForUs)?;
    let (plaintext, recipient) = identity
        .dh_keys()
        .find_map(|key| Some((decrypt(key, &enc, ciphertext)?, key.public())))
        .ok_or(OpenError::NotForUs)?;
    let (sender, hash, bytes) = verify(&plaintext, recipient).ok_or(OpenError::WrongSignature)?;
    let content = Content::parse(bytes).map_err(|error| OpenError::Content { sender, hash, error })?;
    if content.to != identity.id() && sender.id() != identity.id() {
        return Err(OpenError::WrongRecipient { sender });
    }
    Ok(Opened {
        sender,
        hash,
        content,
        bytes: bytes.to_vec(),
    })
}

fn decrypt(key: &AgreementSecret, enc: &AgreementKey, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let secret = HpkePrivateKey::from(key.scalar().to_vec());
    let enc = EncapsulatedSecret(enc.as_bytes().to_vec());
    SUITE.open(&enc, INFO, &[], ciphertext, &secret).ok()
}

/// Splits a plaintext, and verifies that its sender signed it for this very key.
fn verify<'a>(plaintext: &'a [u8], recipient: &AgreementKey) -> Option<(PublicKey, MessageHash, &'a [u8])> {
    let (signature, rest) = plaintext.split_first_chunk::<SIGNATURE_BYTES>()?;
    let (sender, padded) = rest.split_first_chunk::<PUBLIC_KEY_BYTES>()?;
    let sender = PublicKey::from_sec1(sender)?;
    let length = padded.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    let content = padded.get(..length)?;
    let hash = MessageHash::of(&sender, content);
    signature::verify(&sender, &signed_bytes(&hash, recipient), signature).then_some((sender, hash, content))
}

/// The recipient's key is signed, so that nobody can seal it again for another one.
fn signed_bytes(hash: &MessageHash, recipient: &AgreementKey) -> Vec<u8> {
    [SIGNATURE_LABEL, hash.as_bytes(), recipient.as_bytes()].concat()
}
