//! Mail counts as had when the client's pong proves that it has read it, over real sockets: until then it waits.
//!
//! Exactly when pings go is tested without a socket, in virtual time.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};
use std::{slice, thread};

use tungstenite::Message;

use npchat::server::Server;
use npchat::server::limits::{WINDOW_MAX_MESSAGES, WINDOW_MIN_BYTES};
use npchat::server::refusal::CloseReason;
use testkit::{
    Frame, Identity, Opcode, PATIENCE, RawClient, RawWebSocket, Receiver, address, post, post_request, start,
    wait_until, wait_until_confirmed,
};

/// Short enough to wait for, and long enough that no client that answers at once is late on a machine that does a lot
/// else.
const SHORT: Duration = Duration::from_secs(3);

fn start_impatient() -> Server {
    start(|config| config.timeouts.pong = SHORT)
}

/// Posts the numbers, pipelined over one connection.
fn post_numbers(address: SocketAddr, identity: &Identity, numbers: Range<usize>) {
    const AT_ONCE: usize = 50;
    let target = format!("/{}", identity.id);
    let mut sender = RawClient::connect(address);
    for start in numbers.clone().step_by(AT_ONCE) {
        let batch = start..numbers.end.min(start + AT_ONCE);
        let requests = batch
            .clone()
            .flat_map(|number| post_request(address, &target, "", number.to_string()));
        sender.send(requests.collect::<Vec<_>>());
        for _ in batch {
            assert_eq!(sender.read_response().status, 200);
        }
    }
}

/// These numbers, and nothing else, come to the next login.
fn expect_numbers(server: &Server, identity: &Identity, numbers: Range<usize>) {
    let mut next = Receiver::connect(address(server), identity);
    post(address(server), &identity.id, "end");
    let expected: Vec<_> = numbers.map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(next.recv_until("end"), expected);
    wait_until_confirmed(server, slice::from_mut(&mut next));
}

/// Has the server hear everything that was sent to it before.
fn sync(socket: &mut RawWebSocket) {
    socket.send(&Frame::new(Opcode::PING, "heard?"));
    while socket.read_frame() != Frame::new(Opcode::PONG, "heard?") {}
}

fn read_ping(socket: &mut RawWebSocket) -> Frame {
    let frame = socket.read_frame();
    assert_eq!(frame.opcode, Opcode::PING, "{frame:?}");
    frame
}

#[test]
fn a_lone_message_is_followed_by_a_ping_whose_pong_frees_it() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    post(address(&server), &alice.id, "alone");
    assert_eq!(socket.read_frame(), Frame::text("alone"));
    let ping = read_ping(&mut socket);
    assert_eq!((server.stats().messages, server.totals().delivered), (1, 0));
    socket.send(&ping.pong());
    wait_until(PATIENCE, "it is freed and counted", || {
        server.stats().messages == 0 && server.totals().delivered == 1
    });
    assert_eq!(server.stats().messages, 0);
}

#[test]
fn a_message_without_its_pong_comes_again() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    post_numbers(address(&server), &alice, 0..1);
    assert_eq!(socket.read_frame(), Frame::text("0"));
    read_ping(&mut socket);
    socket.send(&Frame::close(1000, ""));
    assert_eq!(socket.expect_close(), 1000);
    assert_eq!(server.stats().messages, 1);
    expect_numbers(&server, &alice, 0..1);
}

#[test]
fn what_was_read_before_an_orderly_close_does_not_come_again() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    post_numbers(address(&server), &alice, 0..1);
    assert_eq!(socket.read_frame(), Frame::text("0"));
    let pong = read_ping(&mut socket).pong();
    let last_words = [pong.masked(), Frame::close(1000, "").masked()].concat();
    socket.client().send(last_words);
    assert_eq!(socket.expect_close(), 1000);
    assert_eq!((server.stats().messages, server.totals().delivered), (0, 1));
    expect_numbers(&server, &alice, 0..0);
}

