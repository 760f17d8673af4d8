//! TLS as clients see it: versions, keys, resumption, ends of connections, and certificates that are renewed.
//!
//! What is said over it is tested by `tests/acceptance_tls.rs`, the rows of ACCEPTANCE.md once more.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a helper that fails fails its test, and what is skipped is told"
)]

mod ends;
mod handshakes;
mod programs;
mod renewal;
mod state;

use npchat::server::Server;
use npchat::server::config::{Config, Endpoint, Listen, Scheme};
use testkit::{certificate_files, start};

/// Starts a server that speaks TLS with this certificate of the fixtures, its defaults changed by `tweak`.
fn start_with(certificate: &str, tweak: impl FnOnce(&mut Config)) -> Server {
    start(|config| {
        config.certificate = Some(certificate_files(certificate));
        tweak(config);
    })
}

fn start_tls() -> Server {
    start_with("localhost", |_| {})
}

/// An endpoint of this scheme on a free port.
fn free_port(scheme: Option<Scheme>) -> Endpoint {
    Endpoint {
        scheme,
        ..Endpoint::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

fn listen(endpoints: &[Endpoint]) -> Listen {
    Listen::Addresses(endpoints.to_vec())
}
