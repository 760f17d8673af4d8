//! Rows 10 to 17: requests that are well formed, but too large, for no mailbox, or too slow.
//!
//! What becomes of a message that was taken is in the rows of the mailboxes.

use std::time::{Duration, Instant};

use npchat::server::Server;
use testkit::{PATIENCE, RawClient, address, start, wait_until};

use crate::harness::{
    Answer, Case, ID, MANNERS, SENT, expect_answer, expect_ending, refused, run, run_all, run_refused, trickle,
};

const HOST: &str = "Host: relay.test\r\n";
/// That nothing ends before its deadline is tested in virtual time.
const DEADLINE: Duration = Duration::from_secs(1);
/// More than trickles until the deadline, even if the server is half a minute late.
const TRICKLED_BYTES: usize = 4000;

#[test]
fn row_10_a_message_over_the_limit_is_413_and_no_100_while_its_body_is_in_flight() {
    const LENGTH: usize = 1024 * 1024;
    let body = "m".repeat(LENGTH);
    let line = format!("POST /{ID}");
    let expecting = format!("Content-Length: {LENGTH}\r\nExpect: 100-continue\r\n");
    let plain = format!("Content-Length: {LENGTH}\r\n");
    let most = "Expect: 100-continue\r\nContent-Length: 18446744073709551615\r\n";
    let chunk = format!("{LENGTH:x}\r\n{body}\r\n0\r\n\r\n");
    let cases = [
        ("its head alone", request(&line, &plain, "")),
        ("its head alone, expecting", request(&line, &expecting, "")),
        ("all of it", request(&line, &plain, &body)),
        ("all of it, expecting", request(&line, &expecting, &body)),
        ("one byte over", request(&line, "Content-Length: 65537\r\n", "")),
        ("the most there can be", request(&line, most, "")),
        ("in a chunk", request(&line, "Transfer-Encoding: chunked\r\n", &chunk)),
    ];
    run_refused(refused(413, "message_too_large"), cases);
}

#[test]
fn row_10_a_413_names_the_limit() {
    let server = start(|config| config.max_message = 5000);
    let line = format!("POST /{ID}");
    for input in [
        request(&line, "Content-Length: 5001\r\n", ""),
        request(&line, "Transfer-Encoding: chunked\r\n", "1389\r\n"),
        request(
            &line,
            "Transfer-Encoding: chunked\r\n",
            &format!("1388\r\n{}\r\n1\r\n", "m".repeat(5000)),
        ),
    ] {
        let mut client = RawClient::connect(address(&server));
        client.send(input);
        let response = expect_answer(&mut client, refused(413, "message_too_large"));
        assert_eq!(response.json()["message"], "A body may have at most 5000 bytes here.");
    }
}

#[test]
fn row_10_a_message_within_the_limit_is_asked_for_with_100() {
    let server = start(|_| {});
    let mut client = RawClient::connect(address(&server));
    let body = "m".repeat(64 * 1024);
    for _ in 0..2 {
        let fields = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
        client.send(request(&format!("POST /{ID}"), &fields, ""));
        assert_eq!(client.read_response().status, 100);
        client.send(&body);
        expect_answer(&mut client, SENT);
    }
    assert_eq!(server.stats().messages, 2);
}

#[test]
fn row_11_a_message_with_neither_length_nor_coding_is_411() {
    let line = format!("POST /{ID}");
    let cases = [
        ("no body", request(&line, "", "")),
        ("a body", request(&line, "", "hello")),
    ];
    run_refused(refused(411, "length_required"), cases);
    let server = start(|_| {});
    let empty = request(&line, "Content-Length: 0\r\n", "");
    run_all(&server, SENT, [("a length of nothing", empty)]);
}

