//! When a session is pinged, what a pong confirms, and how much goes out without one, in virtual time.

use std::time::Duration;

use npchat::server::config::Config;
use npchat::server::connection::visit::Cause;
use npchat::server::limits::{PING_SPACING_MILLIS, WINDOW_MAX_MESSAGES, WINDOW_MIN_BYTES};
use npchat::server::refusal::CloseReason;
use npchat::server::websocket::limits::CONTROL_FRAMES_BURST;
use testkit::{Frame, Identity, Opcode};

use crate::endpoint::Endpoint;

const SPACING: Duration = Duration::from_millis(PING_SPACING_MILLIS);
const TICK: Duration = Duration::from_millis(1);

/// A session whose peer answers no ping by itself.
fn silent_session(identity: &Identity) -> Endpoint {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(identity);
    endpoint.answers_pings = false;
    endpoint
}

/// The same just after a ping that it has answered: the next one isn't due yet.
fn session_just_asked(identity: &Identity) -> Endpoint {
    let mut endpoint = silent_session(identity);
    endpoint.post(&identity.id, b"asked for");
    let ping = take_ping(&mut endpoint);
    endpoint.receive(&ping.pong().masked());
    assert_eq!(endpoint.stats().messages, 0);
    endpoint.sent.clear();
    endpoint
}

/// The only ping that has come since the last look.
#[track_caller]
fn take_ping(endpoint: &mut Endpoint) -> Frame {
    let pings = endpoint.take_pings();
    assert_eq!(pings.len(), 1, "{pings:?}");
    pings.into_iter().next().unwrap()
}

/// How many messages the peer has been sent.
fn messages_sent(endpoint: &Endpoint) -> usize {
    let frames = Frame::parse_all(&endpoint.sent).into_iter();
    frames
        .filter(|frame| [Opcode::TEXT, Opcode::BINARY].contains(&frame.opcode))
        .count()
}

fn post_many(endpoint: &mut Endpoint, identity: &Identity, count: usize, length: usize) {
    post_many_unsent(endpoint, identity, count, length);
    endpoint.settle();
}

fn post_many_unsent(endpoint: &mut Endpoint, identity: &Identity, count: usize, length: usize) {
    for _ in 0..count {
        endpoint.post(&identity.id, &vec![b'x'; length]);
    }
}

#[test]
fn a_lone_message_is_followed_by_a_ping_in_the_same_write_and_freed_by_its_pong() {
    let identity = Identity::generate();
    let mut endpoint = session_just_asked(&identity);
    endpoint.pass(SPACING);
    endpoint.post(&identity.id, b"alone");
    let ping = take_ping(&mut endpoint);
    assert_eq!(
        endpoint.sent,
        [Frame::text("alone").unmasked(), ping.unmasked()].concat()
    );
    assert_eq!((endpoint.stats().messages, endpoint.totals().delivered), (1, 1));
    endpoint.receive_all(ping.pong().masked().chunks(1));
    assert_eq!((endpoint.stats().messages, endpoint.totals().delivered), (0, 2));
}

#[test]
fn a_message_soon_after_a_ping_is_asked_for_as_soon_as_pings_have_their_distance() {
    let identity = Identity::generate();
    let mut endpoint = session_just_asked(&identity);
    endpoint.pass(SPACING / 2);
    endpoint.post(&identity.id, b"soon after");
    assert_eq!(endpoint.time_left(), Some(SPACING / 2));
    endpoint.pass((SPACING / 2).saturating_sub(TICK));
    assert!(endpoint.take_pings().is_empty());
    endpoint.pass(TICK);
    take_ping(&mut endpoint);
}

#[test]
fn what_was_sent_while_a_ping_was_under_way_is_asked_for_when_its_pong_comes() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"before");
    let ping = take_ping(&mut endpoint);
    endpoint.pass(SPACING / 2);
    endpoint.post(&identity.id, b"after");
    endpoint.pass(5 * SPACING);
    assert!(endpoint.take_pings().is_empty(), "one is under way");
    endpoint.receive(&ping.pong().masked());
    take_ping(&mut endpoint);
}

#[test]
fn what_a_client_acknowledges_ahead_of_its_close_does_not_come_again() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"read");
    let ping = take_ping(&mut endpoint);
    endpoint.post(&identity.id, b"perhaps not");
    endpoint.receive(&[ping.pong().masked(), Frame::close(1000, "").masked()].concat());
    assert_eq!((endpoint.stats().messages, endpoint.totals().delivered), (1, 1));
}

