//! Rows 40 to 46: peers, clocks and machines that misbehave, and messages that outlive their time.
//!
//! What needs a process to run out of files is beside this.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, slice};

use npchat::server::config::Config;
use npchat::server::mailboxes::Stats;
use npchat::server::refusal::CloseReason;
use npchat::server::{Server, StartError};
use rustix::process::Signal;
use socket2::SockRef;
use testkit::{
    Daemon, Frame, Identity, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, start, wait_until,
    wait_until_confirmed,
};

use crate::harness::{Answer, ID, SENT, expect_answer, expect_close, refused, run_all, run_refused};

#[test]
fn row_40_a_reader_that_stops_is_closed_without_a_pong_and_its_mail_is_there_for_the_next() {
    const COUNT: usize = 400;
    const LENGTH: usize = 60_000;
    let server = start(|config| {
        config.mailbox_bytes = 64 * 1024 * 1024;
        config.memory = 64 * 1024 * 1024;
        // So long that a client which answers at once is not late.
        config.timeouts.pong = Duration::from_secs(3);
    });
    let identity = Identity::generate();
    let stopped = RawWebSocket::log_in(address(&server), &identity);
    let mut sender = RawClient::connect(address(&server));
    for number in 0..COUNT {
        assert_eq!(sender.post(&identity.id, format!("{number:0LENGTH$}")).status, 200);
    }
    wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
    assert_eq!(server.stats().messages, COUNT as u64);
    let mut receiver = Receiver::connect(address(&server), &identity);
    for number in 0..COUNT {
        assert_eq!(receiver.recv_bytes(), format!("{number:0LENGTH$}").as_bytes());
    }
    drop(stopped);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::PongTimeout) == 1
    });
}

#[test]
fn row_40_a_reader_whose_kernel_takes_no_more_is_closed_on_a_stall_and_its_mail_is_there_for_the_next() {
    /// More than the kernel keeps for one reader, on both sides of it.
    const LENGTH: usize = 16 << 20;
    let server = start(|config| {
        config.max_message = 16 << 20;
        config.mailbox_bytes = 64 << 20;
        config.memory = 256 << 20;
        config.timeouts.write_stall = Duration::from_secs(1);
    });
    let identity = Identity::generate();
    let stalled = RawWebSocket::log_in_with_receive_buffer(address(&server), &identity, 8 * 1024);
    let message = vec![b'x'; LENGTH];
    assert_eq!(post(address(&server), &identity.id, &message).status, 200);
    wait_until(PATIENCE, "it is closed", || {
        server.totals().closed(CloseReason::Stalled) == 1 && server.stats().sessions == 0
    });
    assert_eq!(server.stats().messages, 1);
    let mut receiver = RawWebSocket::log_in(address(&server), &identity);
    assert!(receiver.read_message().payload == message);
    drop(stalled);
}

/// What the mailbox holds comes to the next login: this, in order, and nothing else.
fn expect_numbers(server: &Server, identity: &Identity, numbers: Range<usize>) {
    assert_eq!(server.stats().messages, numbers.len() as u64);
    let mut receiver = Receiver::connect(address(server), identity);
    assert_eq!(post(address(server), &identity.id, "end").status, 200);
    let expected: Vec<_> = numbers.map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(receiver.recv_until("end"), expected);
    wait_until_confirmed(server, slice::from_mut(&mut receiver));
}

fn post_numbers(server: &Server, identity: &Identity, numbers: Range<usize>) {
    let mut sender = RawClient::connect(address(server));
    for number in numbers {
        assert_eq!(sender.post(&identity.id, number.to_string()).status, 200);
    }
}

