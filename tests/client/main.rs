//! The client's library from outside: identities, cards and envelopes against vectors of independent programs, against
//! altered and misdirected envelopes, and against a browser's cryptography.

#![expect(clippy::unwrap_used, reason = "these fail a test")]
#![cfg(feature = "client")]

mod envelope1;
mod envelope2;
mod hpke;
mod people;
mod vectors;
mod webcrypto;
