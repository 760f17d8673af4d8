//! The host that a login is bound to, in the one spelling in which it is signed (PROTOCOL.md part 2, npchat.2).
//!
//! Nothing here knows which hosts a relay answers for.

use std::fmt;

use crate::protocol::authority::is_authority;

/// Ports that a client leaves out, of `ws` and of `wss`.
const DEFAULT_PORTS: [u32; 2] = [80, 443];

/// What a client connected to: `host [":" port]` in lower case, without a port that is a scheme's default.
///
/// The name or address is taken as it stands but for its case, since the client signs what its own URL says:
/// a trailing dot stays, and an IPv6 address isn't shortened. A browser's `URL.host` is in this form already.
///
/// Both default ports are left out: behind a proxy that ends TLS the server can't tell which scheme the client used,
/// and some clients and proxies write the port into `Host` all the same. That accepts no solution made for another
/// place, since a client whose port isn't its scheme's default signs the port, which then matches nothing: no client
/// logs in with npchat.2 to `wss` at port 80 or to `ws` at port 443.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(Box<str>);

impl Host {
    /// Reads an authority (RFC 9110 §7.2), as `Host` carries it; `None` if it isn't one.
    #[must_use]
    pub fn parse(authority: &[u8]) -> Option<Self> {
        if !is_authority(authority) {
            return None;
        }
        let text = str::from_utf8(authority).ok()?;
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
            // No colon, or the last one is within an IPv6 address.
            _ => (text, ""),
        };
        let mut host = name.to_ascii_lowercase();
        // No digits after the colon mean the default too (RFC 3986 §6.2.3).
        if let Ok(port) = port.parse::<u32>()
            && !DEFAULT_PORTS.contains(&port)
        {
            host.push(':');
            host.push_str(itoa::Buffer::new().format(port));
        }
        Some(Self(host.into_boxed_str()))
    }

    /// The bytes that a login's solution is over, between its zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(authority: &str) -> Option<String> {
        Host::parse(authority.as_bytes()).map(|host| host.to_string())
    }

    #[test]
    fn a_host_is_in_lower_case_and_without_a_default_port() {
        for (authority, host) in [
            ("Chat.Example.ORG", "chat.example.org"),
            ("chat.example.org:80", "chat.example.org"),
            ("chat.example.org:443", "chat.example.org"),
            ("chat.example.org:", "chat.example.org"),
            ("chat.example.org:00443", "chat.example.org"),
            ("chat.example.org:08443", "chat.example.org:8443"),
            ("chat.example.org:8443", "chat.example.org:8443"),
            ("chat.example.org:4430", "chat.example.org:4430"),
            ("chat.example.org:0", "chat.example.org:0"),
            ("192.0.2.7:80", "192.0.2.7"),
        ] {
            assert_eq!(spelled(authority).as_deref(), Some(host), "{authority}");
        }
    }

    #[test]
    fn the_last_group_of_an_ipv6_address_is_no_port() {
        for (authority, host) in [
            ("[::1]", "[::1]"),
            ("[2001:DB8::80]", "[2001:db8::80]"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::1]:443", "[::1]"),
            ("[::1]:", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:80", "[0:0:0:0:0:0:0:1]"),
        ] {
            assert_eq!(spelled(authority).as_deref(), Some(host), "{authority}");
        }
    }

    #[test]
    fn a_trailing_dot_makes_another_host() {
        assert_eq!(spelled("relay.example.:443").as_deref(), Some("relay.example."));
        assert_ne!(spelled("relay.example."), spelled("relay.example"));
    }

    #[test]
    fn a_host_is_read_back_as_itself() {
        for authority in ["A:80", "a:081", "[::A]:9", "a.:443", "caf%C3%A9"] {
            let host = Host::parse(authority.as_bytes()).unwrap();
            assert_eq!(Host::parse(host.as_bytes()), Some(host), "{authority}");
        }
    }

    #[test]
    fn what_is_no_authority_is_no_host() {
        for text in [
            "",
            ":80",
            "wss://relay.example",
            "relay.example/",
            "u@relay.example",
            "a:b",
            "a:80:80",
            "a\0b",
        ] {
            assert_eq!(spelled(text), None, "{text}");
        }
    }
}
