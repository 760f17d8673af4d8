use super::*;
use crate::server::http::limits::PROTOCOL_FIELDS_MAX;

const HOST: &str = "Host: relay.example\r\n";

/// Scans and parses `head` as a worker does that got it in one read.
fn read(head: &str) -> Result<RequestHead<'_>, HttpError> {
    match HeadScanner::default().scan(head.as_bytes())? {
        Some(length) => RequestHead::parse(&head.as_bytes()[..length]),
        None => panic!("incomplete: {head:?}"),
    }
}

fn error_of(head: &str) -> Option<HttpError> {
    read(head).err()
}

/// A GET of HTTP/1.1 with a Host and these fields.
fn with_fields(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n")
}

#[test]
fn a_head_ends_at_its_empty_line_however_it_is_split() {
    let head = b"\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = [&head[..], b"body\r\n\r\n"].concat();
    assert_eq!(HeadScanner::default().scan(&input), Ok(Some(head.len())));
    for first in 0..head.len() {
        for second in first..head.len() {
            let mut scanner = HeadScanner::default();
            assert_eq!(scanner.scan(&input[..first]), Ok(None));
            assert_eq!(scanner.scan(&input[..second]), Ok(None));
            assert_eq!(scanner.scan(&input), Ok(Some(head.len())));
        }
    }
}

#[test]
fn what_cannot_become_a_head_is_refused_before_it_ends() {
    for (input, refusal) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], HttpError::MalformedHead),
        (b"\r\n\x80", HttpError::MalformedHead),
        (b" GET", HttpError::MalformedHead),
        (b"GET / HT\n", HttpError::MalformedHead),
        (b"GET /\rx", HttpError::MalformedHead),
        (b"\r\r", HttpError::MalformedHead),
        (b"\n", HttpError::MalformedHead),
        (b"GET /\r\n", HttpError::MalformedHead),
        (b"GET / HTTP/x.y\r\n", HttpError::MalformedHead),
        (b"GET / HTTP/2.0\r\n", HttpError::UnsupportedVersion),
        (&[b'A'; 33], HttpError::UnknownMethod),
        (b"GET / HTTP/1.1\r\nHost: a\n", HttpError::MalformedHead),
    ] {
        assert_eq!(
            HeadScanner::default().scan(input),
            Err(refusal),
            "{}",
            input.escape_ascii()
        );
    }
    for input in [&b""[..], b"\r", b"\r\n", b"G", b"GET / HTTP/1.1\r\nHost: a\r"] {
        assert_eq!(HeadScanner::default().scan(input), Ok(None), "{}", input.escape_ascii());
    }
}

#[test]
fn a_head_may_fill_its_limit_and_no_more() {
    let start = format!("GET / HTTP/1.1\r\n{HOST}X: ");
    let filled = |length: usize| format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4));

    let exact = filled(HEAD_MAX_BYTES);
    assert_eq!(HeadScanner::default().scan(exact.as_bytes()), Ok(Some(HEAD_MAX_BYTES)));
    assert_eq!(
        HeadScanner::default().scan(&exact.as_bytes()[..HEAD_MAX_BYTES - 1]),
        Ok(None)
    );
    let over = filled(HEAD_MAX_BYTES + 1);
    assert_eq!(
        HeadScanner::default().scan(over.as_bytes()),
        Err(HttpError::HeadTooLarge)
    );
    assert_eq!(
        HeadScanner::default().scan(&over.as_bytes()[..HEAD_MAX_BYTES]),
        Err(HttpError::HeadTooLarge)
    );

    let endless_line = format!("GET /{}", "x".repeat(HEAD_MAX_BYTES));
    assert_eq!(
        HeadScanner::default().scan(endless_line.as_bytes()),
        Err(HttpError::TargetTooLong)
    );
    let empty_lines = "\r\n".repeat(HEAD_MAX_BYTES);
    assert_eq!(
        HeadScanner::default().scan(empty_lines.as_bytes()),
        Err(HttpError::TargetTooLong)
    );
}

#[test]
fn a_post_has_all_that_a_relay_needs() {
    let head = read(concat!(
        "POST /BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc?a=b&store=false HTTP/1.1\r\n",
        "host: relay.example:8080\r\n",
        "CONTENT-LENGTH: 480\r\n",
        "ttl:  60\t\r\n",
        "Expect: 100-Continue\r\n",
        "User-Agent: t\u{e9}st\r\n",
        "\r\n",
    ))
    .unwrap();
    let target = Target::Path {
        path: b"/BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
        query: b"a=b&store=false",
    };
    assert_eq!(head.target, target);
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.host, Some(&b"relay.example:8080"[..]));
    assert_eq!(head.framing, Framing::Length(480));
    assert_eq!(head.ttl, Once::Value(b"60"));
    assert!(head.keep_alive && head.expects_continue && !head.is_http_10);
    assert!(head.upgrade.is_none());
}

