//! What mail is charged, and that what is charged follows what is held, whatever came and went before.

use std::collections::VecDeque;

use super::*;

/// A world of one shard, whose segments are as large as its budget makes them.
fn world(budget: u64) -> World {
    let caps = Caps {
        mailbox_messages: 100_000,
        mailbox_bytes: 1 << 30,
        sessions: 2,
    };
    let mut world = World::new();
    let budget = Arc::new(Budget::new(budget));
    world.mailboxes = Arc::new(Mailboxes::new(caps, 1, [1, 2], budget, world.epoch));
    world
}

/// Posts messages of `len` bytes until the budget is spent, every `nth` to be kept; how many.
fn fill(world: &mut World, len: usize, nth: usize) -> usize {
    let body = "x".repeat(len);
    for count in 0.. {
        let ttl = if count % nth == 0 { 1_000_000 } else { 1 };
        if world.try_post(&body, Retention::Seconds(ttl)).is_err() {
            return count;
        }
    }
    unreachable!("a budget has an end")
}

fn let_expire(world: &mut World, millis: &mut u64) {
    *millis += 2000;
    world.at_millis(*millis);
    world.expire();
}

#[test]
fn messages_that_stay_from_rounds_of_other_sizes_hold_little_more_than_themselves() {
    const BUDGET: u64 = 4 << 20;
    let (mut world, mut millis, mut kept_bytes) = (world(BUDGET), 0, 0);
    for len in [0, 100, 300, 1000, 5000, 60_000, 30, 152, 65_536, 8] {
        let nth = (64 * 1024 / (len + 64)).max(8);
        let count = fill(&mut world, len, nth);
        kept_bytes += count.div_ceil(nth) * (64 + len.next_multiple_of(128));
        assert!(world.mailboxes.budget().used() <= BUDGET);
        let_expire(&mut world, &mut millis);
        let used = world.mailboxes.budget().used();
        // An eighth may be vacant, and a few segments of each kind.
        let most = kept_bytes as u64 * 10 / 8 + 12 * BUDGET / SEGMENTS;
        assert!(used <= most, "{used} bytes are charged for {kept_bytes} of {len}");
    }
}

const SEGMENTS: u64 = crate::server::limits::SEGMENTS_PER_SHARD as u64;

#[test]
fn mail_that_is_gone_is_charged_for_nothing_and_leaves_room_for_any_other() {
    let (mut world, mut millis) = (world(1 << 20), 0);
    for len in [65_536, 0, 65_536, 20, 300] {
        let count = fill(&mut world, len, usize::MAX);
        let bytes = (count * (64 + len)) as u64;
        assert!(bytes > (1 << 20) / 2, "{count} of {len} bytes");
        let_expire(&mut world, &mut millis);
        // The first one stays.
        let_expire(&mut world, &mut millis);
        world.mailboxes.attach(&id(1), address(1)).map(drop).unwrap();
        millis += 2_000_000_000;
        world.at_millis(millis);
        world.expire();
        world.assert_empty();
    }
}

#[test]
fn tables_and_mailboxes_shrink_when_their_ids_are_gone() {
    let mut world = world(8 << 20);
    let post = |world: &World, n: u32, ttl| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let id = RecipientId::from_bytes(bytes);
        let retention = Retention::Seconds(ttl);
        world.mailboxes.post(&id, b"x", retention, world.now, &mut Vec::new())
    };
    let count = (0..u32::MAX).take_while(|n| post(&world, *n, 1).is_ok()).count();
    assert!(count > 50_000, "{count}");
    world.at_millis(2000);
    world.expire();
    world.assert_empty();
    assert_eq!(world.mailboxes.stats().mailboxes, 0);
}

