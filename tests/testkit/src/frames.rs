//! WebSocket frames (RFC 6455 §5.2), written as a client and as a server does, and a server's read strictly.

/// The mask of [`Frame::masked`].
const MASK: u32 = 0x37fa_213d;

/// The opcodes of RFC 6455 §11.8; any other number can be given in [`Frame::opcode`] too.
pub struct Opcode;

impl Opcode {
    pub const CONTINUATION: u8 = 0x0;
    pub const TEXT: u8 = 0x1;
    pub const BINARY: u8 = 0x2;
    pub const CLOSE: u8 = 0x8;
    pub const PING: u8 = 0x9;
    pub const PONG: u8 = 0xa;
}

/// One frame. Change any field of a good one to make a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    /// The three reserved bits, as a number from 0 to 7.
    pub rsv: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            payload: payload.into(),
        }
    }

    pub fn text(text: &str) -> Self {
        Self::new(Opcode::TEXT, text)
    }

    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(Opcode::CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The answer to this ping.
    #[must_use]
    pub fn pong(self) -> Self {
        Self::new(Opcode::PONG, self.payload)
    }

    /// Whether it is a ping, a pong or a Close, if it is any known frame.
    pub fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }

    /// The status of a Close, if it has one.
    pub fn close_code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }

    /// As a client sends it.
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_masked(&mut bytes, self.first(), &self.payload, MASK);
        bytes
    }

    /// As only a server may send it.
    pub fn unmasked(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, self.first(), self.payload.len() as u64, 0);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Nothing but a masked header that declares a payload of this length.
    pub fn masked_header(&self, declared_length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, self.first(), declared_length, 0x80);
        bytes.extend_from_slice(&MASK.to_be_bytes());
        bytes
    }

    /// The frame that these bytes of a server begin with, and its length in bytes, if all of it is there.
    ///
    /// # Panics
    /// It breaks RFC 6455, or is a fragment, which our server never sends.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        assert_eq!(second & 0x80, 0, "a server doesn't mask");
        let (length, rest) = match second {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = u64::from(u16::from_be_bytes(*length));
                assert!(length > 125, "a length not in its shortest form");
                (length, rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = u64::from_be_bytes(*length);
                assert!(length > 0xffff, "a length not in its shortest form");
                (length, rest)
            }
            short => (u64::from(short), rest),
        };
        let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let frame = Self {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 0x07,
            opcode: first & 0x0f,
            payload: payload.to_vec(),
        };
        frame.check();
        Some((frame, bytes.len() - rest.len()))
    }

    /// The frames that these bytes of a server are, all of them whole.
    pub fn parse_all(bytes: &[u8]) -> Vec<Self> {
        let (frames, rest) = Self::parse_whole(bytes);
        assert!(rest.is_empty(), "half a frame: {}", rest.escape_ascii());
        frames
    }

    /// The whole frames at the front of these bytes of a server, and the start of another one.
    ///
    /// # Panics
    /// As in [`Frame::parse`], or something comes after a Close.
    pub fn parse_whole(mut bytes: &[u8]) -> (Vec<Self>, &[u8]) {
        let mut frames: Vec<Self> = Vec::new();
        while let Some((frame, length)) = Self::parse(bytes) {
            let last = frames.last();
            assert!(
                last.is_none_or(|last| last.opcode != Opcode::CLOSE),
                "{frame:?} after a Close"
            );
            frames.push(frame);
            bytes = &bytes[length..];
        }
        (frames, bytes)
    }

    /// What holds of every frame of our server.
    fn check(&self) {
        assert!(
            self.fin && self.rsv == 0,
            "{self:?} is a fragment or has a reserved bit"
        );
        assert!(!self.is_control() || self.payload.len() <= 125, "{self:?} is too long");
        match self.opcode {
            Opcode::TEXT => assert!(str::from_utf8(&self.payload).is_ok(), "{self:?} isn't UTF-8"),
            Opcode::BINARY | Opcode::PING | Opcode::PONG => {}
            Opcode::CLOSE => {
                assert_ne!(self.payload.len(), 1, "half a code");
                let code = self.close_code().unwrap_or(1000);
                assert!(
                    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
                    "{code} may not be sent"
                );
                let reason = self.payload.get(2..).unwrap_or_default();
                assert!(str::from_utf8(reason).is_ok(), "{self:?} isn't UTF-8");
            }
            _ => panic!("{self:?} has a reserved opcode"),
        }
    }

    fn first(&self) -> u8 {
        u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode
    }
}

/// Appends a client's frame that is whole.
pub fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: u32) {
    write_masked(out, 0x80 | opcode, payload, mask);
}

/// Appends a client's frame whose first byte is this: FIN, reserved bits and opcode.
pub fn write_masked(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: u32) {
    write_header(out, first, payload.len() as u64, 0x80);
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The length in its shortest form.
fn write_header(out: &mut Vec<u8>, first: u8, length: u64, mask_bit: u8) {
    out.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(mask_bit + short),
        (_, Ok(medium)) => {
            out.push(mask_bit + 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask_bit + 127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}
