//! `ACCEPTANCE.md` beside this file against a real listening server, over raw sockets: tests for each row, listed by
//! its number.
//!
//! Row 49, and the configuration of row 45, are the command line's: `tests/process/options.rs`. The same tests run over
//! TLS as `tests/acceptance_tls.rs`; rows 8, 15 and 16 for handshakes are in `tests/server/tls`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and its output tells the case"
)]

mod harness;
mod http_parsing;
mod reader;
mod rows_01_to_09_heads;
mod rows_10_to_17_requests;
mod rows_18_to_20_mailboxes;
mod rows_21_to_30_frames;
mod rows_31_to_39_logins;
mod rows_40_to_46_faults;
mod rows_42_to_50_pressure;
mod rows_51_to_53_mail;
