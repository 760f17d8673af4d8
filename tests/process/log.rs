//! The log where nothing reads it: a full disk, a reader that has gone, a full pipe. Nothing waits for stderr,
//! nothing fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these fail a test, or are what it is about"
)]
#![expect(clippy::print_stderr, reason = "a skipped test is reported")]

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, panic, process, thread};

use npchat::server::limits::{LOG_QUEUE_BYTES, LOG_REPEAT_SECONDS};
use rustix::io::ioctl_fionbio;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use testkit::{Daemon, Identity, PATIENCE, RawClient, Receiver, free_address, post, post_request, wait_until};
use tracing::level_filters::LevelFilter;

/// A request that is refused with a line at the level `debug`, and keeps its connection.
const REFUSED: &str = "POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
/// What names the line of such a refusal.
const REFUSED_LINE: &str = "method_not_allowed";
/// At least so long is that line.
const REFUSED_LINE_BYTES: usize = 60;
/// More than a pipe holds by default.
const PIPE_BYTES: usize = 64 * 1024;

/// A pipe that takes no more, and whose writers wait.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    // In single bytes at last, for it takes small pieces where it has no room for a large one.
    for piece in [4096, 1] {
        while writer.write(&vec![b'\n'; piece]).is_ok() {}
    }
    ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

fn broken_pipe() -> PipeWriter {
    io::pipe().unwrap().1
}

/// `None` where there is no such device, which is reported.
fn full_disk() -> Option<File> {
    let file = OpenOptions::new().write(true).open("/dev/full");
    file.inspect_err(|error| eprintln!("SKIPPED: /dev/full: {error}")).ok()
}

fn daemon(stderr: impl Into<Stdio>, options: &[&str]) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npchatd"));
    command.args(["--log", "trace"]).args(options).stderr(stderr.into());
    Daemon::run_unheard(&mut command, free_address())
}

/// Has so many lines logged, and every request answered.
fn refuse(daemon: &Daemon, count: usize) {
    const AT_ONCE: usize = 50;
    let mut client = RawClient::connect(daemon.address);
    for _ in 0..count.div_ceil(AT_ONCE) {
        client.send(REFUSED.repeat(AT_ONCE));
        for _ in 0..AT_ONCE {
            assert_eq!(client.read_response().status, 405);
        }
    }
}

/// It serves, logging, and ends in order.
fn serves_and_stops(daemon: Daemon) {
    refuse(&daemon, 1000);
    let alice = Identity::generate();
    let mut session = Receiver::connect(daemon.address, &alice);
    daemon.signal(Signal::USR1);
    daemon.signal(Signal::HUP);
    assert_eq!(RawClient::connect(daemon.address).request("GET /healthz").status, 200);
    assert_eq!(post(daemon.address, &alice.id, "still here").status, 200);
    assert_eq!(session.recv_bytes(), b"still here");
    daemon.signal(Signal::TERM);
    assert_eq!(session.expect_close(), 1012);
    assert_eq!(daemon.exit_code(), Some(0));
}

#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    if let Some(file) = full_disk() {
        serves_and_stops(daemon(file, &["--drain", "5m"]));
    }
}

#[test]
fn a_log_whose_reader_has_gone_ends_nothing() {
    serves_and_stops(daemon(broken_pipe(), &["--drain", "5m"]));
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_workers_nor_the_end() {
    let (_reader, writer) = full_pipe();
    serves_and_stops(daemon(writer, &["--drain", "5m"]));
}

#[test]
fn a_second_signal_ends_the_program_at_once_while_nobody_reads_its_log() {
    let (_reader, writer) = full_pipe();
    let daemon = daemon(writer, &["--drain", "5m"]);
    let mut holding = RawClient::connect(daemon.address);
    // So much of it that the server waits for the rest for a minute.
    let path = format!("/{}", Identity::generate().id);
    let request = post_request(daemon.address, &path, "", vec![b'x'; 60_000]);
    holding.send(&request[..request.len() - 1]);
    daemon.signal(Signal::TERM);
    wait_until(PATIENCE, "the drain has begun", || {
        TcpStream::connect(daemon.address).is_err()
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code(), Some(128 + 15));
}

#[test]
fn a_failed_start_ends_though_nobody_reads_its_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_reader, writer) = full_pipe();
    let mut child = Command::new(env!("CARGO_BIN_EXE_npchatd"))
        .args(["--listen", &taken.local_addr().unwrap().to_string()])
        .stderr(writer)
        .spawn()
        .unwrap();
    assert_eq!(exit_code(&mut child), Some(1));
}

