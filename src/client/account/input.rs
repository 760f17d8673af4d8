//! What an account is told: who its user is, what has come, what the user writes and whom they add.

use std::fmt;

use crate::client::account::limits::{CONTACTS_MAX, OUTBOX_MAX};
use crate::client::account::output::Header1;
use crate::client::content::{Body, CardUpdate, Content, MessageHash};
use crate::client::keys::AgreementKey;
use crate::client::names::{Name, Origin};
use crate::client::records::{ContactRecord, Standing, Version};
use crate::protocol::id::{PublicKey, RecipientId};

/// Who the user is, and where they are reached.
#[derive(Debug, Clone)]
pub struct Own {
    /// What the user signs with.
    pub auth: PublicKey,
    /// Name, relay and newest key of the user.
    pub card: CardUpdate,
    /// Since when the card is as it is, milliseconds since 1970; 0 if it has never changed.
    pub card_since_ms: u64,
}

impl Own {
    /// The user's id.
    #[must_use]
    pub fn id(&self) -> RecipientId {
        self.auth.id()
    }
}

/// An envelope that was opened, and whose signature is good.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Who signed it.
    pub sender: PublicKey,
    /// Its hash, computed from what was opened.
    pub hash: MessageHash,
    /// Whether it came by the relay, and was sealed to the key, of the user's newest card. Always so in v1.
    pub by_newest_card: bool,
    /// What was in it.
    pub inside: Inside,
}

/// What was in an envelope.
#[derive(Debug, Clone)]
pub enum Inside {
    /// v2: the content, and its bytes without padding.
    V2(Content, Vec<u8>),
    /// v1.
    V1 {
        /// `t`.
        time_ms: u64,
        /// `p`.
        previous: Option<MessageHash>,
        /// The plaintext.
        text: String,
    },
}

/// A message that the user has written.
#[derive(Debug, Clone)]
pub struct Written {
    /// A text or a file.
    pub body: Body,
    /// How long the relay is asked to keep it, in seconds: [`crate::client::account::limits::TTL_S`], or what the user
    /// says.
    pub ttl_s: u32,
}

/// Why an act of the user changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActError {
    /// There is nobody of this id.
    Nobody,
    /// The user hasn't accepted this contact, has blocked or removed it.
    NotAccepted,
    /// It is the user's own id.
    Oneself,
    /// The content is longer than an envelope holds, by so many bytes.
    TooLong(usize),
    /// The contact speaks v1, which has texts only.
    NeedsV2,
    /// The content is no message.
    NoMessage,
    /// The envelope v1 couldn't be sealed.
    NotSealed,
    /// [`OUTBOX_MAX`] messages to this contact wait already.
    OutboxFull,
    /// There are [`CONTACTS_MAX`] contacts.
    ContactsFull,
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("there is no such contact"),
            Self::NotAccepted => f.write_str("the contact isn't accepted"),
            Self::Oneself => f.write_str("this is your own id"),
            Self::TooLong(bytes) => write!(f, "the message is {bytes} bytes too long"),
            Self::NeedsV2 => f.write_str("the contact's program is too old for anything but text"),
            Self::NoMessage => f.write_str("this is not a message"),
            Self::NotSealed => f.write_str("the message couldn't be sealed"),
            Self::OutboxFull => write!(f, "{OUTBOX_MAX} messages to this contact wait already"),
            Self::ContactsFull => write!(f, "there are {CONTACTS_MAX} contacts already"),
        }
    }
}

impl std::error::Error for ActError {}

/// Seals envelopes v1, whose hash isn't known before.
pub trait Seal1 {
    /// The envelope of a message to this contact and its hash; `None` if it can't be sealed.
    fn seal1(&mut self, to: &ContactRecord, header: Header1, text: &str) -> Option<(MessageHash, Vec<u8>)>;
}

/// Somebody as a link names them.
#[derive(Debug, Clone)]
pub struct NewContact {
    /// What their signatures are checked with.
    pub auth: PublicKey,
    /// What is sealed to.
    pub dh: AgreementKey,
    /// What they call themselves.
    pub name: Name,
    /// Where their relay is.
    pub origin: Origin,
    /// v2 for a card, v1 for a shareable.
    pub version: Version,
}

impl NewContact {
    /// Their record, once they are accepted.
    pub(super) fn record(&self) -> ContactRecord {
        ContactRecord {
            id: self.auth.id(),
            auth: self.auth,
            dh: self.dh,
            name: self.name.clone(),
            alias: None,
            origin: self.origin.clone(),
            version: self.version,
            standing: Standing::Accepted,
            card_ms: 0,
            knows_card_ms: None,
            announced_ms: 0,
            resync: false,
        }
    }
}
