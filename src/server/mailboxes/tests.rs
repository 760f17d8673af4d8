//! Mailboxes case by case, in virtual time. Random sequences against a model are in `tests/mailboxes`.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use crate::server::limits::{EXPIRIES_PER_LOCK, LIVE_ONLY_HOLD_SECONDS, MESSAGES_PER_TAKE, SEGMENT_MIN_BYTES};
use crate::server::token::Token;

use super::*;

#[cfg(loom)]
mod interleavings;
mod lag;
mod lost;
mod memory;
mod suspects;
mod walks;

const STORE: Retention = Retention::Seconds(60);
/// What a mailbox with one small message is charged where segments are as small as they get: one for each.
const ONE_SMALL_MESSAGE: u64 = 2 * SEGMENT_MIN_BYTES as u64;

/// A message that a session was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GivenMessage {
    body: String,
    sequence: Sequence,
}

struct World {
    mailboxes: Arc<Mailboxes>,
    epoch: Instant,
    now: Instant,
    woken: Vec<SessionAddress>,
}

impl World {
    fn new() -> Self {
        Self::with(1 << 20, 8)
    }

    fn with(budget: u64, mailbox_messages: u32) -> Self {
        let caps = Caps {
            mailbox_messages,
            mailbox_bytes: 1000,
            sessions: 2,
        };
        let epoch = Instant::now();
        let budget = Arc::new(Budget::new(budget));
        Self {
            mailboxes: Arc::new(Mailboxes::new(caps, 3, [1, 2], budget, epoch)),
            epoch,
            now: epoch,
            woken: Vec::new(),
        }
    }

    fn at_millis(&mut self, millis: u64) {
        self.now = self.epoch + Duration::from_millis(millis);
    }

    fn try_post(&mut self, body: &str, retention: Retention) -> Result<(), PostError> {
        self.mailboxes
            .post(&id(1), body.as_bytes(), retention, self.now, &mut self.woken)
    }

    fn post(&mut self, bodies: &[&str]) {
        for body in bodies {
            self.try_post(body, STORE).unwrap();
        }
    }

    fn attach(&self, index: u32) -> Attachment {
        self.mailboxes.attach(&id(1), address(index)).unwrap()
    }

    fn take(&self, session: &Attachment) -> Vec<String> {
        self.deliveries(session).into_iter().map(|given| given.body).collect()
    }

    fn deliveries(&self, session: &Attachment) -> Vec<GivenMessage> {
        let mut into = Vec::new();
        while matches!(
            self.take_some(session, Room::of_bytes(0), &mut into),
            Taken::More | Taken::AwaitsAcknowledgement
        ) {}
        into
    }

    fn take_some(&self, session: &Attachment, room: Room, into: &mut Vec<GivenMessage>) -> Taken {
        let mut deliveries = Deliveries::new();
        let taken = session.take(self.now, room, true, &mut deliveries);
        into.extend(deliveries.iter().map(|delivery| GivenMessage {
            body: String::from_utf8(delivery.body.to_vec()).unwrap(),
            sequence: delivery.sequence,
        }));
        taken
    }

    /// Takes everything and confirms the first `count` of it.
    fn have(&mut self, session: &Attachment, count: usize) -> Vec<String> {
        let all = self.deliveries(session);
        session.confirm(all[count - 1].sequence, &mut self.woken);
        all.into_iter().map(|given| given.body).collect()
    }

    fn woken(&mut self) -> Vec<u32> {
        self.woken.drain(..).map(|address| address.token.index).collect()
    }

    fn expire(&self) {
        for shard in 0..self.mailboxes.shards() {
            while self.mailboxes.expire(shard, self.now, &mut 1) {}
        }
    }

    fn messages(&self) -> u64 {
        self.mailboxes.stats().messages
    }

    fn assert_empty(&self) {
        assert_eq!(self.mailboxes.stats(), Stats::default());
        assert_eq!(self.mailboxes.budget().used(), 0);
    }
}

fn id(n: u8) -> RecipientId {
    RecipientId::from_bytes([n; 32])
}

fn address(index: u32) -> SessionAddress {
    let token = Token { index, generation: 0 };
    SessionAddress { worker: 0, token }
}

