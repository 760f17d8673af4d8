//! The mailboxes: every message lives in one place, its recipient's queue, until it is confirmed or expires.
//!
//! Live sessions hold positions in that queue, so one that ends has nothing to give back. What a session says to its
//! client, and how a worker is woken, is not here.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::time::Instant;

use siphasher::sip::SipHasher13;

use crate::protocol::id::RecipientId;
use crate::server::limits::{LOST_RECORDS_MAX, SHARDS_MAX};
use crate::server::log;
use crate::server::sync::{Mutex, MutexGuard};
use crate::server::token::SessionAddress;

use self::key::Key;
use self::padded::Padded;
use self::pool::Pool;
use self::shard::Shard;

pub use self::budget::{Budget, Charge};
pub use self::deliveries::{Deliveries, Delivery};
pub use self::sequence::Sequence;
pub use self::terms::{Caps, PostError, Retention, Room, Stats, Taken, TooManySessions};

mod arena;
mod blocks;
mod budget;
mod deliveries;
mod dense;
mod key;
mod lost;
mod mailbox;
mod message;
mod padded;
mod pool;
mod segment;
mod sequence;
mod shard;
mod slab;
mod subscribers;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod warm;

/// All mailboxes, shared by all workers.
///
/// They are split into shards by a keyed hash of the id, since ids are chosen by strangers. Each shard has a mutex,
/// held for a map operation only, and no two are ever held at once.
///
/// 1. [`Mailboxes::post`] names the sessions to wake: those that have been notified of no mail since they took all of
///    it.
/// 2. A session that has attached or was woken calls [`Attachment::take`] until nothing is left. Only then will a post
///    name it again.
/// 3. What its client has proved to have read it confirms with [`Attachment::confirm`]. A message goes when every
///    session has confirmed it. What no session has confirmed stays for the next one, in order, with its old deadline.
///    A session that is more than a window behind another one is ended instead ([`Taken::Lagging`]): what it still
///    holds up counts for none of the mailbox's caps.
/// 4. Each shard is given to [`Mailboxes::expire`] about once a second.
///
/// # What expires
/// A message that expires has been missed if no session has confirmed it and it is on its way to none that is there:
/// one that was sent may still be confirmed, so it counts as seen when its time ends meanwhile. What must not be stored
/// is never missed. [`Mailboxes::expired`] counts all of it, [`Attachment::take_lost`] reports to the next session what
/// its own.
///
/// The latter stands in the mailbox while it holds mail or a session. After that it is kept for [`LOST_RECORDS_MAX`]
/// mailboxes, in memory that no budget is charged for, and for
/// [`LOST_HOLD_SECONDS`](crate::server::limits::LOST_HOLD_SECONDS). Beyond that the count that was added to the longest
/// ago is forgotten. So a client that posts short-lived messages to that many ids, which anybody can make up, has
/// counts forgotten, and no mail.
///
/// # Memory
/// Mailboxes and messages, a cache line each, and bodies, in blocks, lie in equal segments, which are charged to the
/// budget while a shard holds them. Messages and blocks that lie behind many vacant places are moved to the front, so
/// that segments become empty and go to whichever shard needs one. Mailboxes stay where they are, because sessions
/// hold their indices: a segment of them is charged until the last one in it is gone. So resident memory follows what
/// is charged, whatever sizes come and go in which order.
///
/// # A message that ends sessions
/// A client whose own limit is smaller than a message may close its session at it, every time. So a message, once a
/// session has ended with it as its first unconfirmed one, is given only when all before it has been confirmed, and
/// nothing is given after it until it has been itself. The one that the session closed at may stand further behind: so
/// what follows is given in batches that double, each when the last has been confirmed, but for what another session
/// has confirmed. After [`SUSPECT_FAILURES`](crate::server::limits::SUSPECT_FAILURES) sessions in a row it goes behind
/// all others whenever a first session attaches, until it is confirmed or expires.
///
/// # Costs
/// Every operation is linear in the sessions of the one mailbox and amortised O(1) in the messages, since each message
/// is appended, passed over and dropped once. What happens under one lock doesn't grow with the length of a queue:
///
/// - A post to a full mailbox frees what has expired only until there is room, and at most
///   [`EXPIRIES_PER_LOCK`](crate::server::limits::EXPIRIES_PER_LOCK) messages, as `expire` does. [`Attachment::take`]
///   keeps to [`MESSAGES_PER_TAKE`](crate::server::limits::MESSAGES_PER_TAKE).
/// - What moves because of what has gone does so by [`MOVES_PER_LOCK`](crate::server::limits::MOVES_PER_LOCK) for each
///   lock.
/// - A confirmation, and a session that leaves, drop what no session needs any more by
///   [`REMOVALS_PER_LOCK`](crate::server::limits::REMOVALS_PER_LOCK) for each lock, and return when all of it is gone.
///
/// Two walks are longer. The last session that leaves passes over the mail that came since the first one of its
/// subscribers attached, if some of that must not be stored: at most [`Caps::mailbox_messages`], each once in its life.
/// And a table that is full doubles, and one that is nearly empty shrinks, without a look at any id.
pub struct Mailboxes {
    shards: Box<[Padded<Mutex<Shard>>]>,
    hasher: SipHasher13,
    pool: Arc<Pool>,
    budget: Arc<Budget>,
    epoch: Instant,
}

