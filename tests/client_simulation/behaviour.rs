//! What an account does at which moment, one behaviour at a time.

use npchat::client::account::limits::{ANSWER_PAUSE_MS, ASK_AT_CONTACT_MS, REQUEST_MESSAGES_MAX, REQUESTS_MAX, TTL_S};
use npchat::client::account::{Account, ActError, Posted, Report, Written};
use npchat::client::content::{Body, CONTENT_MAX_BYTES, File, HashList};
use npchat::client::records::{Standing, Status, Version};

use crate::envelope::Sealer;
use crate::people;
use crate::side::{START_MS, Side, control, friends, want, wants};

#[test]
fn a_gap_is_asked_for_after_2_s_1_min_10_min_1_h_and_then_at_each_contact() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let lost = alice.send(bob.id(), "lost");
    alice.send(bob.id(), "come");
    bob.hear(&alice.take()[1]);
    let mut expected_ms = START_MS;
    for pause_ms in [2_000, 60_000, 600_000, 3_600_000] {
        bob.controls();
        expected_ms += pause_ms;
        bob.run_until(expected_ms - 1);
        assert_eq!(wants(&bob.controls()), 0);
        bob.run_until(expected_ms);
        assert_eq!(wants(&bob.controls()), 1);
    }
    assert!(bob.reports.contains(&Report::Missing(alice.id(), vec![lost])));
    bob.run_until(expected_ms + 100 * ASK_AT_CONTACT_MS);
    assert_eq!(wants(&bob.controls()), 0);
    for expected in [1, 0] {
        bob.call(Account::handle_login);
        assert_eq!(wants(&bob.controls()), expected);
    }
}

#[test]
fn what_fills_a_gap_takes_its_place_and_is_reported_so() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let first = alice.send(bob.id(), "first");
    let second = alice.send(bob.id(), "second");
    let posted = alice.take();
    bob.hear(&posted[1]);
    bob.run_until(START_MS + 2_000);
    bob.hear(&posted[0]);
    let thread = bob.account().thread(alice.id()).expect("a contact");
    assert_eq!(thread.order().collect::<Vec<_>>(), [first, second]);
    assert!(bob.reports.contains(&Report::Filled(alice.id(), first)));
    assert!(bob.client.store.records().gaps.is_empty());
}

#[test]
fn acknowledgements_wait_a_second_and_go_together() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let sent: Vec<_> = ["a", "b", "c"].map(|text| alice.send(bob.id(), text)).to_vec();
    for envelope in alice.take() {
        bob.hear(&envelope);
        bob.run_until(bob.now_ms + 300);
    }
    assert_eq!(bob.take().len(), 0);
    bob.run_until(START_MS + 1_000);
    let acks = bob.take();
    assert_eq!(acks.len(), 1);
    alice.hear(&acks[0]);
    for hash in sent {
        assert_eq!(alice.status(hash), Status::Delivered);
        assert_eq!(bob.status(hash), Status::Acknowledged);
    }
}

#[test]
fn a_double_is_shown_once_and_acknowledged_again() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let hash = alice.send(bob.id(), "once");
    let posted = alice.take();
    for _ in 0..2 {
        bob.hear(&posted[0]);
        bob.run_until(bob.now_ms + 1_000);
        assert_eq!(bob.controls(), [Body::Ack(HashList::new(vec![hash]).expect("one"))]);
        bob.restart();
    }
}

#[test]
fn a_request_is_answered_with_own_messages_once_in_10_seconds() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let theirs = bob.send(alice.id(), "theirs");
    alice.hear(&bob.take()[0]);
    let own = alice.send(bob.id(), "own");
    alice.run_until(START_MS + 2_000);
    alice.take();
    alice.hear(&control(&bob, &alice, want(&[own, theirs])));
    assert_eq!(alice.take().len(), 1);
    for _ in 0..3 {
        bob.now_ms += 1;
        alice.hear(&control(&bob, &alice, want(&[own])));
    }
    alice.run_until(START_MS + 2_000 + ANSWER_PAUSE_MS - 1);
    assert_eq!(alice.take().len(), 0);
    alice.run_until(START_MS + 2_000 + ANSWER_PAUSE_MS);
    assert_eq!(alice.take().len(), 1);
}

#[test]
fn a_request_that_a_relay_delivers_twice_is_answered_once() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let own = alice.send(bob.id(), "own");
    alice.take();
    let request = control(&bob, &alice, want(&[own]));
    bob.now_ms += 1;
    for _ in 0..3 {
        alice.hear(&request);
        alice.run_until(alice.now_ms + ANSWER_PAUSE_MS + 1_000);
    }
    assert_eq!(alice.take().len(), 1);
}

