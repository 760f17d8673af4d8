//! The options as a server has them: units, ranges and defaults. How they are given is not said here.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracing::level_filters::LevelFilter;

use super::listen::Listen;
use super::values::{self, DAY, MIB, TIB, Unit, bytes, count, seconds};
use crate::protocol::host::Host;
use crate::server::{limits, system};

pub(super) const GO_NPCHAT: &str = "Options that go-npchat has too";
pub(super) const OURS: &str = "More options";

const WORKERS_MAX: usize = 1024;
/// A tick of the wheel and one of the expiry: sooner no worker can be certain to have freed a message.
const CLEAN_PERIOD_MIN_SECONDS: u64 = 2;
const TTL_MAX_SECONDS: u64 = 10 * 365 * DAY;
const HOUR_SECONDS: u64 = 60 * 60;
const MESSAGE_MAX_BYTES: u64 = 16 * MIB;
/// The numbers of a mailbox's messages wrap at 32 bits; they can be compared while they are within half of that.
const MAILBOX_MESSAGES_MAX: u64 = 1_000_000_000;
const MEMORY_MIN_BYTES: u64 = MIB;
const MEMORY_MAX_BYTES: u64 = 1024 * TIB;
const CONNECTION_MEMORY_MIN_BYTES: u64 = 4 * MIB;
const CONNECTIONS_MAX: u64 = 16 * 1024 * 1024;
/// Default memory budget where the machine doesn't report how much it has.
const FALLBACK_MEMORY_BYTES: u64 = 256 * MIB;

/// Default of the time to stop.
const DRAIN_SECONDS: u64 = 10;

const _: () = {
    assert!(limits::PENDING_POST_SECONDS + limits::DRAIN_LINGER_SECONDS < DRAIN_SECONDS);
    assert!(CLEAN_PERIOD_MIN_SECONDS * 1000 == 2 * limits::EXPIRY_TICK_MILLIS);
    assert!(MESSAGE_MAX_BYTES <= u32::MAX as u64);
    assert!(MAILBOX_MESSAGES_MAX < 1 << 31);
    assert!(TTL_MAX_SECONDS <= u32::MAX as u64);
    assert!(limits::MESSAGE_ROOM_BYTES < MEMORY_MIN_BYTES);
};

