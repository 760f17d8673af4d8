//! The memory of all mailboxes: equal segments, each lent to one shard at a time, and charged to the budget while it
//! is.
//!
//! What lies in a segment is its shard's. Since all segments are equal, what one message has left any other can use.

use std::fmt;
use std::sync::Arc;

use crate::server::limits::{SEGMENT_MAX_BYTES, SEGMENT_MIN_BYTES, SEGMENTS_PER_SHARD};

use super::budget::Budget;
use super::segment::{LINE_BYTES, Segment};

/// Where segments come from and go to: those that no shard holds are in the [`Budget`], and more are made only while
/// there is none. So all of them together never take more than the budget allows. Vacant ones go back to the allocator
/// little by little ([`Pool::trim`]).
pub(super) struct Pool {
    segment_lines: usize,
    budget: Arc<Budget>,
}

impl Pool {
    /// No segments, of a size of which the budget has room for [`SEGMENTS_PER_SHARD`] in each of `shards`.
    pub(super) fn new(budget: Arc<Budget>, shards: usize) -> Self {
        let share = budget.limit() / (shards.max(1) * SEGMENTS_PER_SHARD) as u64;
        let bytes = usize::try_from(share).unwrap_or(usize::MAX);
        let bytes = bytes.clamp(SEGMENT_MIN_BYTES, SEGMENT_MAX_BYTES);
        Self {
            segment_lines: (1 << bytes.ilog2()) / LINE_BYTES,
            budget,
        }
    }

    /// Lines of a segment, a power of two.
    pub(super) fn segment_lines(&self) -> usize {
        self.segment_lines
    }

    /// Charges `count` segments, which are then there for [`Pool::take`]; `false`, and nothing charged, if there is no
    /// room.
    pub(super) fn try_charge(&self, count: usize) -> bool {
        self.budget.try_charge(self.bytes_of(count))
    }

    /// Charges `count` segments even where there is no room for them: for what must be possible when no memory is left.
    pub(super) fn charge(&self, count: usize) {
        self.budget.charge(self.bytes_of(count));
    }

    /// A segment that has been charged, with anything in it.
    pub(super) fn take(&self) -> Segment {
        self.budget
            .take_vacant()
            .unwrap_or_else(|| bytemuck::zeroed_slice_box(self.segment_lines))
    }

    /// Takes a segment back, and what was charged for it.
    pub(super) fn give_back(&self, segment: Segment) {
        self.budget.release(self.bytes_of(1));
        self.budget.keep_vacant(segment);
    }

    /// Gives a sixteenth of the vacant segments back to the allocator, one at least if there is any.
    pub(super) fn trim(&self) {
        self.budget.drop_vacant(self.budget.vacant().div_ceil(16));
    }

    /// Gives all vacant segments back to the allocator.
    pub(super) fn trim_all(&self) {
        self.budget.drop_vacant(self.budget.vacant());
    }

    /// Bytes that so many segments are charged.
    pub(super) fn bytes_of(&self, segments: usize) -> u64 {
        (segments * self.segment_lines * LINE_BYTES) as u64
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("vacant", &self.budget.vacant())
            .field("segment_lines", &self.segment_lines)
            .finish_non_exhaustive()
    }
}
