//! HTTP/1.1 in bytes and values: the head of a request, its body, and the answers (RFC 9112, PROTOCOL.md part 1).
//!
//! No socket, no clock, and no decision what a request means: routing and mailboxes are the callers'.

pub mod body;
pub mod head;
pub mod response;
pub mod target;
pub mod upgrade;

mod fields;

pub use body::{BodyDecoder, Decoded, Progress};
pub use head::{Framing, HeadScanner, Method, RequestHead};
pub use response::{Detail, HttpDate, Reply};
pub use target::Target;
pub use upgrade::Upgrade;
