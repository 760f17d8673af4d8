//! What a client keeps on disk, as plain records, and the changes that are made to them.
//!
//! A store writes the changes of one [`crate::client::account::Output`] in one transaction, and reads everything but
//! the contents back as [`Records`]. What an identity is made of (its private keys among them) is kept apart from this.

use std::collections::HashMap;

use crate::client::content::MessageHash;
use crate::client::keys::AgreementKey;
use crate::client::names::{Name, Origin};
use crate::protocol::id::{PublicKey, RecipientId};

/// Which envelopes a contact gets and is believed (PROTOCOL.md, Versions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Added by a shareable, and never seen with anything newer.
    V1,
    /// Added by a card, or seen with an envelope v2. This never changes back.
    V2,
}

/// What somebody is to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Added or accepted by the user: gets acknowledgements and answers.
    Accepted,
    /// Has written, and the user hasn't decided yet.
    Requested,
    /// Whatever comes is dropped.
    Blocked,
    /// Removed by the user. The hashes of its messages stay, so that none is shown again.
    Removed,
}

/// Somebody, and where they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRecord {
    /// Whom it is about: the hash of `auth`.
    pub id: RecipientId,
    /// What their signatures are checked with.
    pub auth: PublicKey,
    /// What is sealed to.
    pub dh: AgreementKey,
    /// What they call themselves.
    pub name: Name,
    /// What the user calls them, if not by `name`.
    pub alias: Option<Name>,
    /// Where their relay is.
    pub origin: Origin,
    /// Which envelopes they get.
    pub version: Version,
    /// What they are to the user.
    pub standing: Standing,
    /// Time of the newest card that they sent, milliseconds since 1970 by their clock; 0 if it came by a link.
    pub card_ms: u64,
    /// Since when the user's card is valid that they surely have, as in
    /// [`crate::client::account::Own::card_since_ms`]; `None` if they may have none.
    pub knows_card_ms: Option<u64>,
    /// When they were last sent the user's card because it had changed, milliseconds since 1970; 0 if never.
    pub announced_ms: u64,
    /// Whether they are still to be asked for all that isn't known, after the relay reported expired messages.
    pub resync: bool,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A file.
    File,
    /// Something that a newer version sent.
    Unknown,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Own, to be posted. It may have been posted, without an answer.
    Pending,
    /// Own, taken by the relay.
    Taken,
    /// Own, and known to be there: acknowledged, or named by the other side.
    Delivered,
    /// Own, refused for good.
    Failed,
    /// The other side's, to be acknowledged.
    Arrived,
    /// The other side's, and the relay has taken its acknowledgement. v1 has none.
    Acknowledged,
}

/// How far a message has come, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How far.
    pub status: Status,
    /// When the relay took it last, milliseconds since 1970; 0 if never.
    pub posted_ms: u64,
    /// Until when the relay keeps it, as far as it said so, milliseconds since 1970.
    pub until_ms: u64,
    /// How often it was posted again without being asked for.
    pub repeats: u8,
}

impl Delivery {
    /// That of a message that was just written or has just arrived.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            posted_ms: 0,
            until_ms: 0,
            repeats: 0,
        }
    }
}

/// A message without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its hash, under which there is one record at most.
    pub hash: MessageHash,
    /// The other side of its conversation.
    pub contact: RecipientId,
    /// Whether the user sent it.
    pub mine: bool,
    /// Which envelope it came or goes in.
    pub version: Version,
    /// What it is.
    pub kind: Kind,
    /// Its time by its sender's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// When it was written or had come, milliseconds since 1970.
    pub arrived_ms: u64,
    /// The messages that it names: a row each in a table of edges.
    pub parents: Vec<MessageHash>,
    /// Length of its content, or of its envelope v1; 0 once that was deleted.
    pub bytes: u32,
    /// How long the relay is asked to keep it, in seconds. Own messages alone.
    pub ttl_s: u32,
    /// Since when the card is valid that is in it, own messages alone; `None` if there is none in it.
    pub card_ms: Option<u64>,
    /// How far it has come.
    pub delivery: Delivery,
}

