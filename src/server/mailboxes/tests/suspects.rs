//! A message that ends every session it is given to: what goes before it, and that it doesn't keep others back for
//! ever.

use crate::server::limits::SUSPECT_FAILURES;

use super::*;

impl World {
    /// A session that confirms what it is given as it comes, up to `poison`, at which it ends; what it had.
    fn visit(&mut self, poison: &str) -> Vec<String> {
        let session = self.attach(1);
        let mut had = Vec::new();
        loop {
            let mut given = Vec::new();
            let taken = self.take_some(&session, Room::of_bytes(0), &mut given);
            for GivenMessage { body, sequence } in given {
                if body == poison {
                    return had;
                }
                had.push(body);
                session.confirm(sequence, &mut self.woken);
            }
            if taken == Taken::All {
                return had;
            }
        }
    }
}

#[test]
fn after_three_sessions_in_a_row_the_later_messages_come_first() {
    let mut world = World::new();
    world.post(&["a", "poison", "b"]);
    assert_eq!(world.visit("poison"), ["a"]);
    for _ in 1..SUSPECT_FAILURES {
        assert_eq!(world.visit("poison"), [""; 0]);
    }
    world.post(&["c"]);
    assert_eq!(world.visit("poison"), ["b", "c"]);
    world.post(&["d", "e"]);
    assert_eq!(world.visit("poison"), ["d", "e"], "it stays the last");
    // And is still there for a client that can take it.
    assert_eq!(world.visit("nothing"), ["poison"]);
    world.assert_empty();
}

#[test]
fn it_keeps_its_deadline() {
    let mut world = World::new();
    world.try_post("poison", Retention::Seconds(5)).unwrap();
    world.post(&["a"]);
    for _ in 0..SUSPECT_FAILURES {
        world.visit("poison");
    }
    world.at_millis(4999);
    let session = world.attach(1);
    assert_eq!(world.take(&session), ["a", "poison"]);
    drop(session);
    world.at_millis(5000);
    assert_eq!(world.take(&world.attach(1)), ["a"]);
}

#[test]
fn all_of_several_are_tried_after_what_is_good() {
    let mut world = World::new();
    world.post(&["poison", "poison", "good"]);
    let had: Vec<_> = (0..3 * SUSPECT_FAILURES).flat_map(|_| world.visit("poison")).collect();
    assert_eq!(had, ["good"]);
    assert_eq!(world.messages(), 2);
}

#[test]
fn a_message_that_a_session_ended_with_is_given_when_all_before_it_is_acknowledged() {
    let mut world = World::new();
    world.post(&["poison"]);
    world.visit("poison");
    world.post(&["a"]);
    let session = world.attach(1);
    let mut deliveries = Deliveries::new();
    let room = Room::of_bytes(100);
    assert_eq!(
        session.take(world.now, room, false, &mut deliveries),
        Taken::AwaitsAcknowledgement
    );
    assert!(deliveries.is_empty());
    // Alone, for what ended the session may have been what came after it.
    let taken = session.take(world.now, room, true, &mut deliveries);
    assert_eq!((taken, deliveries.len()), (Taken::AwaitsAcknowledgement, 1));
    assert_eq!(session.take(world.now, room, true, &mut deliveries), Taken::All);
    assert_eq!(deliveries.len(), 2);
}

#[test]
fn a_session_that_was_not_given_the_message_did_not_end_with_it() {
    let mut world = World::new();
    world.post(&["a"]);
    for index in 0..10 {
        drop(world.attach(index));
    }
    let session = world.attach(1);
    world.post(&["b"]);
    assert_eq!(world.have(&session, 1), ["a", "b"]);
    drop(session);
    world.post(&["c"]);
    // Three in a row, this one's predecessor included.
    for _ in 1..SUSPECT_FAILURES {
        assert_eq!(world.take(&world.attach(1)), ["b", "c"]);
    }
    assert_eq!(world.take(&world.attach(1)), ["c", "b"]);
}

#[test]
fn while_another_session_is_there_nothing_changes_its_place() {
    let mut world = World::new();
    let stays = world.attach(2);
    world.post(&["poison", "a"]);
    for _ in 0..=SUSPECT_FAILURES {
        assert_eq!(world.visit("poison"), [""; 0]);
    }
    assert_eq!(world.have(&stays, 2), ["poison", "a"]);
    drop(stays);
    world.assert_empty();
}

#[test]
fn what_comes_after_the_message_has_been_given_waits_until_it_is_acknowledged() {
    let mut world = World::new();
    world.post(&["poison"]);
    world.visit("poison");
    let session = world.attach(1);
    assert_eq!(world.take(&session), ["poison"]);
    world.post(&["a"]);
    let (mut deliveries, room) = (Deliveries::new(), Room::of_bytes(100));
    // Each pong has a session look again, also one that acknowledges nothing.
    for _ in 0..2 {
        let taken = session.take(world.now, room, false, &mut deliveries);
        assert_eq!((taken, deliveries.len()), (Taken::AwaitsAcknowledgement, 0));
    }
    assert_eq!(session.take(world.now, room, true, &mut deliveries), Taken::All);
    assert_eq!(deliveries.len(), 1);
}

impl World {
    /// The same, but it confirms what it is given together, and nothing of that if `poison` is among it.
    /// Returns how many it had.
    fn visit_with_pings(&mut self, poison: &str) -> usize {
        let session = self.attach(1);
        let mut had = 0;
        loop {
            let mut given = Vec::new();
            let taken = self.take_some(&session, Room::of_bytes(16 * 1024), &mut given);
            if given.iter().any(|given| given.body == poison) {
                return had;
            }
            if let Some(last) = given.last() {
                session.confirm(last.sequence, &mut self.woken);
            }
            had += given.len();
            if taken == Taken::All {
                return had;
            }
        }
    }
}

#[test]
fn what_stands_before_the_message_is_acknowledged_in_a_few_sessions_however_much_it_is() {
    let mut world = World::with(1 << 20, 1000);
    for before in [1, 50, 400] {
        world.post(&vec!["x"; before]);
        world.try_post("poison", Retention::Seconds(10)).unwrap();
        world.post(&["last"]);
        let had: Vec<_> = (0..15).map(|_| world.visit_with_pings("poison")).collect();
        assert_eq!(had.iter().sum::<usize>(), before + 1, "{had:?}");
        world.now += Duration::from_secs(11);
        world.expire();
        world.assert_empty();
    }
}

#[test]
fn what_another_session_has_confirmed_is_given_without_waiting() {
    let mut world = World::with(1 << 20, 100);
    world.post(&["a", "b", "c", "d"]);
    // It ends at the first of them.
    let session = world.attach(1);
    world.take(&session);
    drop(session);
    let slow = world.attach(1);
    let room = Room::of_bytes(16 * 1024);
    let mut given = Vec::new();
    assert_eq!(world.take_some(&slow, room, &mut given), Taken::AwaitsAcknowledgement);
    assert_eq!(given.len(), 1);
    // The slow one has read nothing yet when the quick one has it all.
    let quick = world.attach(2);
    let mut taken = Taken::More;
    while taken != Taken::All {
        let mut given = Vec::new();
        taken = world.take_some(&quick, room, &mut given);
        if let Some(last) = given.last() {
            quick.confirm(last.sequence, &mut world.woken);
        }
    }
    world.post(&["e"]);
    let mut deliveries = Deliveries::new();
    let taken = slow.take(world.now, room, false, &mut deliveries);
    assert_eq!((deliveries.len(), taken), (3, Taken::AwaitsAcknowledgement));
}
