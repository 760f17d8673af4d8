//! Rows 21 to 30: upgrades that are wrong, and frames that break RFC 6455 or a limit.
//!
//! What the texts in good frames say is in the rows of the logins.

use std::time::Duration;

use npchat::server::Server;
use testkit::{Challenge, Frame, Identity, Opcode, RawClient, RawWebSocket, address, start, upgrade_request};

use crate::harness::{
    Answer, Cut, ID, SENT, expect_answer, expect_close, expect_close_frame, expect_well, masked, refused, run_all,
    run_refused,
};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const CHALLENGE_REQUEST: &str = r#"{"get":"challenge"}"#;
const SWITCHING: Answer = Answer::of(101);
const MAX_MESSAGE_BYTES: u32 = 64 * 1024;

#[test]
fn row_21_a_websocket_version_other_than_13_is_426_and_told_13() {
    const ANSWER: Answer = refused(426, "unsupported_websocket_version").with("Sec-WebSocket-Version", "13");
    let versions = [
        ("12", "Sec-WebSocket-Version: 12\r\n"),
        ("14", "Sec-WebSocket-Version: 14\r\n"),
        ("8", "Sec-WebSocket-Version: 8\r\n"),
        ("013", "Sec-WebSocket-Version: 013\r\n"),
        ("a list", "Sec-WebSocket-Version: 13, 8\r\n"),
        ("two", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n"),
        ("none", ""),
    ];
    run_refused(
        ANSWER,
        versions.map(|(name, version)| (name, get(&[UPGRADE, version, KEY]))),
    );
}

#[test]
fn row_22_a_bad_key_is_400_and_a_missing_token_426() {
    let keys = [
        ("none", ""),
        ("empty", "Sec-WebSocket-Key:\r\n"),
        (
            "two",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        ("no base64", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n"),
        ("base64url", "Sec-WebSocket-Key: __hlIHNhbXBsZSBub25jZQ==\r\n"),
        ("not padded", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"),
        ("15 bytes", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n"),
        ("17 bytes", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM=\r\n"),
        ("18 bytes", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXMh\r\n"),
    ];
    let answer = refused(400, "bad_upgrade");
    run_refused(answer, keys.map(|(name, key)| (name, get(&[UPGRADE, VERSION, key]))));
    let with_body = [get(&[UPGRADE, VERSION, KEY, "Content-Length: 4\r\n"]), b"body".to_vec()].concat();
    run_refused(answer, [("a body", with_body)]);
    let coded = get(&[UPGRADE, VERSION, KEY, "Transfer-Encoding: chunked\r\n"]);
    run_refused(answer, [("a body in chunks", [coded, b"0\r\n\r\n".to_vec()].concat())]);

    let stray_bits = "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n";
    let server = start(|_| {});
    let mut client = RawClient::connect(address(&server));
    client.send(get(&[UPGRADE, VERSION, stray_bits]));
    expect_answer(&mut client, SWITCHING);

    let tokens = [
        ("a plain GET", ""),
        ("no Upgrade", "Connection: Upgrade\r\n"),
        ("no Connection", "Upgrade: websocket\r\n"),
        ("another Upgrade", "Upgrade: h2c\r\nConnection: Upgrade\r\n"),
        ("another Connection", "Upgrade: websocket\r\nConnection: keep-alive\r\n"),
    ];
    let answer = refused(426, "upgrade_required").with("Upgrade", "websocket");
    run_refused(answer, tokens.map(|(name, token)| (name, get(&[token, VERSION, KEY]))));
    let old = format!("GET /{ID} HTTP/1.0\r\n{UPGRADE}{VERSION}{KEY}\r\n");
    run_refused(answer, [("HTTP/1.0", old.into_bytes())]);
    let post = format!("POST /{ID} HTTP/1.1\r\nHost: relay.test\r\n{UPGRADE}{VERSION}{KEY}Content-Length: 2\r\n\r\nhi");
    run_all(&server, SENT, [("a POST is none", post.into_bytes())]);
}

#[test]
fn row_23_permessage_deflate_is_not_taken() {
    let server = start(|_| {});
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    // As Firefox writes it.
    let upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
    let mut client = RawClient::connect(address(&server));
    client.send(get(&[upgrade, offer, VERSION, KEY, "Content-Length: 0\r\n"]));
    let response = expect_answer(&mut client, SWITCHING.with("Connection", "Upgrade"));
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(response.header("Content-Length"), None);
    let mut socket = upgraded(&server, &[]);
    socket.send(&Frame {
        rsv: 4,
        ..Frame::text("compressed")
    });
    expect_close(&mut socket, 1002, None);
}

#[test]
fn row_24_frames_glued_to_the_upgrade_are_handled() {
    let server = start(|_| {});
    let identity = Identity::generate();
    for cut in Cut::ALL {
        let mut client = RawClient::connect(address(&server));
        let request = upgrade_request(address(&server), &identity.id);
        let glued = [Frame::new(Opcode::PING, "here"), Frame::text(CHALLENGE_REQUEST)];
        cut.send(&mut client, &[request.as_bytes(), &masked(&glued)].concat());
        let mut socket = RawWebSocket::upgraded(client);
        assert_eq!(socket.read_frame(), Frame::new(Opcode::PONG, "here"));
        let challenge = Challenge::read(&socket.read_text());
        socket.send(&Frame::text(&identity.solution(&challenge)));
        assert_eq!(socket.read_text(), r#"{"message":"handshake done"}"#);
    }
    let mut socket = upgraded(&server, &Frame::text("unmasked").unmasked());
    expect_close(&mut socket, 1002, None);
    run_all(
        &server,
        refused(400, "bad_upgrade"),
        [(
            "no upgrade",
            [get(&[UPGRADE, VERSION]), masked(&[Frame::text("x")])].concat(),
        )],
    );
}

#[test]
fn row_25_a_frame_that_breaks_the_rules_is_close_1002() {
    let good = Frame::text("text");
    let part = unfinished(Frame::text("part"));
    let control = |opcode, fin, length: usize| Frame {
        fin,
        ..Frame::new(opcode, vec![b'c'; length])
    };
    let mut cases = vec![
        ("unmasked", good.unmasked()),
        ("unmasked control", Frame::new(Opcode::PING, "").unmasked()),
        ("fragmented ping", control(Opcode::PING, false, 1).masked()),
        ("fragmented pong", control(Opcode::PONG, false, 1).masked()),
        ("fragmented close", unfinished(Frame::close(1000, "")).masked()),
        ("oversize ping", control(Opcode::PING, true, 126).masked()),
        ("oversize pong", control(Opcode::PONG, true, 65_536).masked()),
        ("oversize close", Frame::close(1000, &"c".repeat(124)).masked()),
        ("stray continuation", Frame::new(Opcode::CONTINUATION, "part").masked()),
        ("stray first part", control(Opcode::CONTINUATION, false, 1).masked()),
        ("a text inside a text", masked(&[part.clone(), good.clone()])),
        (
            "a length of 16 bits that fits 7",
            vec![0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x'],
        ),
    ];
    for rsv in 1..8 {
        cases.push(("reserved bits", Frame { rsv, ..good.clone() }.masked()));
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        cases.push(("reserved opcode", Frame::new(opcode, "text").masked()));
    }
    run_frames(1002, &cases);
}

#[test]
fn row_26_text_that_is_not_utf_8_is_close_1007() {
    let text = |payload: &[u8]| Frame::new(Opcode::TEXT, payload);
    let first = |payload: &[u8]| unfinished(text(payload));
    let rest = |payload: &[u8]| Frame::new(Opcode::CONTINUATION, payload);
    let close = |reason: &[u8]| Frame::new(Opcode::CLOSE, [&1000_u16.to_be_bytes(), reason].concat());
    let cases = [
        ("a byte that never occurs", text(b"ab\xffcd").masked()),
        ("a character that ends early", text(b"\xc3").masked()),
        ("an overlong form", text(b"\xc0\xaf").masked()),
        ("a surrogate", text(b"\xed\xa0\x80").masked()),
        ("over U+10FFFF", text(b"\xf4\x90\x80\x80").masked()),
        ("bad across fragments", masked(&[first(b"\xe2\x82"), rest(b"x")])),
        ("ended by the last fragment", masked(&[first(b"x"), rest(b"\xe2\x82")])),
        ("a close reason", close(b"\xff").masked()),
        ("a close reason that ends early", close(b"reas\xc3").masked()),
    ];
    run_frames(1007, &cases);
}

#[test]
fn row_27_a_message_over_the_cap_is_close_1009_by_its_header_alone() {
    const PART: usize = 1000;
    let max = u64::from(MAX_MESSAGE_BYTES);
    let part = unfinished(Frame::text(&"x".repeat(PART)));
    let rest = Frame::new(Opcode::CONTINUATION, "");
    let declared = |length| Frame::text("").masked_header(length);
    let cases = [
        ("one byte over", declared(max + 1)),
        ("2^32", declared(1 << 32)),
        ("2^63 - 1", declared((1 << 63) - 1)),
        ("2^63", declared(1 << 63)),
        ("2^64 - 1", declared(u64::MAX)),
        ("binary", Frame::new(Opcode::BINARY, "").masked_header(1 << 63)),
        (
            "a part of it, then one byte over",
            [part.masked(), rest.masked_header(max - PART as u64 + 1)].concat(),
        ),
        (
            "a part of it, then 2^64 - 1",
            [part.masked(), rest.masked_header(u64::MAX)].concat(),
        ),
    ];
    run_frames(1009, &cases);
}

#[test]
fn row_28_a_million_empty_continuations_are_close_1008_and_others_are_served() {
    let server = start(|_| {});
    for logged_in in [false, true] {
        let mut socket = open(&server, logged_in);
        socket.send(&unfinished(Frame::text("")));
        let flood = unfinished(Frame::new(Opcode::CONTINUATION, "")).masked().repeat(1000);
        for _ in 0..1000 {
            // The server reads on for a while after its Close, and then needn't any more.
            if socket.client().try_send(&flood).is_err() {
                break;
            }
            socket.tend();
        }
        assert_eq!(socket.expect_close(), 1008);
        expect_well(&server);
    }
}

#[test]
fn row_29_a_flood_of_pings_is_close_1008_and_a_few_are_answered() {
    let server = start(|_| {});
    for logged_in in [false, true] {
        let mut socket = open(&server, logged_in);
        for payload in ["", "ping", &"p".repeat(125)] {
            socket.send(&Frame::new(Opcode::PING, payload));
            assert_eq!(socket.read_frame(), Frame::new(Opcode::PONG, payload));
        }
        socket
            .client()
            .send(Frame::new(Opcode::PING, "flood").masked().repeat(200));
        assert_eq!(socket.expect_closing(), 1008);
        expect_well(&server);
    }
}

#[test]
fn row_30_a_close_that_may_not_be_sent_is_close_1002() {
    let mut cases = vec![("a payload of one byte", Frame::new(Opcode::CLOSE, [3]).masked())];
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(("a code that may not be sent", Frame::close(code, "").masked()));
    }
    run_frames(1002, &cases);
}

#[test]
fn row_30_a_good_close_is_answered_with_its_like() {
    let server = start(|_| {});
    for logged_in in [false, true] {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
            let mut socket = open(&server, logged_in);
            socket
                .client()
                .send(masked(&[Frame::close(code, "bye"), Frame::text("after the end")]));
            assert_eq!(socket.expect_close(), code);
            assert_eq!(socket.client().read_to_end(), b"");
        }
        let mut socket = open(&server, logged_in);
        socket.send(&Frame::new(Opcode::CLOSE, ""));
        assert_eq!(socket.read_frame(), Frame::new(Opcode::CLOSE, ""));
        assert_eq!(socket.client().read_to_end(), b"");
    }
}

#[test]
fn row_30_the_stream_ends_only_after_the_clients_own_close() {
    let server = start(|config| config.timeouts.linger = Duration::from_secs(300));
    for logged_in in [false, true] {
        for (code, bytes) in [
            (1002, Frame::text("unmasked").unmasked()),
            (1007, Frame::new(Opcode::TEXT, b"\xff").masked()),
        ] {
            let mut socket = open(&server, logged_in);
            socket.client().send(bytes);
            assert_eq!(socket.expect_close(), code);
            assert!(
                !socket.client().hears_within(Duration::from_millis(100)),
                "the end of the stream came with the server's Close"
            );
            let close = Frame::close(code, "").masked();
            let (first, last) = close.split_at(close.len() - 1);
            socket.client().send(first);
            socket.client().send(last);
            assert_eq!(socket.client().read_to_end(), b"");
        }
    }
}

/// The same frame as one that others follow in its message.
fn unfinished(frame: Frame) -> Frame {
    Frame { fin: false, ..frame }
}

/// A WebSocket right after its upgrade, or after a login.
fn open(server: &Server, logged_in: bool) -> RawWebSocket {
    if logged_in {
        RawWebSocket::log_in(address(server), &Identity::generate())
    } else {
        RawWebSocket::connect(address(server), ID)
    }
}

/// A WebSocket whose upgrade came with more bytes in the same write.
fn upgraded(server: &Server, glued: &[u8]) -> RawWebSocket {
    let mut client = RawClient::connect(address(server));
    client.send([upgrade_request(address(server), ID).as_bytes(), glued].concat());
    RawWebSocket::upgraded(client)
}

/// Sends each case's bytes in each manner, before a login and after one: the answer is a Close with this code.
fn run_frames(code: u16, cases: &[(&str, Vec<u8>)]) {
    let server = start(|config| config.max_message = MAX_MESSAGE_BYTES);
    for (name, bytes) in cases {
        for logged_in in [false, true] {
            for cut in Cut::ALL {
                println!("{name} ({cut:?}, logged in: {logged_in})");
                let mut socket = open(&server, logged_in);
                cut.send(socket.client(), bytes);
                if bytes[0] & 0x0f == Opcode::CLOSE {
                    // The client has closed already, and sends no more.
                    expect_close_frame(&mut socket, code);
                    assert_eq!(socket.client().read_to_end(), b"", "nothing follows a Close");
                } else {
                    expect_close(&mut socket, code, None);
                }
                expect_well(&server);
            }
        }
    }
}

/// A GET for a mailbox with these fields, each line ended by CR LF.
fn get(fields: &[&str]) -> Vec<u8> {
    let fields = fields.concat();
    format!("GET /{ID} HTTP/1.1\r\nHost: relay.test\r\n{fields}\r\n").into_bytes()
}
