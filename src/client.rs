//! What a client of npchat needs besides a connection: who somebody is, and what is sealed into a message.
//!
//! Everything here takes bytes and returns values: no socket, no clock, no state of a conversation. It is built on
//! [`crate::protocol`] alone; the server isn't needed, and never looks into a message.
//!
//! | module | what lives there |
//! |---|---|
//! | [`names`] | names and origins of people, as cards and messages carry them |
//! | [`keys`] | public keys that are known to be points of the curve |
//! | [`content`] | what is inside a message: text, file, acknowledgements, requests |

pub mod content;
pub mod keys;
pub mod names;
