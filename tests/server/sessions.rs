//! Several sessions of one id, sessions that end, and what becomes of the mail that they have not had.
//!
//! How frames and logins may go wrong is tested elsewhere: here every client keeps to the protocol, or just goes away.

#![expect(clippy::unwrap_used, reason = "it fails a test")]

use std::ops::Range;
use std::slice;
use std::time::Duration;

use socket2::SockRef;
use tungstenite::Message;

use npchat::server::Server;
use npchat::server::limits::{SESSIONS_PER_MAILBOX, WINDOW_MAX_BYTES};
use npchat::server::mailboxes::Stats;
use testkit::{
    Frame, Identity, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, start, wait_until,
    wait_until_confirmed,
};

/// More of these than a session may be sent without confirming any, and fewer than a mailbox holds.
const BIG_BYTES: usize = 60_000;
const BIG_COUNT: usize = 120;

#[test]
fn every_session_gets_each_message_that_arrives_while_it_is_there() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut sessions: Vec<Receiver> = Vec::new();
    for joined in 0..5 {
        sessions.push(Receiver::connect(address(&server), &alice));
        post(address(&server), &alice.id, format!("after {joined} joined"));
        for session in &mut sessions {
            assert_eq!(session.recv(), Message::text(format!("after {joined} joined")));
        }
        // So that the next one to join finds nothing that is still on its way.
        wait_until_confirmed(&server, &mut sessions);
    }
    for session in sessions {
        assert!(session.close().is_empty());
    }
    wait_until(PATIENCE, "nobody is left", || server.stats() == Stats::default());
}

#[test]
fn a_session_that_leaves_takes_nothing_from_those_that_stay() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut staying = Receiver::connect(address(&server), &alice);
    let leaving = Receiver::connect(address(&server), &alice);
    let vanishing = Receiver::connect(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    post_texts(&mut sender, &alice, 0..100);
    let heard = leaving.close();
    drop(vanishing);
    post_texts(&mut sender, &alice, 100..200);
    sender.post(&alice.id, "end");

    let expected: Vec<_> = (0..200).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(staying.recv_until("end"), expected);
    let heard: Vec<_> = heard.into_iter().map(|message| message.into_data().to_vec()).collect();
    assert_eq!(heard, expected[..heard.len()], "a part from the start, in order");
    wait_until(PATIENCE, "one session is left", || server.stats().sessions == 1);
    wait_until_confirmed(&server, slice::from_mut(&mut staying));
    assert!(staying.close().is_empty());
}

#[test]
fn another_login_on_the_same_socket_neither_repeats_nor_doubles_the_mail() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut sender = RawClient::connect(address(&server));
    post_texts(&mut sender, &alice, 0..10);
    let mut receiver = Receiver::connect(address(&server), &alice);
    for number in 0..10 {
        assert_eq!(receiver.recv(), Message::text(number.to_string()));
    }
    receiver.login(&alice);
    receiver.login(&alice);
    assert_eq!(server.stats().sessions, 1);
    post_texts(&mut sender, &alice, 10..20);
    for number in 10..20 {
        assert_eq!(receiver.recv(), Message::text(number.to_string()));
    }
    wait_until_confirmed(&server, slice::from_mut(&mut receiver));
    assert!(receiver.close().is_empty());
    wait_until(PATIENCE, "all is had", || server.stats() == Stats::default());
}

#[test]
fn one_session_too_many_is_refused_until_another_one_leaves() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut sessions: Vec<_> = (0..SESSIONS_PER_MAILBOX)
        .map(|_| Receiver::connect(address(&server), &alice))
        .collect();

    let mut refused = RawWebSocket::connect(address(&server), &alice.id);
    let challenge = refused.challenge();
    refused.send(&Frame::text(&alice.solution(&challenge)));
    assert_eq!(refused.read_text(), r#"{"error":"too_many_sessions"}"#);
    assert_eq!(refused.expect_close(), 1008);

    sessions.pop();
    wait_until(PATIENCE, "its place is free", || {
        server.stats().sessions < SESSIONS_PER_MAILBOX as u64
    });
    sessions.push(Receiver::connect(address(&server), &alice));
    post(address(&server), &alice.id, "for all");
    for session in &mut sessions {
        assert_eq!(session.recv(), Message::text("for all"));
    }
}