impl Mailboxes {
    /// No mailboxes, in `shards` shards, rounded up to a power of two from 1 to [`SHARDS_MAX`].
    ///
    /// `keys` are secret and random; `budget` is charged for all that they hold, by the segment; deadlines count
    /// from `epoch`, which no `now` comes before.
    #[must_use]
    pub fn new(caps: Caps, shards: usize, keys: [u64; 2], budget: Arc<Budget>, epoch: Instant) -> Self {
        let hasher = SipHasher13::new_with_keys(keys[0], keys[1]);
        let shards = shards.clamp(1, SHARDS_MAX).next_power_of_two();
        let lost_records = LOST_RECORDS_MAX / shards;
        let pool = Arc::new(Pool::new(Arc::clone(&budget), shards));
        let shard = || Padded(Mutex::new(Shard::new(caps, lost_records, &pool, Arc::clone(&budget))));
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            hasher,
            pool,
            budget,
            epoch,
        }
    }

    /// Leaves a message for `id`, and appends to `wake` the sessions that must now [`Attachment::take`] it.
    ///
    /// A message that must not be stored is dropped with `Ok` if no session is there, or if it doesn't fit (PROTOCOL.md
    /// part 1, Sending): the sender gets the same answer either way.
    ///
    /// # Errors
    /// [`PostError`], and nothing is stored, charged or woken.
    pub fn post(
        &self,
        id: &RecipientId,
        body: &[u8],
        retention: Retention,
        now: Instant,
        wake: &mut Vec<SessionAddress>,
    ) -> Result<(), PostError> {
        let (shard, key) = self.locate(id);
        self.lock(shard).post(&key, body, retention, self.millis(now), wake)
    }

    /// Adds a live session to the mailbox of `id`, made if there is none. It takes its mail at once, unwoken.
    ///
    /// It is given what no session has confirmed, mail in flight to another one included, which may be dead.
    ///
    /// # Errors
    /// [`TooManySessions`] if [`Caps::sessions`] are attached already.
    pub fn attach(self: &Arc<Self>, id: &RecipientId, address: SessionAddress) -> Result<Attachment, TooManySessions> {
        let (shard, key) = self.locate(id);
        let (mailbox, session) = self.lock(shard).attach(&key, address)?;
        Ok(Attachment {
            mailboxes: Arc::clone(self),
            shard,
            mailbox,
            session,
        })
    }

    /// Frees messages of a shard whose deadline has passed, by at most a second; whether more are due now.
    ///
    /// Takes at most [`EXPIRIES_PER_LOCK`](crate::server::limits::EXPIRIES_PER_LOCK) steps of the wheel and at most
    /// `budget`, which it lessens by the steps taken, and by more where much memory had to be moved. A shard that there
    /// isn't has nothing due.
    pub fn expire(&self, shard: usize, now: Instant, budget: &mut usize) -> bool {
        let shard = self.shards.get(shard);
        shard.is_some_and(|shard| shard.lock().expire(self.millis(now), budget))
    }

    /// Gives a part of the memory that no shard needs now back to the allocator: to be called about once a second.
    pub fn trim(&self) {
        self.pool.trim();
    }

    /// Gives all of that memory back, since the process takes too much.
    pub fn trim_all(&self) {
        self.pool.trim_all();
    }

    /// What the mailboxes are charged to; bodies that are still coming in [`Budget::reserve`] from the same.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Counts what is held. Locks one shard after another, so the sums are of no one moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_by_shard().fold(Stats::default(), |sum, shard| Stats {
            mailboxes: sum.mailboxes + shard.mailboxes,
            messages: sum.messages + shard.messages,
            sessions: sum.sessions + shard.sessions,
        })
    }

    /// How many messages have expired since the beginning, those included whose mailbox has reported them or
    /// forgotten.
    ///
    /// Exact once what is due has been freed. Locks one shard after another.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().expired()).sum()
    }

    /// Counts what each shard holds.
    pub fn stats_by_shard(&self) -> impl Iterator<Item = Stats> + '_ {
        self.shards.iter().map(|shard| shard.lock().stats())
    }

    fn locate(&self, id: &RecipientId) -> (u32, Key) {
        let hash = self.hasher.hash(id.as_bytes());
        // The lower half is for the table within the shard.
        let shard = hash >> 32 & (self.shards.len() as u64 - 1);
        (shard as u32, Key::new(*id, hash))
    }

    fn lock(&self, shard: u32) -> MutexGuard<'_, Shard> {
        self.shards[shard as usize].lock()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Shows no mail, and no key.