#[test]
fn strangers_are_kept_apart_and_few_messages_of_few_of_them() {
    let mut alice = Side::new(0);
    for person in 1..=REQUESTS_MAX + 5 {
        // Their keys don't matter here.
        let mut stranger = Side::new(0);
        stranger.client.person = person;
        stranger.client.own.auth = people::auth(person);
        stranger.client.start(START_MS);
        stranger.add(&alice, Version::V2);
        for _ in 0..REQUEST_MESSAGES_MAX + 2 {
            stranger.send(alice.id(), "hello");
        }
        for envelope in stranger.take() {
            alice.hear(&envelope);
        }
    }
    alice.run_until(START_MS + 86_400_000);
    assert!(alice.take().is_empty());
    assert_eq!(alice.account().contacts().count(), REQUESTS_MAX);
    let messages = alice.client.store.records().messages.len();
    assert_eq!(messages, REQUESTS_MAX * REQUEST_MESSAGES_MAX);

    let somebody = people::auth(1).id();
    alice.call(|account, now_ms| account.accept(somebody, now_ms).expect("known"));
    alice.run_until(alice.now_ms + 5_000);
    let controls = alice.controls();
    let acks = controls.iter().filter_map(|body| match body {
        Body::Ack(acks) => Some(acks.len()),
        _ => None,
    });
    assert_eq!(acks.sum::<usize>(), REQUEST_MESSAGES_MAX);
    assert_eq!(wants(&controls), 1);
}

#[test]
fn whoever_is_blocked_leaves_nothing_and_whoever_is_removed_writes_as_a_stranger() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    bob.send(alice.id(), "before");
    let before = bob.take();
    alice.hear(&before[0]);
    alice.call(|account, now_ms| account.block(bob.id(), now_ms).expect("known"));
    bob.send(alice.id(), "blocked");
    alice.hear(&bob.take()[0]);
    assert_eq!(alice.client.store.records().messages.len(), 1);

    alice.call(|account, now_ms| account.remove(bob.id(), now_ms).expect("known"));
    alice.hear(&before[0]);
    bob.send(alice.id(), "after");
    alice.hear(&bob.take()[0]);
    alice.run_until(START_MS + 10_000);
    let standing = alice.account().contact(bob.id()).expect("known").standing;
    assert_eq!(standing, Standing::Requested);
    assert_eq!(alice.client.store.records().messages.len(), 2);
    assert!(alice.take().is_empty());
    assert_eq!(
        alice.try_send(bob.id(), Body::Text(String::new())),
        Err(ActError::NotAccepted)
    );
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (mut alice, bob) = friends([Version::V2; 2]);
    let text = Body::Text("x".repeat(CONTENT_MAX_BYTES));
    assert!(matches!(alice.try_send(bob.id(), text), Err(ActError::TooLong(excess)) if excess > 100));
    assert_eq!(alice.try_send(bob.id(), want(&[])), Err(ActError::NoMessage));
    assert_eq!(alice.try_send(people::auth(3).id(), want(&[])), Err(ActError::Nobody));
    let mut carol = Side::new(2);
    carol.add(&bob, Version::V1);
    let file = File {
        name: String::new(),
        media_type: String::new(),
        data: Vec::new(),
    };
    assert_eq!(carol.try_send(bob.id(), Body::File(file)), Err(ActError::NeedsV2));
    assert!(alice.take().is_empty() && carol.take().is_empty());
}

#[test]
fn a_refused_post_is_repeated_later_each_time_and_one_refused_for_good_is_not_named() {
    let (mut alice, bob) = friends([Version::V2; 2]);
    let busy = Posted::Refused {
        status: 503,
        retry_after_s: None,
    };
    let mut sent_ms = Vec::new();
    let written = || Written {
        body: Body::Text("hello".to_owned()),
        ttl_s: TTL_S,
    };
    let mut sealer = Sealer { sender: 0, count: 0 };
    alice.call_with(busy, |account, now_ms| {
        account.send(bob.id(), written(), now_ms, &mut sealer).expect("sent").1
    });
    for _ in 0..8 {
        let due_ms = alice.account().next_wakeup_ms().expect("a repetition");
        sent_ms.push((due_ms - alice.now_ms) / 1_000);
        alice.now_ms = due_ms;
        alice.call_with(busy, Account::advance);
    }
    assert_eq!(sent_ms, [1, 2, 4, 8, 16, 32, 60, 60]);
    let patient = Posted::Refused {
        status: 429,
        retry_after_s: Some(300),
    };
    alice.now_ms = alice.account().next_wakeup_ms().expect("a repetition");
    alice.call_with(patient, Account::advance);
    assert!(alice.account().next_wakeup_ms().expect("a repetition") > alice.now_ms + 300_000);
    let never = Posted::Refused {
        status: 413,
        retry_after_s: None,
    };
    alice.now_ms = alice.account().next_wakeup_ms().expect("a repetition");
    alice.call_with(never, Account::advance);
    assert!(matches!(alice.reports.last(), Some(Report::Failed(_, _, 413))));
    let next = alice.send(bob.id(), "hello");
    assert!(alice.client.store.message(next).expect("sent").parents.is_empty());
}
