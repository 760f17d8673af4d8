//! Rows 51 to 53: a message that ends its recipient's sessions, a device that holds up another, and who is online.

use npchat::server::Server;
use npchat::server::refusal::CloseReason;
use testkit::{
    Frame, Identity, Opcode, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, post_request, start,
    wait_until,
};

use crate::harness::ID;

/// What the client of row 51 takes at most.
const LIMIT: usize = 1000;

/// A session of a client that closes at a message over its limit, as clients do; what it had before that.
fn visit(server: &Server, identity: &Identity) -> Vec<String> {
    let mut socket = RawWebSocket::log_in(address(server), identity);
    let mut had = Vec::new();
    loop {
        let frame = socket.read_frame();
        match frame.opcode {
            Opcode::PING => socket.send(&frame.pong()),
            _ if frame.payload.len() > LIMIT => {
                socket.send(&Frame::close(1009, ""));
                drop(socket);
                wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
                return had;
            }
            _ => had.push(String::from_utf8(frame.payload).unwrap()),
        }
    }
}

#[test]
fn row_51_a_message_that_ends_every_session_keeps_no_other_back() {
    let server = start(|_| {});
    let identity = Identity::generate();
    let poison = "p".repeat(LIMIT + 1);
    for body in [&["before"; 30][..], &[&poison, "after"]].concat() {
        assert_eq!(post(address(&server), &identity.id, body).status, 200);
    }
    let visits: Vec<_> = (0..9).map(|_| visit(&server, &identity)).collect();
    let first = visits.iter().flatten().position(|body| body == "after");
    assert!(first.is_some(), "it comes within a few sessions: {visits:?}");
    // What was read before it and answered for isn't sent again.
    assert_eq!(visits.last(), Some(&Vec::new()), "{visits:?}");
    wait_until(PATIENCE, "only the one is left", || server.stats().messages == 1);
    // It is there for a client that can take it.
    let mut receiver = Receiver::connect(address(&server), &identity);
    assert_eq!(receiver.recv_bytes(), poison.as_bytes());
}

#[test]
fn row_52_a_device_that_answers_nothing_does_not_hold_up_another() {
    const COUNT: usize = 12_000;
    const BATCH: usize = 100;
    let server = start(|_| {});
    let identity = Identity::generate();
    let mut slow = RawWebSocket::log_in(address(&server), &identity);
    let mut quick = Receiver::connect(address(&server), &identity);
    let request = post_request(address(&server), &format!("/{}", identity.id), "", "x");
    let mut sender = RawClient::connect(address(&server));
    for _ in 0..COUNT / BATCH {
        sender.send(request.repeat(BATCH));
        for _ in 0..BATCH {
            assert_eq!(sender.read_response().status, 200);
        }
        wait_until(PATIENCE, "the quick one acknowledges", || {
            quick.tend();
            server.stats().messages < 2000
        });
    }
    wait_until(PATIENCE, "nothing is kept for the slow one", || {
        quick.tend();
        server.stats().messages == 0
    });
    assert_eq!(slow.expect_close(), 1008);
    wait_until(PATIENCE, "its reason is counted", || {
        server.totals().closed(CloseReason::FellBehind) == 1
    });
    assert_eq!(server.stats().sessions, 1);
}

/// The answers to a message that must not be stored, but for their date.
fn answers(server: &Server, ids: &[&str]) -> Vec<String> {
    let answer = |id: &&str| {
        let mut client = RawClient::connect(address(server));
        client.send(format!(
            "POST /{id} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: 2\r\nConnection: close\r\nTTL: 0\r\n\r\nhi"
        ));
        let text = String::from_utf8(client.read_to_end()).unwrap();
        text.lines()
            .filter(|line| !line.starts_with("Date: "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    ids.iter().map(answer).collect()
}

#[test]
fn row_53_a_full_mailbox_or_relay_does_not_tell_who_is_online() {
    let server = start(|config| {
        config.mailbox_messages = 1;
        config.memory = 1024 * 1024;
    });
    let (online, offline) = (Identity::generate(), Identity::generate());
    // It acknowledges nothing, so its mailbox stays full.
    let mut session = RawWebSocket::log_in(address(&server), &online);
    for identity in [&online, &offline] {
        assert_eq!(post(address(&server), &identity.id, "fills it").status, 200);
        assert_eq!(post(address(&server), &identity.id, "more").status, 507);
    }
    let ids = [online.id.as_str(), &offline.id, ID];
    let full_mailboxes = answers(&server, &ids);
    assert!(full_mailboxes[0].starts_with("HTTP/1.1 200 "), "{full_mailboxes:?}");
    assert!(full_mailboxes.iter().all(|answer| *answer == full_mailboxes[0]));
    let mut sender = RawClient::connect(address(&server));
    let body = "x".repeat(60_000);
    while sender.post(&Identity::generate().id, body.as_str()).status == 200 {}
    while sender.post(&Identity::generate().id, "").status == 200 {}
    let full_relay = answers(&server, &ids);
    assert!(
        full_relay.iter().all(|answer| *answer == full_mailboxes[0]),
        "{full_relay:?}"
    );
    assert_eq!(session.read_unless_ping(), Frame::text("fills it"));
}
