//! Rows 42, 47, 48 and 50: a process that runs out of files, ids chosen by an attacker, and what a log shows of a peer.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use npchat::protocol::id::RecipientId;
use npchat::server::limits::{RESERVED_FILES, TURNED_AWAY_MAX};
use npchat::server::mailboxes::{Budget, Caps, Mailboxes, Retention};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use testkit::{Daemon, PATIENCE, RawClient, Wire, wait_until};

use crate::harness::ID;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const READINESS: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n";
const INFO: &[u8] = b"GET /info HTTP/1.1\r\nHost: h\r\n\r\n";

/// The program, to be started with so many files at most.
fn with_file_limit(files: u64) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n {files}; exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_npchatd"),
    ]);
    command
}

/// Sets the most files that a process may have from now on. Returns what it was.
fn set_file_limit(pid: Pid, files: u64) -> u64 {
    let before = prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit {
            current: Some(files),
            maximum: getrlimit(Resource::Nofile).maximum,
        },
    )
    .unwrap();
    before.current.unwrap_or(u64::MAX)
}

/// Whether each worker sleeps now.
fn all_workers_sleep(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    // "<number> (<name>) <state> …"
    let workers: Vec<_> = stats.filter(|stat| stat.contains("(worker-")).collect();
    assert_eq!(workers.len(), 2);
    workers
        .iter()
        .all(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('S'))
}

/// A worker that spins never sleeps, however little of a processor it gets. `inside` is served meanwhile.
fn assert_does_not_spin(daemon: &Daemon, inside: &mut RawClient) {
    let mut looks_left = 100;
    wait_until(PATIENCE, "the workers sleep most of the time", || {
        assert_eq!(inside.request("GET /healthz").status, 200);
        looks_left -= i32::from(all_workers_sleep(daemon.pid()));
        looks_left == 0
    });
}

#[test]
fn row_42_out_of_files_accepting_pauses_and_goes_on_with_no_new_client() {
    const FILES: u64 = 100;
    const WAITING: usize = 100;
    if Wire::here() == Wire::Tls {
        // Who isn't accepted can't shake hands, and accepting is the same.
        return;
    }
    let daemon = Daemon::start(&[]);
    let mut inside = RawClient::connect(daemon.address);
    assert_eq!(inside.request("GET /healthz").status, 200);
    let before = set_file_limit(daemon.pid(), FILES);

    let mut clients: Vec<_> = (0..WAITING).map(|_| RawClient::connect(daemon.address)).collect();
    for client in &mut clients {
        client.send(HEALTH);
    }
    daemon.wait_for_line("accepting pauses");
    assert_does_not_spin(&daemon, &mut inside);

    set_file_limit(daemon.pid(), before);
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(daemon.finish(), Some(0));
}

#[test]
fn row_50_connections_beyond_what_fits_are_refused_and_those_inside_go_on() {
    const FITTING: u64 = 20;
    let limit = RESERVED_FILES + FITTING;
    let daemon = Daemon::run(&mut with_file_limit(limit));
    daemon.wait_for_line(&format!("WARN room for {FITTING} connections only"));
    let mut inside: Vec<_> = (0..FITTING).map(|_| RawClient::connect(daemon.address)).collect();
    for client in &mut inside {
        assert_eq!(client.request("GET /healthz").status, 200);
    }
    for request in [&HEALTH[..1], INFO, &[INFO, HEALTH, INFO].concat(), &HEALTH[..20]] {
        let mut beyond = RawClient::connect(daemon.address);
        // What it sends must not destroy its answer, whenever it comes.
        beyond.send(request);
        beyond.finish();
        let refusal = beyond.read_response();
        assert_eq!((refusal.status, &refusal.json()["error"]), (503, &"unavailable".into()));
        assert!(refusal.header("Retry-After").is_some());
        beyond.wait_closed();
    }
    for (request, status) in [(HEALTH, "healthy"), (READINESS, "ready")] {
        let mut probe = RawClient::connect(daemon.address);
        probe.send([request, request].concat());
        let answer = probe.read_response();
        assert_eq!((answer.status, &answer.json()["status"]), (200, &status.into()));
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(probe.read_to_end().is_empty());
    }
    for client in &mut inside {
        assert_eq!(client.request("GET /healthz").status, 200);
    }
    // They hold their places until a deadline, with TLS without a handshake.
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(daemon.address).unwrap()).collect();
    assert_does_not_spin(&daemon, &mut inside[0]);
    drop(silent);
    drop(inside.pop());
    wait_until(PATIENCE, "the place that was given up is taken", || {
        let mut next = RawClient::connect(daemon.address);
        next.try_send(HEALTH).is_ok() && next.read_response().status == 200
    });
}

