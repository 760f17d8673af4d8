//! The adapter against frames written by hand, whole and in pieces.

use testkit::write_masked;

use super::*;
use crate::server::websocket::limits::FRAGMENTS_PER_MESSAGE;

const CAP: u32 = 1000;
const TEXT_MAX_BYTES: usize = 2048;
const SHORT_TEXT: Wants = Wants::ShortText {
    max_bytes: TEXT_MAX_BYTES,
};
const SHORT_TEXT_ONLY: Wants = Wants::ShortTextOnly {
    max_bytes: TEXT_MAX_BYTES,
};

/// A client's frame, masked with a mask that is not zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked(&mut frame, first, payload, 0x0102_0304);
    frame
}

/// One call, with as much of everything as it may want.
fn receive(
    socket: &mut WebSocket,
    input: &mut &[u8],
    out: &mut Vec<u8>,
    now: Instant,
) -> Result<Option<Event>, WebSocketError> {
    let mut context = FrameContext {
        now,
        out,
        frames_left: &mut usize::MAX.clone(),
        wants: Wants::Everything,
    };
    socket.receive(input, &mut context)
}

/// Everything that comes of an input given in pieces of `step` bytes, and what is answered.
fn drive(bytes: &[u8], step: usize) -> (Vec<Event>, Option<WebSocketError>, Vec<u8>) {
    let now = Instant::now();
    let (mut socket, mut events, mut out) = (WebSocket::new(CAP, now), Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut input = piece;
        loop {
            match receive(&mut socket, &mut input, &mut out, now) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(reason) => return (events, Some(reason), out),
            }
        }
        socket.settle();
    }
    (events, None, out)
}

fn reason(bytes: &[u8]) -> Option<WebSocketError> {
    let whole = drive(bytes, usize::MAX);
    assert_eq!(whole, drive(bytes, 1), "the split changed the result");
    whole.1
}

#[test]
fn messages_come_out_the_same_however_they_are_split() {
    let mut bytes = frame(0x81, b"hello");
    bytes.extend(frame(0x01, "fräg".as_bytes()));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, "mented €".as_bytes()));
    bytes.extend(frame(0x82, &[0xff; 300]));
    bytes.extend(frame(0x8a, b"7"));
    let expected = vec![
        Event::Text("hello".into()),
        Event::Ping,
        Event::Text("frägmented €".into()),
        Event::Binary(vec![0xff; 300].into()),
        Event::Pong("7".into()),
    ];
    for step in 1..40 {
        assert_eq!(
            drive(&bytes, step),
            (expected.clone(), None, b"\x8a\x04ping".to_vec()),
            "pieces of {step}"
        );
    }
}

#[test]
fn a_frame_that_breaks_the_framing_rules_closes_with_1002() {
    for (name, bytes) in [
        ("unmasked", b"\x81\x02hi".to_vec()),
        ("reserved bit", frame(0xc1, b"hi")),
        ("reserved data opcode", frame(0x83, b"hi")),
        ("reserved control opcode", frame(0x8b, b"hi")),
        ("fragmented ping", frame(0x09, b"hi")),
        ("oversize ping", frame(0x89, &[0; 126])),
        ("stray continuation", frame(0x80, b"hi")),
        (
            "text inside a fragmented message",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        ),
        ("close with one byte", frame(0x88, b"x")),
        ("length not minimal", b"\x81\xfe\x00\x02\x00\x00\x00\x00hi".to_vec()),
    ] {
        assert_eq!(reason(&bytes), Some(WebSocketError::ProtocolError), "{name}");
    }
}

#[test]
fn a_close_code_that_may_not_be_sent_is_answered_with_1002() {
    for code in [1004_u16, 1005, 1006, 1015, 999, 2000, 5000] {
        let (events, _, out) = drive(&frame(0x88, &code.to_be_bytes()), usize::MAX);
        assert_eq!(events, [Event::Close]);
        assert_eq!(out[2..4], 1002_u16.to_be_bytes(), "{code}");
    }
}

#[test]
fn a_close_is_answered_in_kind() {
    assert_eq!(
        drive(&frame(0x88, b""), 1),
        (vec![Event::Close], None, b"\x88\x00".to_vec())
    );
    assert_eq!(
        drive(&frame(0x88, b"\x03\xe8bye"), 1),
        (vec![Event::Close], None, b"\x88\x05\x03\xe8bye".to_vec())
    );
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    assert_eq!(reason(&frame(0x81, b"\xff")), Some(WebSocketError::InvalidUtf8));
    assert_eq!(reason(&frame(0x88, b"\x03\xe8\xff")), Some(WebSocketError::InvalidUtf8));
}

