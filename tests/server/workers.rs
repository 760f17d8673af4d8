//! Senders and recipients on different workers: the same results as with one worker.
//!
//! The kernel spreads connections over the workers by a hash of their ports, so with as many connections as here every
//! worker surely has some, and most messages cross from one worker to another.

#![expect(clippy::unwrap_used, reason = "it fails a test")]

use std::thread;

use npchat::server::mailboxes::Stats;
use testkit::{Identity, PATIENCE, RawClient, Receiver, address, start, wait_until, wait_until_confirmed};

const RECIPIENTS: usize = 16;
const SENDERS: usize = 16;
/// Of each sender to each recipient.
const MESSAGES: usize = 6;

#[test]
fn one_worker_delivers_everything() {
    everything_is_delivered_by(1);
}

#[test]
fn two_workers_deliver_everything() {
    everything_is_delivered_by(2);
}

#[test]
fn four_workers_deliver_everything() {
    everything_is_delivered_by(4);
}

#[test]
fn messages_that_follow_each_other_closely_wake_a_session_on_another_worker_every_time() {
    let server = start(|_| {});
    let alice = Identity::generate();
    // On whichever worker the session is, some of the senders are on the other one.
    let mut receiver = Receiver::connect(address(&server), &alice);
    let mut senders: Vec<_> = (0..8).map(|_| RawClient::connect(address(&server))).collect();
    for round in 0..100 {
        for (number, sender) in senders.iter_mut().enumerate() {
            let text = format!("{round} {number}");
            assert_eq!(sender.post(&alice.id, &text).status, 200);
            // Each is taken alone, so each needs a wake-up of its own.
            assert_eq!(receiver.recv_bytes(), text.as_bytes());
        }
    }
}

/// Half of the recipients are there from the start, half come when all is stored for them.
fn everything_is_delivered_by(workers: usize) {
    let server = start(|config| config.workers = workers);
    let address = address(&server);
    let recipients: Vec<_> = (0..RECIPIENTS).map(|_| Identity::generate()).collect();
    let (early, late) = recipients.split_at(RECIPIENTS / 2);
    let mut live: Vec<_> = early
        .iter()
        .map(|identity| Receiver::connect(address, identity))
        .collect();

    thread::scope(|scope| {
        let recipients = &recipients;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send(&mut RawClient::connect(address), sender, recipients)))
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
    });
    live.extend(late.iter().map(|identity| Receiver::connect(address, identity)));

    for (recipient, receiver) in live.iter_mut().enumerate() {
        assert_has_everything(receiver, recipient);
    }
    wait_until_confirmed(&server, &mut live);
    let stats = Stats {
        mailboxes: RECIPIENTS as u64,
        messages: 0,
        sessions: RECIPIENTS as u64,
    };
    assert_eq!(server.stats(), stats);
    let sent = (RECIPIENTS * SENDERS * MESSAGES) as u64;
    let totals = || (server.totals().posted, server.totals().delivered);
    wait_until(PATIENCE, "each is counted once", || totals() == (sent, sent));
    for receiver in live {
        assert!(receiver.close().is_empty(), "nothing comes twice");
    }
    wait_until(PATIENCE, "the mailboxes are gone", || {
        server.stats() == Stats::default()
    });
}

fn send(client: &mut RawClient, sender: usize, recipients: &[Identity]) {
    for number in 0..MESSAGES {
        for (recipient, identity) in recipients.iter().enumerate() {
            let text = format!("{recipient} {sender} {number}");
            assert_eq!(client.post(&identity.id, text).status, 200);
        }
    }
}

fn assert_has_everything(receiver: &mut Receiver, recipient: usize) {
    let mut heard: Vec<_> = (0..SENDERS * MESSAGES)
        .map(|_| String::from_utf8(receiver.recv_bytes()).unwrap())
        .collect();
    // Stable, so each sender's messages keep the order in which they came.
    heard.sort_by_key(|text| text.split(' ').nth(1).and_then(|sender| sender.parse::<usize>().ok()));
    let expected: Vec<_> = (0..SENDERS)
        .flat_map(|sender| (0..MESSAGES).map(move |number| format!("{recipient} {sender} {number}")))
        .collect();
    assert_eq!(heard, expected);
}
