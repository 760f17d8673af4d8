//! What is written by many workers, kept off the cache lines of its neighbours.

/// Keeps what different workers write apart: two cache lines, for they are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);
