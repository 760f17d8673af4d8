//! The body of a request, taken out of its framing (RFC 9112 §6 and §7.1).
//!
//! Strict where others are lenient, since what two readers see differently can smuggle a request past one of them.
//! Extensions and trailers are checked and thrown away.

use super::error::HttpError;
use super::limits::{CHUNK_EXTENSION_MAX_BYTES, TRAILER_MAX_BYTES};
use super::message::{Framing, is_token_byte};

/// Takes a body out of input that comes in pieces.
///
/// 1. Call [`BodyDecoder::decode`] with what is unread. A body with a length that has come whole is one slice of it.
/// 2. Go on with the rest of the input until [`Decoded::is_done`], or until nothing is left; then wait for more.
/// 3. A body that isn't done after one call is gathered with [`BodyDecoder::append`].
/// 4. After an error, or once it is done, the decoder has said all that it has to say.
#[derive(Debug)]
pub struct BodyDecoder(Kind);

/// One piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'i> {
    /// How much of the input has been read, in bytes: at least one, unless the input was empty or the body is done.
    pub consumed: usize,
    /// What that held of the body, possibly nothing.
    pub data: &'i [u8],
    /// Whether the body has ended; what is left of the input is the next request.
    pub is_done: bool,
}

/// How far [`BodyDecoder::append`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyProgress {
    /// How much of the input has been read, in bytes: all of it, unless the body is done.
    pub consumed: usize,
    /// Whether the body has ended.
    pub is_done: bool,
}

impl BodyDecoder {
    /// A decoder for a body of at most `max_bytes`. [`Framing::None`] is a body of no bytes.
    ///
    /// # Errors
    /// [`HttpError::MessageTooLarge`] when the length alone shows it.
    pub fn new(framing: Framing, max_bytes: u64) -> Result<Self, HttpError> {
        match framing {
            Framing::None => Ok(Self(Kind::Length { remaining: 0 })),
            Framing::Length(length) if length > max_bytes => Err(HttpError::MessageTooLarge),
            Framing::Length(length) => Ok(Self(Kind::Length { remaining: length })),
            Framing::Chunked => Ok(Self(Kind::Chunked(ChunkDecoder::new(max_bytes)))),
        }
    }

    /// Reads the input up to the end of the next piece of the body, or of the body.
    ///
    /// # Errors
    /// [`HttpError::BadChunk`] for a chunk or trailer that breaks RFC 9112 §7.1 or its limits;
    /// [`HttpError::MessageTooLarge`] as soon as a chunk's size says so.
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, HttpError> {
        match &mut self.0 {
            Kind::Length { remaining } => {
                let data = take(input, remaining);
                Ok(Decoded {
                    consumed: data.len(),
                    data,
                    is_done: *remaining == 0,
                })
            }
            Kind::Chunked(chunks) => chunks.decode(input),
        }
    }

    /// Reads all of the input, or up to the end of the body, and gives each piece that it held of the body to `keep`.
    ///
    /// # Errors
    /// Those of [`BodyDecoder::decode`].
    pub fn read(&mut self, input: &[u8], mut keep: impl FnMut(&[u8])) -> Result<BodyProgress, HttpError> {
        let mut rest = input;
        loop {
            let piece = self.decode(rest)?;
            keep(piece.data);
            rest = rest.get(piece.consumed..).unwrap_or_default();
            if piece.is_done || rest.is_empty() {
                return Ok(BodyProgress {
                    consumed: input.len() - rest.len(),
                    is_done: piece.is_done,
                });
            }
        }
    }

    /// Reads all of the input, or up to the end of the body, and appends what it held of the body.
    ///
    /// # Errors
    /// Those of [`BodyDecoder::decode`].
    pub fn append(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<BodyProgress, HttpError> {
        self.read(input, |piece| body.extend_from_slice(piece))
    }
}

#[derive(Debug)]
enum Kind {
    Length { remaining: u64 },
    Chunked(ChunkDecoder),
}

/// The chunked coding, byte by byte but for the data.
#[derive(Debug)]
struct ChunkDecoder {
    state: ChunkState,
    message_bytes_left: u64,
    /// For all chunks together: a limit for each alone would let a small message come with any amount of them.
    extension_bytes_left: usize,
    trailer_bytes_left: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size { size: u64, digits: u8 },
    Extension { size: u64, part: ExtensionPart },
    SizeLineFeed { size: u64 },
    Data { remaining: u64 },
    DataCarriageReturn,
    DataLineFeed,
    TrailerLineStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

/// What the next byte of chunk extensions belongs to (RFC 9112 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtensionPart {
    /// White space, after which another extension must begin.
    Gap,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    AfterQuoted,
}

impl ExtensionPart {
    /// The part that follows, or `None` for a byte that may not stand here.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Quoted, b'"') => Some(Self::AfterQuoted),
            (Self::Quoted, b'\\') => Some(Self::QuotedPair),
            (Self::Quoted | Self::QuotedPair, _) => is_field_byte(byte).then_some(Self::Quoted),
            (Self::BeforeName | Self::BeforeValue | Self::Gap | Self::AfterName, b' ' | b'\t') => Some(self),
            (Self::Name, b' ' | b'\t') => Some(Self::AfterName),
            (Self::Value | Self::AfterQuoted, b' ' | b'\t') => Some(Self::Gap),
            (Self::Gap | Self::Name | Self::AfterName | Self::Value | Self::AfterQuoted, b';') => {
                Some(Self::BeforeName)
            }
            (Self::Name | Self::AfterName, b'=') => Some(Self::BeforeValue),
            (Self::BeforeValue, b'"') => Some(Self::Quoted),
            (Self::BeforeName | Self::Name, _) => is_token_byte(byte).then_some(Self::Name),
            (Self::BeforeValue | Self::Value, _) => is_token_byte(byte).then_some(Self::Value),
            (Self::Gap | Self::AfterName | Self::AfterQuoted, _) => None,
        }
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuoted)
    }
}

