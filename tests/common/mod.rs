//! What the tests against a real server share: identities, raw HTTP and WebSocket clients, a client of the field.
//!
//! A client here fails its test instead of returning an error, and waits for nothing longer than [`PATIENCE`].

#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own and uses a part of this"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these fail a test"
)]

mod daemon;
mod http;
mod identity;
mod lent;
mod line;
mod pipe;
mod receiver;
mod server;
mod websocket;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use daemon::{Daemon, free_address};
pub(crate) use http::{RawClient, Response, post, post_request};
pub(crate) use identity::{Challenge, Identity};
pub(crate) use lent::{Lent, Piped};
pub(crate) use line::{Line, Wire, certificate_files, client_config, client_config_by, fixture};
pub(crate) use pipe::Pipe;
pub(crate) use receiver::Receiver;
pub(crate) use server::{address, patient_timeouts, start, wait_until_confirmed};
pub(crate) use websocket::{Frame, OFFER, Opcode, RawWebSocket, upgrade_request, upgrade_request_with};

/// Longest wait for anything that a server should do at once: no test waits so long unless it fails, however slow the
/// machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds, and fails the test with `what` when it doesn't within `deadline`.
#[track_caller]
pub(crate) fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
