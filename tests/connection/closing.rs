//! How a WebSocket that the server closes ends: with the client's Close, with the end of its stream, or after a while.

use std::time::Duration;

use npchat::protocol::id::RecipientId;
use npchat::server::config::Timeouts;
use npchat::server::connection::visit::Cause;
use npchat::server::limits::{DRAIN_LINGER_SECONDS, FRAMES_PER_REQUEST, LAG_MAX_BYTES, REQUESTS_PER_VISIT};
use npchat::server::mailboxes::{Deliveries, Room, Taken};
use npchat::server::refusal::CloseReason;
use npchat::server::token::{SessionAddress, Token};
use testkit::{Frame, Identity, Opcode};

use crate::endpoint::Endpoint;

/// A WebSocket that the server has just closed for what the client sent.
fn closed_for(input: &[u8]) -> Endpoint {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    endpoint.receive_all([input]);
    let frames = Frame::parse_all(&endpoint.sent);
    assert_eq!(frames.last().map(|frame| frame.opcode), Some(Opcode::CLOSE));
    assert!(!endpoint.half_closed(), "the client's Close comes first");
    endpoint
}

fn unmasked() -> Vec<u8> {
    Frame::text("unmasked").unmasked()
}

#[test]
fn a_close_of_the_server_is_followed_by_the_end_once_the_clients_has_come() {
    let close = Frame::close(1002, "").masked();
    for cut in 0..close.len() {
        let mut endpoint = closed_for(&unmasked());
        endpoint.receive_all([&Frame::text("late").masked(), &close[..cut]]);
        assert_eq!(endpoint.freed, None, "cut at {cut}");
        endpoint.receive(&close[cut..]);
        assert_eq!(endpoint.freed, Some(CloseReason::ProtocolError), "cut at {cut}");
    }
}

#[test]
fn a_close_that_came_with_the_fault_ends_the_connection_at_once() {
    let close = Frame::close(1000, "").masked();
    let endpoint = closed_for(&[unmasked(), close].concat());
    assert_eq!(endpoint.freed, Some(CloseReason::ProtocolError));
}

#[test]
fn a_close_that_is_the_fault_itself_ends_the_connection_at_once() {
    for close in [
        Frame::new(Opcode::CLOSE, "x").masked(),
        Frame::close(1000, &"x".repeat(124)).masked(),
        Frame::close(1000, "").unmasked(),
    ] {
        assert_eq!(closed_for(&close).freed, Some(CloseReason::ProtocolError), "{close:?}");
    }
}

#[test]
fn without_the_clients_close_the_connection_ends_with_its_stream_or_after_the_linger() {
    let mut gone = closed_for(&unmasked());
    gone.end_input();
    assert_eq!(gone.freed, Some(CloseReason::ProtocolError));

    let linger = Timeouts::default().linger;
    let mut silent = closed_for(&unmasked());
    assert_eq!(silent.time_left(), Some(linger));
    silent.pass(linger / 2);
    assert_eq!((silent.half_closed(), silent.freed), (false, None));
    silent.pass(linger / 2);
    assert_eq!(silent.freed, Some(CloseReason::ProtocolError));
}

#[test]
fn a_drain_leaves_a_client_that_lingers_less_time() {
    let mut endpoint = closed_for(&unmasked());
    endpoint.lent.store.start_draining();
    endpoint.visit(Cause::Drain);
    assert_eq!(endpoint.time_left(), Some(Duration::from_secs(DRAIN_LINGER_SECONDS)));
}

#[test]
fn a_close_that_had_come_when_a_delivery_ends_the_session_is_the_clients_last() {
    const BYTES: usize = 16 * 1024;
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.answers_pings = false;
    endpoint.log_in(&identity);
    // The first message fills the window, so that the next waits for its pong.
    endpoint.post(&identity.id, &[0; BYTES]);
    let pong = endpoint.take_pings().remove(0).pong().masked();
    endpoint.post(&identity.id, b"next");

    // Meanwhile another session acknowledges more than a window.
    let id = RecipientId::parse(identity.id.as_bytes()).unwrap();
    let token = Token {
        index: 1,
        generation: 0,
    };
    let address = SessionAddress { worker: 1, token };
    let (now, relay) = (endpoint.lent.now, &endpoint.lent.store);
    let quick = relay.attach(&id, address).unwrap();
    for _ in 0..LAG_MAX_BYTES / BYTES + 2 {
        relay.post(&id, &[0; BYTES], None, now, &mut Vec::new()).unwrap();
    }
    let mut given = Deliveries::new();
    while quick.take(now, Room::of_bytes(usize::MAX), true, &mut given) != Taken::All {}
    let last = given.iter().last().unwrap().sequence;
    quick.confirm(last, &mut Vec::new());

    let texts = Frame::text("{}")
        .masked()
        .repeat(REQUESTS_PER_VISIT * FRAMES_PER_REQUEST);
    let close = Frame::close(1000, "").masked();
    endpoint.read(&[pong, texts, close].concat());
    assert_eq!(endpoint.freed, Some(CloseReason::FellBehind));
}