impl ChunkDecoder {
    const fn new(max_bytes: u64) -> Self {
        Self {
            state: ChunkState::Size { size: 0, digits: 0 },
            message_bytes_left: max_bytes,
            extension_bytes_left: CHUNK_EXTENSION_MAX_BYTES,
            trailer_bytes_left: TRAILER_MAX_BYTES,
        }
    }

    fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, HttpError> {
        let mut rest = input;
        while self.state != ChunkState::Done {
            if let ChunkState::Data { mut remaining } = self.state {
                let data = take(rest, &mut remaining);
                self.state = if remaining == 0 {
                    ChunkState::DataCarriageReturn
                } else {
                    ChunkState::Data { remaining }
                };
                return Ok(Decoded {
                    consumed: input.len() - rest.len() + data.len(),
                    data,
                    is_done: false,
                });
            }
            let Some((byte, tail)) = rest.split_first() else { break };
            self.state = self.after(*byte)?;
            rest = tail;
        }
        Ok(Decoded {
            consumed: input.len() - rest.len(),
            data: &[],
            is_done: self.state == ChunkState::Done,
        })
    }

    fn after(&mut self, byte: u8) -> Result<ChunkState, HttpError> {
        match (self.state, byte) {
            (ChunkState::Size { size, digits }, b'\r' | b';' | b' ' | b'\t') if digits > 0 => {
                self.after_size(size, byte)
            }
            (ChunkState::Size { size, digits }, _) => longer_size(size, digits, byte),
            (ChunkState::Extension { size, part }, b'\r') if part.may_end() => Ok(ChunkState::SizeLineFeed { size }),
            (ChunkState::Extension { size, part }, _) => {
                spend(&mut self.extension_bytes_left, 1)?;
                let part = part.after(byte).ok_or(HttpError::BadChunk)?;
                Ok(ChunkState::Extension { size, part })
            }
            (ChunkState::SizeLineFeed { size: 0 } | ChunkState::TrailerLineFeed, b'\n') => {
                Ok(ChunkState::TrailerLineStart)
            }
            (ChunkState::SizeLineFeed { size }, b'\n') => Ok(ChunkState::Data { remaining: size }),
            (ChunkState::DataCarriageReturn, b'\r') => Ok(ChunkState::DataLineFeed),
            (ChunkState::DataLineFeed, b'\n') => Ok(ChunkState::Size { size: 0, digits: 0 }),
            (ChunkState::TrailerLineStart, b'\r') => Ok(ChunkState::LastLineFeed),
            (ChunkState::TrailerValue, b'\r') => {
                spend(&mut self.trailer_bytes_left, 2)?;
                Ok(ChunkState::TrailerLineFeed)
            }
            (ChunkState::TrailerLineStart | ChunkState::TrailerName, _) if is_token_byte(byte) => {
                self.after_trailer_byte(ChunkState::TrailerName)
            }
            (ChunkState::TrailerName, b':') => self.after_trailer_byte(ChunkState::TrailerValue),
            (ChunkState::TrailerValue, _) if is_field_byte(byte) => self.after_trailer_byte(ChunkState::TrailerValue),
            (ChunkState::LastLineFeed, b'\n') => Ok(ChunkState::Done),
            _ => Err(HttpError::BadChunk),
        }
    }

    fn after_size(&mut self, size: u64, byte: u8) -> Result<ChunkState, HttpError> {
        self.message_bytes_left = self
            .message_bytes_left
            .checked_sub(size)
            .ok_or(HttpError::MessageTooLarge)?;
        if byte == b'\r' {
            return Ok(ChunkState::SizeLineFeed { size });
        }
        spend(&mut self.extension_bytes_left, 1)?;
        let part = if byte == b';' {
            ExtensionPart::BeforeName
        } else {
            ExtensionPart::Gap
        };
        Ok(ChunkState::Extension { size, part })
    }

    fn after_trailer_byte(&mut self, next: ChunkState) -> Result<ChunkState, HttpError> {
        spend(&mut self.trailer_bytes_left, 1)?;
        Ok(next)
    }
}

/// Sixteen hexadecimal digits are what 64 bits hold, so that the size can't overflow.
fn longer_size(size: u64, digits: u8, byte: u8) -> Result<ChunkState, HttpError> {
    match char::from(byte).to_digit(16) {
        Some(digit) if digits < 16 => Ok(ChunkState::Size {
            size: size << 4 | u64::from(digit),
            digits: digits + 1,
        }),
        _ => Err(HttpError::BadChunk),
    }
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), HttpError> {
    *left = left.checked_sub(bytes).ok_or(HttpError::BadChunk)?;
    Ok(())
}

/// What a field value may hold (RFC 9110 §5.5), and so an extension or a trailer.
const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// As much of `remaining` bytes as the input begins with.
fn take<'i>(input: &'i [u8], remaining: &mut u64) -> &'i [u8] {
    let length = usize::try_from(*remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
    *remaining -= length as u64;
    input.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