/// A session that has confirmed the first messages, and been sent some that it hasn't.
fn begin_delivery(server: &Server, identity: &Identity, confirmed: usize, all: usize) -> RawWebSocket {
    let mut socket = RawWebSocket::log_in(address(server), identity);
    post_numbers(server, identity, 0..confirmed);
    wait_until(PATIENCE, "the first are confirmed", || {
        socket.tend();
        server.totals().delivered == confirmed as u64 && server.stats().messages == 0
    });
    for number in 0..confirmed {
        assert_eq!(socket.read_message(), Frame::text(&number.to_string()));
    }
    post_numbers(server, identity, confirmed..all);
    socket
}

#[test]
fn row_41_after_a_reset_all_that_is_unconfirmed_comes_to_the_next_login_in_order() {
    for (confirmed, read) in [(0, 0), (0, 7), (10, 0), (10, 7)] {
        let server = start(|_| {});
        let identity = Identity::generate();
        let mut socket = begin_delivery(&server, &identity, confirmed, 300);
        for _ in 0..read {
            socket.read_frame();
        }
        SockRef::from(socket.client().socket())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(socket);
        wait_until(PATIENCE, "the session is over", || server.stats().sessions == 0);
        expect_numbers(&server, &identity, confirmed..300);
    }
}

#[test]
fn row_41_when_the_process_at_the_other_end_is_killed_nothing_unconfirmed_is_lost() {
    for (confirmed, all) in [(0, 300), (10, 3000)] {
        let server = start(|_| {});
        let identity = Identity::generate();
        let mut socket = begin_delivery(&server, &identity, confirmed, all);
        let stream = socket.client().socket().try_clone().unwrap();
        drop(socket);
        // It has the only end of the connection from here on, and reads from it.
        let mut process = Command::new("cat")
            .stdin(OwnedFd::from(stream))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut frame_start = [0; 4];
        process.stdout.as_mut().unwrap().read_exact(&mut frame_start).unwrap();
        assert_eq!(server.stats().sessions, 1);
        process.kill().unwrap();
        process.wait().unwrap();
        wait_until(PATIENCE, "the session is over", || server.stats().sessions == 0);
        expect_numbers(&server, &identity, confirmed..all);
    }
}

