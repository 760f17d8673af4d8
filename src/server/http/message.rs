//! The words of HTTP that its parts have in common: methods, framing, fields that come once, and how values are read.
//!
//! Nothing here reads a whole head.

/// Methods (RFC 9110 §9). Their names are case-sensitive (§9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// Any other one of RFC 9110 §9, or PATCH (RFC 5789).
    Other,
    /// Any other token.
    Unknown,
}

impl Method {
    pub(super) fn from_token(token: &str) -> Self {
        match token {
            "POST" => Self::Post,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PUT" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Self::Other,
            _ => Self::Unknown,
        }
    }
}

/// How the end of a request's body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Neither length nor coding: there is no body.
    None,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

impl Framing {
    /// The body's length in bytes, if the head states it.
    #[must_use]
    pub const fn length(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(length) => Some(length),
            Self::Chunked => None,
        }
    }
}

/// A field that may come once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Once<'b> {
    /// It doesn't come.
    #[default]
    Absent,
    /// It comes once, with this value, without white space around it.
    Value(&'b [u8]),
    /// It comes more than once.
    Repeated,
}

impl<'b> Once<'b> {
    pub(super) fn add(&mut self, value: &'b [u8]) {
        *self = match self {
            Self::Absent => Self::Value(value),
            Self::Value(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// Elements of a comma-separated list (RFC 9110 §5.6.1), empty ones too.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Why a text isn't a number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDecimal {
    /// It is empty, or some byte is no digit.
    NoNumber,
    /// It is over [`u64::MAX`].
    TooLarge,
}

/// Reads `1*DIGIT`: no sign, no space, any number of leading zeros.
///
/// # Errors
/// Any [`NotDecimal`].
pub fn decimal(text: &[u8]) -> Result<u64, NotDecimal> {
    if text.is_empty() {
        return Err(NotDecimal::NoNumber);
    }
    let mut number = Some(0_u64);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(NotDecimal::NoNumber);
        }
        number = number.and_then(|number| number.checked_mul(10)?.checked_add(digit.into()));
    }
    number.ok_or(NotDecimal::TooLarge)
}

/// RFC 9110 §5.6.2, `tchar`.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