#[test]
fn a_message_over_the_cap_closes_with_1009_at_its_header() {
    assert_eq!(
        reason(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd"),
        Some(WebSocketError::MessageTooBig)
    );
    assert_eq!(reason(b"\x82\xfe\x03\xe9abcd"), Some(WebSocketError::MessageTooBig));
    assert_eq!(
        reason(&[frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat()),
        Some(WebSocketError::MessageTooBig)
    );
}

#[test]
fn the_cap_on_messages_does_not_hold_for_control_frames() {
    let now = Instant::now();
    let mut socket = WebSocket::new(1, now);
    let bytes = [frame(0x89, &[b'p'; 125]), frame(0x81, b"a"), frame(0x88, b"\x03\xe8")].concat();
    let mut input = bytes.as_slice();
    let mut next = || receive(&mut socket, &mut input, &mut Vec::new(), now);
    assert_eq!(next(), Ok(Some(Event::Ping)));
    assert_eq!(next(), Ok(Some(Event::Text("a".into()))));
    assert_eq!(next(), Ok(Some(Event::Close)));
}

#[test]
fn floods_of_empty_fragments_and_of_pings_close_with_1008() {
    let fragments = frame(0x00, b"").repeat(FRAGMENTS_PER_MESSAGE as usize);
    assert_eq!(
        reason(&[frame(0x01, b""), fragments].concat()),
        Some(WebSocketError::FrameFlood)
    );
    let pings = frame(0x89, b"").repeat(CONTROL_FRAMES_BURST as usize + 1);
    assert_eq!(reason(&pings), Some(WebSocketError::FrameFlood));
}

#[test]
fn the_control_rate_earns_back_what_time_gives() {
    let start = Instant::now();
    let mut rate = ControlRate::full(start);
    for _ in 0..CONTROL_FRAMES_BURST {
        assert!(rate.spend(start));
    }
    assert!(!rate.spend(start));
    let later = start + Duration::from_secs(2);
    for _ in 0..2 * CONTROL_FRAMES_PER_SECOND {
        assert!(rate.spend(later));
    }
    assert!(!rate.spend(later));
}

#[test]
fn the_control_rate_loses_no_fraction_of_a_second() {
    let start = Instant::now();
    let mut rate = ControlRate::full(start);
    while rate.spend(start) {}
    assert!(rate.spend(start + Duration::from_millis(1900)));
    let two_seconds = start + Duration::from_secs(2);
    for _ in 1..2 * CONTROL_FRAMES_PER_SECOND {
        assert!(rate.spend(two_seconds));
    }
    assert!(!rate.spend(two_seconds));
}

#[test]
fn a_flood_of_fragments_is_heard_a_share_in_each_turn() {
    let now = Instant::now();
    let mut socket = WebSocket::new(CAP, now);
    let bytes = [frame(0x01, b"a"), frame(0x00, b"").repeat(20), frame(0x80, b"b")].concat();
    let mut input = bytes.as_slice();
    let (mut turns, mut out) = (0, Vec::new());
    let heard = loop {
        turns += 1;
        let mut frames_left = 5;
        let mut context = FrameContext {
            now,
            out: &mut out,
            frames_left: &mut frames_left,
            wants: Wants::Everything,
        };
        match socket.receive(&mut input, &mut context).unwrap() {
            Some(event) => break event,
            None => assert_eq!(frames_left, 0, "it stops for its budget alone"),
        }
    };
    assert_eq!((heard, turns), (Event::Text("ab".into()), 5));
}

/// What comes of an input in pieces of `step` bytes when not every message is wanted, and the most that was held
/// meanwhile.
fn drive_wanting(wants: Wants, bytes: &[u8], step: usize) -> (Vec<Event>, Option<WebSocketError>, usize) {
    let now = Instant::now();
    let (mut socket, mut events, mut most) = (WebSocket::new(20_000, now), Vec::new(), 0);
    for mut input in bytes.chunks(step) {
        loop {
            let mut context = FrameContext {
                now,
                out: &mut Vec::new(),
                frames_left: &mut usize::MAX.clone(),
                wants,
            };
            match socket.receive(&mut input, &mut context) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(reason) => return (events, Some(reason), most),
            }
        }
        socket.settle();
        most = most.max(socket.held_bytes());
    }
    assert_eq!(socket.held_bytes(), 0);
    (events, None, most)
}

#[test]
fn a_message_that_is_not_wanted_is_skipped_and_nothing_of_it_is_kept() {
    let long = [b'x'; 10_000];
    let mut bytes = Vec::new();
    for first in [0x81, 0x82] {
        bytes.extend(frame(first, &long));
        bytes.extend(frame(0x81, b"between"));
        // The second fragment makes it too long, with a ping amid the fragments.
        bytes.extend(frame(first & 0x0f, &long[..1500]));
        bytes.extend(frame(0x00, &long));
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x80, b"end"));
    }
    bytes.extend(frame(0x82, b""));
    bytes.extend(frame(0x81, b"last"));
    let text = |text: &str| Event::Text(text.into());
    let expected = [text("between"), Event::Ping, text("between"), Event::Ping, text("last")];
    for step in [1, 2, 3, 7, 1000, usize::MAX] {
        let (events, reason, most) = drive_wanting(SHORT_TEXT, &bytes, step);
        assert_eq!((&events[..], reason), (&expected[..], None), "pieces of {step}");
        assert!(most < 3 * TEXT_MAX_BYTES, "{most} held");
    }
}

