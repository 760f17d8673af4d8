//! How often the hot path asks for memory: never.
//!
//! Measured once warm: tables, slabs and the worker's scratch have grown to what they need, and what they amortise is
//! done. A program of its own, since the allocator that counts is the whole process's.

#![expect(clippy::unwrap_used, reason = "these fail a test")]

use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use npchat::protocol::id::RecipientId;
use npchat::server::config::Config;
use npchat::server::limits::PING_SPACING_MILLIS;
use testkit::{Frame, Identity, Lent, Opcode, Piped, post_request};

const MESSAGE: [u8; 480] = [b'x'; 480];

fn lent() -> Lent {
    Lent::new(&Config::default(), Instant::now())
}

fn request_to(id: &str, headers: &str) -> Vec<u8> {
    post_request(([127, 0, 0, 1], 80).into(), &format!("/{id}"), headers, MESSAGE)
}

/// One visit in which the peer says `input`; whether it was answered with `start`.
fn say(lent: &mut Lent, connection: &mut Piped, input: &[u8], start: &[u8]) -> bool {
    lent.visit(connection, input, |sent| sent.starts_with(start))
}

fn post(lent: &mut Lent, id: &str) {
    let id = RecipientId::parse(id.as_bytes()).unwrap();
    let Lent { store, now, wake, .. } = lent;
    store.post(&id, &MESSAGE, None, *now, wake).unwrap();
    wake.clear();
}

/// Has everything expire that has been posted.
fn expire(lent: &mut Lent) {
    lent.now += Config::default().message_ttl + Duration::from_secs(1);
    let store = &lent.store;
    for shard in 0..store.shards() {
        while store.expire(shard, lent.now, &mut usize::MAX.clone()) {}
    }
    assert_eq!(lent.store.memory_used(), 0);
}

#[test]
fn a_stored_post_allocates_nothing_where_others_have_been() {
    let mut lent = lent();
    let mut connection = lent.accept();
    let requests: Vec<_> = (0..100).map(|_| request_to(&Identity::generate().id, "")).collect();
    let mut posts = |lent: &mut Lent| {
        for request in &requests {
            assert!(say(lent, &mut connection, request, b"HTTP/1.1 200 "));
        }
    };
    posts(&mut lent);
    expire(&mut lent);
    let taken = measure(|| posts(&mut lent));
    assert_eq!((taken.count_total, taken.bytes_total), (0, 0));
}

#[test]
fn a_post_that_is_not_stored_allocates_nothing_that_stays() {
    let mut lent = lent();
    let mut connection = lent.accept();
    let request = request_to(&Identity::generate().id, "TTL: 0\r\n");
    let mut post = |lent: &mut Lent| assert!(say(lent, &mut connection, &request, b"HTTP/1.1 200 "));
    post(&mut lent);
    let taken = measure(|| post(&mut lent));
    assert_eq!((taken.count_current, taken.bytes_current), (0, 0));
}

/// Delivers a message with its ping, and what that and its pong take.
fn deliver(lent: &mut Lent, connection: &mut Piped, id: &str) -> [AllocationInfo; 2] {
    const PING_HEADER: [u8; 2] = [0x80 | Opcode::PING, 4];
    lent.now += Duration::from_millis(PING_SPACING_MILLIS);
    post(lent, id);
    let mut payload = [0; 4];
    connection.note_mail();
    let message = measure(|| {
        lent.visit(connection, b"", |sent| {
            let ping = sent[4 + MESSAGE.len()..].strip_prefix(&PING_HEADER).unwrap();
            payload.copy_from_slice(ping);
        });
    });
    let answer = Frame::new(Opcode::PONG, payload).masked();
    let answer = measure(|| assert!(say(lent, connection, &answer, b"")));
    [message, answer]
}

#[test]
fn a_delivery_its_ping_and_its_pong_allocate_nothing() {
    let (mut lent, identity) = (lent(), Identity::generate());
    let mut connection = lent.log_in(&identity);
    let used = lent.store.memory_used();
    deliver(&mut lent, &mut connection, &identity.id);
    let [message, answer] = deliver(&mut lent, &mut connection, &identity.id);
    assert_eq!(message, AllocationInfo::default());
    assert_eq!((answer.count_current, answer.bytes_current), (0, 0));
    assert_eq!(lent.store.memory_used(), used, "the message is gone");
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let mut lent = lent();
    // It isn't stored, so that all that is held is the connection's.
    let request = request_to(&Identity::generate().id, "TTL: 0\r\n");
    let serve = |lent: &mut Lent| {
        let mut connection = lent.accept();
        for split_at in [request.len(), request.len() - 100, 50] {
            let (start, rest) = request.split_at(split_at);
            let answered = say(lent, &mut connection, start, b"HTTP/1.1 200 ");
            assert!(answered != say(lent, &mut connection, rest, b"HTTP/1.1 200 "));
        }
        connection
    };
    serve(&mut lent);
    let mut idle = None;
    let held = measure(|| idle = Some(serve(&mut lent)));
    assert!(idle.is_some());
    assert_eq!((held.count_current, held.bytes_current), (0, 0));
}