#[test]
fn a_control_byte_is_refused_wherever_it_stands() {
    for byte in (0..0x20).chain([0x7f_u8]).map(char::from).filter(|byte| *byte != '\t') {
        // Longer than what httparse looks at in one step.
        for before in [0, 1, 7, 20, 70] {
            let padding = "x".repeat(before);
            for head in [
                with_fields(&format!("X: {padding}{byte}{padding}y\r\n")),
                with_fields(&format!("X{padding}{byte}{padding}: y\r\n")),
                format!("GET /{padding}{byte}{padding} HTTP/1.1\r\n{HOST}\r\n"),
                format!("GET{}{byte} / HTTP/1.1\r\n{HOST}\r\n", &padding[..before.min(20)]),
            ] {
                assert_eq!(error_of(&head), Some(HttpError::MalformedHead), "{head:?}");
            }
        }
    }
}

#[test]
fn methods_are_case_sensitive_tokens() {
    for (token, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("OPTIONS", Method::Options),
        ("DELETE", Method::Other),
        ("post", Method::Unknown),
        ("!#$%&'*+-.^_`|~9", Method::Unknown),
    ] {
        let head = format!("{token} / HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(read(&head).unwrap().method, method);
    }
}

#[test]
fn a_connection_is_kept_by_the_rules_of_its_version() {
    for (version, fields, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: ,close ,\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\n{HOST}{fields}\r\n");
        let head = read(&head).unwrap();
        assert_eq!(head.keep_alive, kept, "{version} {fields}");
        assert_eq!(head.is_http_10, version == "1.0");
    }
}

#[test]
fn only_the_one_expectation_is_met_and_not_for_http_10() {
    assert!(read(&with_fields("Expect: 100-continue\r\n")).unwrap().expects_continue);
    let old = format!("GET / HTTP/1.0\r\n{HOST}Expect: 100-continue\r\n\r\n");
    assert!(!read(&old).unwrap().expects_continue);
    for fields in [
        "Expect: 200-ok\r\n",
        "Expect:\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
    ] {
        assert_eq!(
            error_of(&with_fields(fields)),
            Some(HttpError::ExpectationFailed),
            "{fields}"
        );
    }
}

#[test]
fn an_absolute_target_counts_for_more_than_host() {
    let head = read("GET HTTP://other:81/info?x HTTP/1.1\r\nHost: relay.example\r\n\r\n").unwrap();
    let target = Target::Path {
        path: b"/info",
        query: b"x",
    };
    assert_eq!((head.target, head.host), (target, Some(&b"other:81"[..])));
    assert_eq!(error_of("GET http://other/ HTTP/1.1\r\n\r\n"), Some(HttpError::BadHost));
    assert_eq!(
        error_of("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
        Some(HttpError::BadHost)
    );
}

#[test]
fn the_subprotocol_is_found_in_any_of_the_offers() {
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (fields, offered) in [
        ("", false),
        ("Sec-WebSocket-Protocol: npchat.2\r\n", true),
        ("Sec-WebSocket-Protocol: chat, npchat.2\r\n", true),
        (
            "Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: npchat.2\r\n",
            true,
        ),
        (
            "Sec-WebSocket-Protocol: npchat.2\r\nSec-WebSocket-Protocol: chat\r\n",
            true,
        ),
        (
            "Sec-WebSocket-Protocol:\r\nSec-WebSocket-Protocol: chat,\tnpchat.2 ,\r\n",
            true,
        ),
        ("Sec-WebSocket-Protocol: NPCHAT.2\r\n", false),
        ("Sec-WebSocket-Protocol: npchat.20\r\n", false),
    ] {
        let head = with_fields(&format!("{UPGRADE}{fields}"));
        assert_eq!(
            read(&head).unwrap().upgrade.unwrap().offers("npchat.2"),
            offered,
            "{fields}"
        );
    }
}

#[test]
fn a_subprotocol_is_looked_for_in_so_many_fields_and_no_more() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let offers = |others: usize| {
        let others = "Sec-WebSocket-Protocol: chat, talk\r\n".repeat(others);
        let head = with_fields(&format!("{upgrade}{others}Sec-WebSocket-Protocol: npchat.2\r\n"));
        let upgrade = read(&head).unwrap().upgrade.unwrap();
        (upgrade.offers("npchat.2"), upgrade.offers("talk"))
    };
    assert_eq!(offers(PROTOCOL_FIELDS_MAX - 1), (true, true));
    assert_eq!(offers(PROTOCOL_FIELDS_MAX), (false, true));
}
