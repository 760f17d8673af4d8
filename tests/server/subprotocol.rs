//! The subprotocol npchat.2 over real sockets: taken when offered, a challenge without asking, logins for a host, mail
//! as binary (PROTOCOL.md part 2).
//!
//! How it goes in turns, and however its input is split, is tested without a socket.

#![expect(clippy::unwrap_used, reason = "these fail a test")]

use std::net::SocketAddr;
use std::time::Duration;

use npchat::protocol::host::Host;
use npchat::server::Server;
use testkit::{
    Challenge, Frame, Identity, OFFER, Opcode, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, start,
    upgrade_request_with, wait_until,
};

const DONE: &str = r#"{"message":"handshake done"}"#;

fn connect(address: SocketAddr, host: &str, id: &str, headers: &str) -> RawWebSocket {
    let mut client = RawClient::connect(address);
    client.send(upgrade_request_with(host, id, headers));
    RawWebSocket::upgraded(client)
}

/// A connection with npchat.2 by way of this host, and its first challenge.
fn challenged(address: SocketAddr, host: &str, identity: &Identity) -> (RawWebSocket, Challenge) {
    let mut socket = connect(address, host, &identity.id, OFFER);
    let challenge = Challenge::read(&socket.read_text());
    (socket, challenge)
}

/// Logs in by way of the address.
fn log_in(address: SocketAddr, identity: &Identity) -> RawWebSocket {
    let host = address.to_string();
    let (mut socket, challenge) = challenged(address, &host, identity);
    socket.send(&Frame::text(&identity.solution_for_host(&challenge, &host)));
    assert_eq!(socket.read_text(), DONE);
    socket
}

#[track_caller]
fn assert_failed(socket: &mut RawWebSocket, code: &str) {
    assert_eq!(socket.read_text(), format!(r#"{{"error":"{code}"}}"#));
    assert_eq!(socket.expect_close(), 1008);
}

/// A server that is configured with these hosts.
fn start_for(hosts: &[&str]) -> Server {
    start(|config| {
        config.hosts = hosts.iter().map(|host| Host::parse(host.as_bytes()).unwrap()).collect();
    })
}

/// What comes of a login by way of one host with a solution for another.
fn outcome(server: &Server, requested: &str, signed: &str) -> String {
    let alice = Identity::generate();
    let (mut socket, challenge) = challenged(address(server), requested, &alice);
    socket.send(&Frame::text(&alice.solution_for_host(&challenge, signed)));
    socket.read_text()
}

#[test]
fn the_subprotocol_is_taken_if_it_is_offered_and_no_other_is() {
    let server = start(|_| {});
    let alice = Identity::generate();
    for (offers, taken) in [
        ("", None),
        ("Sec-WebSocket-Protocol: chat\r\n", None),
        ("Sec-WebSocket-Protocol: NPCHAT.2\r\n", None),
        ("Sec-WebSocket-Protocol: npchat.2\r\n", Some("npchat.2")),
        ("Sec-WebSocket-Protocol: chat,npchat.2 , npchat.3\r\n", Some("npchat.2")),
        (
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: npchat.2\r\n",
            Some("npchat.2"),
        ),
    ] {
        let mut client = RawClient::connect(address(&server));
        client.send(upgrade_request_with("relay.example", &alice.id, offers));
        let response = client.read_response();
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Sec-WebSocket-Protocol"), taken, "{offers}");
        if taken.is_none() {
            // Nothing comes before the answer to what the client says.
            client.send(Frame::new(Opcode::PING, "first").masked());
            assert_eq!(client.read_exact(7), Frame::new(Opcode::PONG, "first").unmasked());
        }
    }
}

#[test]
fn the_challenge_comes_without_asking_and_its_answer_logs_in() {
    let server = start(|_| {});
    let alice = Identity::generate();
    post(address(&server), &alice.id, "stored");
    let mut socket = log_in(address(&server), &alice);
    assert_eq!(socket.read_message(), Frame::new(Opcode::BINARY, "stored"));
}

#[test]
fn mail_is_binary_whatever_it_holds_and_what_the_relay_says_is_text() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = log_in(address(&server), &alice);
    for body in [DONE, r#"{"error":"wrong_solution"}"#, "caf\u{e9}", ""] {
        post(address(&server), &alice.id, body);
        assert_eq!(socket.read_message(), Frame::new(Opcode::BINARY, body));
    }
    post(address(&server), &alice.id, [0xff]);
    assert_eq!(socket.read_message(), Frame::new(Opcode::BINARY, [0xff]));
}

#[test]
fn a_client_without_the_subprotocol_at_the_same_mailbox_gets_text() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut new = log_in(address(&server), &alice);
    let mut old = Receiver::connect(address(&server), &alice);
    post(address(&server), &alice.id, "for both");
    assert_eq!(old.recv(), tungstenite::Message::text("for both"));
    assert_eq!(new.read_message(), Frame::new(Opcode::BINARY, "for both"));
}

