//! Recipients that end without a word: a network that swallows everything, a process that is killed at full rate.
//!
//! What a session that is told of its end does is tested beside this.

#![expect(clippy::unwrap_used, reason = "it fails a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, slice, thread};

use npchat::server::Server;
use npchat::server::refusal::CloseReason;
use testkit::{
    Identity, PATIENCE, RawClient, Receiver, address, post, post_request, start, wait_until, wait_until_confirmed,
};

/// Short enough to wait for, and long enough that no client that answers at once is late on a machine that does a lot
/// else.
const PONG_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests that a sender has under way.
const PIPELINED: usize = 50;

/// A message with its number in it, as long as an envelope.
fn message(sender: usize, number: usize) -> String {
    format!("{sender} {number} {:.>470}", "")
}

/// The numbers of one sender's messages, as they came.
fn numbers_of(sender: usize, messages: &[Vec<u8>]) -> Vec<usize> {
    let texts = messages.iter().map(|message| str::from_utf8(message).unwrap());
    let pairs = texts.map(|text| text.split_once(' ').unwrap());
    let own = pairs.filter(|(name, _)| *name == sender.to_string());
    own.map(|(_, rest)| rest.split_once(' ').unwrap().0.parse().unwrap())
        .collect()
}

/// Posts so many messages over one connection, as fast as they are taken.
fn post_all(address: SocketAddr, id: &str, sender: usize, count: usize) {
    let mut client = RawClient::connect(address);
    let target = format!("/{id}");
    for start in (0..count).step_by(PIPELINED) {
        let batch = start..count.min(start + PIPELINED);
        let requests = batch.clone().map(|number| message(sender, number));
        let requests = requests.flat_map(|body| post_request(address, &target, "", body));
        client.send(requests.collect::<Vec<_>>());
        for _ in batch {
            assert_eq!(client.read_response().status, 200);
        }
    }
}

/// All that comes to a new login, which confirms it.
fn receive_rest(server: &Server, identity: &Identity) -> Vec<Vec<u8>> {
    let mut next = Receiver::connect(address(server), identity);
    post(address(server), &identity.id, "end");
    let rest = next.recv_until("end");
    wait_until(PATIENCE, "the new session has confirmed all", || {
        next.tend();
        server.stats().messages == 0
    });
    assert!(next.close().is_empty(), "nothing comes after the last");
    rest
}

/// A line between a client and the server that can be cut: then nothing goes through any more, and neither end is told.
struct Line {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = Self {
            address: listener.local_addr().unwrap(),
            is_cut: Arc::default(),
        };
        let is_cut = Arc::clone(&line.is_cut);
        thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = TcpStream::connect(server).unwrap();
            for (from, to) in [(&near, &far), (&far, &near)] {
                from.set_nodelay(true).unwrap();
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let is_cut = Arc::clone(&is_cut);
                thread::spawn(move || forward(&from, &to, &is_cut));
            }
            // Both ends stay open for as long as the test lasts.
            loop {
                thread::park();
            }
        });
        line
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }
}

