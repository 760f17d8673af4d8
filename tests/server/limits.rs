//! What one connection may do and how much of it: pipelining, keep-alive, clients that never read; and the pages.
//!
//! Requests that are bad are tested elsewhere: all of these are good.

#![expect(clippy::unwrap_used, reason = "it fails a test")]

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;

use npchat::server::Server;
use npchat::server::mailboxes::Stats;
use npchat::server::refusal::CloseReason;
use testkit::{
    Identity, PATIENCE, RawClient, Receiver, address, post, post_request, start, wait_until, wait_until_confirmed,
};

#[test]
fn a_thousand_messages_in_one_write_are_answered_in_order() {
    const COUNT: usize = 1000;
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut client = RawClient::connect(address(&server));
    // Each has a time to live of its own, which its answer tells.
    let request = |number: usize| {
        let ttl = format!("TTL: {}\r\n", 1000 + number);
        post_request(address(&server), &format!("/{}", alice.id), &ttl, number.to_string())
    };
    let requests: Vec<_> = (0..COUNT).flat_map(request).collect();
    let mut stream = client.socket().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| stream.write_all(&requests).unwrap());
        for number in 0..COUNT {
            let answer = client.read_response();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("TTL"), Some((1000 + number).to_string().as_str()));
        }
    });
    let mut receiver = Receiver::connect(address(&server), &alice);
    for number in 0..COUNT {
        assert_eq!(receiver.recv_bytes(), number.to_string().into_bytes());
    }
}

#[test]
fn a_client_that_never_reads_is_not_read_for_ever_and_loses_no_answer() {
    // One worker, so that whoever is answered by it shows that it has had a turn.
    let server = start(|config| config.workers = 1);
    let alice = Identity::generate();
    let mut client = RawClient::connect_with_receive_buffer(address(&server), 64 * 1024);
    let target = format!("/{}?store=false", alice.id);
    let request = post_request(address(&server), &target, "", "x");
    let written = write_until_blocked(&server, client.socket(), &request);

    let answered = server.totals().posted;
    assert!((written / request.len()) as u64 > answered, "all was read");

    let (whole, partial) = (written / request.len(), written % request.len());
    for _ in 0..whole {
        assert_eq!(client.read_response().status, 200);
    }
    client.send(&request[partial..]);
    assert_eq!(client.read_response().status, 200);
}

#[test]
fn a_connection_is_kept_until_the_client_asks_otherwise() {
    let server = start(|config| config.timeouts.keep_alive = Duration::from_secs(75));
    let alice = Identity::generate();
    let mut client = RawClient::connect(address(&server));
    for _ in 0..10 {
        let answer = client.post(&alice.id, "x");
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("keep-alive")));
        assert_eq!(answer.header("Keep-Alive"), Some("timeout=75"));
    }
    assert_eq!(server.totals().accepted, 1);
    let last = client.post_with(&format!("/{}", alice.id), "Connection: close\r\n", "x");
    assert_eq!((last.status, last.header("Connection")), (200, Some("close")));
    assert_eq!(last.header("Keep-Alive"), None);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn http_1_0_closes_after_the_answer_unless_it_asks_otherwise() {
    let server = start(|_| {});
    let mut client = RawClient::connect(address(&server));
    client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let kept = client.read_response();
    assert_eq!((kept.status, kept.header("Connection")), (200, Some("keep-alive")));
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    let last = client.read_response();
    assert_eq!((last.status, last.header("Connection")), (200, Some("close")));
    assert!(client.read_to_end().is_empty());
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = start(|config| config.timeouts.keep_alive = Duration::from_secs(1));
    let mut client = RawClient::connect(address(&server));
    // In one write, so that it isn't idle between them on a slow machine.
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    for _ in 0..3 {
        let answer = client.read_response();
        assert_eq!((answer.status, answer.header("Keep-Alive")), (200, Some("timeout=1")));
    }
    assert!(client.read_to_end().is_empty());
    drop(client);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::Idle) == 1
    });
}

#[test]
fn head_gets_the_head_of_what_get_gets() {
    let server = start(|_| {});
    let mut client = RawClient::connect(address(&server));
    for target in [
        "/",
        "/info",
        "/healthz",
        "/readyz",
        "/BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
    ] {
        let head = client.request(&format!("HEAD {target}"));
        let get = client.request(&format!("GET {target}"));
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.status, get.status, "{target}");
        for name in ["Content-Length", "Content-Type", "Access-Control-Allow-Origin"] {
            assert_eq!(head.header(name), get.header(name), "{target}: {name}");
        }
    }
}

#[test]
fn a_preflight_is_told_what_a_page_may_send() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut client = RawClient::connect(address(&server));
    client.send(format!(
        "OPTIONS /{} HTTP/1.1\r\nHost: x\r\nOrigin: https://example.org\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
        alice.id
    ));
    let answer = client.read_response();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("Content-Length"), None);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    let allows = |name, what| {
        let value = answer.header(name).unwrap_or_default().to_ascii_lowercase();
        value.split(", ").any(|item| item == what)
    };
    assert!(allows("Access-Control-Allow-Methods", "post"));
    assert!(allows("Access-Control-Allow-Headers", "content-type"));
    assert!(allows("Access-Control-Allow-Headers", "ttl"));
    assert_eq!(client.post(&alice.id, "the connection goes on").status, 200);
}

