//! What both sides of the wire say: ids and keys, the login in both directions, hosts (PROTOCOL.md).
//!
//! No server type, no socket and no clock: a client is built from this without the server.

pub mod authority;
pub mod error;
pub mod host;
pub mod id;
pub(crate) mod json;
pub mod login;
pub mod signature;
