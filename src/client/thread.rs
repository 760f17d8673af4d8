//! One conversation as a graph of messages: which are known, which are missing, which heads the next one names, which
//! to send again, and in which order they are shown.
//!
//! Hashes alone: what a message says is in the store. A thread grows with the messages that the account takes, by about
//! 200 bytes for each.

mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::client::content::MessageHash;

/// Most gaps of a thread. One that doesn't fit is noticed when the thread is built again.
pub const GAPS_MAX: usize = 4096;

/// A message as it takes its place in a thread.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Its hash.
    pub hash: MessageHash,
    /// The messages that it names.
    pub parents: &'a [MessageHash],
    /// Whether it is of the thread's owner.
    pub mine: bool,
    /// Its time by its sender's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// Length of what is sent again; 0 if it was deleted.
    pub bytes: u32,
}

/// A message that others name, or that the other side says it has, and that isn't known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it was noticed, milliseconds since 1970.
    pub since_ms: u64,
    /// When it was last asked for, milliseconds since 1970; 0 if never.
    pub asked_ms: u64,
    /// How often it was asked for.
    pub tries: u8,
}

/// What [`Thread::answer`] may return at most.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimits {
    /// Number of messages.
    pub messages: usize,
    /// Sum of their lengths. One message may be longer.
    pub bytes: usize,
}

/// The messages of one conversation, of both sides.
///
/// A message is *known* once it is inserted, and never forgotten. It is a *head* if no known message names it. A hash
/// that a known message names and that isn't known is a *gap*. Both sides show the same order once they know the same
/// messages, whenever and in whatever order each came to know them.
#[derive(Debug, Default)]
pub struct Thread {
    /// Every hash that was mentioned, in the order of first mention.
    entries: Vec<Entry>,
    index: HashMap<MessageHash, u32>,
    heads: BTreeSet<u32>,
    gaps: BTreeMap<MessageHash, Gap>,
    /// The known messages by place.
    order: BTreeSet<(u64, MessageHash)>,
    /// Latest time of the other side's messages.
    latest_ms: u64,
}

#[derive(Debug)]
struct Entry {
    hash: MessageHash,
    known: Option<Known>,
    /// Known messages that name it.
    children: Vec<u32>,
}

#[derive(Debug)]
struct Known {
    mine: bool,
    bytes: u32,
    /// Its place: its time, or later if a message that it names is placed later.
    place: u64,
    parents: Box<[u32]>,
    /// It isn't sent, and none that is sent names it.
    retracted: bool,
}

impl Known {
    fn can_send(&self) -> bool {
        self.mine && self.bytes > 0
    }
}

impl Thread {
    /// Adds a message that was noticed at this time. Returns whether it wasn't known before; nothing changes if it was.
    pub fn insert(&mut self, link: Link<'_>, now_ms: u64) -> bool {
        let entry = self.entry(link.hash);
        if self.known(entry).is_some() {
            return false;
        }
        let parents: Box<[u32]> = link
            .parents
            .iter()
            .filter(|parent| **parent != link.hash)
            .map(|parent| self.name(*parent, entry, now_ms))
            .collect();
        let after = parents
            .iter()
            .filter_map(|parent| self.known(*parent))
            .map(|known| known.place);
        let place = after.map(|place| place.saturating_add(1)).fold(link.time_ms, u64::max);
        self.gaps.remove(&link.hash);
        self.order.insert((place, link.hash));
        if !link.mine {
            self.latest_ms = self.latest_ms.max(link.time_ms);
        }
        if let Some(slot) = self.entries.get_mut(entry as usize) {
            slot.known = Some(Known {
                mine: link.mine,
                bytes: link.bytes,
                place,
                parents,
                retracted: false,
            });
        }
        if self.is_head(entry) {
            self.heads.insert(entry);
        }
        self.raise_children(entry);
        true
    }

    /// Takes note that the other side has a message, which is a gap if it isn't known.
    pub fn mention(&mut self, hash: MessageHash, now_ms: u64) {
        let entry = self.entry(hash);
        if self.known(entry).is_none() {
            self.open_gap(hash, now_ms);
        }
    }

    /// Has no later message name one that will not be sent, if none names it yet.
    pub fn retract(&mut self, hash: MessageHash) {
        let Some(entry) = self.index.get(&hash).copied() else {
            return;
        };
        if self.heads.remove(&entry) {
            for parent in self.set_retracted(entry, true) {
                if self.is_head(parent) {
                    self.heads.insert(parent);
                }
            }
        }
    }

    /// Undoes [`Self::retract`]: the message was sent, after all.
    pub fn reinstate(&mut self, hash: MessageHash) {
        let Some(entry) = self.index.get(&hash).copied() else {
            return;
        };
        let mut pending = vec![entry];
        while let Some(entry) = pending.pop() {
            self.heads.remove(&entry);
            pending.extend(self.set_retracted(entry, false));
        }
        if self.is_head(entry) {
            self.heads.insert(entry);
        }
    }

