//! Frames in, frames out: an adapter over tungstenite's `WebSocketContext` on in-memory input and output (RFC 6455).
//!
//! It judges each frame's header before the context sees it, so that a frame that breaks the rules or a limit costs no
//! memory. What the messages say is the caller's.

mod error;
mod frame;
pub mod limits;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

pub use self::error::WebSocketError;
use self::frame::{CONTROL_PAYLOAD_MAX_BYTES, FrameMeter, Piece};
pub use self::frame::{CloseFinder, Opcode, write_close, write_frame};
use self::limits::{CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_SECOND, WEBSOCKET_READ_BUFFER_BYTES};
use crate::server::pace::Pace;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its upgrade, which has been answered. A connection says this first, by itself: no frame does.
    Open,
    /// A whole text message.
    Text(Utf8Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping, which has been answered.
    Ping,
    /// A pong, with its payload.
    Pong(Bytes),
    /// A Close frame, which has been answered: nothing more is to be read or written.
    Close,
}

/// The server's end of one WebSocket.
///
/// Calling contract:
/// 1. [`WebSocket::receive`] is called with the unread input until there is no event left in it; it takes what it has
///    understood off the front.
/// 2. An error is final: the caller writes the Close ([`write_close`]) and only looks for the client's
///    ([`WebSocket::into_close_finder`]).
/// 3. [`WebSocket::settle`] is called at the end of the turn: between messages it gives the context's memory back.
/// 4. A message that is under way must be whole, or have come on, by [`WebSocket::deadline`].
#[derive(Debug)]
pub struct WebSocket {
    /// Only while a message is coming in: between messages a WebSocket owns no buffer.
    incoming: Option<Box<Incoming>>,
    meter: FrameMeter,
    control: ControlRate,
    message_max_bytes: u32,
    /// The data frame that began last is part of a message that isn't kept.
    skips: bool,
}

/// What the caller lends for one [`WebSocket::receive`].
#[derive(Debug)]
pub struct FrameContext<'a> {
    /// The moment of this turn.
    pub now: Instant,
    /// Takes the answers to pings and Close frames.
    pub out: &'a mut Vec<u8>,
    /// Frames that may still begin in this turn.
    pub frames_left: &'a mut usize,
    /// Which messages are kept.
    pub wants: Wants,
}

/// Which messages a client may send, and which of them are kept until they are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Texts of at most so many bytes. Any other message ends the connection.
    ShortTextOnly {
        /// Longest text.
        max_bytes: usize,
    },
    /// Texts of at most so many bytes. Any other message is skipped: nothing of it is kept, and its UTF-8 not looked
    /// at.
    ShortText {
        /// Longest text.
        max_bytes: usize,
    },
    /// Every message.
    Everything,
}

/// A message on its way, with what it takes meanwhile.
#[derive(Debug)]
struct Incoming {
    /// `None` while the message is skipped.
    context: Option<WebSocketContext>,
    pace: Pace,
}

impl WebSocket {
    /// A WebSocket right after its upgrade, taking messages of up to `message_max_bytes`.
    #[must_use]
    pub fn new(message_max_bytes: u32, now: Instant) -> Self {
        Self {
            incoming: None,
            meter: FrameMeter::default(),
            control: ControlRate::full(now),
            message_max_bytes,
            skips: false,
        }
    }

    /// Takes input off the front until a message or control frame is whole. `None`: all input is taken and more is
    /// needed, or no further frame may begin in this turn.
    ///
    /// # Errors
    /// Any [`WebSocketError`]. What is wrong has been taken off the front.
    pub fn receive(
        &mut self,
        input: &mut &[u8],
        context: &mut FrameContext<'_>,
    ) -> Result<Option<Event>, WebSocketError> {
        while !input.is_empty() && *context.frames_left > 0 {
            let piece = self.meter.next_piece(input, self.message_max_bytes)?;
            let (bytes, rest) = input.split_at(piece.length);
            *input = rest;
            if piece.starts {
                *context.frames_left -= 1;
                self.admit(&piece, context)?;
            }
            if !piece.is_control {
                self.incoming(context.now).pace.progress(bytes.len(), context.now);
            }
            if self.skips && piece.is_payload() {
                self.skip(context.now);
                continue;
            }
            if let Some(event) = self.feed(bytes, context)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What finds the client's Close after ours has been written: in the input after all that has been taken.
    #[must_use]
    pub fn into_close_finder(self) -> CloseFinder {
        self.meter.into_close_finder()
    }

    /// When the message that is under way is too slow, if one is: `grace`, and then its rate counts.
    #[must_use]
    pub fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.incoming.as_ref().map(|incoming| incoming.pace.deadline(grace))
    }

    /// The client was not heard for so long, and through no fault of its own.
    pub fn postpone(&mut self, pause: Duration) {
        if let Some(incoming) = &mut self.incoming {
            incoming.pace.postpone(pause);
        }
    }

    /// A control frame that was asked for, the pong of our own ping, is not held against the client.
    pub fn forgive_control_frame(&mut self) {
        self.control.refund();
    }

    /// Bytes held for a message that is under way, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let Some(incoming) = &self.incoming else { return 0 };
        // Of what is skipped the context may see the start of a header.
        let kept_bytes = if self.skips { 0 } else { self.meter.message_bytes() };
        let message_bytes = usize::try_from(kept_bytes).unwrap_or(usize::MAX);
        // The context holds the frame at hand, and what came before it.
        let context = incoming.context.as_ref().map_or(0, |_| {
            WEBSOCKET_READ_BUFFER_BYTES.saturating_add(message_bytes.saturating_mul(2))
        });
        context.saturating_add(size_of::<Incoming>())
    }

