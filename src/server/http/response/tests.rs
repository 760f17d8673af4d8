use super::*;

const METHODS: &str = "GET, HEAD, POST, OPTIONS";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn date() -> HttpDate {
    HttpDate::at(UNIX_EPOCH + Duration::from_secs(784_111_777))
}

/// The answer that `write` makes for a request of HTTP/1.1 that keeps its connection, with `alter` applied.
fn answer(alter: impl Fn(&mut Reply<'_>), write: impl Fn(&Reply<'_>, &mut Vec<u8>)) -> String {
    let date = date();
    let mut reply = Reply {
        date: &date,
        kept_seconds: Some(75),
        head_only: false,
    };
    alter(&mut reply);
    let mut out = Vec::new();
    write(&reply, &mut out);
    String::from_utf8(out).unwrap()
}

fn refused(refusal: Refusal) -> String {
    answer(|_| {}, |reply, out| reply.refused(out, refusal, Detail::None))
}

fn preflight(reply: &Reply<'_>, out: &mut Vec<u8>) {
    reply.preflight(out, METHODS);
}

fn has_field(answer: &str, field: &str) -> bool {
    answer
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .split("\r\n")
        .skip(1)
        .any(|line| line == field)
}

#[test]
fn a_message_that_was_taken_gets_these_bytes() {
    let expected = concat!(
        "HTTP/1.1 200 OK\r\n",
        "Access-Control-Allow-Origin: *\r\n",
        "Access-Control-Expose-Headers: Retry-After, TTL\r\n",
        "Content-Type: application/json\r\n",
        "Content-Length: 18\r\n",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "TTL: 18446744073709551615\r\n",
        "Connection: keep-alive\r\n",
        "Keep-Alive: timeout=75\r\n",
        "\r\n",
        r#"{"message":"sent"}"#,
    );
    assert_eq!(answer(|_| {}, |reply, out| reply.sent(out, u64::MAX)), expected);
}

#[test]
fn an_answer_says_what_becomes_of_the_connection_and_for_how_long() {
    for (kept_seconds, fields) in [
        (None, &["Connection: close"][..]),
        (Some(1), &["Connection: keep-alive", "Keep-Alive: timeout=1"]),
        (Some(3600), &["Connection: keep-alive", "Keep-Alive: timeout=3600"]),
    ] {
        let alter = |reply: &mut Reply<'_>| reply.kept_seconds = kept_seconds;
        for answer in [
            answer(alter, |reply, out| reply.sent(out, 1)),
            answer(alter, |reply, out| {
                reply.refused(out, Refusal::MailboxFull, Detail::None);
            }),
            answer(alter, preflight),
            answer(alter, |reply, out| reply.text(out, 200, "text/plain", "ok")),
        ] {
            assert!(fields.iter().all(|field| has_field(&answer, field)), "{answer}");
            assert_eq!(answer.contains("Keep-Alive:"), kept_seconds.is_some(), "{answer}");
        }
    }
}

#[test]
fn every_refusal_is_json_with_its_length_and_the_cors_header() {
    for refusal in Refusal::ALL {
        let answer = refused(refusal);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["error"], refusal.code());
        assert_eq!(json["message"], refusal.sentence());
        assert!(!reason(refusal.status()).is_empty());
        assert!(head.starts_with(&format!(
            "HTTP/1.1 {} {}\r\n",
            refusal.status(),
            reason(refusal.status())
        )));
        for field in [
            "Access-Control-Allow-Origin: *",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            "Content-Type: application/json",
            &format!("Content-Length: {}", body.len()),
        ] {
            assert!(has_field(&answer, field), "{field} in {answer}");
        }
        assert_eq!(head.contains("close"), refusal.closes(), "{answer}");
        assert_eq!(
            has_field(&answer, "Retry-After: 5"),
            matches!(refusal.status(), 503 | 507)
        );
    }
}

#[test]
fn a_refused_method_is_told_the_right_ones() {
    let answer = answer(
        |_| {},
        |reply, out| reply.refused(out, Refusal::MethodNotAllowed, Detail::Allow("GET, HEAD")),
    );
    assert!(has_field(&answer, "Allow: GET, HEAD"));
}

#[test]
fn a_client_that_should_upgrade_is_told_how() {
    let plain = refused(Refusal::UpgradeRequired);
    assert!(has_field(&plain, "Upgrade: websocket") && has_field(&plain, "Connection: upgrade, keep-alive"));
    assert!(!plain.contains("Sec-WebSocket-Version"));

    let closing = answer(
        |reply| reply.kept_seconds = None,
        |reply, out| reply.refused(out, Refusal::UnsupportedWebSocketVersion, Detail::None),
    );
    assert!(has_field(&closing, "Upgrade: websocket") && has_field(&closing, "Connection: upgrade, close"));
    assert!(has_field(&closing, "Sec-WebSocket-Version: 13"));
}

#[test]
fn an_answer_to_head_has_the_length_of_the_body_that_it_leaves_out() {
    let page = |reply: &Reply<'_>, out: &mut Vec<u8>| reply.text(out, 200, "text/plain", "npchat");
    let to_head = answer(|reply| reply.head_only = true, page);
    assert!(to_head.ends_with("Content-Length: 6\r\n\r\n"));
    assert_eq!(format!("{to_head}npchat"), answer(|_| {}, page));
}

#[test]
fn a_preflight_has_no_body_and_no_length() {
    let answer = answer(|_| {}, preflight);
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && answer.ends_with("\r\n\r\n"));
    assert!(!answer.contains("Content-Length") && !answer.contains("Transfer-Encoding"));
    for field in [
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS",
        "Access-Control-Allow-Headers: Content-Type, TTL, *",
        "Access-Control-Max-Age: 86400",
        "Allow: GET, HEAD, POST, OPTIONS",
    ] {
        assert!(has_field(&answer, field), "{field} in {answer}");
    }
}

#[test]
fn switching_names_the_subprotocol_only_when_one_is_taken() {
    let with = answer(|_| {}, |reply, out| reply.switching(out, "accept=", Some("npchat.2")));
    let expected = concat!(
        "HTTP/1.1 101 Switching Protocols\r\n",
        "Access-Control-Allow-Origin: *\r\n",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Accept: accept=\r\n",
        "Sec-WebSocket-Protocol: npchat.2\r\n",
        "\r\n",
    );
    assert_eq!(with, expected);
    let without = answer(|_| {}, |reply, out| reply.switching(out, "accept=", None));
    assert_eq!(without, expected.replace("Sec-WebSocket-Protocol: npchat.2\r\n", ""));
}

#[test]
fn an_answer_is_appended_to_what_is_there() {
    let mut out = b"before".to_vec();
    continue_100(&mut out);
    assert_eq!(out, format!("before{CONTINUE}").as_bytes());
}

#[test]
fn a_broken_clock_makes_a_date_and_no_panic() {
    let at = |time| String::from_utf8(HttpDate::at(time).as_bytes().to_vec()).unwrap();
    assert_eq!(at(UNIX_EPOCH - Duration::from_secs(1)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(
        at(UNIX_EPOCH + Duration::from_secs(1 << 40)),
        "Fri, 31 Dec 9999 23:59:59 GMT"
    );
}