#[test]
fn row_12_pipelined_messages_are_answered_in_order_up_to_the_bad_one() {
    let other_method = request(&format!("PUT /{ID}"), "Content-Length: 5\r\n", "three");
    let cases = [
        ("a bad head", b"POST\r\n\r\n".to_vec(), refused(400, "malformed_head")),
        (
            "no length",
            request(&format!("POST /{ID}"), "", ""),
            refused(411, "length_required"),
        ),
        (
            "no id",
            request("POST /id", "Content-Length: 2\r\n", "no"),
            refused(400, "bad_id"),
        ),
        ("no HTTP at all", vec![0xff; 100], refused(400, "malformed_head")),
        (
            "a bad length",
            request(&format!("POST /{ID}"), "Content-Length: +1\r\n", "x"),
            refused(400, "bad_length"),
        ),
    ];
    for (name, bad, answer) in cases {
        let server = start(|_| {});
        let input = [post("one"), post("two"), bad, post("discarded")].concat();
        let answers = vec![SENT, SENT, answer];
        run(&server, &Case { name, input, answers });
        assert_eq!(server.stats().messages, 2 * MANNERS as u64);
    }
    let server = start(|_| {});
    let input = [post("one"), other_method, post("two")].concat();
    let answers = vec![SENT, refused(405, "method_not_allowed"), SENT];
    let name = "a refusal that keeps the connection";
    run(&server, &Case { name, input, answers });
    assert_eq!(server.stats().messages, 2 * MANNERS as u64);

    let server = start(|_| {});
    let chunked = request(
        &format!("POST /{ID}"),
        "Transfer-Encoding: chunked\r\n",
        "2\r\nab\r\n0\r\n\r\n",
    );
    let input = [post("one"), b"\r\n".to_vec(), chunked, post("three")].concat();
    let answers = vec![SENT; 3];
    let name = "an empty line between two, and chunks";
    run(&server, &Case { name, input, answers });
}

#[test]
fn row_12_many_pipelined_messages_are_all_answered() {
    const COUNT: usize = 300;
    let server = start(|_| {});
    let input = post("m").repeat(COUNT);
    let name = "more than one turn may answer";
    let answers = vec![SENT; COUNT];
    run(&server, &Case { name, input, answers });
    assert_eq!(server.stats().messages, (COUNT * MANNERS) as u64);
}

#[test]
fn row_13_a_path_that_is_no_canonical_id_is_400() {
    let (shorter, rest) = (&ID[..42], &ID[1..]);
    let paths = [
        ("empty name", "//".to_owned()),
        ("42 characters", format!("/{shorter}")),
        ("44 characters", format!("/{ID}A")),
        ("padded", format!("/{ID}=")),
        ("percent-encoded", format!("/%42{rest}")),
        ("percent-encoded to 43 characters", format!("/%42{}", &ID[3..])),
        ("stray bits in the last character", format!("/{shorter}d")),
        ("a plus sign", format!("/+{rest}")),
        ("a second slash", format!("//{}", &ID[1..])),
        ("a slash at the end", format!("/{ID}/")),
        ("another segment", format!("/{ID}/{ID}")),
        ("a dot segment", format!("/./{ID}")),
        ("a word", "/favicon.ico".to_owned()),
    ];
    let posts = paths.clone().map(|(name, path)| {
        let fields = "Content-Length: 2\r\n";
        (name, request(&format!("POST {path}"), fields, "hi"))
    });
    run_refused(refused(400, "bad_id"), posts);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrades = paths.map(|(name, path)| (name, request(&format!("GET {path}"), upgrade, "")));
    run_refused(refused(400, "bad_id"), upgrades);
}

#[test]
fn row_14_another_method_is_405_and_told_those_allowed() {
    let server = start(|_| {});
    let body = "Content-Length: 4\r\n";
    let mailbox = refused(405, "method_not_allowed").with("Allow", "GET, HEAD, POST, OPTIONS");
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT"] {
        let line = format!("{method} /{ID}");
        run_all(
            &server,
            mailbox,
            [(method, request(&line, "", "")), (method, request(&line, body, "body"))],
        );
    }
    let page = refused(405, "method_not_allowed").with("Allow", "GET, HEAD, OPTIONS");
    for path in ["/", "/info", "/healthz", "/readyz"] {
        let line = format!("POST {path}");
        run_all(
            &server,
            page,
            [(path, request(&line, "", "")), (path, request(&line, body, "body"))],
        );
    }
    let long = "M".repeat(33);
    let unknown = ["post", "BREW", &long].map(|method| (method, request(&format!("{method} /{ID}"), body, "body")));
    run_refused(refused(501, "unknown_method"), unknown);
    let endless = ("a method without an end", "M".repeat(9 * 1024).into_bytes());
    run_refused(refused(501, "unknown_method"), [endless]);
    assert_eq!(server.stats().messages, 0);
}