/// What a message says. It may be deleted; its record may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// v2: the content, byte for byte, from which the hash follows. v1: the text.
    pub content: Vec<u8>,
    /// v1, own messages: the envelope, which is posted again unchanged. Otherwise empty.
    pub envelope: Vec<u8>,
}

/// A message that is missing and was asked for. One that wasn't asked for yet follows from the edges.
///
/// Contact and hash are its key: somebody may name a message of a conversation that isn't theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRecord {
    /// The other side of its conversation.
    pub contact: RecipientId,
    /// Its hash.
    pub hash: MessageHash,
    /// When it was last asked for, milliseconds since 1970.
    pub asked_ms: u64,
    /// How often it was asked for, at least once.
    pub tries: u8,
}

/// One change to what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds somebody, or replaces what was known of them.
    Contact(ContactRecord),
    /// Adds a message after all others. Its hash is new.
    Message(MessageRecord, Stored),
    /// Replaces how far a message has come.
    Delivery(MessageHash, Delivery),
    /// Adds a gap, or replaces when it was asked for.
    Gap(GapRecord),
    /// Removes the gap that this contact's conversation has at this hash, if there is one: its message has come.
    GapClosed(RecipientId, MessageHash),
    /// Deletes what the messages of a contact say, and its gaps. The records of the messages stay, without a length.
    Emptied(RecipientId),
    /// The own relay at this origin has offered npchat.2, so that no login without it is made there again.
    Relay(Origin),
}

/// All that is kept, but for what messages say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Contacts, in any order.
    pub contacts: Vec<ContactRecord>,
    /// Messages of all conversations, in the order in which they were added.
    pub messages: Vec<MessageRecord>,
    /// Gaps, in any order.
    pub gaps: Vec<GapRecord>,
    /// Own relays that have offered npchat.2.
    pub relays: Vec<Origin>,
}

/// A store in memory: what one on disk does, without the disk. For tests, and for whoever keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Records,
    places: HashMap<MessageHash, usize>,
    contents: HashMap<MessageHash, Stored>,
}

impl MemoryStore {
    /// Makes all of the changes.
    pub fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            self.make(change);
        }
    }

    /// All but what messages say.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// What a message says, unless it was deleted.
    #[must_use]
    pub fn stored(&self, hash: MessageHash) -> Option<&Stored> {
        self.contents.get(&hash)
    }

    /// The record of a message.
    #[must_use]
    pub fn message(&self, hash: MessageHash) -> Option<&MessageRecord> {
        self.records.messages.get(*self.places.get(&hash)?)
    }

    fn make(&mut self, change: &Change) {
        let Records {
            contacts,
            messages,
            gaps,
            relays,
        } = &mut self.records;
        match change {
            Change::Contact(new) => match contacts.iter_mut().find(|contact| contact.id == new.id) {
                Some(contact) => contact.clone_from(new),
                None => contacts.push(new.clone()),
            },
            Change::Message(message, stored) => {
                self.places.insert(message.hash, messages.len());
                self.contents.insert(message.hash, stored.clone());
                messages.push(message.clone());
            }
            Change::Delivery(hash, delivery) => {
                let place = self.places.get(hash).copied();
                if let Some(message) = place.and_then(|place| messages.get_mut(place)) {
                    message.delivery = *delivery;
                }
            }
            Change::Gap(new) => match gaps
                .iter_mut()
                .find(|gap| (gap.contact, gap.hash) == (new.contact, new.hash))
            {
                Some(gap) => *gap = *new,
                None => gaps.push(*new),
            },
            Change::GapClosed(contact, hash) => gaps.retain(|gap| (gap.contact, gap.hash) != (*contact, *hash)),
            Change::Emptied(contact) => {
                for message in messages.iter_mut().filter(|message| message.contact == *contact) {
                    message.bytes = 0;
                    self.contents.remove(&message.hash);
                }
                gaps.retain(|gap| gap.contact != *contact);
            }
            Change::Relay(origin) if relays.contains(origin) => {}
            Change::Relay(origin) => relays.push(origin.clone()),
        }
    }
}
