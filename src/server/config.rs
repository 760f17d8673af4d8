//! What an operator can set: the options with their units, their defaults, and the one place where they are validated.
//!
//! What nobody needs to set is in [`crate::server::limits`]. The command line is `bin/npchatd.rs`'s to read, not this module's.

mod environment;
mod resolve;
mod settings;
mod values;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{error, fmt};

use tracing::level_filters::LevelFilter;

pub use self::environment::warnings;
pub use self::settings::{Group, Key, Number, SETTINGS, Setting};
pub use self::values::Unit;

use crate::protocol::host::Host;
use crate::server::{limits, system};

/// Default memory budget where the machine doesn't tell how much it has.
const FALLBACK_MEMORY_BYTES: u64 = 256 * values::MIB;

/// All that an operator can set.
///
/// Each field's range is the one of its row in [`SETTINGS`]. A `Config` from [`Config::resolve`] keeps to all of them;
/// one that was put together by hand is checked with [`Config::validate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Hosts that a login with npchat.2 may be bound to; if there are none, the one that its request names.
    pub hosts: Vec<Host>,
    /// Worker threads.
    pub workers: usize,
    /// Time to live of a message whose sender asks for none, in whole seconds, at most [`Config::max_ttl`].
    pub message_ttl: Duration,
    /// Longest time to live that a sender may ask for, in whole seconds (RFC 8030 §5.2).
    pub max_ttl: Duration,
    /// Longest that an expired message may hold memory, in whole seconds. It is never delivered late.
    pub clean_period: Duration,
    /// Challenges that one signing key signs before a fresh one is made.
    pub fresh_key: u32,
    /// Largest body of a message in bytes, at most [`Config::mailbox_bytes`].
    pub max_message: u32,
    /// Most messages that one mailbox holds.
    pub mailbox_messages: u32,
    /// Most bytes that the bodies in one mailbox add up to.
    pub mailbox_bytes: u32,
    /// Memory budget of mail in bytes: of all segments that messages and mailboxes lie in, and of bodies that are coming in.
    pub memory: u64,
    /// Budget in bytes for what connections hold beside themselves; `None`: a quarter of [`Config::memory`], and 4
    /// MiB at least.
    pub connection_memory: Option<u64>,
    /// Most connections, as far as the limit of open files allows; `None`: one for each 4 KiB of
    /// [`Config::memory`], and 1024 at
    /// least.
    pub connections: Option<u32>,
    /// From the first signal to the end of the process, in whole seconds.
    pub drain: Duration,
    /// Certificate and key for TLS.
    pub certificate: Option<CertificateFiles>,
    /// What is logged.
    pub log: LevelFilter,
    /// Deadlines of connections.
    pub timeouts: Timeouts,
}

impl Config {
    /// Checks every number against its range, and the numbers against each other.
    ///
    /// # Errors
    ///
    /// The first setting, in the order of [`SETTINGS`], that is out of its range or contradicts another.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check(|_| None)
    }

    /// Checks like [`Config::validate`], and blames a setting under the name that `given` has for it, if any.
    fn check(&self, given: impl Fn(Key) -> Option<&'static str>) -> Result<(), ConfigError> {
        for setting in &SETTINGS {
            if let Some(number) = &setting.number {
                let value = (number.get)(self);
                let name = given(setting.key).unwrap_or(setting.flag);
                number
                    .check(value, &number.unit.shown(value))
                    .map_err(|problem| ConfigError { name, problem })?;
            }
        }
        if let Some(problem) = self.listen.problem(self.certificate.is_some()) {
            let name = given(Key::Listen).unwrap_or(Key::Listen.setting().flag);
            return Err(ConfigError { name, problem });
        }
        RELATIONS.iter().try_for_each(|relation| relation.check(self, &given))
    }

    /// Budget in bytes for what connections hold, as given or by default.
    #[must_use]
    pub fn connection_memory_bytes(&self) -> u64 {
        let by_default = (self.memory / 4).max(settings::CONNECTION_MEMORY_MIN_BYTES);
        self.connection_memory.unwrap_or(by_default)
    }

    /// Most connections, as given or by default.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        let by_default = (self.memory / 4096).clamp(1024, settings::CONNECTIONS_MAX);
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

    /// The value of a setting as text with its unit, as `--check` prints it.
    #[must_use]
    pub fn shown(&self, setting: &Setting) -> String {
        let none = || "none".to_owned();
        let path = |path: &PathBuf| path.display().to_string();
        let files = self.certificate.as_ref();
        match setting.key {
            Key::Port => match &self.listen {
                Listen::Default { port } => port.to_string(),
                Listen::Addresses(_) => none(),
            },
            Key::Listen => match &self.listen {
                Listen::Default { .. } => "all addresses".to_owned(),
                Listen::Addresses(list) => list.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(","),
            },
            Key::Host if self.hosts.is_empty() => "as requested".to_owned(),
            Key::Host => self.hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(","),
            Key::Certificate => files.map_or_else(none, |files| path(&files.certificate)),
            Key::PrivateKey => files.map_or_else(none, |files| path(&files.private_key)),
            Key::Log => self.log.to_string(),
            _ => {
                let shown = |number: &Number| number.unit.shown((number.get)(self));
                setting.number.as_ref().map_or_else(none, shown)
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let memory = system::memory_bytes().map_or(FALLBACK_MEMORY_BYTES, |bytes| bytes / 2);
        Self {
            listen: Listen::Default { port: 8000 },
            hosts: Vec::new(),
            workers: system::cores().min(settings::WORKERS_MAX),
            message_ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(7 * values::DAY),
            clean_period: Duration::from_secs(30),
            fresh_key: 5,
            max_message: 64 * 1024,
            mailbox_messages: 4096,
            mailbox_bytes: 8 * 1024 * 1024,
            // Whole MiB, so that the number can be read.
            memory: (memory / values::MIB * values::MIB).max(settings::MEMORY_MIN_BYTES),
            connection_memory: None,
            connections: None,
            drain: Duration::from_secs(10),
            certificate: None,
            log: LevelFilter::INFO,
            timeouts: Timeouts::default(),
        }
    }
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Every address of the machine: `[::]` for IPv6 and IPv4, or `0.0.0.0` on a machine without IPv6.
    Default {
        /// TCP port; 0 takes any that is free.
        port: u16,
    },
    /// These addresses, at least one.
    Addresses(Vec<Endpoint>),
}

impl Listen {
    /// What is wrong with it.
    fn problem(&self, has_certificate: bool) -> Option<String> {
        let Self::Addresses(endpoints) = self else {
            return None;
        };
        if endpoints.is_empty() {
            return Some("at least one address is needed".to_owned());
        }
        let needs_one = |endpoint: &&Endpoint| endpoint.scheme == Some(Scheme::Https) && !has_certificate;
        let [certificate, private_key] = [Key::Certificate, Key::PrivateKey].map(|key| key.setting().flag);
        let endpoint = endpoints.iter().find(needs_one)?;
        Some(format!("{endpoint} needs {certificate} and {private_key}"))
    }
}

/// An address to listen on, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// If none is said, it is `https` where there is a certificate, and `http` where there is none.
    pub scheme: Option<Scheme>,
    /// Where that is.
    pub address: Address,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            scheme: None,
            address: Address::Socket(address),
        }
    }
}

