//! One event loop on one core: poll, accept, sleep. The only caller of `poll`.
//!
//! Which connections are visited in a turn, and when, is [`scheduler`]'s; what their bytes mean is theirs.

mod acceptor;
pub mod clock;
mod expiry;
mod holders;
pub mod inbox;
mod queues;
pub mod scheduler;
pub mod shared;
mod slot;
mod slots;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Waker};

use self::acceptor::Acceptor;
pub(crate) use self::acceptor::Listener;
use self::clock::System;
use self::inbox::INBOX;
use self::scheduler::Scheduler;
pub(crate) use self::shared::{Shared, reserved_files};
use crate::server::connection::visit::{Edges, IoContext};
use crate::server::limits::{EVENTS_PER_POLL, POLLS_PER_TURN};
use crate::server::service::Service;
use crate::server::signer::ChallengeSigner;
use crate::server::token::Token;
use crate::server::transport::Transport;

/// One worker, with everything that it alone owns.
pub(crate) struct Worker<S: Service> {
    poll: Poll,
    acceptor: Acceptor,
    scheduler: Scheduler<Transport, S, System, Waker>,
}

impl<S: Service> Worker<S> {
    /// A worker on `poll`, which its inbox in `shared` already wakes.
    ///
    /// # Errors
    /// The listeners can't be registered.
    pub(crate) fn new(
        index: u32,
        shared: Arc<Shared>,
        service: Arc<S>,
        poll: Poll,
        listeners: Vec<Listener>,
        signer: ChallengeSigner,
    ) -> io::Result<Self> {
        Ok(Self {
            acceptor: Acceptor::new(listeners, poll.registry())?,
            scheduler: Scheduler::new(index, shared, service, signer, System, IoContext::default()),
            poll,
        })
    }

    /// Runs until the relay has drained, or must halt.
    ///
    /// # Errors
    /// Those of `poll`: the worker can't go on.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while !self.scheduler.is_over() {
            let timeout = self.scheduler.sleep(&self.acceptor);
            self.poll(&mut events, timeout)?;
            self.scheduler.begin_turn(&mut self.acceptor);
            self.take_events(&mut events)?;
            self.scheduler.take_turn(&mut self.acceptor);
        }
        self.scheduler.end();
        Ok(())
    }

    fn poll(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => events.clear(),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Takes note of all events.
    ///
    /// Polls again while the poller is full, since established connections may stand there behind a storm of new ones.
    fn take_events(&mut self, events: &mut Events) -> io::Result<()> {
        for _ in 1..POLLS_PER_TURN {
            let count = self.note_events(events);
            if count < EVENTS_PER_POLL || self.scheduler.ready() >= EVENTS_PER_POLL {
                return Ok(());
            }
            self.poll(events, Duration::ZERO)?;
        }
        self.note_events(events);
        Ok(())
    }

    /// Returns how many there are.
    fn note_events(&mut self, events: &Events) -> usize {
        events.iter().map(|event| self.note_event(event)).count()
    }

    fn note_event(&mut self, event: &Event) {
        let word = event.token();
        if word != INBOX && !self.acceptor.note_event(word) {
            self.scheduler.note_edges(Token::from_word(word.0), edges_of(event));
        }
    }
}

/// What an event reports of its socket.
fn edges_of(event: &Event) -> Edges {
    let failed = event.is_error();
    Edges {
        readable: event.is_readable() || event.is_read_closed() || failed,
        read_closed: event.is_read_closed() || failed,
        writable: event.is_writable() || failed,
    }
}
