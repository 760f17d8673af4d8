//! What an account asks its caller to do, and what the caller reports back.

use crate::client::content::MessageHash;
use crate::client::records::Change;
use crate::protocol::id::RecipientId;

/// What is to be done after a call, in this order.
#[derive(Debug, Default)]
#[must_use = "what isn't stored is lost"]
pub struct Output {
    /// To be stored first, all of it or nothing.
    pub changes: Vec<Change>,
    /// To be posted, once the changes are stored.
    pub posts: Vec<Post>,
    /// To be shown, once the changes are stored. Each is reported once, and not again after a crash.
    pub reports: Vec<Report>,
}

/// One post to the relay of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// What its result is to be reported under.
    pub id: PostId,
    /// Whom it is for. Relay and keys are in [`crate::client::account::Account::contact`].
    pub to: RecipientId,
    /// What is posted.
    pub what: What,
    /// How long the relay is asked to keep it, in seconds.
    pub ttl_s: u32,
}

/// Names a post. A result under a name that isn't in use is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostId(pub(super) u64);

/// What is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message from the store. v2: its content, sealed and signed anew to the contact's newest key. v1: its envelope,
    /// unchanged. Which of them is in its record.
    Message(MessageHash),
    /// A content of envelope v2, to be sealed and signed, that is no message.
    Content(Vec<u8>),
    /// A text of envelope v1, to be sealed and signed, that is no message.
    Text1(Header1, String),
}

/// What is said in clear in an envelope v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header1 {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The message before it.
    pub previous: Option<MessageHash>,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// Answered with 200.
    Taken {
        /// For how long the relay keeps it, in seconds: the answer's `TTL`, or what was asked for if there is none.
        ttl_s: u32,
    },
    /// Answered with something else.
    Refused {
        /// The status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after_s: Option<u32>,
    },
    /// No answer, or no connection. It may have been taken.
    Unknown,
}

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A message of an accepted contact has come. Its place is that of [`crate::client::thread::Thread::before`].
    Message(RecipientId, MessageHash),
    /// A message of somebody that the user doesn't know has come.
    Request(RecipientId, MessageHash),
    /// Messages of this contact are missing, and were asked for.
    Missing(RecipientId, Vec<MessageHash>),
    /// These were asked for often, and may be lost. They are asked for again when there is contact.
    MaybeLost(RecipientId, Vec<MessageHash>),
    /// A missing message, which was reported as such, has come.
    Filled(RecipientId, MessageHash),
    /// The relay has taken an own message.
    Taken(RecipientId, MessageHash),
    /// An own message is there.
    Delivered(RecipientId, MessageHash),
    /// An own message was refused for good, with this status.
    Failed(RecipientId, MessageHash, u16),
    /// A contact has another name, relay or key, or speaks v2 now.
    Changed(RecipientId),
    /// So many messages to the user have expired at the relay.
    Expired(u64),
    /// The session has begun.
    LoggedIn,
    /// The session has ended, for this reason.
    LoggedOut(String),
}
