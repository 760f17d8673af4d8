//! Hashes of messages, and bounded lists of them (PROTOCOL.md, Envelope v2).

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::protocol::id::{PublicKey, RecipientId};
use crate::protocol::json::Json;

/// Most heads that a message names. A sender with more of them names some, and the rest with its next message.
pub const HEADS_MAX: usize = 8;
/// Most hashes in one `ack`, `want` or `have`.
pub const HASHES_MAX: usize = 512;

/// What no other text that npchat hashes begins with.
const MESSAGE_LABEL: &[u8] = b"npchat/2 message\0";

/// The hash of a message, by which its conversation knows it: `h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash([u8; 32]);

impl MessageHash {
    /// The hash of a message of envelope v2: SHA-256 of `"npchat/2 message" || 00 || sender || content`, the content
    /// without its padding.
    #[must_use]
    pub fn of(sender: &PublicKey, content: &[u8]) -> Self {
        let hash = Sha256::new_with_prefix(MESSAGE_LABEL);
        Self(
            hash.chain_update(sender.as_bytes())
                .chain_update(content)
                .finalize()
                .into(),
        )
    }

    /// Parses the canonical 43 characters of base64url; anything else, padding included, is `None`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // An id has the same spelling.
        RecipientId::parse(text).map(|id| Self(*id.as_bytes()))
    }

    /// The hash with these raw bytes. Every value is one that a message might have.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash as raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The beginning, which is enough to tell messages apart and to find none.
impl fmt::Debug for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.0;
        write!(f, "{}…", URL_SAFE_NO_PAD.encode([first, second, third]))
    }
}

/// At most `MAX` hashes, none of them twice, in the order in which they came.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hashes<const MAX: usize>(Vec<MessageHash>);

/// The messages that a message names.
pub type Heads = Hashes<HEADS_MAX>;
/// The messages that an acknowledgement or a request names.
pub type HashList = Hashes<HASHES_MAX>;

impl<const MAX: usize> Hashes<MAX> {
    /// Takes all of them; `None` if they are too many, or one is there twice.
    #[must_use]
    pub fn new(hashes: Vec<MessageHash>) -> Option<Self> {
        if hashes.len() > MAX {
            return None;
        }
        let mut sorted = hashes.clone();
        sorted.sort_unstable();
        let is_twice = sorted.windows(2).any(|pair| pair.first() == pair.last());
        (!is_twice).then_some(Self(hashes))
    }

    /// Takes the first `MAX` that differ; those after them are left with the caller's iterator.
    #[must_use]
    pub fn first_of(hashes: &mut dyn Iterator<Item = MessageHash>) -> Self {
        let mut seen = HashSet::new();
        let mut first = Vec::new();
        while first.len() < MAX
            && let Some(hash) = hashes.next()
        {
            if seen.insert(hash) {
                first.push(hash);
            }
        }
        Self(first)
    }

    /// Reads an array of strings; `None` if one is no hash, or for the reasons of [`Self::new`].
    pub(super) fn read(value: &Json) -> Option<Self> {
        let hashes = value.as_array()?;
        if hashes.len() > MAX {
            return None;
        }
        let parse = |hash: &Json| MessageHash::parse(hash.as_text()?.as_bytes());
        Self::new(hashes.iter().map(parse).collect::<Option<_>>()?)
    }

    /// Appends `,"name":["…",…]`.
    pub(super) fn write(&self, out: &mut String, name: &str) {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":[");
        for (place, hash) in self.iter().enumerate() {
            out.push_str(if place == 0 { "\"" } else { ",\"" });
            URL_SAFE_NO_PAD.encode_string(hash.0, out);
            out.push('"');
        }
        out.push(']');
    }
}

impl<const MAX: usize> Deref for Hashes<MAX> {
    type Target = [MessageHash];

    fn deref(&self) -> &[MessageHash] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Hashes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