/// Once the line is cut, what was read last is lost, and nothing is read any more.
fn forward(mut from: &TcpStream, mut to: &TcpStream, is_cut: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if is_cut.load(Ordering::SeqCst) || to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

/// A server, and a session whose line has been cut after it had confirmed a message.
fn start_with_a_hole(identity: &Identity) -> (Server, Receiver) {
    let server = start(|config| config.timeouts.pong = PONG_TIMEOUT);
    let line = Line::to(address(&server));
    let mut receiver = Receiver::connect(line.address, identity);
    post(address(&server), &identity.id, "before");
    assert_eq!(receiver.recv_until("before"), Vec::<Vec<u8>>::new());
    wait_until_confirmed(&server, slice::from_mut(&mut receiver));
    line.cut();
    (server, receiver)
}

fn expect_all_of_the_hole(server: &Server, identity: &Identity, count: usize) {
    let rest = receive_rest(server, identity);
    assert_eq!(rest.len(), count);
    assert_eq!(numbers_of(0, &rest), (0..count).collect::<Vec<_>>());
    // It may have been a window behind the next one before its pong was too late.
    wait_until(PATIENCE, "the dead session is counted", || {
        let totals = server.totals();
        let closed = totals.closed(CloseReason::PongTimeout) + totals.closed(CloseReason::FellBehind);
        closed == 1 && server.stats().messages == 0
    });
}

#[test]
fn what_was_posted_into_a_dead_line_comes_to_the_next_login_in_order() {
    const COUNT: usize = 1000;
    let identity = Identity::generate();
    let (server, _cut_off) = start_with_a_hole(&identity);
    post_all(address(&server), &identity.id, 0, COUNT);
    wait_until(PATIENCE, "the dead session is over", || server.stats().sessions == 0);
    assert_eq!(server.stats().messages, COUNT as u64);
    expect_all_of_the_hole(&server, &identity, COUNT);
}

#[test]
fn a_login_does_not_wait_for_the_server_to_find_out_that_the_one_before_is_dead() {
    const COUNT: usize = 1000;
    let identity = Identity::generate();
    let (server, _cut_off) = start_with_a_hole(&identity);
    post_all(address(&server), &identity.id, 0, COUNT);
    expect_all_of_the_hole(&server, &identity, COUNT);
}

/// Tell the process that is killed where to log in, and as whom.
const RELAY: &str = "NPCHAT_TEST_RELAY";
const SECRET: &str = "NPCHAT_TEST_SECRET";

#[test]
#[ignore = "a process of its own, run and killed by the test below"]
fn receives_until_it_is_killed() {
    let (Ok(relay), Ok(secret)) = (env::var(RELAY), env::var(SECRET)) else {
        return;
    };
    let mut receiver = Receiver::connect(relay.parse().unwrap(), &Identity::from_secret(&secret));
    // The harness has stdout.
    loop {
        let message = receiver.recv();
        eprintln!("{}", message.to_text().unwrap());
    }
}

#[test]
fn nothing_is_lost_when_a_recipient_is_killed_at_full_rate() {
    const SENDERS: usize = 2;
    const EACH: usize = 5000;
    const BEFORE_THE_KILL: usize = 1000;
    let server = start(|config| {
        config.mailbox_messages = 20_000;
        config.mailbox_bytes = 64 << 20;
    });
    let identity = Identity::generate();
    let mut process = Command::new(env::current_exe().unwrap())
        .args([
            "dead_peers::receives_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(RELAY, address(&server).to_string())
        .env(SECRET, identity.secret())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(PATIENCE, "the recipient has logged in", || server.stats().sessions == 1);
    let mut had = Vec::new();
    let mut pipe = BufReader::new(process.stderr.take().unwrap());
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (address, id) = (address(&server), &identity.id);
            scope.spawn(move || post_all(address, id, sender, EACH));
        }
        for _ in 0..BEFORE_THE_KILL {
            had.push(read_line(&mut pipe).expect("it receives"));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    });
    // It confirms no message that it hasn't written: the pipe outlives it.
    had.extend(std::iter::from_fn(|| read_line(&mut pipe)));
    assert!(had.len() < SENDERS * EACH, "it was killed in the middle");
    wait_until(PATIENCE, "its session is over", || server.stats().sessions == 0);
    let rest = receive_rest(&server, &identity);
    for sender in 0..SENDERS {
        let (before, after) = (numbers_of(sender, &had), numbers_of(sender, &rest));
        let first = after.first().copied().unwrap_or(EACH);
        assert!(first <= before.len(), "lost: {}..{first}", before.len());
        assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
        assert_eq!(after, (first..EACH).collect::<Vec<_>>());
    }
}

/// A whole line without its end. One that the kill has cut short is none.
fn read_line(pipe: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    pipe.read_until(b'\n', &mut line).unwrap();
    (line.pop() == Some(b'\n')).then_some(line)
}
