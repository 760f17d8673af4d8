//! A worker without poll: its connections, visited in each turn in an order of the seed's.

use std::time::Instant;

use npchat::server::config::Timeouts;
use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Cause, IoContext, Scratch, Wired};
use npchat::server::context::Context;
use npchat::server::http::HttpDate;
use npchat::server::limits::{LOGIN_STEPS_PER_TURN, REQUESTS_PER_VISIT, REQUESTS_PER_VISIT_MIN};
use npchat::server::mailboxes::Deliveries;
use npchat::server::metrics::Counters;
use npchat::server::signer::ChallengeSigner;
use npchat::server::store::Store;
use npchat::server::token::{SessionAddress, Token};

use crate::random::Random;
use crate::sightings::{Sight, saw};
use crate::stage::{LentStage, Simulated};

/// What all workers of a run share, lent for a turn.
pub(crate) struct Shared<'a> {
    pub(crate) mail_now: Instant,
    pub(crate) date: &'a HttpDate,
    pub(crate) store: &'a Store,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) stage: &'a LentStage,
    /// Every budget is full and nothing is put off.
    pub(crate) is_patient: bool,
}

impl Shared<'_> {
    fn now(&self) -> Instant {
        self.stage.borrow().now
    }

    fn random<T>(&self, choose: impl FnOnce(&mut Random) -> T) -> T {
        choose(&mut self.stage.borrow_mut().random)
    }

    fn note(&self, event: &'static str, numbers: [usize; 3]) {
        self.stage.borrow_mut().trace.note(event, numbers);
    }
}

/// One worker.
pub(crate) struct Worker {
    index: u32,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    left_over: Vec<Token>,
    /// Sessions that have mail.
    pub(crate) inbox: Vec<Token>,
    signer: ChallengeSigner,
    pub(crate) counters: Counters,
    login_steps: usize,
    io: IoContext,
    out: Vec<u8>,
    deliveries: Deliveries,
    /// Sessions that its turns have woken.
    pub(crate) wake: Vec<SessionAddress>,
}

struct Entry {
    generation: u32,
    slot: Option<Slot>,
}

struct Slot {
    wired: Wired<Simulated>,
    queued: bool,
}

impl Worker {
    pub(crate) fn new(index: u32, signer: ChallengeSigner, scratch_bytes: usize) -> Self {
        Self {
            index,
            entries: Vec::new(),
            vacant: Vec::new(),
            left_over: Vec::new(),
            inbox: Vec::new(),
            signer,
            counters: Counters::default(),
            login_steps: 0,
            io: IoContext::new(Scratch::new(scratch_bytes)),
            out: Vec::new(),
            deliveries: Deliveries::new(),
            wake: Vec::new(),
        }
    }