#[test]
fn an_attachment_keeps_its_size() {
    assert!(size_of::<Attachment>() <= 24);
}

#[test]
fn shards_are_a_power_of_two_within_bounds() {
    for (asked, got) in [(0, 1), (1, 1), (3, 4), (usize::MAX, SHARDS_MAX)] {
        let caps = Caps {
            mailbox_messages: 1,
            mailbox_bytes: 1,
            sessions: 1,
        };
        let mailboxes = Mailboxes::new(caps, asked, [0, 0], Arc::new(Budget::new(0)), Instant::now());
        assert_eq!(mailboxes.shards(), got);
        assert!(!mailboxes.expire(got, Instant::now(), &mut 1));
    }
}

#[test]
fn ids_spread_evenly_even_if_they_share_their_first_bytes() {
    let world = World::new();
    let mut counts = [0; 4];
    for n in 0..4000_u32 {
        let mut bytes = [7; 32];
        bytes[8..12].copy_from_slice(&n.to_be_bytes());
        counts[world.mailboxes.locate(&RecipientId::from_bytes(bytes)).0 as usize] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn stored_mail_waits_in_order_and_goes_when_confirmed() {
    let mut world = World::new();
    world.post(&["a", "b", "", "c"]);
    let session = world.attach(1);
    assert_eq!(world.have(&session, 3), ["a", "b", "", "c"]);
    assert_eq!(world.messages(), 1);
    drop(session);
    let session = world.attach(1);
    assert_eq!(world.have(&session, 1), ["c"]);
    drop(session);
    world.assert_empty();
}

#[test]
fn a_take_is_bounded_in_bytes_but_gives_one_at_least() {
    let mut world = World::new();
    world.post(&["four", "four", "two", "x"]);
    let session = world.attach(1);
    let mut into = Vec::new();
    assert_eq!(world.take_some(&session, Room::of_bytes(3), &mut into), Taken::More);
    assert_eq!(into.len(), 1);
    assert_eq!(world.take_some(&session, Room::of_bytes(7), &mut into), Taken::More);
    assert_eq!(into.len(), 3);
    assert_eq!(world.take_some(&session, Room::of_bytes(7), &mut into), Taken::All);
    assert_eq!(into.len(), 4);
}

#[test]
fn a_take_is_bounded_in_messages() {
    let mut world = World::with(1 << 20, 2000);
    world.post(&[""; MESSAGES_PER_TAKE + 1]);
    let session = world.attach(1);
    let mut into = Vec::new();
    assert_eq!(
        world.take_some(&session, Room::of_bytes(usize::MAX), &mut into),
        Taken::More
    );
    assert_eq!(into.len(), MESSAGES_PER_TAKE);
    assert_eq!(
        world.take_some(&session, Room::of_bytes(usize::MAX), &mut into),
        Taken::All
    );
    assert_eq!(into.len(), MESSAGES_PER_TAKE + 1);
}

#[test]
fn both_sessions_get_every_message_that_arrives_while_they_are_there() {
    let mut world = World::new();
    let (one, two) = (world.attach(1), world.attach(2));
    world.post(&["a", "b"]);
    assert_eq!(world.have(&one, 2), ["a", "b"]);
    world.post(&["c"]);
    assert_eq!(world.take(&two), ["a", "b", "c"]);
    assert_eq!(world.take(&one), ["c"]);
    assert_eq!(world.messages(), 3);
}

#[test]
fn what_a_session_was_not_given_stays_for_it_when_another_that_had_it_leaves() {
    let mut world = World::new();
    let (one, two) = (world.attach(1), world.attach(2));
    world.post(&["a", "b"]);
    world.have(&one, 2);
    drop(one);
    assert_eq!(world.have(&two, 2), ["a", "b"]);
    assert_eq!(world.messages(), 0);
}

#[test]
fn the_next_session_gets_what_the_last_one_left_unconfirmed() {
    let mut world = World::new();
    world.post(&["a", "b", "c"]);
    let session = world.attach(1);
    world.have(&session, 1);
    world.post(&["d"]);
    drop(session);
    assert_eq!(world.take(&world.attach(2)), ["b", "c", "d"]);
}

#[test]
fn what_one_session_had_is_not_returned_after_both_leave() {
    let mut world = World::new();
    let (one, two) = (world.attach(1), world.attach(2));
    world.post(&["a", "b", "c"]);
    world.have(&one, 2);
    world.take(&two);
    drop(one);
    drop(two);
    assert_eq!(world.take(&world.attach(3)), ["c"]);
}

#[test]
fn mail_in_flight_to_a_dead_session_is_given_to_the_one_that_comes_beside_it() {
    let mut world = World::new();
    world.post(&["a", "b"]);
    let dead = world.attach(1);
    world.have(&dead, 1);
    let fresh = world.attach(2);
    assert_eq!(world.have(&fresh, 1), ["b"]);
    drop(dead);
    drop(fresh);
    world.assert_empty();
}

#[test]
fn a_session_is_woken_once_until_it_has_taken_everything() {
    let mut world = World::new();
    let (one, two) = (world.attach(1), world.attach(2));
    world.post(&["a", "b"]);
    assert_eq!(world.woken(), [1, 2]);
    let mut into = Vec::new();
    assert_eq!(world.take_some(&one, Room::of_bytes(1), &mut into), Taken::More);
    world.take(&two);
    world.post(&["c"]);
    assert_eq!(world.woken(), [2]);
    world.take(&one);
    world.post(&["d"]);
    assert_eq!(world.woken(), [1]);
}

#[test]
fn a_session_that_finds_mail_takes_it_unwoken() {
    let mut world = World::new();
    world.post(&["a"]);
    let session = world.attach(1);
    world.post(&["b"]);
    assert!(world.woken().is_empty());
    assert_eq!(world.take(&session), ["a", "b"]);
}

#[test]
fn a_bogus_confirmation_is_ignored() {
    let mut world = World::new();
    world.post(&["a", "b", "c"]);
    let session = world.attach(1);
    let mut into = Vec::new();
    assert_eq!(world.take_some(&session, Room::of_bytes(2), &mut into), Taken::More);
    for far in [2, 3, 1000, 1 << 31, u32::MAX - 1] {
        session.confirm(Sequence(into[0].sequence.0.wrapping_add(far)), &mut world.woken);
        assert_eq!(world.messages(), 3);
    }
    session.confirm(into[1].sequence, &mut world.woken);
    session.confirm(into[0].sequence, &mut world.woken);
    assert_eq!(world.messages(), 1);
}

#[test]
fn nothing_is_given_at_its_deadline() {
    let mut world = World::new();
    world.at_millis(250);
    world.try_post("a", Retention::Seconds(1)).unwrap();
    world.try_post("b", Retention::Seconds(2)).unwrap();
    let session = world.attach(1);
    world.at_millis(1249);
    assert_eq!(world.take(&session), ["a", "b"]);
    drop(session);
    world.at_millis(1250);
    assert_eq!(world.take(&world.attach(1)), ["b"]);
    world.at_millis(2999);
    world.expire();
    assert_eq!(world.messages(), 1);
    world.at_millis(3000);
    world.expire();
    world.assert_empty();
}

#[test]
fn positions_at_an_expired_message_move_on() {
    let mut world = World::new();
    let session = world.attach(1);
    world.try_post("short", Retention::Seconds(1)).unwrap();
    world.at_millis(1000);
    world.expire();
    assert_eq!(world.messages(), 0);
    world.post(&["a"]);
    world.try_post("short", Retention::Seconds(1)).unwrap();
    world.post(&["b"]);
    assert_eq!(world.have(&session, 1), ["a", "short", "b"]);
    world.at_millis(2000);
    world.expire();
    assert_eq!(world.take(&world.attach(2)), ["b"]);
}

#[test]
fn a_session_that_never_confirms_is_not_confused_by_sequences_that_pass_it() {
    let mut world = World::new();
    let session = world.attach(1);
    for second in 1..40 {
        world.try_post("short", Retention::Seconds(1)).unwrap();
        assert_eq!(world.take(&session), ["short"]);
        world.at_millis(second * 1000);
        world.expire();
    }
    world.post(&["a", "b"]);
    assert_eq!(world.have(&session, 1), ["a", "b"]);
    assert_eq!(world.messages(), 1);
}

#[test]
fn live_only_mail_is_given_to_those_who_are_there_and_to_no_one_else() {
    let mut world = World::new();
    world.try_post("nobody", Retention::LiveOnly).unwrap();
    world.assert_empty();
    let one = world.attach(1);
    world.try_post("live", Retention::Seconds(0)).unwrap();
    world.post(&["stored"]);
    let two = world.attach(2);
    assert_eq!(world.take(&two), ["stored"]);
    assert_eq!(world.take(&one), ["live", "stored"]);
}

#[test]
fn live_only_mail_goes_with_the_last_session() {
    let mut world = World::new();
    world.post(&["a"]);
    let (one, two) = (world.attach(1), world.attach(2));
    for body in ["x", "y"] {
        world.try_post(body, Retention::LiveOnly).unwrap();
        world.post(&[body]);
    }
    drop(one);
    assert_eq!(world.messages(), 5);
    drop(two);
    assert_eq!(world.messages(), 3);
    assert_eq!(world.take(&world.attach(1)), ["a", "x", "y"]);
}

#[test]
fn live_only_mail_waits_for_a_slow_session_only_so_long() {
    let mut world = World::new();
    let session = world.attach(1);
    world.try_post("live", Retention::LiveOnly).unwrap();
    world.at_millis(u64::from(LIVE_ONLY_HOLD_SECONDS) * 1000);
    assert_eq!(world.take(&session), [""; 0]);
    assert_eq!(world.messages(), 0);
}

#[test]
fn a_mailbox_at_a_cap_refuses_and_keeps_what_it_has() {
    let mut world = World::new();
    world.post(&["x"; 8]);
    assert_eq!(world.try_post("", STORE), Err(PostError::MailboxFull));
    assert_eq!(world.take(&world.attach(1)).len(), 8);
    let mut world = World::new();
    assert_eq!(world.try_post(&"x".repeat(1001), STORE), Err(PostError::MailboxFull));
    world.assert_empty();
    world.post(&["x".repeat(600).as_str()]);
    assert_eq!(world.try_post(&"x".repeat(401), STORE), Err(PostError::MailboxFull));
    world.post(&["x".repeat(400).as_str()]);
}

#[test]
fn sessions_are_capped() {
    let world = World::new();
    let (_one, two) = (world.attach(1), world.attach(2));
    assert!(world.mailboxes.attach(&id(1), address(3)).is_err());
    assert_eq!(world.mailboxes.stats().sessions, 2);
    drop(two);
    world.attach(3);
}

#[test]
fn expiring_keeps_to_its_budget_and_to_one_locks_share() {
    let mut world = World::with(1 << 20, 2000);
    for _ in 0..EXPIRIES_PER_LOCK * 2 {
        world.try_post("", Retention::Seconds(1)).unwrap();
    }
    world.at_millis(1000);
    let shard = world.mailboxes.locate(&id(1)).0 as usize;
    let mut budget = 1000;
    assert!(world.mailboxes.expire(shard, world.now, &mut budget));
    assert_eq!(budget, 1000 - EXPIRIES_PER_LOCK);
    budget = 10;
    assert!(world.mailboxes.expire(shard, world.now, &mut budget));
    assert!(world.mailboxes.expire(shard, world.now, &mut budget));
    assert_eq!((budget, world.messages()), (0, EXPIRIES_PER_LOCK as u64 - 10));
    world.expire();
    world.assert_empty();
}

/// Runs itself in a process of its own, which the second lock is to end.
#[test]
fn a_shard_in_an_unknown_state_ends_the_process() {
    const CHILD: &str = "NPCHAT_TEST_POISON";
    if env::var_os(CHILD).is_none() {
        let (_, module) = module_path!().split_once("::").unwrap();
        let name = format!("{module}::a_shard_in_an_unknown_state_ends_the_process");
        let mut child = Command::new(env::current_exe().unwrap());
        let ended = child.args(["--exact", &name]).env(CHILD, "1").output().unwrap();
        assert_eq!(ended.status.signal(), Some(rustix::process::Signal::ABORT.as_raw()));
        return;
    }
    let mut world = World::new();
    world.post(&["a"]);
    let shard = world.mailboxes.locate(&id(1)).0 as usize;
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _guard = world.mailboxes.shards[shard].lock();
            panic!("poisons the lock");
        });
        assert!(holder.join().is_err());
    });
    world.take(&world.attach(1));
}
