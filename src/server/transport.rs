//! The bytes of a connection: what goes between a worker's scratch and a socket, plain or by way of TLS.
//!
//! The only file that reads, writes or ends a connected socket. It doesn't know what the bytes mean.

#[cfg(test)]
mod tests;
pub mod tls;

use std::io;
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use self::tls::{Tls, TlsAcceptor, TlsError};
use crate::server::connection::visit::{Io, Received, Scratch, Sent};

/// A connected socket, non-blocking.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: TcpStream,
    layer: Layer,
}

/// What is between the bytes and the socket.
#[derive(Debug)]
enum Layer {
    Plain,
    Tls(Box<Secured>),
}

#[derive(Debug)]
struct Secured {
    tls: Tls,
    phase: TlsPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsPhase {
    /// Both sides may speak.
    Open,
    /// Nothing more can be understood or said, but for the alert that says so.
    Broken,
    /// Our side ends when all has been sent.
    Ending,
    /// Our side has ended.
    Ended,
}

impl Transport {
    /// Takes an accepted socket, to speak TLS over it if there is an `acceptor`.
    ///
    /// # Errors
    /// None with a configuration that rustls takes.
    pub(crate) fn accepted(socket: TcpStream, acceptor: Option<&TlsAcceptor>) -> Result<Self, TlsError> {
        let layer = match acceptor {
            None => Layer::Plain,
            Some(acceptor) => Layer::Tls(Box::new(Secured {
                tls: Tls::new(acceptor)?,
                phase: TlsPhase::Open,
            })),
        };
        Ok(Self { socket, layer })
    }

    /// Registers for readable and writable edges, once for the connection's life.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket
            .register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }
}

impl Io for Transport {
    fn is_handshaking(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            Layer::Tls(secured) => secured.phase == TlsPhase::Open && secured.tls.is_handshaking(),
        }
    }

    fn awaits_keys(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            Layer::Tls(secured) => self.is_handshaking() && !secured.tls.has_agreed_keys(),
        }
    }

    fn has_unsent(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            Layer::Tls(secured) => !secured.tls.unsent().is_empty(),
        }
    }

    fn held_bytes(&self) -> usize {
        match &self.layer {
            Layer::Plain => 0,
            Layer::Tls(secured) => secured.tls.held_bytes(),
        }
    }

    fn has_partial(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            Layer::Tls(secured) => !self.is_handshaking() && !secured.tls.partial().is_empty(),
        }
    }

    fn receive<'s>(&mut self, scratch: &'s mut Scratch) -> io::Result<Received<'s>> {
        match &mut self.layer {
            Layer::Plain => receive_as_is(&self.socket, &mut scratch.received),
            Layer::Tls(secured) => secured.receive(&self.socket, scratch),
        }
    }

    fn send(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<Sent> {
        match &mut self.layer {
            Layer::Plain => {
                let count = send_once(&self.socket, bytes)?;
                Ok(Sent {
                    count,
                    blocked: count < bytes.len(),
                })
            }
            Layer::Tls(secured) => {
                secured.tls.lend(&mut scratch.sealed);
                let sent = secured.send(&self.socket, bytes);
                secured.tls.give_back(&mut scratch.sealed);
                sent
            }
        }
    }

    fn half_close(&mut self) {
        if let Layer::Tls(secured) = &mut self.layer {
            secured.end(&self.socket);
        } else {
            end(&self.socket);
        }
    }

    /// Ends TLS in order, if that can be sent at once.
    fn close(&mut self) {
        if let Layer::Tls(secured) = &mut self.layer
            && secured.tls.unsent().is_empty()
        {
            secured.end(&self.socket);
        }
    }
}

impl Secured {
    fn receive<'s>(&mut self, socket: &TcpStream, scratch: &'s mut Scratch) -> io::Result<Received<'s>> {
        if self.phase != TlsPhase::Open {
            return receive_as_is(socket, &mut scratch.received);
        }
        if self.tls.has_peer_ended() {
            return Ok(Received::End);
        }
        let known = self.tls.partial().len();
        scratch.received[..known].copy_from_slice(self.tls.partial());
        let room = &mut scratch.received[known..];
        let length = room.len();
        let count = match receive_once(socket, room)? {
            None => return Ok(Received::WouldBlock),
            Some(0) => return Ok(Received::End),
            Some(count) => count,
        };
        scratch.plaintext.clear();
        if let Err(error) = self
            .tls
            .receive(&mut scratch.received[..known + count], &mut scratch.plaintext)
        {
            tracing::debug!(%error, "a connection is given up");
            self.phase = TlsPhase::Broken;
            return Ok(Received::Broken);
        }
        Ok(Received::Input {
            bytes: &scratch.plaintext,
            received: count,
            // The peer's end is the next thing to be received, and no event will report it.
            drained: count < length && !self.tls.has_peer_ended(),
        })
    }

    fn send(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<Sent> {
        let mut count = 0;
        loop {
            if self.phase == TlsPhase::Open {
                self.tls.seal(&bytes[count..]).map_err(io::Error::other)?;
            }
            let unsent = self.tls.unsent();
            if unsent.is_empty() {
                break;
            }
            let length = unsent.len();
            let taken = send_once(socket, unsent)?;
            count += self.tls.sent(taken);
            if taken < length {
                return Ok(Sent { count, blocked: true });
            }
        }
        if self.phase == TlsPhase::Ending {
            self.phase = TlsPhase::Ended;
            end(socket);
        }
        Ok(Sent { count, blocked: false })
    }

    fn end(&mut self, socket: &TcpStream) {
        if self.phase == TlsPhase::Open {
            self.tls.end();
        }
        if self.phase != TlsPhase::Ended {
            self.phase = TlsPhase::Ending;
            // A peer that is gone already gets nothing more.
            let _ = self.send(socket, &[]);
        }
    }
}

fn receive_as_is<'s>(socket: &TcpStream, scratch: &'s mut [u8]) -> io::Result<Received<'s>> {
    let length = scratch.len();
    Ok(match receive_once(socket, scratch)? {
        Some(0) => Received::End,
        Some(count) => Received::Input {
            bytes: &scratch[..count],
            received: count,
            drained: count < length,
        },
        None => Received::WouldBlock,
    })
}

/// One `recv`: returns how much came, or `None` when there is nothing now.
///
/// By rustix, as below: libc's calls are points where a thread may be cancelled, and no thread here ever is.
fn receive_once(socket: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    retry_interrupted(|| recv(socket, &mut *room, RecvFlags::empty()).map(|(count, _)| count))
}

/// One `send`: returns how much the kernel took, which may be nothing.
fn send_once(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    retry_interrupted(|| send(socket, bytes, SendFlags::NOSIGNAL)).map(Option::unwrap_or_default)
}

fn end(socket: &TcpStream) {
    // A peer that is gone already gets nothing more.
    let _ = socket.shutdown(Shutdown::Write);
}

fn retry_interrupted(mut call: impl FnMut() -> Result<usize, Errno>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
