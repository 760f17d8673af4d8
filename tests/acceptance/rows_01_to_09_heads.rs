//! Rows 1 to 9: requests whose head, or the framing that it tells, is wrong.
//!
//! The parser alone reads the same bytes, whole and cut.

use testkit::{Identity, Receiver, address, start};

use crate::harness::{ID, MANNERS, SENT, refused, run_all, run_refused};

const HOST: &str = "Host: relay.test\r\n";

#[test]
fn row_01_a_bare_line_end_in_a_head_is_400() {
    let cases = [
        (
            "LF after the request line",
            format!("POST /{ID} HTTP/1.1\n{HOST}\r\n").into(),
        ),
        (
            "CR after the request line",
            format!("POST /{ID} HTTP/1.1\r{HOST}\r\n").into(),
        ),
        ("LF after a field", post("Content-Length: 2\nX: y\r\n", "hi")),
        ("LF after the last field", post_with("X: y\n")),
        ("CR inside a field", post_with("X: y\rZ: z\r\n")),
        ("LF as the empty line", post("Content-Length: 2\r\n\n", "hi")),
        ("CR as the empty line", post("Content-Length: 2\r\n\rX: y\r\n", "hi")),
        ("CR CR LF", post_with("X: y\r\r\n")),
    ];
    run_refused(refused(400, "malformed_head"), cases);
}

#[test]
fn row_02_a_length_and_a_coding_together_are_400() {
    let body = "0\r\n\r\n";
    let cases = [
        (
            "length first",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", body),
        ),
        (
            "coding first",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", body),
        ),
        (
            "a coding that nobody has",
            post("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", body),
        ),
        (
            "an empty coding",
            post("Transfer-Encoding:\r\nContent-Length: 5\r\n", body),
        ),
        (
            "two lengths",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
                body,
            ),
        ),
    ];
    run_refused(refused(400, "bad_framing"), cases);
}

#[test]
fn row_03_a_length_that_readers_might_differ_about_is_400() {
    let cases = [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 5, 5\r\n",
    ];
    run_refused(
        refused(400, "bad_framing"),
        cases.map(|fields| (fields, post(fields, "hello"))),
    );
    let cases = [
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
    ];
    run_refused(
        refused(400, "bad_length"),
        cases.map(|fields| (fields, post(fields, "hello"))),
    );
    let server = start(|_| {});
    let spaces = "Content-Length:  5\t\r\n";
    run_all(&server, SENT, [(spaces, post(spaces, "hello"))]);
}

#[test]
fn row_04_a_good_chunked_body_is_the_message() {
    let server = start(|_| {});
    let recipient = Identity::generate();
    let bodies = [
        "5\r\nhello\r\n0\r\n\r\n",
        "1\r\nh\r\n00004\r\nello\r\n000\r\n\r\n",
        "5;name=value;quoted=\"v\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nTrailer: is thrown away\r\n\r\n",
    ];
    let count = bodies.len() * MANNERS;
    let cases = bodies.map(|body| (body, post_to(&recipient.id, "Transfer-Encoding: chunked\r\n", body)));
    run_all(&server, SENT, cases);
    assert_eq!(server.stats().messages, count as u64);
    let mut receiver = Receiver::connect(address(&server), &recipient);
    for _ in 0..count {
        assert_eq!(receiver.recv_bytes(), b"hello");
    }
}

