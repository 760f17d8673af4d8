//! What happens when nothing happens: every deadline of a connection, in virtual time.

use std::time::Duration;

use npchat::server::config::Config;
use npchat::server::connection::visit::Cause;
use npchat::server::limits::{LINGER_MAX_BYTES, MIN_RATE_BYTES_PER_SECOND};
use npchat::server::mailboxes::Stats;
use npchat::server::refusal::{CloseReason, Refusal};
use testkit::{Frame, Identity, upgrade_request};

use crate::endpoint::Endpoint;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_connection_that_never_says_a_word_is_closed_without_one() {
    let mut endpoint = Endpoint::new();
    let head = endpoint.lent.timeouts.head;
    assert_eq!(endpoint.time_left(), Some(head));
    endpoint.pass(head.saturating_sub(TICK));
    assert!(!endpoint.half_closed());
    endpoint.pass(TICK);
    assert!(endpoint.half_closed() && endpoint.sent.is_empty());
    assert_lingers_out(&mut endpoint, CloseReason::Idle);
}

#[test]
fn a_first_head_is_due_at_a_fixed_time_after_the_accept() {
    let mut endpoint = Endpoint::new();
    let head = endpoint.lent.timeouts.head;
    let due = endpoint.deadline();
    for byte in HEALTH.chunks(1).take(9) {
        endpoint.pass(SECOND);
        endpoint.receive(byte);
        assert_eq!(endpoint.deadline(), due, "a trickle must not push it away");
    }
    endpoint.pass(head.saturating_sub(9 * SECOND));
    assert_refused(&endpoint, Refusal::RequestTimeout);
    assert_lingers_out(&mut endpoint, CloseReason::Answered);
}

#[test]
fn a_later_head_is_due_at_a_fixed_time_after_its_first_byte() {
    let mut endpoint = Endpoint::new();
    let (head, keep_alive) = (endpoint.lent.timeouts.head, endpoint.lent.timeouts.keep_alive);
    endpoint.receive(HEALTH);
    assert_eq!(endpoint.time_left(), Some(keep_alive));
    // At the very end of the idle time, which must not cut the request short.
    endpoint.pass(keep_alive.saturating_sub(TICK));
    endpoint.receive(&HEALTH[..1]);
    assert_eq!(endpoint.time_left(), Some(head));
    endpoint.pass(head / 2);
    endpoint.receive(&HEALTH[1..5]);
    assert_eq!(endpoint.time_left(), Some(head / 2));
    endpoint.receive(&HEALTH[5..]);
    assert_eq!(endpoint.time_left(), Some(keep_alive));
    assert!(!endpoint.half_closed());
    endpoint.sent.clear();

    endpoint.receive(&HEALTH[..5]);
    endpoint.pass(head);
    assert_refused(&endpoint, Refusal::RequestTimeout);
}

#[test]
fn an_empty_line_after_a_body_begins_no_request() {
    let mut endpoint = Endpoint::new();
    let keep_alive = endpoint.lent.timeouts.keep_alive;
    endpoint.receive(HEALTH);
    endpoint.receive(b"\r\n");
    assert_eq!(endpoint.time_left(), Some(keep_alive));
    endpoint.sent.clear();
    endpoint.pass(keep_alive);
    assert!(endpoint.half_closed() && endpoint.sent.is_empty());
}

#[test]
fn a_kept_connection_is_closed_without_a_word_after_its_idle_time() {
    let mut endpoint = Endpoint::new();
    let keep_alive = endpoint.lent.timeouts.keep_alive;
    for _ in 0..3 {
        endpoint.receive(HEALTH);
        assert_eq!(endpoint.time_left(), Some(keep_alive));
        endpoint.pass(keep_alive.saturating_sub(TICK));
    }
    endpoint.receive(HEALTH);
    endpoint.sent.clear();
    endpoint.pass(keep_alive);
    assert!(endpoint.half_closed() && endpoint.sent.is_empty());
    assert_lingers_out(&mut endpoint, CloseReason::Idle);
}