    /// The heads, those mentioned first first.
    pub fn heads(&self) -> impl Iterator<Item = MessageHash> + '_ {
        self.heads
            .iter()
            .filter_map(|head| Some(self.entries.get(*head as usize)?.hash))
    }

    /// Whether the message is known.
    #[must_use]
    pub fn knows(&self, hash: MessageHash) -> bool {
        self.get(hash).is_some()
    }

    /// Whether the message is known and of the thread's owner.
    #[must_use]
    pub fn is_mine(&self, hash: MessageHash) -> bool {
        self.get(hash).is_some_and(|known| known.mine)
    }

    /// Whether a message of this hash is missing.
    #[must_use]
    pub fn is_missing(&self, hash: MessageHash) -> bool {
        self.gaps.contains_key(&hash)
    }

    /// The gaps.
    pub fn gaps(&self) -> impl Iterator<Item = (MessageHash, Gap)> + '_ {
        self.gaps.iter().map(|(hash, gap)| (*hash, *gap))
    }

    /// Sets when and how often a gap was asked for; opens it if it isn't there and the message isn't known.
    pub fn set_gap(&mut self, hash: MessageHash, gap: Gap) {
        if !self.knows(hash) {
            self.entry(hash);
            self.gaps.insert(hash, gap);
        }
    }

    /// Whether the message can be sent again: it is the owner's, and what it says wasn't deleted.
    #[must_use]
    pub fn can_send(&self, hash: MessageHash) -> bool {
        self.get(hash).is_some_and(Known::can_send)
    }

    /// What all messages say was deleted.
    pub fn empty(&mut self) {
        for known in self.entries.iter_mut().filter_map(|entry| entry.known.as_mut()) {
            known.bytes = 0;
        }
    }

    /// Latest time of the other side's messages by its own clock; 0 if there are none.
    #[must_use]
    pub fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// The known messages in the order in which they are shown: by time, but none before one that it names.
    #[must_use]
    pub fn order(&self) -> impl DoubleEndedIterator<Item = MessageHash> + '_ {
        self.order.iter().map(|(_, hash)| *hash)
    }

    /// The message that is shown before this one.
    #[must_use]
    pub fn before(&self, hash: MessageHash) -> Option<MessageHash> {
        let place = self.get(hash)?.place;
        self.order.range(..(place, hash)).next_back().map(|(_, before)| *before)
    }

    /// Number of known messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no message is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn get(&self, hash: MessageHash) -> Option<&Known> {
        self.known(*self.index.get(&hash)?)
    }

    fn known(&self, entry: u32) -> Option<&Known> {
        self.entries.get(entry as usize)?.known.as_ref()
    }

    /// The entry of a hash, made at its first mention.
    fn entry(&mut self, hash: MessageHash) -> u32 {
        // Four billion entries would fill 600 GB.
        let next = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        *self.index.entry(hash).or_insert_with(|| {
            self.entries.push(Entry {
                hash,
                known: None,
                children: Vec::new(),
            });
            next
        })
    }

    /// Takes note that a message names another one.
    fn name(&mut self, parent: MessageHash, child: u32, now_ms: u64) -> u32 {
        let entry = self.entry(parent);
        let Some(slot) = self.entries.get_mut(entry as usize) else {
            return entry;
        };
        slot.children.push(child);
        let is_gap = slot.known.is_none();
        self.heads.remove(&entry);
        if is_gap {
            self.open_gap(parent, now_ms);
        } else {
            self.reinstate(parent);
        }
        entry
    }

    /// Whether the message is known, and named by none that is sent.
    fn is_head(&self, entry: u32) -> bool {
        let is_retracted = |entry: u32| self.known(entry).is_some_and(|known| known.retracted);
        let slot = self.entries.get(entry as usize);
        let is_unnamed = slot.is_some_and(|slot| slot.children.iter().all(|child| is_retracted(*child)));
        self.known(entry).is_some() && is_unnamed && !is_retracted(entry)
    }

    /// Whether the message isn't to be named. Returns those that it names, if that is new.
    fn set_retracted(&mut self, entry: u32, retracted: bool) -> Box<[u32]> {
        let slot = self.entries.get_mut(entry as usize);
        match slot.and_then(|slot| slot.known.as_mut()) {
            Some(known) if known.retracted != retracted => {
                known.retracted = retracted;
                known.parents.clone()
            }
            _ => Box::default(),
        }
    }

    fn open_gap(&mut self, hash: MessageHash, now_ms: u64) {
        if self.gaps.len() >= GAPS_MAX {
            return;
        }
        self.gaps.entry(hash).or_insert(Gap {
            since_ms: now_ms,
            asked_ms: 0,
            tries: 0,
        });
    }

    /// Moves what names a message behind it, and what names those. Clocks that disagree make it necessary.
    fn raise_children(&mut self, entry: u32) {
        let mut pending = vec![entry];
        while let Some(parent) = pending.pop() {
            let Some(least) = self.known(parent).map(|known| known.place.saturating_add(1)) else {
                continue;
            };
            let children = self.entries.get(parent as usize).map(|slot| slot.children.clone());
            for child in children.unwrap_or_default() {
                let Some(slot) = self.entries.get_mut(child as usize) else {
                    continue;
                };
                let hash = slot.hash;
                if let Some(known) = slot.known.as_mut().filter(|known| known.place < least) {
                    self.order.remove(&(known.place, hash));
                    known.place = least;
                    self.order.insert((least, hash));
                    pending.push(child);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
