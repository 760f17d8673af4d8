//! The bytes of a connection: what goes between a worker's scratch and a socket.
//!
//! The only file that reads, writes or ends a connected socket. It doesn't know what the bytes mean.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// What came of asking the kernel for input or room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// So many bytes went through.
    Bytes(usize),
    /// Nothing now: an event will tell when to try again.
    WouldBlock,
    /// The peer has ended its side.
    End,
}

/// A connected socket, non-blocking.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: TcpStream,
}

impl Transport {
    /// Takes an accepted socket.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket }
    }

    /// Registers for readable and writable edges, once for the connection's life.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket
            .register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// One `recv`. A count below the scratch's length proves that the socket is drained.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Transfer> {
        match retry_interrupted(|| self.socket.read(scratch))? {
            Some(0) => Ok(Transfer::End),
            Some(count) => Ok(Transfer::Bytes(count)),
            None => Ok(Transfer::WouldBlock),
        }
    }

    /// One `send`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<Transfer> {
        Ok(match retry_interrupted(|| self.socket.write(bytes))? {
            Some(count) => Transfer::Bytes(count),
            None => Transfer::WouldBlock,
        })
    }

    /// Ends our side: the peer reads what was sent, then the end.
    pub(crate) fn half_close(&self) {
        // A peer that is gone already has nothing left to be told.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
