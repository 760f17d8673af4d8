//! Sockets without blocking: a poller of many connections, and a connection with its two buffers.
//!
//! What the bytes mean is not known here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use crate::peer::Peer;
use crate::tls::Tls;

const EVENTS_PER_POLL: usize = 1024;
const SCRATCH_BYTES: usize = 64 * 1024;
const CLOCK: Token = Token(usize::MAX);

/// Tells which connections have something, and owns the scratch that they read into.
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    clock: Option<OwnedFd>,
}

/// A connection that has something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The number that it was registered with.
    pub(crate) token: usize,
    /// The peer has ended its side, so there may be more to read than the next short read shows.
    ended: bool,
}

impl Ready {
    /// The peer has ended its side, or all.
    pub(crate) fn is_ended(self) -> bool {
        self.ended
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_POLL),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            clock: None,
        })
    }

    /// Has [`Poller::wait`] return at least every `period`, which may be far less than the millisecond that a poll's
    /// own timeout is rounded up to.
    pub(crate) fn tick(&mut self, period: Duration) -> io::Result<()> {
        let clock = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec {
            tv_sec: period.as_secs().cast_signed(),
            tv_nsec: period.subsec_nanos().into(),
        };
        let every = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(&clock, TimerfdTimerFlags::empty(), &every)?;
        SourceFd(&clock.as_raw_fd()).register(self.poll.registry(), CLOCK, Interest::READABLE)?;
        self.clock = Some(clock);
        Ok(())
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// What [`Wire::pump`] reads into.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// Waits for something, at most so long, and puts what there is into `ready`, whatever that held.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            match &self.clock {
                // It starts anew when it is read; how often it went off meanwhile is of no matter.
                Some(clock) if event.token() == CLOCK => drop(rustix::io::read(clock, &mut [0; 8])),
                _ => ready.push(Ready {
                    token: event.token().0,
                    ended: event.is_read_closed() || event.is_error(),
                }),
            }
        }
        Ok(())
    }
}

/// A connection: what has come and isn't understood yet, what is to go and isn't taken yet.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    transport: Transport,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What stands between the bytes and the socket.
#[derive(Debug)]
enum Transport {
    Plain,
    Tls {
        connection: Box<ClientConnection>,
        /// Where the handshake is to be counted, until it is done.
        uncounted: Option<Tls>,
    },
}

impl Wire {
    /// Begins to connect. Whether that succeeds shows at the first [`Wire::pump`].
    ///
    /// # Errors
    /// Those of the system, of which too few ports are one.
    pub(crate) fn connect(peer: &Peer, registry: &Registry, token: usize) -> io::Result<Self> {
        let mut socket = match peer.next_source() {
            None => TcpStream::connect(peer.address)?,
            Some(source) => connect_from((source, 0).into(), peer.address)?,
        };
        socket.set_nodelay(true)?;
        socket.register(registry, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        let transport = match &peer.tls {
            None => Transport::Plain,
            Some(tls) => Transport::Tls {
                connection: Box::new(tls.connect().map_err(io::Error::other)?),
                uncounted: Some(tls.clone()),
            },
        };
        Ok(Self {
            socket,
            transport,
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    /// Whether the other end can be talked to: over TLS that is after the handshake.
    pub(crate) fn is_up(&self) -> bool {
        match &self.transport {
            Transport::Plain => true,
            Transport::Tls { connection, .. } => !connection.is_handshaking(),
        }
    }

    /// Takes what is to go; [`Wire::flush`] sends it.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what the kernel takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        loop {
            let sent = match &mut self.transport {
                Transport::Plain if self.output.is_empty() => return Ok(()),
                Transport::Plain => self
                    .socket
                    .write(&self.output)
                    .map(|count| drop(self.output.drain(..count))),
                Transport::Tls { connection, .. } => {
                    let count = connection.writer().write(&self.output)?;
                    self.output.drain(..count);
                    if !connection.wants_write() {
                        return Ok(());
                    }
                    connection.write_tls(&mut self.socket).map(drop)
                }
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what waits and reads what has come, until the kernel has no more. Returns whether the stream goes on.
    pub(crate) fn pump(&mut self, ready: Ready, scratch: &mut [u8]) -> io::Result<bool> {
        self.flush()?;
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    if !self.take(&scratch[..count])? {
                        return Ok(false);
                    }
                    if count < scratch.len() && !ready.ended {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes input of what the socket had. Returns whether the stream goes on.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let Transport::Tls { connection, uncounted } = &mut self.transport else {
            self.input.extend_from_slice(bytes);
            return Ok(true);
        };
        let mut goes_on = true;
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes)?;
            let state = match connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The alert may show the server what is wrong; the connection is over either way.
                    let _ = connection.write_tls(&mut self.socket);
                    return Err(io::Error::other(error));
                }
            };
            let start = self.input.len();
            self.input.resize(start + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(&mut self.input[start..])?;
            if state.peer_has_closed() {
                goes_on = false;
                break;
            }
        }
        if !connection.is_handshaking()
            && let Some(tls) = uncounted.take()
        {
            tls.count(connection.handshake_kind());
        }
        // The handshake's next step.
        self.flush()?;
        Ok(goes_on)
    }

    /// What has come and was not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input
    }

    /// Forgets so many bytes off the front of the input.
    pub(crate) fn consume(&mut self, count: usize) {
        self.input.drain(..count);
    }
}

fn connect_from(source: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.bind(&source.into())?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
