//! What tests, benches, fuzz targets and the simulator share: frames, answers and identities of a second opinion, and
//! with the feature `server` servers, workers without a socket, and clients.
//!
//! A client here fails its test instead of returning an error, and waits for nothing longer than [`PATIENCE`].
#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails fails its test, and names say what most of them do"
)]

mod answers;
mod frames;
mod identity;
mod random;
mod requests;
#[cfg(feature = "server")]
mod server;

use std::thread;
use std::time::{Duration, Instant};

pub use answers::Response;
pub use frames::{Frame, Opcode, write_frame, write_masked};
pub use identity::{Challenge, Identity};
pub use random::Random;
pub use requests::{ACCEPT, OFFER, post_request, upgrade_request, upgrade_request_with};

#[cfg(feature = "server")]
pub use server::*;

/// Longest wait for anything that a server should do at once: no test waits so long unless it fails, however slow the
/// machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds, and fails the test with `what` when it doesn't within `deadline`.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
