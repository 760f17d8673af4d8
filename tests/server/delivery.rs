//! A message on its way from a sender to a real client: online, offline, stored first, and during the login.
//!
//! Order among several senders and several sessions of one id are tested in files of their own.

use std::{slice, thread};

use testkit::{Identity, PATIENCE, RawClient, Receiver, address, post, start, wait_until, wait_until_confirmed};
use tungstenite::Message;

#[test]
fn a_message_reaches_a_session_that_is_live() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut receiver = Receiver::connect(address(&server), &alice);
    let answer = post(address(&server), &alice.id, "hello");
    assert_eq!((answer.status, answer.text()), (200, r#"{"message":"sent"}"#));
    assert_eq!(receiver.recv(), Message::text("hello"));
}

#[test]
fn what_came_while_nobody_was_there_comes_at_the_login_oldest_first_and_then_what_is_new() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    for round in ["first", "second"] {
        for number in 0..300 {
            assert_eq!(sender.post(&alice.id, format!("{round} stored {number}")).status, 200);
        }
        let mut receiver = Receiver::connect(address(&server), &alice);
        for number in 0..300 {
            assert_eq!(receiver.recv(), Message::text(format!("{round} stored {number}")));
        }
        for number in 0..50 {
            sender.post(&alice.id, format!("{round} live {number}"));
            assert_eq!(receiver.recv(), Message::text(format!("{round} live {number}")));
        }
        wait_until_confirmed(&server, slice::from_mut(&mut receiver));
        assert!(receiver.close().is_empty());
    }
}

#[test]
fn a_session_gets_the_mail_of_its_own_id_only() {
    let server = start(|_| {});
    let (alice, bob) = (Identity::generate(), Identity::generate());
    let mut receiver = Receiver::connect(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    for number in 0..20 {
        sender.post(&bob.id, format!("for bob {number}"));
        sender.post(&alice.id, format!("for alice {number}"));
    }
    sender.post(&alice.id, "end");
    let expected: Vec<_> = (0..20)
        .map(|number| format!("for alice {number}").into_bytes())
        .collect();
    assert_eq!(receiver.recv_until("end"), expected);
}

#[test]
fn valid_utf8_comes_as_text_and_anything_else_as_binary() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let bodies: [&[u8]; 8] = [
        b"",
        b"plain",
        "caf\u{e9} \u{1f980}".as_bytes(),
        b"a zero \0 and a bell \x07",
        b"\xff",
        // A character cut short, an overlong form, a surrogate.
        b"caf\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
    ];
    let mut live = Receiver::connect(address(&server), &alice);
    for body in bodies {
        post(address(&server), &alice.id, body);
        let expected = match str::from_utf8(body) {
            Ok(text) => Message::text(text),
            Err(_) => Message::binary(body.to_vec()),
        };
        assert_eq!(live.recv(), expected);
    }
}

#[test]
fn a_message_at_each_edge_of_the_frame_lengths_arrives_unchanged_live_and_stored() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let lengths = [0, 1, 125, 126, 65_535, 65_536];
    let body = |length: usize, first: u8| -> Vec<u8> { (first..=first + 50).cycle().take(length).collect() };
    let bodies: Vec<_> = [b'0', 0xc0]
        .iter()
        .flat_map(|first| lengths.map(|length| body(length, *first)))
        .collect();
    let mut sender = RawClient::connect(address(&server));
    for body in &bodies {
        assert_eq!(sender.post(&alice.id, body).status, 200);
    }
    let mut receiver = Receiver::connect(address(&server), &alice);
    for body in &bodies {
        assert!(receiver.recv_bytes() == *body, "stored, {} bytes", body.len());
    }
    for body in &bodies {
        assert_eq!(sender.post(&alice.id, body).status, 200);
        assert!(receiver.recv_bytes() == *body, "live, {} bytes", body.len());
    }
}

#[test]
fn a_chunked_message_arrives_whole_however_it_is_cut() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut receiver = Receiver::connect(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(20_000).collect();
    for chunk_length in [1, 7, 4096, 20_000] {
        let body = &body[..body.len().min(chunk_length * 500)];
        for piece in chunked_request(&alice.id, body, chunk_length).chunks(1499) {
            sender.send(piece);
        }
        assert_eq!(sender.read_response().status, 200);
        assert!(receiver.recv_bytes() == body, "chunks of {chunk_length}");
    }
}

#[test]
fn a_message_posted_while_its_recipient_logs_in_comes_exactly_once() {
    let server = start(|_| {});
    let mut receivers = Vec::new();
    for _ in 0..20 {
        let alice = Identity::generate();
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sender = RawClient::connect(address(&server));
                for number in 0..60 {
                    assert_eq!(sender.post(&alice.id, number.to_string()).status, 200);
                }
                sender.post(&alice.id, "end");
            });
            let mut receiver = Receiver::connect(address(&server), &alice);
            let expected: Vec<_> = (0..60).map(|number| number.to_string().into_bytes()).collect();
            assert_eq!(receiver.recv_until("end"), expected);
            sender.join().unwrap();
            receivers.push(receiver);
        });
    }
    wait_until_confirmed(&server, &mut receivers);
    wait_until(PATIENCE, "all is counted", || {
        server.totals().delivered == server.totals().posted
    });
}

fn chunked_request(id: &str, body: &[u8], chunk_length: usize) -> Vec<u8> {
    let head = format!("POST /{id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut request = head.into_bytes();
    for chunk in body.chunks(chunk_length) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0;extension=ignored\r\nX-Trailer: ignored\r\n\r\n");
    request
}
