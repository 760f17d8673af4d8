//! Where connections come in: the worker's listeners, and the pause when the process is out of files or memory.

use std::time::{Duration, Instant};
use std::{io, net};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::scheduler::Environment;
use crate::server::limits::{ACCEPT_PAUSE_MILLIS, LISTEN_BACKLOG};
use crate::server::log::LineLimit;
use crate::server::system;
use crate::server::token;
use crate::server::transport::Transport;
use crate::server::transport::tls::TlsAcceptor;

/// The poller's name for the first listener; the others follow downwards.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Clients can cause both kinds of lines, as often as there is a pause or a connection.
static PAUSES: LineLimit = LineLimit::new();
static DROPS: LineLimit = LineLimit::new();
/// Where the system watches no more sockets, each connection causes a line.
static UNWATCHED: LineLimit = LineLimit::new();

/// A listening socket, and what its connections begin with.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: net::TcpListener,
    /// If TLS is spoken there.
    pub(crate) acceptor: Option<TlsAcceptor>,
}

/// The listeners of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// Where their connections are watched.
    registry: Registry,
    listeners: Vec<WatchedListener>,
    /// The listener whose turn it is, so that a storm at one doesn't shut out connections at another.
    at: usize,
    /// Accepting goes on then.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct WatchedListener {
    socket: TcpListener,
    /// If TLS is spoken there.
    acceptor: Option<TlsAcceptor>,
    /// Connections may wait that no further edge will report.
    pending: bool,
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<Listener>, registry: &Registry) -> io::Result<Self> {
        let mut acceptor = Self {
            registry: registry.try_clone()?,
            listeners: Vec::new(),
            at: 0,
            paused_until: None,
        };
        for (position, listener) in listeners.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listener.socket);
            registry.register(&mut socket, Token(FIRST_LISTENER - position), Interest::READABLE)?;
            acceptor.listeners.push(WatchedListener {
                socket,
                acceptor: listener.acceptor,
                pending: true,
            });
        }
        Ok(acceptor)
    }

    /// Takes note of an event, if it is for a listener.
    pub(super) fn note_event(&mut self, token: Token) -> bool {
        let listener = FIRST_LISTENER
            .checked_sub(token.0)
            .and_then(|place| self.listeners.get_mut(place));
        listener.map(|listener| listener.pending = true).is_some()
    }

    /// A connection, and the place of its listener.
    fn accept_socket(&mut self, takes_tls: bool, now: Instant) -> Option<(TcpStream, usize)> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.paused_until.is_some() {
            self.look_again();
        }
        loop {
            let place = self.next_pending(takes_tls)?;
            let listener = &mut self.listeners[place];
            match listener.socket.accept() {
                Ok((socket, _)) => {
                    self.at = place + 1;
                    return Some((socket, place));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.pending = false,
                // The client has gone before it was accepted: the next one may be waiting.
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.pause(&error, now);
                    return None;
                }
            }
        }
    }

    /// Has every listener be asked again, at once: an edge may have come that hasn't been seen, or none will.
    fn look_again(&mut self) {
        self.paused_until = None;
        self.listeners.iter_mut().for_each(|listener| listener.pending = true);
    }

    fn next_pending(&self, takes_tls: bool) -> Option<usize> {
        let count = self.listeners.len();
        let mut places = (0..count).map(|step| (self.at + step) % count);
        places.find(|place| {
            let listener = &self.listeners[*place];
            listener.pending && (takes_tls || listener.acceptor.is_none())
        })
    }

    fn pause(&mut self, error: &io::Error, now: Instant) {
        self.paused_until = Some(now + Duration::from_millis(ACCEPT_PAUSE_MILLIS));
        if let Some(suppressed) = PAUSES.admit(now) {
            tracing::warn!(%error, suppressed, "accepting pauses until it succeeds again");
        }
    }
}

impl Environment for Acceptor {
    type Io = Transport;

    fn accept(&mut self, takes_tls: bool, now: Instant) -> Option<(Transport, usize)> {
        loop {
            let (socket, place) = self.accept_socket(takes_tls, now)?;
            match Transport::accepted(socket, self.listeners[place].acceptor.as_ref()) {
                Ok(transport) => return Some((transport, place)),
                Err(error) => {
                    if let Some(suppressed) = DROPS.admit(now) {
                        tracing::error!(%error, suppressed, "a connection is dropped");
                    }
                }
            }
        }
    }

    fn watch(&mut self, transport: &mut Transport, token: token::Token, now: Instant) -> bool {
        let watched = transport.register(&self.registry, Token(token.to_word()));
        if let Err(error) = &watched
            && let Some(suppressed) = UNWATCHED.admit(now)
        {
            tracing::warn!(%error, suppressed, "a connection is dropped that can't be watched");
        }
        watched.is_ok()
    }

    fn is_pending(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.pending)
    }

    fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    fn close_soon(&mut self) -> usize {
        self.look_again();
        self.listeners.len().saturating_mul(LISTEN_BACKLOG)
    }

    fn close(&mut self) {
        self.listeners.clear();
        self.paused_until = None;
    }

    fn resident_bytes() -> Option<u64> {
        system::resident_bytes()
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_storm_at_one_listener_does_not_shut_out_who_waits_at_another() {
        let poll = mio::Poll::new().unwrap();
        let listeners: Vec<_> = (0..2)
            .map(|_| {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                listener.set_nonblocking(true).unwrap();
                Listener {
                    socket: listener,
                    acceptor: None,
                }
            })
            .collect();
        let addresses: Vec<SocketAddr> = listeners.iter().map(|one| one.socket.local_addr().unwrap()).collect();
        let waiting = || [0, 1].map(|place: usize| waiting_at(addresses[place].port()));
        let _clients: Vec<_> = [0, 0, 0, 0, 1, 1]
            .map(|place: usize| TcpStream::connect(addresses[place]).unwrap())
            .into();
        // On a busy machine the kernel may take its time for it.
        let until = Instant::now() + Duration::from_secs(60);
        while waiting() != [Some(4), Some(2)] {
            assert!(Instant::now() < until, "{:?}", waiting());
            std::thread::yield_now();
        }
        let mut acceptor = Acceptor::new(listeners, poll.registry()).unwrap();
        let accepted: Vec<_> = std::iter::from_fn(|| acceptor.accept_socket(true, Instant::now()))
            .map(|(_, place)| place)
            .collect();
        assert_eq!(accepted, [0, 1, 0, 1, 0, 0]);
    }

    /// How many connections wait to be accepted at this port of 127.0.0.1. `None`: the table, which is no snapshot,
    /// doesn't show the listener this time.
    fn waiting_at(port: u16) -> Option<u64> {
        let local = format!("0100007F:{port:04X}");
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        // "<number>: <local> <remote> <state> <to send>:<to read> …", all in hexadecimal; 0A is a listener.
        let mut rows = table
            .lines()
            .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[1] == local && row[3] == "0A")?;
        let (_, waiting) = row[4].split_once(':')?;
        u64::from_str_radix(waiting, 16).ok()
    }
}
