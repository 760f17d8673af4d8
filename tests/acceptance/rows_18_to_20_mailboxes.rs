//! Rows 18 to 20: what a sender is told of a mailbox and of the relay's memory, and what it isn't.

use npchat::server::limits::MESSAGE_ROOM_BYTES;
use npchat::server::mailboxes::Stats;
use testkit::{
    Daemon, Identity, PATIENCE, RawClient, Receiver, Response, address, post, post_request, start, wait_until,
    wait_until_confirmed,
};

use crate::harness::{ID, SENT, expect_answer, refused};

#[test]
fn row_18_a_mailbox_with_as_many_messages_as_it_may_have_is_507_and_keeps_them() {
    let server = start(|config| config.mailbox_messages = 3);
    let recipient = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    for body in ["one", "two", "three"] {
        assert_eq!(sender.post(&recipient.id, body).status, 200);
    }
    for _ in 0..3 {
        expect_mailbox_full(&sender.post(&recipient.id, "four"));
    }
    assert_eq!(sender.post(ID, "another mailbox").status, 200);
    let mut receiver = Receiver::connect(address(&server), &recipient);
    for body in ["one", "two", "three"] {
        assert_eq!(receiver.recv_bytes(), body.as_bytes());
    }
    wait_until(PATIENCE, "there is room again", || {
        receiver.tend();
        sender.post(&recipient.id, "five").status == 200
    });
    assert_eq!(receiver.recv_bytes(), b"five");
}

#[test]
fn row_18_a_mailbox_with_as_many_bytes_as_it_may_have_is_507_and_keeps_them() {
    let server = start(|config| {
        config.mailbox_bytes = 10;
        config.max_message = 10;
    });
    let recipient = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    assert_eq!(sender.post(&recipient.id, "four").status, 200);
    assert_eq!(sender.post(&recipient.id, "four").status, 200);
    expect_mailbox_full(&sender.post(&recipient.id, "big"));
    assert_eq!(sender.post(&recipient.id, "ok").status, 200);
    expect_mailbox_full(&sender.post(&recipient.id, "x"));
    assert_eq!(sender.post(&recipient.id, "").status, 200);
    let mut receiver = Receiver::connect(address(&server), &recipient);
    for body in ["four", "four", "ok", ""] {
        assert_eq!(receiver.recv_bytes(), body.as_bytes());
    }
    wait_until(PATIENCE, "there is room again", || {
        receiver.tend();
        sender.post(&recipient.id, "0123456789").status == 200
    });
    assert_eq!(receiver.recv_bytes(), b"0123456789");
}

fn expect_mailbox_full(response: &Response) {
    assert_eq!(
        (response.status, &response.json()["error"]),
        (507, &"mailbox_full".into())
    );
    assert_eq!(
        response.header("Connection"),
        Some("keep-alive"),
        "the connection is kept"
    );
}

#[test]
fn row_19_a_relay_whose_memory_is_spent_is_503_and_keeps_what_is_stored() {
    const MEMORY: u64 = 1024 * 1024;
    const LENGTH: usize = 60 * 1024;
    let server = start(|config| config.memory = MEMORY);
    let body = |number: usize| format!("{number:0LENGTH$}");
    let mut sender = RawClient::connect(address(&server));
    let mut recipients = Vec::new();
    loop {
        let recipient = Identity::generate();
        let answer = sender.post(&recipient.id, body(recipients.len()));
        if answer.status == 503 {
            break;
        }
        assert_eq!(answer.status, 200);
        recipients.push(recipient);
    }
    // A message may need segments that it fills only in part, in a shard where nothing else is.
    let stored = (recipients.len() * LENGTH) as u64;
    assert!(stored > MEMORY * 3 / 4, "only {stored} bytes fit");
    for number in 0..50 {
        let length = LENGTH - number;
        let head = format!("POST /{ID} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: {length}\r\n\r\n");
        sender.send(head + &"x".repeat(length));
        let refusal = expect_answer(&mut sender, refused(503, "relay_full"));
        let seconds = refusal.header("Retry-After").map(str::parse::<u32>);
        assert!(matches!(seconds, Some(Ok(1..))), "{refusal:?}");
        assert_eq!(
            refusal.header("Connection"),
            Some("keep-alive"),
            "the connection is kept"
        );
        assert!(server.memory_used() <= MEMORY);
    }
    let mut receivers = Vec::new();
    for (number, recipient) in recipients.iter().enumerate() {
        let mut receiver = Receiver::connect(address(&server), recipient);
        assert_eq!(receiver.recv_bytes(), body(number).as_bytes());
        receivers.push(receiver);
    }
    wait_until_confirmed(&server, &mut receivers);
    assert_eq!(sender.post(ID, body(0)).status, 200);
}

/// Memory that a server may come to need beside its budget, for its buffers.
const BESIDE_BUDGET_BYTES: u64 = 4 * 1024 * 1024;
/// The part of the budget that its allocator may add to it, and tables that are there twice while they double.
const ALLOCATORS_PART: u64 = 8;
/// What a tiny message in a mailbox of its own is charged at most, its part of a table that has just doubled included.
const TINY_MESSAGE_BYTES: u64 = 192;

