//! Where the server listens: the addresses, and what is spoken there. To bind them is not done here.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::values::{self, Quoted, Unit};

/// Longest name of a host (RFC 1035 §3.1), with a dot at its end.
const NAME_MAX_BYTES: usize = 254;

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

impl Default for Listen {
    fn default() -> Self {
        Self::Default { port: 8000 }
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

impl FromStr for Endpoint {
    type Err = String;

    /// Reads an address with a port, with a scheme or without one; spaces around it don't count.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, address) = match text.split_once("://") {
            None => (Ok(None), text),
            Some(("http", address)) => (Ok(Some(Scheme::Http)), address),
            Some(("https", address)) => (Ok(Some(Scheme::Https)), address),
            Some(_) => (Err(()), text),
        };
        match (scheme, self::address(address)) {
            (Ok(scheme), Some(address)) => Ok(Self { scheme, address }),
            _ => Err(format!(
                "{} is not an address with a port such as 127.0.0.1:8000, localhost:8000, :8000 or https://[::1]:8443",
                Quoted(text)
            )),
        }
    }
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
    /// HTTP and WebSocket over TLS.
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

/// Reads an address as Go's programs take it: an IP address, a name or nothing, and a port.
fn address(text: &str) -> Option<Address> {
    if let Ok(address) = text.parse() {
        return Some(Address::Socket(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = values::port(port).ok()?;
    if name.is_empty() {
        return Some(Address::Any { port });
    }
    is_name(name).then(|| Address::Named {
        name: name.to_owned(),
        port,
    })
}

/// Whether it may be a host's name. One whose last label is a number would be an IP address that is wrong.
fn is_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_MAX_BYTES && text.bytes().all(is_known) && !last.is_empty() && Unit::Count.parse(last).is_none()
}
