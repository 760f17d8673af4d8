//! What can be done with mail: post a message, attach a session, expire, count. The one way to the mailboxes.
//!
//! It knows neither HTTP nor WebSocket: those say the answers in their own words.

mod net;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::net::Net;
use crate::protocol::host::Host;
use crate::protocol::id::RecipientId;
use crate::server::config::Config;
use crate::server::limits::{MESSAGE_ROOM_BYTES, SESSIONS_PER_MAILBOX, SHARD_MIN_BYTES, SHARDS_MAX, SHARDS_PER_WORKER};
use crate::server::mailboxes::{Attachment, Budget, Caps, Charge, Mailboxes, PostError, Retention, Stats};
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::token::SessionAddress;

/// The relay that all workers share.
#[derive(Debug)]
pub struct Store {
    mailboxes: Arc<Mailboxes>,
    budget: Arc<Budget>,
    connection_budget: Budget,
    net: Net,
    message_ttl_seconds: u32,
    max_ttl_seconds: u32,
    max_message_bytes: u32,
    info: String,
    hosts: Vec<Host>,
    draining: AtomicBool,
}

impl Store {
    /// An empty store. `secret` keys the map's hash, `started` is what `/info` has as startTime (RFC 3339).
    #[must_use]
    pub fn new(config: &Config, secret: [u64; 2], epoch: Instant, started: &str) -> Self {
        let budget = Arc::new(Budget::new(config.memory));
        let caps = Caps {
            mailbox_messages: config.mailbox_messages,
            mailbox_bytes: config.mailbox_bytes,
            sessions: SESSIONS_PER_MAILBOX,
        };
        let shards = config.workers.saturating_mul(SHARDS_PER_WORKER).min(SHARDS_MAX);
        let room = usize::try_from(config.memory / SHARD_MIN_BYTES).unwrap_or(usize::MAX);
        // A power of two that is not above it.
        let shards = 1 << shards.min(room).max(1).ilog2();
        Self {
            mailboxes: Arc::new(Mailboxes::new(caps, shards, secret, Arc::clone(&budget), epoch)),
            budget,
            connection_budget: Budget::new(config.connection_memory_bytes()),
            net: Net::new(config.memory_bound(), epoch),
            message_ttl_seconds: whole_seconds(config.message_ttl),
            max_ttl_seconds: whole_seconds(config.max_ttl),
            max_message_bytes: config.max_message,
            info: info(config, started),
            hosts: config.hosts.clone(),
            draining: AtomicBool::new(false),
        }
    }

    /// Takes a message: it is stored, or waits for the live sessions whose addresses are appended to `wake`.
    ///
    /// A retention that isn't asked for is the relay's default; more than its maximum is granted as the maximum.
    /// Returns what is granted, in seconds; 0 is [`Retention::LiveOnly`].
    ///
    /// # Errors
    /// [`Refusal::MailboxFull`] or [`Refusal::RelayFull`]; the message is then nowhere.
    pub fn post(
        &self,
        id: &RecipientId,
        body: &[u8],
        retention: Option<Retention>,
        now: Instant,
        wake: &mut Vec<SessionAddress>,
    ) -> Result<u32, Refusal> {
        // Before anything depends on whether there is a session: the answer must not show it.
        if self.net.is_over() {
            return Err(Refusal::RelayFull);
        }
        let ttl = match retention {
            None => self.message_ttl_seconds,
            Some(Retention::Seconds(seconds)) => seconds.min(self.max_ttl_seconds),
            Some(Retention::LiveOnly) => 0,
        };
        let retention = if ttl == 0 {
            Retention::LiveOnly
        } else {
            Retention::Seconds(ttl)
        };
        match self.mailboxes.post(id, body, retention, now, wake) {
            Ok(()) => Ok(ttl),
            Err(PostError::MailboxFull) => Err(Refusal::MailboxFull),
            Err(PostError::BudgetSpent) => Err(Refusal::RelayFull),
        }
    }

    /// The host that a login must be bound to when its request names this authority. `None`: it isn't one of this
    /// relay's.
    ///
    /// The request chooses among the configured hosts, so that a login costs one verification however many there are.
    /// It may name any host where none is configured: then nothing stops a relay in between that passes its own name
    /// on.
    #[must_use]
    pub fn login_host(&self, authority: &[u8]) -> Option<Host> {
        let host = Host::parse(authority)?;
        (self.hosts.is_empty() || self.hosts.contains(&host)).then_some(host)
    }

