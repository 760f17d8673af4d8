//! A worker without poll: the server's own scheduler, with clients that come in, events and a sleep that are the
//! seed's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use npchat::server::connection::visit::{IoContext, Scratch};
use npchat::server::limits::ACCEPT_PAUSE_MILLIS;
use npchat::server::signer::ChallengeSigner;
use npchat::server::token::Token;
use npchat::server::worker::inbox::Wake;
use npchat::server::worker::scheduler::{Environment, Scheduler};
use npchat::server::worker::shared::Shared;

use crate::later::Later;
use crate::sightings::{Sight, saw};
use crate::stage::{LentStage, Simulated, Stage};
use crate::times::Times;

/// The alarm of a worker's sleep.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<AtomicBool>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One worker.
pub(crate) struct Worker {
    scheduler: Scheduler<Simulated, Later, Times, Bell>,
    pub(crate) listener: Listener,
    bell: Bell,
    /// It sleeps until then, unless something wakes it.
    asleep_until: Option<Instant>,
}

/// Where clients come in, and whose events are reported.
pub(crate) struct Listener {
    stage: LentStage,
    /// Clients that wait to be accepted.
    backlog: VecDeque<usize>,
    is_closed: bool,
    paused_until: Option<Instant>,
    /// The system may refuse to accept or to watch a connection.
    pub(crate) has_faults: bool,
    /// Connections that ever were, with their clients.
    pub(crate) watched: Vec<(Token, usize)>,
}

impl Worker {
    pub(crate) fn new(
        index: u32,
        (shared, service): (&Arc<Shared<Bell>>, &Arc<Later>),
        bell: Bell,
        signer: ChallengeSigner,
        times: Times,
        stage: &LentStage,
        read_bytes: usize,
    ) -> Self {
        let io = IoContext::new(Scratch::new(read_bytes));
        Self {
            scheduler: Scheduler::new(index, Arc::clone(shared), Arc::clone(service), signer, times, io),
            listener: Listener {
                stage: LentStage::clone(stage),
                backlog: VecDeque::new(),
                is_closed: false,
                paused_until: None,
                has_faults: false,
                watched: Vec::new(),
            },
            bell,
            asleep_until: None,
        }
    }

    /// One pass of the loop, ahead of which an event is reported if `is_told` of a client.
    pub(crate) fn take_turn(&mut self, now: Instant, mut is_told: impl FnMut(&mut LentStage) -> bool) {
        self.bell.0.store(false, Ordering::Relaxed);
        self.scheduler.begin_turn(&mut self.listener);
        for (token, peer) in self.listener.watched.clone() {
            let is_told = is_told(&mut self.listener.stage);
            let edges = {
                let stage = &mut *self.listener.stage.borrow_mut();
                let edges = is_told.then(|| stage.peers[peer].socket.take_edges()).flatten();
                if edges.is_some() {
                    stage.note_event(peer);
                }
                edges
            };
            if let Some(edges) = edges {
                self.scheduler.note_edges(token, edges);
            }
        }
        self.scheduler.take_turn(&mut self.listener);
        self.listener.forget_gone();
        let timeout = if self.is_over() {
            self.scheduler.end();
            Duration::MAX
        } else {
            self.scheduler.sleep(&self.listener)
        };
        self.asleep_until = (!timeout.is_zero()).then(|| now.checked_add(timeout).unwrap_or(now));
    }

    /// Whether it has drained, and its thread has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.scheduler.is_over()
    }

    /// When it takes its next turn if nothing happens: at once, unless it sleeps.
    pub(crate) fn next_turn(&self, now: Instant) -> Instant {
        self.asleep_until.unwrap_or(now)
    }

    /// Whether it takes a turn now, for whatever reason.
    pub(crate) fn is_due(&self, now: Instant, stage: &Stage) -> bool {
        let has_events = || {
            let mut watched = self.listener.watched.iter();
            watched.any(|(_, peer)| stage.peers[*peer].socket.has_edges())
        };
        let is_awake = self.next_turn(now) <= now || self.bell.0.load(Ordering::Relaxed);
        !self.is_over() && (is_awake || self.listener.is_pending() || has_events())
    }

    pub(crate) fn has_connections(&self) -> bool {
        self.scheduler.connections() > 0
    }
}

impl Listener {
    /// A client connects.
    pub(crate) fn push(&mut self, peer: usize) {
        self.backlog.push_back(peer);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The system has refused to accept: it is asked again then.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    fn fails_once_in(&mut self, times: usize) -> bool {
        self.has_faults && self.stage.borrow_mut().random.once_in(times)
    }

    fn forget_gone(&mut self) {
        let stage = self.stage.borrow();
        self.watched.retain(|(_, peer)| !stage.peers[*peer].socket.is_gone);
    }
}

impl Environment for Listener {
    type Io = Simulated;

    fn accept(&mut self, takes_tls: bool, now: Instant) -> Option<(Simulated, usize)> {
        assert!(takes_tls, "so few clients wait for no handshake");
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        if !self.backlog.is_empty() && self.fails_once_in(10) {
            self.paused_until = Some(now + Duration::from_millis(ACCEPT_PAUSE_MILLIS));
            return None;
        }
        let peer = self.backlog.pop_front()?;
        Some((Simulated::new(peer, &self.stage), 0))
    }

    fn watch(&mut self, io: &mut Simulated, token: Token, _: Instant) -> bool {
        if self.fails_once_in(10) {
            saw(Sight::Unwatched);
            return false;
        }
        self.watched.push((token, io.peer));
        true
    }

    fn is_pending(&self) -> bool {
        self.paused_until.is_none() && !self.backlog.is_empty()
    }

    fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    fn close_soon(&mut self) -> usize {
        (self.paused_until, self.has_faults) = (None, false);
        self.backlog.len()
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.paused_until = None;
        let stage = &mut *self.stage.borrow_mut();
        for peer in self.backlog.drain(..) {
            stage.peers[peer].socket.is_gone = true;
        }
    }

    fn resident_bytes() -> Option<u64> {
        None
    }
}
