//! A session that is far behind another one of its mailbox: what it may hold up, and when it has to go.

use crate::server::limits::{EXPIRIES_PER_LOCK, LAG_MAX_BYTES, LAG_MAX_MESSAGES};

use super::*;

fn world() -> World {
    World::with(1 << 20, 50)
}

fn world_of_large_mailboxes() -> World {
    let mut world = World::with(8 << 20, 50);
    let caps = Caps {
        mailbox_messages: 50,
        mailbox_bytes: u32::try_from(4 * LAG_MAX_BYTES).unwrap(),
        sessions: 2,
    };
    let budget = Arc::clone(world.mailboxes.budget());
    world.mailboxes = Arc::new(Mailboxes::new(caps, 1, [1, 2], budget, world.epoch));
    world
}

/// Posts and has the quick session confirm `count` messages, in batches that fit.
fn relay(world: &mut World, quick: &Attachment, body: &str, count: usize) {
    for _ in 0..count {
        world.post(&[body]);
        world.have(quick, 1);
    }
}

#[test]
fn what_one_session_has_confirmed_does_not_count_against_the_caps_for_another() {
    let mut world = world();
    let (quick, slow) = (world.attach(1), world.attach(2));
    relay(&mut world, &quick, "x", LAG_MAX_MESSAGES);
    assert!(!slow.is_lagging());
    assert_eq!(world.messages(), LAG_MAX_MESSAGES as u64);
    assert_eq!(world.take(&slow).len(), LAG_MAX_MESSAGES, "it is all kept for it");
    // Neither in messages nor in bytes.
    world.post(&["yyyyyyyyyyyyyyyyyyyy"; 50]);
    assert_eq!(world.try_post("", STORE), Err(PostError::MailboxFull));
    drop((quick, slow));
}

#[test]
fn a_session_that_is_more_than_a_window_behind_is_woken_to_go_and_holds_up_nothing() {
    let mut world = world();
    let (quick, slow) = (world.attach(1), world.attach(2));
    relay(&mut world, &quick, "x", LAG_MAX_MESSAGES);
    world.woken();
    relay(&mut world, &quick, "x", 1);
    assert!(slow.is_lagging() && !quick.is_lagging());
    assert_eq!(world.woken().iter().filter(|index| **index == 2).count(), 1);
    assert_eq!(world.messages(), 0);
    let mut into = Vec::new();
    assert_eq!(world.take_some(&slow, Room::of_bytes(100), &mut into), Taken::Lagging);
    relay(&mut world, &quick, "x", 10);
    assert_eq!((world.messages(), world.woken().contains(&2)), (0, false));
    world.post(&["last"]);
    drop(slow);
    assert_eq!(world.take(&quick), ["last"]);
    drop(quick);
    assert_eq!(world.take(&world.attach(3)), ["last"]);
}

#[test]
fn bytes_count_too_but_one_large_message_is_none_to_go_for() {
    let mut world = world_of_large_mailboxes();
    let (quick, slow) = (world.attach(1), world.attach(2));
    let large = "x".repeat(2 * LAG_MAX_BYTES);
    relay(&mut world, &quick, &large, 1);
    assert!(!slow.is_lagging());
    relay(&mut world, &quick, "x", 1);
    assert!(slow.is_lagging());
}

#[test]
fn sessions_that_are_all_behind_hold_their_mail_up_to_the_caps() {
    let mut world = world();
    let (one, two) = (world.attach(1), world.attach(2));
    world.post(&["x"; 50]);
    assert_eq!(world.try_post("x", STORE), Err(PostError::MailboxFull));
    assert!(!one.is_lagging() && !two.is_lagging());
    assert_eq!((world.take(&one).len(), world.take(&two).len()), (50, 50));
}

#[test]
fn what_expires_is_no_longer_kept_for_a_session_that_is_behind() {
    let mut world = world();
    let (quick, slow) = (world.attach(1), world.attach(2));
    for second in 1..5 {
        for _ in 0..LAG_MAX_MESSAGES / 2 {
            world.try_post("x", Retention::Seconds(1)).unwrap();
            world.have(&quick, 1);
        }
        world.at_millis(second * 2000);
        world.expire();
        assert!(!slow.is_lagging());
    }
    assert_eq!(world.messages(), 0);
}

#[test]
fn what_has_expired_makes_room_though_more_is_kept_for_another_session_than_goes_at_once() {
    let mut world = world();
    let (quick, slow) = (world.attach(1), world.attach(2));
    relay(&mut world, &quick, "x", EXPIRIES_PER_LOCK + 1);
    world.post(&["x"; 50]);
    world.at_millis(60_000);
    world.post(&["y"; 50]);
    assert_eq!(world.try_post("y", STORE), Err(PostError::MailboxFull));
    assert_eq!(world.take(&slow).len(), 50);
}

#[test]
fn what_expires_is_not_on_its_way_to_a_session_that_is_to_go() {
    let mut world = world();
    let (quick, slow) = (world.attach(1), world.attach(2));
    relay(&mut world, &quick, "x", LAG_MAX_MESSAGES);
    world.post(&["x"]);
    assert_eq!(world.take(&slow).len(), LAG_MAX_MESSAGES + 1);
    world.have(&quick, 1);
    assert!(slow.is_lagging());
    world.try_post("late", Retention::Seconds(1)).unwrap();
    world.at_millis(2000);
    world.expire();
    assert_eq!((world.messages(), world.mailboxes.expired()), (0, 1));
}

#[test]
fn a_session_that_has_been_given_no_more_than_its_window_is_not_behind() {
    let mut world = world_of_large_mailboxes();
    let (quick, slow) = (world.attach(1), world.attach(2));
    // As a window gives: one message may go beyond it.
    let most = "x".repeat(LAG_MAX_BYTES - 1);
    let last = "x".repeat(64 * 1024);
    world.post(&[&most, &last]);
    assert_eq!(world.take(&slow).len(), 2);
    world.have(&quick, 2);
    assert!(!slow.is_lagging());
    relay(&mut world, &quick, "x", 1);
    assert!(slow.is_lagging());
}