    /// Accepts the connection of a peer.
    pub(crate) fn accept(
        &mut self,
        peer: usize,
        stage: &LentStage,
        now: Instant,
        timeouts: &Timeouts,
    ) -> SessionAddress {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                slot: None,
            });
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = &mut self.entries[index as usize];
        entry.slot = Some(Slot {
            wired: Wired::new(Simulated::new(peer, stage), Connection::new(now, timeouts)),
            queued: false,
        });
        let generation = entry.generation;
        SessionAddress {
            worker: self.index,
            token: Token { index, generation },
        }
    }

    /// One pass of the loop.
    pub(crate) fn turn(&mut self, shared: &Shared<'_>) {
        shared.note("turn of worker", [self.index as usize, 0, 0]);
        self.login_steps = if shared.is_patient {
            LOGIN_STEPS_PER_TURN
        } else {
            shared.random(|random| random.below(4))
        };
        for token in std::mem::take(&mut self.left_over) {
            if let Some(slot) = self.slot(token) {
                slot.queued = false;
                self.visit(token, Cause::Ordinary, shared);
            }
        }
        for token in self.tokens() {
            let edges = self.slot(token).map(|slot| slot.wired.io.peer).and_then(|peer| {
                let is_told = shared.is_patient || !shared.random(|random| random.once_in(4));
                let socket = &mut shared.stage.borrow_mut().peers[peer].socket;
                is_told.then(|| socket.take_edges()).flatten()
            });
            if let (Some(edges), Some(slot)) = (edges, self.slot(token)) {
                slot.wired.note_edges(edges);
                // The real worker visits those aside from a list, which only what wants a turn is on.
                let is_aside = slot.wired.is_newcomer() || slot.wired.is_lingering();
                if !is_aside || slot.wants_turn() {
                    self.visit(token, Cause::Ordinary, shared);
                }
            }
        }
        self.serve_mailed(shared);
        if shared.is_patient || shared.random(|random| random.once_in(3)) {
            for token in self.tokens() {
                let deadline = self.slot(token).and_then(|slot| slot.wired.deadline(shared.timeouts));
                // The real worker's wheel may come too early as well.
                if deadline.is_some_and(|deadline| deadline <= shared.now())
                    || shared.random(|random| random.once_in(16))
                {
                    self.visit(token, Cause::Deadline, shared);
                }
            }
        }
    }

    /// Tells every connection that the server is stopping.
    pub(crate) fn drain(&mut self, shared: &Shared<'_>) {
        for token in self.tokens() {
            self.visit(token, Cause::Drain, shared);
        }
    }

    /// Whether it would take another turn at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.left_over.is_empty() || !self.inbox.is_empty()
    }

    pub(crate) fn has_connections(&self) -> bool {
        self.entries.len() > self.vacant.len()
    }

    fn serve_mailed(&mut self, shared: &Shared<'_>) {
        let told = std::mem::take(&mut self.inbox);
        for &token in &told {
            // A session that is gone has left its mail in the mailbox.
            if let Some(slot) = self.slot(token) {
                slot.wired.note_mail();
            } else if self.tokens().iter().any(|other| other.index == token.index) {
                saw(Sight::WakeForGoneConnection);
            }
        }
        for token in told {
            if self.slot(token).is_some() {
                self.visit(token, Cause::Ordinary, shared);
            }
        }
    }

    fn tokens(&self) -> Vec<Token> {
        let occupied = (0..).zip(&self.entries).filter(|(_, entry)| entry.slot.is_some());
        occupied
            .map(|(index, entry)| Token {
                index,
                generation: entry.generation,
            })
            .collect()
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let entry = self.entries.get_mut(token.index as usize)?;
        entry.slot.as_mut().filter(|_| entry.generation == token.generation)
    }

    fn visit(&mut self, token: Token, cause: Cause, shared: &Shared<'_>) {
        let Some(slot) = self.entries[token.index as usize].slot.as_mut() else {
            return;
        };
        let numbers = [self.index as usize, token.index as usize, slot.wired.io.peer];
        shared.note("visit of worker, slot, peer", numbers);
        let login_steps = self.login_steps.min(1);
        let requests = if shared.is_patient {
            REQUESTS_PER_VISIT
        } else {
            shared.random(|random| random.within(REQUESTS_PER_VISIT_MIN, REQUESTS_PER_VISIT))
        };
        let mut context = Context {
            now: shared.now(),
            mail_now: shared.mail_now,
            date: shared.date,
            address: SessionAddress {
                worker: self.index,
                token,
            },
            store: shared.store,
            timeouts: shared.timeouts,
            requests,
            login_steps,
            signer: &mut self.signer,
            counters: &self.counters,
            out: &mut self.out,
            wake: &mut self.wake,
            deliveries: &mut self.deliveries,
        };
        let over = slot.wired.visit(cause, &mut context, &mut self.io);
        self.login_steps -= login_steps - context.login_steps;
        if let Some(reason) = over {
            self.counters.closed(reason);
            let entry = &mut self.entries[token.index as usize];
            entry.slot = None;
            entry.generation += 1;
            self.vacant.push(token.index);
        } else if slot.wants_turn() && !std::mem::replace(&mut slot.queued, true) {
            self.left_over.push(token);
        }
    }
}

impl Slot {
    fn wants_turn(&self) -> bool {
        self.wired.wants_turn() || self.wired.awaits_login_step()
    }
}