    /// Gives the context back when no message is under way.
    pub fn settle(&mut self) {
        if self.meter.is_between_messages() {
            self.incoming = None;
        }
    }

    /// Judges a frame that begins, before any memory is spent on its payload.
    fn admit(&mut self, piece: &Piece, context: &FrameContext<'_>) -> Result<(), WebSocketError> {
        if piece.is_control {
            return self
                .control
                .spend(context.now)
                .then_some(())
                .ok_or(WebSocketError::FrameFlood);
        }
        let is_over = |max_bytes: usize| self.meter.message_bytes() > max_bytes as u64;
        self.skips = match context.wants {
            Wants::ShortTextOnly { .. } if self.meter.is_binary() => return Err(WebSocketError::UnexpectedBinary),
            Wants::ShortTextOnly { max_bytes } if is_over(max_bytes) => return Err(WebSocketError::TextTooLong),
            Wants::ShortTextOnly { .. } | Wants::Everything => false,
            Wants::ShortText { max_bytes } => is_over(max_bytes) || self.meter.is_binary(),
        };
        Ok(())
    }

    /// Forgets what has come of the message, whose last piece this may be.
    fn skip(&mut self, now: Instant) {
        if self.meter.is_between_messages() {
            self.incoming = None;
        } else {
            self.incoming(now).context = None;
        }
    }

    fn incoming(&mut self, now: Instant) -> &mut Incoming {
        self.incoming.get_or_insert_with(|| {
            Box::new(Incoming {
                context: None,
                pace: Pace::starting(now),
            })
        })
    }

    /// Gives the context one frame or a piece of one. It can't want more than that to finish, nor leave any of it.
    fn feed(&mut self, piece: &[u8], context: &mut FrameContext<'_>) -> Result<Option<Event>, WebSocketError> {
        let close_code = self.meter.close_code();
        let max_bytes = self.message_max_bytes as usize;
        let incoming = self.incoming(context.now);
        let fresh = || WebSocketContext::new(Role::Server, Some(config(max_bytes)));
        let adapted = incoming.context.get_or_insert_with(fresh);
        let mut stream = Memory {
            input: piece,
            out: context.out,
        };
        let event = match adapted.read(&mut stream) {
            Ok(Message::Text(text)) => Event::Text(text),
            Ok(Message::Binary(bytes)) => Event::Binary(bytes),
            Ok(Message::Ping(_)) => Event::Ping,
            Ok(Message::Pong(payload)) => Event::Pong(payload),
            // Registered since (RFC 6455 §11.7), and not known to the context, which would answer 1002.
            Ok(Message::Close(_)) if close_code == BAD_GATEWAY => {
                write_frame(stream.out, Opcode::Close, &BAD_GATEWAY.to_be_bytes());
                return Ok(Some(Event::Close));
            }
            // A code that may not be sent is answered with 1002 by the context itself, any other with its like.
            Ok(Message::Close(_)) => Event::Close,
            Ok(Message::Frame(_)) => return Ok(None),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error_of(&error)),
        };
        if let Event::Text(_) | Event::Binary(_) = event {
            incoming.pace = Pace::starting(context.now);
        }
        // Its answer to a ping or a Close waits inside the context until the next call.
        match adapted.flush(&mut stream) {
            Ok(()) | Err(Error::ConnectionClosed) => Ok(Some(event)),
            Err(error) => Err(error_of(&error)),
        }
    }
}

const BAD_GATEWAY: u16 = 1014;

fn config(message_max_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(WEBSOCKET_READ_BUFFER_BYTES)
        // Control frames go straight into the output, so that they keep their place among the messages.
        .write_buffer_size(0)
        .max_message_size(Some(message_max_bytes))
        // It holds for control frames too, which are no messages.
        .max_frame_size(Some(message_max_bytes.max(CONTROL_PAYLOAD_MAX_BYTES.into())))
}

fn error_of(error: &Error) -> WebSocketError {
    match error {
        Error::Utf8(_) => WebSocketError::InvalidUtf8,
        Error::Capacity(_) => WebSocketError::MessageTooBig,
        _ => WebSocketError::ProtocolError,
    }
}

/// The context's stream: a piece of input that blocks at its end, and an output that takes everything.
struct Memory<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A token bucket for control frames: each costs an answer or a look, and no honest client sends many.
#[derive(Debug)]
struct ControlRate {
    tokens: u32,
    refilled_at: Instant,
}

impl ControlRate {
    fn full(now: Instant) -> Self {
        Self {
            tokens: CONTROL_FRAMES_BURST,
            refilled_at: now,
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let whole_seconds = now.saturating_duration_since(self.refilled_at).as_secs();
        if whole_seconds > 0 {
            let earned = u32::try_from(whole_seconds)
                .unwrap_or(u32::MAX)
                .saturating_mul(CONTROL_FRAMES_PER_SECOND);
            self.tokens = self.tokens.saturating_add(earned).min(CONTROL_FRAMES_BURST);
            self.refilled_at += Duration::from_secs(whole_seconds);
        }
        let affordable = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        affordable
    }

    fn refund(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(CONTROL_FRAMES_BURST);
    }
}

#[cfg(test)]
mod tests;
