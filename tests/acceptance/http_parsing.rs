//! The bad requests of ACCEPTANCE.md, rows 1 to 14 and 21 to 23, as far as bytes alone decide them.
//!
//! No socket and no routing: what the server then answers and closes is tested over real connections elsewhere.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use npchat::server::http::limits::{HEAD_MAX_FIELDS, TARGET_MAX_BYTES};
use npchat::server::http::{BodyDecoder, Framing, HeadScanner, HttpDate, HttpError, Method, Reply, RequestHead};
use npchat::server::routes::Resource;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const HOST: &str = "Host: relay.example\r\n";
const MAX_MESSAGE_BYTES: u64 = 1024;

/// One request taken from the start of the input: its method and body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    method: Method,
    body: Vec<u8>,
}

/// What bytes turn into: good requests in order, then perhaps the refusal that ends them.
type Requests = (Vec<Request>, Option<HttpError>);

/// Reads requests from input that comes cut at `cuts`, as a connection does that keeps what it couldn't use.
#[derive(Default)]
struct Reader {
    head: HeadScanner,
    unread: Vec<u8>,
    body: Option<(Method, BodyDecoder, Vec<u8>)>,
    done: Vec<Request>,
}

impl Reader {
    fn read_all<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Requests {
        let mut reader = Self::default();
        for piece in pieces {
            reader.unread.extend_from_slice(piece);
            if let Err(refusal) = reader.advance() {
                return (reader.done, Some(refusal));
            }
        }
        (reader.done, None)
    }

    fn advance(&mut self) -> Result<(), HttpError> {
        loop {
            if let Some((method, decoder, body)) = &mut self.body {
                let progress = decoder.append(&self.unread, body)?;
                self.unread.drain(..progress.consumed);
                if !progress.is_done {
                    return Ok(());
                }
                self.done.push(Request {
                    method: *method,
                    body: std::mem::take(body),
                });
                self.body = None;
            }
            let Some(length) = self.head.scan(&self.unread)? else {
                return Ok(());
            };
            let head = RequestHead::parse(self.unread.get(..length).unwrap_or_default())?;
            let decoder = BodyDecoder::new(head.framing, MAX_MESSAGE_BYTES)?;
            self.body = Some((head.method, decoder, Vec::new()));
            self.head = HeadScanner::default();
            self.unread.drain(..length);
        }
    }
}

fn read(input: &str) -> Requests {
    Reader::read_all([input.as_bytes()])
}

fn refused(refusal: HttpError) -> Requests {
    (Vec::new(), Some(refusal))
}

fn taken(body: &str) -> Requests {
    (
        vec![Request {
            method: Method::Post,
            body: body.into(),
        }],
        None,
    )
}

/// A POST of HTTP/1.1 with a good Host, these fields and whatever follows the head.
fn post(fields: &str, body: &str) -> String {
    format!("POST /{ID} HTTP/1.1\r\n{HOST}{fields}\r\n{body}")
}

fn expect_all<'c>(row: u32, cases: impl IntoIterator<Item = &'c str>, expected: &Requests) {
    for input in cases {
        assert_eq!(&read(input), expected, "row {row}: {input:?}");
    }
}

#[test]
fn row_1_a_bare_line_end_in_a_head_is_refused() {
    let cases = [
        format!("POST /{ID} HTTP/1.1\n{HOST}\r\n"),
        format!("POST /{ID} HTTP/1.1\r{HOST}\r\n"),
        post("X: y\nZ: z\r\n", ""),
        post("X: y\rZ: z\r\n", ""),
        post("X: y\n", ""),
        post("X: y\r\n\n", ""),
        post("X: y\r\n\rx", ""),
    ];
    expect_all(1, cases.iter().map(String::as_str), &refused(HttpError::MalformedHead));
}

#[test]
fn row_2_a_length_and_a_coding_together_are_refused() {
    let cases = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
    ]
    .map(|fields| post(fields, "0\r\n\r\n"));
    expect_all(2, cases.iter().map(String::as_str), &refused(HttpError::BadFraming));
}

