//! The segments that mail lies in, and the lines that they are made of.

use bytemuck::{Pod, Zeroable};

/// A cache line: the unit that segments are made of.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; 8]);

/// Bytes of a [`Line`].
pub(super) const LINE_BYTES: usize = size_of::<Line>();

/// A segment. An empty slice stands for one that has been given back.
pub(super) type Segment = Box<[Line]>;
