//! Heads of requests: the same however they are split, and what is accepted keeps RFC 9112 by a second reading.

#![no_main]

use libfuzzer_sys::fuzz_target;

use npchat::server::http::limits::{
    HEAD_MAX_BYTES, HEAD_MAX_FIELDS, METHOD_MAX_BYTES, PROTOCOL_FIELDS_MAX, TARGET_MAX_BYTES,
};
use npchat::server::http::{Framing, HeadScanner, HttpError, Method, RequestHead};
use npchat::server::refusal::Refusal;
use npchat::server::routes::ttl_seconds;
use npchat_fuzz::{Cuts, Stream};

fuzz_target!(|input: Stream<'_>| {
    let mut scanner = HeadScanner::default();
    let whole = scanner.scan(input.bytes);
    assert_eq!(
        in_pieces(input.cuts, input.bytes),
        whole,
        "the split changed the result"
    );
    check_start(input.bytes, &scanner, whole);
    match whole {
        Ok(Some(length)) => {
            let head = &input.bytes[..length];
            check_lines(head);
            if let Ok(parsed) = RequestHead::parse(head) {
                Reading::of(head).check(&parsed);
            }
        }
        Ok(None) => assert!(input.bytes.len() < HEAD_MAX_BYTES, "it waits for ever"),
        Err(_) => {}
    }
});

/// The scanner sees more and more of the same bytes.
fn in_pieces(cuts: Cuts, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
    let mut scanner = HeadScanner::default();
    let mut seen = 0;
    for piece in cuts.pieces(bytes) {
        seen += piece.len();
        match scanner.scan(&bytes[..seen]) {
            Ok(None) => {}
            end => return end,
        }
    }
    Ok(None)
}

/// What the first bytes alone tell: whether it is a HEAD, and that a method is too long.
fn check_start(bytes: &[u8], scanner: &HeadScanner, scanned: Result<Option<usize>, HttpError>) {
    let mut line = bytes.get(..HEAD_MAX_BYTES).unwrap_or(bytes);
    while let Some(rest) = line.strip_prefix(b"\r\n") {
        line = rest;
    }
    assert_eq!(scanner.is_head(bytes), line.starts_with(b"HEAD "));
    let method = line.iter().take_while(|byte| is_token(byte)).count();
    if method > METHOD_MAX_BYTES {
        assert_eq!(scanned, Err(HttpError::UnknownMethod));
    } else {
        assert_ne!(scanned, Err(HttpError::UnknownMethod));
    }
    let line_end = line.windows(2).position(|pair| pair == b"\r\n");
    if let (Some(Some(version)), Ok(_)) = (line_end.map(|end| line[..end].last_chunk()), scanned) {
        assert!(
            matches!(version, [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9']),
            "a version that isn't spoken"
        );
    }
}

/// A head ends with its first empty line after the request line, and no CR or LF in it stands alone.
fn check_lines(head: &[u8]) {
    assert!(head.len() <= HEAD_MAX_BYTES);
    assert!(head.ends_with(b"\r\n\r\n"));
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "bare CR"),
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "bare LF"),
            _ => {}
        }
    }
    let begun = head
        .iter()
        .position(|byte| !b"\r\n".contains(byte))
        .expect("a request line");
    let end = head[begun..].windows(4).position(|bytes| bytes == b"\r\n\r\n");
    assert_eq!(
        end.map(|end| begun + end + 4),
        Some(head.len()),
        "a later empty line was taken for the end"
    );
}

/// The head once more, read line by line.
struct Reading<'b> {
    method: &'b [u8],
    target: &'b [u8],
    version: &'b [u8],
    fields: Vec<(Vec<u8>, &'b [u8])>,
}