#[test]
fn lines_dropped_while_nobody_reads_are_counted_when_somebody_does() {
    let lines = 2 * (PIPE_BYTES + 2 * LOG_QUEUE_BYTES) / REFUSED_LINE_BYTES;
    let (mut reader, writer) = full_pipe();
    let daemon = daemon(writer, &[]);
    refuse(&daemon, lines);
    let log = thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).map(|_| log)
    });
    refuse(&daemon, 50);
    assert_eq!(daemon.finish(), Some(0));
    let log = log.join().unwrap().unwrap();
    let dropped = log
        .lines()
        .filter_map(|line| line.split_once("dropped_lines=")?.1.parse::<usize>().ok());
    let dropped: usize = dropped.sum();
    let written = log.matches(REFUSED_LINE).count();
    assert!(dropped > 0, "some were dropped");
    assert!(
        written + dropped >= lines,
        "{written} written, {dropped} dropped, {lines} at least"
    );
    assert!(log.ends_with('\n'));
}

#[test]
fn accepting_that_pauses_again_and_again_is_logged_once_a_minute() {
    const FILES: u64 = 100;
    const CLIENTS: usize = 100;
    let begun = Instant::now();
    let daemon = Daemon::start(&[]);
    let limit = Rlimit {
        current: Some(FILES),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Some(daemon.pid()), Resource::Nofile, limit).unwrap();
    let mut waiting: Vec<_> = (0..CLIENTS).map(|_| RawClient::connect(daemon.address)).collect();
    for client in &mut waiting {
        client.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    daemon.wait_for_line("accepting pauses");
    let mut served = Vec::new();
    while !waiting.is_empty() {
        // Each that goes lets another one in, and then accepting fails again.
        served.pop();
        let before = served.len();
        wait_until(PATIENCE, "another one is served", || {
            let is_served = |client: &mut RawClient| client.hears_within(Duration::from_millis(1));
            served.extend(waiting.extract_if(.., is_served));
            served.len() > before
        });
        let answers = served[before..].iter_mut().map(|client| client.read_response().status);
        assert!(answers.into_iter().all(|status| status == 200));
    }
    daemon.signal(Signal::TERM);
    let repeated = daemon.rest_of_log().matches("accepting pauses").count() as u64;
    assert!(
        repeated <= begun.elapsed().as_secs() / LOG_REPEAT_SECONDS,
        "{repeated} more lines"
    );
}

/// Set in a process that is to log panics, and nothing else.
const PANICKING: &str = "NPCHAT_TEST_PANICKING";
const SURVIVED: i32 = 7;

#[test]
fn a_panic_is_logged_once_by_its_place_and_ends_nothing_whatever_stderr_is() {
    if env::var_os(PANICKING).is_some() {
        panic_and_survive();
    }
    let mut child = panicking(Stdio::piped());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(exit_code(&mut child), Some(SURVIVED), "{log}");
    assert_eq!(log.matches("panic at tests/process/log.rs:").count(), 2, "{log}");
    assert!(!log.contains("secret") && log.contains("suppressed=0"), "{log}");

    let (_reader, writer) = full_pipe();
    assert_eq!(exit_code(&mut panicking(writer)), Some(SURVIVED));
    assert_eq!(exit_code(&mut panicking(broken_pipe())), Some(SURVIVED));
    if let Some(file) = full_disk() {
        assert_eq!(exit_code(&mut panicking(file)), Some(SURVIVED));
    }
}

/// This test in a process of its own.
fn panicking(stderr: impl Into<Stdio>) -> Child {
    let test = "log::a_panic_is_logged_once_by_its_place_and_ends_nothing_whatever_stderr_is";
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PANICKING, "")
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

fn panic_and_survive() -> ! {
    let guard = npchat::server::log::start(LevelFilter::INFO).unwrap();
    for _ in 0..1000 {
        assert!(panic::catch_unwind(|| panic!("a secret")).is_err());
    }
    assert!(panic::catch_unwind(|| panic!("another secret")).is_err());
    tracing::info!("still here");
    drop(guard);
    process::exit(SURVIVED);
}

/// `None` if a signal was the end.
fn exit_code(child: &mut Child) -> Option<i32> {
    let mut status = None;
    wait_until(PATIENCE, "the program has ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let status = status.unwrap();
    assert_eq!(status.signal(), None, "{status}");
    status.code()
}
