//! Connections that wait for their turn, in lists. Whom a worker serves of them, and when, is [`super::rounds`]'.

use std::collections::VecDeque;

use crate::server::token::Token;

/// Connections that are to be served without a further event: those who are in on one of the first three lists at most, and
/// everybody on one of the last two at most.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Their events are of this turn.
    pub(super) news: VecDeque<Token>,
    /// A budget left something over for them: some are served in each turn, whatever events there are.
    pub(super) left_over: VecDeque<Token>,
    /// Sessions that have mail: served last of those who are in, so that all mail that came goes in one write.
    pub(super) mailed: VecDeque<Token>,
    /// Not answered or not logged in yet, with something to do that takes no step of a login or a handshake.
    pub(super) newcomers: VecDeque<Token>,
    /// What they still send is read only to be thrown away.
    pub(super) lingering: VecDeque<Token>,
    /// How much of it there was in this turn.
    pub(super) thrown_away_bytes: usize,
}

impl Rounds {
    /// Whether somebody waits for a turn who is in, or lingers: they are served even when connections hold too much.
    pub(super) fn is_somebody_in(&self) -> bool {
        let waiting = [&self.news, &self.left_over, &self.mailed, &self.lingering];
        waiting.iter().any(|list| !list.is_empty())
    }

    /// Whether nobody waits for a turn.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = [
            &self.news,
            &self.left_over,
            &self.mailed,
            &self.newcomers,
            &self.lingering,
        ];
        waiting.iter().all(|list| list.is_empty())
    }
}
