//! Versions of envelopes, cards that change, and what a restart or another process leaves: one behaviour at a time.

use npchat::client::account::limits::{ANNOUNCE_PAUSE_MS, INFER_AFTER_MS};
use npchat::client::account::{Account, Header1, Report};
use npchat::client::content::{Body, CardUpdate, Content, HashList, Heads};
use npchat::client::records::{Change, Status, Version};

use crate::envelope::Envelope;
use crate::people;
use crate::side::{START_MS, Side, friends, wants};

/// An envelope v1 of somebody.
fn text1(sender: &mut Side, text: &str) -> Envelope {
    let header = Header1 {
        time_ms: sender.now_ms,
        previous: None,
    };
    Envelope::V1(sender.client.sealer.envelope(header, text))
}

fn texts(side: &Side) -> Vec<String> {
    let messages = side.client.store.records().messages.iter();
    let stored = messages.map(|message| side.client.store.stored(message.hash).expect("stored"));
    stored
        .map(|stored| String::from_utf8(stored.content.clone()).expect("text"))
        .collect()
}

#[test]
fn whoever_was_added_by_a_shareable_gets_v1_until_they_send_v2() {
    let (mut alice, mut bob) = friends([Version::V2, Version::V1]);
    bob.send(alice.id(), "old");
    alice.send(bob.id(), "new");
    bob.hear(&alice.take()[0]);
    assert_eq!(bob.account().contact(alice.id()).expect("known").version, Version::V2);
    bob.take();
    bob.send(alice.id(), "new");
    assert!(matches!(bob.take()[0], Envelope::V2 { .. }));
}

#[test]
fn whoever_speaks_v2_is_not_believed_in_v1_but_for_what_v2_names() {
    let (mut alice, mut bob) = friends([Version::V2, Version::V1]);
    bob.send(alice.id(), "old");
    let old = bob.take();
    alice.hear(&old[0]);
    assert!(texts(&alice).is_empty());
    // So that the other side learns of it, it is shown v2 at once.
    let shown = alice.take();
    assert_eq!(shown.len(), 1);
    bob.hear(&shown[0]);
    // Its request for what is missing names the old message.
    alice.hear(&bob.take()[0]);
    alice.run_until(START_MS + 5_000);
    bob.hear(&alice.take()[0]);
    alice.hear(&bob.take()[0]);
    assert_eq!(texts(&alice), ["old"]);
    let forged = text1(&mut bob, "forged");
    alice.hear(&forged);
    assert_eq!(texts(&alice), ["old"]);
}

#[test]
fn a_v1_text_that_is_json_gets_a_space_without_width() {
    let (mut alice, bob) = friends([Version::V1; 2]);
    for (text, sent) in [
        ("42", "42\u{200b}"),
        ("{}", "{}\u{200b}"),
        ("hello", "hello"),
        ("{a}", "{a}"),
    ] {
        alice.send(bob.id(), text);
        assert_eq!(texts(&alice).last().expect("one"), sent);
    }
}

