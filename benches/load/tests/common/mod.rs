//! What the tests of the load generator share: a server in the test's own process, on a port of its own, and a run of
//! the program.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]
#![expect(clippy::expect_used, clippy::panic, reason = "these fail a test")]

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use npchat::server::Server;
use serde_json::Value;
use testkit::{address, start, wait_until};

/// Longest that a run in small may take, on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of a run.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    /// `Null` if it reported nothing.
    pub(crate) report: Value,
    pub(crate) stderr: String,
}

impl Run {
    /// A measure of the server's section.
    #[track_caller]
    pub(crate) fn measure(&self, name: &str) -> f64 {
        let measure = self.report["measured"]["server"][name].as_f64();
        measure.unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    /// A count of the server's section.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let count = self.report["measured"]["server"][name].as_u64();
        count.unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    #[track_caller]
    pub(crate) fn assert_faultless(&self) {
        assert_eq!(self.code, Some(0), "{} {}", self.report, self.stderr);
        let faults = self.report["faults"].as_object().expect("the faults");
        assert_eq!(faults.len(), 8);
        assert!(faults.values().all(|count| count == 0), "{}", self.report);
        assert_eq!(self.report["first_fault"], Value::Null);
    }
}

/// Runs it with these options, `--json` and `--quiet`.
#[track_caller]
pub(crate) fn bench(server: SocketAddr, options: &str) -> Run {
    run(&format!("{options} --url http://{server} --json --quiet"))
}

#[track_caller]
pub(crate) fn run(options: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_npchat-bench"))
        .args(options.split_ascii_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let read = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("it tells text");
            text
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = read(Box::new(child.stderr.take().expect("a pipe")));
    let mut status = None;
    wait_until(PATIENCE, options, || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    let text = stdout.join().expect("all was read");
    Run {
        code: status.and_then(|status| status.code()),
        report: serde_json::from_str(&text).unwrap_or_default(),
        stderr: stderr.join().expect("all was read"),
    }
}

pub(crate) fn server() -> (Server, SocketAddr) {
    let server = start(|_| {});
    let address = address(&server);
    (server, address)
}

/// A server that takes as much as any machine posts in a few seconds.
pub(crate) fn boundless_server() -> (Server, SocketAddr) {
    let server = start(|config| {
        config.mailbox_messages = 1_000_000_000;
        config.mailbox_bytes = u32::MAX;
        config.memory = 1 << 40;
    });
    let address = address(&server);
    (server, address)
}

/// Copies both ways until the client has no more.
pub(crate) fn pass_on(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Write)
}
