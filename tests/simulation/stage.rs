//! What a run's connections have at their other ends, where a visit meets it: the clients, and the model that judges.
//!
//! It is lent to the workers for a turn, and is the world's between turns.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Io, Moment, Received, Scratch, Sent};
use npchat::server::context::Context;
use npchat::server::limits::OUTBOUND_HIGH_WATER_BYTES;
use npchat::server::service::Service;
use npchat::server::worker::shared::Shared;

use crate::model::Model;
use crate::peer::Peer;
use crate::random::Random;
use crate::socket::{Transfer, WasReset};
use crate::trace::Trace;
use crate::worker::Bell;

/// All but the relay and its workers.
pub(crate) struct Stage {
    pub(crate) now: Instant,
    pub(crate) peers: Vec<Peer>,
    pub(crate) model: Model,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) shared: Arc<Shared<Bell>>,
    /// Messages that each worker has counted as confirmed.
    confirmed: Vec<u64>,
}

/// The one stage, or an empty one between turns.
pub(crate) type LentStage = Rc<RefCell<Stage>>;

/// The server's end of a client's socket.
pub(crate) struct Simulated {
    pub(crate) peer: usize,
    stage: LentStage,
}

impl Stage {
    pub(crate) fn new(now: Instant, shared: &Arc<Shared<Bell>>, model: Model, random: Random, trace: Trace) -> Self {
        Self {
            now,
            peers: Vec::new(),
            model,
            random,
            trace,
            shared: Arc::clone(shared),
            confirmed: Vec::new(),
        }
    }

    /// What this worker, which has counted so many altogether, has counted since this was last asked.
    fn newly_confirmed(&mut self, worker: usize, count: u64) -> usize {
        if self.confirmed.len() <= worker {
            self.confirmed.resize(worker + 1, 0);
        }
        let before = std::mem::replace(&mut self.confirmed[worker], count);
        usize::try_from(count - before).unwrap_or(usize::MAX)
    }

    /// The client gets to know what the server has made for it so far, whether the kernel takes it or not.
    fn hear(&mut self, peer: usize, unsent: &[u8]) {
        let is_draining = self.shared.store.is_draining();
        self.peers[peer].hear(unsent, self.now, is_draining, &mut self.model);
    }

    pub(crate) fn begin_turn(&mut self) {}

    /// Whether an event is reported of a client in the turn at hand, ahead of all visits for events.
    pub(crate) fn note_event(&mut self, _peer: usize, _is_told: bool) {}

    fn note_taken(&mut self, peer: usize) {
        self.peers[peer].note_taken(self.now);
    }
}

impl Simulated {
    pub(crate) fn new(peer: usize, stage: &LentStage) -> Self {
        Self {
            peer,
            stage: Rc::clone(stage),
        }
    }
}

impl Io for Simulated {
    fn receive<'s>(&mut self, scratch: &'s mut Scratch) -> io::Result<Received<'s>> {
        let stage = &mut *self.stage.borrow_mut();
        let peer = &mut stage.peers[self.peer];
        let room = scratch.received.len();
        Ok(match peer.socket.receive(&mut scratch.received)? {
            Transfer::Bytes(count) => Received::Input {
                bytes: &scratch.received[..count],
                received: count,
                drained: count < room,
            },
            Transfer::WouldBlock => Received::WouldBlock,
            Transfer::End => {
                peer.note_end_read(stage.now, &mut stage.model);
                Received::End
            }
        })
    }

    fn send(&mut self, bytes: &[u8], _: &mut Scratch) -> io::Result<Sent> {
        let stage = &mut *self.stage.borrow_mut();
        stage.hear(self.peer, bytes);
        let count = stage.peers[self.peer].socket.send(&mut stage.random)?;
        stage.note_taken(self.peer);
        Ok(Sent {
            count,
            blocked: count < bytes.len(),
        })
    }

    fn half_close(&mut self) {
        let stage = &mut *self.stage.borrow_mut();
        let is_draining = stage.shared.store.is_draining();
        stage.peers[self.peer].end_stream(is_draining);
    }

    fn close(&mut self) {}

    fn witness<S: Service>(&mut self, moment: Moment, connection: &mut Connection<S>, context: &mut Context<'_>) {
        let stage = &mut *self.stage.borrow_mut();
        if moment == Moment::Heard {
            let worker = context.address.worker as usize;
            let count = stage.newly_confirmed(worker, context.counters.delivered.get());
            let peer = &mut stage.peers[self.peer];
            peer.note_heard(connection.wants_input(), count, context.now, &mut stage.model);
            return;
        }
        let unsent = connection.unsent(context.out);
        let bound = 2 * OUTBOUND_HIGH_WATER_BYTES + 2 * context.store.max_message_bytes() as usize + 16 * 1024;
        assert!(unsent.len() <= bound, "{} bytes of output wait", unsent.len());
        if !unsent.is_empty() {
            stage.hear(self.peer, unsent);
            stage.note_taken(self.peer);
        }
        let peer = &mut stage.peers[self.peer];
        if let Moment::Over(reason) = moment {
            let numbers = [
                context.address.worker as usize,
                context.address.token.index as usize,
                self.peer,
            ];
            stage.trace.note("free of worker, slot, peer", numbers);
            peer.check_end(reason, context.now, &mut stage.model);
            peer.socket.is_gone = true;
            return;
        }
        let has_deadline = connection.deadline(context.timeouts).is_some();
        peer.check_visited(has_deadline || connection.wants_turn() || connection.awaits_login_step());
        // What this visit has left unsent may be why it isn't listened to from now on.
        peer.is_heard = connection.wants_input();
    }
}

impl Drop for Simulated {
    /// The server has closed the socket, with or without a word.
    fn drop(&mut self) {
        if let Ok(mut stage) = self.stage.try_borrow_mut()
            && let Some(peer) = stage.peers.get_mut(self.peer)
        {
            peer.socket.is_gone = true;
        }
    }
}

impl From<WasReset> for io::Error {
    fn from(WasReset: WasReset) -> Self {
        io::ErrorKind::ConnectionReset.into()
    }
}
