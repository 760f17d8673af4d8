//! HTTP answers and WebSocket frames as a client reads and writes them, strictly (RFC 9112, RFC 6455 §5).
//!
//! Nothing here is shared with the code under test.

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The field `TTL`.
    pub(crate) ttl: Option<u64>,
    /// The field `Sec-WebSocket-Protocol` names npchat.2.
    pub(crate) is_npchat_2: bool,
    /// The connection ends after it.
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
    /// Bytes that it took, head and body.
    pub(crate) length: usize,
}

/// One frame of the server's.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes that it took, header and payload.
    pub(crate) length: usize,
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

impl Answer {
    /// The first answer in `bytes`, once it is there whole. Fails the run when it isn't what our server should write.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..head_length]).unwrap_or_default();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let mut answer = Self {
            status: status.unwrap_or(0),
            ttl: None,
            is_npchat_2: false,
            closes: false,
            body: Vec::new(),
            length: head_length,
        };
        assert!(answer.status != 0, "no status line: {head:?}");
        let (mut content_length, mut allows_all, mut is_dated) = (None, false, false);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            assert!(!name.is_empty(), "no field: {line:?}");
            match name {
                "Content-Length" => content_length = value.parse::<usize>().ok(),
                "Sec-WebSocket-Protocol" => answer.is_npchat_2 = value == "npchat.2",
                "TTL" => answer.ttl = value.parse().ok(),
                "Connection" => answer.closes = value.ends_with("close"),
                "Access-Control-Allow-Origin" => allows_all = value == "*",
                "Date" => is_dated = true,
                _ => {}
            }
        }
        if answer.status != 100 {
            assert!(allows_all && is_dated, "fields are missing: {head:?}");
        }
        if answer.status >= 200 && answer.status != 204 {
            assert!(content_length.is_some(), "no length: {head:?}");
            let body = bytes.get(head_length..head_length + content_length.unwrap_or(0))?;
            answer.body = body.to_vec();
            answer.length += body.len();
        }
        Some(answer)
    }
}

impl<'a> Frame<'a> {
    /// The first frame in `bytes`, once it is there whole. Fails the run when it isn't one that a server may send.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        assert!(
            first & 0xf0 == 0x80 && second & 0x80 == 0,
            "a bad frame: {first:#x} {second:#x}"
        );
        let (length, payload) = match second {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let payload_length = usize::try_from(length).unwrap_or(usize::MAX);
        let payload = payload.get(..payload_length)?;
        let header_length = bytes.len() - rest.len() + usize::from(second == 126) * 2 + usize::from(second == 127) * 8;
        Some(Self {
            opcode: first & 0x0f,
            payload,
            length: header_length + payload_length,
        })
    }
}

/// Appends a masked frame, its payload of less than 64 KiB.
pub(crate) fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: u32) {
    out.push(0x80 | opcode);
    if let Ok(length @ ..126) = u8::try_from(payload.len()) {
        out.push(0x80 | length);
    } else {
        const TWO_BYTES_FOLLOW: u8 = 0x7e;
        out.push(0x80 | TWO_BYTES_FOLLOW);
        out.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    }
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The host that requests name.
pub(crate) const HOST: &str = "relay";

/// The request for the WebSocket of an id, by npchat.2 or without a subprotocol.
pub(crate) fn upgrade_request(id: &str, is_npchat_2: bool) -> Vec<u8> {
    let subprotocol = if is_npchat_2 {
        "Sec-WebSocket-Protocol: npchat.2\r\n"
    } else {
        ""
    };
    format!(
        "GET /{id} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\n{subprotocol}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}