#[test]
fn a_message_that_is_skipped_keeps_to_the_rules_and_limits() {
    let too_big = [frame(0x02, &[0; 15_000]), frame(0x80, &[0; 5001])].concat();
    let nested = [frame(0x02, &[0; 5000]), frame(0x82, b"")].concat();
    let flood = [
        frame(0x02, b""),
        frame(0x00, b"").repeat(FRAGMENTS_PER_MESSAGE as usize),
    ]
    .concat();
    for (bytes, reason) in [
        (too_big, WebSocketError::MessageTooBig),
        (nested, WebSocketError::ProtocolError),
        (flood, WebSocketError::FrameFlood),
    ] {
        assert_eq!(drive_wanting(SHORT_TEXT, &bytes, 1000).1, Some(reason));
    }
}

#[test]
fn before_a_login_a_message_that_is_no_step_of_one_ends_it_at_its_header() {
    for (first, reason) in [
        (0x81, WebSocketError::TextTooLong),
        (0x82, WebSocketError::UnexpectedBinary),
    ] {
        let bytes = frame(first, &[b'x'; 3000]);
        assert_eq!(
            drive_wanting(SHORT_TEXT_ONLY, &bytes[..8], 8),
            (Vec::new(), Some(reason), 0)
        );
    }
}

#[test]
fn a_message_under_way_has_a_deadline_that_pings_do_not_move() {
    let start = Instant::now();
    let grace = Duration::from_secs(10);
    let mut socket = WebSocket::new(CAP, start);
    assert_eq!(socket.deadline(grace), None);
    let mut hear = |bytes: &[u8], now| receive(&mut socket, &mut &bytes[..], &mut Vec::new(), now).unwrap();
    assert_eq!(hear(&frame(0x01, b"a"), start), None);
    assert_eq!(
        hear(&frame(0x89, b"p"), start + Duration::from_secs(9)),
        Some(Event::Ping)
    );
    let deadline = socket.deadline(grace).unwrap();
    assert!(deadline < start + Duration::from_millis(10_100));
    let mut hear = |bytes: &[u8], now| receive(&mut socket, &mut &bytes[..], &mut Vec::new(), now).unwrap();
    assert!(hear(&frame(0x80, b"b"), deadline).is_some());
    socket.settle();
    assert_eq!(socket.deadline(grace), None);
}

#[test]
fn between_messages_a_websocket_owns_no_buffer() {
    let now = Instant::now();
    let mut socket = WebSocket::new(CAP, now);
    let whole = frame(0x81, b"hello");
    let mut input = &whole[..4];
    assert_eq!(receive(&mut socket, &mut input, &mut Vec::new(), now), Ok(None));
    socket.settle();
    assert!(socket.incoming.is_some());
    let mut input = &whole[4..];
    assert_eq!(
        receive(&mut socket, &mut input, &mut Vec::new(), now),
        Ok(Some(Event::Text("hello".into())))
    );
    socket.settle();
    assert!(socket.incoming.is_none());
}

#[test]
fn frames_written_have_the_shortest_length_form() {
    for (length, header) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
        let mut out = Vec::new();
        write_frame(&mut out, Opcode::Binary, &vec![7; length]);
        assert_eq!(out.len(), header + length);
        assert_eq!(out[0], 0x82);
    }
}

