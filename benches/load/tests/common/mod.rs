//! What the tests of the load generator share: a server in the test's own process, on a port of its own, and a run of
//! the program.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]
#![expect(clippy::expect_used, clippy::panic, reason = "these fail a test")]

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use npchat::server::Server;
use npchat::server::config::{CertificateFiles, Config, Listen, Timeouts};
use serde_json::Value;

/// Longer than any test takes: no client is too late for this, and no message expires.
const AGES: Duration = Duration::from_secs(3600);

/// Starts a server of two workers on a free port of 127.0.0.1, changed by `tweak`. No client misses its deadlines.
pub(crate) fn start(tweak: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers: 2,
        message_ttl: AGES,
        drain: AGES,
        timeouts: Timeouts {
            head: AGES,
            body_grace: AGES,
            message_grace: AGES,
            keep_alive: AGES,
            login: AGES,
            write_stall: AGES,
            pong: AGES,
            ..Timeouts::default()
        },
        ..Config::default()
    };
    tweak(&mut config);
    Server::start(&config).expect("the server starts")
}

/// Where it listens.
pub(crate) fn address(server: &Server) -> SocketAddr {
    *server.addresses().first().expect("the server has an address")
}

/// A certificate of the server's own fixtures, and its key.
pub(crate) fn certificate_files(name: &str) -> CertificateFiles {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    CertificateFiles {
        certificate: fixtures.join(format!("{name}.cert.pem")),
        private_key: fixtures.join(format!("{name}.key.pem")),
    }
}

/// Waits until `condition` holds, and fails the test with `what` when it doesn't within `deadline`.
#[track_caller]
pub(crate) fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Longest that a run in small may take, on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of a run.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    /// `Null` if it told nothing.
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
