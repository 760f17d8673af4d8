//! HTTP over a blocking socket, plain or by way of TLS, byte for byte as a test wants it, for requests that no HTTP
//! client would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use super::{Line, Wire};
use crate::{PATIENCE, Response, post_request};

/// One connection.
pub struct RawClient {
    stream: Line,
    address: SocketAddr,
    unread: Vec<u8>,
}

/// Posts a message over a connection of its own.
pub fn post(address: SocketAddr, id: &str, body: impl AsRef<[u8]>) -> Response {
    RawClient::connect(address).post(id, body)
}

impl RawClient {
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_by(Wire::here(), address)
    }

    pub fn connect_by(wire: Wire, address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        Self::over(wire, socket, address)
    }

    /// Connects with a receive buffer of about this size, which the kernel then doesn't grow.
    pub fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        // Before the connect, since the window is scaled by it.
        socket.set_recv_buffer_size(bytes).unwrap();
        socket
            .connect_timeout(&address.into(), PATIENCE)
            .expect("the server accepts");
        Self::over(Wire::here(), socket.into(), address)
    }

    fn over(wire: Wire, socket: TcpStream, address: SocketAddr) -> Self {
        socket.set_nodelay(true).unwrap();
        Self::over_line(Line::over(wire, socket), address)
    }

    pub fn over_line(stream: Line, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            unread: Vec::new(),
        }
    }

    /// What TLS has agreed on.
    pub fn session(&mut self) -> &mut ClientConnection {
        self.stream.session()
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket itself, for what this doesn't do.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Sends to a server that may have closed the connection meanwhile.
    ///
    /// # Errors
    /// Those of the socket; some of the bytes may have been sent.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that no more will be sent.
    pub fn finish(&mut self) {
        self.stream.finish();
    }

    /// Posts a message and keeps the connection.
    pub fn post(&mut self, id: &str, body: impl AsRef<[u8]>) -> Response {
        self.post_with(&format!("/{id}"), "", body)
    }

    /// Posts a message to a target, query included, with further header lines, each ended by CR LF.
    pub fn post_with(&mut self, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Response {
        self.send(post_request(self.address, target, headers, body));
        self.read_response()
    }

    /// Sends a request without a body, its method and target as given.
    pub fn request(&mut self, method_and_target: &str) -> Response {
        self.send(format!(
            "{method_and_target} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        ));
        if method_and_target.starts_with("HEAD ") {
            self.read_one(Response::parse_head)
        } else {
            self.read_response()
        }
    }

    /// Reads one answer, to any method but HEAD, and nothing of what follows it.
    pub fn read_response(&mut self) -> Response {
        self.read_one(Response::parse)
    }

    /// Reads so many bytes.
    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(
                self.read_more(),
                "the server closed before {length} bytes: {:?}",
                self.unread
            );
        }
        self.unread.drain(..length).collect()
    }

    /// Reads until `parse` finds one of what it looks for at the front, and tells how long it is.
    pub fn read_one<T>(&mut self, parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> T {
        loop {
            if let Some((found, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return found;
            }
            assert!(self.read_more(), "the server closed after {:?}", self.unread);
        }
    }

    /// Takes what has come, without waiting for anything, and from it all that `parse` finds at the front.
    pub fn read_all_there<T>(&mut self, parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> Vec<T> {
        self.socket().set_nonblocking(true).unwrap();
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing more for now, or an end that the next read that waits will tell.
                Err(_) => break,
            }
        }
        self.socket().set_nonblocking(false).unwrap();
        let (mut found, mut taken) = (Vec::new(), 0);
        while let Some((one, length)) = parse(&self.unread[taken..]) {
            found.push(one);
            taken += length;
        }
        self.unread.drain(..taken);
        found
    }

    /// Whether the server says something, or ends the stream, within this time.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        self.socket().set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; 1024];
        let read = self.stream.read(&mut bytes);
        self.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
        true
    }

    /// Reads until that fails.
    pub fn read_error(&mut self) -> std::io::Error {
        loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => panic!("the server ends the stream in order"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Reads all that comes until the server ends the stream in order.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the server has ended the connection, in order or not, whatever it sends before.
    pub fn wait_closed(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
                    ) =>
                {
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the server does not close: {error}"),
            }
        }
    }

    /// Takes what has come; `false` at the end of the stream.
    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(length) => {
                    self.unread.extend_from_slice(&bytes[..length]);
                    return length > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing from the server after {:?}: {error}", self.unread),
            }
        }
    }
}
