//! Reads ahead in what is about to be dropped, so that the processor waits for many cold cache lines at once.
//!
//! A message that goes is seldom in a cache: its slot, its mailbox, the count before its body. To drop one after the other
//! is to wait for each of these in turn, since the count is changed by an instruction that lets no later one begin.

use std::hint::black_box;
use std::sync::Arc;

use super::mailbox::{Mailbox, Message};
use super::slab::Slab;

/// So many messages are read ahead at a time.
pub(super) const AHEAD: usize = 16;

/// The messages at `head` and after it that are about to be dropped, as far as each `goes`.
pub(super) fn queue(head: u32, goes: impl Fn(&Message) -> bool, messages: &Slab<Message>) {
    let mut read = 0;
    let mut cursor = head;
    for _ in 0..AHEAD {
        let Some(message) = messages.get(cursor).filter(|message| goes(message)) else {
            break;
        };
        read ^= Arc::strong_count(&message.body);
        for neighbour in message.timer.neighbours() {
            read ^= messages.get(neighbour).map_or(0, |message| message.next as usize);
        }
        cursor = message.next;
    }
    black_box(read);
}

/// Messages that are about to expire.
pub(super) fn due(due: impl Iterator<Item = u32>, messages: &Slab<Message>, mailboxes: &Slab<Mailbox>) {
    let mut read = 0;
    for index in due.take(AHEAD) {
        let message = &messages[index];
        read ^= Arc::strong_count(&message.body) ^ mailboxes[message.mailbox].count as usize;
    }
    black_box(read);
}
