//! Walks through the graph of a conversation: what answers a request, and what to say that one has.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::client::content::MessageHash;
use crate::client::thread::{AnswerLimits, Known, Thread};

/// So many messages are looked at at most on the way to those that the other side knows.
const BEHIND_MAX: usize = 4096;

impl Thread {
    /// The owner's messages that answer a request, in the order in which they are shown: what is wanted itself, then
    /// what leads up to it (if nothing is wanted: to the heads) and isn't one of `have` or before it, oldest first.
    ///
    /// What is wanted comes first, so that asking again always brings something new, whatever `have` was.
    #[must_use]
    pub fn answer(&self, want: &[MessageHash], have: &[MessageHash], limits: AnswerLimits) -> Vec<MessageHash> {
        let wanted = self.entries_of(want);
        let known_there = self.up_to(self.entries_of(have), &HashSet::new());
        let targets = if want.is_empty() {
            self.heads.iter().copied().collect()
        } else {
            wanted.clone()
        };
        let leading: Vec<u32> = self.up_to(targets, &known_there).into_iter().collect();
        let mut chosen = HashSet::new();
        let mut room = limits;
        for mut group in [wanted, leading] {
            group.retain(|entry| self.known(*entry).is_some_and(Known::can_send));
            group.sort_unstable_by_key(|entry| self.place(*entry));
            for entry in group {
                let bytes = self.known(entry).map_or(0, |known| known.bytes as usize);
                if chosen.contains(&entry) {
                    continue;
                }
                if room.messages == 0 || (bytes > room.bytes && !chosen.is_empty()) {
                    break;
                }
                chosen.insert(entry);
                room.messages -= 1;
                room.bytes = room.bytes.saturating_sub(bytes);
            }
        }
        let mut chosen: Vec<u32> = chosen.into_iter().collect();
        chosen.sort_unstable_by_key(|entry| self.place(*entry));
        chosen.into_iter().filter_map(|entry| self.hash(entry)).collect()
    }

    /// Messages that are known together with all that was before them, at most so many: what one has when one asks for
    /// gaps. A head above a gap isn't among them, since the gap would seem to be there too.
    ///
    /// They are the latest such messages, and behind those of the owner, which the other side may not know, the next
    /// ones of the other side, which it does. Those come first.
    #[must_use]
    pub fn complete(&self, most: usize) -> Vec<MessageHash> {
        let mut incomplete = HashSet::new();
        let mut pending = self.entries_of_gaps();
        let mut edge: Vec<u32> = self.heads.iter().copied().collect();
        while let Some(entry) = pending.pop() {
            if incomplete.insert(entry) {
                let slot = self.entries.get(entry as usize);
                pending.extend(slot.into_iter().flat_map(|slot| &slot.children));
                edge.extend(self.known(entry).into_iter().flat_map(|known| &known.parents));
            }
        }
        let mut complete = HashSet::new();
        while let Some(entry) = edge.pop() {
            let Some(known) = self.known(entry).filter(|_| !incomplete.contains(&entry)) else {
                continue;
            };
            if complete.insert(entry) && known.mine && complete.len() < BEHIND_MAX {
                edge.extend(&known.parents);
            }
        }
        let mut complete: Vec<u32> = complete.into_iter().collect();
        let is_mine = |entry: u32| self.known(entry).is_some_and(|known| known.mine);
        complete.sort_unstable_by_key(|entry| (is_mine(*entry), Reverse(self.place(*entry))));
        complete
            .into_iter()
            .filter_map(|entry| self.hash(entry))
            .take(most)
            .collect()
    }

    /// The owner's messages that name this one.
    pub fn mine_after(&self, hash: MessageHash) -> impl Iterator<Item = MessageHash> + '_ {
        let entry = self
            .index
            .get(&hash)
            .and_then(|entry| self.entries.get(*entry as usize));
        let children = entry.into_iter().flat_map(|slot| &slot.children);
        let mine = children.filter(|child| self.known(**child).is_some_and(|known| known.mine));
        mine.filter_map(|child| self.hash(*child))
    }

    /// These and all that is known to be before them, but nothing of `except` nor what is reached through it alone.
    fn up_to(&self, targets: Vec<u32>, except: &HashSet<u32>) -> HashSet<u32> {
        let mut reached = HashSet::new();
        let mut pending = targets;
        while let Some(entry) = pending.pop() {
            let Some(known) = self.known(entry) else {
                continue;
            };
            if !except.contains(&entry) && reached.insert(entry) {
                pending.extend(&known.parents);
            }
        }
        reached
    }

    fn entries_of(&self, hashes: &[MessageHash]) -> Vec<u32> {
        hashes.iter().filter_map(|hash| self.index.get(hash).copied()).collect()
    }

    fn entries_of_gaps(&self) -> Vec<u32> {
        self.gaps
            .keys()
            .filter_map(|hash| self.index.get(hash).copied())
            .collect()
    }

    fn hash(&self, entry: u32) -> Option<MessageHash> {
        Some(self.entries.get(entry as usize)?.hash)
    }

    fn place(&self, entry: u32) -> Option<(u64, MessageHash)> {
        Some((self.known(entry)?.place, self.hash(entry)?))
    }
}
