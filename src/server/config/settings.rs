//! The table of settings: each one's flag, environment variable, range and help, told once.
//!
//! The command line, the environment, `--help` and `--check` are all made from it; what to do with a value given in two
//! places is not said here.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::values::{self, Unit};
use super::{Config, limits};

pub(super) const WORKERS_MAX: usize = 1024;
pub(super) const MEMORY_MIN_BYTES: u64 = values::MIB;
pub(super) const CONNECTION_MEMORY_MIN_BYTES: u64 = 4 * values::MIB;
pub(super) const CONNECTIONS_MAX: u64 = 16 * 1024 * 1024;

/// A tick of the wheel and one of the expiry: sooner no worker can be certain to have freed a message.
const CLEAN_PERIOD_MIN_SECONDS: u64 = 2;
const TTL_MAX_SECONDS: u64 = 10 * 365 * values::DAY;
const HOUR_SECONDS: u64 = 60 * 60;
const MESSAGE_MAX_BYTES: u64 = 16 * values::MIB;
/// The numbers of a mailbox's messages wrap at 32 bits; they can be compared while they are within half of that.
const MAILBOX_MESSAGES_MAX: u64 = 1_000_000_000;
const MEMORY_MAX_BYTES: u64 = 1024 * values::TIB;

/// One thing that an operator can set.
#[derive(Debug)]
pub struct Setting {
    /// Which one.
    pub key: Key,
    /// Where `--help` lists it.
    pub group: Group,
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// The environment variable. An empty one counts as unset.
    pub variable: &'static str,
    /// What stands for the value in `--help`.
    pub placeholder: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Says what the default is where that depends on the machine or is no value.
    pub computed_default: Option<&'static str>,
    /// Set for a setting that is one number.
    pub number: Option<Number>,
}

impl Setting {
    /// The flag without its dashes: the setting's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.flag.trim_start_matches('-')
    }

    /// Whether the flag may be given more than once.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        matches!(self.key, Key::Listen | Key::Host)
    }

    /// The default as `--help` tells it: of `defaults`, or in words.
    #[must_use]
    pub fn default_text(&self, defaults: &Config) -> String {
        self.computed_default
            .map_or_else(|| defaults.shown(self), str::to_owned)
    }
}

/// Names a row of [`SETTINGS`], which stands at this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each one's meaning is the help in its row")]
pub enum Key {
    Port,
    Certificate,
    PrivateKey,
    MessageTtl,
    CleanPeriod,
    FreshKey,
    Listen,
    Host,
    Workers,
    MaxTtl,
    MaxMessage,
    MailboxMessages,
    MailboxBytes,
    Memory,
    ConnectionMemory,
    Connections,
    KeepAlive,
    Ping,
    PongTimeout,
    Drain,
    Log,
}

impl Key {
    /// The row of this key.
    #[must_use]
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }
}

/// Where a setting comes from, for `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// go-npchat has it under the same name.
    GoNpchat,
    /// It is new here.
    Ours,
}

/// A setting that is one number: what it counts, from where to where, and which field of [`Config`] it is.
#[derive(Debug)]
pub struct Number {
    /// What it counts.
    pub unit: Unit,
    /// The least and the most that it may be.
    pub range: RangeInclusive<u64>,
    pub(super) get: fn(&Config) -> u64,
    pub(super) set: fn(&mut Config, u64),
}

impl Number {
    /// Reads a text and checks the range.
    pub(super) fn parse(&self, text: &str) -> Result<u64, String> {
        let quoted = values::Quoted(text);
        let value = self
            .unit
            .parse(text)
            .ok_or_else(|| format!("{quoted} is not {}", self.unit.examples()))?;
        self.check(value, &quoted.to_string())?;
        Ok(value)
    }

    /// Checks the range. A value out of it is told as `text`.
    pub(super) fn check(&self, value: u64, text: &str) -> Result<(), String> {
        if self.range.contains(&value) {
            return Ok(());
        }
        Err(format!("{text} is not {}", self.unit.between(&self.range)))
    }
}

