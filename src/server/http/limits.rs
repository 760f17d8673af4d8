//! Limits of HTTP, whatever it is spoken for. The unit is last in each name.

/// Longest request head, from the first byte of the request line to the empty line.
pub const HEAD_MAX_BYTES: usize = 8 * 1024;
/// Most header fields in one request.
pub const HEAD_MAX_FIELDS: usize = 64;
/// Longest method. A longer one is none that anybody has registered.
pub const METHOD_MAX_BYTES: usize = 32;
/// Longest request target.
pub const TARGET_MAX_BYTES: usize = 256;
/// Most bytes of chunk extensions in one body (RFC 9112 §7.1.1 asks for a limit on their total).
pub const CHUNK_EXTENSION_MAX_BYTES: usize = 256;
/// Longest trailer section after the last chunk.
pub const TRAILER_MAX_BYTES: usize = 1024;
/// Values of `Sec-WebSocket-Protocol` that are looked at in one request; what further ones offer is not seen.
pub const PROTOCOL_FIELDS_MAX: usize = 4;

const _: () = {
    assert!(METHOD_MAX_BYTES < TARGET_MAX_BYTES);
    assert!(TARGET_MAX_BYTES < HEAD_MAX_BYTES);
    assert!(TRAILER_MAX_BYTES < HEAD_MAX_BYTES);
    assert!(CHUNK_EXTENSION_MAX_BYTES < TRAILER_MAX_BYTES);
};
