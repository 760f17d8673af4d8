//! One run: a relay, its workers and their peers, in an order and at times that follow from the seed.
//!
//! It knows no protocol: peers speak it, the model judges it.

mod flood;
mod storage;
mod turns;
mod visits;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use npchat::protocol::id::RecipientId;
use npchat::server::config::Config;
use npchat::server::limits::{MESSAGES_PER_TAKE, OVER_BUDGET_PAUSE_MILLIS};
use npchat::server::mailboxes::Retention;
use npchat::server::mailboxes::Stats;
use npchat::server::metrics::Totals;
use npchat::server::refusal::Refusal;
use npchat::server::signer::ChallengeSigner;
use npchat::server::token::{SessionAddress, Ticket};
use npchat::server::worker::scheduler::Environment;
use npchat::server::worker::shared::{Shared, Start};
use testkit::Random;

use crate::identity;
use crate::intolerance::Intolerance;
use crate::model::{Counts, Model, Refused};
use crate::peer::{Habit, Peer, Role};
use crate::pongs::Answering;
use crate::poster::{Poster, Terms};
use crate::receiver::{Manner, Receiver};
use crate::settings::{
    self, LONGEST_END, LONGEST_PAUSE, LONGEST_SILENCE, LONGEST_TO_PING, PINGS_FOR_SUSPECT, PINGS_TO_CONFIRM_ALL,
    SETTLING_ROUNDS, beginning, most_memory,
};
use crate::sightings::{Sight, saw};
use crate::socket::Socket;
use crate::stage::{LentStage, Stage};
use crate::times::Times;
use crate::trace::Trace;
use crate::worker::{Bell, Worker};

use self::storage::Storage;

/// The model and the mailboxes are compared once in so many steps.
const HELD_CHECKED_ONCE_IN: usize = 24;
/// A few messages of this length fill a window.
const LONG_MESSAGE_BYTES: usize = 40_000;
/// One run in so many has mailboxes with many hundreds of messages, which take their time.
const CROWDED_ONCE_IN: usize = 32;

/// Everything there is in one run.
pub(crate) struct World {
    times: Times,
    stage: Stage,
    /// What workers see of it in their turns.
    lent: LentStage,
    config: Config,
    shared: Arc<Shared<Bell>>,
    terms: Arc<Terms>,
    workers: Vec<Worker>,
    storage: Storage,
    /// All connections that ever were: wake-ups for any may come at any time.
    addresses: Vec<SessionAddress>,
    peers_to_come: usize,
    /// What some receivers of the run can't take, and how often one of them logs in again.
    intolerance: Option<Intolerance>,
    again_to_come: usize,
    is_crowded: bool,
    /// Clients come by many at once.
    is_storm: bool,
    /// The system now and then refuses to accept or to watch a connection.
    has_accept_faults: bool,
}