#[test]
fn a_pong_that_may_be_in_input_that_has_not_been_read_is_not_too_late() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"unconfirmed");
    let ping = take_ping(&mut endpoint);
    endpoint.lent.now += endpoint.lent.timeouts.pong;
    let before = Frame::text("{}").masked();
    endpoint.set_read_size(before.len());
    endpoint.hold_input(&[before, ping.pong().masked()].concat());
    endpoint.visit(Cause::Deadline);
    assert!(!endpoint.is_closing());
    assert_eq!(endpoint.totals().delivered, 0);
    endpoint.settle();
    endpoint.visit(Cause::Deadline);
    assert!(!endpoint.is_closing());
    assert_eq!(endpoint.totals().delivered, 1);
}

#[test]
fn a_message_without_a_pong_stays_and_the_session_ends_in_time() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    let pong = endpoint.lent.timeouts.pong;
    endpoint.post(&identity.id, b"unconfirmed");
    assert_eq!(endpoint.time_left(), Some(pong));
    endpoint.pass(pong.saturating_sub(TICK));
    assert!(!endpoint.is_closing());
    endpoint.pass(TICK);
    assert!(endpoint.sent.ends_with(&Frame::close(1008, "pong_timeout").unmasked()));
    assert!(endpoint.is_closing());
    endpoint.end_input();
    assert_eq!(endpoint.freed, Some(CloseReason::PongTimeout));
    assert_eq!((endpoint.stats().messages, endpoint.stats().sessions), (1, 0));
}

#[test]
fn a_steady_load_is_pinged_ten_times_a_second() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    let start = endpoint.lent.now;
    let mut pinged_at = Vec::new();
    for number in 0..1000 {
        if number % 2 == 0 {
            endpoint.post(&identity.id, b"one of many");
        } else {
            endpoint.pass(10 * TICK);
        }
        for ping in endpoint.take_pings() {
            pinged_at.push(endpoint.lent.now - start);
            endpoint.receive(&ping.pong().masked());
        }
    }
    let expected: Vec<_> = (0..=50).map(|number| number * SPACING).collect();
    assert_eq!(pinged_at, expected);
    assert!(endpoint.stats().messages <= 10, "{:?}", endpoint.stats());
}

#[test]
fn half_a_window_is_asked_for_at_once() {
    for (count, length) in [(WINDOW_MAX_MESSAGES / 2, 0), (4, WINDOW_MIN_BYTES / 8)] {
        let identity = Identity::generate();
        let mut endpoint = session_just_asked(&identity);
        post_many(&mut endpoint, &identity, count - 1, length);
        assert!(endpoint.take_pings().is_empty());
        post_many(&mut endpoint, &identity, 1, length);
        let ping = take_ping(&mut endpoint);
        endpoint.receive(&ping.pong().masked());
        assert_eq!(endpoint.stats().messages, 0);
        // Nor does it keep the distance from the ping before.
        post_many(&mut endpoint, &identity, 2 * count, length);
        take_ping(&mut endpoint);
    }
}

#[test]
fn a_full_window_stops_the_mail_until_the_pong() {
    const MORE: usize = 100;
    let identity = Identity::generate();
    let mut endpoint = session_just_asked(&identity);
    post_many(&mut endpoint, &identity, WINDOW_MAX_MESSAGES + MORE, 1);
    assert_eq!(messages_sent(&endpoint), WINDOW_MAX_MESSAGES);
    assert!(
        !endpoint.connection().wants_turn(),
        "it waits for the pong and doesn't spin"
    );
    let ping = take_ping(&mut endpoint);
    endpoint.pass(endpoint.lent.timeouts.pong / 2);
    assert_eq!(messages_sent(&endpoint), WINDOW_MAX_MESSAGES);
    assert!(endpoint.take_pings().is_empty(), "one is under way");

    endpoint.receive(&ping.pong().masked());
    endpoint.settle();
    assert_eq!(messages_sent(&endpoint), WINDOW_MAX_MESSAGES + MORE);
    let unconfirmed = WINDOW_MAX_MESSAGES + MORE - WINDOW_MAX_MESSAGES / 2;
    assert_eq!(endpoint.stats().messages, unconfirmed as u64);
    let ping = take_ping(&mut endpoint);
    endpoint.receive(&ping.pong().masked());
    assert_eq!(
        endpoint.stats().messages,
        MORE as u64,
        "what came after that ping waits"
    );
    endpoint.answers_pings = true;
    endpoint.confirm_all();
    assert_eq!(endpoint.stats().messages, 0);
}

