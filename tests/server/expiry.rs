//! How long a message is kept: what the sender asks for, what it gets, and that nothing comes late or stays in memory.
//!
//! Waits here are the times to live themselves, a second or two, and bounded waits for what must then happen.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::Message;

use npchat::server::Server;
use npchat::server::mailboxes::Stats;
use testkit::{Daemon, Identity, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, start, wait_until};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_answer_tells_the_time_to_live_that_was_taken() {
    let server = start(|config| {
        config.message_ttl = 120 * SECOND;
        config.max_ttl = 300 * SECOND;
    });
    let alice = Identity::generate();
    let mut client = RawClient::connect(address(&server));
    for (query, header, expected) in [
        ("", "", "120"),
        ("", "TTL: 30\r\n", "30"),
        ("", "ttl: 299\r\n", "299"),
        ("", "TTL: 300\r\n", "300"),
        ("", "TTL: 301\r\n", "300"),
        ("", "TTL: 18446744073709551615\r\n", "300"),
        ("", "TTL: 0\r\n", "0"),
        ("?store=false", "", "0"),
        ("?store=false", "TTL: 60\r\n", "0"),
        ("?store=true", "", "120"),
    ] {
        let answer = client.post_with(&format!("/{}{query}", alice.id), header, "x");
        assert_eq!(answer.status, 200, "{query} {header}");
        assert_eq!(answer.header("TTL"), Some(expected), "{query} {header}");
    }
    // The three that must not be stored had nobody to go to.
    assert_eq!(server.stats().messages, 7);
}

#[test]
fn an_expired_message_gives_its_memory_back_without_any_traffic() {
    let server = start(|config| config.clean_period = 2 * SECOND);
    for _ in 0..20 {
        post_for_seconds(&server, &Identity::generate(), 2, &[b'x'; 1000]);
    }
    wait_until(PATIENCE, "all is expired and freed", || {
        server.memory_used() == 0 && server.totals().expired == 20
    });
    assert_eq!(server.stats(), Stats::default());
}

#[test]
fn an_operator_who_asks_is_told_how_many_messages_expired_unseen() {
    let daemon = Daemon::start(&["--cleanperiod", "2"]);
    let mut client = RawClient::connect(daemon.address);
    let answer = client.post_with(&format!("/{}", Identity::generate().id), "TTL: 1\r\n", "x");
    assert_eq!(answer.status, 200);
    wait_until(PATIENCE, "it is counted", || {
        daemon.signal(Signal::USR1);
        let line = daemon.wait_for_line("so far: ");
        line.contains(" posted=1 delivered=0 logins=0 expired=1")
    });
}

#[test]
fn a_message_without_a_ttl_expires_after_the_default() {
    let server = start(|config| {
        config.message_ttl = 2 * SECOND;
        config.clean_period = 2 * SECOND;
    });
    post(address(&server), &Identity::generate().id, "short-lived");
    wait_until(PATIENCE, "it is expired and freed", || {
        server.memory_used() == 0 && server.totals().expired == 1
    });
}

#[test]
fn nothing_is_delivered_after_its_time_even_if_its_memory_is_not_freed_yet() {
    // No worker looks for expired messages by itself during this test.
    let server = start(|config| config.clean_period = 3600 * SECOND);
    let alice = Identity::generate();
    for number in 0..10 {
        post_for_seconds(&server, &alice, 2, format!("short {number}").as_bytes());
        post_for_seconds(&server, &alice, 3600, format!("long {number}").as_bytes());
    }
    let expired = Instant::now() + 2 * SECOND;
    thread::sleep(expired.saturating_duration_since(Instant::now()));
    let mut receiver = Receiver::connect(address(&server), &alice);
    post(address(&server), &alice.id, "end");
    let expected: Vec<_> = (0..10).map(|number| format!("long {number}").into_bytes()).collect();
    assert_eq!(receiver.recv_until("end"), expected);
}

#[test]
fn what_waits_for_a_receiver_that_does_not_read_is_not_delivered_after_its_time() {
    let server = start(|config| config.clean_period = 2 * SECOND);
    let alice = Identity::generate();
    let mut receiver = RawWebSocket::log_in_with_receive_buffer(address(&server), &alice, 64 * 1024);
    let mut sender = RawClient::connect(address(&server));
    // More than a session is sent that confirms nothing. The first is there until it is confirmed, however late it
    // goes.
    let count = 120;
    for number in 0..count {
        let body = format!("{number:_>60000}");
        let ttl = if number == 0 { "TTL: 3600\r\n" } else { "TTL: 1\r\n" };
        let answer = sender.post_with(&format!("/{}", alice.id), ttl, body);
        assert_eq!(answer.status, 200);
    }
    wait_until(PATIENCE, "what was not taken is expired", || {
        server.stats().messages == 1
    });
    sender.post(&alice.id, "end");
    let mut taken = 0;
    loop {
        let message = receiver.read_message().payload;
        if message == b"end" {
            break;
        }
        assert!(message == format!("{taken:_>60000}").into_bytes(), "message {taken}");
        taken += 1;
    }
    assert!(0 < taken && taken < count, "{taken} of {count} came");
}

#[cfg(feature = "mimalloc")]
#[test]
fn a_message_that_is_not_to_be_stored_is_for_sessions_that_are_there() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    let live_only = |sender: &mut RawClient, body: &str| {
        let by_header = sender.post_with(&format!("/{}", alice.id), "TTL: 0\r\n", body);
        let by_query = sender.post_with(&format!("/{}?store=false", alice.id), "", body);
        assert_eq!((by_header.status, by_query.status), (200, 200));
    };
    live_only(&mut sender, "nobody is there");
    assert_eq!(server.stats(), Stats::default());
    let mut receiver = Receiver::connect(address(&server), &alice);
    live_only(&mut sender, "somebody is there");
    assert_eq!(receiver.recv(), Message::text("somebody is there"));
    assert_eq!(receiver.recv(), Message::text("somebody is there"));
    assert!(receiver.close().is_empty());
}

fn post_for_seconds(server: &Server, recipient: &Identity, ttl: u32, body: &[u8]) {
    let mut client = RawClient::connect(address(server));
    let answer = client.post_with(&format!("/{}", recipient.id), &format!("TTL: {ttl}\r\n"), body);
    assert_eq!(answer.status, 200);
}
