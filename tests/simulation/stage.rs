//! What a run's connections have at their other ends, where a visit meets it: the clients, and the model that judges.
//!
//! It is lent to the workers for a turn, and is the world's between turns.

use std::cell::RefCell;
use std::collections::BTreeSet;
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
use testkit::Random;

use crate::model::Model;
use crate::peer::Peer;
use crate::sightings::{Sight, saw};
use crate::socket::{Handshake, Transfer, WasReset};
use crate::trace::Trace;
use crate::worker::Bell;

/// What a flight of a handshake counts as.
const HANDSHAKE_BYTES: usize = 300;

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
    /// Clients that are established, and those that have been, or are taken for such.
    established: BTreeSet<usize>,
    ever_established: BTreeSet<usize>,
    /// Established clients of which an event was reported in the turn at hand, and that have not been visited since.
    ready: BTreeSet<usize>,
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
            established: BTreeSet::new(),
            ever_established: BTreeSet::new(),
            ready: BTreeSet::new(),
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

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self) {
        self.ready.clear();
    }

    /// An event is reported of a client in the turn at hand, ahead of all visits for events.
    pub(crate) fn note_event(&mut self, peer: usize) {
        if self.established.contains(&peer) {
            self.ready.insert(peer);
        }
    }

    /// A client is visited: if it never was established, those that are, and have had events, have been visited before.
    fn check_order(&mut self, peer: usize) {
        self.ready.remove(&peer);
        let is_in_order = self.ready.is_empty() || self.ever_established.contains(&peer);
        assert!(
            is_in_order,
            "a new connection is served before established ones: {:?}",
            self.ready
        );
    }

    /// A wake-up comes for a client that may be none that gets mail: it is served among those that do.
    pub(crate) fn misdirect(&mut self, peer: usize) {
        self.ever_established.insert(peer);
    }

    fn note_visit(&mut self, peer: usize, is_new: bool, is_established: bool) {
        self.ready.remove(&peer);
        if is_established {
            self.established.insert(peer);
            self.ever_established.insert(peer);
        } else {
            self.established.remove(&peer);
            if !is_new {
                self.ever_established.insert(peer);
            }
        }
    }

    fn note_taken(&mut self, peer: usize) {
        self.peers[peer].note_taken(self.now);
    }
}

impl Simulated {
    fn handshake(&self) -> Handshake {
        self.stage.borrow().peers[self.peer].socket.handshake()
    }

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
        if peer.socket.handshake() != Handshake::Done {
            let has_come = peer.socket.receive_handshake()?;
            if !has_come {
                return Ok(if peer.socket.has_finished() {
                    Received::End
                } else {
                    Received::WouldBlock
                });
            }
            if peer.socket.handshake() != Handshake::Done || peer.socket.is_drained() {
                // As much as was asked for may have been all.
                let drained = !peer.socket.has_finished() && !stage.random.once_in(3);
                return Ok(Received::Input {
                    bytes: &[],
                    received: HANDSHAKE_BYTES,
                    drained,
                });
            }
            saw(Sight::RequestWithHandshake);
        }
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
        let socket = &mut stage.peers[self.peer].socket;
        if socket.handshake() == Handshake::Answering {
            let blocked = !socket.send_handshake(&mut stage.random)?;
            return Ok(Sent { count: 0, blocked });
        }
        // Nothing goes before the end of a handshake, and no event will report that it is over.
        if socket.handshake() != Handshake::Done || bytes.is_empty() {
            return Ok(Sent {
                count: 0,
                blocked: false,
            });
        }
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
        stage.peers[self.peer].end_stream(is_draining, &stage.model);
    }

    fn close(&mut self) {}

    fn is_handshaking(&self) -> bool {
        self.handshake() != Handshake::Done
    }

    fn awaits_keys(&self) -> bool {
        self.handshake() < Handshake::Answering
    }

    fn has_unsent(&self) -> bool {
        self.handshake() == Handshake::Answering
    }

    fn witness<S: Service>(&mut self, moment: Moment, connection: &mut Connection<S>, context: &mut Context<'_, S>) {
        let stage = &mut *self.stage.borrow_mut();
        let numbers = [
            context.address.worker as usize,
            context.address.token.index as usize,
            self.peer,
        ];
        if moment == Moment::Heard {
            stage.trace.note("visit of worker, slot, peer", numbers);
            stage.check_order(self.peer);
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
        let is_handshaking = stage.peers[self.peer].socket.handshake() != Handshake::Done;
        let is_new = is_handshaking || connection.is_new();
        let is_over = matches!(moment, Moment::Over(_));
        stage.note_visit(self.peer, is_new, !is_over && !is_new && !connection.is_lingering());
        let peer = &mut stage.peers[self.peer];
        if let Moment::Over(reason) = moment {
            stage.trace.note("free of worker, slot, peer", numbers);
            peer.check_end(reason, context.now, &mut stage.model);
            peer.socket.is_gone = true;
            return;
        }
        let has_deadline = connection.deadline(context.timeouts).is_some();
        peer.check_visited(has_deadline || connection.wants_turn() || connection.awaits_login_step());
        // What this visit has left unsent may be why it isn't listened to from now on.
        peer.note_heard_from_now_on(connection.wants_input(), context.now);
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