#[test]
fn row_04_a_bad_chunked_body_is_400_and_another_coding_501() {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(256));
    let bodies = [
        ("a size that is no number", "hello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a space", "5 \r\nhello\r\n0\r\n\r\n"),
        ("LF after a size", "5\nhello\r\n0\r\n\r\n"),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("LF after the last size", "5\r\nhello\r\n0\n\r\n"),
        ("LF as the last line", "5\r\nhello\r\n0\r\n\n"),
        ("an empty size line", "\r\nhello\r\n0\r\n\r\n"),
        ("an empty last size line", "5\r\nhello\r\n\r\n\r\n"),
        ("more data than the size", "4\r\nhello\r\n0\r\n\r\n"),
        ("an extension over 256 B", &long_extension),
        ("an extension without a name", "5;\r\nhello\r\n0\r\n\r\n"),
        ("an extension that is no token", "5;[]=()\r\nhello\r\n0\r\n\r\n"),
        ("a quoted string without its end", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ("a request as a trailer", "0\r\nGET /x HTTP/1.1\r\n\r\n"),
        ("a folded trailer", "0\r\n foo: bar\r\n\r\n"),
        ("a trailer without a name", "0\r\n: x\r\n\r\n"),
        ("a trailer with a space before its colon", "0\r\nfoo : x\r\n\r\n"),
        ("a trailer without a colon", "0\r\nfoo\r\n\r\n"),
        ("a size over 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ];
    let chunked = |body| post("Transfer-Encoding: chunked\r\n", body);
    run_refused(
        refused(400, "bad_chunk"),
        bodies.map(|(name, body)| (name, chunked(body))),
    );
    run_refused(
        refused(413, "message_too_large"),
        [("the largest size of 64 bits", chunked("ffffffffffffffff\r\nhello"))],
    );
    let codings = [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        ",chunked",
        "",
        "xchunked",
        "chunked;q=1",
    ];
    run_refused(
        refused(400, "bad_framing"),
        codings.map(|coding| (coding, post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"))),
    );
    let old = format!("POST /{ID} HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    run_refused(refused(400, "bad_framing"), [("chunks in HTTP/1.0", old.into_bytes())]);
    let codings = ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"];
    run_refused(
        refused(501, "unsupported_coding"),
        codings.map(|coding| (coding, post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"))),
    );
}

#[test]
fn row_05_a_field_that_is_folded_or_malformed_is_400() {
    let cases = [
        ("folded with a space", post_with("X: y\r\n z\r\n")),
        ("folded with a tab", post_with("X: y\r\n\tz\r\n")),
        ("folded at once", post_with(" X: y\r\n")),
        ("a space before the colon", post_with("X : y\r\n")),
        ("a tab before the colon", post_with("X\t: y\r\n")),
        ("an empty name", post_with(": y\r\n")),
        ("a name that is no token", post_with("X(: y\r\n")),
        ("no colon", post_with("X\r\n")),
        ("NUL in a value", post_with("X: y\0z\r\n")),
        ("NUL in a name", post_with("X\0: y\r\n")),
        ("DEL in a value", post_with("X: y\x7fz\r\n")),
        ("ESC in a value", post_with("X: \x1b[31m\r\n")),
    ];
    run_refused(refused(400, "malformed_head"), cases);
}

#[test]
fn row_06_http_1_1_without_exactly_one_good_host_is_400() {
    let cases = [
        ("none", ""),
        ("two", "Host: relay.test\r\nHost: relay.test\r\n"),
        ("two that differ", "Host: relay.test\r\nHost: relay.example\r\n"),
        ("with a space", "Host: relay test\r\n"),
        ("empty", "Host:\r\n"),
        ("with a path", "Host: relay.test/path\r\n"),
        ("with a user", "Host: user@relay.test\r\n"),
        ("a list", "Host: relay.test, relay.test\r\n"),
    ]
    .map(|(name, hosts)| {
        let head = format!("POST /{ID} HTTP/1.1\r\n{hosts}Content-Length: 2\r\n\r\nhi");
        (name, head.into_bytes())
    });
    run_refused(refused(400, "bad_host"), cases);
    let old = |hosts: &str| format!("POST /{ID} HTTP/1.0\r\n{hosts}Content-Length: 2\r\n\r\nhi").into_bytes();
    let two = old("Host: relay.test\r\nHost: relay.test\r\n");
    run_refused(refused(400, "bad_host"), [("two in HTTP/1.0", two)]);
    let server = start(|_| {});
    run_all(&server, SENT, [("none in HTTP/1.0", old(""))]);
}

#[test]
fn row_07_a_head_that_is_too_large_is_431_and_a_target_that_is_too_long_414() {
    let server = start(|_| {});
    let fields = |count: usize| post_with(&"X: y\r\n".repeat(count));
    let unfilled = post_with("X: \r\n").len() - "hi".len();
    let head = |length: usize| post_with(&format!("X: {}\r\n", "y".repeat(length - unfilled)));
    let target = |length: usize| {
        let query = "q".repeat(length - ID.len() - "/?".len());
        post_line(&format!("POST /{ID}?{query} HTTP/1.1"))
    };
    let at_their_limits = [
        // With Host and Content-Length these are 64.
        ("64 fields", fields(62)),
        ("a head of 8 KiB", head(8 * 1024)),
        ("a target of 256 B", target(256)),
    ];
    run_all(&server, SENT, at_their_limits);
    let endless = |start: &str| format!("{start}{}", "y".repeat(9 * 1024)).into_bytes();
    let large_heads = [
        ("65 fields", fields(63)),
        ("a head of 8 KiB and 1 B", head(8 * 1024 + 1)),
        (
            "a field without an end",
            endless(&format!("POST /{ID} HTTP/1.1\r\n{HOST}X: ")),
        ),
    ];
    run_refused(refused(431, "head_too_large"), large_heads);
    let long_targets = [
        ("a target of 257 B", target(257)),
        ("a target of 4 KiB", target(4 * 1024)),
        ("a target without an end", endless("POST /")),
    ];
    run_refused(refused(414, "target_too_long"), long_targets);
}

#[test]
fn row_08_http_0_9_tls_on_the_plain_port_and_bad_request_lines_are_400() {
    let mut client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    client_hello.extend(0..=255);
    let cases = [
        ("HTTP/0.9", b"GET /\r\n".to_vec()),
        ("HTTP/0.9 for a mailbox", format!("GET /{ID}\r\n").into_bytes()),
        ("a ClientHello", client_hello),
        ("the first byte of a ClientHello", vec![0x16]),
        ("no request at all", b"\0".to_vec()),
        ("a word", b"hello\r\n".to_vec()),
        ("a space after the version", post_line(&format!("POST /{ID} HTTP/1.1 "))),
        ("two spaces", post_line(&format!("POST  /{ID} HTTP/1.1"))),
        ("another word", post_line(&format!("POST /{ID} x HTTP/1.1"))),
    ];
    run_refused(refused(400, "malformed_head"), cases);
}

#[test]
fn row_09_another_major_version_is_505_and_a_later_minor_one_is_served() {
    let mut cases = ["0.9", "2.0", "3.0", "9.9"]
        .map(|version| (version, post_line(&format!("POST /{ID} HTTP/{version}"))))
        .to_vec();
    cases.push(("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
    run_refused(refused(505, "unsupported_version"), cases);
    let server = start(|_| {});
    let later = ["1.2", "1.9"].map(|version| (version, post_line(&format!("POST /{ID} HTTP/{version}"))));
    run_all(&server, SENT, later);
    let garbage = ["HTTP/1", "HTTP/11.1", "http/1.1", "HTTP/1.x", "FTP/1.1"]
        .map(|version| (version, post_line(&format!("POST /{ID} {version}"))));
    run_refused(refused(400, "malformed_head"), garbage);
}

/// A POST of HTTP/1.1 with a good Host, these fields, and whatever follows the head.
fn post(fields: &str, body: &str) -> Vec<u8> {
    post_to(ID, fields, body)
}

fn post_to(id: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("POST /{id} HTTP/1.1\r\n{HOST}{fields}\r\n{body}").into_bytes()
}

/// A good POST with one more field line, CR LF and all.
fn post_with(field: &str) -> Vec<u8> {
    post(&format!("Content-Length: 2\r\n{field}"), "hi")
}

/// A POST that declares two bytes of body, with this request line.
fn post_line(line: &str) -> Vec<u8> {
    format!("{line}\r\n{HOST}Content-Length: 2\r\n\r\nhi").into_bytes()
}
