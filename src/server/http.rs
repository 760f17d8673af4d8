//! HTTP/1.1 in bytes and values: the head of a request, its body, and the parts of an answer (RFC 9112).
//!
//! No socket, no clock, no decision what a request means, and nothing that isn't HTTP's own.

pub mod body;
pub mod error;
pub mod head;
pub mod limits;
pub mod message;
pub mod response;
pub mod target;
pub mod upgrade;

mod fields;

pub use body::{BodyDecoder, BodyProgress, Decoded};
pub use error::HttpError;
pub use head::{HeadScanner, RequestHead};
pub use message::{Framing, Method, Once};
pub use response::{HttpDate, Reply};
pub use target::Target;
pub use upgrade::Upgrade;