#[test]
fn bodies_of_every_length_come_out_as_they_went_in_however_often_they_have_moved() {
    let mut world = world(1 << 20);
    let body = |n: usize| -> String { ('a'..='z').cycle().skip(n % 26).take(n * 7 % 900).collect() };
    let mut kept = VecDeque::new();
    // Far more comes and goes than stays, from all over the segments.
    for n in 0..6000 {
        let stays = n % 11 == 0;
        let ttl = if stays { 1_000_000 } else { 1 };
        world.try_post(&body(n), Retention::Seconds(ttl)).unwrap();
        if stays {
            kept.push_back(body(n));
        }
        if n % 500 == 499 {
            world.at_millis(n as u64 * 10 + 2000);
            world.expire();
        }
    }
    world.at_millis(100_000);
    world.expire();
    let session = world.attach(1);
    assert_eq!(world.have(&session, kept.len()), Vec::from(kept));
    drop(session);
    world.assert_empty();
}

#[test]
fn a_spent_budget_refuses_and_leaves_no_mailbox_behind() {
    let mut world = World::with(ONE_SMALL_MESSAGE, 8);
    // It doesn't fit into the message's own place.
    assert_eq!(world.try_post(&"x".repeat(25), STORE), Err(PostError::BudgetSpent));
    world.assert_empty();
    world.post(&["ab"; 7]);
    assert_eq!(world.try_post("", STORE), Err(PostError::BudgetSpent));
    assert_eq!(world.mailboxes.budget().used(), ONE_SMALL_MESSAGE);
    assert_eq!(world.messages(), 7);
}

#[test]
fn a_mailbox_emptied_to_make_room_is_freed_when_the_budget_refuses() {
    let mut world = World::with(ONE_SMALL_MESSAGE, 1);
    world.try_post("a", Retention::Seconds(1)).unwrap();
    world.at_millis(1000);
    assert_eq!(world.try_post(&"x".repeat(25), STORE), Err(PostError::BudgetSpent));
    world.assert_empty();
}

#[test]
fn a_session_attaches_when_no_memory_is_left() {
    let mut world = World::with(ONE_SMALL_MESSAGE - 1, 8);
    assert_eq!(world.try_post("", STORE), Err(PostError::BudgetSpent));
    let session = world.attach(1);
    assert_eq!(world.take(&session), [""; 0]);
    drop(session);
    world.assert_empty();
}

#[test]
fn what_must_not_be_stored_gets_the_same_answer_whether_it_fits_or_not() {
    let mut full = World::new();
    full.post(&["x"; 8]);
    let mut spent = World::with(ONE_SMALL_MESSAGE, 8);
    spent.post(&["x"; 7]);
    for mut world in [full, spent] {
        for session in [None, Some(world.attach(1))] {
            let messages = world.messages();
            assert_eq!(world.try_post("live", Retention::LiveOnly), Ok(()));
            assert_eq!(world.try_post("live", Retention::Seconds(0)), Ok(()));
            assert_eq!(world.messages(), messages, "it doesn't fit");
            drop(session);
        }
    }
}

#[test]
fn what_lies_vacant_makes_way_for_what_is_coming_in() {
    const BUDGET: u64 = 1 << 20;
    let mut world = world(BUDGET);
    let count = fill(&mut world, 1000, 1);
    world.at_millis(1_000_000_000);
    world.expire();
    assert!(count > 500 && world.mailboxes.budget().vacant() > 100);
    let body = world.mailboxes.budget().reserve(BUDGET).unwrap();
    assert_eq!(world.mailboxes.budget().vacant(), 0);
    drop(body);
    fill(&mut world, 1000, 1);
}

#[test]
fn when_memory_is_spent_a_sender_does_not_learn_whether_a_session_is_there() {
    // Messages to one mailbox have those of messages and of mailboxes end in different places.
    for others in 0..100 {
        let mut world = world(64 << 10);
        let _session = world.attach(1);
        let mailboxes = Arc::clone(&world.mailboxes);
        let mut post = |number: u8, count: u8| {
            let id = RecipientId::from_bytes([[number, count]; 16].concat().try_into().unwrap());
            mailboxes.post(&id, b"", STORE, world.now, &mut world.woken)
        };
        for _ in 0..others {
            post(0, 0).unwrap();
        }
        let mut ids = (2..=u8::MAX).flat_map(|number| (0..=u8::MAX).map(move |count| (number, count)));
        assert!(ids.any(|(number, count)| post(number, count).is_err()));
        assert_eq!(world.try_post("", STORE), Err(PostError::BudgetSpent), "{others}");
    }
}
