//! Many senders at once to one recipient: each one's messages arrive in its order, none is lost, none comes twice.
//!
//! A sender has several keep-alive connections and pipelines on each; what it was told is sent comes before what it
//! sends next, on whichever connection.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these fail a test"
)]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use testkit::{
    Identity, PATIENCE, RawClient, Receiver, address, post, post_request, start, wait_until, wait_until_confirmed,
};

const SENDERS: usize = 8;
const CONNECTIONS: usize = 3;
const BATCHES: usize = 8;
const BATCH: usize = 20;
const FROM_EACH: usize = BATCHES * BATCH;

#[test]
fn a_receiver_that_was_there_gets_all_in_order() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let receivers = [Receiver::connect(address(&server), &alice)];
    for (_, heard) in converse(address(&server), &alice, receivers.into(), || {}) {
        assert_all_in_order(&heard);
    }
}

#[test]
fn each_of_several_receivers_gets_all_in_order() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let receivers = (0..3).map(|_| Receiver::connect(address(&server), &alice)).collect();
    let conversations = converse(address(&server), &alice, receivers, || {});
    let (mut receivers, heard): (Vec<_>, Vec<_>) = conversations.into_iter().unzip();
    assert_eq!(heard.len(), 3);
    for heard in &heard {
        assert_all_in_order(heard);
    }
    wait_until_confirmed(&server, &mut receivers);
}

#[test]
fn a_receiver_that_logs_in_while_the_senders_are_at_it_gets_all_in_order() {
    let server = start(|_| {});
    let alice = Identity::generate();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            wait_until(PATIENCE, "a part is stored", || server.totals().posted > 300);
            Receiver::connect(address(&server), &alice).recv_until("end")
        });
        converse(address(&server), &alice, Vec::new(), || {});
        assert_all_in_order(&receiver.join().unwrap());
    });
}

#[test]
fn a_receiver_that_joins_another_gets_all_from_some_point_on() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let first = Receiver::connect(address(&server), &alice);
    let (logged_in, second_is_there) = mpsc::channel();
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            wait_until(PATIENCE, "a part is delivered", || server.totals().delivered > 300);
            let mut second = Receiver::connect(address(&server), &alice);
            logged_in.send(()).unwrap();
            second.recv_until("end")
        });
        // The end must not have come and gone by then.
        let wait_for_second = || second_is_there.recv_timeout(PATIENCE).unwrap();
        for (_, heard) in converse(address(&server), &alice, vec![first], wait_for_second) {
            assert_all_in_order(&heard);
        }
        for numbers in by_sender(&second.join().unwrap()) {
            let missed = FROM_EACH - numbers.len();
            assert_eq!(numbers, (missed..FROM_EACH).collect::<Vec<_>>());
        }
    });
}

/// Has all senders send all, and after `before_end` the marker; returns each receiver, and what it got before that.
fn converse(
    address: SocketAddr,
    recipient: &Identity,
    receivers: Vec<Receiver>,
    before_end: impl FnOnce(),
) -> Vec<(Receiver, Vec<Vec<u8>>)> {
    thread::scope(|scope| {
        let hearing: Vec<_> = receivers
            .into_iter()
            .map(|mut receiver| {
                scope.spawn(move || {
                    let heard = receiver.recv_until("end");
                    (receiver, heard)
                })
            })
            .collect();
        let sending: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send_all(address, &recipient.id, sender)))
            .collect();
        for sender in sending {
            sender.join().expect("the sender is told that all is sent");
        }
        before_end();
        assert_eq!(post(address, &recipient.id, "end").status, 200);
        hearing.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    })
}

fn send_all(address: SocketAddr, id: &str, sender: usize) {
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| RawClient::connect(address)).collect();
    for batch in 0..BATCHES {
        let connection = &mut connections[batch % CONNECTIONS];
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let request = |number| post_request(address, &format!("/{id}"), "", format!("{sender} {number}"));
        connection.send(numbers.clone().flat_map(request).collect::<Vec<_>>());
        for _ in numbers {
            assert_eq!(connection.read_response().status, 200);
        }
    }
}

#[track_caller]
fn assert_all_in_order(heard: &[Vec<u8>]) {
    for numbers in by_sender(heard) {
        assert_eq!(numbers, (0..FROM_EACH).collect::<Vec<_>>());
    }
}

/// The numbers of each sender's messages, in the order in which they came.
fn by_sender(heard: &[Vec<u8>]) -> [Vec<usize>; SENDERS] {
    let mut numbers = [const { Vec::new() }; SENDERS];
    for message in heard {
        let text = str::from_utf8(message).expect("a sender's text");
        let Some((sender, number)) = text.split_once(' ') else {
            panic!("{text} is from no sender");
        };
        numbers[sender.parse::<usize>().unwrap()].push(number.parse().unwrap());
    }
    numbers
}
