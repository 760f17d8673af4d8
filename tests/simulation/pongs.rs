//! How clients answer the server's pings, and pongs that answer none.

use testkit::Random;

/// How a client answers the server's pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// As soon as it has read them, as RFC 6455 has it.
    AtOnce,
    /// Some of them.
    Some,
    /// At any later time.
    Late,
    Never,
}

impl Answering {
    /// Most clients do as they should.
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.below(12) {
            0 => Self::Never,
            1 => Self::Some,
            2 => Self::Late,
            _ => Self::AtOnce,
        }
    }
}

/// The payload of a pong that nobody asked for, or asked for once only, after a ping with the payload `last`.
pub(crate) fn forged(last: &[u8], random: &mut Random) -> Vec<u8> {
    let number = <[u8; 4]>::try_from(last).map_or(0, u32::from_be_bytes);
    match random.below(10) {
        0 => Vec::new(),
        1 => random.next().to_be_bytes()[..4].to_vec(),
        2 => number.wrapping_sub(1).to_be_bytes().to_vec(),
        3 => last.to_vec(),
        4 => vec![0; 4],
        _ => number.wrapping_add(1).to_be_bytes().to_vec(),
    }
}
