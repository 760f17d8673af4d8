//! Limits of a WebSocket, whatever it is spoken for. The unit is last in each name.

/// Fragments that one WebSocket message may come in, whatever its size.
pub const FRAGMENTS_PER_MESSAGE: u32 = 1024;
/// A message may come in one fragment more for each so many bytes: much in small pieces is no flood.
pub const FRAGMENT_EARNED_EACH_BYTES: u64 = 64;
/// Control frames that a connection may send in a burst, and how many it earns back each second.
pub const CONTROL_FRAMES_BURST: u32 = 64;
/// Control frames a second that a connection may send for ever.
pub const CONTROL_FRAMES_PER_SECOND: u32 = 16;
/// Read buffer of a WebSocket context: enough for a login answer's pieces, allocated only while input is pending.
pub const WEBSOCKET_READ_BUFFER_BYTES: usize = 256;