#[test]
fn a_body_has_a_grace_and_then_a_lowest_rate() {
    let mut endpoint = Endpoint::new();
    let grace = endpoint.lent.timeouts.body_grace;
    endpoint.receive(format!("POST /{ID} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n").as_bytes());
    assert_eq!(endpoint.time_left(), Some(grace));
    endpoint.pass(grace.saturating_sub(TICK));
    // A trickle gains no more time than its bytes are worth.
    endpoint.receive(&[b'x'; 10]);
    assert!(endpoint.time_left().unwrap() < 20 * TICK);
    endpoint.receive(&vec![b'x'; usize::try_from(MIN_RATE_BYTES_PER_SECOND).unwrap() * 3]);
    let left = endpoint.time_left().unwrap();
    assert!(3 * SECOND < left && left < 4 * SECOND);
    endpoint.pass(left);
    assert_refused(&endpoint, Refusal::RequestTimeout);
    assert_eq!(endpoint.stats(), Stats::default(), "nothing is stored");
    assert_eq!(endpoint.stats().messages, 0);
    assert_lingers_out(&mut endpoint, CloseReason::Answered);
}

#[test]
fn a_login_is_due_at_a_fixed_time_after_the_upgrade_and_lasts_as_long_as_pings_are_answered() {
    let identity = Identity::generate();
    let upgrade = upgrade_request(([127, 0, 0, 1], 80).into(), &identity.id);
    let mut endpoint = Endpoint::new();
    let login = endpoint.lent.timeouts.login;
    endpoint.pass(5 * SECOND);
    endpoint.receive(upgrade.as_bytes());
    assert_eq!(endpoint.time_left(), Some(login));
    endpoint.pass(SECOND);
    endpoint.receive(&Frame::text(r#"{"get":"challenge"}"#).masked());
    assert_eq!(endpoint.time_left(), Some(login.saturating_sub(SECOND)));
    endpoint.sent.clear();
    endpoint.pass(login);
    let farewell = [
        Frame::text(r#"{"error":"login_timeout"}"#).unmasked(),
        Frame::close(1008, "login_timeout").unmasked(),
    ];
    assert_eq!(endpoint.sent, farewell.concat());

    let mut endpoint = Endpoint::new();
    endpoint.log_in(&identity);
    assert!(endpoint.time_left() <= Some(endpoint.lent.timeouts.ping));
    endpoint.pass(30 * 24 * 3600 * SECOND);
    endpoint.sent.clear();
    endpoint.post(&identity.id, b"still there");
    assert!(endpoint.sent.starts_with(&Frame::text("still there").unmasked()));
}

#[test]
fn mail_grows_older_while_the_machine_sleeps_and_connections_do_not() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.post(&identity.id, b"before the sleep");
    endpoint.upgrade(&identity);
    let left = endpoint.time_left();
    endpoint.lent.asleep = Config::default().message_ttl;
    assert_eq!(endpoint.time_left(), left);
    endpoint.log_in_after_upgrade(&identity);
    assert!(endpoint.sent.is_empty(), "{:?}", Frame::parse_all(&endpoint.sent));
    endpoint.post(&identity.id, b"after it");
    assert!(endpoint.sent.starts_with(&Frame::text("after it").unmasked()));
}

#[test]
fn a_session_that_takes_nothing_is_ended_and_its_mail_is_still_there() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    let stall = endpoint.lent.timeouts.write_stall;
    endpoint.log_in(&identity);
    endpoint.set_send_size(0);
    for number in 0..5 {
        endpoint.post(&identity.id, format!("{number}").as_bytes());
    }
    endpoint.pass(stall.saturating_sub(TICK));
    assert_eq!(endpoint.time_left(), Some(TICK));
    assert_eq!((endpoint.freed, endpoint.stats().sessions), (None, 1));
    endpoint.pass(TICK);
    assert_eq!(endpoint.freed, Some(CloseReason::Stalled));
    assert_eq!((endpoint.stats().sessions, endpoint.stats().messages), (0, 5));
}

#[test]
fn a_session_that_takes_too_little_is_ended_and_one_at_the_lowest_rate_is_not() {
    let identity = Identity::generate();
    for (bytes_per_second, survives) in [
        (MIN_RATE_BYTES_PER_SECOND / 4, false),
        (MIN_RATE_BYTES_PER_SECOND, true),
    ] {
        let mut endpoint = Endpoint::new();
        endpoint.log_in(&identity);
        endpoint.set_send_size(0);
        endpoint.post(&identity.id, &vec![b'x'; 60_000]);
        for _ in 0..150 {
            endpoint.pass(SECOND);
            endpoint.set_send_size(usize::try_from(bytes_per_second).unwrap());
            endpoint.visit(Cause::Ordinary);
            endpoint.set_send_size(0);
        }
        let (freed, messages) = if survives {
            (None, 0)
        } else {
            (Some(CloseReason::Stalled), 1)
        };
        assert_eq!(endpoint.freed, freed);
        assert_eq!(endpoint.stats().messages, messages);
    }
}

#[test]
fn a_client_that_takes_no_answers_is_not_read_and_then_ended() {
    let mut endpoint = Endpoint::new();
    let stall = endpoint.lent.timeouts.write_stall;
    endpoint.set_send_size(0);
    endpoint.receive(&HEALTH.repeat(1000));
    assert!(!endpoint.connection().wants_input() && !endpoint.connection().wants_turn());
    assert_eq!(endpoint.time_left(), Some(stall));
    endpoint.pass(stall);
    assert_eq!(endpoint.freed, Some(CloseReason::Stalled));
}

#[test]
fn the_time_that_a_request_waits_for_its_client_to_take_answers_is_not_its_own() {
    let mut endpoint = Endpoint::new();
    let (grace, stall) = (endpoint.lent.timeouts.body_grace, endpoint.lent.timeouts.write_stall);
    assert!(grace < stall);
    endpoint.set_send_size(0);
    let body_begins = format!("POST /{ID} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na");
    endpoint.receive(&[HEALTH, body_begins.as_bytes()].concat());
    endpoint.pass(stall.saturating_sub(SECOND));
    endpoint.set_send_size(usize::MAX);
    endpoint.settle();
    assert!(endpoint.time_left() >= Some(grace));
    endpoint.receive(b"b");
    assert_eq!(endpoint.totals().posted, 1);
}

#[test]
fn after_its_last_answer_a_connection_lingers_until_the_peer_has_ended_its_side() {
    let mut endpoint = closing();
    endpoint.receive(&[b'x'; 10_000]);
    assert_eq!(endpoint.freed, None);
    endpoint.end_input();
    assert_eq!(endpoint.freed, Some(CloseReason::Answered));
}

#[test]
fn a_connection_lingers_no_longer_and_for_no_more_input_than_is_allowed() {
    let mut endpoint = closing();
    let linger = endpoint.lent.timeouts.linger;
    for _ in 0..4 {
        endpoint.pass(linger / 5);
        endpoint.receive(b"more");
    }
    assert_eq!(endpoint.freed, None);
    endpoint.pass(linger / 5);
    assert_eq!(endpoint.freed, Some(CloseReason::Answered));

    let mut endpoint = closing();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..=LINGER_MAX_BYTES / piece.len() {
        assert_eq!(endpoint.freed, None);
        endpoint.receive(&piece);
    }
    assert_eq!(endpoint.freed, Some(CloseReason::Answered));
}

/// A connection that has just answered a bad request.
fn closing() -> Endpoint {
    let mut endpoint = Endpoint::new();
    endpoint.receive(b"GET /no-such-page HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_refused(&endpoint, Refusal::BadId);
    endpoint
}

#[track_caller]
fn assert_refused(endpoint: &Endpoint, refusal: Refusal) {
    let text = String::from_utf8_lossy(&endpoint.sent);
    assert!(text.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(text.contains(&format!(r#"{{"error":"{}","#, refusal.code())), "{text}");
    assert!(endpoint.half_closed() && endpoint.freed.is_none());
}

/// Waits for the peer that never ends its side.
#[track_caller]
fn assert_lingers_out(endpoint: &mut Endpoint, reason: CloseReason) {
    let linger = endpoint.lent.timeouts.linger;
    assert_eq!((endpoint.freed, endpoint.time_left()), (None, Some(linger)));
    endpoint.pass(linger);
    assert_eq!(endpoint.freed, Some(reason));
}
