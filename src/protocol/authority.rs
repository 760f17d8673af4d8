//! The authority of a URL as HTTP carries it, a host and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2): its grammar
//! alone.
//!
//! What a login is bound to is [`crate::protocol::host`].

use std::net::Ipv6Addr;

/// Whether this is `uri-host [":" port]` with a host that isn't empty (RFC 9110 §7.2, RFC 3986 §3.2).
#[must_use]
pub fn is_authority(text: &[u8]) -> bool {
    let (is_host, port) = if let [b'[', literal @ ..] = text {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = literal.split_at(end);
        (is_ipv6(address), rest.get(1..).unwrap_or_default())
    } else {
        let (name, port) = text.split_at(reg_name_length(text));
        (!name.is_empty(), port)
    };
    is_host
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// How much of the text is a `reg-name` (RFC 3986 §3.2.2); an IPv4 address looks the same.
fn reg_name_length(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some(special) = rest.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]) {
        rest = match rest.get(special..).unwrap_or_default() {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            other => return text.len() - other.len(),
        };
    }
    text.len()
}

/// [`is_name_byte`] of every byte: each request has a `Host` to be checked.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = is_name_byte(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// RFC 3986 §2, `unreserved` and `sub-delims`.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for text in [
            "relay.example",
            "relay.example:8080",
            "relay.example:",
            "192.0.2.7:1",
            "[::1]",
            "[2001:db8::7]:443",
            "a_b~c",
            "caf%C3%A9",
        ] {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            ":80",
            "[]",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[192.0.2.7]",
            "::1",
            "a b",
            "a,b c",
            "a/b",
            "a?b",
            "u@a",
            "a:b",
            "a:80:80",
            "a:123456",
            "a:-1",
            "%zz",
            "%2",
            "caf\u{e9}",
            "http://a",
        ] {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }
}
