//! What a connection gets for which there is no room: one answer, which is true if it asks how the server is.

use npchat::server::refusal::{CloseReason, Refusal};
use testkit::{post_request, upgrade_request};

use crate::endpoint::Endpoint;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn turned_away() -> Endpoint {
    let mut endpoint = Endpoint::new();
    endpoint.turn_away();
    endpoint
}

#[track_caller]
fn assert_one_answer(endpoint: &mut Endpoint, status: &str, member: &str) {
    endpoint.settle();
    let sent = String::from_utf8_lossy(&endpoint.sent);
    assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{sent}");
    assert!(
        sent.contains(member) && sent.contains("\r\nConnection: close\r\n"),
        "{sent}"
    );
    assert_eq!(sent.matches("HTTP/1.1").count(), 1, "{sent}");
    assert!(endpoint.half_closed() || endpoint.freed == Some(CloseReason::Answered));
}

#[test]
fn only_a_probe_is_answered_and_only_once() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    for (target, member) in [("/healthz", "healthy"), ("/readyz", "ready")] {
        for cut in [0, 1, 20] {
            let mut endpoint = turned_away();
            let request = get(target).repeat(2);
            endpoint.receive(&request[..cut]);
            endpoint.receive(&request[cut..]);
            assert_one_answer(&mut endpoint, "200", member);
        }
    }
    for request in [
        get("/"),
        get("/info"),
        post_request(([127, 0, 0, 1], 80).into(), &format!("/{ID}"), "", "message"),
        post_request(([127, 0, 0, 1], 80).into(), "/healthz", "", "message"),
        upgrade_request(([127, 0, 0, 1], 80).into(), ID).into_bytes(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".to_vec(),
    ] {
        let mut endpoint = turned_away();
        endpoint.receive(&request);
        assert_one_answer(&mut endpoint, "503", "unavailable");
        assert_eq!(endpoint.totals().refused(Refusal::Unavailable), 1);
        assert_eq!(endpoint.stats().messages, 0);
    }
}

#[test]
fn a_request_that_is_not_whole_in_time_or_never_will_be_is_refused_too() {
    let part = b"GET /healthz HT";
    let mut endpoint = turned_away();
    endpoint.receive(part);
    endpoint.end_input();
    assert_one_answer(&mut endpoint, "503", "unavailable");
    assert_eq!(endpoint.freed, Some(CloseReason::Answered));

    let mut endpoint = turned_away();
    endpoint.receive(part);
    let left = endpoint.time_left().unwrap();
    assert_eq!(left, endpoint.lent.timeouts.head);
    endpoint.pass(left);
    assert_one_answer(&mut endpoint, "503", "unavailable");
}

/// With TLS there may be no handshake: an answer would wait for one, and hold the place.
#[test]
fn one_that_stays_silent_ends_at_the_deadline_without_an_answer() {
    let mut endpoint = turned_away();
    endpoint.pass(endpoint.lent.timeouts.head);
    assert!(endpoint.half_closed() && endpoint.sent.is_empty());
    let mut endpoint = turned_away();
    endpoint.end_input();
    assert!(endpoint.freed == Some(CloseReason::Done) && endpoint.sent.is_empty());
}