#[test]
fn row_14_a_preflight_is_204_and_told_what_a_page_may_send() {
    let server = start(|_| {});
    let fields = "Origin: https://page.test\r\nAccess-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: content-type, ttl\r\n";
    let mut client = RawClient::connect(address(&server));
    for target in [&format!("/{ID}"), "/", "*"] {
        client.send(request(&format!("OPTIONS {target}"), fields, ""));
        let response = client.read_response();
        assert_eq!((response.status, response.body.len()), (204, 0));
        assert_eq!(response.header("Content-Length"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        let lists = |name: &str, wanted: &str| {
            let list = response.header(name).unwrap_or_default();
            list.split(", ").any(|element| element.eq_ignore_ascii_case(wanted))
        };
        for list in ["Access-Control-Allow-Methods", "Allow"] {
            assert_eq!(lists(list, "POST"), target != "/", "{response:?}");
        }
        assert!(lists("Access-Control-Allow-Headers", "*"), "{response:?}");
        assert!(lists("Access-Control-Allow-Headers", "Content-Type"), "{response:?}");
        assert!(lists("Access-Control-Allow-Headers", "TTL"), "{response:?}");
        expect_ending(&mut client, &response);
    }
}

#[test]
fn row_15_a_head_that_trickles_is_408_at_an_absolute_deadline() {
    let server = start(|config| config.timeouts.head = DEADLINE);
    let trickled = request(
        &format!("POST /{ID}"),
        &format!("X: {}\r\n", "y".repeat(TRICKLED_BYTES)),
        "",
    );
    let (first, rest) = trickled.split_at(1);
    let mut client = begin_in_time(&server, first);
    trickle(&mut client, rest);
    expect_too_late(&mut client);

    let mut client = begin_in_time(&server, &post("first"));
    expect_answer(&mut client, SENT);
    trickle(&mut client, &trickled);
    expect_too_late(&mut client);
}

#[test]
fn row_16_a_connection_that_stays_silent_is_closed_without_an_answer() {
    let server = start(|config| config.timeouts.head = DEADLINE);
    let mut silent = RawClient::connect(address(&server));
    assert_eq!(silent.read_to_end(), b"");
    let server = start(|config| config.timeouts.keep_alive = DEADLINE);
    let mut once = RawClient::connect(address(&server));
    assert_eq!(once.post(ID, "first").status, 200);
    assert_eq!(once.read_to_end(), b"");
}

#[test]
fn row_17_a_body_under_the_minimum_rate_is_408_and_not_stored() {
    let server = start(|config| config.timeouts.body_grace = DEADLINE);
    for fields in ["Content-Length: 4000\r\n", "Transfer-Encoding: chunked\r\n\r\n1000"] {
        let mut client = RawClient::connect(address(&server));
        client.send(request(&format!("POST /{ID}"), fields, ""));
        trickle(&mut client, &[b'm'; TRICKLED_BYTES - 1]);
        expect_too_late(&mut client);
    }
    expect_nothing_held(&server);
}

#[test]
fn row_17_an_end_inside_a_request_is_408_and_nothing_is_stored() {
    let server = start(|_| {});
    let line = format!("POST /{ID}");
    let cases = [
        ("inside a head", b"POST /".to_vec()),
        ("inside a body", request(&line, "Content-Length: 6\r\n", "hello")),
        ("before a body", request(&line, "Content-Length: 6\r\n", "")),
        (
            "inside a chunk",
            request(&line, "Transfer-Encoding: chunked\r\n", "6\r\nhello"),
        ),
        (
            "before the last chunk",
            request(&line, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ),
    ];
    for (name, input) in cases {
        println!("{name}");
        let mut client = RawClient::connect(address(&server));
        client.send(input);
        client.finish();
        let response = expect_answer(&mut client, refused(408, "request_timeout"));
        expect_ending(&mut client, &response);
    }
    expect_nothing_held(&server);
}

fn expect_nothing_held(server: &Server) {
    assert_eq!(server.stats().messages, 0);
    wait_until(PATIENCE, "no memory is held", || server.memory_used() == 0);
}

/// Any request of HTTP/1.1, its Host included.
fn request(line: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\n{HOST}{fields}\r\n{body}").into_bytes()
}

fn post(body: &str) -> Vec<u8> {
    request(
        &format!("POST /{ID}"),
        &format!("Content-Length: {}\r\n", body.len()),
        body,
    )
}

/// A connection over which this was sent well before the deadline of its head, by a client that a slow machine has held
/// up before it could: such a one tries again.
fn begin_in_time(server: &Server, bytes: &[u8]) -> RawClient {
    let mut begun = None;
    wait_until(PATIENCE, "a client is in time", || {
        let since = Instant::now();
        let mut client = RawClient::connect(address(server));
        let is_sent = client.try_send(bytes).is_ok();
        begun = (is_sent && since.elapsed() < DEADLINE / 2).then_some(client);
        begun.is_some()
    });
    begun.expect("it has been waited for")
}

/// Reads a 408 and the end of the stream.
fn expect_too_late(client: &mut RawClient) {
    const TOO_LATE: Answer = refused(408, "request_timeout");
    let response = expect_answer(client, TOO_LATE);
    expect_ending(client, &response);
}
