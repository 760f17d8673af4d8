//! Frame headers (RFC 6455 §5.2): judging those that come, writing those that go.
//!
//! Payloads are not looked at here: unmasking, joining and UTF-8 are tungstenite's.

use super::error::WebSocketError;
use super::limits::{FRAGMENT_EARNED_EACH_BYTES, FRAGMENTS_PER_MESSAGE};

/// Opcodes that the server writes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A text message in one frame.
    Text = 0x1,
    /// A binary message in one frame.
    Binary = 0x2,
    /// Close.
    Close = 0x8,
    /// A ping.
    Ping = 0x9,
}

/// Appends an unmasked, final frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    const FIN: u8 = 0x80;
    out.reserve(payload.len() + 10);
    out.push(FIN | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Appends a Close frame with this status code (RFC 6455 §7.4.1) and reason, of at most 123 bytes.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    write_frame(out, Opcode::Close, &payload);
}

/// Walks a stream of frames, a piece of at most one frame at a time.
#[derive(Debug, Default)]
pub(super) struct FrameMeter {
    /// The bytes of a header that has not come whole.
    partial: PartialHeader,
    /// Payload of the current frame that is still to come.
    payload_left: u64,
    /// Payload of the current message so far, all fragments, control frames not counted.
    message_bytes: u64,
    fragments: u32,
    in_message: bool,
    /// The current message is binary.
    is_binary: bool,
    /// Of the current frame, or of the last one if none is under way.
    opcode: u8,
    /// The first two bytes of a control frame's payload, unmasked: a Close's code.
    code: u16,
}

/// Looks for the peer's Close in a stream in which nothing else counts any more.
///
/// It reads headers only, and takes those that break the rules for what they say: the stream is being given up, maybe
/// for one of them.
#[derive(Debug)]
pub struct CloseFinder {
    partial: PartialHeader,
    payload_left: u64,
    /// The current frame is a Close.
    is_close: bool,
}

/// Input that belongs to one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes off the front of the input, at least one.
    pub(super) length: usize,
    /// Whether the frame's header ends in this piece.
    pub(super) starts: bool,
    /// Whether the frame is a control frame. Not known before its header has ended.
    pub(super) is_control: bool,
    /// Whether the frame's header is known.
    has_header: bool,
}

impl Piece {
    /// Whether it belongs to a data frame whose header is known.
    pub(super) fn is_payload(&self) -> bool {
        self.has_header && !self.is_control
    }
}

#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    length: u8,
}

struct Header {
    fin: bool,
    opcode: u8,
    payload: u64,
}

/// Two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;
/// Of a control frame (RFC 6455 §5.5).
pub(super) const CONTROL_PAYLOAD_MAX_BYTES: u8 = 125;

impl FrameMeter {
    /// Says how much of the non-empty `input` to give on: to the end of the current frame, or all.
    ///
    /// # Errors
    /// The frame breaks RFC 6455 §5 or a limit. Known from the header alone, before any memory is spent on its payload.
    /// Of `input` only the header has been read then, whose bytes are off its front.
    pub(super) fn next_piece(&mut self, input: &mut &[u8], message_max_bytes: u32) -> Result<Piece, WebSocketError> {
        let mut length = 0;
        let starts = self.payload_left == 0;
        if starts {
            match self.begin(input, &mut length, message_max_bytes) {
                Ok(true) => {}
                Ok(false) => {
                    return Ok(Piece {
                        length,
                        starts: false,
                        is_control: false,
                        has_header: false,
                    });
                }
                Err(reason) => {
                    *input = input.get(length..).unwrap_or_default();
                    return Err(reason);
                }
            }
        }
        let payload = usize::try_from(self.payload_left)
            .unwrap_or(usize::MAX)
            .min(input.len() - length);
        if is_control(self.opcode) {
            self.read_code(&input[length..length + payload]);
        }
        self.payload_left -= payload as u64;
        Ok(Piece {
            length: length + payload,
            starts,
            is_control: is_control(self.opcode),
            has_header: true,
        })
    }

    /// The code of the Close that has just come whole, if it has one.
    pub(super) fn close_code(&self) -> u16 {
        self.code
    }

    /// Looks for a Close in what comes after all that has been given so far.
    pub(super) fn into_close_finder(self) -> CloseFinder {
        CloseFinder {
            partial: self.partial,
            payload_left: self.payload_left,
            is_close: self.opcode == Opcode::Close as u8,
        }
    }

    /// Reads a header. Returns whether it is whole, and a frame that may begin.
    fn begin(&mut self, input: &[u8], taken: &mut usize, message_max_bytes: u32) -> Result<bool, WebSocketError> {
        let Some(header) = self.partial.complete(input, taken)? else {
            return Ok(false);
        };
        (self.opcode, self.code) = (header.opcode, 0);
        self.payload_left = header.payload;
        self.admit(&header, message_max_bytes)?;
        Ok(true)
    }

    /// Takes note of the first two bytes of a control frame, which end in this part of its payload or don't.
    fn read_code(&mut self, payload: &[u8]) {
        let [_, length, mask @ ..] = &self.partial.bytes;
        let before = usize::from(length & 0x7f) - usize::try_from(self.payload_left).unwrap_or_default();
        for (byte, mask) in payload.iter().zip(mask.iter().take(2).skip(before)) {
            self.code = self.code << 8 | u16::from(byte ^ mask);
        }
    }

