//! WebSocket frames (RFC 6455 §5.2), read and written once more and independently.

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The opcode.
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Whether it is a ping, a pong or a Close, if it is any known frame.
    pub fn is_control(&self) -> bool {
        self.first & 0x08 != 0
    }

    /// The status of a Close, if it has one.
    pub fn close_code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// The bytes of a frame as a client sends it, with the shortest length and a mask that isn't zero.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Reads frames as a server sends them, and checks what holds of every one. The rest is a frame that was cut off.
///
/// # Panics
/// A frame breaks RFC 6455, comes in fragments, or comes after a Close.
pub fn from_server(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames: Vec<Frame> = Vec::new();
    while let Some((frame, tail)) = next_from_server(bytes) {
        assert!(
            frames.last().is_none_or(|last| last.opcode() != 0x8),
            "{frame:?} after a Close"
        );
        check(&frame);
        frames.push(frame);
        bytes = tail;
    }
    (frames, bytes)
}

fn next_from_server(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let ([first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        0..=125 => (u64::from(*second), rest),
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
        _ => panic!("a server doesn't mask"),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let payload = payload.to_vec();
    Some((Frame { first: *first, payload }, rest))
}

fn check(frame: &Frame) {
    assert_eq!(
        frame.first & 0xf0,
        0x80,
        "{frame:?} is a fragment or has a reserved bit"
    );
    match frame.opcode() {
        0x1 => assert!(std::str::from_utf8(&frame.payload).is_ok(), "{frame:?} isn't UTF-8"),
        0x2 => {}
        0x8 => {
            assert_ne!(frame.payload.len(), 1, "half a code");
            let code = frame.close_code().unwrap_or(1000);
            assert!(
                matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
                "{code} may not be sent"
            );
            let reason = frame.payload.get(2..).unwrap_or_default();
            assert!(std::str::from_utf8(reason).is_ok(), "{frame:?} isn't UTF-8");
        }
        0x9 | 0xa => {}
        _ => panic!("{frame:?} has a reserved opcode"),
    }
    assert!(
        !frame.is_control() || frame.payload.len() <= 125,
        "{frame:?} is too long"
    );
}