#[test]
fn a_client_that_never_answers_is_closed_and_its_mail_comes_to_the_next_login_in_order() {
    const CAP: u32 = 50;
    let server = start(|config| {
        config.timeouts.pong = SHORT;
        config.mailbox_messages = CAP;
    });
    let alice = Identity::generate();
    let mut silent = RawWebSocket::log_in(address(&server), &alice);
    post_numbers(address(&server), &alice, 0..10);
    assert_eq!(silent.read_frame(), Frame::text("0"));
    // The sender goes on, up to the cap.
    post_numbers(address(&server), &alice, 10..50);
    assert_eq!(post(address(&server), &alice.id, "too many").status, 507);
    loop {
        let frame = silent.read_frame();
        if frame.opcode == Opcode::CLOSE {
            assert_eq!(frame, Frame::close(1008, "pong_timeout"));
            break;
        }
    }
    drop(silent);
    wait_until(PATIENCE, "it is over and counted", || {
        server.totals().closed(CloseReason::PongTimeout) == 1 && server.stats().sessions == 0
    });
    assert_eq!(server.stats().messages, u64::from(CAP));
    let mut next = Receiver::connect(address(&server), &alice);
    for number in 0..50 {
        assert_eq!(next.recv(), Message::text(number.to_string()));
    }
    wait_until_confirmed(&server, slice::from_mut(&mut next));
    assert_eq!(post(address(&server), &alice.id, "room again").status, 200);
}

#[test]
fn a_client_that_never_reads_is_sent_a_window_and_its_mail_waits() {
    const COUNT: usize = 3000;
    let server = start_impatient();
    let alice = Identity::generate();
    // Before it logs in, so that a window is there before any pong is due.
    post_numbers(address(&server), &alice, 0..COUNT);
    let mut silent = RawWebSocket::log_in(address(&server), &alice);
    wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
    assert_eq!((server.stats().messages, server.totals().delivered), (COUNT as u64, 0));
    assert_eq!(messages_before_close(&mut silent), WINDOW_MAX_MESSAGES);
    expect_numbers(&server, &alice, 0..COUNT);
}

#[test]
fn a_client_that_never_reads_is_sent_no_more_bytes_than_a_window_and_a_message() {
    const COUNT: usize = 60;
    const LENGTH: usize = 50_000;
    let server = start_impatient();
    let alice = Identity::generate();
    let mut silent = RawWebSocket::log_in(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    for number in 0..COUNT {
        assert_eq!(sender.post(&alice.id, format!("{number:_>LENGTH$}")).status, 200);
    }
    wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
    assert_eq!(server.stats().messages, COUNT as u64);
    assert_eq!(messages_before_close(&mut silent), WINDOW_MIN_BYTES.div_ceil(LENGTH));
    let mut next = Receiver::connect(address(&server), &alice);
    for number in 0..COUNT {
        assert!(
            next.recv_bytes() == format!("{number:_>LENGTH$}").as_bytes(),
            "{number}"
        );
    }
}

/// How many messages come before the server's Close, which must tell the missing pong.
fn messages_before_close(socket: &mut RawWebSocket) -> usize {
    let mut messages = 0;
    loop {
        let frame = socket.read_frame();
        match frame.opcode {
            Opcode::CLOSE => {
                assert_eq!(frame, Frame::close(1008, "pong_timeout"));
                return messages;
            }
            Opcode::PING => {}
            _ => messages += 1,
        }
    }
}

#[test]
fn a_pong_with_a_wrong_or_stale_number_confirms_nothing() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    let pong = |payload: &[u8]| Frame::new(Opcode::PONG, payload);
    post(address(&server), &alice.id, "first");
    assert_eq!(socket.read_frame(), Frame::text("first"));
    let first = read_ping(&mut socket).payload;
    let mut next = first.clone();
    *next.last_mut().unwrap() += 1;
    for wrong in [&[][..], b"wrong", &next, &[&first[..], &first].concat()] {
        socket.send(&pong(wrong));
    }
    sync(&mut socket);
    assert_eq!(server.stats().messages, 1);
    socket.send(&pong(&first));
    wait_until(PATIENCE, "it is confirmed", || server.stats().messages == 0);

    post(address(&server), &alice.id, "second");
    assert_eq!(socket.read_frame(), Frame::text("second"));
    let second = read_ping(&mut socket).payload;
    socket.send(&pong(&first));
    sync(&mut socket);
    assert_eq!(server.stats().messages, 1);
    socket.send(&pong(&second));
    wait_until(PATIENCE, "it is confirmed", || server.stats().messages == 0);
}

#[test]
fn pongs_that_nobody_asked_for_are_ignored_until_they_are_a_flood() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    let unasked = Frame::new(Opcode::PONG, "alive").masked();
    socket.client().send(unasked.repeat(30));
    sync(&mut socket);
    assert_eq!(server.stats().sessions, 1);
    socket.client().send(unasked.repeat(200));
    assert_eq!(socket.expect_close(), 1008);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::FrameFlood) == 1
    });
}