/// All settings, in the order of `--help`.
pub static SETTINGS: [Setting; 21] = [
    Setting {
        key: Key::Port,
        group: Group::GoNpchat,
        flag: "--port",
        variable: "NPCHAT_PORT",
        placeholder: "PORT",
        help: "TCP port on all addresses, 0 for any",
        computed_default: None,
        number: None,
    },
    Setting {
        key: Key::Certificate,
        group: Group::GoNpchat,
        flag: "--cert",
        variable: "NPCHAT_CERT",
        placeholder: "FILE",
        help: "Certificate chain (PEM): serve TLS with it",
        computed_default: None,
        number: None,
    },
    Setting {
        key: Key::PrivateKey,
        group: Group::GoNpchat,
        flag: "--privkey",
        variable: "NPCHAT_PRIVKEY",
        placeholder: "FILE",
        help: "Private key of the certificate (PEM)",
        computed_default: None,
        number: None,
    },
    Setting {
        key: Key::MessageTtl,
        group: Group::GoNpchat,
        flag: "--msgttl",
        variable: "NPCHAT_MSG_TTL",
        placeholder: "DURATION",
        help: "Time to live if the sender asks for none",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 1..=TTL_MAX_SECONDS,
            get: |config| config.message_ttl.as_secs(),
            set: |config, value| config.message_ttl = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::CleanPeriod,
        group: Group::GoNpchat,
        flag: "--cleanperiod",
        variable: "NPCHAT_CLEAN_PERIOD",
        placeholder: "DURATION",
        help: "Longest that an expired message holds memory",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: CLEAN_PERIOD_MIN_SECONDS..=HOUR_SECONDS,
            get: |config| config.clean_period.as_secs(),
            set: |config, value| config.clean_period = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::FreshKey,
        group: Group::GoNpchat,
        flag: "--freshkey",
        variable: "NPCHAT_FRESHKEY",
        placeholder: "COUNT",
        help: "Challenges signed before a fresh signing key",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Count,
            range: 1..=u32::MAX as u64,
            get: |config| config.fresh_key.into(),
            set: |config, value| config.fresh_key = narrow(value),
        }),
    },
    Setting {
        key: Key::Listen,
        group: Group::Ours,
        flag: "--listen",
        variable: "NPCHAT_LISTEN",
        placeholder: "ADDRESS",
        help: "Address instead of --port; repeatable",
        computed_default: None,
        number: None,
    },
    Setting {
        key: Key::Host,
        group: Group::Ours,
        flag: "--host",
        variable: "NPCHAT_HOST",
        placeholder: "HOST",
        help: "Host that npchat.2 logins are for; repeatable",
        computed_default: None,
        number: None,
    },
    Setting {
        key: Key::Workers,
        group: Group::Ours,
        flag: "--workers",
        variable: "NPCHAT_WORKERS",
        placeholder: "COUNT",
        help: "Worker threads",
        computed_default: Some("one a core"),
        number: Some(Number {
            unit: Unit::Count,
            range: 1..=WORKERS_MAX as u64,
            get: |config| config.workers as u64,
            set: |config, value| config.workers = usize::try_from(value).unwrap_or(WORKERS_MAX),
        }),
    },
    Setting {
        key: Key::MaxTtl,
        group: Group::Ours,
        flag: "--max-ttl",
        variable: "NPCHAT_MAX_TTL",
        placeholder: "DURATION",
        help: "Longest time to live that a sender may ask for",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 1..=TTL_MAX_SECONDS,
            get: |config| config.max_ttl.as_secs(),
            set: |config, value| config.max_ttl = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::MaxMessage,
        group: Group::Ours,
        flag: "--max-message",
        variable: "NPCHAT_MAX_MESSAGE",
        placeholder: "SIZE",
        help: "Largest message",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Bytes,
            range: 1..=MESSAGE_MAX_BYTES,
            get: |config| config.max_message.into(),
            set: |config, value| config.max_message = narrow(value),
        }),
    },
    Setting {
        key: Key::MailboxMessages,
        group: Group::Ours,
        flag: "--mailbox-messages",
        variable: "NPCHAT_MAILBOX_MESSAGES",
        placeholder: "COUNT",
        help: "Most messages in one mailbox",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Count,
            range: 1..=MAILBOX_MESSAGES_MAX,
            get: |config| config.mailbox_messages.into(),
            set: |config, value| config.mailbox_messages = narrow(value),
        }),
    },
    Setting {
        key: Key::MailboxBytes,
        group: Group::Ours,
        flag: "--mailbox-bytes",
        variable: "NPCHAT_MAILBOX_BYTES",
        placeholder: "SIZE",
        help: "Most bytes of messages in one mailbox",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Bytes,
            range: 1..=u32::MAX as u64,
            get: |config| config.mailbox_bytes.into(),
            set: |config, value| config.mailbox_bytes = narrow(value),
        }),
    },
    Setting {
        key: Key::Memory,
        group: Group::Ours,
        flag: "--memory",
        variable: "NPCHAT_MEMORY",
        placeholder: "SIZE",
        help: "Budget for all messages with their overhead",
        computed_default: Some("half of the memory"),
        number: Some(Number {
            unit: Unit::Bytes,
            range: MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES,
            get: |config| config.memory,
            set: |config, value| config.memory = value,
        }),
    },
    Setting {
        key: Key::ConnectionMemory,
        group: Group::Ours,
        flag: "--connection-memory",
        variable: "NPCHAT_CONNECTION_MEMORY",
        placeholder: "SIZE",
        help: "Budget for what connections hold",
        computed_default: Some("memory / 4"),
        number: Some(Number {
            unit: Unit::Bytes,
            range: CONNECTION_MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES,
            get: |config| config.connection_memory_bytes(),
            set: |config, value| config.connection_memory = Some(value),
        }),
    },
    Setting {
        key: Key::Connections,
        group: Group::Ours,
        flag: "--connections",
        variable: "NPCHAT_CONNECTIONS",
        placeholder: "COUNT",
        help: "Most connections",
        computed_default: Some("memory / 4KiB"),
        number: Some(Number {
            unit: Unit::Count,
            range: 1..=CONNECTIONS_MAX,
            get: |config| config.max_connections().into(),
            set: |config, value| config.connections = Some(narrow(value)),
        }),
    },
    Setting {
        key: Key::KeepAlive,
        group: Group::Ours,
        flag: "--keep-alive",
        variable: "NPCHAT_KEEP_ALIVE",
        placeholder: "DURATION",
        help: "How long an unused connection is kept",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 1..=HOUR_SECONDS,
            get: |config| config.timeouts.keep_alive.as_secs(),
            set: |config, value| config.timeouts.keep_alive = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::Ping,
        group: Group::Ours,
        flag: "--ping",
        variable: "NPCHAT_PING",
        placeholder: "DURATION",
        help: "Longest that an idle session isn't pinged",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 1..=HOUR_SECONDS,
            get: |config| config.timeouts.ping.as_secs(),
            set: |config, value| config.timeouts.ping = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::PongTimeout,
        group: Group::Ours,
        flag: "--pong-timeout",
        variable: "NPCHAT_PONG_TIMEOUT",
        placeholder: "DURATION",
        help: "Longest wait for a pong",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 1..=HOUR_SECONDS,
            get: |config| config.timeouts.pong.as_secs(),
            set: |config, value| config.timeouts.pong = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::Drain,
        group: Group::Ours,
        flag: "--drain",
        variable: "NPCHAT_DRAIN",
        placeholder: "DURATION",
        help: "Longest that the server takes to stop",
        computed_default: None,
        number: Some(Number {
            unit: Unit::Seconds,
            range: 0..=HOUR_SECONDS,
            get: |config| config.drain.as_secs(),
            set: |config, value| config.drain = Duration::from_secs(value),
        }),
    },
    Setting {
        key: Key::Log,
        group: Group::Ours,
        flag: "--log",
        variable: "NPCHAT_LOG",
        placeholder: "LEVEL",
        help: "off, error, warn, info, debug or trace",
        computed_default: None,
        number: None,
    },
];

/// A value whose row keeps it within 32 bits.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

const _: () = {
    assert!(CLEAN_PERIOD_MIN_SECONDS * 1000 == 2 * limits::EXPIRY_TICK_MILLIS);
    assert!(MESSAGE_MAX_BYTES <= u32::MAX as u64);
    assert!(MAILBOX_MESSAGES_MAX < 1 << 31);
    assert!(TTL_MAX_SECONDS <= u32::MAX as u64);
    assert!(limits::MESSAGE_ROOM_BYTES < MEMORY_MIN_BYTES);
};