#[test]
fn row_19_a_relay_filled_with_tiny_messages_takes_no_more_memory_than_its_budget_and_its_allocators_part() {
    fill_and_weigh(1, TINY_MESSAGE_BYTES);
}

#[test]
fn row_19_a_relay_filled_with_big_messages_takes_no_more_memory_than_its_budget_and_its_allocators_part() {
    fill_and_weigh(60 * 1024, 60 * 1024 * 9 / 8);
}

/// Posts messages of so many bytes, each to an id of its own, until the relay is full, and weighs the process.
#[track_caller]
fn fill_and_weigh(length: usize, charged_at_most: u64) {
    const MEMORY: u64 = 16 * 1024 * 1024;
    let daemon = Daemon::start(&["--memory", &MEMORY.to_string(), "--msgttl", "1h"]);
    let mut sender = RawClient::connect(daemon.address);
    assert_eq!(sender.post(ID, "the first touches what every worker has").status, 200);
    let before = daemon.memory("VmRSS");
    let at_once = (256 * 1024 / length as u64).clamp(1, 200);
    let body = "x".repeat(length);
    let mut numbers = 0..;
    let mut stored = 0;
    loop {
        let posts = numbers.by_ref().take(at_once as usize);
        let posts = posts.map(|number: u64| post_request(daemon.address, &format!("/{number:042}0"), "", &body));
        sender.send(posts.collect::<Vec<_>>().concat());
        let taken = (0..at_once).filter(|_| sender.read_response().status == 200).count() as u64;
        stored += taken;
        if taken < at_once {
            break;
        }
    }
    let fitting = MEMORY / charged_at_most;
    assert!(stored >= fitting, "{stored} where {fitting} fit");
    let (now, most) = (daemon.memory("VmRSS"), daemon.memory("VmHWM"));
    assert!(
        now <= most && most <= before + MEMORY + MEMORY / ALLOCATORS_PART + BESIDE_BUDGET_BYTES,
        "{before} before, {most} at most"
    );
    assert!(now >= before + stored * length as u64, "what is stored is in memory");
}

#[test]
fn row_19_a_message_may_fill_all_the_memory_there_is() {
    const MEMORY: u32 = 1024 * 1024;
    let length = (MEMORY - u32::try_from(MESSAGE_ROOM_BYTES).unwrap()) / 9 * 8;
    let server = start(|config| {
        config.memory = MEMORY.into();
        config.max_message = length;
    });
    let mut sender = RawClient::connect(address(&server));
    assert_eq!(sender.post(ID, vec![b'm'; length as usize]).status, 200);
    assert!((length.into()..=MEMORY.into()).contains(&server.memory_used()));
    assert_eq!(sender.post(ID, vec![b'm'; length as usize]).status, 503);
}

#[test]
fn row_20_a_sender_can_not_tell_who_is_online() {
    let server = start(|_| {});
    let (online, offline) = (Identity::generate(), Identity::generate());
    let mut receiver = Receiver::connect(address(&server), &online);
    Receiver::connect(address(&server), &offline).close();
    wait_until(PATIENCE, "one session is left", || server.stats().sessions == 1);
    for headers in ["", "TTL: 500\r\n", "TTL: 0\r\n"] {
        let answer = |id: &str| {
            let mut client = RawClient::connect(address(&server));
            client.send(format!(
                "POST /{id} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 2\r\nConnection: close\r\n{headers}\r\nhi"
            ));
            without_date(&client.read_to_end())
        };
        let expected = answer(&online.id);
        assert!(expected.ends_with("\r\n\r\n{\"message\":\"sent\"}"), "{expected}");
        assert_eq!(answer(&offline.id), expected);
        assert_eq!(answer(ID), expected);
        assert_eq!(receiver.recv_bytes(), b"hi");
    }
    let stored = Stats {
        mailboxes: 3,
        messages: 4,
        sessions: 1,
    };
    wait_until(PATIENCE, "what was not live is stored, but for TTL 0", || {
        receiver.tend();
        server.stats() == stored
    });
    let mut sender = RawClient::connect(address(&server));
    for id in [&online.id, &offline.id, ID] {
        sender.send(format!(
            "POST /{id}?store=false HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 0\r\n\r\n"
        ));
        expect_answer(&mut sender, SENT.with("TTL", "0"));
    }
    assert_eq!(post(address(&server), ID, "").status, 200);
}

/// An answer in the text that it is, one line left out.
fn without_date(answer: &[u8]) -> String {
    let text = str::from_utf8(answer).expect("an answer to a message is ASCII");
    let (before, rest) = text.split_once("\r\nDate: ").expect("it has a Date");
    let (_, after) = rest.split_once("\r\n").expect("the line ends");
    format!("{before}\r\n{after}")
}
