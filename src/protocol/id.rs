//! The id of a recipient and the public key that it is the hash of, parsed strictly.
//!
//! Nothing here verifies a signature; that is [`crate::protocol::signature`].

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Length of an id as it stands in a path: base64url of 32 bytes, without padding.
pub const ID_TEXT_BYTES: usize = 43;
/// Length of a public key: an uncompressed SEC1 point, `04 || X || Y`.
pub const PUBLIC_KEY_BYTES: usize = 65;

/// The id of a recipient: SHA-256 of its public key (PROTOCOL.md, introduction).
///
/// Its `Debug` form shows nothing of the id, so that none gets into a log by accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipientId([u8; 32]);

impl RecipientId {
    /// Parses the canonical 43 characters of base64url; anything else, padding included, is `None`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; ID_TEXT_BYTES] = text.try_into().ok()?;
        let mut bytes = [0; 32];
        let mut seen = 0;
        let (groups, last_group) = text.as_chunks::<4>();
        let (triples, last_pair) = bytes.as_chunks_mut::<3>();
        for (group, triple) in groups.iter().zip(triples) {
            [_, triple[0], triple[1], triple[2]] = join_digits(group, &mut seen).to_be_bytes();
        }
        let last = join_digits(last_group, &mut seen);
        [_, _, last_pair[0], last_pair[1]] = (last >> 2).to_be_bytes();
        // Two bits of the last character are left over: with any value but zero it would be a second spelling.
        (seen & NO_DIGIT == 0 && last.trailing_zeros() >= 2).then_some(Self(bytes))
    }

    /// The id as raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id with these raw bytes. Every value is an id that a key might have.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientId(…)")
    }
}

/// In [`DIGITS`]: the character is none of base64url.
const NO_DIGIT: u8 = 0x80;

/// The value of each character of base64url (RFC 4648 §5). Every message names its recipient in a path, so ids are
/// decoded here, at a third of what an engine for any length and alphabet takes.
const DIGITS: [u8; 256] = {
    let alphabet = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while digit < 64 {
        digits[alphabet[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

/// The digits of up to five characters as one number. What they are is added to `seen`.
fn join_digits(characters: &[u8], seen: &mut u8) -> u32 {
    characters.iter().fold(0, |word, character| {
        let digit = DIGITS[usize::from(*character)];
        *seen |= digit;
        word << 6 | u32::from(digit)
    })
}

/// The bytes of an ECDSA P-256 public key in the one form that PROTOCOL.md allows.
///
/// The form is checked here, the point's being on the curve when a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl PublicKey {
    /// Takes an uncompressed SEC1 point; a compressed, hybrid, short or long one is `None`.
    #[must_use]
    pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; PUBLIC_KEY_BYTES] = bytes.try_into().ok()?;
        (bytes[0] == 0x04).then_some(Self(bytes))
    }

    /// The uncompressed point, `04 || X || Y`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// The id that belongs to this key.
    #[must_use]
    pub fn id(&self) -> RecipientId {
        RecipientId(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = RecipientId::from_bytes([7; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), ID_TEXT_BYTES);
        assert_eq!(RecipientId::parse(text.as_bytes()), Some(id));
        let mut stray = text.clone().into_bytes();
        *stray.last_mut().unwrap() += 1;
        assert_eq!(RecipientId::parse(&stray), None);
        assert_eq!(RecipientId::parse(format!("{text}=").as_bytes()), None);
        assert_eq!(RecipientId::parse(&text.as_bytes()[..42]), None);
        assert_eq!(RecipientId::parse(text.replace('B', "%").as_bytes()), None);
    }

    #[test]
    fn an_id_is_read_as_the_engine_reads_it_whatever_character_stands_where() {
        let text = RecipientId::from_bytes(Sha256::digest(b"whose").into()).to_string();
        for place in 0..ID_TEXT_BYTES {
            for character in 0..=u8::MAX {
                let mut altered = text.clone().into_bytes();
                altered[place] = character;
                let expected = URL_SAFE_NO_PAD.decode(&altered).ok();
                let id = RecipientId::parse(&altered).map(|id| id.as_bytes().to_vec());
                assert_eq!(id, expected, "{character} at {place}");
            }
        }
    }

    #[test]
    fn a_log_cannot_show_an_id() {
        let id = RecipientId::from_bytes([7; 32]);
        assert!(!format!("{id:?}").contains(&id.to_string()));
    }
}
