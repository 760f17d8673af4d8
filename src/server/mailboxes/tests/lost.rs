//! What expired unseen: what counts, who is told, and for how long it is known. The bounds of the table are tested with
//! it.

use crate::server::limits::LOST_HOLD_SECONDS;

use super::*;

impl World {
    /// Posts a message for each of these that is over after so many seconds.
    fn post_for_seconds(&mut self, seconds: &[u32]) {
        for ttl in seconds {
            self.try_post("short", Retention::Seconds(*ttl)).unwrap();
        }
    }

    /// What a login is told, that ends at once.
    fn lost(&self) -> u64 {
        self.attach(1).take_lost(self.now)
    }

    fn expire_at_second(&mut self, second: u32) {
        self.at_millis(u64::from(second) * 1000);
        self.expire();
    }
}

#[test]
fn a_login_is_told_once_how_many_messages_expired_unseen() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 2, 60, 1]);
    assert_eq!(world.lost(), 0);
    world.expire_at_second(2);
    assert_eq!((world.lost(), world.lost(), world.messages()), (3, 0, 1));
    world.expire_at_second(60);
    world.assert_empty();
    assert_eq!((world.lost(), world.mailboxes.expired()), (1, 4));
    world.assert_empty();
}

#[test]
fn what_is_due_at_a_login_is_told_even_if_nobody_has_freed_it() {
    let mut world = World::new();
    world.post_for_seconds(&[60, 1, 2, 1]);
    world.at_millis(2000);
    assert_eq!((world.lost(), world.messages()), (3, 1));
}

#[test]
fn each_mailbox_is_told_of_its_own() {
    let mut world = World::new();
    for n in 1..=3 {
        for _ in 0..n {
            let (retention, now) = (Retention::Seconds(1), world.now);
            let posted = world.mailboxes.post(&id(n), &[], retention, now, &mut world.woken);
            posted.unwrap();
        }
    }
    world.expire_at_second(1);
    for n in 1..=4_u8 {
        let session = world.mailboxes.attach(&id(n), address(1)).unwrap();
        assert_eq!(session.take_lost(world.now), u64::from(n % 4));
    }
    assert_eq!(world.mailboxes.expired(), 6);
}

#[test]
fn a_second_login_is_told_what_is_new_since_the_first() {
    let mut world = World::new();
    world.post_for_seconds(&[1]);
    world.expire_at_second(1);
    let one = world.attach(1);
    assert_eq!(one.take_lost(world.now), 1);
    // It takes nothing, so its mail is over before it is on its way.
    world.post_for_seconds(&[1, 1]);
    world.expire_at_second(2);
    let two = world.attach(2);
    assert_eq!((two.take_lost(world.now), one.take_lost(world.now)), (2, 0));
}

#[test]
fn what_is_on_its_way_to_a_live_session_is_seen() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 1, 1]);
    let slow = world.attach(1);
    let session = world.attach(2);
    let mut into = Vec::new();
    let room = Room {
        messages: 2,
        ..Room::of_bytes(1000)
    };
    assert_eq!(world.take_some(&session, room, &mut into), Taken::More);
    world.expire_at_second(1);
    assert_eq!((world.mailboxes.expired(), slow.take_lost(world.now)), (1, 1));
    // A session that was given all there was is ahead of it.
    world.post_for_seconds(&[1]);
    assert_eq!(world.take(&session), ["short"]);
    world.expire_at_second(2);
    assert_eq!(world.mailboxes.expired(), 1);
}

#[test]
fn what_was_confirmed_by_one_session_is_seen_though_another_still_waits_for_it() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 1]);
    let (one, two) = (world.attach(1), world.attach(2));
    world.have(&one, 1);
    drop(one);
    world.expire_at_second(1);
    assert_eq!((world.mailboxes.expired(), two.take_lost(world.now)), (1, 1));
}

#[test]
fn what_a_session_left_unconfirmed_is_unseen_when_it_expires_later() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 1]);
    let session = world.attach(1);
    world.have(&session, 1);
    drop(session);
    world.expire_at_second(1);
    assert_eq!((world.lost(), world.mailboxes.expired()), (1, 1));
}

#[test]
fn what_a_session_finds_expired_when_it_comes_to_it_is_unseen() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 1]);
    world.post(&["a"]);
    let session = world.attach(1);
    world.at_millis(1000);
    assert_eq!(world.take(&session), ["a"]);
    assert_eq!((world.mailboxes.expired(), world.messages()), (2, 1));
    assert_eq!((session.take_lost(world.now), world.lost()), (2, 0));
}

#[test]
fn what_expired_and_made_room_for_another_message_is_unseen() {
    let mut world = World::new();
    world.post_for_seconds(&[1; 8]);
    world.at_millis(1000);
    world.post(&["a", "b"]);
    assert_eq!(world.mailboxes.expired(), 2);
    assert_eq!((world.lost(), world.mailboxes.expired()), (8, 8));
}

#[test]
fn what_must_not_be_stored_is_not_missed() {
    let mut world = World::new();
    let session = world.attach(1);
    world.try_post("taken", Retention::LiveOnly).unwrap();
    world.take(&session);
    world.try_post("not taken", Retention::LiveOnly).unwrap();
    world.expire_at_second(LIVE_ONLY_HOLD_SECONDS);
    world.try_post("left", Retention::LiveOnly).unwrap();
    drop(session);
    world.try_post("nobody", Retention::LiveOnly).unwrap();
    world.assert_empty();
    assert_eq!((world.lost(), world.mailboxes.expired()), (0, 0));
}

#[test]
fn what_was_confirmed_in_time_never_counts() {
    let mut world = World::new();
    world.post_for_seconds(&[1, 1]);
    world.have(&world.attach(1), 2);
    world.expire_at_second(1);
    assert_eq!((world.lost(), world.mailboxes.expired()), (0, 0));
}

#[test]
fn nobody_is_told_of_what_was_lost_too_long_ago() {
    let mut world = World::new();
    world.post_for_seconds(&[1]);
    world.expire_at_second(1);
    world.at_millis(u64::from(LOST_HOLD_SECONDS) * 1000 + 999);
    let attached = world.attach(1);
    assert_eq!(attached.take_lost(world.now), 1);
    drop(attached);

    world.post_for_seconds(&[1]);
    world.expire_at_second(LOST_HOLD_SECONDS + 2);
    world.at_millis(u64::from(2 * LOST_HOLD_SECONDS + 2) * 1000);
    assert_eq!((world.lost(), world.mailboxes.expired()), (0, 2));
}