#[test]
fn a_solution_over_the_bare_challenge_is_wrong_with_the_subprotocol() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let (mut socket, challenge) = challenged(address(&server), "relay.example", &alice);
    socket.send(&Frame::text(&alice.solution(&challenge)));
    assert_failed(&mut socket, "wrong_solution");
}

#[test]
fn a_solution_for_a_host_is_wrong_without_the_subprotocol() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = connect(address(&server), "relay.example", &alice.id, "");
    let challenge = socket.challenge();
    socket.send(&Frame::text(&alice.solution_for_host(&challenge, "relay.example")));
    assert_failed(&mut socket, "wrong_solution");
}

#[test]
fn a_solution_for_another_host_is_wrong() {
    let server = start(|_| {});
    let alice = Identity::generate();
    for signed in [
        "other.example",
        "relay.example:8000",
        "relay.example.",
        "RELAY.example",
        "",
    ] {
        let (mut socket, challenge) = challenged(address(&server), "relay.example", &alice);
        socket.send(&Frame::text(&alice.solution_for_host(&challenge, signed)));
        assert_failed(&mut socket, "wrong_solution");
    }
}

#[test]
fn the_host_of_the_request_counts_in_lower_case_and_without_a_default_port() {
    let server = start(|_| {});
    for (requested, signed) in [
        ("Relay.Example", "relay.example"),
        ("relay.example:80", "relay.example"),
        ("relay.example:443", "relay.example"),
        ("relay.example:", "relay.example"),
        ("relay.example:8443", "relay.example:8443"),
        ("[2001:DB8::1]:8000", "[2001:db8::1]:8000"),
    ] {
        assert_eq!(outcome(&server, requested, signed), DONE, "{requested}");
    }
}

#[test]
fn the_authority_of_an_absolute_target_counts_for_more_than_host() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut client = RawClient::connect(address(&server));
    let request = upgrade_request_with("other.example", &alice.id, OFFER);
    client.send(request.replacen("GET /", "GET http://relay.example/", 1));
    let mut socket = RawWebSocket::upgraded(client);
    let challenge = Challenge::read(&socket.read_text());
    socket.send(&Frame::text(&alice.solution_for_host(&challenge, "relay.example")));
    assert_eq!(socket.read_text(), DONE);
}

#[test]
fn a_login_is_for_the_one_of_the_configured_hosts_that_its_request_names() {
    let server = start_for(&["relay.example:443", "Relay.Example:8443", "[::1]:8000"]);
    for host in ["relay.example", "relay.example:8443", "[::1]:8000"] {
        assert_eq!(outcome(&server, host, host), DONE, "{host}");
    }
    assert_eq!(outcome(&server, "RELAY.example:443", "relay.example"), DONE);
    assert_eq!(
        outcome(&server, "relay.example", "relay.example:8443"),
        r#"{"error":"wrong_solution"}"#
    );
}

#[test]
fn a_request_for_a_host_that_is_not_configured_fails_before_any_challenge() {
    let server = start_for(&["relay.example"]);
    let alice = Identity::generate();
    for host in ["other.example", "relay.example:8000", "relay.example.", "127.0.0.1"] {
        let mut socket = connect(address(&server), host, &alice.id, OFFER);
        assert_failed(&mut socket, "wrong_host");
    }
    let mut without = connect(address(&server), "other.example", &alice.id, "");
    without.login(&alice);
}

