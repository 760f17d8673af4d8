//! A WebSocket client made by hand (RFC 6455 §5), which can send what no library would.
//!
//! It does nothing by itself: a test that doesn't want pings answered reads with [`RawWebSocket::read_frame`] alone.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::http::RawClient;
use super::identity::{Challenge, Identity};

/// The handshake's example, key and answer (RFC 6455 §1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The opcodes of RFC 6455 §11.8; any other number can be given in [`Frame::opcode`] too.
pub(crate) struct Opcode;

impl Opcode {
    pub(crate) const CONTINUATION: u8 = 0x0;
    pub(crate) const TEXT: u8 = 0x1;
    pub(crate) const BINARY: u8 = 0x2;
    pub(crate) const CLOSE: u8 = 0x8;
    pub(crate) const PING: u8 = 0x9;
    pub(crate) const PONG: u8 = 0xa;
}

/// One frame. Change any field of a good one to make a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// The three reserved bits, as a number from 0 to 7.
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            payload: payload.into(),
        }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::new(Opcode::TEXT, text)
    }

    pub(crate) fn close(code: u16, reason: &str) -> Self {
        Self::new(Opcode::CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// As a client sends it.
    pub(crate) fn masked(&self) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64, 0x80);
        bytes.extend_from_slice(&MASK);
        bytes.extend(
            self.payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    /// As only a server may send it.
    pub(crate) fn unmasked(&self) -> Vec<u8> {
        [self.header(self.payload.len() as u64, 0), self.payload.clone()].concat()
    }

    /// Nothing but a masked header that declares a payload of this length.
    pub(crate) fn masked_header(&self, declared_length: u64) -> Vec<u8> {
        [self.header(declared_length, 0x80), MASK.to_vec()].concat()
    }

    /// The frame that these bytes of a server begin with, and its length in bytes, if all of it is there.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server doesn't mask");
        let (length, start) = match second {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).unwrap();
        let frame = Self {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 0x07,
            opcode: first & 0x0f,
            payload: bytes.get(start..end)?.to_vec(),
        };
        assert_eq!(frame.header(length, 0), bytes[..start], "a length in its shortest form");
        Some((frame, end))
    }

    /// The frames that these bytes of a server are, all of them whole.
    pub(crate) fn parse_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (frame, length) = Self::parse(bytes).expect("whole frames");
            frames.push(frame);
            bytes = &bytes[length..];
        }
        frames
    }

    /// The answer to this ping.
    pub(crate) fn pong(self) -> Self {
        Self::new(Opcode::PONG, self.payload)
    }

    fn header(&self, length: u64, mask_bit: u8) -> Vec<u8> {
        let first = u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode;
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => vec![first, mask_bit + short],
            (_, Ok(medium)) => [&[first, mask_bit + 126][..], &medium.to_be_bytes()].concat(),
            _ => [&[first, mask_bit + 127][..], &length.to_be_bytes()].concat(),
        }
    }
}

/// The upgrade request for the mailbox of an id.
pub(crate) fn upgrade_request(address: SocketAddr, id: &str) -> String {
    upgrade_request_with(&address.to_string(), id, "")
}

