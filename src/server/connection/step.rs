//! What a connection asks of the holder of its socket.

use crate::server::refusal::CloseReason;

/// What the socket needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: wait for an event, mail or the deadline.
    Wait,
    /// End our side of the stream, then ask again.
    HalfClose,
    /// The connection is over: close the socket, free the slot.
    Free(CloseReason),
}