#[test]
fn a_second_session_gets_what_a_silent_one_has_not_confirmed_and_then_it_does_not_come_again() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut silent = RawWebSocket::log_in(address(&server), &alice);
    post_numbers(address(&server), &alice, 0..20);
    for number in 0..20 {
        // A ping may come among them. It isn't answered.
        while silent.read_frame() != Frame::text(&number.to_string()) {}
    }
    let mut second = Receiver::connect(address(&server), &alice);
    for number in 0..20 {
        assert_eq!(second.recv(), Message::text(number.to_string()));
    }
    wait_until(PATIENCE, "the second has confirmed all", || {
        second.tend();
        server.totals().delivered == 20
    });
    assert_eq!(server.stats().messages, 20, "the first still needs them");
    drop(silent);
    wait_until_confirmed(&server, slice::from_mut(&mut second));
    assert!(second.close().is_empty());
    expect_numbers(&server, &alice, 0..0);
}

#[test]
fn a_client_of_the_field_confirms_by_itself() {
    let server = start(|_| {});
    let alice = Identity::generate();
    let mut receiver = Receiver::connect(address(&server), &alice);
    for round in 0..3 {
        post(address(&server), &alice.id, "hello");
        assert_eq!(receiver.recv(), Message::text("hello"));
        // It does nothing but wait for the next message, as clients do.
        assert_eq!(receiver.try_recv(Duration::from_millis(10)), None);
        wait_until_confirmed(&server, slice::from_mut(&mut receiver));
        wait_until(PATIENCE, "it is counted", || server.totals().delivered == round + 1);
    }
}

#[test]
fn an_idle_session_is_pinged_and_stays_if_it_answers() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_secs(1);
        config.timeouts.pong = SHORT;
    });
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    let begun = Instant::now();
    while begun.elapsed() < 2 * SHORT {
        let ping = read_ping(&mut socket);
        socket.send(&ping.pong());
    }
    post(address(&server), &alice.id, "still there");
    assert_eq!(socket.read_message(), Frame::text("still there"));
    assert_eq!(server.totals().logins, 1);
}

#[test]
fn an_idle_session_that_does_not_answer_is_ended() {
    let server = start(|config| {
        config.timeouts.ping = Duration::from_secs(1);
        config.timeouts.pong = Duration::from_secs(1);
    });
    let mut socket = RawWebSocket::log_in(address(&server), &Identity::generate());
    read_ping(&mut socket);
    assert_eq!(socket.read_frame(), Frame::close(1008, "pong_timeout"));
    wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
}

#[test]
fn a_fast_session_is_not_closed_for_its_many_pongs() {
    const COUNT: usize = 100_000;
    const BATCH: usize = 500;
    let server = start(|config| config.mailbox_messages = 1 << 20);
    let alice = Identity::generate();
    // Stored first, so that it comes as fast as it can.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let request = post_request(address(&server), &format!("/{}", alice.id), "", "x");
                let batch = request.repeat(BATCH);
                let mut sender = RawClient::connect(address(&server));
                for _ in 0..COUNT / BATCH / 2 {
                    sender.socket().write_all(&batch).unwrap();
                    for _ in 0..BATCH {
                        assert_eq!(sender.read_response().status, 200);
                    }
                }
            });
        }
    });
    let mut receiver = Receiver::connect(address(&server), &alice);
    for _ in 0..COUNT {
        receiver.recv();
    }
    wait_until_confirmed(&server, slice::from_mut(&mut receiver));
    wait_until(PATIENCE, "all is counted", || server.totals().delivered == COUNT as u64);
    assert_eq!(server.stats().sessions, 1);
}

#[test]
fn a_message_whose_time_ends_while_it_is_unconfirmed_is_gone() {
    let server = start(|config| config.clean_period = Duration::from_secs(2));
    let alice = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &alice);
    let mut sender = RawClient::connect(address(&server));
    // Long enough to be delivered in.
    let answer = sender.post_with(&format!("/{}", alice.id), "TTL: 5\r\n", "short-lived");
    assert_eq!(answer.status, 200);
    assert_eq!(socket.read_frame(), Frame::text("short-lived"));
    let ping = read_ping(&mut socket);
    wait_until(PATIENCE, "it is freed", || server.stats().messages == 0);
    // It comes to no session that logs in now, and the pong that comes so late does no harm.
    let mut next = RawWebSocket::log_in(address(&server), &alice);
    socket.send(&ping.pong());
    sender.post(&alice.id, "long-lived");
    for socket in [&mut socket, &mut next] {
        assert_eq!(socket.read_message(), Frame::text("long-lived"));
    }
    wait_until(PATIENCE, "both have confirmed it", || {
        socket.tend();
        next.tend();
        server.stats().messages == 0
    });
}