/// Runs a seed to its end, and returns what the workers have counted. Panics when the relay breaks a promise.
pub(crate) fn run(seed: u64) -> Totals {
    let mut world = World::new(seed);
    let steps = world.stage.random.within(100, 400);
    for _ in 0..steps {
        world.step();
        if world.stage.random.once_in(600) {
            world.settle();
            world.check_what_is_stored();
        }
    }
    if world.is_crowded {
        world.flood();
    }
    match world.stage.random.below(8) {
        0 => world.drain(),
        1 => world.settle(),
        2 => {
            world.lose_somebody();
            world.check_what_is_stored();
        }
        3 | 4 => {
            world.visit_in_vain();
            world.check_what_is_stored();
        }
        _ => {
            world.settle();
            world.check_what_is_stored();
        }
    }
    world.end();
    world.check_counters()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let start = beginning();
        let is_crowded = random.once_in(CROWDED_ONCE_IN);
        let config = if is_crowded {
            settings::crowded(&mut random)
        } else {
            settings::any(&mut random)
        };
        let first = random.below(8);
        let recipients = (0..random.within(1, 3)).map(|next| {
            let number = (first + next) % 8;
            (number, identity::all()[number].id.clone())
        });
        let terms = Terms {
            recipients: recipients.collect(),
            default_ttl_seconds: config.message_ttl.as_secs(),
            max_ttl_seconds: config.max_ttl.as_secs(),
            max_message_bytes: config.max_message as usize,
        };
        let makes_intolerant = random.once_in(2);
        let intolerance = makes_intolerant.then(|| Intolerance::any(terms.max_message_bytes, &mut random));
        let bells: Vec<_> = (0..random.within(1, 3)).map(|_| Bell::default()).collect();
        // Turns that are long for what they do have time for few of those that storm in.
        let is_storm = random.once_in(12);
        let times = Times::new(start, if is_storm { 5_000 } else { 400 });
        let has_few_places = random.once_in(6);
        let has_accept_faults = random.once_in(6);
        let begun = Start {
            secret: [seed, !seed],
            at: "1970-01-01T00:00:00Z",
            room: if has_few_places {
                random.within(1, 4)
            } else {
                usize::MAX
            },
            listeners: 1,
        };
        let shared = Arc::new(Shared::new(&config, begun, &times, bells.clone()));
        let nobody = Stage::new(start, &shared, Model::new(&config), Random::new(0), Trace::new(None));
        let lent = Rc::new(RefCell::new(nobody));
        let storage = Storage::any(&mut random);
        let workers = (0..).zip(bells).map(|(index, bell)| {
            let signer = ChallengeSigner::new(config.fresh_key).expect("this machine can make a key");
            let read_bytes = random.pick(&[200, 4096, 65536]);
            Worker::new(
                index,
                (&shared, &storage.service),
                bell,
                signer,
                times.clone(),
                &lent,
                read_bytes,
            )
        });
        let workers = workers.collect();
        let peers_to_come = if is_storm {
            random.within(24, 48)
        } else {
            random.within(4, 16)
        };
        let mut model = Model::new(&config);
        model.has_few_places = has_few_places;
        Self {
            times,
            stage: Stage::new(start, &shared, model, random, Trace::new(Some(seed))),
            lent,
            shared,
            terms: Arc::new(terms),
            workers,
            storage,
            peers_to_come,
            intolerance,
            again_to_come: 8,
            addresses: Vec::new(),
            is_crowded,
            is_storm,
            has_accept_faults,
            config,
        }
    }

    fn step(&mut self) {
        if self.stage.random.once_in(3) {
            self.report_some();
        }
        match self.stage.random.below(34) {
            0..14 if !self.stage.peers.is_empty() => {
                for _ in 0..if self.is_storm { 16 } else { 1 } {
                    let peer = self.stage.random.below(self.stage.peers.len());
                    self.stage.trace.note("peer acts", [peer, 0, 0]);
                    self.stage.peers[peer].act(&mut self.stage.model, &mut self.stage.random);
                }
            }
            14..27 => {
                let worker = self.random_worker();
                self.take_turn(worker, false);
            }
            27 | 28 => {
                let millis = match self.stage.random.below(40) {
                    0 => self.stage.random.within(5_000, 40_000),
                    1..8 => self.stage.random.within(300, 3_000),
                    _ => self.stage.random.within(1, 60),
                };
                self.pass(millis);
            }
            29 => self.expire(),
            30 => self.misdirect_wake_ups(),
            31 if self.stage.random.once_in(8) => self.keep_from_running(),
            32 if self.is_crowded || (self.has_long_messages() && self.stage.random.once_in(3)) => self.flood(),
            33 if self.stage.random.once_in(2) => self.log_in_again(),
            _ if self.peers_to_come > 0 => {
                let count = if self.is_storm { 12 } else { 1 };
                for _ in 0..count.min(self.peers_to_come) {
                    self.peers_to_come -= 1;
                    self.add_any_peer();
                }
            }
            _ => {}
        }
        assert!(
            self.shared.store.memory_used() <= most_memory(&self.config),
            "over the budget"
        );
        if self.stage.random.once_in(HELD_CHECKED_ONCE_IN) {
            self.check_held();
        }
    }

    fn random_worker(&mut self) -> usize {
        self.stage.random.below(self.workers.len())
    }

    fn mail_now(&self) -> Instant {
        self.stage.now + self.stage.model.kept_from_running
    }

    fn has_long_messages(&self) -> bool {
        self.terms.max_message_bytes >= LONG_MESSAGE_BYTES
    }

    fn expire(&mut self) {
        let before = self.shared.store.stats().messages;
        for shard in 0..self.shared.store.shards() {
            let mut budget = self.stage.random.below(3);
            let _ = self.shared.store.expire(shard, self.mail_now(), &mut budget);
        }
        if self.shared.store.stats().messages < before {
            saw(Sight::ExpiredUnasked);
        }
    }

    fn add_any_peer(&mut self) {
        // Large messages through a needle's eye take too many turns.
        let smallest = if self.is_crowded {
            2_000
        } else {
            60.max(self.terms.max_message_bytes / 40)
        };
        let queue = |random: &mut Random| random.pick(&[smallest, smallest, 1000, 4096, 100_000]);
        let mut socket = Socket::new(queue(&mut self.stage.random), queue(&mut self.stage.random));
        if self.stage.random.once_in(3) {
            socket = socket.with_handshake();
        }
        let habit = if self.stage.random.once_in(8) {
            Habit::Slow
        } else {
            Habit::Sound
        };
        let role = if self.stage.random.below(9) < 4 {
            Role::Poster(Poster::new(Arc::clone(&self.terms), &mut self.stage.random))
        } else {
            let manner = match self.stage.random.below(20) {
                0 => Manner::Mute,
                1 => Manner::WrongKey,
                2 => Manner::WrongSolution,
                3..9 => Manner::Hasty,
                _ => Manner::Plain,
            };
            let (identity, _) = self.terms.recipients[self.stage.random.below(self.terms.recipients.len())];
            let answering = Answering::any(&mut self.stage.random);
            let forges = self.stage.random.once_in(5);
            let intolerance = self.intolerance.filter(|_| !self.stage.random.once_in(4));
            let receiver = Receiver::new(identity, manner)
                .answering(answering, forges)
                .speaking_npchat_2(self.stage.random.once_in(3));
            Role::Receiver(Box::new(receiver.unable_to_take(intolerance)))
        };
        self.add(Peer::new(socket, role, habit));
    }

    fn add(&mut self, peer: Peer) {
        let worker = self.random_worker();
        let number = self.stage.peers.len();
        self.stage.trace.note("peer connects to worker", [number, worker, 0]);
        self.stage.peers.push(peer);
        let listener = &mut self.workers[worker].listener;
        if listener.is_closed() {
            self.stage.peers[number].socket.is_gone = true;
        } else {
            listener.push(number);
        }
    }

    /// Everything goes on until nothing moves any more, then everybody must have what is theirs. Time stands still
    /// meanwhile, or passes until all who answer have confirmed what they have.
    fn settle(&mut self) {
        self.end_pauses();
        let is_waiting = !self.stage.random.once_in(3);
        let mut waits = 0;
        let mut looks = usize::from(self.config.connection_memory.is_some());
        let mut before = 0;
        for _ in 0..SETTLING_ROUNDS {
            for peer in &mut self.stage.peers {
                peer.settle(&mut self.stage.random);
            }
            self.report_all();
            for index in 0..self.workers.len() {
                self.take_turn(index, true);
            }
            let moved = self.moved();
            let is_busy = |worker: &Worker| worker.is_due(self.stage.now, &self.stage);
            let is_busy = self.workers.iter().any(is_busy);
            if moved == before && !is_busy && looks > 0 {
                // A worker that found no room looks again by itself.
                looks -= 1;
                self.pass_for(Duration::from_millis(OVER_BUDGET_PAUSE_MILLIS));
                continue;
            }
            if moved == before && !is_busy {
                self.check_settled();
                let is_confirmed = !self.stage.peers.iter().any(Peer::is_to_confirm);
                if is_confirmed || !is_waiting {
                    return;
                }
                saw(Sight::WaitedForPing);
                let most = PINGS_TO_CONFIRM_ALL + PINGS_FOR_SUSPECT * self.stage.model.suspects();
                assert!(waits < most, "mail that was read is not confirmed in time");
                waits += 1;
                self.pass_for(LONGEST_TO_PING);
            }
            before = moved;
        }
        panic!("it never comes to rest");
    }

    /// Time passes until accepting, where it pauses, has gone on without any other reason for a turn.
    fn end_pauses(&mut self) {
        if self.workers.iter().any(|worker| worker.listener.is_paused()) {
            saw(Sight::AcceptPaused);
            let has_faults = std::mem::take(&mut self.has_accept_faults);
            self.pass_for(LONGEST_PAUSE);
            self.has_accept_faults = has_faults;
            let is_paused = self.workers.iter().any(|worker| worker.listener.is_paused());
            assert!(!is_paused, "a worker sleeps on beyond the pause of its accept");
        }
    }

    fn check_settled(&self) {
        for peer in &self.stage.peers {
            peer.check_settled(self.stage.now, &self.stage.model);
        }
        self.check_held();
    }

    fn moved(&self) -> usize {
        let sockets = self.stage.peers.iter().map(|peer| &peer.socket);
        sockets
            .map(|socket| socket.given + socket.offered() + socket.taken + socket.read + socket.handshake() as usize)
            .sum()
    }

    /// Somebody vanishes without a word, mail comes, and time passes until all who don't answer have been closed.
    fn lose_somebody(&mut self) {
        let peer = self.stage.random.below(self.stage.peers.len());
        if let Some(peer) = self.stage.peers.get_mut(peer) {
            peer.vanish();
        }
        self.flood();
        self.settle();
        let until = self.stage.now + LONGEST_SILENCE;
        while self.stage.now < until {
            let millis = self.stage.random.within(1_000, 20_000);
            self.pass(millis);
            self.settle();
        }
    }

    /// The relay stops, when all is quiet or in the middle of everything. Nobody is let in any more.
    fn drain(&mut self) {
        if self.stage.random.once_in(4) {
            self.settle();
        }
        self.start_draining();
        (self.peers_to_come, self.again_to_come) = (0, 0);
        for _ in 0..self.stage.random.below(60) {
            self.step();
        }
        if let Some(drain) = self.times.take_interrupt() {
            drain();
        }
        self.settle();
        let hear_of_it = self.workers.iter().all(|worker| worker.listener.is_closed());
        assert!(hear_of_it, "a worker sleeps on through a drain");
    }

    /// All peers go, one way or another, and nothing may be left of them, nor of their messages.
    fn end(&mut self) {
        for peer in &mut self.stage.peers {
            match self.stage.random.below(3) {
                0 => peer.reset(),
                1 => peer.finish(),
                _ => peer.vanish(),
            }
        }
        let until = self.stage.now + LONGEST_END;
        while self.stage.now < until {
            let millis = self.stage.random.within(100, 20_000);
            self.report_some();
            self.pass(millis);
            for index in 0..self.workers.len() {
                self.take_turn(index, true);
            }
            self.check_held();
        }
        let is_waiting = self.workers.iter().any(|worker| worker.listener.is_pending());
        assert!(!is_waiting, "a client waits for its accept for ever");
        let leaked = self.workers.iter().any(Worker::has_connections);
        assert!(!leaked, "a connection outlives its peer and its deadlines");
        self.expire_all();
        assert_eq!(self.shared.store.stats(), Stats::default(), "something is left");
        assert_eq!(self.shared.store.memory_used(), 0, "memory is still charged");
    }

    /// What is acknowledged and neither confirmed nor over is held, and nothing else.
    fn check_held(&self) {
        let has_connections = self.workers.iter().any(Worker::has_connections);
        let stats = self.shared.store.stats();
        assert!(
            has_connections || stats.sessions == 0,
            "a session outlives its connection"
        );
        let memory_used = self.shared.store.memory_used();
        self.stage
            .model
            .check_held(stats.messages, memory_used, has_connections, self.stage.now);
    }

    fn expire_all(&mut self) {
        self.times.pass(self.config.max_ttl + Duration::from_secs(60));
        self.note_time();
        let now = self.mail_now();
        for shard in 0..self.shared.store.shards() {
            let mut steps = 0;
            while self
                .shared
                .store
                .expire(shard, now, &mut self.stage.random.within(1, 5))
            {
                steps += 1;
                assert!(steps < 100_000, "expiring never ends");
            }
        }
    }

    fn check_counters(self) -> Totals {
        let totals = self.shared.totals();
        let counted = Counts {
            posted: totals.posted,
            delivered: totals.delivered,
            logins: totals.logins,
        };
        assert_eq!(
            counted, self.stage.model.counts,
            "the counters differ from what was seen"
        );
        assert_eq!(totals.open, 0, "a connection that was accepted has not ended");
        totals
    }
}
