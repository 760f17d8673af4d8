//! Frames from a client: the same however they are split, and the same as a plain reading of RFC 6455 has it.

#![no_main]

use std::time::Instant;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::server::websocket::limits::{CONTROL_FRAMES_BURST, FRAGMENTS_PER_MESSAGE};
use npchat::server::websocket::{Event, FrameContext, Wants, WebSocket, WebSocketError};
use npchat_fuzz::{Cuts, Stream};
use testkit::{Frame, Opcode};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    message_max_bytes: u16,
    stream: Stream<'a>,
}

/// What comes of an input: what the client said, why it was cut off, and what it was answered.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<Event>,
    reason: Option<WebSocketError>,
    out: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let Stream { cuts, bytes } = input.stream;
    let max_bytes = input.message_max_bytes.into();
    let whole = drive(max_bytes, [bytes], false);
    assert_eq!(
        drive(max_bytes, cuts.pieces(bytes), false),
        whole,
        "the split changed the result"
    );
    assert_eq!(
        drive(max_bytes, cuts.pieces(bytes), true),
        whole,
        "settling changed the result"
    );
    let expected = Reading::of(bytes, max_bytes as usize);
    assert_eq!((&whole.events, whole.reason), (&expected.events, expected.reason));
    check_answers(&whole, &expected.pings);
    check_finder(max_bytes, cuts, bytes);
});

/// A stream that is given up for nothing that the client did, as in a drain: its Close is found when all
/// of it has come.
fn check_finder(max_bytes: u32, cuts: Cuts, bytes: &[u8]) {
    let (kept, rest) = bytes.split_at(cuts.lengths().next().unwrap_or(0).min(bytes.len()));
    let now = Instant::now();
    let (mut socket, mut input) = (WebSocket::new(max_bytes, now), kept);
    while !input.is_empty() {
        let mut context = FrameContext {
            now,
            out: &mut Vec::new(),
            frames_left: &mut 7,
            wants: Wants::Everything,
        };
        match socket.receive(&mut input, &mut context) {
            Ok(Some(Event::Close)) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let mut finder = socket.into_close_finder();
    let mut taken = kept.len();
    let found = cuts.pieces(rest).any(|piece| {
        taken += piece.len();
        finder.find(piece)
    });
    let end = end_of_close(bytes);
    assert_eq!(found, end.is_some());
    assert!(end.is_none_or(|end| taken >= end), "found before it has come");
}

/// Where the first Close ends, by the lengths of frames alone.
fn end_of_close(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let [first, second] = *bytes.get(at..)?.first_chunk()?;
        let length_bytes = [0, 2, 8][usize::from(second & 0x7f).saturating_sub(125)];
        let body = at + 2 + length_bytes + usize::from(second >> 7) * 4;
        let length = bytes.get(at + 2..body)?[..length_bytes]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let length = if length_bytes == 0 {
            u64::from(second & 0x7f)
        } else {
            length
        };
        let end = body.checked_add(usize::try_from(length).ok()?)?;
        if end > bytes.len() {
            return None;
        }
        if first & 0x0f == 0x8 {
            return Some(end);
        }
        at = end;
    }
}

fn drive<'a>(max_bytes: u32, pieces: impl IntoIterator<Item = &'a [u8]>, settle: bool) -> Outcome {
    let now = Instant::now();
    let mut socket = WebSocket::new(max_bytes, now);
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        loop {
            let mut context = FrameContext {
                now,
                out: &mut out,
                frames_left: &mut 7,
                wants: Wants::Everything,
            };
            match socket.receive(&mut piece, &mut context) {
                Ok(Some(event)) => events.push(event),
                Ok(None) if piece.is_empty() => break,
                Ok(None) => {}
                Err(reason) => {
                    let reason = Some(reason);
                    return Outcome { events, reason, out };
                }
            }
            if events.last() == Some(&Event::Close) {
                let reason = None;
                return Outcome { events, reason, out };
            }
        }
        assert!(piece.is_empty(), "input is left over");
        if settle {
            socket.settle();
        }
    }
    let reason = None;
    Outcome { events, reason, out }
}

/// Each ping is answered in its order, a Close once, and nothing else is said.
fn check_answers(outcome: &Outcome, pings: &[Vec<u8>]) {
    let frames = Frame::parse_all(&outcome.out);
    let closes = usize::from(outcome.events.last() == Some(&Event::Close));
    assert_eq!(frames.len(), pings.len() + closes);
    for (frame, ping) in frames.iter().zip(pings) {
        assert_eq!((frame.opcode, &frame.payload), (Opcode::PONG, ping));
    }
    assert!(
        frames
            .get(pings.len())
            .is_none_or(|frame| frame.opcode == Opcode::CLOSE)
    );
}