#[test]
fn a_full_window_in_bytes_is_passed_by_less_than_one_message() {
    const LENGTH: usize = 60_000;
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    post_many(&mut endpoint, &identity, 20, LENGTH);
    assert_eq!(messages_sent(&endpoint), WINDOW_MIN_BYTES.div_ceil(LENGTH));
    endpoint.answers_pings = true;
    endpoint.confirm_all();
    assert_eq!(messages_sent(&endpoint), 20);
}

#[test]
fn a_backlog_that_is_taken_by_the_hundreds_does_not_pass_the_window_either() {
    const LENGTH: usize = 3000;
    for (length, expected) in [(1, WINDOW_MAX_MESSAGES), (LENGTH, WINDOW_MIN_BYTES.div_ceil(LENGTH))] {
        let identity = Identity::generate();
        let mut endpoint = silent_session(&identity);
        endpoint.set_send_size(0);
        post_many_unsent(&mut endpoint, &identity, 2 * WINDOW_MAX_MESSAGES, length);
        endpoint.set_send_size(usize::MAX);
        endpoint.settle();
        assert_eq!(messages_sent(&endpoint), expected);
    }
}

#[test]
fn the_time_for_a_pong_begins_when_the_kernel_has_taken_the_ping() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    let patience = endpoint.lent.timeouts.pong;
    let stall = 2 * patience;
    endpoint.lent.timeouts.write_stall = stall;
    endpoint.set_send_size(0);
    endpoint.post(&identity.id, b"mail");
    assert_eq!(endpoint.time_left(), Some(stall), "blocked output is no missing pong");
    endpoint.pass(patience + SPACING);
    assert_eq!((endpoint.freed, endpoint.is_closing()), (None, false));
    endpoint.set_send_size(usize::MAX);
    endpoint.settle();
    assert_eq!(endpoint.time_left(), Some(patience));
    let ping = take_ping(&mut endpoint);
    endpoint.receive(&ping.pong().masked());
    assert_eq!(endpoint.stats().messages, 0);
}

#[test]
fn a_pong_that_answers_no_ping_or_an_earlier_one_confirms_nothing() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    let pong = |payload: &[u8]| Frame::new(Opcode::PONG, payload).masked();
    endpoint.receive(&pong(&1_u32.to_be_bytes()));
    endpoint.post(&identity.id, b"one");
    assert_eq!(endpoint.stats().messages, 1, "it came before its ping had left");
    let first = take_ping(&mut endpoint).payload;
    for payload in [&b""[..], b"hello", &2_u32.to_be_bytes(), &[&first[..], b"x"].concat()] {
        endpoint.receive(&pong(payload));
    }
    assert_eq!(endpoint.stats().messages, 1);
    endpoint.receive(&pong(&first));
    assert_eq!(endpoint.stats().messages, 0);

    endpoint.post(&identity.id, b"two");
    endpoint.pass(SPACING);
    let second = take_ping(&mut endpoint).payload;
    endpoint.receive(&pong(&first));
    assert_eq!(endpoint.stats().messages, 1, "it is an earlier one's");
    endpoint.receive(&pong(&second));
    assert_eq!((endpoint.stats().messages, endpoint.totals().delivered), (0, 2));
}

#[test]
fn what_was_sent_after_the_ping_is_not_confirmed_by_its_pong() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"before");
    let ping = take_ping(&mut endpoint);
    endpoint.post(&identity.id, b"after");
    endpoint.receive(&ping.pong().masked());
    assert_eq!(endpoint.stats().messages, 1);
    endpoint.pass(SPACING);
    let ping = take_ping(&mut endpoint);
    endpoint.receive(&ping.pong().masked());
    assert_eq!(endpoint.stats().messages, 0);
}

#[test]
fn pongs_that_were_asked_for_are_no_flood_and_others_are() {
    const WINDOWS: usize = 200;
    assert!(WINDOWS > CONTROL_FRAMES_BURST as usize);
    let identity = Identity::generate();
    let mut endpoint = session_just_asked(&identity);
    endpoint.answers_pings = true;
    for _ in 0..WINDOWS {
        post_many(&mut endpoint, &identity, WINDOW_MAX_MESSAGES / 2, 1);
        assert_eq!((endpoint.stats().messages, endpoint.is_closing()), (0, false));
    }
    let unasked = Frame::new(Opcode::PONG, "alive").masked();
    for _ in 0..CONTROL_FRAMES_BURST {
        endpoint.receive(&unasked);
        assert!(!endpoint.is_closing());
    }
    endpoint.receive(&unasked);
    let reason = CloseReason::FrameFlood;
    assert!(endpoint.sent.ends_with(&Frame::close(1008, reason.code()).unmasked()));
}

