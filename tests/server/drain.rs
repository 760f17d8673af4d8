//! How a server stops: by a call, and by signals to the real program. What is under way is answered, nothing new
//! begins.
//!
//! That mail isn't kept over a restart is no fault: the relay promises none of it.

#![expect(clippy::expect_used, reason = "these fail a test")]

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use npchat::server::Server;
use npchat::server::refusal::CloseReason;
use testkit::{
    Daemon, Frame, Identity, Opcode, PATIENCE, RawClient, RawWebSocket, Receiver, address, post_request, start,
    upgrade_request, wait_until,
};

/// Long enough that no test waits for it to pass.
const LONG_DRAIN: Duration = Duration::from_secs(300);

#[test]
fn a_request_under_way_is_answered_and_then_the_connection_is_closed() {
    let server = start(|config| config.drain = LONG_DRAIN);
    let alice = Identity::generate();
    let request = post_request(address(&server), &format!("/{}", alice.id), "", "0123456789");
    // Within the head, within the body.
    let cuts = [1, 20, request.len() - 9, request.len() - 1];
    let mut clients = cuts.map(|cut| {
        let mut client = RawClient::connect(address(&server));
        // A kept connection, so that nothing but what is under way saves it from being closed.
        assert_eq!(client.request("GET /healthz").status, 200);
        client.send(&request[..cut]);
        client
    });
    server.drain();
    wait_until(PATIENCE, "the drain has begun", || {
        refuses_connections(address(&server))
    });
    for (client, cut) in clients.iter_mut().zip(cuts) {
        client.send(&request[cut..]);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
        assert!(client.read_to_end().is_empty());
    }
    drop(clients);
    ends_soon(server);
}

#[test]
fn probes_that_are_under_way_find_the_server_alive_and_not_ready() {
    let server = start(|config| config.drain = LONG_DRAIN);
    let mut probes = ["/healthz", "/readyz"].map(|target| {
        let mut client = RawClient::connect(address(&server));
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n"));
        client
    });
    server.drain();
    wait_until(PATIENCE, "the drain has begun", || {
        refuses_connections(address(&server))
    });
    let [health, readiness] = probes.each_mut().map(|client| {
        client.send("\r\n");
        let answer = client.read_response();
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(client.read_to_end().is_empty());
        answer
    });
    assert_eq!((health.status, health.json()), (200, json!({"status": "healthy"})));
    assert_eq!(
        (readiness.status, readiness.json()),
        (503, json!({"status": "draining"}))
    );
    assert!(readiness.header("Retry-After").is_some());
    drop(probes);
    ends_soon(server);
}

#[test]
fn an_upgrade_under_way_is_refused() {
    let server = start(|config| config.drain = LONG_DRAIN);
    let alice = Identity::generate();
    let upgrade = upgrade_request(address(&server), &alice.id);
    let mut client = RawClient::connect(address(&server));
    client.send(&upgrade[..30]);
    server.drain();
    wait_until(PATIENCE, "the drain has begun", || {
        refuses_connections(address(&server))
    });
    client.send(&upgrade[30..]);
    let answer = client.read_response();
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("unavailable")));
    assert!(client.read_to_end().is_empty());
    drop(client);
    ends_soon(server);
}

#[test]
fn idle_connections_are_closed_and_websockets_told_to_come_again() {
    let server = start(|config| config.drain = LONG_DRAIN);
    let alice = Identity::generate();
    let mut idle: Vec<_> = (0..10).map(|_| RawClient::connect(address(&server))).collect();
    for client in &mut idle {
        assert_eq!(client.request("GET /healthz").status, 200);
    }
    let session = Receiver::connect(address(&server), &alice);
    let mut before_login = RawWebSocket::connect(address(&server), &alice.id);
    server.drain();
    for mut client in idle {
        assert!(client.read_to_end().is_empty());
    }
    assert_eq!(session.expect_close(), 1012);
    assert_eq!(before_login.expect_close(), 1012);
    drop(before_login);
    ends_soon(server);
}

