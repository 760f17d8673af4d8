//! What is asked of the mailboxes and what they answer: caps, room, how long a message may wait, counts.

/// What one mailbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Messages waiting.
    pub mailbox_messages: u32,
    /// Sum of the bodies of its messages, in bytes.
    pub mailbox_bytes: u32,
    /// Live sessions, see [`SESSIONS_PER_MAILBOX`](crate::server::limits::SESSIONS_PER_MAILBOX).
    pub sessions: usize,
}

/// How much a session has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Sum of the bodies of these messages, in bytes.
    pub bytes: usize,
}

impl Room {
    /// Room for nothing.
    pub const NONE: Self = Self { messages: 0, bytes: 0 };

    /// Any number of messages, as far as their bodies fit.
    #[must_use]
    pub const fn of_bytes(bytes: usize) -> Self {
        Self {
            messages: usize::MAX,
            bytes,
        }
    }
}

/// How long a message is kept, as asked for and as granted (PROTOCOL.md part 1, Sending).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Until it is acknowledged, for at most so many seconds from now. Zero is the same as [`Retention::LiveOnly`].
    /// Counts as less where the deadline would be more than 136 years after the epoch.
    Seconds(u32),
    /// It isn't stored: only sessions that are attached now are given it, within
    /// [`LIVE_ONLY_HOLD_SECONDS`](crate::server::limits::LIVE_ONLY_HOLD_SECONDS).
    LiveOnly,
}

/// Why a message isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostError {
    /// The mailbox is at one of its [`Caps`].
    MailboxFull,
    /// The memory budget of all mailboxes is spent.
    BudgetSpent,
}

/// The mailbox has as many sessions as [`Caps::sessions`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySessions;

/// What [`Attachment::take`](super::Attachment::take) has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// No mail is left: a post will wake this session.
    All,
    /// More mail is left.
    More,
    /// More mail is left, which is given once all that was given is confirmed: sessions have ended with the next
    /// message, or with one that this session was given.
    AwaitsAcknowledgement,
    /// What is left doesn't matter: the session is more than a window behind another one, and is to be closed.
    Lagging,
}

/// What all mailboxes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Mailboxes with a message or a session.
    pub mailboxes: u64,
    /// Messages, expired ones that aren't freed yet included.
    pub messages: u64,
    /// Attached sessions.
    pub sessions: u64,
}