/// The same by way of this host, with further header lines, each ended by CR LF.
pub(crate) fn upgrade_request_with(host: &str, id: &str, headers: &str) -> String {
    format!(
        "GET /{id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// The header line that offers npchat.2.
pub(crate) const OFFER: &str = "Sec-WebSocket-Protocol: npchat.2\r\n";

/// A connection after its upgrade.
pub(crate) struct RawWebSocket {
    client: RawClient,
    /// What [`RawWebSocket::tend`] has read and nobody has asked for yet.
    kept: VecDeque<Frame>,
}

impl RawWebSocket {
    pub(crate) fn connect(address: SocketAddr, id: &str) -> Self {
        let mut client = RawClient::connect(address);
        client.send(upgrade_request(address, id));
        Self::upgraded(client)
    }

    /// Connects with a receive buffer of about this size, and logs in.
    pub(crate) fn log_in_with_receive_buffer(address: SocketAddr, identity: &Identity, bytes: usize) -> Self {
        let mut client = RawClient::connect_with_receive_buffer(address, bytes);
        client.send(upgrade_request(address, &identity.id));
        let mut socket = Self::upgraded(client);
        socket.login(identity);
        socket
    }

    /// Reads the answer to an [`upgrade_request`] that has been sent, with whatever was glued to it.
    pub(crate) fn upgraded(mut client: RawClient) -> Self {
        let response = client.read_response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT));
        Self {
            client,
            kept: VecDeque::new(),
        }
    }

    /// Connects and logs in.
    pub(crate) fn log_in(address: SocketAddr, identity: &Identity) -> Self {
        let mut socket = Self::connect(address, &identity.id);
        socket.login(identity);
        socket
    }

    /// Asks for a challenge and answers it.
    pub(crate) fn login(&mut self, identity: &Identity) {
        let challenge = self.challenge();
        self.send(&Frame::text(&identity.solution(&challenge)));
        assert_eq!(self.read_text(), r#"{"message":"handshake done"}"#);
    }

    /// Asks for a challenge.
    pub(crate) fn challenge(&mut self) -> Challenge {
        self.send(&Frame::text(r#"{"get":"challenge"}"#));
        Challenge::read(&self.read_text())
    }

    /// Sends a frame, masked.
    pub(crate) fn send(&mut self, frame: &Frame) {
        self.client.send(frame.masked());
    }

    /// Reads the next frame, whatever it is, and answers nothing.
    pub(crate) fn read_frame(&mut self) -> Frame {
        let kept = self.kept.pop_front();
        kept.unwrap_or_else(|| self.client.read_one(Frame::parse))
    }

    /// Reads the next frame that is no ping, answering the pings before it as any WebSocket stack does.
    pub(crate) fn read_unless_ping(&mut self) -> Frame {
        loop {
            let frame = self.read_frame();
            if frame.opcode != Opcode::PING {
                return frame;
            }
            self.answer(frame);
        }
    }

    /// Reads the next data frame, answering the pings before it.
    pub(crate) fn read_message(&mut self) -> Frame {
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
    pub(crate) fn read_text(&mut self) -> String {
        let frame = self.read_unless_ping();
        assert!(
            frame.fin && frame.rsv == 0 && frame.opcode == Opcode::TEXT,
            "{frame:?} in place of a text"
        );
        String::from_utf8(frame.payload).expect("a text is UTF-8")
    }

    /// Skips frames up to a Close, answering pings, and returns its code, 1005 if it has none.
    pub(crate) fn expect_close(&mut self) -> u16 {
        loop {
            let frame = self.read_unless_ping();
            if frame.opcode == Opcode::CLOSE {
                return frame
                    .payload
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
    }

    /// Skips frames up to a Close, answers it in kind, and reads the end of the stream, as any WebSocket stack does.
    /// Returns the Close's code, 1005 if it has none.
    ///
    /// # Panics
    /// Something follows the server's Close.
    pub(crate) fn expect_closing(&mut self) -> u16 {
        let code = self.expect_close();
        self.answer_close(code);
        code
    }

    /// Sends a Close after the server's, and reads the end of the stream.
    ///
    /// # Panics
    /// Something follows the server's Close.
    pub(crate) fn answer_close(&mut self, code: u16) {
        // A client that has ended its side can't, and after a flood the server may not have waited for it.
        let _ = self.client.try_send(Frame::close(code, "").masked());
        assert_eq!(self.client.read_to_end(), b"", "nothing follows a Close");
    }

    /// Answers the pings that have come, without waiting for any, and keeps everything else to be read later.
    pub(crate) fn tend(&mut self) {
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
    pub(crate) fn client(&mut self) -> &mut RawClient {
        &mut self.client
    }
}