#[test]
fn probes_at_a_listener_of_their_own_are_answered_whatever_the_crowd_at_another_does() {
    const FITTING: usize = 40;
    let limit = RESERVED_FILES + FITTING as u64;
    // All places, all of those to be turned away, and as many again, which aren't even told.
    probes_are_answered_beside_a_crowd(&mut with_file_limit(limit), FITTING + 2 * TURNED_AWAY_MAX);
}

#[test]
fn workers_that_take_many_files_leave_the_probes_theirs() {
    const FILES: u64 = 300;
    let mut command = with_file_limit(FILES);
    command.args(["--workers", "32"]);
    probes_are_answered_beside_a_crowd(&mut command, 300);
}

/// With all its places taken at one address, and all of those to be turned away, the server answers at another one.
fn probes_are_answered_beside_a_crowd(command: &mut Command, crowd: usize) {
    command.args(["--listen", "http://127.0.0.1:0"]);
    let daemon = Daemon::run(command);
    let (_, rest) = daemon.first_line.split_once(" and ").unwrap();
    let (_, rest) = rest.split_once("://").unwrap();
    let crowded: SocketAddr = rest.split(',').next().unwrap().parse().unwrap();
    let own = daemon.address;
    let crowd: Vec<_> = (0..crowd).map(|_| TcpStream::connect(crowded).unwrap()).collect();
    let is_closed = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    wait_until(PATIENCE, "there is no room for the last ones", || {
        crowd.iter().filter(|stream| is_closed(stream)).count() >= TURNED_AWAY_MAX
    });
    let mut probes: Vec<_> = (0..4).map(|_| RawClient::connect_by(Wire::Plain, own)).collect();
    for probe in &mut probes {
        for (target, status) in [("/healthz", "healthy"), ("/readyz", "ready")] {
            let answer = probe.request(&format!("GET {target}"));
            assert_eq!((answer.status, &answer.json()["status"]), (200, &status.into()));
        }
    }
    drop((crowd, probes));
    daemon.signal(Signal::TERM);
    let log = daemon.rest_of_log();
    // Or the probes had waited for a deadline of the crowd.
    assert!(!log.contains("accepting pauses"), "{log}");
    assert_eq!(daemon.exit_code(), Some(0));
}

#[test]
fn row_50_the_file_limit_is_raised_and_told() {
    // Few enough that files are what counts, and not the memory of this machine.
    let hard = getrlimit(Resource::Nofile).maximum.map_or(1000, |most| most.min(1000));
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -S -n 100; ulimit -H -n {hard}; exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_npchatd"),
    ]);
    let daemon = Daemon::run(&mut command);
    assert!(
        daemon
            .first_line
            .contains(&format!("up to {} connections", hard - RESERVED_FILES))
    );
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid().as_raw_nonzero())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some(hard.to_string().as_str()));
}

#[test]
fn row_47_no_byte_of_a_peer_gets_into_the_log() {
    let daemon = Daemon::start(&["--log", "trace"]);
    let secret = format!("{ID}\x1b[31m");
    for request in [
        format!("GET /{secret} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: h\r\nX-{ID}: {secret}\r\n\r\n"),
        format!("POST /{ID} HTTP/1.1\r\nHost: h\r\nContent-Length: 43\r\n\r\n{ID}"),
        format!("POST /{ID} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {ID}\r\n\r\n"),
        format!("{ID}\r\n\r\n"),
    ] {
        let mut client = RawClient::connect(daemon.address);
        client.send(request.as_bytes());
        client.finish();
        client.read_to_end();
    }
    daemon.signal(Signal::TERM);
    let log = daemon.rest_of_log();
    assert!(log.contains("refused"), "the refusals are there: {log}");
    assert!(!log.contains(ID) && !log.contains('\x1b'), "{log}");
}

#[test]
fn row_48_ids_that_share_their_first_bytes_spread_evenly_over_the_shards() {
    const IDS: u32 = 1_000_000;
    const SHARDS: usize = 64;
    let caps = Caps {
        mailbox_messages: 10,
        mailbox_bytes: 1000,
        sessions: 1,
    };
    let now = Instant::now();
    let mailboxes = Mailboxes::new(caps, SHARDS, [1, 2], Arc::new(Budget::new(u64::MAX)), now);
    let mut wake = Vec::new();
    for number in 0..IDS {
        let mut id = [7; 32];
        id[28..].copy_from_slice(&number.to_be_bytes());
        let id = RecipientId::from_bytes(id);
        mailboxes
            .post(&id, b"x", Retention::Seconds(60), now, &mut wake)
            .unwrap();
    }
    let share = u64::from(IDS) / SHARDS as u64;
    // Six standard deviations of a shard's part of an even spread.
    let bound = 6 * share.isqrt();
    for shard in mailboxes.stats_by_shard() {
        assert!(
            shard.mailboxes.abs_diff(share) < bound,
            "{} where {share} are expected, {bound} more or less",
            shard.mailboxes
        );
    }
}