    /// Whether no frame and no fragmented message is under way.
    pub(super) fn is_between_messages(&self) -> bool {
        self.payload_left == 0 && self.partial.length == 0 && !self.in_message
    }

    /// Payload of the current message, all its fragments so far, the current one whole.
    pub(super) fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// Whether the current message is binary.
    pub(super) fn is_binary(&self) -> bool {
        self.is_binary
    }

    fn admit(&mut self, header: &Header, message_max_bytes: u32) -> Result<(), WebSocketError> {
        if header.is_control() {
            if !header.fin || header.payload > CONTROL_PAYLOAD_MAX_BYTES.into() {
                return Err(WebSocketError::ProtocolError);
            }
        } else {
            let continues = header.opcode == 0;
            if continues != self.in_message {
                return Err(WebSocketError::ProtocolError);
            }
            if !continues {
                (self.message_bytes, self.fragments) = (0, 0);
                self.is_binary = header.opcode == Opcode::Binary as u8;
            }
            self.message_bytes = self.message_bytes.saturating_add(header.payload);
            if self.message_bytes > u64::from(message_max_bytes) {
                return Err(WebSocketError::MessageTooBig);
            }
            self.fragments += 1;
            let earned = self.message_bytes / FRAGMENT_EARNED_EACH_BYTES;
            if u64::from(self.fragments) > u64::from(FRAGMENTS_PER_MESSAGE) + earned {
                return Err(WebSocketError::FrameFlood);
            }
            self.in_message = !header.fin;
        }
        Ok(())
    }
}

impl CloseFinder {
    /// Whether a Close has come whole with this input, which follows what was given before. Without input: whether
    /// one has come already, as one that was refused may have.
    pub fn find(&mut self, input: &[u8]) -> bool {
        let mut rest = input;
        loop {
            let skipped = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(rest.len());
            self.payload_left -= skipped as u64;
            rest = rest.get(skipped..).unwrap_or_default();
            if self.is_close && self.payload_left == 0 {
                return true;
            }
            let mut taken = 0;
            if self.payload_left > 0 || !self.partial.gather(rest, &mut taken) {
                return false;
            }
            let header = self.partial.read();
            self.is_close = header.opcode == Opcode::Close as u8;
            (self.partial.length, self.payload_left) = (0, header.payload);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

impl PartialHeader {
    /// Adds input until the header is whole, whatever it says; `taken` counts what it took. Returns whether it is
    /// whole.
    fn gather(&mut self, input: &[u8], taken: &mut usize) -> bool {
        loop {
            let have = usize::from(self.length);
            let wanted = if have < 2 { 2 } else { self.wanted() };
            if have >= 2 && have >= wanted {
                return true;
            }
            let count = (wanted - have).min(input.len() - *taken);
            if count == 0 {
                return false;
            }
            self.bytes[have..have + count].copy_from_slice(&input[*taken..*taken + count]);
            *taken += count;
            self.length += u8::try_from(count).unwrap_or(0);
        }
    }

    /// Adds input until the header is whole; `taken` counts what it took.
    fn complete(&mut self, input: &[u8], taken: &mut usize) -> Result<Option<Header>, WebSocketError> {
        loop {
            let have = usize::from(self.length);
            if have >= 2 {
                self.check_first_bytes()?;
                if have == self.wanted() {
                    let header = self.parse()?;
                    self.length = 0;
                    return Ok(Some(header));
                }
            }
            let wanted = if have < 2 { 2 } else { self.wanted() };
            let count = (wanted - have).min(input.len() - *taken);
            if count == 0 {
                return Ok(None);
            }
            self.bytes[have..have + count].copy_from_slice(&input[*taken..*taken + count]);
            *taken += count;
            self.length += u8::try_from(count).unwrap_or(0);
        }
    }

    fn check_first_bytes(&self) -> Result<(), WebSocketError> {
        const RESERVED_BITS: u8 = 0x70;
        let known_opcode = matches!(self.bytes[0] & 0x0f, 0x0..=0x2 | 0x8..=0xa);
        if self.bytes[0] & RESERVED_BITS != 0 || !known_opcode || !self.is_masked() {
            return Err(WebSocketError::ProtocolError);
        }
        Ok(())
    }

    fn length_bytes(&self) -> usize {
        match self.bytes[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn is_masked(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    fn wanted(&self) -> usize {
        const MASK_BYTES: usize = 4;
        2 + self.length_bytes() + if self.is_masked() { MASK_BYTES } else { 0 }
    }

    fn parse(&self) -> Result<Header, WebSocketError> {
        let header = self.read();
        // "The minimal number of bytes MUST be used to encode the length" (§5.2).
        match self.length_bytes() {
            2 if header.payload < 126 => Err(WebSocketError::ProtocolError),
            8 if u16::try_from(header.payload).is_ok() => Err(WebSocketError::ProtocolError),
            _ => Ok(header),
        }
    }

    /// What a header that is whole says.
    fn read(&self) -> Header {
        let long = self.bytes[2..2 + self.length_bytes()]
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        Header {
            fin: self.bytes[0] & 0x80 != 0,
            opcode: self.bytes[0] & 0x0f,
            payload: match self.length_bytes() {
                0 => u64::from(self.bytes[1] & 0x7f),
                _ => long,
            },
        }
    }
}

impl Header {
    fn is_control(&self) -> bool {
        is_control(self.opcode)
    }
}

const fn is_control(opcode: u8) -> bool {
    opcode & 0x8 != 0
}
