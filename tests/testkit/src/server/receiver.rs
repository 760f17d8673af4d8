//! A recipient as users have it: tungstenite's client, which answers pings by itself whenever it reads.
//!
//! For frames that a client of the field wouldn't send there is [`super::RawWebSocket`].

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::{Error, Message, WebSocket};

use super::{Line, Wire};
use crate::{Challenge, Identity, PATIENCE};

/// A session that is logged in.
pub struct Receiver {
    socket: WebSocket<Line>,
    /// What [`Receiver::tend`] has read and nobody has asked for yet.
    kept: VecDeque<Message>,
}

impl Receiver {
    /// Connects and logs in.
    pub fn connect(address: SocketAddr, identity: &Identity) -> Self {
        Self::connect_by(Wire::here(), address, identity)
    }

    pub fn connect_by(wire: Wire, address: SocketAddr, identity: &Identity) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        let scheme = match wire {
            Wire::Plain => "ws",
            Wire::Tls => "wss",
        };
        let line = Line::over(wire, stream);
        let (socket, _) = tungstenite::client(format!("{scheme}://{address}/{}", identity.id), line)
            .map_err(|error| error.to_string())
            .expect("the server upgrades");
        let mut receiver = Self {
            socket,
            kept: VecDeque::new(),
        };
        receiver.login(identity);
        receiver
    }

    /// Asks for a challenge and answers it.
    pub fn login(&mut self, identity: &Identity) {
        self.send(Message::text(r#"{"get":"challenge"}"#));
        let challenge = Challenge::read(self.recv().to_text().expect("a challenge is text"));
        self.send(Message::text(identity.solution(&challenge)));
        assert_eq!(self.recv(), Message::text(r#"{"message":"handshake done"}"#));
    }

    /// Sends bytes that may be anything.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket
            .get_mut()
            .write_all(bytes)
            .expect("the server takes what is sent");
    }

    pub fn send(&mut self, message: Message) {
        self.socket.send(message).expect("the server takes what is sent");
    }

    /// The next text or binary message.
    pub fn recv(&mut self) -> Message {
        match self.read() {
            Ok(message) => message,
            Err(error) => panic!("no message: {error}"),
        }
    }

    /// The next message's bytes, be it text or binary.
    pub fn recv_bytes(&mut self) -> Vec<u8> {
        self.recv().into_data().to_vec()
    }

    /// The messages before the one that is this marker, as bytes.
    pub fn recv_until(&mut self, marker: &str) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            let message = self.recv_bytes();
            if message == marker.as_bytes() {
                return messages;
            }
            messages.push(message);
        }
    }

    /// The next message, if one comes within this time.
    pub fn try_recv(&mut self, within: Duration) -> Option<Message> {
        self.socket.get_ref().socket().set_read_timeout(Some(within)).unwrap();
        let result = self.read();
        self.socket.get_ref().socket().set_read_timeout(Some(PATIENCE)).unwrap();
        match result {
            Ok(message) => Some(message),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("no longer connected: {error}"),
        }
    }

    /// Reads what has come, without waiting for anything, and so answers pings; keeps the messages to be received
    /// later.
    pub fn tend(&mut self) {
        self.socket.get_ref().socket().set_nonblocking(true).unwrap();
        // It ends with what has come, or with the connection, which the next read that waits will tell.
        while let Ok(message) = self.socket.read() {
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                self.kept.push_back(message);
            }
        }
        self.socket.get_ref().socket().set_nonblocking(false).unwrap();
    }

    /// Closes in order, and returns the messages that came before the server's Close.
    pub fn close(mut self) -> Vec<Message> {
        self.socket.close(None).expect("the server takes a Close");
        let mut messages = Vec::new();
        loop {
            match self.read() {
                Ok(message) => messages.push(message),
                Err(Error::ConnectionClosed) => return messages,
                Err(error) => panic!("not closed in order: {error}"),
            }
        }
    }

    /// Waits for the server's Close, and returns its code, 1005 if it has none.
    pub fn expect_close(mut self) -> u16 {
        loop {
            match self.read_any() {
                Ok(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Ok(_) => {}
                Err(error) => panic!("no Close: {error}"),
            }
        }
    }

    fn read(&mut self) -> Result<Message, Error> {
        loop {
            let message = self.read_any()?;
            if message.is_text() || message.is_binary() {
                return Ok(message);
            }
        }
    }

    fn read_any(&mut self) -> Result<Message, Error> {
        match self.kept.pop_front() {
            Some(message) => Ok(message),
            None => self.socket.read(),
        }
    }
}
