//! What a drain does to a connection in each of its stages.
//!
//! That a worker tells its connections of it, and stops to accept, is tested with a real server.

use std::time::Duration;

use npchat::server::connection::visit::Cause;
use npchat::server::limits::DRAIN_LINGER_SECONDS;
use npchat::server::refusal::CloseReason;
use testkit::{Frame, Identity, Opcode, post_request, upgrade_request};

use crate::endpoint::Endpoint;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    for requests in 0..2 {
        let mut endpoint = Endpoint::new();
        endpoint.receive_all([HEALTH; 2].into_iter().take(requests));
        endpoint.sent.clear();
        drain(&mut endpoint);
        assert!(endpoint.half_closed() && endpoint.sent.is_empty());
        endpoint.end_input();
        assert_eq!(endpoint.freed, Some(CloseReason::Restart));
    }
}

#[test]
fn a_request_that_was_under_way_anywhere_is_answered_and_is_the_last() {
    let request = post_request(([127, 0, 0, 1], 80).into(), &format!("/{ID}"), "", "0123456789");
    for cut in 1..request.len() {
        let mut endpoint = Endpoint::new();
        endpoint.receive(&request[..cut]);
        drain(&mut endpoint);
        assert!(!endpoint.half_closed(), "cut at {cut}");
        endpoint.receive(&request[cut..]);
        let answer = String::from_utf8_lossy(&endpoint.sent);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "cut at {cut}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "cut at {cut}: {answer}");
        assert!(endpoint.half_closed(), "cut at {cut}");
    }
}

#[test]
fn of_pipelined_requests_that_a_budget_left_over_the_next_is_answered_as_the_last() {
    let mut endpoint = Endpoint::new();
    endpoint.receive(&HEALTH.repeat(100));
    assert!(endpoint.connection().wants_turn(), "more than a turn's budget");
    drain(&mut endpoint);
    endpoint.settle();
    let sent = String::from_utf8_lossy(&endpoint.sent);
    let (before, last) = sent.rsplit_once("HTTP/1.1 ").unwrap();
    assert!(!before.contains("Connection: close") && before.contains("200 OK"));
    assert!(last.starts_with("200 OK") && last.contains("\r\nConnection: close\r\n"));
    assert!(endpoint.half_closed());
}

#[test]
fn a_websocket_is_told_to_come_again_and_its_mail_comes_first() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&identity);
    endpoint.set_send_size(0);
    endpoint.post(&identity.id, b"mail");
    drain(&mut endpoint);
    endpoint.set_send_size(usize::MAX);
    endpoint.settle();
    let mut frames = Frame::parse_all(&endpoint.sent);
    assert_eq!(frames.remove(1).opcode, Opcode::PING);
    assert_eq!(frames, [Frame::text("mail"), Frame::close(1012, "restart")]);
    assert_eq!(
        (endpoint.half_closed(), endpoint.freed),
        (false, None),
        "its Close hasn't come"
    );
    endpoint.receive(&Frame::text("late").masked());
    assert_eq!(endpoint.freed, None);
    endpoint.receive(&Frame::close(1012, "").masked());
    assert_eq!(endpoint.freed, Some(CloseReason::Restart));
}

#[test]
fn a_client_that_is_asleep_holds_up_the_end_for_a_second() {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    drain(&mut endpoint);
    assert_eq!(endpoint.time_left(), Some(Duration::from_secs(DRAIN_LINGER_SECONDS)));
    endpoint.pass(Duration::from_secs(DRAIN_LINGER_SECONDS));
    assert_eq!(endpoint.freed, Some(CloseReason::Restart));
}

#[test]
fn an_upgrade_that_was_under_way_is_refused() {
    let upgrade = upgrade_request(([127, 0, 0, 1], 80).into(), ID);
    let mut endpoint = Endpoint::new();
    endpoint.receive(&upgrade.as_bytes()[..30]);
    drain(&mut endpoint);
    endpoint.receive(&upgrade.as_bytes()[30..]);
    let answer = String::from_utf8_lossy(&endpoint.sent);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#"{"error":"unavailable","#));
    assert!(endpoint.half_closed());
}

fn drain(endpoint: &mut Endpoint) {
    endpoint.lent.store.start_draining();
    endpoint.visit(Cause::Drain);
}