/// All that an operator can set.
///
/// A `Config` from [`parse`](super::parse) keeps to the range of each field. One that was put together by hand is
/// checked with [`Config::validate`].
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = OURS)]
pub struct Config {
    /// Where to listen.
    #[arg(skip)]
    pub listen: Listen,
    /// Certificate and key for TLS.
    #[arg(skip)]
    pub certificate: Option<CertificateFiles>,
    /// Time to live of a message whose sender asks for none, in whole seconds, at most [`Config::max_ttl`].
    #[arg(long = "msgttl", env = "NPCHAT_MSG_TTL", value_name = "DURATION", help_heading = GO_NPCHAT,
        value_parser = seconds(1..=TTL_MAX_SECONDS), help = "Time to live if the sender asks for none")]
    pub message_ttl: Duration,
    /// Longest that an expired message may hold memory, in whole seconds, 2 to 3600. It is never delivered late.
    #[arg(long = "cleanperiod", env = "NPCHAT_CLEAN_PERIOD", value_name = "DURATION", help_heading = GO_NPCHAT,
        value_parser = seconds(CLEAN_PERIOD_MIN_SECONDS..=HOUR_SECONDS),
        help = "Longest that an expired message holds memory")]
    pub clean_period: Duration,
    /// Challenges that one signing key signs before a fresh one is made, at least 1.
    #[arg(long = "freshkey", env = "NPCHAT_FRESHKEY", value_name = "COUNT", help_heading = GO_NPCHAT,
        value_parser = count::<u32>(1..=u32::MAX.into()), help = "Challenges signed before a fresh signing key")]
    pub fresh_key: u32,
    /// Hosts that a login with npchat.2 may be bound to; if there are none, the one that its request names.
    #[arg(long = "host", env = "NPCHAT_HOST", value_name = "HOST", value_delimiter = ',',
        value_parser = values::host, help = "Host that npchat.2 logins are for; repeatable")]
    pub hosts: Vec<Host>,
    /// Worker threads, 1 to 1024.
    #[arg(long, env = "NPCHAT_WORKERS", value_name = "COUNT",
        value_parser = count::<usize>(1..=WORKERS_MAX as u64), help = "Worker threads")]
    pub workers: usize,
    /// Longest time to live that a sender may ask for (RFC 8030 §5.2), in whole seconds, up to ten years.
    #[arg(long, env = "NPCHAT_MAX_TTL", value_name = "DURATION",
        value_parser = seconds(1..=TTL_MAX_SECONDS), help = "Longest time to live that a sender may ask for")]
    pub max_ttl: Duration,
    /// Largest body of a message in bytes, 1 to 16 MiB, at most [`Config::mailbox_bytes`].
    #[arg(long, env = "NPCHAT_MAX_MESSAGE", value_name = "SIZE",
        value_parser = bytes::<u32>(1..=MESSAGE_MAX_BYTES), help = "Largest message")]
    pub max_message: u32,
    /// Most messages that one mailbox holds, 1 to a billion.
    #[arg(long, env = "NPCHAT_MAILBOX_MESSAGES", value_name = "COUNT",
        value_parser = count::<u32>(1..=MAILBOX_MESSAGES_MAX), help = "Most messages in one mailbox")]
    pub mailbox_messages: u32,
    /// Most bytes that the bodies in one mailbox add up to, at least 1.
    #[arg(long, env = "NPCHAT_MAILBOX_BYTES", value_name = "SIZE",
        value_parser = bytes::<u32>(1..=u32::MAX.into()), help = "Most bytes of messages in one mailbox")]
    pub mailbox_bytes: u32,
    /// Memory budget of mail in bytes, 1 MiB to 1024 TiB: of all segments that messages and mailboxes lie in, and of
    /// bodies that are coming in.
    #[arg(long, env = "NPCHAT_MEMORY", value_name = "SIZE",
        value_parser = bytes::<u64>(MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES),
        help = "Budget for all messages with their overhead")]
    pub memory: u64,
    /// Budget for what connections hold beside themselves in bytes, 4 MiB to 1024 TiB; `None`: a quarter of
    /// [`Config::memory`], and 4 MiB at least.
    #[arg(long, env = "NPCHAT_CONNECTION_MEMORY", value_name = "SIZE",
        value_parser = bytes::<u64>(CONNECTION_MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES),
        help = "Budget for what connections hold")]
    pub connection_memory: Option<u64>,
    /// Most connections, 1 to 2²⁴, as far as the limit of open files allows; `None`: one for each 4 KiB of
    /// [`Config::memory`], and 1024 at least.
    #[arg(long, env = "NPCHAT_CONNECTIONS", value_name = "COUNT",
        value_parser = count::<u32>(1..=CONNECTIONS_MAX), help = "Most connections")]
    pub connections: Option<u32>,
    /// Deadlines of connections.
    #[command(flatten)]
    pub timeouts: Timeouts,
    /// From the first signal to the end of the process, in whole seconds, up to an hour.
    #[arg(long, env = "NPCHAT_DRAIN", value_name = "DURATION",
        value_parser = seconds(0..=HOUR_SECONDS), help = "Longest that the server takes to stop")]
    pub drain: Duration,
    /// What is logged.
    #[arg(long, env = "NPCHAT_LOG", value_name = "LEVEL",
        value_parser = values::level, help = "off, error, warn, info, debug or trace")]
    pub log: LevelFilter,
}

/// Deadlines of connections. Only `keep_alive`, `ping` and `pong` are options, each from 1 second to an hour; tests
/// shorten the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Timeouts {
    /// See [`limits::HEAD_DEADLINE_SECONDS`].
    #[arg(skip)]
    pub head: Duration,
    /// See [`limits::BODY_GRACE_SECONDS`].
    #[arg(skip)]
    pub body_grace: Duration,
    /// See [`limits::PENDING_POST_SECONDS`].
    #[arg(skip)]
    pub post: Duration,
    /// See [`limits::MESSAGE_GRACE_SECONDS`].
    #[arg(skip)]
    pub message_grace: Duration,
    /// How long a connection is kept between two requests, in whole seconds.
    #[arg(long, env = "NPCHAT_KEEP_ALIVE", value_name = "DURATION",
        value_parser = seconds(1..=HOUR_SECONDS), help = "How long an unused connection is kept")]
    pub keep_alive: Duration,
    /// See [`limits::LOGIN_DEADLINE_SECONDS`].
    #[arg(skip)]
    pub login: Duration,
    /// See [`limits::WRITE_STALL_SECONDS`].
    #[arg(skip)]
    pub write_stall: Duration,
    /// Longest that a session without mail goes unasked whether it is still there, in whole seconds.
    #[arg(long, env = "NPCHAT_PING", value_name = "DURATION",
        value_parser = seconds(1..=HOUR_SECONDS), help = "Longest that an idle session isn't pinged")]
    pub ping: Duration,
    /// From a ping to the end of a session that doesn't answer it, in whole seconds.
    #[arg(long = "pong-timeout", env = "NPCHAT_PONG_TIMEOUT", value_name = "DURATION",
        value_parser = seconds(1..=HOUR_SECONDS), help = "Longest wait for a pong")]
    pub pong: Duration,
    /// See [`limits::LINGER_SECONDS`].
    #[arg(skip)]
    pub linger: Duration,
}

/// The two files that [`crate::server::certificate::load`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file of the certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub private_key: PathBuf,
}

impl Config {
    /// Budget in bytes for what connections hold, as given or by default.
    #[must_use]
    pub fn connection_memory_bytes(&self) -> u64 {
        let by_default = (self.memory / 4).max(CONNECTION_MEMORY_MIN_BYTES);
        self.connection_memory.unwrap_or(by_default)
    }