#[test]
fn a_v1_request_gets_the_same_envelope_again_and_what_only_looks_like_one_is_a_text() {
    let (mut alice, mut bob) = friends([Version::V1; 2]);
    let hash = alice.send(bob.id(), "hello");
    let first = alice.take();
    alice.run_until(START_MS + 20_000);
    let request = text1(&mut bob, &format!(r#"{{"resend":"{hash}"}}"#));
    alice.hear(&request);
    let again = alice.take();
    let [Envelope::V1(first), Envelope::V1(again)] = [&first[0], &again[0]] else {
        panic!("another version");
    };
    assert_eq!(first, again);
    assert_eq!(texts(&alice), ["hello"]);
    for text in [
        format!(r#"{{"resend":"{hash}","x":1}}"#),
        r#"{"resend":"short"}"#.to_owned(),
        "{\"resend\":1}".to_owned(),
    ] {
        let envelope = text1(&mut bob, &text);
        alice.hear(&envelope);
        assert_eq!(texts(&alice).last(), Some(&text));
    }
    assert!(alice.take().is_empty());
}

#[test]
fn a_v1_message_that_its_reader_seems_not_to_have_is_sent_once_more() {
    let (mut alice, mut bob) = friends([Version::V1; 2]);
    alice.send(bob.id(), "first");
    bob.hear(&alice.take()[0]);
    alice.send(bob.id(), "lost");
    alice.take();
    for _ in 0..3 {
        bob.send(alice.id(), "I know the first one alone");
        bob.restart();
        alice.hear(&bob.take()[0]);
    }
    alice.run_until(START_MS + INFER_AFTER_MS - 1);
    assert!(alice.take().is_empty());
    alice.run_until(START_MS + 10 * INFER_AFTER_MS);
    assert_eq!(alice.take().len(), 1);
}

#[test]
fn a_later_card_replaces_an_earlier_one_in_whatever_order_they_come() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    let content = |time_ms: u64, card: CardUpdate| Content {
        time_ms,
        to: alice.id(),
        heads: Heads::default(),
        body: Body::Ack(HashList::default()),
        card: Some(card),
    };
    let envelopes = [(10, 2), (20, 1), (15, 0)].map(|(time_ms, relay)| Envelope::V2 {
        sender: 1,
        content: content(time_ms, people::card(1, relay, relay)).to_bytes(),
        sealed_to: people::dh(0, 0),
    });
    for envelope in &envelopes {
        alice.hear(envelope);
    }
    let record = alice.account().contact(bob.id()).expect("known");
    assert_eq!(record.origin, people::origin(1));
    assert_eq!(record.dh, people::dh(1, 1));
    assert_eq!(
        alice
            .reports
            .iter()
            .filter(|report| **report == Report::Changed(bob.id()))
            .count(),
        2
    );
    bob.take();
}

#[test]
fn a_changed_card_is_sent_at_once_and_once_a_day_until_it_is_known() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    alice.send(bob.id(), "hello");
    bob.hear(&alice.take()[0]);
    bob.run_until(START_MS + 1_000);
    alice.hear(&bob.take()[0]);
    let card = people::card(0, 1, 1);
    alice.client.own.card = card.clone();
    alice.client.own.card_since_ms = alice.now_ms;
    alice.client.keys.push(card.dh);
    alice.call(|account, now_ms| account.handle_own_card(card, now_ms));
    assert_eq!(alice.take().len(), 1);
    alice.call(Account::handle_login);
    assert!(alice.take().is_empty());
    alice.run_until(alice.now_ms + ANNOUNCE_PAUSE_MS);
    alice.restart();
    alice.call(Account::handle_login);
    let announced = alice.take();
    assert_eq!(announced.len(), 1);
    bob.hear(&announced[0]);
    assert_eq!(
        bob.account().contact(alice.id()).expect("known").origin,
        people::origin(1)
    );
    bob.send(alice.id(), "there you are");
    let answer = bob.take().pop().expect("an answer");
    alice.hear(&answer);
    alice.run_until(alice.now_ms + ANNOUNCE_PAUSE_MS);
    alice.take();
    alice.call(Account::handle_login);
    assert!(alice.take().is_empty());
}

#[test]
fn after_a_restart_what_was_pending_is_posted_and_what_had_come_is_acknowledged() {
    let (mut alice, mut bob) = friends([Version::V2; 2]);
    bob.send(alice.id(), "hello");
    alice.hear(&bob.take()[0]);
    alice.restart();
    alice.run_until(START_MS + 5_000);
    assert_eq!(alice.controls().len(), 1);
    alice.restart();
    alice.run_until(START_MS + 10_000);
    assert!(alice.take().is_empty());

    // Stored, and not posted any more.
    let mut sealer = crate::envelope::Sealer { sender: 0, count: 0 };
    let written = npchat::client::account::Written {
        body: Body::Text("hello".to_owned()),
        ttl_s: 1,
    };
    let account = alice.client.account.as_mut().expect("it runs");
    let (hash, output) = account
        .send(bob.id(), written, START_MS + 10_000, &mut sealer)
        .expect("sent");
    alice.client.commit(&output);
    alice.restart();
    alice.run_until(START_MS + 10_001);
    assert_eq!(alice.take().len(), 1);
    assert_eq!(alice.status(hash), Status::Taken);
}

#[test]
fn what_has_expired_is_asked_for_even_after_a_restart() {
    let (mut alice, bob) = friends([Version::V2; 2]);
    let account = alice.client.account.as_mut().expect("it runs");
    let output = account.handle_expired(3, START_MS);
    assert_eq!(output.posts.len(), 1);
    assert!(output.reports.contains(&Report::Expired(3)));
    alice.client.commit(&output);
    alice.restart();
    alice.run_until(START_MS);
    assert_eq!(wants(&alice.controls()), 1);
    alice.restart();
    alice.run_until(START_MS + 1_000);
    assert!(alice.take().is_empty());
    drop(bob);
}

#[test]
fn what_another_process_has_sent_is_named_by_the_next_message() {
    let (mut alice, bob) = friends([Version::V2; 2]);
    let mut beside = Side::new(0);
    beside.client.store = alice.client.store.clone();
    beside.restart();
    let stored = beside.client.store.records().messages.len();
    let hash = beside.send(bob.id(), "from a script");
    let record = beside.client.store.records().messages[stored].clone();
    let content = beside.client.store.stored(hash).expect("stored").clone();
    let account = alice.client.account.as_mut().expect("it runs");
    let output = account.follow(&[Change::Message(record, content)], START_MS);
    assert!(output.changes.is_empty() && output.posts.is_empty());
    let next = alice.send(bob.id(), "from a person");
    assert_eq!(alice.client.store.message(next).expect("sent").parents, [hash]);
}

#[test]
fn a_relay_that_has_offered_npchat_2_is_never_logged_in_to_without_it() {
    let mut alice = Side::new(0);
    let relay = people::origin(0);
    assert!(alice.account().may_log_in_without_npchat2(&relay));
    for _ in 0..2 {
        alice.call(|account, _| account.handle_npchat2(&people::origin(0)));
        assert!(!alice.account().may_log_in_without_npchat2(&relay));
        alice.restart();
    }
    assert!(alice.account().may_log_in_without_npchat2(&people::origin(1)));
    assert_eq!(alice.client.store.records().relays, [relay]);
}