/// Where to listen, as it is given. Port 0 takes any that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// This address.
    Socket(SocketAddr),
    /// `:8000`: every address of the machine, as [`Listen::Default`] has it.
    Any {
        /// TCP port.
        port: u16,
    },
    /// `localhost:8000`: all addresses that the name has when the server starts.
    Named {
        /// A name of letters, digits, hyphens, dots and underscores.
        name: String,
        /// TCP port.
        port: u16,
    },
}

impl Address {
    /// The one address that it is, if it is one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Any { .. } | Self::Named { .. } => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Any { port } => write!(f, ":{port}"),
            Self::Named { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            None => self.address.fmt(f),
            Some(scheme) => write!(f, "{scheme}://{}", self.address),
        }
    }
}

/// What is spoken at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP and WebSocket in the clear.
    Http,
    /// The same over TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The two files that [`crate::server::certificate::load`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file of the certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub private_key: PathBuf,
}

/// Deadlines of connections. Only `keep_alive`, `ping` and `pong` are options; tests shorten the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// See [`limits::HEAD_DEADLINE_SECONDS`].
    pub head: Duration,
    /// See [`limits::BODY_GRACE_SECONDS`].
    pub body_grace: Duration,
    /// See [`limits::MESSAGE_GRACE_SECONDS`].
    pub message_grace: Duration,
    /// How long a connection is kept between two requests, in whole seconds.
    pub keep_alive: Duration,
    /// See [`limits::LOGIN_DEADLINE_SECONDS`].
    pub login: Duration,
    /// See [`limits::WRITE_STALL_SECONDS`].
    pub write_stall: Duration,
    /// Longest that a session without mail goes unasked whether it is still there, in whole seconds.
    pub ping: Duration,
    /// From a ping to the end of a session that doesn't answer it, in whole seconds.
    pub pong: Duration,
    /// See [`limits::LINGER_SECONDS`].
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(limits::HEAD_DEADLINE_SECONDS),
            body_grace: Duration::from_secs(limits::BODY_GRACE_SECONDS),
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

/// A setting that is wrong: which one, by the name under which it was given, and why. Displayed on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl error::Error for ConfigError {}

/// One number that has to fit into another.
struct Relation {
    inner: Key,
    outer: Key,
    /// What the outer one needs beside the inner one.
    extra: fn(u64) -> u64,
}

const RELATIONS: [Relation; 3] = [
    Relation {
        inner: Key::MessageTtl,
        outer: Key::MaxTtl,
        extra: |_| 0,
    },
    Relation {
        inner: Key::MaxMessage,
        outer: Key::MailboxBytes,
        extra: |_| 0,
    },
    Relation {
        inner: Key::MaxMessage,
        outer: Key::Memory,
        extra: |message| message / 8 + limits::MESSAGE_ROOM_BYTES,
    },
];

impl Relation {
    /// Blames the setting that was given: a default is nobody's fault.
    fn check(&self, config: &Config, given: &impl Fn(Key) -> Option<&'static str>) -> Result<(), ConfigError> {
        let (inner, outer) = (self.inner.setting(), self.outer.setting());
        let (Some(inner_number), Some(outer_number)) = (&inner.number, &outer.number) else {
            return Ok(());
        };
        let (inner_value, outer_value) = ((inner_number.get)(config), (outer_number.get)(config));
        if inner_value.saturating_add((self.extra)(inner_value)) <= outer_value {
            return Ok(());
        }
        let (inner_text, outer_text) = (config.shown(inner), config.shown(outer));
        Err(match (given(self.inner), given(self.outer)) {
            (None, Some(name)) => ConfigError {
                name,
                problem: format!("{outer_text} is too little for {} of {inner_text}", inner.flag),
            },
            (name, _) => ConfigError {
                name: name.unwrap_or(inner.flag),
                problem: format!("{inner_text} is too much for {} of {outer_text}", outer.flag),
            },
        })
    }
}
