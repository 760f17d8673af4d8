//! A recipient's WebSocket as its client has it: upgrade, login, mail, close (PROTOCOL.md part 1, Receiving).
//!
//! Any answer but the right one ends it; what is right is what clients of the field take for that.

use std::io::{self, Cursor};

use memchr::memmem;
use mio::Registry;
use serde_json::Value;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::identity::Identity;
use crate::peer::{Login, Peer};
use crate::wire::{Ready, Wire};

/// The handshake's example, key and answer (RFC 6455 §1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) const CHALLENGE_REQUEST: &str = r#"{"get":"challenge"}"#;

/// One session, from the connect to the end of the stream.
pub(crate) struct Session<'i> {
    wire: Wire,
    identity: &'i Identity,
    stage: Stage,
    login: Login,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEvent<'m> {
    LoggedIn,
    Mail(&'m [u8]),
    /// The server has ended the stream after our Close.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Asked,
    Answered,
    LoggedIn,
    /// Our Close is on its way; mail may still come.
    Closing,
    /// The server's Close has come, the end of the stream not yet.
    Closed,
}

impl<'i> Session<'i> {
    /// Begins to connect.
    pub(crate) fn connect(peer: &Peer, identity: &'i Identity, registry: &Registry, token: usize) -> io::Result<Self> {
        let mut wire = Wire::connect(peer, registry, token)?;
        let request = upgrade_request(&peer.host, &identity.id);
        wire.output().extend_from_slice(request.as_bytes());
        Ok(Self {
            wire,
            identity,
            stage: Stage::Upgrading,
            login: peer.login,
        })
    }

    /// Reads, answers, and passes what the server sends to `on_event`.
    ///
    /// # Errors
    /// Why the session is over, unless that is [`SessionEvent::Closed`].
    pub(crate) fn pump(
        &mut self,
        ready: Ready,
        scratch: &mut [u8],
        mut on_event: impl FnMut(SessionEvent<'_>),
    ) -> Result<(), String> {
        let open = self
            .wire
            .pump(ready, scratch)
            .map_err(|error| format!("{error} while {:?}", self.stage))?;
        if self.stage == Stage::Upgrading && !self.upgrade(&mut on_event)? {
            return if open {
                Ok(())
            } else {
                Err("ended before the upgrade".to_owned())
            };
        }
        self.read_frames(&mut on_event)?;
        self.wire.flush().map_err(|error| error.to_string())?;
        match (open, self.stage) {
            (true, _) => Ok(()),
            // Not every server answers a Close.
            (false, Stage::Closing | Stage::Closed) => {
                on_event(SessionEvent::Closed);
                Ok(())
            }
            (false, stage) => Err(format!("the stream ended while {stage:?}")),
        }
    }

    /// Says that it is over. The server has to answer with a Close and the end of the stream.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.say(OpCode::Control(Control::Close), &1000_u16.to_be_bytes());
        self.stage = Stage::Closing;
        self.wire.flush()
    }

    /// Whether the answer to the upgrade has come.
    fn upgrade(&mut self, on_event: &mut impl FnMut(SessionEvent<'_>)) -> Result<bool, String> {
        let input = self.wire.input();
        let Some(end) = memmem::find(input, b"\r\n\r\n") else {
            return Ok(false);
        };
        let answer = String::from_utf8_lossy(&input[..end]);
        let accepts = |line: &str| {
            let field = line.split_once(": ");
            field.is_some_and(|(name, value)| name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value == ACCEPT)
        };
        if !answer.starts_with("HTTP/1.1 101 ") || !answer.split("\r\n").any(accepts) {
            return Err(format!("no upgrade: {}", answer.escape_debug()));
        }
        self.wire.consume(end + 4);
        if self.login == Login::None {
            self.stage = Stage::LoggedIn;
            on_event(SessionEvent::LoggedIn);
        } else {
            self.say(OpCode::Data(Data::Text), CHALLENGE_REQUEST.as_bytes());
            self.stage = Stage::Asked;
        }
        Ok(true)
    }

    fn read_frames(&mut self, on_event: &mut impl FnMut(SessionEvent<'_>)) -> Result<(), String> {
        let mut consumed = 0;
        while let Some((opcode, header, payload)) = next_frame(&self.wire.input()[consumed..])? {
            let start = consumed + header;
            consumed = start + payload;
            if matches!(opcode, OpCode::Data(_)) && matches!(self.stage, Stage::LoggedIn | Stage::Closing) {
                on_event(SessionEvent::Mail(&self.wire.input()[start..consumed]));
            } else {
                let payload = self.wire.input()[start..consumed].to_vec();
                self.handle_frame(opcode, &payload, on_event)?;
            }
        }
        self.wire.consume(consumed);
        Ok(())
    }

    /// A step of the login, or a control frame.
    fn handle_frame(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        on_event: &mut impl FnMut(SessionEvent<'_>),
    ) -> Result<(), String> {
        match (opcode, self.stage) {
            (OpCode::Control(Control::Ping), _) => self.say(OpCode::Control(Control::Pong), payload),
            (OpCode::Control(Control::Close), Stage::Closing) => self.stage = Stage::Closed,
            (OpCode::Control(Control::Pong), _) => {}
            (OpCode::Data(Data::Text), Stage::Asked) => {
                let Some(answer) = self.identity.answer(payload) else {
                    return Err(format!("no challenge: {}", payload.escape_ascii()));
                };
                self.say(OpCode::Data(Data::Text), answer.as_bytes());
                self.stage = Stage::Answered;
            }
            (OpCode::Data(Data::Text), Stage::Answered) if is_done(payload) => {
                self.stage = Stage::LoggedIn;
                on_event(SessionEvent::LoggedIn);
            }
            (_, stage) => return Err(format!("{opcode} {} while {stage:?}", payload.escape_ascii())),
        }
        Ok(())
    }

    fn say(&mut self, opcode: OpCode, payload: &[u8]) {
        write_frame(self.wire.output(), opcode, true, MASK, payload);
    }
}

/// Whether the browser client would think itself logged in.
fn is_done(text: &[u8]) -> bool {
    serde_json::from_slice(text).is_ok_and(|said: Value| said.get("message").is_some())
}

/// The request that begins a WebSocket for `id`.
pub(crate) fn upgrade_request(host: &str, id: &str) -> String {
    format!(
        "GET /{id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A client's mask. One of zeros leaves the payload as it is.
pub(crate) const MASK: Option<[u8; 4]> = Some([0; 4]);

/// Appends a frame with [`MASK`], or without a mask, as servers send it.
pub(crate) fn write_frame(output: &mut Vec<u8>, opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>, payload: &[u8]) {
    let header = FrameHeader {
        is_final,
        opcode,
        mask,
        ..FrameHeader::default()
    };
    // The one way for this to fail is a writer that does, and a `Vec` doesn't.
    let _ = header.format(payload.len() as u64, output);
    output.extend_from_slice(payload);
}

/// The next whole frame: its opcode, the lengths of its header and payload.
fn next_frame(input: &[u8]) -> Result<Option<(OpCode, usize, usize)>, String> {
    let mut cursor = Cursor::new(input);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    if !header.is_final || header.mask.is_some() || header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(format!("a frame that no server sends here: {header:?}"));
    }
    // What doesn't fit into the memory doesn't come whole either.
    let header_length = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let is_whole = input.len() - header_length >= length;
    Ok(is_whole.then_some((header.opcode, header_length, length)))
}
