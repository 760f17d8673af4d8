//! A real server for a test, on a port of its own.
//!
//! Dropping it stops it at once, so that a test that fails leaves nothing behind.

use std::net::{Ipv4Addr, SocketAddr};

use npchat::config::{Config, Listen};
use npchat::server::Server;

use super::line::{Wire, certificate_files};
use super::{PATIENCE, Receiver, wait_until};

/// Starts a server of two workers on a free port of 127.0.0.1, its defaults changed by `tweak`.
pub(crate) fn start(tweak: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers: 2,
        certificate: (Wire::HERE == Wire::Tls).then(|| certificate_files("localhost")),
        ..Config::default()
    };
    tweak(&mut config);
    Server::start(&config).expect("the server starts")
}

/// Waits until it holds no message, with these receivers answering its pings.
#[track_caller]
pub(crate) fn wait_until_confirmed(server: &Server, receivers: &mut [Receiver]) {
    wait_until(PATIENCE, "all mail is confirmed", || {
        receivers.iter_mut().for_each(Receiver::tend);
        server.stats().messages == 0
    });
}

/// Where it listens.
pub(crate) fn address(server: &Server) -> SocketAddr {
    *server.addresses().first().expect("the server has an address")
}