    /// Most connections, as given or by default.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        let by_default = (self.memory / 4096).clamp(1024, CONNECTIONS_MAX);
        self.connections
            .unwrap_or_else(|| u32::try_from(by_default).unwrap_or(u32::MAX))
    }

    /// What the process may take in resident memory, in bytes: both budgets, what connections and workers take
    /// beside them,
    /// and a quarter of all that for the allocator.
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let connection = match self.certificate {
            None => limits::CONNECTION_BYTES,
            Some(_) => limits::TLS_CONNECTION_BYTES,
        };
        let worker = limits::WORKER_BYTES + 2 * u64::from(self.max_message);
        let sum = self
            .memory
            .saturating_add(self.connection_memory_bytes())
            .saturating_add(u64::from(self.max_connections()) * connection)
            .saturating_add(self.workers as u64 * worker)
            .saturating_add(limits::PROCESS_BYTES);
        sum.saturating_add(sum / 4)
    }

    /// Each option without its dashes, and its value as text with its unit, as `--check` prints them: in the order of
    /// `--help`.
    #[must_use]
    pub fn shown(&self) -> [(&'static str, String); 21] {
        fn list<T: ToString>(items: &[T]) -> String {
            items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        let seconds = |duration: Duration| Unit::Seconds.shown(duration.as_secs());
        let bytes = |number| Unit::Bytes.shown(number);
        let file = |which: fn(&CertificateFiles) -> &PathBuf| match &self.certificate {
            None => "none".to_owned(),
            Some(files) => which(files).display().to_string(),
        };
        let (port, listen) = match &self.listen {
            Listen::Default { port } => (port.to_string(), "all addresses".to_owned()),
            Listen::Addresses(endpoints) => ("none".to_owned(), list(endpoints)),
        };
        let hosts = if self.hosts.is_empty() {
            "as requested".to_owned()
        } else {
            list(&self.hosts)
        };
        [
            ("port", port),
            ("cert", file(|files| &files.certificate)),
            ("privkey", file(|files| &files.private_key)),
            ("msgttl", seconds(self.message_ttl)),
            ("cleanperiod", seconds(self.clean_period)),
            ("freshkey", self.fresh_key.to_string()),
            ("listen", listen),
            ("host", hosts),
            ("workers", self.workers.to_string()),
            ("max-ttl", seconds(self.max_ttl)),
            ("max-message", bytes(self.max_message.into())),
            ("mailbox-messages", self.mailbox_messages.to_string()),
            ("mailbox-bytes", bytes(self.mailbox_bytes.into())),
            ("memory", bytes(self.memory)),
            ("connection-memory", bytes(self.connection_memory_bytes())),
            ("connections", self.max_connections().to_string()),
            ("keep-alive", seconds(self.timeouts.keep_alive)),
            ("ping", seconds(self.timeouts.ping)),
            ("pong-timeout", seconds(self.timeouts.pong)),
            ("drain", seconds(self.drain)),
            ("log", self.log.to_string()),
        ]
    }
}

impl Default for Config {
    fn default() -> Self {
        let memory = system::memory_bytes().map_or(FALLBACK_MEMORY_BYTES, |bytes| bytes / 2);
        Self {
            listen: Listen::default(),
            certificate: None,
            message_ttl: Duration::from_secs(60),
            clean_period: Duration::from_secs(30),
            fresh_key: 5,
            hosts: Vec::new(),
            workers: system::cores().min(WORKERS_MAX),
            max_ttl: Duration::from_secs(7 * DAY),
            max_message: 64 * 1024,
            mailbox_messages: 4096,
            mailbox_bytes: 8 * 1024 * 1024,
            // Whole MiB, so that the number can be read.
            memory: (memory / MIB * MIB).max(MEMORY_MIN_BYTES),
            connection_memory: None,
            connections: None,
            timeouts: Timeouts::default(),
            drain: Duration::from_secs(DRAIN_SECONDS),
            log: LevelFilter::INFO,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(limits::HEAD_DEADLINE_SECONDS),
            body_grace: Duration::from_secs(limits::BODY_GRACE_SECONDS),
            post: Duration::from_secs(limits::PENDING_POST_SECONDS),
            message_grace: Duration::from_secs(limits::MESSAGE_GRACE_SECONDS),
            keep_alive: Duration::from_secs(limits::KEEP_ALIVE_SECONDS),
            login: Duration::from_secs(limits::LOGIN_DEADLINE_SECONDS),
            write_stall: Duration::from_secs(limits::WRITE_STALL_SECONDS),
            ping: Duration::from_secs(limits::PING_INTERVAL_SECONDS),
            pong: Duration::from_secs(limits::PONG_TIMEOUT_SECONDS),
            linger: Duration::from_secs(limits::LINGER_SECONDS),
        }
    }
}
