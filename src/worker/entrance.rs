//! Where connections come in: the worker's listeners, and the pause when the process is out of files or memory.

use std::io;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::limits::ACCEPT_PAUSE_MILLIS;

/// The poller's name for the first listener; the others follow downwards.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// The listeners of one worker.
#[derive(Debug)]
pub(super) struct Entrance {
    listeners: Vec<Listener>,
    /// Accepting goes on then.
    paused_until: Option<Instant>,
    /// The last try failed, which has been logged.
    is_failing: bool,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Connections may wait that no further edge will tell of.
    pending: bool,
}

impl Entrance {
    pub(super) fn new(listeners: Vec<std::net::TcpListener>, registry: &Registry) -> io::Result<Self> {
        let mut entrance = Self {
            listeners: Vec::new(),
            paused_until: None,
            is_failing: false,
        };
        for (position, listener) in listeners.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listener);
            registry.register(&mut socket, Token(FIRST_LISTENER - position), Interest::READABLE)?;
            entrance.listeners.push(Listener { socket, pending: true });
        }
        Ok(entrance)
    }

    /// Takes note of an event, if it is for a listener.
    pub(super) fn note_event(&mut self, token: Token) -> bool {
        let listener = FIRST_LISTENER
            .checked_sub(token.0)
            .and_then(|place| self.listeners.get_mut(place));
        listener.map(|listener| listener.pending = true).is_some()
    }

    /// The next connection that waits. `None`: there is none now, or accepting pauses.
    pub(super) fn next(&mut self, now: Instant) -> Option<TcpStream> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.paused_until.take().is_some() {
            self.look_again();
        }
        loop {
            let listener = self.listeners.iter_mut().find(|listener| listener.pending)?;
            match listener.socket.accept() {
                Ok((socket, _)) => {
                    self.is_failing = false;
                    return Some(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.pending = false,
                // The client was gone before we came: the next one may wait.
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.pause(&error, now);
                    return None;
                }
            }
        }
    }

    /// Has every listener be asked again: an edge may have come that hasn't been seen, or none will.
    pub(super) fn look_again(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.pending = true);
    }

    /// Whether connections may be waiting that can be taken at once.
    pub(super) fn is_pending(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.pending)
    }

    /// When accepting goes on, if it pauses.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    pub(super) fn close(&mut self) {
        self.listeners.clear();
        self.paused_until = None;
    }

    fn pause(&mut self, error: &io::Error, now: Instant) {
        self.paused_until = Some(now + Duration::from_millis(ACCEPT_PAUSE_MILLIS));
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "accepting pauses until it succeeds again");
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