/// The input once more, frame by frame, all of it at hand.
#[derive(Default)]
struct Reading {
    max_bytes: usize,
    events: Vec<Event>,
    reason: Option<WebSocketError>,
    pings: Vec<Vec<u8>>,
    /// Opcode and payload so far of a message that comes in fragments.
    message: Option<(u8, Vec<u8>)>,
    fragments: u32,
    controls: u32,
}

/// A header whose two first bytes are good.
struct Header {
    fin: bool,
    opcode: u8,
    length: u64,
}

impl Reading {
    fn of(mut bytes: &[u8], max_bytes: usize) -> Self {
        let mut reading = Self {
            max_bytes,
            ..Self::default()
        };
        while reading.reason.is_none() && reading.events.last() != Some(&Event::Close) {
            match reading.frame(bytes) {
                Ok(Some(tail)) => bytes = tail,
                Ok(None) => break,
                Err(reason) => reading.reason = Some(reason),
            }
        }
        reading
    }

    /// Reads one frame and returns what follows it. `None`: it isn't whole.
    fn frame<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, WebSocketError> {
        let Some(([first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let known = matches!(first & 0x0f, 0..=2 | 8..=10);
        if first & 0x70 != 0 || !known || second & 0x80 == 0 {
            return Err(WebSocketError::ProtocolError);
        }
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((mask, rest)) = rest.get(length_bytes..).and_then(<[u8]>::split_first_chunk::<4>) else {
            return Ok(None);
        };
        let length = match length_bytes {
            0 => u64::from(second & 0x7f),
            _ => bytes[2..2 + length_bytes]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if length_bytes == 2 && length < 126 || length_bytes == 8 && length < 0x1_0000 {
            return Err(WebSocketError::ProtocolError);
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        self.admit(&Header { fin, opcode, length })?;
        let Some((payload, rest)) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
        else {
            return Ok(None);
        };
        let payload = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        match opcode {
            8..=10 => self.control(opcode, payload)?,
            _ => self.data(fin, opcode, payload)?,
        }
        Ok(Some(rest))
    }

    /// What is wrong with a frame that its header already tells.
    fn admit(&mut self, header: &Header) -> Result<(), WebSocketError> {
        if header.opcode >= 8 {
            if !header.fin || header.length > 125 {
                return Err(WebSocketError::ProtocolError);
            }
            self.controls += 1;
            if self.controls > CONTROL_FRAMES_BURST {
                return Err(WebSocketError::FrameFlood);
            }
            return Ok(());
        }
        if (header.opcode == 0) != self.message.is_some() {
            return Err(WebSocketError::ProtocolError);
        }
        let before = self.message.as_ref().map_or(0, |(_, payload)| payload.len());
        if header.length > (self.max_bytes - before) as u64 {
            return Err(WebSocketError::MessageTooBig);
        }
        self.fragments = if header.opcode == 0 { self.fragments + 1 } else { 1 };
        if self.fragments > FRAGMENTS_PER_MESSAGE {
            return Err(WebSocketError::FrameFlood);
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<(), WebSocketError> {
        match (opcode, payload.as_slice()) {
            (8, [_]) => return Err(WebSocketError::ProtocolError),
            (8, [_, _, reason @ ..]) if str::from_utf8(reason).is_err() => return Err(WebSocketError::InvalidUtf8),
            (8, _) => self.events.push(Event::Close),
            (9, _) => {
                self.events.push(Event::Ping);
                self.pings.push(payload);
            }
            _ => self.events.push(Event::Pong(payload.into())),
        }
        Ok(())
    }

    fn data(&mut self, fin: bool, opcode: u8, payload: Vec<u8>) -> Result<(), WebSocketError> {
        let (opcode, mut message) = self.message.take().unwrap_or((opcode, Vec::new()));
        message.extend(payload);
        let is_text = opcode == 1;
        match str::from_utf8(&message) {
            // A character may be cut in two by a fragment, but not by the message's end.
            Err(error) if is_text && (fin || error.error_len().is_some()) => return Err(WebSocketError::InvalidUtf8),
            Ok(text) if is_text && fin => self.events.push(Event::Text(text.into())),
            _ if fin => self.events.push(Event::Binary(message.into())),
            _ => self.message = Some((opcode, message)),
        }
        Ok(())
    }
}