impl<'b> Reading<'b> {
    fn of(head: &'b [u8]) -> Self {
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .skip_while(|line| line.is_empty());
        let parts: Vec<_> = lines
            .next()
            .expect("a request line")
            .split(|byte| *byte == b' ')
            .collect();
        let [method, target, version] = parts[..] else {
            panic!("a request line of {} parts", parts.len());
        };
        let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii())
        });
        Self {
            method,
            target,
            version,
            fields: fields.collect(),
        }
    }

    fn check(&self, parsed: &RequestHead<'_>) {
        match self.version {
            b"HTTP/1.0" => assert!(parsed.is_http_10),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => assert!(!parsed.is_http_10),
            version => panic!("{version:?}"),
        }
        let method = match self.method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"OPTIONS" => Method::Options,
            b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" | b"CONNECT" => Method::Other,
            _ => Method::Unknown,
        };
        assert_eq!(parsed.method, method);
        assert!((1..=METHOD_MAX_BYTES).contains(&self.method.len()) && self.method.iter().all(is_token));
        assert!((1..=TARGET_MAX_BYTES).contains(&self.target.len()));
        assert!(self.target.iter().all(u8::is_ascii_graphic));
        self.check_fields();
        self.check_host(parsed);
        self.check_framing(parsed);
        self.check_wishes(parsed);
        self.check_upgrade(parsed);
    }

    fn check_fields(&self) {
        assert!(self.fields.len() <= HEAD_MAX_FIELDS);
        for (name, value) in &self.fields {
            assert!(
                !name.is_empty() && name.iter().all(is_token),
                "{:?}",
                name.escape_ascii()
            );
            assert!(
                value
                    .iter()
                    .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
            );
        }
    }

    fn check_host(&self, parsed: &RequestHead<'_>) {
        let is_absolute = !matches!(self.target, [b'/', ..] | b"*") && parsed.host.is_some();
        match self.values("host")[..] {
            [] => assert!(parsed.is_http_10, "no Host at 1.1"),
            [host] => {
                assert!(!host.is_empty() && !host.iter().any(|byte| b" \t,/@".contains(byte) && *byte != b','));
                assert!(is_absolute || parsed.host == Some(host));
            }
            _ => panic!("two Hosts"),
        }
    }

    fn check_framing(&self, parsed: &RequestHead<'_>) {
        let lengths = self.values("content-length");
        let codings = self.elements("transfer-encoding");
        let framing = match (&lengths[..], &codings[..]) {
            ([], []) => Framing::None,
            ([length], []) => Framing::Length(number(length).expect("a length is digits").expect("of 64 bits")),
            ([], [coding]) if coding == b"chunked" && !parsed.is_http_10 => Framing::Chunked,
            _ => panic!("ambiguous framing"),
        };
        assert_eq!(parsed.framing, framing);
    }

    fn check_wishes(&self, parsed: &RequestHead<'_>) {
        let ttl = match self.values("ttl")[..] {
            [] => Ok(None),
            [text] => number(text)
                .map(|seconds| Some(seconds.unwrap_or(u64::MAX)))
                .ok_or(Refusal::BadTtl),
            _ => Err(Refusal::BadTtl),
        };
        assert_eq!(ttl_seconds(parsed.ttl), ttl);
        let options = self.elements("connection");
        let has = |name: &str| options.iter().any(|option| option == name.as_bytes());
        let keep_alive = !has("close") && (has("keep-alive") || !parsed.is_http_10);
        assert_eq!(parsed.keep_alive, keep_alive);
        let expects = match &self.elements("expect")[..] {
            [] => false,
            [expectation] => {
                assert_eq!(expectation, b"100-continue");
                !parsed.is_http_10
            }
            _ => panic!("two expectations"),
        };
        assert_eq!(parsed.expects_continue, expects);
    }

    fn check_upgrade(&self, parsed: &RequestHead<'_>) {
        let names = |field, wanted: &[u8]| self.elements(field).iter().any(|name| name == wanted);
        let asks = parsed.method == Method::Get
            && !parsed.is_http_10
            && names("connection", b"upgrade")
            && names("upgrade", b"websocket");
        assert_eq!(parsed.upgrade.is_some(), asks);
        let Some(upgrade) = &parsed.upgrade else { return };
        let values = self
            .values("sec-websocket-protocol")
            .into_iter()
            .take(PROTOCOL_FIELDS_MAX);
        let offers = values
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|offer| offer.trim_ascii() == b"npchat.2");
        assert_eq!(upgrade.offers("npchat.2"), offers);
        if let Ok(accept) = upgrade.accept_key() {
            assert_eq!(self.values("sec-websocket-version"), [b"13"]);
            let [key] = self.values("sec-websocket-key")[..] else {
                panic!("not one key");
            };
            assert!(key.len() == 24 && key.ends_with(b"=="), "not 16 bytes of base64");
            assert_eq!(accept.len(), 28);
            assert!(matches!(parsed.framing, Framing::None | Framing::Length(0)));
        }
    }

    fn values(&self, name: &str) -> Vec<&'b [u8]> {
        let named = self.fields.iter().filter(|(other, _)| other == name.as_bytes());
        named.map(|(_, value)| *value).collect()
    }

    /// The elements of a list that may come in several fields, in lower case.
    fn elements(&self, name: &str) -> Vec<Vec<u8>> {
        let values = self.values(name).into_iter();
        let elements = values.flat_map(|value| value.split(|byte| *byte == b','));
        elements
            .map(|element| element.trim_ascii().to_ascii_lowercase())
            .collect()
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// `1*DIGIT`. `Some(None)` is a number over 64 bits.
fn number(text: &[u8]) -> Option<Option<u64>> {
    let digits = text.iter().all(u8::is_ascii_digit) && !text.is_empty();
    digits.then(|| str::from_utf8(text).expect("ASCII").parse().ok())
}
