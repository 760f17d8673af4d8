//! A server in the test's own process, and its clients over real sockets.
//!
//! All of these run at once in one process, each against a server of its own: what a test measures of the process, or
//! sets for it, belongs to a program of its own (`net`, `allocations`) or to a child (`process`).

mod browser;
mod confirmation;
mod connection_memory;
mod dead_peers;
mod delivery;
mod drain;
mod expiry;
mod holders;
mod limits;
mod newcomers;
mod order;
mod rotation;
mod service;
mod sessions;
mod subprotocol;
mod tls;
mod workers;
