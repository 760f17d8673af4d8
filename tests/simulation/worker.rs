//! A worker without poll: its connections, visited as the real one visits them, each turn in an order of the seed's.
//!
//! It keeps the calling contract of `Connection`; what its peers make of the bytes is theirs.

use std::time::Instant;

use npchat::server::config::Timeouts;
use npchat::server::connection::{Connection, Step};
use npchat::server::context::Context;
use npchat::server::http::HttpDate;
use npchat::server::limits::{
    LOGIN_STEPS_PER_TURN, OUTBOUND_HIGH_WATER_BYTES, REQUESTS_PER_VISIT, REQUESTS_PER_VISIT_MIN,
};
use npchat::server::mailboxes::Deliveries;
use npchat::server::metrics::Counters;
use npchat::server::refusal::CloseReason;
use npchat::server::signer::ChallengeSigner;
use npchat::server::store::Store;
use npchat::server::token::{SessionAddress, Token};

use crate::model::Model;
use crate::peer::Peer;
use crate::random::Random;
use crate::sightings::{Sight, saw};
use crate::socket::{Edges, Transfer, WasReset};
use crate::trace::Trace;

/// What all workers of a run share, lent for a turn.
pub(crate) struct Shared<'a> {
    pub(crate) now: Instant,
    pub(crate) mail_now: Instant,
    pub(crate) date: &'a HttpDate,
    pub(crate) store: &'a Store,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) peers: &'a mut [Peer],
    pub(crate) model: &'a mut Model,
    pub(crate) random: &'a mut Random,
    pub(crate) trace: &'a mut Trace,
    /// Every budget is full and nothing is put off.
    pub(crate) is_patient: bool,
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
    scratch: Vec<u8>,
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
    connection: Connection,
    peer: usize,
    edges: Edges,
    has_mail: bool,
    queued: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Ordinary,
    Deadline,
    Drain,
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
            scratch: vec![0; scratch_bytes],
            out: Vec::new(),
            deliveries: Deliveries::new(),
            wake: Vec::new(),
        }
    }

    /// Accepts the connection of a peer.
    pub(crate) fn accept(&mut self, peer: usize, now: Instant, timeouts: &Timeouts) -> SessionAddress {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                slot: None,
            });
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = &mut self.entries[index as usize];
        entry.slot = Some(Slot {
            connection: Connection::new(now, timeouts),
            peer,
            edges: Edges {
                writable: true,
                ..Edges::default()
            },
            has_mail: false,
            queued: false,
        });
        let generation = entry.generation;
        SessionAddress {
            worker: self.index,
            token: Token { index, generation },
        }
    }

    /// One pass of the loop.
    pub(crate) fn turn(&mut self, shared: &mut Shared<'_>) {
        shared.trace.note("turn of worker", [self.index as usize, 0, 0]);
        self.login_steps = if shared.is_patient {
            LOGIN_STEPS_PER_TURN
        } else {
            shared.random.below(4)
        };
        for token in std::mem::take(&mut self.left_over) {
            if let Some(slot) = self.slot(token) {
                slot.queued = false;
                self.visit(token, Visit::Ordinary, shared);
            }
        }
        for token in self.tokens() {
            let edges = self.slot(token).map(|slot| slot.peer).and_then(|peer| {
                let is_told = shared.is_patient || !shared.random.once_in(4);
                is_told.then(|| shared.peers[peer].socket.take_edges()).flatten()
            });
            if let (Some(edges), Some(slot)) = (edges, self.slot(token)) {
                slot.edges.readable |= edges.readable;
                slot.edges.read_closed |= edges.read_closed;
                slot.edges.writable |= edges.writable;
                // The real worker visits those aside from a list, which only what wants a turn is on.
                let is_aside = slot.connection.is_newcomer() || slot.connection.is_lingering();
                if !is_aside || slot.wants_turn() {
                    self.visit(token, Visit::Ordinary, shared);
                }
            }
        }
        self.serve_mailed(shared);
        if shared.is_patient || shared.random.once_in(3) {
            for token in self.tokens() {
                let deadline = self
                    .slot(token)
                    .and_then(|slot| slot.connection.deadline(shared.timeouts));
                // The real worker's wheel may come too early as well.
                if deadline.is_some_and(|deadline| deadline <= shared.now) || shared.random.once_in(16) {
                    self.visit(token, Visit::Deadline, shared);
                }
            }
        }
    }

    /// Tells every connection that the server is stopping.
    pub(crate) fn drain(&mut self, shared: &mut Shared<'_>) {
        for token in self.tokens() {
            self.visit(token, Visit::Drain, shared);
        }
    }

    /// Whether it would take another turn at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.left_over.is_empty() || !self.inbox.is_empty()
    }

    pub(crate) fn has_connections(&self) -> bool {
        self.entries.len() > self.vacant.len()
    }

    fn serve_mailed(&mut self, shared: &mut Shared<'_>) {
        let told = std::mem::take(&mut self.inbox);
        for &token in &told {
            // A session that is gone has left its mail in the mailbox.
            if let Some(slot) = self.slot(token) {
                slot.has_mail = true;
            } else if self.tokens().iter().any(|other| other.index == token.index) {
                saw(Sight::WakeForGoneConnection);
            }
        }
        for token in told {
            if self.slot(token).is_some_and(|slot| slot.has_mail) {
                self.visit(token, Visit::Ordinary, shared);
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

    fn visit(&mut self, token: Token, visit: Visit, shared: &mut Shared<'_>) {
        let Some(slot) = self.entries[token.index as usize].slot.as_mut() else {
            return;
        };
        shared.trace.note(
            "visit of worker, slot, peer",
            [self.index as usize, token.index as usize, slot.peer],
        );
        let login_steps = self.login_steps.min(1);
        let requests = if shared.is_patient {
            REQUESTS_PER_VISIT
        } else {
            shared.random.within(REQUESTS_PER_VISIT_MIN, REQUESTS_PER_VISIT)
        };
        let mut context = Context {
            now: shared.now,
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
        let peer = &mut shared.peers[slot.peer];
        let over = slot.work(
            visit,
            peer,
            &mut self.scratch,
            &mut context,
            shared.model,
            shared.random,
        );
        let over = over.unwrap_or_else(|WasReset| {
            context.out.clear();
            Some(CloseReason::Reset)
        });
        self.login_steps -= login_steps - context.login_steps;
        if let Some(reason) = over {
            shared.trace.note(
                "free of worker, slot, peer",
                [self.index as usize, token.index as usize, slot.peer],
            );
            peer.check_end(reason, shared.now, shared.model);
            peer.socket.is_gone = true;
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
        self.connection.wants_turn()
            || self.connection.awaits_login_step()
            || (self.edges.readable && self.connection.wants_input())
            || (self.edges.writable && self.connection.has_unsent())
    }

    fn work(
        &mut self,
        visit: Visit,
        peer: &mut Peer,
        scratch: &mut [u8],
        context: &mut Context<'_>,
        model: &mut Model,
        random: &mut Random,
    ) -> Result<Option<CloseReason>, WasReset> {
        let confirmed_before = context.counters.delivered.get();
        let deadline = self.connection.deadline(context.timeouts);
        let is_late = visit == Visit::Deadline && deadline.is_some_and(|deadline| context.now >= deadline);
        self.edges.readable |= is_late;
        self.edges.writable |= is_late;
        if (self.edges.readable || visit == Visit::Drain) && self.connection.wants_input() {
            self.read(peer, scratch, context, model)?;
        } else if self.connection.wants_turn() || self.connection.awaits_login_step() {
            self.connection.resume(context);
        }
        let confirmed = usize::try_from(context.counters.delivered.get() - confirmed_before).unwrap_or(usize::MAX);
        peer.note_heard(self.connection.wants_input(), confirmed, context.now, model);
        if is_late {
            self.flush(peer, context, model, random)?;
        }
        match visit {
            Visit::Ordinary => {}
            Visit::Deadline => self.connection.reach_deadline(!self.edges.readable, context),
            Visit::Drain => self.connection.drain(context),
        }
        if std::mem::take(&mut self.has_mail) {
            self.connection.note_mail(context);
        }
        self.flush(peer, context, model, random)?;
        loop {
            match self.connection.next_step(context) {
                Step::Wait => {
                    let has_deadline = self.connection.deadline(context.timeouts).is_some();
                    peer.check_visited(has_deadline || self.wants_turn());
                    // What this visit has left unsent may be why it isn't listened to from now on.
                    peer.is_heard = self.connection.wants_input();
                    return Ok(None);
                }
                Step::HalfClose => peer.end_stream(context.store.is_draining()),
                Step::Free(reason) => return Ok(Some(reason)),
            }
        }
    }

    fn read(
        &mut self,
        peer: &mut Peer,
        scratch: &mut [u8],
        context: &mut Context<'_>,
        model: &mut Model,
    ) -> Result<(), WasReset> {
        match peer.socket.receive(scratch)? {
            Transfer::Bytes(count) => {
                self.edges.readable = count == scratch.len() || self.edges.read_closed;
                self.connection.receive(&scratch[..count], context);
            }
            Transfer::WouldBlock => self.edges.readable = false,
            Transfer::End => {
                self.edges.readable = false;
                peer.note_end_read(context.now, model);
                self.connection.end_input(context);
            }
        }
        Ok(())
    }

    fn flush(
        &mut self,
        peer: &mut Peer,
        context: &mut Context<'_>,
        model: &mut Model,
        random: &mut Random,
    ) -> Result<(), WasReset> {
        let unsent = self.connection.unsent(context.out);
        if unsent.is_empty() {
            return Ok(());
        }
        peer.hear(unsent, context.now, context.store.is_draining(), model);
        let bound = 2 * OUTBOUND_HIGH_WATER_BYTES + 2 * context.store.max_message_bytes() as usize + 16 * 1024;
        assert!(unsent.len() <= bound, "{} bytes of output wait", unsent.len());
        let count = if self.edges.writable {
            peer.socket.send(random)?
        } else {
            0
        };
        self.edges.writable = count == unsent.len();
        peer.note_taken(context.now);
        self.connection.sent(count, context);
        Ok(())
    }
}
