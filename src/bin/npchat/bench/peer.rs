//! What is measured: where it is, how it is reached, and its process if that is known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bench::process::Process;
use crate::bench::session::Login;

/// Connections in a row from one source address.
const CONNECTIONS_PER_SOURCE: usize = 1024;
/// Source addresses on loopback, each with 28,000 ports for every address of a server.
const SOURCES: usize = 200;

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What the URL calls it: host, and port unless that is the scheme's own.
    pub(crate) host: String,
    /// Its process, if it is known.
    pub(crate) process: Option<Process>,
    /// Whether it asks for a login.
    pub(crate) login: Login,
    /// The options that name it to a child.
    pub(crate) arguments: Vec<String>,
    /// How many connections were begun, by all who have this peer.
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// The server at a URL such as `http://127.0.0.1:8000`.
    ///
    /// # Errors
    /// What is wrong with the URL, or that its name isn't known.
    pub(crate) fn at(url: &str, process: Option<Process>) -> Result<Self, String> {
        let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
        let host = host.ok_or_else(|| format!("{url}: a server's address looks like http://127.0.0.1:8000"))?;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let addresses = if has_port {
            host.to_socket_addrs()
        } else {
            format!("{host}:80").to_socket_addrs()
        };
        let mut addresses = addresses.map_err(|error| format!("{url}: {error}"))?;
        Ok(Self {
            address: addresses.next().ok_or_else(|| format!("{url}: no address"))?,
            host: host.to_owned(),
            process,
            login: Login::Needed,
            arguments: vec!["--url".to_owned(), url.to_owned()],
            connections: Arc::default(),
        })
    }

    /// The floor at this address.
    pub(crate) fn floor(address: SocketAddr, process: Process) -> Self {
        Self {
            address,
            host: address.to_string(),
            process: Some(process),
            login: Login::None,
            arguments: Vec::new(),
            connections: Arc::default(),
        }
    }

    /// Where the next connection is to come from, if that isn't left to the system: ports are few, addresses of loopback many.
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

    #[test]
    fn a_url_names_a_host_and_maybe_a_port() {
        let at = |url| Peer::at(url, None).map(|peer| (peer.address.to_string(), peer.host));
        let found = |address: &str, host: &str| Ok((address.to_owned(), host.to_owned()));
        assert_eq!(at("http://127.0.0.1:8000"), found("127.0.0.1:8000", "127.0.0.1:8000"));
        assert_eq!(at("http://127.0.0.1/"), found("127.0.0.1:80", "127.0.0.1"));
        assert_eq!(at("http://[::1]:8000/"), found("[::1]:8000", "[::1]:8000"));
        assert_eq!(at("http://[::1]"), found("[::1]:80", "[::1]"));
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
    fn many_connections_on_loopback_come_from_many_addresses() {
        let peer = Peer::at("http://127.0.0.1:8000", None).expect("a good URL");
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
        let elsewhere = Peer::at("http://192.0.2.1:8000", None).expect("a good URL");
        assert!((0..CONNECTIONS_PER_SOURCE * 3).all(|_| elsewhere.next_source().is_none()));
    }
}
