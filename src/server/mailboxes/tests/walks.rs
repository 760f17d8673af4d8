//! How far one lock of a shard walks along a queue, and that all of the walk is done all the same.

use crate::server::limits::REMOVALS_PER_LOCK;

use super::*;

const MANY: usize = 2 * REMOVALS_PER_LOCK + 10;

fn world_with_much_mail() -> World {
    let mut world = World::with(1 << 20, 2000);
    world.post(&[""; MANY]);
    world
}

/// Takes everything; what confirms all of it.
fn last_of(world: &World, session: &Attachment) -> Sequence {
    world.deliveries(session).last().unwrap().sequence
}

impl World {
    fn confirm_once(&self, session: &Attachment, upto: Sequence) -> bool {
        let mut shard = self.mailboxes.lock(session.shard);
        shard.confirm(session.mailbox, session.session, upto, &mut Vec::new())
    }

    fn detach_once(&self, session: &Attachment) -> bool {
        let mut shard = self.mailboxes.lock(session.shard);
        shard.detach(session.mailbox, session.session)
    }
}

#[test]
fn a_full_mailbox_makes_as_much_room_from_what_has_expired_as_it_needs() {
    let mut world = World::new();
    for _ in 0..8 {
        world.try_post("x", Retention::Seconds(1)).unwrap();
    }
    world.at_millis(1000);
    world.post(&["y"]);
    assert_eq!(world.messages(), 8);
    assert_eq!(world.take(&world.attach(1)), ["y"]);
}

#[test]
fn a_message_that_needs_more_room_than_one_lock_makes_is_refused_until_there_is_room() {
    let mut world = World::with(1 << 20, 2000);
    for _ in 0..1000 {
        world.try_post("x", Retention::Seconds(1)).unwrap();
    }
    world.at_millis(1000);
    let body = "y".repeat(EXPIRIES_PER_LOCK + 1);
    assert_eq!(world.try_post(&body, STORE), Err(PostError::MailboxFull));
    assert_eq!(world.messages(), 1000 - EXPIRIES_PER_LOCK as u64);
    world.post(&[&body]);
    assert_eq!(world.messages(), 1000 - EXPIRIES_PER_LOCK as u64);
}

#[test]
fn one_lock_drops_only_its_share_of_what_was_confirmed() {
    let world = world_with_much_mail();
    let session = world.attach(1);
    let last = last_of(&world, &session);
    assert!(world.confirm_once(&session, last));
    assert_eq!(world.messages(), (MANY - REMOVALS_PER_LOCK) as u64);
    assert!(world.confirm_once(&session, last));
    assert!(!world.confirm_once(&session, last));
    assert_eq!(world.messages(), 0);
    drop(session);
    world.assert_empty();
}

#[test]
fn a_confirmation_of_much_mail_is_whole_when_it_returns() {
    let mut world = world_with_much_mail();
    let (one, two) = (world.attach(1), world.attach(2));
    let last = last_of(&world, &one);
    assert!(world.confirm_once(&one, last));
    one.confirm(last, &mut world.woken);
    drop(two);
    assert_eq!(world.messages(), 0);
    world.post(&["new"]);
    assert_eq!(world.take(&world.attach(3)), ["new"]);
}

#[test]
fn a_session_that_comes_in_the_middle_of_a_confirmation_begins_where_it_has_got_to() {
    let mut world = world_with_much_mail();
    let one = world.attach(1);
    let last = last_of(&world, &one);
    assert!(world.confirm_once(&one, last));
    let two = world.attach(2);
    one.confirm(last, &mut world.woken);
    drop(one);
    assert_eq!(world.deliveries(&two).len(), MANY - REMOVALS_PER_LOCK);
    drop(two);
    assert_eq!(world.messages(), 0);
}

#[test]
fn a_session_that_leaves_is_attached_until_the_last_of_what_it_held_up_has_gone() {
    let mut world = world_with_much_mail();
    let (one, two) = (world.attach(1), world.attach(2));
    let last = last_of(&world, &one);
    one.confirm(last, &mut world.woken);
    assert_eq!(world.messages(), MANY as u64);
    assert!(world.detach_once(&two));
    assert_eq!(world.messages(), (MANY - REMOVALS_PER_LOCK) as u64);
    assert_eq!(world.mailboxes.stats().sessions, 2);
    drop(two);
    assert_eq!((world.messages(), world.mailboxes.stats().sessions), (0, 1));
    drop(one);
    world.assert_empty();
}