#[test]
fn mail_that_a_dead_receiver_did_not_confirm_comes_first_at_the_next_login() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let dead = RawWebSocket::log_in_with_receive_buffer(address(&server), &alice, 8 * 1024);
    let mut sender = RawClient::connect(address(&server));
    post_big(&mut sender, &alice, 0..BIG_COUNT);
    // The kernel had taken some of it, which says nothing.
    end_abruptly(dead, &server, 0);
    assert_eq!(server.totals().delivered, 0);

    post_big(&mut sender, &alice, BIG_COUNT..BIG_COUNT + 3);
    sender.post(&alice.id, "end");
    let mut next = Receiver::connect(address(&server), &alice);
    assert_is_big(&next.recv_until("end"), 0..BIG_COUNT + 3);
    wait_until_confirmed(&server, slice::from_mut(&mut next));
    assert!(next.close().is_empty());
    wait_until(PATIENCE, "nothing is left", || server.stats() == Stats::default());
    assert_eq!(server.stats().messages, 0);
}

#[test]
fn mail_that_another_session_has_had_does_not_come_again() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let dead = RawWebSocket::log_in_with_receive_buffer(address(&server), &alice, 8 * 1024);
    let mut reading = Receiver::connect(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    post_big(&mut sender, &alice, 0..BIG_COUNT);
    for number in 0..BIG_COUNT {
        assert_is_big(&[reading.recv_bytes()], number..number + 1);
    }
    assert!(server.stats().messages > 0, "the other one still needs some");
    end_abruptly(dead, &server, 1);
    wait_until_confirmed(&server, slice::from_mut(&mut reading));
    assert!(reading.close().is_empty());

    let mut next = Receiver::connect(address(&server), &alice);
    sender.post(&alice.id, "end");
    assert!(next.recv_until("end").is_empty());
}

#[test]
fn of_mail_that_two_dead_receivers_confirmed_unequally_the_rest_of_the_better_one_comes_again() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let dead = RawWebSocket::log_in_with_receive_buffer(address(&server), &alice, 8 * 1024);
    let mut better = RawWebSocket::log_in_with_receive_buffer(address(&server), &alice, 64 * 1024);
    let mut sender = RawClient::connect(address(&server));
    post_big(&mut sender, &alice, 0..BIG_COUNT);
    for number in 0..20 {
        assert_is_big(&[better.read_message().payload], number..number + 1);
    }
    end_abruptly(dead, &server, 1);
    end_abruptly(better, &server, 0);

    sender.post(&alice.id, "end");
    let mut next = Receiver::connect(address(&server), &alice);
    let heard = next.recv_until("end");
    let first = BIG_COUNT - heard.len();
    // It wouldn't have been sent the last of its twenty with more than a window unconfirmed.
    let least = 20 - WINDOW_MAX_BYTES.div_ceil(BIG_BYTES);
    assert!((least..=20).contains(&first), "begins with {first}");
    assert_is_big(&heard, first..BIG_COUNT);
}

/// Resets the connection, and waits until only so many sessions are left.
fn end_abruptly(mut socket: RawWebSocket, server: &Server, sessions_left: u64) {
    SockRef::from(socket.client().socket())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
    wait_until(PATIENCE, "the session has ended", || {
        server.stats().sessions == sessions_left
    });
}

fn post_texts(sender: &mut RawClient, recipient: &Identity, numbers: Range<usize>) {
    for number in numbers {
        assert_eq!(sender.post(&recipient.id, number.to_string()).status, 200);
    }
}

fn post_big(sender: &mut RawClient, recipient: &Identity, numbers: Range<usize>) {
    for number in numbers {
        assert_eq!(sender.post(&recipient.id, big(number)).status, 200);
    }
}

/// Doesn't print a message that differs: it is big.
#[track_caller]
fn assert_is_big(heard: &[Vec<u8>], numbers: Range<usize>) {
    assert_eq!(heard.len(), numbers.len());
    for (message, number) in heard.iter().zip(numbers) {
        assert!(*message == big(number), "{number} is another message");
    }
}

fn big(number: usize) -> Vec<u8> {
    format!("{number:_>BIG_BYTES$}").into_bytes()
}