#[test]
fn info_tells_the_limits_that_are_set() {
    let server = start(|config| {
        config.message_ttl = Duration::from_secs(33);
        config.max_ttl = Duration::from_secs(44);
        config.max_message = 555;
        config.mailbox_messages = 66;
        config.mailbox_bytes = 7777;
    });
    let answer = RawClient::connect(address(&server)).request("GET /info");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let mut info = answer.json();
    let started = info.as_object_mut().and_then(|info| info.remove("startTime"));
    let started = started.as_ref().and_then(|time| time.as_str()).unwrap_or_default();
    assert!(humantime::parse_rfc3339(started).is_ok(), "{started}");
    let expected = json!({
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "msgTtl": 33,
        "maxTtl": 44,
        "maxMessage": 555,
        "mailboxMessages": 66,
        "mailboxBytes": 7777,
    });
    assert_eq!(info, expected);
}

#[test]
fn the_health_page_says_healthy() {
    let server = start(|_| {});
    let answer = RawClient::connect(address(&server)).request("GET /healthz");
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "healthy"})));
}

#[test]
fn readiness_says_whether_the_largest_message_would_be_taken_and_health_says_alive() {
    let max_message = 1000;
    let server = start(|config| {
        config.memory = 1 << 20;
        config.max_message = max_message;
    });
    let mut client = RawClient::connect(address(&server));
    let ready = client.request("GET /readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    let fits = (1..2000).find(|_| {
        let stranger = Identity::generate();
        client.post(&stranger.id, vec![b'x'; max_message as usize]).status == 503
    });
    assert!(fits.is_some_and(|posts| posts > 100));
    let full = client.request("GET /readyz");
    assert_eq!((full.status, full.json()), (503, json!({"status": "full"})));
    assert!(full.header("Retry-After").is_some() && full.header("Connection") == Some("keep-alive"));
    assert_eq!(client.request("HEAD /readyz").status, 503);
    assert_eq!(client.request("GET /healthz").status, 200);
}

#[test]
fn all_memory_is_given_back_when_all_is_confirmed() {
    let server = start(|_| {});
    let recipients: Vec<_> = (0..10).map(|_| Identity::generate()).collect();
    let body_bytes = 5000;
    for recipient in &recipients {
        for _ in 0..20 {
            assert_eq!(
                post(address(&server), &recipient.id, vec![b'x'; body_bytes]).status,
                200
            );
        }
    }
    let stored = (recipients.len() * 20) as u64;
    assert_eq!(server.stats().messages, stored);
    assert!(server.memory_used() > stored * body_bytes as u64);
    let mut receivers = Vec::new();
    for recipient in &recipients {
        let mut receiver = Receiver::connect(address(&server), recipient);
        for _ in 0..20 {
            assert_eq!(receiver.recv_bytes().len(), body_bytes);
        }
        receivers.push(receiver);
    }
    wait_until_confirmed(&server, &mut receivers);
    drop(receivers);
    wait_until(PATIENCE, "nothing is held", || server.stats() == Stats::default());
    assert_eq!(server.memory_used(), 0);
}

#[test]
fn a_body_under_way_is_charged_and_given_back_when_its_sender_goes() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let part = "x".repeat(20_000);
    for framing in [
        "Content-Length: 50000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nc350\r\n",
    ] {
        let mut client = RawClient::connect(address(&server));
        client.send(format!("POST /{} HTTP/1.1\r\nHost: x\r\n{framing}{part}", alice.id));
        wait_until(PATIENCE, "it is charged", || server.memory_used() >= part.len() as u64);
        drop(client);
        wait_until(PATIENCE, "it is given back", || server.memory_used() == 0);
    }
    assert_eq!(server.stats(), Stats::default());
}

/// Writes the request over and over until nothing goes out, however many turns the server's worker has; returns how
/// many bytes did.
fn write_until_blocked(server: &Server, mut stream: &TcpStream, request: &[u8]) -> usize {
    const TURNS: usize = 100;
    /// Only as many are answered as the kernel has room for their answers, on both sides.
    const ANSWERS_MAX: u64 = (16 << 20) / 200;
    let requests = request.repeat(100);
    let mut other = RawClient::connect(address(server));
    stream.set_nonblocking(true).unwrap();
    let (mut written, mut turns, mut answered) = (0, 0, 0);
    while turns < TURNS {
        match stream.write(&requests[written % requests.len()..]) {
            Ok(count) => (written, turns) = (written + count, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert_eq!(other.request("GET /healthz").status, 200);
                turns += 1;
            }
            Err(error) => unreachable!("the server closed: {error}"),
        }
        let posted = server.totals().posted;
        assert!(posted < ANSWERS_MAX, "{posted} answers to a client that reads none");
        if std::mem::replace(&mut answered, posted) < posted {
            turns = 0;
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

#[test]
fn the_refusal_of_a_head_request_has_no_body() {
    let server = start(|_| {});
    let mut client = RawClient::connect(address(&server));
    let refusal = client.request("HEAD /not-an-id");
    assert_eq!(refusal.status, 400);
    assert_ne!(
        refusal.header("Content-Length"),
        Some("0"),
        "it tells what a GET would have got"
    );
    assert!(client.read_to_end().is_empty());
}