#[test]
fn what_was_sent_before_the_drain_is_answered() {
    for _ in 0..30 {
        let server = start(|config| config.drain = LONG_DRAIN);
        let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut kept = RawClient::connect(address(&server));
        assert_eq!(kept.request("GET /healthz").status, 200);
        kept.send(request);
        // This one may not even have been accepted yet.
        let mut fresh = RawClient::connect(address(&server));
        fresh.send(request);
        server.drain();
        for client in [&mut kept, &mut fresh] {
            assert!([200, 503].contains(&client.read_response().status));
            assert!(client.read_to_end().is_empty());
        }
        drop((kept, fresh));
        ends_soon(server);
    }
}

#[test]
fn a_server_that_drains_takes_no_new_connection() {
    let server = start(|config| config.drain = LONG_DRAIN);
    let address = address(&server);
    assert!(!refuses_connections(address));
    server.drain();
    wait_until(PATIENCE, "nobody listens", || refuses_connections(address));
    ends_soon(server);
}

#[test]
fn a_signal_ends_the_program_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start(&["--drain", "5m"]);
        let alice = Identity::generate();
        let request = post_request(daemon.address, &format!("/{}", alice.id), "", "0123456789");
        let mut idle = RawClient::connect(daemon.address);
        assert_eq!(idle.request("GET /healthz").status, 200);
        let mut under_way = RawClient::connect(daemon.address);
        under_way.send(&request[..request.len() - 1]);
        let session = Receiver::connect(daemon.address, &alice);

        daemon.signal(signal);
        assert_eq!(session.expect_close(), 1012);
        assert!(idle.read_to_end().is_empty());
        under_way.send(&request[request.len() - 1..]);
        assert_eq!(under_way.read_response().status, 200);
        assert!(under_way.read_to_end().is_empty());
        drop((idle, under_way));
        assert_eq!(daemon.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let daemon = Daemon::start(&["--drain", "5m"]);
    let mut holding = RawClient::connect(daemon.address);
    // So much of it that the server waits for the rest for a minute.
    let request = post_request(
        daemon.address,
        &format!("/{}", Identity::generate().id),
        "",
        vec![b'x'; 60_000],
    );
    holding.send(&request[..request.len() - 1]);
    daemon.signal(Signal::TERM);
    daemon.wait_for_line("stopping");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code(), Some(128 + 15));
}

#[test]
fn clients_that_hold_on_do_not_hold_up_the_end() {
    let server = start(|config| {
        config.drain = Duration::from_secs(1);
        // Nothing but the drain's own time ends them within this test.
        config.timeouts.linger = LONG_DRAIN;
    });
    let alice = Identity::generate();
    let mut half_asked = RawClient::connect(address(&server));
    half_asked.send("GET /healthz HT");
    // Neither reads nor answers its Close.
    let _session = RawWebSocket::log_in(address(&server), &alice);
    server.drain();
    ends_soon(server);
}

#[test]
fn a_session_that_sleeps_holds_up_the_end_for_no_longer_than_a_drain_lingers() {
    let server = start(|config| {
        config.drain = LONG_DRAIN;
        config.timeouts.linger = LONG_DRAIN;
    });
    // Neither reads nor answers its Close.
    let _session = RawWebSocket::log_in(address(&server), &Identity::generate());
    // Its Close has been sent before the drain.
    let mut refused = RawWebSocket::connect(address(&server), &Identity::generate().id);
    refused.send(&Frame::new(Opcode::BINARY, "too early"));
    assert_eq!(refused.expect_close(), 1003);
    server.drain();
    wait_until(PATIENCE, "both are closed", || {
        let totals = server.totals();
        let closed = [CloseReason::Restart, CloseReason::UnexpectedBinary].map(|reason| totals.closed(reason));
        closed == [1, 1]
    });
    ends_soon(server);
}

#[test]
fn without_any_client_the_end_comes_at_once() {
    let daemon = Daemon::start(&["--drain", "5m"]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code(), Some(0));
}

fn refuses_connections(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_err()
}

/// Waits for the end of a server that nobody may hold up.
fn ends_soon(server: Server) {
    let (sender, end) = mpsc::channel();
    thread::spawn(move || sender.send(server.wait()));
    let result = end.recv_timeout(PATIENCE).expect("it ends");
    result.expect("it ends in order");
}
