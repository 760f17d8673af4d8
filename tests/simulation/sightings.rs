//! How often the runs come to what they are there for: a scenario that never occurs tests nothing.
//!
//! Counted for all tests of the process together: some are rare.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! sights {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that some runs must come to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Sight {
            $($(#[$doc])* $name,)*
        }

        impl Sight {
            const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

sights! {
    /// The kernel took a part, though it had room.
    ShortWrite,
    /// A client's first request came with the end of its handshake.
    RequestWithHandshake,
    /// A client was refused because all places were taken.
    TurnedAway,
    /// A login with npchat.2 was told of mail that had expired.
    ExpiredReported,
    /// A connection was closed because connections held more than they may.
    Evicted,
    /// A client waited for the end of a pause in accepting.
    AcceptPaused,
    /// A connection was dropped because the system watched no more of them.
    Unwatched,
    /// The kernel had no room, because the client reads slowly or not at all.
    FullQueue,
    ClientResets,
    ClientHalfCloses,
    /// A session ended with mail on its way to the kernel.
    DetachInDelivery,
    /// A session that was given less than all, because it was slow, is given more.
    DeliveryGoesOn,
    /// A session began with more messages waiting than it is given at once.
    LoginToMoreThanOneTake,
    /// A session began with more bytes waiting than may wait in its output.
    LoginToMoreThanHighWater,
    /// More came for a live session in one moment than it is given at once.
    FloodToLiveSession,
    /// A message was given to a second session, which was there as well or came later.
    DeliveredAgain,
    /// A mailbox told of mail for a connection whose slot has another one.
    WakeForGoneConnection,
    /// Messages went because their time was over.
    ExpiredUnasked,
    /// A mailbox took one more than its cap, since some in it were over.
    RoomByExpiry,
    /// A message was taken that is no shorter than one that there was no memory for.
    MemoryFreed,
    /// When all clients had gone, there was mail left that nobody had had.
    HeldForNobody,
    LiveOnlyDelivered,
    EmptyDelivered,
    /// A message that came whole while the relay was stopping was taken.
    TakenInDrain,
    /// A session was told of a stop with mail on its way to the kernel.
    DrainInDelivery,
    /// A session was told of a stop with mail that it had not confirmed.
    DrainUnconfirmed,
    /// A pong confirmed more than one message.
    PongConfirmsMany,
    /// Two sessions confirmed a message.
    ConfirmedByTwo,
    /// A message's time was over before its pong came.
    ConfirmedAfterExpiry,
    /// A session that had nothing to confirm was asked whether it is there.
    IdlePing,
    /// A ping followed at once, because half of the window was full.
    PingAtHalfWindow,
    /// A session may be sent nothing more until a pong comes, for the number of messages that it has not confirmed,
    WindowFullOfMessages,
    /// and for their bytes.
    WindowFullOfBytes,
    /// A pong with a payload of nobody's ping.
    ForgedPongIgnored,
    /// A pong with the payload of an earlier ping.
    StalePongIgnored,
    /// A client guessed the payload of a ping.
    GuessedPong,
    /// A pong was written when its session had been closed for want of it.
    PongTooLate,
    /// A peer that had vanished without a word was closed for want of a pong,
    BlackHoleTimedOut,
    /// and so was one that did not answer.
    SilentTimedOut,
    /// A session was closed because another one of its mailbox was more than a window ahead.
    FellBehind,
    /// A message came that was sent before to a session which was closed for want of a pong.
    DeliveredAfterPongTimeout,
    /// The relay was kept from running with mail in it, which is older by that.
    KeptFromRunningWithMail,
    /// A client closed its session because of a message that it can't take,
    ClosedAtPoison,
    /// or cut the connection,
    CutAtPoison,
    /// and logged in again.
    LoggedInAgain,
    /// A third session in a row has ended with the same first unacknowledged message.
    ThirdEndWithOne,
    /// Such a message was put behind others,
    PutLast,
    /// which were given before it,
    GivenBeforePutLast,
    /// it was tried again when they were acknowledged,
    PutLastTried,
    /// and, by a client that takes it, acknowledged,
    PutLastConfirmed,
    /// or its time ended.
    PutLastExpired,
    /// A message that sessions had ended with was given when all before it in the session was acknowledged.
    AcknowledgedBeforeSuspect,
    /// Others waited for such a message to be acknowledged.
    WaitedBehindSuspect,
    /// Others waited for a batch of messages behind such a message to be acknowledged.
    WaitedBehindBatch,
    /// A client that answers waited for its mail to be confirmed.
    WaitedForPing,
    /// A post that was pending was stored, and its sender told so,
    PendingStored,
    /// or refused,
    PendingRefused,
    /// or its sender was told that neither is known,
    PendingTimedOut,
    /// which was reported after that,
    ReportTooLate,
    /// or when the connection had gone.
    ReportForGoneConnection,
    /// Requests waited behind a post that was pending.
    PipelinedBehindPending,
    /// A client ended its side while its post was pending, and was answered.
    AnsweredAfterHalfClose,
    /// A post that was pending when the relay began to stop was answered.
    PendingInDrain,
}

static COUNTS: [AtomicU64; Sight::ALL.len()] = [const { AtomicU64::new(0) }; Sight::ALL.len()];
static SHARES_DONE: AtomicU64 = AtomicU64::new(0);

/// Counts it.
pub(crate) fn saw(sight: Sight) {
    COUNTS[sight as usize].fetch_add(1, Ordering::Relaxed);
}

/// A test has run its share of the seeds. The last one of them fails if all together never came to something.
pub(crate) fn check(shares: u64) {
    if SHARES_DONE.fetch_add(1, Ordering::AcqRel) + 1 == shares {
        let mut never = Sight::ALL
            .iter()
            .filter(|sight| COUNTS[**sight as usize].load(Ordering::Relaxed) == 0);
        assert_eq!(never.next(), None, "no run sees this");
    }
}
