//! What happens to a connection, as bytes: an operation is one byte, what it needs follows. A seed is written by hand.

use arbitrary::Arbitrary;

/// A list of operations, as it is written.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Script<'a>(&'a [u8]);

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Op<'a> {
    /// The client sends these bytes.
    Bytes(&'a [u8]),
    /// The client sends a frame, well masked.
    Frame { first: u8, payload: &'a [u8] },
    /// The client sends a long frame.
    LongFrame { first: u8, length: u16 },
    /// The client asks for the WebSocket of the one id that can log in, and may offer npchat.2.
    Upgrade { offers_npchat_2: bool },
    /// The client asks for a challenge, unless npchat.2 brings one, and answers it; a bit of the answer is wrong unless
    /// `twist` is 0.
    Login { twist: u8 },
    /// The client posts a message to that id, in chunks or with a length.
    Post { length: u16, is_chunked: bool },
    /// Somebody else posts a message to that id, text or not.
    Mail { length: u16, is_text: bool },
    /// Time goes on.
    Wait { tenths: u16 },
    /// The client ends its side.
    EndInput,
    /// The server stops.
    Drain,
}

const OPS_MAX: usize = 200;

impl<'a> Script<'a> {
    pub(crate) fn ops(self) -> impl Iterator<Item = Op<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || next_op(&mut rest)).take(OPS_MAX)
    }

    /// Whether a word stands in it, in any case.
    pub(crate) fn contains(self, word: &[u8]) -> bool {
        self.0.windows(word.len()).any(|text| text.eq_ignore_ascii_case(word))
    }

    /// Whether the first thing that the client sends is a HEAD, after any empty lines.
    pub(crate) fn begins_with_head(self) -> bool {
        let Some(Op::Bytes(mut bytes)) = self.ops().next() else {
            return false;
        };
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        bytes.starts_with(b"HEAD ")
    }
}

fn next_op<'a>(rest: &mut &'a [u8]) -> Option<Op<'a>> {
    let [kind] = number(rest)?;
    Some(match kind {
        b'b' => Op::Bytes(counted(rest)?),
        b'f' => {
            let [first] = number(rest)?;
            let payload = counted(rest)?;
            Op::Frame { first, payload }
        }
        b'F' => {
            let [first] = number(rest)?;
            let length = u16::from_le_bytes(number(rest)?);
            Op::LongFrame { first, length }
        }
        b'u' | b'U' => Op::Upgrade {
            offers_npchat_2: kind == b'U',
        },
        b'l' => {
            let [twist] = number(rest)?;
            Op::Login { twist }
        }
        b'p' | b'P' => Op::Post {
            length: u16::from_le_bytes(number(rest)?),
            is_chunked: kind == b'P',
        },
        b'm' | b'M' => Op::Mail {
            length: u16::from_le_bytes(number(rest)?),
            is_text: kind == b'm',
        },
        b'w' => {
            let tenths = u16::from_le_bytes(number(rest)?);
            Op::Wait { tenths }
        }
        b'e' => Op::EndInput,
        b'd' => Op::Drain,
        // A change of any other byte makes bytes of what follows, so that few changes are lost.
        _ => Op::Bytes(counted(rest)?),
    })
}

fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*number)
}

/// Two bytes of length, and as many bytes as that says and as there are.
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_le_bytes(number(rest)?));
    let (bytes, tail) = rest.split_at(length.min(rest.len()));
    *rest = tail;
    Some(bytes)
}