#[test]
fn a_challenge_that_is_asked_for_on_top_takes_the_place_of_the_first() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let (mut socket, first) = challenged(address(&server), "relay.example", &alice);
    let second = socket.challenge();
    assert_ne!(first, second);
    socket.send(&Frame::text(&alice.solution_for_host(&second, "relay.example")));
    assert_eq!(socket.read_text(), DONE);

    let (mut socket, first) = challenged(address(&server), "relay.example", &alice);
    socket.challenge();
    socket.send(&Frame::text(&alice.solution_for_host(&first, "relay.example")));
    assert_failed(&mut socket, "unknown_challenge");
}

#[test]
fn binary_before_the_login_is_refused() {
    let server = start(|_| {});
    let (mut socket, _) = challenged(address(&server), "relay.example", &Identity::generate());
    socket.send(&Frame::new(Opcode::BINARY, "mail"));
    assert_eq!(socket.expect_close(), 1003);
}

#[test]
fn what_a_session_says_that_is_no_step_of_a_login_is_ignored() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = log_in(address(&server), &alice);
    for frame in [
        Frame::text("{}"),
        Frame::text("no JSON"),
        Frame::text(&"x".repeat(5000)),
        Frame::new(Opcode::BINARY, "mail"),
    ] {
        socket.send(&frame);
    }
    post(address(&server), &alice.id, "still here");
    assert_eq!(socket.read_message(), Frame::new(Opcode::BINARY, "still here"));
}

#[test]
fn a_login_is_told_what_expired_unseen_before_any_mail_and_once() {
    let server = start(|config| config.clean_period = Duration::from_secs(2));
    let alice = Identity::generate();
    post_short_lived(&server, &alice, 2);
    post(address(&server), &alice.id, "kept");
    wait_until_expired(&server, 2);
    let mut socket = log_in(address(&server), &alice);
    assert_eq!(socket.read_message(), Frame::text(r#"{"lost":{"expired":2}}"#));
    assert_eq!(socket.read_message(), Frame::new(Opcode::BINARY, "kept"));
    let mut second = log_in(address(&server), &alice);
    assert_eq!(second.read_message(), Frame::new(Opcode::BINARY, "kept"));
}

#[test]
fn a_login_without_the_subprotocol_is_not_told_what_expired_and_the_next_one_is_told_what_has_since() {
    let server = start(|config| config.clean_period = Duration::from_secs(2));
    let alice = Identity::generate();
    post_short_lived(&server, &alice, 2);
    wait_until_expired(&server, 2);
    let mut old = Receiver::connect(address(&server), &alice);
    post(address(&server), &alice.id, "first");
    assert_eq!(old.recv(), tungstenite::Message::text("first"));
    old.close();
    wait_until(PATIENCE, "nobody is there", || server.stats().sessions == 0);
    post_short_lived(&server, &alice, 1);
    wait_until_expired(&server, 3);
    let mut new = log_in(address(&server), &alice);
    assert_eq!(new.read_message(), Frame::text(r#"{"lost":{"expired":1}}"#));
}

/// Posts messages that are over after a second.
fn post_short_lived(server: &Server, recipient: &Identity, count: usize) {
    let mut client = RawClient::connect(address(server));
    for _ in 0..count {
        let answer = client.post_with(&format!("/{}", recipient.id), "TTL: 1\r\n", "short-lived");
        assert_eq!(answer.status, 200);
    }
}

fn wait_until_expired(server: &Server, count: u64) {
    wait_until(PATIENCE, "they expire", || server.totals().expired == count);
}

#[test]
fn a_session_may_log_in_again_but_answers_no_challenge_twice() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let host = address(&server).to_string();
    let (mut socket, challenge) = challenged(address(&server), &host, &alice);
    let solution = Frame::text(&alice.solution_for_host(&challenge, &host));
    socket.send(&solution);
    assert_eq!(socket.read_text(), DONE);
    let challenge = socket.challenge();
    socket.send(&Frame::text(&alice.solution_for_host(&challenge, &host)));
    assert_eq!(socket.read_text(), DONE);
    socket.send(&solution);
    assert_failed(&mut socket, "unknown_challenge");
}
