//! What needs the code under test, or a socket.

mod daemon;
mod http;
mod lent;
mod line;
mod pipe;
mod receiver;
mod start;
mod websocket;

pub use daemon::{Daemon, free_address};
pub use http::{RawClient, post};
pub use lent::{Lent, Piped};
pub use line::{Line, Wire, certificate_files, client_config, client_config_by, fixture};
pub use pipe::Pipe;
pub use receiver::Receiver;
pub use start::{address, patient_timeouts, start, wait_until_confirmed};
pub use websocket::RawWebSocket;
