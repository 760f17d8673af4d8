//! A WebSocket client made by hand (RFC 6455 §5), which can send what no library would.
//!
//! It does nothing by itself: a test that doesn't want pings answered reads with [`RawWebSocket::read_frame`] alone.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::RawClient;
use crate::{ACCEPT, Challenge, Frame, Identity, Opcode, upgrade_request};

/// A connection after its upgrade.
pub struct RawWebSocket {
    client: RawClient,
    /// What [`RawWebSocket::tend`] has read and nobody has asked for yet.
    kept: VecDeque<Frame>,
}

impl RawWebSocket {
    pub fn connect(address: SocketAddr, id: &str) -> Self {
        let mut client = RawClient::connect(address);
        client.send(upgrade_request(address, id));
        Self::upgraded(client)
    }

    /// Connects with a receive buffer of about this size, and logs in.
    pub fn log_in_with_receive_buffer(address: SocketAddr, identity: &Identity, bytes: usize) -> Self {
        let mut client = RawClient::connect_with_receive_buffer(address, bytes);
        client.send(upgrade_request(address, &identity.id));
        let mut socket = Self::upgraded(client);
        socket.login(identity);
        socket
    }

    /// Reads the answer to an [`upgrade_request`] that has been sent, with whatever was glued to it.
    pub fn upgraded(mut client: RawClient) -> Self {
        let response = client.read_response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT));
        Self {
            client,
            kept: VecDeque::new(),
        }
    }

    /// Connects and logs in.
    pub fn log_in(address: SocketAddr, identity: &Identity) -> Self {
        let mut socket = Self::connect(address, &identity.id);
        socket.login(identity);
        socket
    }

    /// Asks for a challenge and answers it.
    pub fn login(&mut self, identity: &Identity) {
        let challenge = self.challenge();
        self.send(&Frame::text(&identity.solution(&challenge)));
        assert_eq!(self.read_text(), r#"{"message":"handshake done"}"#);
    }

    /// Asks for a challenge.
    pub fn challenge(&mut self) -> Challenge {
        self.send(&Frame::text(r#"{"get":"challenge"}"#));
        Challenge::read(&self.read_text())
    }

    /// Sends a frame, masked.
    pub fn send(&mut self, frame: &Frame) {
        self.client.send(frame.masked());
    }

    /// Reads the next frame, whatever it is, and answers nothing.
    pub fn read_frame(&mut self) -> Frame {
        let kept = self.kept.pop_front();
        kept.unwrap_or_else(|| self.client.read_one(Frame::parse))
    }

    /// Reads the next frame that is no ping, answering the pings before it as any WebSocket stack does.
    pub fn read_unless_ping(&mut self) -> Frame {
        loop {
            let frame = self.read_frame();
            if frame.opcode != Opcode::PING {
                return frame;
            }
            self.answer(frame);
        }
    }

    /// Reads the next data frame, answering the pings before it.
    pub fn read_message(&mut self) -> Frame {
        loop {
            let frame = self.read_unless_ping();
            match frame.opcode {
                Opcode::PONG => {}
                Opcode::TEXT | Opcode::BINARY => return frame,
                _ => panic!("{frame:?} in place of a message"),
            }
        }
    }

    /// Reads a frame that has to be a text, answering the pings before it.
    pub fn read_text(&mut self) -> String {
        let frame = self.read_unless_ping();
        assert_eq!(frame.opcode, Opcode::TEXT, "{frame:?} in place of a text");
        String::from_utf8(frame.payload).expect("a text is UTF-8")
    }

    /// Skips frames up to a Close, answering pings, and returns its code, 1005 if it has none.
    pub fn expect_close(&mut self) -> u16 {
        loop {
            let frame = self.read_unless_ping();
            if frame.opcode == Opcode::CLOSE {
                return frame.close_code().unwrap_or(1005);
            }
        }
    }

    /// Skips frames up to a Close, answers it in kind, and reads the end of the stream, as any WebSocket stack does.
    /// Returns the Close's code, 1005 if it has none.
    ///
    /// # Panics
    /// Something follows the server's Close.
    pub fn expect_closing(&mut self) -> u16 {
        let code = self.expect_close();
        self.answer_close(code);
        code
    }

    /// Sends a Close after the server's, and reads the end of the stream.
    ///
    /// # Panics
    /// Something follows the server's Close.
    pub fn answer_close(&mut self, code: u16) {
        // A client that has ended its side can't, and after a flood the server may not have waited for it.
        let _ = self.client.try_send(Frame::close(code, "").masked());
        assert_eq!(self.client.read_to_end(), b"", "nothing follows a Close");
    }

    /// Answers the pings that have come, without waiting for any, and keeps everything else to be read later.
    pub fn tend(&mut self) {
        for frame in self.client.read_all_there(Frame::parse) {
            if frame.opcode == Opcode::PING {
                self.answer(frame);
            } else {
                self.kept.push_back(frame);
            }
        }
    }

    fn answer(&mut self, ping: Frame) {
        // The server may have closed meanwhile, which the next read tells.
        let _ = self.client.try_send(ping.pong().masked());
    }

    /// The connection below.
    pub fn client(&mut self) -> &mut RawClient {
        &mut self.client
    }
}
