//! How a connection ends: its last output goes out, our side is ended, the peer's rest is read and discarded, bounded.
//!
//! Closing a socket with unread input makes the kernel send a reset, which can destroy the last answer on its way to the
//! peer (RFC 9112 §9.6).

use std::time::Instant;

use super::Step;
use crate::config::Timeouts;
use crate::limits::{LINGER_AFTER_FLOOD_MAX_BYTES, LINGER_MAX_BYTES};
use crate::refusal::CloseReason;
use crate::session::write_failure;
use crate::websocket::write_close;

/// The last stage of a connection.
#[derive(Debug)]
pub(super) struct Closing {
    reason: CloseReason,
    phase: Phase,
    discarded_bytes: usize,
    /// The peer has ended its side, or said that nothing more will come: there is nothing to linger for.
    input_ended: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The last output goes out; the write stall bounds it.
    Flush,
    /// Our side has ended; the peer may take note.
    Linger { until: Instant },
    /// Nothing more is to be done.
    Over,
}

impl Closing {
    /// Closes once all output is taken.
    pub(super) fn after_output(reason: CloseReason) -> Self {
        Self {
            reason,
            phase: Phase::Flush,
            discarded_bytes: 0,
            input_ended: false,
        }
    }

    /// Closes once all output is taken, without waiting for the peer, which has said its last word: after both Close frames
    /// the server is to close first (RFC 6455 §7.1.1).
    pub(super) fn after_last_word(reason: CloseReason) -> Self {
        Self {
            input_ended: true,
            ..Self::after_output(reason)
        }
    }

    /// Closes at once.
    pub(super) fn over(reason: CloseReason) -> Self {
        Self {
            reason,
            phase: Phase::Over,
            discarded_bytes: 0,
            input_ended: true,
        }
    }

    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
        if let Phase::Linger { .. } = self.phase {
            self.phase = Phase::Over;
        }
    }

    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Over;
    }

    pub(super) fn discard(&mut self, bytes: usize) {
        self.discarded_bytes = self.discarded_bytes.saturating_add(bytes);
        let most = if self.reason == CloseReason::FrameFlood {
            LINGER_AFTER_FLOOD_MAX_BYTES
        } else {
            LINGER_MAX_BYTES
        };
        if self.discarded_bytes > most {
            self.phase = Phase::Over;
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        !self.input_ended
    }

    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Linger { .. })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Linger { until } => Some(until),
            Phase::Flush | Phase::Over => None,
        }
    }

    pub(super) fn next_step(&mut self, all_sent: bool, now: Instant, timeouts: &Timeouts) -> Step {
        match self.phase {
            Phase::Flush if !all_sent => Step::Wait,
            Phase::Flush if self.input_ended => Step::Free(self.reason),
            Phase::Flush => {
                self.phase = Phase::Linger {
                    until: now + timeouts.linger,
                };
                Step::HalfClose
            }
            Phase::Linger { .. } => Step::Wait,
            Phase::Over => Step::Free(self.reason),
        }
    }
}

/// Says the last words over a WebSocket.
pub(super) fn write_farewell(out: &mut Vec<u8>, reason: CloseReason) {
    if reason.is_login_failure() {
        write_failure(out, reason);
    }
    write_close(out, reason);
}
