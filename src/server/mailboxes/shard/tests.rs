//! What can only be seen from within a shard, or only reached by setting its fields.

use crate::protocol::id::RecipientId;
use crate::server::mailboxes::blocks::BLOCK_BYTES;
use crate::server::mailboxes::{Deliveries, Sequence, Taken};
use crate::server::token::Token;

use super::*;

fn shard() -> Shard {
    let caps = Caps {
        mailbox_messages: 10,
        mailbox_bytes: 10,
        sessions: 1,
    };
    let budget = Arc::new(Budget::new(1 << 20));
    let pool = Arc::new(Pool::new(Arc::clone(&budget), 1));
    Shard::new(caps, 1, &pool, budget)
}

/// Posts an empty message to the one mailbox, at the start of time.
fn post(shard: &mut Shard, ttl: u32) -> Result<(), PostError> {
    shard.post(&key(), &[], Retention::Seconds(ttl), 0, &mut Vec::new())
}

fn key() -> Key {
    Key::new(RecipientId::from_bytes([1; 32]), 1)
}

fn shard_of_large_mailboxes() -> Shard {
    let caps = Caps {
        mailbox_messages: 1000,
        mailbox_bytes: 1 << 30,
        sessions: 1,
    };
    let budget = Arc::new(Budget::new(64 << 20));
    let pool = Arc::new(Pool::new(Arc::clone(&budget), 1));
    Shard::new(caps, 1, &pool, budget)
}

fn address() -> SessionAddress {
    let token = Token {
        index: 0,
        generation: 0,
    };
    SessionAddress { worker: 0, token }
}

fn the_mailbox(shard: &Shard) -> u32 {
    shard.find(&key()).unwrap()
}

#[test]
fn a_queue_never_spans_more_sequences_than_can_be_told_apart() {
    let mut shard = shard();
    assert_eq!(post(&mut shard, 1), Ok(()));
    let index = the_mailbox(&shard);
    let mailbox = &mut shard.mailboxes[index];
    let oldest = mailbox.oldest(&shard.messages);
    // As if four billion short-lived messages had come and gone behind the first.
    mailbox.next_sequence = Sequence((oldest.0 & !0xffff) - 1);
    assert_eq!(post(&mut shard, 1), Ok(()));
    assert_eq!(post(&mut shard, 1), Err(PostError::MailboxFull));
}

#[test]
fn a_queue_never_has_more_bytes_than_can_be_counted_with_those_that_no_cap_counts() {
    let mut shard = shard();
    shard.caps.mailbox_bytes = u32::MAX;
    shard.caps.sessions = 2;
    let (index, ahead) = shard.attach(&key(), address()).unwrap();
    shard.attach(&key(), address()).unwrap();
    let post = |shard: &mut Shard| {
        let retention = Retention::Seconds(1);
        shard.post(&key(), &[0; 8], retention, 0, &mut Vec::new())
    };
    assert_eq!(post(&mut shard), Ok(()));
    let (mut deliveries, room) = (Deliveries::new(), Room::of_bytes(8));
    assert_eq!(shard.take(index, ahead, 0, room, true, &mut deliveries), Taken::All);
    let last = deliveries.iter().last().unwrap().sequence;
    while shard.confirm(index, ahead, last, &mut Vec::new()) {}
    // As if 4 GiB less a little waited, and what has been confirmed were kept for the other session beside it.
    shard.mailboxes[index].bytes = u32::MAX - 4;
    assert_eq!(post(&mut shard), Err(PostError::MailboxFull));
}

#[test]
fn what_one_lock_moves_does_not_grow_with_what_it_frees_and_the_rest_follows() {
    const LEN: usize = 1 << 16;
    let mut shard = shard_of_large_mailboxes();
    let body = vec![0; LEN];
    for _ in 0..EXPIRIES_PER_LOCK {
        for ttl in [1, 100] {
            let retention = Retention::Seconds(ttl);
            assert_eq!(shard.post(&key(), &body, retention, 0, &mut Vec::new()), Ok(()));
        }
    }
    let places = |shard: &Shard| {
        let (mut places, mut at) = (Vec::new(), shard.mailboxes[the_mailbox(shard)].tail);
        while let Some(message) = shard.messages.get(at) {
            if message.timer.tick() == 100 {
                places.push(message.first_block);
            }
            at = if places.len() < EXPIRIES_PER_LOCK {
                message.prev
            } else {
                NONE
            };
        }
        places
    };
    let before = places(&shard);
    let mut goes_on = shard.expire(2000, &mut EXPIRIES_PER_LOCK.clone());
    let after = places(&shard);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .count();
    assert!(
        moved * (LEN / BLOCK_BYTES) <= 2 * MOVES_PER_LOCK,
        "{moved} bodies are moved under one lock"
    );
    while goes_on {
        goes_on = shard.expire(2000, &mut EXPIRIES_PER_LOCK.clone());
    }
    let held = (EXPIRIES_PER_LOCK * LEN) as u64;
    assert!(
        shard.budget.used() < held * 4 / 3,
        "{} bytes for {held}",
        shard.budget.used()
    );
}

#[test]
fn no_missed_message_is_left_out_when_the_mailbox_can_count_no_further() {
    let mut shard = shard();
    // The last one keeps the mailbox.
    for ttl in [1, 1, 100] {
        assert_eq!(post(&mut shard, ttl), Ok(()));
    }
    let index = the_mailbox(&shard);
    shard.mailboxes[index].missed = u16::MAX - 1;
    assert!(!shard.expire(10_000, &mut 10));
    assert_eq!(shard.mailboxes[index].missed, 1);
    assert_eq!(shard.take_lost(index, 10_000), u64::from(u16::MAX) + 1);
}

#[test]
fn what_one_lock_frees_for_a_session_does_not_grow_with_the_bodies_and_the_rest_follows() {
    const LEN: usize = 1 << 16;
    let mut shard = shard_of_large_mailboxes();
    let body = vec![0; LEN];
    for ttl in [[1; 50], [100; 50]].concat() {
        let retention = Retention::Seconds(ttl);
        assert_eq!(shard.post(&key(), &body, retention, 0, &mut Vec::new()), Ok(()));
    }
    let (index, session) = shard.attach(&key(), address()).unwrap();
    let room = Room::of_bytes(0);
    let mut deliveries = Deliveries::new();
    while deliveries.is_empty() {
        let before = shard.messages.len();
        assert_eq!(
            shard.take(index, session, 2000, room, true, &mut deliveries),
            Taken::More
        );
        let freed = (before - shard.messages.len()) as usize;
        assert!(
            freed * (LEN / BLOCK_BYTES) <= 2 * MOVES_PER_LOCK,
            "{freed} bodies are freed under one lock"
        );
    }
    assert_eq!(shard.messages.len(), 50);
}
