//! A server for a test of the load generator, in the test's own process, on a port of its own.

#![expect(clippy::expect_used, reason = "these fail a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use npchat::server::Server;
use npchat::server::config::{CertificateFiles, Config, Listen, Timeouts};

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