#[test]
fn row_3_a_length_that_readers_might_differ_about_is_refused() {
    let cases = [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 5, 5\r\n",
    ]
    .map(|fields| post(fields, "hello"));
    expect_all(3, cases.iter().map(String::as_str), &refused(HttpError::BadFraming));
    let cases = [
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
    ]
    .map(|fields| post(fields, "hello"));
    expect_all(3, cases.iter().map(String::as_str), &refused(HttpError::BadLength));
    assert_eq!(read(&post("Content-Length:  5\t\r\n", "hello")), taken("hello"));
}

#[test]
fn row_4_chunks_are_taken_when_good_and_no_other_coding_is() {
    const CHUNKED: &str = "Transfer-Encoding: Chunked\r\n";
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(256));
    for (body, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", taken("hello")),
        ("5;x\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", taken("hello")),
        ("five\r\nhello\r\n0\r\n\r\n", refused(HttpError::BadChunk)),
        ("5\nhello\r\n0\r\n\r\n", refused(HttpError::BadChunk)),
        ("5\r\nhello\n0\r\n\r\n", refused(HttpError::BadChunk)),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", refused(HttpError::BadChunk)),
        ("\r\n", refused(HttpError::BadChunk)),
        (&long_extension, refused(HttpError::BadChunk)),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", refused(HttpError::BadChunk)),
        ("401\r\n", refused(HttpError::MessageTooLarge)),
    ] {
        assert_eq!(read(&post(CHUNKED, body)), expected, "row 4: {body:?}");
    }
    for (fields, refusal) in [
        ("Transfer-Encoding: gzip\r\n", HttpError::BadFraming),
        ("Transfer-Encoding: identity\r\n", HttpError::BadFraming),
        ("Transfer-Encoding: gzip, chunked\r\n", HttpError::UnsupportedCoding),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            HttpError::UnsupportedCoding,
        ),
        ("Transfer-Encoding: xchunked\r\n", HttpError::BadFraming),
        ("Transfer-Encoding: chunked, chunked\r\n", HttpError::BadFraming),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            HttpError::BadFraming,
        ),
        ("Transfer-Encoding: ,chunked\r\n", HttpError::BadFraming),
        ("Transfer-Encoding:\r\n", HttpError::BadFraming),
    ] {
        assert_eq!(read(&post(fields, "0\r\n\r\n")), refused(refusal), "row 4: {fields:?}");
    }
    let old = format!("POST /{ID} HTTP/1.0\r\n{CHUNKED}\r\n0\r\n\r\n");
    assert_eq!(read(&old), refused(HttpError::BadFraming));
}

#[test]
fn row_5_a_field_that_breaks_the_syntax_is_refused() {
    let cases = [
        "X: y\r\n folded\r\n",
        "X: y\r\n\tfolded\r\n",
        " X: y\r\n",
        "X : y\r\n",
        "X\t: y\r\n",
        ": y\r\n",
        "no colon\r\n",
        "X(: y\r\n",
        "X: a\0b\r\n",
        "X: \x1b[2J\r\n",
        "X: a\x7fb\r\n",
    ]
    .map(|fields| post(fields, ""));
    expect_all(5, cases.iter().map(String::as_str), &refused(HttpError::MalformedHead));
}