#[test]
fn row_43_a_drain_answers_what_is_under_way_and_tells_every_socket_1012() {
    let server = start(|config| {
        config.workers = 1;
        config.drain = 10 * PATIENCE;
    });
    let mut sockets = [
        RawWebSocket::connect(address(&server), ID),
        RawWebSocket::log_in(address(&server), &Identity::generate()),
    ];
    let mut idle = RawClient::connect(address(&server));
    assert_eq!(idle.post(ID, "before").status, 200);
    let stored = server.memory_used();
    let mut half = begin(&server, &post_head(8), "a ha");
    wait_until(PATIENCE, "it is being received", || server.memory_used() > stored);
    let mut whole = begin(&server, &post_head(5), "whole");
    let mut readiness = begin(&server, "GET /readyz HTTP/1.1\r\nHost: relay.test\r\n", "");
    server.drain();
    for socket in &mut sockets {
        expect_close(socket, 1012, None);
    }
    assert_eq!(idle.read_to_end(), b"");
    wait_until(PATIENCE, "nothing is accepted", || {
        TcpStream::connect(address(&server)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    half.send("lf a");
    let response = expect_answer(&mut half, SENT);
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(half.read_to_end(), b"");
    expect_answer(&mut whole, SENT);
    assert_eq!(whole.read_to_end(), b"");
    readiness.send("\r\n");
    let response = readiness.read_response();
    assert_eq!((response.status, response.text()), (503, r#"{"status":"draining"}"#));
    assert_eq!(readiness.read_to_end(), b"");
    assert_eq!(server.stats().messages, 3);
    drop((sockets, idle, half, whole, readiness));
    server.wait().unwrap();
}

#[test]
fn row_43_a_drain_serves_those_that_connected_just_before_it() {
    for _ in 0..20 {
        let server = start(|_| {});
        let mut clients: Vec<_> = (0..10).map(|_| begin(&server, &post_head(5), "whole")).collect();
        server.drain();
        for client in &mut clients {
            expect_answer(client, SENT);
            assert_eq!(client.read_to_end(), b"");
        }
    }
}

#[test]
fn row_43_a_first_sigterm_ends_the_process_with_0_and_a_second_one_at_once() {
    for impatient in [false, true] {
        let process = Daemon::start(&["--drain", "10m"]);
        let mut socket = RawWebSocket::connect(process.address, ID);
        let mut sender = RawClient::connect(process.address);
        // So much of it that the server waits for the rest for a minute.
        sender.send(post_head(60_008) + &"a ha".repeat(15_001));
        process.signal(Signal::TERM);
        expect_close(&mut socket, 1012, None);
        if impatient {
            process.signal(Signal::TERM);
            assert_eq!(process.exit_code(), Some(128 + 15));
        } else {
            sender.send("lf a");
            expect_answer(&mut sender, SENT);
            assert_eq!(sender.read_to_end(), b"");
            drop((socket, sender));
            assert_eq!(process.exit_code(), Some(0));
        }
    }
}

/// A test can't set the machine's clock. It can see that the one thing that asks for the time of day only tells it.
#[test]
fn row_44_no_decision_depends_on_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect_sources(&root, &mut files);
    assert!(files.len() > 30);
    let mut looks = 0;
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap();
        if path.starts_with("client") || path == Path::new("bin/npchat.rs") {
            continue;
        }
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // The workers' clock is the one way for the time of day to come to what they run.
            if path == Path::new("server/worker/clock.rs") && line.trim() == "SystemTime::now()" {
                continue;
            }
            let is_look = line.contains("SystemTime::now") || line.contains(".wall()");
            looks += usize::from(is_look);
            // The dates of a certificate are of that clock too, and the age of a ticket.
            let only_tells = [
                "HttpDate::at(",
                "format_rfc3339",
                "certificate::load(",
                "TlsAcceptor::new(",
            ]
            .iter()
            .any(|one| line.contains(one));
            let is_renewal = path == Path::new("server/renewal.rs");
            assert!(!is_look || only_tells || is_renewal, "{}: {line}", path.display());
            for other in [
                "elapsed_since_epoch",
                "duration_since(UNIX_EPOCH)",
                "Utc::now",
                "Local::now",
            ] {
                let is_conversion = path == Path::new("server/http/response.rs");
                assert!(is_conversion || !line.contains(other), "{}: {line}", path.display());
            }
        }
    }
    assert!(looks > 0, "the search finds what it looks for");
}

#[test]
fn row_45_a_ttl_is_clamped_and_told_or_400() {
    const MAX: Answer = SENT.with("TTL", "604800");
    let server = start(|config| config.message_ttl = Duration::from_secs(60));
    let taken = [
        ("TTL: 18446744073709551615\r\n", MAX),
        ("TTL: 18446744073709551616\r\n", MAX),
        ("TTL: 99999999999999999999999\r\n", MAX),
        ("TTL: 4294967296\r\n", MAX),
        ("TTL: 604801\r\n", MAX),
        ("TTL: 604800\r\n", MAX),
        ("TTL: 604799\r\n", SENT.with("TTL", "604799")),
        ("TTL: 0000000000000000000000100\r\n", SENT.with("TTL", "100")),
        ("ttl:100\t\r\n", SENT.with("TTL", "100")),
        ("", SENT.with("TTL", "60")),
    ];
    for (lines, answer) in taken {
        run_all(&server, answer, [(lines, post_ttl("", lines))]);
    }
    let bad = [
        "-1",
        "+1",
        "soon",
        "",
        "1.5",
        "1 2",
        "1,2",
        "1s",
        "0x10",
        "\u{661}",
        "1\r\nTTL: 1",
        "1\r\nTTL: 2",
    ];
    run_refused(
        refused(400, "bad_ttl"),
        bad.map(|value| (value, post_ttl("", &format!("TTL: {value}\r\n")))),
    );
}

#[test]
fn row_45_a_message_with_no_time_to_live_is_for_live_sessions_only() {
    let server = start(|_| {});
    let none = [
        ("TTL: 0", post_ttl("", "TTL: 0\r\n")),
        ("TTL: 000", post_ttl("", "TTL: 000\r\n")),
        ("store=false", post_ttl("?store=false", "")),
        ("store=false beats TTL", post_ttl("?store=false", "TTL: 60\r\n")),
        ("store=false among others", post_ttl("?a=b&store=false", "")),
    ];
    run_all(&server, SENT.with("TTL", "0"), none);
    assert_eq!(server.stats(), Stats::default());
    assert_eq!(server.stats().messages, 0);

    let identity = Identity::generate();
    let mut receiver = Receiver::connect(address(&server), &identity);
    let mut sender = RawClient::connect(address(&server));
    let target = format!("/{}", identity.id);
    assert_eq!(sender.post_with(&target, "TTL: 0\r\n", "header").status, 200);
    assert_eq!(
        sender.post_with(&format!("{target}?store=false"), "", "query").status,
        200
    );
    assert_eq!(receiver.recv_bytes(), b"header");
    assert_eq!(receiver.recv_bytes(), b"query");
}

#[test]
fn row_45_a_ttl_of_the_configuration_that_is_too_long_is_told_at_start() {
    for seconds in [0, 3651 * 24 * 60 * 60, u64::MAX] {
        let duration = Duration::from_secs(seconds);
        for config in [
            Config {
                message_ttl: duration,
                ..Config::default()
            },
            Config {
                max_ttl: duration,
                ..Config::default()
            },
        ] {
            let error = Server::start(&config).expect_err("the configuration is wrong");
            assert!(matches!(error, StartError::Config(_)));
            let line = error.to_string();
            assert!(line.contains("ttl") && !line.contains('\n'), "{line}");
        }
    }
}

#[test]
fn row_46_an_expired_message_is_freed_with_no_traffic_at_all() {
    let server = start(|config| config.clean_period = Duration::from_secs(2));
    for id in [ID, &Identity::generate().id, &Identity::generate().id] {
        let target = format!("/{id}");
        let response = RawClient::connect(address(&server)).post_with(&target, "TTL: 1\r\n", "short-lived");
        assert_eq!(response.header("TTL"), Some("1"));
    }
    wait_until(PATIENCE, "all of it is freed", || {
        let is_freed = server.memory_used() == 0 && server.stats() == Stats::default();
        is_freed && server.totals().expired == 3
    });
}

#[test]
fn row_46_an_expired_message_is_not_delivered_even_if_it_is_not_freed_yet() {
    let server = start(|config| config.clean_period = Duration::from_secs(300));
    let identity = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    let target = format!("/{}", identity.id);
    assert_eq!(sender.post_with(&target, "TTL: 1\r\n", "too late").status, 200);
    let since = Instant::now();
    assert_eq!(sender.post_with(&target, "TTL: 600\r\n", "in time").status, 200);
    wait_until(PATIENCE, "its time is over", || {
        since.elapsed() >= Duration::from_secs(1)
    });
    let mut socket = RawWebSocket::log_in(address(&server), &identity);
    assert_eq!(socket.read_message(), Frame::text("in time"));
    assert_eq!(post(address(&server), &identity.id, "later").status, 200);
    assert_eq!(socket.read_message(), Frame::text("later"));
}

/// A connection over which this much has been sent.
fn begin(server: &Server, head: &str, body: &str) -> RawClient {
    let mut client = RawClient::connect(address(server));
    client.send([head, body].concat());
    client
}

fn post_head(length: usize) -> String {
    format!("POST /{ID} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: {length}\r\n\r\n")
}

/// A POST with these lines about its time to live, each ended by CR LF.
fn post_ttl(query: &str, lines: &str) -> Vec<u8> {
    format!("POST /{ID}{query} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 2\r\n{lines}\r\nhi").into_bytes()
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
