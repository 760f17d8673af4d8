//! What is measured: where it is, how it is reached, and its process if that is known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::tls::{self, Tls};

/// Connections in a row from one source address.
const CONNECTIONS_PER_SOURCE: usize = 1024;
/// Source addresses on loopback, each with 28,000 ports for every address of a server.
const SOURCES: usize = 200;

/// How a server is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Route {
    url: String,
    tls: tls::Options,
}

/// Whether a server asks for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Needed,
    /// It is the floor, which takes any session.
    None,
}

#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Host and maybe port, as they stand in the URL.
    pub(crate) host: String,
    pub(crate) process: Option<Process>,
    /// Whether it asks for a login.
    pub(crate) login: Login,
    /// What its connections are made secure with, if they are.
    pub(crate) tls: Option<Tls>,
    /// How a child reaches it.
    pub(crate) route: Route,
    /// How many connections were begun, by all threads together.
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// The server at a URL such as `http://127.0.0.1:8000` or `https://relay.example`.
    ///
    /// # Errors
    /// What is wrong with the URL or its TLS, or that its name isn't known.
    pub(crate) fn at(url: &str, process: Option<Process>, tls: &tls::Options) -> Result<Self, String> {
        let parts = url.split_once("://").and_then(|(scheme, rest)| match scheme {
            "http" => Some((rest, 80, false)),
            "https" => Some((rest, 443, true)),
            _ => None,
        });
        let (host, port, is_secure) = parts
            .map(|(rest, port, is_secure)| (rest.trim_end_matches('/'), port, is_secure))
            .filter(|(host, ..)| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
            .ok_or_else(|| format!("{url}: a server's address looks like http://127.0.0.1:8000"))?;
        let named_port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let addresses = match named_port {
            Some(_) => host.to_socket_addrs(),
            None => format!("{host}:{port}").to_socket_addrs(),
        };
        let mut addresses = addresses.map_err(|error| format!("{url}: {error}"))?;
        let route = Route {
            url: url.to_owned(),
            tls: tls.clone(),
        };
        let tls = if is_secure {
            Some(Tls::new(named_port.map_or(host, |(name, _)| name), tls)?)
        } else {
            None
        };
        Ok(Self {
            address: addresses.next().ok_or_else(|| format!("{url}: no address"))?,
            host: host.to_owned(),
            process,
            login: Login::Needed,
            tls,
            route,
            connections: Arc::default(),
        })
    }

    /// The server that a parent process reaches like this.
    pub(crate) fn by(route: &Route) -> Result<Self, String> {
        Self::at(&route.url, None, &route.tls)
    }

    pub(crate) fn floor(address: SocketAddr, process: Process) -> Self {
        Self {
            address,
            host: address.to_string(),
            process: Some(process),
            login: Login::None,
            tls: None,
            route: Route::default(),
            connections: Arc::default(),
        }
    }

    /// Where the next connection is to come from, if that isn't left to the system: ports are few, addresses of
    /// loopback many.
    pub(crate) fn next_source(&self) -> Option<IpAddr> {
        if !matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            return None;
        }
        let turn = self.connections.fetch_add(1, Ordering::Relaxed) / CONNECTIONS_PER_SOURCE % SOURCES;
        let last = u8::try_from(turn).ok().filter(|turn| *turn > 0)?;
        Some(Ipv4Addr::new(127, 0, 1, last).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Result<Peer, String> {
        let tls = tls::Options {
            insecure: true,
            ..tls::Options::default()
        };
        Peer::at(url, None, &tls)
    }

    #[test]
    fn a_url_names_a_host_and_maybe_a_port() {
        let at = |url| at(url).map(|peer| (peer.address.to_string(), peer.host, peer.tls.is_some()));
        let found = |address: &str, host: &str| Ok((address.to_owned(), host.to_owned(), false));
        let secure = |address: &str, host: &str| Ok((address.to_owned(), host.to_owned(), true));
        assert_eq!(at("http://127.0.0.1:8000"), found("127.0.0.1:8000", "127.0.0.1:8000"));
        assert_eq!(at("http://127.0.0.1/"), found("127.0.0.1:80", "127.0.0.1"));
        assert_eq!(at("http://[::1]:8000/"), found("[::1]:8000", "[::1]:8000"));
        assert_eq!(at("http://[::1]"), found("[::1]:80", "[::1]"));
        assert_eq!(at("https://127.0.0.1"), secure("127.0.0.1:443", "127.0.0.1"));
        assert_eq!(at("https://[::1]:8443/"), secure("[::1]:8443", "[::1]:8443"));
        for bad in [
            "",
            "http://",
            "127.0.0.1:8000",
            "ftp://127.0.0.1",
            "http://127.0.0.1/id",
            "http://127.0.0.1:70000",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn https_needs_to_know_whom_to_trust() {
        assert!(Peer::at("https://127.0.0.1", None, &tls::Options::default()).is_err());
        assert!(Peer::at("http://127.0.0.1", None, &tls::Options::default()).is_ok());
    }

    #[test]
    fn many_connections_on_loopback_come_from_many_addresses() {
        let peer = at("http://127.0.0.1:8000").expect("a good URL");
        let sources: Vec<_> = (0..CONNECTIONS_PER_SOURCE * 3).map(|_| peer.next_source()).collect();
        assert_eq!(sources[0], None);
        assert_eq!(
            sources[CONNECTIONS_PER_SOURCE],
            Some(Ipv4Addr::new(127, 0, 1, 1).into())
        );
        assert_eq!(
            sources[CONNECTIONS_PER_SOURCE * 3 - 1],
            Some(Ipv4Addr::new(127, 0, 1, 2).into())
        );
        let elsewhere = at("http://192.0.2.1:8000").expect("a good URL");
        assert!((0..CONNECTIONS_PER_SOURCE * 3).all(|_| elsewhere.next_source().is_none()));
    }
}
