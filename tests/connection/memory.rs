//! What a client can make the relay hold by sending half of something: charged as it comes, refused, and bounded in
//! time.

use npchat::protocol::login::HANDSHAKE_MAX_BYTES;
use npchat::server::limits::BODY_BLOCK_BYTES;
use npchat::server::mailboxes::Stats;
use npchat::server::refusal::{CloseReason, Refusal};
use testkit::{Frame, Identity, Opcode};

use crate::endpoint::Endpoint;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const MESSAGE: usize = 50_000;

fn post_head(length: usize) -> Vec<u8> {
    format!("POST /{ID} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn chunked_head() -> Vec<u8> {
    format!("POST /{ID} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes()
}

/// The first bytes of a masked text frame with a payload of this length.
fn start_of_text(length: usize) -> Vec<u8> {
    let mut frame = Frame::text(&"x".repeat(length)).masked();
    frame.truncate(20);
    frame
}

fn text_sent(endpoint: &Endpoint) -> String {
    String::from_utf8_lossy(&endpoint.sent).into_owned()
}

#[test]
fn a_body_is_charged_as_it_comes_and_not_as_it_is_announced() {
    for head in [post_head(MESSAGE), chunked_head()] {
        let mut endpoint = Endpoint::new();
        endpoint.receive(&head);
        assert!(endpoint.lent.store.memory_used() <= BODY_BLOCK_BYTES as u64);
        if head.ends_with(b"chunked\r\n\r\n") {
            endpoint.receive(format!("{MESSAGE:x}\r\n").as_bytes());
        }
        for come in (0..MESSAGE as u64).step_by(1000) {
            let used = endpoint.lent.store.memory_used();
            assert!(
                used >= come && used <= come + BODY_BLOCK_BYTES as u64,
                "{used} for {come}"
            );
            endpoint.receive(&[b'x'; 1000]);
        }
        endpoint.receive(b"\r\n0\r\n\r\n");
        assert_eq!(endpoint.totals().posted, 1);
    }
}

#[test]
fn a_body_for_which_memory_runs_out_is_read_for_nothing_and_then_refused() {
    for head in [post_head(MESSAGE), chunked_head()] {
        let is_chunked = head.ends_with(b"chunked\r\n\r\n");
        let mut endpoint = Endpoint::with_memory(20_000);
        endpoint.receive(&head);
        if is_chunked {
            endpoint.receive(format!("{MESSAGE:x}\r\n").as_bytes());
        }
        for _ in 0..MESSAGE / 1000 {
            assert!(endpoint.sent.is_empty(), "its answer waits for its end");
            endpoint.receive(&[b'x'; 1000]);
        }
        if is_chunked {
            endpoint.receive(b"\r\n0\r\n\r\n");
        }
        assert!(
            text_sent(&endpoint).starts_with("HTTP/1.1 503 "),
            "{}",
            text_sent(&endpoint)
        );
        assert!(text_sent(&endpoint).contains(Refusal::RelayFull.code()));
        assert_eq!(
            (endpoint.stats(), endpoint.lent.store.memory_used()),
            (Stats::default(), 0)
        );
        endpoint.sent.clear();
        endpoint.receive(&[post_head(5), b"hello".to_vec()].concat());
        assert!(
            text_sent(&endpoint).starts_with("HTTP/1.1 200 "),
            "the connection goes on"
        );
    }
}

#[test]
fn a_stranger_is_refused_a_message_that_can_be_no_login_before_it_comes() {
    let cases = [
        (start_of_text(HANDSHAKE_MAX_BYTES + 1), CloseReason::BadHandshake),
        (
            Frame::new(Opcode::BINARY, [0; 5000]).masked()[..8].to_vec(),
            CloseReason::UnexpectedBinary,
        ),
        (start_of_text(70_000), CloseReason::MessageTooBig),
    ];
    for (bytes, reason) in cases {
        let mut endpoint = Endpoint::new();
        endpoint.upgrade(&Identity::generate());
        endpoint.receive(&bytes);
        assert!(
            endpoint
                .sent
                .ends_with(&Frame::close(reason.close_code(), reason.code()).unmasked())
        );
        assert_eq!(endpoint.lent.store.memory_used(), 0);
    }
}

#[test]
fn a_message_of_a_session_costs_no_memory_and_ends_it_if_it_does_not_come() {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    let grace = endpoint.lent.timeouts.message_grace;
    // A pong can't come in the middle of a frame, and must not be missed before its time.
    endpoint.answers_pings = false;
    let used = endpoint.lent.store.memory_used();
    endpoint.receive(&start_of_text(MESSAGE));
    assert_eq!(endpoint.lent.store.memory_used(), used);
    assert!(endpoint.connection().held_bytes() < 1024);
    endpoint.pass(grace);
    let reason = CloseReason::MessageTimeout;
    assert!(endpoint.sent.ends_with(&Frame::close(1008, reason.code()).unmasked()));
}

#[test]
fn a_message_of_a_session_is_ignored_even_when_no_memory_is_left() {
    let mut endpoint = Endpoint::with_memory(MESSAGE as u64);
    endpoint.log_in(&Identity::generate());
    let used = endpoint.lent.store.memory_used();
    let message = Frame::text(&"x".repeat(MESSAGE)).masked();
    for piece in message.chunks(10_000) {
        endpoint.receive(piece);
    }
    assert_eq!(endpoint.lent.store.memory_used(), used);
    assert_eq!(endpoint.connection().held_bytes(), 0);
    endpoint.pass(10 * endpoint.lent.timeouts.message_grace);
    assert!(!endpoint.is_closing());
}

#[test]
fn a_body_that_is_thrown_away_is_not_kept() {
    let mut endpoint = Endpoint::new();
    endpoint.receive(b"GET /info HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n");
    for _ in 0..49 {
        endpoint.receive(&[b'x'; 1000]);
        assert!(
            endpoint.connection().held_bytes() < 1024,
            "{}",
            endpoint.connection().held_bytes()
        );
    }
    endpoint.receive(&[b'x'; 1000]);
    assert!(text_sent(&endpoint).starts_with("HTTP/1.1 200 "));
}

#[test]
fn while_the_process_takes_too_much_memory_every_post_gets_the_same_refusal() {
    let mut endpoint = Endpoint::new();
    let post_at = |endpoint: &mut Endpoint, seconds: u64, resident_bytes: u64, ttl: u64| {
        let now = endpoint.lent.now + std::time::Duration::from_secs(seconds);
        endpoint.lent.store.look_at_resident(now, || Some(resident_bytes));
        endpoint.sent.clear();
        let head = format!("POST /{ID} HTTP/1.1\r\nHost: x\r\nTTL: {ttl}\r\nContent-Length: 5\r\n\r\nhello");
        endpoint.receive(head.as_bytes());
        text_sent(endpoint)
    };
    for ttl in [0, 60] {
        let refusal = post_at(&mut endpoint, 2 * ttl + 1, u64::MAX, ttl);
        assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains(Refusal::RelayFull.code()));
        assert!(post_at(&mut endpoint, 2 * ttl + 2, 0, ttl).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(endpoint.lent.store.times_over_bound(), 2);
}