#[test]
fn an_idle_session_is_asked_now_and_then_and_stays_as_long_as_it_answers() {
    let mut endpoint = silent_session(&Identity::generate());
    let (interval, patience) = (endpoint.lent.timeouts.ping, endpoint.lent.timeouts.pong);
    for _ in 0..100 {
        let pause = endpoint.time_left().unwrap();
        assert!(pause + TICK > interval * 3 / 4 && pause <= interval, "{pause:?}");
        endpoint.pass(pause);
        let ping = take_ping(&mut endpoint);
        endpoint.pass(patience.saturating_sub(TICK));
        endpoint.receive(&ping.pong().masked());
        assert!(!endpoint.is_closing());
    }
    endpoint.pass(interval + patience);
    assert!(endpoint.is_closing());
    assert_eq!(endpoint.stats().sessions, 0);
}

#[test]
fn the_ping_of_a_message_in_a_silence_takes_the_place_of_the_ping_of_the_silence() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    let pause = endpoint.time_left().unwrap();
    endpoint.pass(pause.saturating_sub(TICK));
    endpoint.post(&identity.id, b"late");
    let ping = take_ping(&mut endpoint);
    endpoint.receive(&ping.pong().masked());
    assert_eq!(endpoint.stats().messages, 0);
    endpoint.pass(pause / 2);
    assert!(endpoint.take_pings().is_empty());
}

#[test]
fn a_login_again_on_the_same_socket_neither_repeats_nor_forgets_what_is_unconfirmed() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"once");
    endpoint.receive(&Frame::text(r#"{"get":"challenge"}"#).masked());
    let solution = identity.solution(&endpoint.last_challenge());
    endpoint.receive(&Frame::text(&solution).masked());
    endpoint.settle();
    assert_eq!(endpoint.totals().logins, 2);
    let once = Frame::text("once");
    let times = Frame::parse_all(&endpoint.sent)
        .iter()
        .filter(|frame| **frame == once)
        .count();
    assert_eq!((times, endpoint.stats().messages), (1, 1));
    endpoint.answers_pings = true;
    endpoint.confirm_all();
}

#[test]
fn a_drain_while_a_ping_is_under_way_leaves_what_is_unconfirmed_where_it_is() {
    let identity = Identity::generate();
    let mut endpoint = silent_session(&identity);
    endpoint.post(&identity.id, b"mail");
    let ping = take_ping(&mut endpoint);
    endpoint.lent.store.start_draining();
    endpoint.visit(Cause::Drain);
    assert!(endpoint.sent.ends_with(&Frame::close(1012, "restart").unmasked()));
    endpoint.receive(&[ping.pong().masked(), Frame::close(1012, "").masked()].concat());
    assert_eq!((endpoint.stats().messages, endpoint.stats().sessions), (1, 0));
    endpoint.pass(endpoint.lent.timeouts.linger);
    assert_eq!(endpoint.freed, Some(CloseReason::Restart));
}

#[test]
fn a_client_that_leaves_without_a_pong_leaves_its_mail() {
    let identity = Identity::generate();
    for says_so in [false, true] {
        let mut endpoint = silent_session(&identity);
        endpoint.post(&identity.id, b"mail");
        if says_so {
            endpoint.receive(&Frame::close(1000, "").masked());
        }
        endpoint.end_input();
        assert!(endpoint.freed.is_some());
        assert_eq!((endpoint.stats().messages, endpoint.stats().sessions), (1, 0));
    }
}

#[test]
fn a_pong_that_is_not_read_because_output_is_blocked_is_not_missing() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::with_config(&Config {
        max_message: 1 << 20,
        ..Config::default()
    });
    endpoint.log_in(&identity);
    endpoint.post(&identity.id, b"small");
    endpoint.answers_pings = false;
    endpoint.set_send_size(10_000);
    endpoint.post(&identity.id, &vec![b'x'; 1 << 20]);
    // The peer answers, and takes ten times the lowest rate.
    endpoint.answers_pings = true;
    while endpoint.unsent() > 0 {
        endpoint.answer_pings();
        endpoint.pass(SPACING);
        endpoint.visit(Cause::Ordinary);
        assert_eq!(endpoint.stats().sessions, 1);
    }
    endpoint.confirm_all();
    assert_eq!(endpoint.stats().messages, 0);
}
