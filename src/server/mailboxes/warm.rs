//! Reads ahead in what is about to be dropped, so that the processor waits for many cold cache lines at once.
//!
//! A message that goes is seldom in a cache: its place, its mailbox, the links of its body. To drop one after the other
//! is to wait for each of these in turn.

use std::hint::black_box;

use super::blocks::Blocks;
use super::dense::Dense;
use super::mailbox::Mailbox;
use super::message::Message;

/// How many messages are read ahead at a time.
pub(super) const AHEAD: usize = 16;

/// Reads ahead the messages from `head` on that are about to be dropped, as far as each `goes`.
pub(super) fn queue(head: u32, goes: impl Fn(&Message) -> bool, messages: &Dense<Message>, blocks: &Blocks) {
    let mut read = 0;
    let mut cursor = head;
    for _ in 0..AHEAD {
        let Some(message) = messages.get(cursor).filter(|message| goes(message)) else {
            break;
        };
        read ^= blocks.prefetch(message.first_block);
        for neighbour in message.timer.neighbours() {
            read ^= messages.get(neighbour).map_or(0, |message| u64::from(message.next));
        }
        cursor = message.next;
    }
    black_box(read);
}

/// Reads ahead messages that are about to expire.
pub(super) fn due(
    due: impl Iterator<Item = u32>,
    messages: &Dense<Message>,
    mailboxes: &Dense<Mailbox>,
    blocks: &Blocks,
) {
    let mut read = 0;
    for index in due.take(AHEAD) {
        let message = &messages[index];
        read ^= blocks.prefetch(message.first_block) ^ u64::from(mailboxes[message.mailbox].count);
    }
    black_box(read);
}
