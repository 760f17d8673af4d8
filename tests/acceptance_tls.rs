//! ACCEPTANCE.md once more, over TLS: the tests of `tests/acceptance`, each connection of which is a TLS connection
//! here. That follows from the name of this program.
//!
//! What comes before a request, the rows for handshakes, is tested in `tests/server/tls`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and its output tells the case"
)]

#[path = "acceptance/harness.rs"]
mod harness;
#[path = "acceptance/reader.rs"]
mod reader;
#[path = "acceptance/rows_01_to_09_heads.rs"]
mod rows_01_to_09_heads;
#[path = "acceptance/rows_10_to_17_requests.rs"]
mod rows_10_to_17_requests;
#[path = "acceptance/rows_18_to_20_mailboxes.rs"]
mod rows_18_to_20_mailboxes;
#[path = "acceptance/rows_21_to_30_frames.rs"]
mod rows_21_to_30_frames;
#[path = "acceptance/rows_31_to_39_logins.rs"]
mod rows_31_to_39_logins;
#[path = "acceptance/rows_40_to_46_faults.rs"]
mod rows_40_to_46_faults;
#[path = "acceptance/rows_42_to_50_pressure.rs"]
mod rows_42_to_50_pressure;
#[path = "acceptance/rows_51_to_53_mail.rs"]
mod rows_51_to_53_mail;

/// As its name has it: a server and clients without TLS would pass the rows as well.
#[test]
fn this_program_speaks_tls() {
    assert_eq!(testkit::Wire::here(), testkit::Wire::Tls);
}
