//! A real server for a test, on a port of its own.
//!
//! Dropping it stops it at once, so that a test that fails leaves nothing behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use npchat::server::Server;
use npchat::server::config::{Config, Listen, Timeouts};

use super::{Receiver, Wire, certificate_files};
use crate::{PATIENCE, wait_until};

/// Longer than any test takes: no client is too late for this, and no message expires.
const AGES: Duration = Duration::from_secs(3600);

/// Deadlines that no client misses on a slow machine. Those that only bound how long a connection's end takes are as
/// usual.
pub fn patient_timeouts() -> Timeouts {
    Timeouts {
        head: AGES,
        body_grace: AGES,
        post: AGES,
        message_grace: AGES,
        keep_alive: AGES,
        login: AGES,
        write_stall: AGES,
        pong: AGES,
        ..Timeouts::default()
    }
}

/// Starts a server of two workers on a free port of 127.0.0.1, changed by `tweak`. Unless that says otherwise it has
/// the default configuration, but for deadlines: a test that is about one sets it.
pub fn start(tweak: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers: 2,
        message_ttl: AGES,
        drain: AGES,
        timeouts: patient_timeouts(),
        // Much, so that no server finds the other tests of its process above its bound.
        connection_memory: Some(1 << 30),
        certificate: (Wire::here() == Wire::Tls).then(|| certificate_files("localhost")),
        ..Config::default()
    };
    tweak(&mut config);
    Server::start(&config).expect("the server starts")
}

/// Waits until it holds no message, with these receivers answering its pings.
#[track_caller]
pub fn wait_until_confirmed(server: &Server, receivers: &mut [Receiver]) {
    wait_until(PATIENCE, "all mail is confirmed", || {
        receivers.iter_mut().for_each(Receiver::tend);
        server.stats().messages == 0
    });
}

/// Where it listens.
pub fn address(server: &Server) -> SocketAddr {
    *server.addresses().first().expect("the server has an address")
}