impl fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailboxes").finish_non_exhaustive()
    }
}

/// A live session's place in its mailbox, which it leaves when this is dropped. No mail is lost by leaving.
#[derive(Debug)]
pub struct Attachment {
    mailboxes: Arc<Mailboxes>,
    shard: u32,
    mailbox: u32,
    session: u32,
}

impl Attachment {
    /// Appends the next messages to `into`, in the order in which they were posted, and returns what is left.
    ///
    /// Stops where there is no `room` for the next one, but gives one at least if there is room for any in number, and
    /// at [`MESSAGES_PER_TAKE`](crate::server::limits::MESSAGES_PER_TAKE). Nothing is given at or after its deadline.
    /// `is_all_acknowledged`: this session has confirmed all that it was given. While mail is left no post wakes this
    /// session: it comes again by itself.
    pub fn take(&self, now: Instant, room: Room, is_all_acknowledged: bool, into: &mut Deliveries) -> Taken {
        let now = self.mailboxes.millis(now);
        let mut shard = self.mailboxes.lock(self.shard);
        shard.take(self.mailbox, self.session, now, room, is_all_acknowledged, into)
    }

    /// Whether this session is so far behind another one that nothing is kept for it any more ([`Taken::Lagging`]).
    ///
    /// A session that becomes so is woken, even if it has been woken already.
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        self.mailboxes.lock(self.shard).is_lagging(self.mailbox, self.session)
    }

    /// How many messages of this mailbox expired since this was last asked, by whichever session: to be reported at
    /// a login.
    ///
    /// Frees first what is due in this mailbox's shard, within the share of one lock. What that doesn't get to, and
    /// what has expired within the last second, is for the next login.
    #[must_use]
    pub fn take_lost(&self, now: Instant) -> u64 {
        let now = self.mailboxes.millis(now);
        self.mailboxes.lock(self.shard).take_lost(self.mailbox, now)
    }

    /// The client has everything up to and including the delivery `upto`.
    ///
    /// One that this session wasn't given yet is ignored, and so is one from before the last confirmed. Appends to
    /// `wake` the sessions that are now so far behind this one that they are to be closed.
    pub fn confirm(&self, upto: Sequence, wake: &mut Vec<SessionAddress>) {
        while self
            .mailboxes
            .lock(self.shard)
            .confirm(self.mailbox, self.session, upto, wake)
        {}
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        while self.mailboxes.lock(self.shard).detach(self.mailbox, self.session) {}
    }
}

impl Padded<Mutex<Shard>> {
    /// A panic under the lock is a bug that may have left a queue half linked. No promise could be kept from there, so
    /// the process ends, and says why.
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(|_| {
            tracing::error!("a shard of the mailboxes is in an unknown state: the process ends");
            log::flush();
            process::abort()
        })
    }
}