    /// Logs a session in: from now on its mail waits for it, what was stored first.
    ///
    /// # Errors
    /// [`CloseReason::TooManySessions`].
    pub fn attach(&self, id: &RecipientId, address: SessionAddress) -> Result<Attachment, CloseReason> {
        self.mailboxes
            .attach(id, address)
            .map_err(|_| CloseReason::TooManySessions)
    }

    /// Sets memory aside for a body that comes in pieces.
    ///
    /// # Errors
    /// [`Refusal::RelayFull`].
    pub fn reserve(&self, bytes: u64) -> Result<Charge, Refusal> {
        self.budget.reserve(bytes).ok_or(Refusal::RelayFull)
    }

    /// What connections hold between turns is charged to this.
    #[must_use]
    pub fn connection_budget(&self) -> &Budget {
        &self.connection_budget
    }

    /// Has `resident_bytes` read the resident memory of the process, once a second at most. While that is more than
    /// [`Config::memory_bound`], no mail is taken.
    pub fn look_at_resident(&self, now: Instant, resident_bytes: impl FnOnce() -> Option<u64>) {
        if self.net.look(now, resident_bytes) {
            self.mailboxes.trim_all();
        }
    }

    /// Like [`Store::look_at_resident`], if mail is refused because of the last reading. Called before requests are
    /// served, so that none is refused because of one older than
    /// [`NET_LOOK_MILLIS`](crate::server::limits::NET_LOOK_MILLIS), however long nothing has happened. Costs one load
    /// while mail is taken.
    pub fn renew_refusing_look(&self, now: Instant, resident_bytes: impl FnOnce() -> Option<u64>) {
        if self.net.is_over() {
            self.look_at_resident(now, resident_bytes);
        }
    }

    /// How often resident memory has passed [`Config::memory_bound`].
    #[must_use]
    pub fn times_over_bound(&self) -> u64 {
        self.net.times_over()
    }

    /// Largest message taken, in bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> u32 {
        self.max_message_bytes
    }

    /// The answer to `/info`: JSON.
    #[must_use]
    pub fn info(&self) -> &str {
        &self.info
    }

    /// From now on the relay answers what is under way and takes nothing new.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the relay is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether mail is taken now: the relay isn't stopping, and its memory has room for the largest message.
    #[must_use]
    pub fn takes_mail(&self) -> bool {
        let message = u64::from(self.max_message_bytes);
        !self.is_draining() && !self.net.is_over() && self.budget.has_room(message + message / 8 + MESSAGE_ROOM_BYTES)
    }

    /// Into how many shards the mail is split, each of which is to be given to [`Store::expire`] about once a second.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.mailboxes.shards()
    }

    /// Frees messages of a shard whose deadline has passed, see [`Mailboxes::expire`]; whether more are due now.
    pub fn expire(&self, shard: usize, now: Instant, budget: &mut usize) -> bool {
        self.mailboxes.expire(shard, now, budget)
    }

    /// Gives a part of the memory that no mail takes now back to the allocator: to be called about once a second.
    pub fn trim(&self) {
        self.mailboxes.trim();
    }

    /// What is held now, see [`Mailboxes::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.mailboxes.stats()
    }

    /// How many messages have expired, see [`Mailboxes::expired`].
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.mailboxes.expired()
    }

    /// Bytes that may be charged for mail and for bodies that are coming in.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.budget.limit()
    }

    /// Bytes charged now: the segments that mail lies in, and bodies that are coming in.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.budget.used()
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn info(config: &Config, started: &str) -> String {
    format!(
        concat!(
            r#"{{"status":"healthy","version":"{}","startTime":"{}","msgTtl":{},"maxTtl":{},"#,
            r#""maxMessage":{},"mailboxMessages":{},"mailboxBytes":{}}}"#
        ),
        env!("CARGO_PKG_VERSION"),
        started,
        whole_seconds(config.message_ttl),
        whole_seconds(config.max_ttl),
        config.max_message,
        config.mailbox_messages,
        config.mailbox_bytes,
    )
}