/// After how many bytes of a stream a Close is found, which comes in pieces of `step` bytes and which is given up at
/// the first fault, or after `given_up_after` bytes.
fn close_found_after(stream: &[u8], step: usize, given_up_after: usize) -> Option<usize> {
    let now = Instant::now();
    let (before, after) = stream.split_at(given_up_after);
    let mut socket = WebSocket::new(CAP, now);
    let mut pieces = before.chunks(step).chain(after.chunks(step));
    let mut taken = 0;
    while taken < given_up_after {
        let mut input = pieces.next()?;
        taken += input.len();
        let refused = loop {
            match receive(&mut socket, &mut input, &mut Vec::new(), now) {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if refused {
            let mut finder = socket.into_close_finder();
            if finder.find(input) {
                return Some(taken);
            }
            return found_in(finder, pieces, taken);
        }
    }
    found_in(socket.into_close_finder(), pieces, taken)
}

fn found_in<'a>(mut finder: CloseFinder, pieces: impl Iterator<Item = &'a [u8]>, mut taken: usize) -> Option<usize> {
    for piece in pieces {
        taken += piece.len();
        if finder.find(piece) {
            return Some(taken);
        }
    }
    None
}

#[test]
fn a_close_is_found_cut_anywhere_and_after_frames_of_every_length() {
    let long = 0x1_0000_u64;
    let long = [
        &[0x82, 0xff][..],
        &long.to_be_bytes(),
        &[0x88; 4],
        &vec![0x88; 0x1_0000],
    ]
    .concat();
    let frames = [
        frame(0x81, b""),
        frame(0x8a, &[0x88; 125]),
        frame(0x01, &[0x88; 126]),
        long,
    ];
    let before = frames.concat();
    let stream = [before.clone(), frame(0x88, b"\x03\xe8bye")].concat();
    for cut in 0..stream.len() {
        let mut finder = WebSocket::new(CAP, Instant::now()).into_close_finder();
        let (first, second) = stream.split_at(cut);
        assert!(!finder.find(first), "found in the first {cut} bytes");
        assert!(finder.find(second), "not found when cut at {cut}");
    }
    assert_eq!(close_found_after(&before, 1, 0), None);
}

#[test]
fn a_close_is_found_after_a_stream_is_given_up_within_a_frame() {
    let stream = [
        frame(0x82, &[0x88; 300]),
        frame(0x89, b"p"),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    for given_up_after in 0..stream.len() {
        let found = close_found_after(&stream, 1, given_up_after);
        assert_eq!(found, Some(stream.len()), "given up after {given_up_after} bytes");
    }
}

#[test]
fn a_close_is_found_after_a_frame_that_broke_the_rules() {
    for (reason, broken) in [
        (WebSocketError::ProtocolError, frame(0xc1, &[0x88; 9])),
        (WebSocketError::ProtocolError, frame(0x83, &[0x88; 9])),
        (WebSocketError::ProtocolError, frame(0x89, &[0x88; 126])),
        (WebSocketError::ProtocolError, frame(0x80, &[0x88; 9])),
        (WebSocketError::ProtocolError, b"\x81\x02\x88\x88".to_vec()),
        (
            WebSocketError::ProtocolError,
            b"\x81\xfe\x00\x02\x00\x00\x00\x00\x88\x88".to_vec(),
        ),
        (WebSocketError::InvalidUtf8, frame(0x81, &[0xff; 300])),
        (WebSocketError::MessageTooBig, frame(0x82, &[0x88; CAP as usize + 1])),
    ] {
        assert_eq!(drive(&broken, usize::MAX).1, Some(reason));
        let stream = [broken, frame(0x81, b"x"), frame(0x88, b"\x03\xe8")].concat();
        for step in [1, 2, 7, usize::MAX] {
            let found = close_found_after(&stream, step, stream.len());
            assert_eq!(found, Some(stream.len()), "{reason:?} in pieces of {step}");
        }
        let without = &stream[..stream.len() - 1];
        assert_eq!(close_found_after(without, 1, without.len()), None, "{reason:?}");
    }
}

#[test]
fn a_close_that_breaks_the_rules_itself_is_the_last_of_its_side() {
    for (name, close) in [
        ("one byte", frame(0x88, b"x")),
        ("not UTF-8", frame(0x88, b"\x03\xe8\xff")),
        ("too long", frame(0x88, &[b'x'; 126])),
        ("fragmented", frame(0x08, b"\x03\xe8")),
        ("reserved bit", frame(0xc8, b"\x03\xe8")),
        ("unmasked", b"\x88\x02\x03\xe8".to_vec()),
    ] {
        let (mut socket, mut input) = (WebSocket::new(CAP, Instant::now()), close.as_slice());
        let refused = receive(&mut socket, &mut input, &mut Vec::new(), Instant::now());
        assert!(refused.is_err(), "{name}");
        assert!(socket.into_close_finder().find(input), "{name}");
    }
}