#[test]
fn row_6_a_request_of_http_11_has_one_host() {
    let cases = [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
    ]
    .map(|fields| format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    expect_all(6, cases.iter().map(String::as_str), &refused(HttpError::BadHost));
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n").1, None);
    assert_eq!(
        read("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        refused(HttpError::BadHost)
    );
}

#[test]
fn row_7_a_head_has_limits() {
    let fields = |count: usize| post(&"X: y\r\n".repeat(count - 1), "");
    assert_eq!(read(&fields(HEAD_MAX_FIELDS)).1, None);
    assert_eq!(read(&fields(HEAD_MAX_FIELDS + 1)), refused(HttpError::HeadTooLarge));
    let large = post(&format!("X: {}\r\n", "x".repeat(8 * 1024)), "");
    assert_eq!(read(&large), refused(HttpError::HeadTooLarge));

    let target = |length: usize| format!("GET /?{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(length - 2));
    assert_eq!(read(&target(TARGET_MAX_BYTES)).1, None);
    assert_eq!(read(&target(TARGET_MAX_BYTES + 1)), refused(HttpError::TargetTooLong));
    assert_eq!(read(&target(8 * 1024)), refused(HttpError::TargetTooLong));
}

#[test]
fn row_8_what_is_not_http_1_is_refused_at_once() {
    let cases = [
        "GET /\r\n",
        "\x16\x03\x01",
        "hello\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / x HTTP/1.1\r\n\r\n",
    ];
    expect_all(8, cases, &refused(HttpError::MalformedHead));
}

#[test]
fn row_9_another_version_is_refused_as_such() {
    let cases = [
        "GET / HTTP/0.9\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    expect_all(9, cases, &refused(HttpError::UnsupportedVersion));
}

#[test]
fn row_10_a_length_over_the_limit_is_refused_before_the_body() {
    let cases = [
        "Content-Length: 1025\r\n",
        "Expect: 100-continue\r\nContent-Length: 18446744073709551615\r\n",
    ]
    .map(|fields| post(fields, ""));
    expect_all(
        10,
        cases.iter().map(String::as_str),
        &refused(HttpError::MessageTooLarge),
    );
}

#[test]
fn row_11_neither_length_nor_coding_is_not_a_length_of_nothing() {
    let without = post("", "");
    assert_eq!(RequestHead::parse(without.as_bytes()).unwrap().framing, Framing::None);
    let with = post("Content-Length: 0\r\n", "");
    assert_eq!(RequestHead::parse(with.as_bytes()).unwrap().framing, Framing::Length(0));
}

#[test]
fn row_12_a_bad_request_leaves_those_before_it_good() {
    let first = post("Content-Length: 5\r\n", "hello");
    let second = post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n");
    let bad = post("Content-Length: +1\r\n", "x");
    let (requests, refusal) = read(&format!("{first}\r\n{second}{bad}{first}"));
    let bodies: Vec<_> = requests.iter().map(|request| request.body.as_slice()).collect();
    assert_eq!(
        (bodies, refusal),
        (vec![&b"hello"[..], b"ab"], Some(HttpError::BadLength))
    );
}

#[test]
fn row_13_only_the_canonical_spelling_names_a_mailbox() {
    let short = &ID[..42];
    for path in [
        format!("{ID}A"),
        short.into(),
        format!("{ID}="),
        format!("%42{}", &ID[1..]),
        format!("{short}d"),
    ] {
        let head = format!("POST /{path} HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(
            Resource::of(RequestHead::parse(head.as_bytes()).unwrap().target),
            Resource::BadId,
            "row 13: {path}"
        );
    }
}

#[test]
fn row_14_another_method_is_told_from_the_known_ones() {
    for (token, method) in [
        ("PUT", Method::Other),
        ("get", Method::Unknown),
        ("OPTIONS", Method::Options),
    ] {
        let head = format!("{token} /{ID} HTTP/1.1\r\n{HOST}\r\n");
        let head = RequestHead::parse(head.as_bytes()).unwrap();
        assert_eq!(head.method, method);
        let resource = Resource::of(head.target);
        assert!(matches!(resource, Resource::Mailbox { live_only: false, .. }));
    }
}

/// The outcome of an upgrade request with these fields; `None` when it isn't one.
fn accept_key(request_line: &str, fields: &str) -> Option<Result<String, HttpError>> {
    let head = format!("{request_line}\r\n{HOST}{fields}\r\n");
    RequestHead::parse(head.as_bytes())
        .ok()?
        .upgrade
        .map(|upgrade| upgrade.accept_key())
}

const WS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const V13: &str = "Sec-WebSocket-Version: 13\r\n";

#[test]
fn row_21_only_version_13_is_spoken() {
    for version in [
        "",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        &V13.repeat(2),
    ] {
        let fields = format!("{WS}{KEY}{version}");
        assert_eq!(
            accept_key("GET / HTTP/1.1", &fields),
            Some(Err(HttpError::UnsupportedWebSocketVersion)),
            "{version}"
        );
    }
}

#[test]
fn row_22_a_bad_key_is_refused_and_a_missing_token_is_no_upgrade() {
    for key in [
        "",
        "Sec-WebSocket-Key:\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEh\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25-_Q==\r\n",
        &KEY.repeat(2),
        &format!("{KEY}Content-Length: 5\r\n"),
        &format!("{KEY}Transfer-Encoding: chunked\r\n"),
    ] {
        let fields = format!("{WS}{V13}{key}");
        assert_eq!(
            accept_key("GET / HTTP/1.1", &fields),
            Some(Err(HttpError::BadUpgrade)),
            "{key}"
        );
    }
    for tokens in [
        "",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    ] {
        assert_eq!(
            accept_key("GET / HTTP/1.1", &format!("{tokens}{KEY}{V13}")),
            None,
            "{tokens}"
        );
    }
    for request_line in ["GET / HTTP/1.0", "POST / HTTP/1.1"] {
        assert_eq!(
            accept_key(request_line, &format!("{WS}{KEY}{V13}")),
            None,
            "{request_line}"
        );
    }
}

#[test]
fn row_23_an_extension_that_is_offered_is_not_taken() {
    let fields = format!("{WS}{KEY}{V13}Sec-WebSocket-Extensions: permessage-deflate\r\nContent-Length: 0\r\n");
    let accept = accept_key("GET / HTTP/1.1", &fields).unwrap().unwrap();
    // The example of RFC 6455 §1.3.
    assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let date = HttpDate::at(UNIX_EPOCH);
    let mut out = Vec::new();
    Reply {
        date: &date,
        kept_seconds: Some(75),
        head_only: false,
    }
    .switching(&mut out, &accept, None);
    let answer = String::from_utf8(out).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("Extensions"));
}

/// Pieces that requests are made of, good and bad, so that random sequences get beyond the first line.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        6 => prop::sample::select(vec![
            "POST /BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: t\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n",
        ]),
        3 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "TTL: 5\r\n", "X: y\r\n", "3\r\nabc\r\n", "0\r\n\r\n", "401\r\n", "HTTP/1.2\r\n",
        ]),
        1 => prop::sample::select(vec!["\r", "\n", "\0", " ", ":", "x", "5"]),
    ];
    prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat().into_bytes())
}

