//! How a WebSocket that the server closes ends: with the client's Close, with the end of its stream, or after a while.

use std::time::Duration;

use npchat::config::Timeouts;
use npchat::connection::Connection;
use npchat::limits::DRAIN_LINGER_SECONDS;
use npchat::refusal::CloseReason;

use crate::common::{Frame, Identity, Opcode};
use crate::endpoint::Endpoint;

/// A WebSocket that the server has just closed for what the client sent.
fn closed_for(input: &[u8]) -> Endpoint {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    endpoint.receive_all([input]);
    let frames = Frame::parse_all(&endpoint.sent);
    assert_eq!(frames.last().map(|frame| frame.opcode), Some(Opcode::CLOSE));
    assert!(!endpoint.half_closed, "the client's Close comes first");
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
    assert_eq!((silent.half_closed, silent.freed), (false, None));
    silent.pass(linger / 2);
    assert_eq!(silent.freed, Some(CloseReason::ProtocolError));
}

#[test]
fn a_drain_leaves_a_client_that_lingers_less_time() {
    let mut endpoint = closed_for(&unmasked());
    endpoint.lent.relay.start_draining();
    endpoint.visit(Connection::drain);
    assert_eq!(endpoint.time_left(), Some(Duration::from_secs(DRAIN_LINGER_SECONDS)));
}
