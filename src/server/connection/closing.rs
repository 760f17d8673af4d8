//! How a connection ends: its last output goes out, our side is ended, the peer's rest is read and discarded, bounded.
//!
//! Closing a socket with unread input makes the kernel send a reset, which can destroy the last answer on its way to
//! the peer (RFC 9112 §9.6). Over a WebSocket the peer's Close ends that, and before it our side isn't ended either: a
//! client that sees the end of the stream while it still has its Close to send reports a failure (RFC 6455 §7.1.1).

use std::time::{Duration, Instant};

use super::step::Step;
use crate::server::context::Context;
use crate::server::limits::{DRAIN_LINGER_SECONDS, LINGER_AFTER_FLOOD_MAX_BYTES, LINGER_MAX_BYTES};
use crate::server::refusal::CloseReason;
use crate::server::session::write_failure;
use crate::server::websocket::{CloseFinder, write_close};

/// The last stage of a connection.
#[derive(Debug)]
pub(super) struct Closing {
    reason: CloseReason,
    phase: ClosingPhase,
    discarded_bytes: usize,
    /// The peer has ended its side, or said that nothing more will come: there is nothing to linger for.
    input_ended: bool,
    /// Over a WebSocket that we close first: what finds the peer's Close.
    peer_close: Option<CloseFinder>,
}

#[derive(Debug, Clone, Copy)]
enum ClosingPhase {
    /// The last output goes out; the write stall bounds it.
    Flush,
    /// Our side has ended, or our Close has gone; the peer may take note.
    Linger { until: Instant },
    /// Nothing more is to be done.
    Over,
}

impl Closing {
    /// Closes once all output is taken.
    pub(super) fn after_output(reason: CloseReason) -> Self {
        Self {
            reason,
            phase: ClosingPhase::Flush,
            discarded_bytes: 0,
            input_ended: false,
            peer_close: None,
        }
    }

    /// Closes once all output, whose last is our Close, is taken and the peer's Close has come.
    pub(super) fn after_close(reason: CloseReason, mut peer_close: CloseFinder) -> Self {
        Self {
            // The Close that has come may be what the connection ends for.
            input_ended: peer_close.find(&[]),
            peer_close: Some(peer_close),
            ..Self::after_output(reason)
        }
    }

    /// Closes once all output is taken, without waiting for the peer, which has said its last word: after both Close
    /// frames the server is to close first (RFC 6455 §7.1.1).
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
            phase: ClosingPhase::Over,
            discarded_bytes: 0,
            input_ended: true,
            peer_close: None,
        }
    }

    /// The server is stopping: the peer has less time left.
    pub(super) fn drain(&mut self, now: Instant) {
        if let ClosingPhase::Linger { until } = &mut self.phase {
            *until = (*until).min(now + DRAIN_LINGER);
        }
    }

    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
        if let ClosingPhase::Linger { .. } = self.phase {
            self.phase = ClosingPhase::Over;
        }
    }

    pub(super) fn give_up(&mut self) {
        self.phase = ClosingPhase::Over;
    }

    pub(super) fn discard(&mut self, input: &[u8]) {
        self.discarded_bytes = self.discarded_bytes.saturating_add(input.len());
        let most = if self.reason == CloseReason::FrameFlood {
            LINGER_AFTER_FLOOD_MAX_BYTES
        } else {
            LINGER_MAX_BYTES
        };
        if self.discarded_bytes > most {
            self.phase = ClosingPhase::Over;
        } else if self.peer_close.as_mut().is_some_and(|finder| finder.find(input)) {
            self.end_input();
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        !self.input_ended
    }

    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, ClosingPhase::Linger { .. })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            ClosingPhase::Linger { until } => Some(until),
            ClosingPhase::Flush | ClosingPhase::Over => None,
        }
    }

    pub(super) fn next_step<S>(&mut self, all_sent: bool, context: &Context<'_, S>) -> Step {
        match self.phase {
            ClosingPhase::Flush if !all_sent => Step::Wait,
            ClosingPhase::Flush if self.input_ended => Step::Free(self.reason),
            ClosingPhase::Flush => {
                let is_draining = context.store.is_draining();
                let most = if is_draining { DRAIN_LINGER } else { Duration::MAX };
                self.phase = ClosingPhase::Linger {
                    until: context.now + context.timeouts.linger.min(most),
                };
                if self.peer_close.is_some() {
                    Step::Wait
                } else {
                    Step::HalfClose
                }
            }
            ClosingPhase::Linger { .. } => Step::Wait,
            ClosingPhase::Over => Step::Free(self.reason),
        }
    }
}

const DRAIN_LINGER: Duration = Duration::from_secs(DRAIN_LINGER_SECONDS);

/// Says the last words over a WebSocket.
pub(super) fn write_farewell(out: &mut Vec<u8>, reason: CloseReason) {
    if reason.is_login_failure() {
        write_failure(out, reason);
    }
    write_close(out, reason.close_code(), reason.code());
}