proptest! {
    #[test]
    fn requests_are_the_same_however_their_bytes_are_split(
        input in request_bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = Reader::read_all([&input[..]]);
        prop_assert_eq!(&Reader::read_all(input.chunks(1)), &whole);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]);
        prop_assert_eq!(&Reader::read_all(pieces), &whole);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused_without_a_panic(input in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Reader::read_all([&input[..]]);
        let _ = RequestHead::parse(&input);
        for framing in [Framing::Chunked, Framing::Length(200)] {
            let mut body = Vec::new();
            let decoder = BodyDecoder::new(framing, MAX_MESSAGE_BYTES);
            let _ = decoder.and_then(|mut decoder| decoder.append(&input, &mut body));
            prop_assert!(body.len() <= 1024);
        }
    }

    #[test]
    fn a_chunked_body_is_what_its_chunks_hold(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 0..9)
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\nnext");
        let mut body = Vec::new();
        let progress = BodyDecoder::new(Framing::Chunked, MAX_MESSAGE_BYTES)
            .and_then(|mut decoder| decoder.append(&input, &mut body));
        prop_assert_eq!(progress.map(|progress| (progress.consumed, progress.is_done)), Ok((input.len() - 4, true)));
        prop_assert_eq!(body, chunks.concat());
    }
}
