use super::*;
use crate::server::http::response::tests::answer;
use crate::server::routes::Content;

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

fn refusal_answer(refusal: Refusal) -> String {
    answer(|_| {}, |reply, out| refused(reply, out, refusal, Detail::None))
}

fn preflight_answer(reply: &Reply<'_>, out: &mut Vec<u8>) {
    preflight(reply, out, METHODS);
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
    assert_eq!(answer(|_| {}, |reply, out| sent(reply, out, u64::MAX)), expected);
}

#[test]
fn every_refusal_is_json_with_its_length_and_the_cors_header() {
    for refusal in Refusal::ALL {
        let answer = refusal_answer(refusal);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["error"], refusal.code());
        assert_eq!(json["message"], refusal.sentence());
        let reason = head.strip_prefix(&format!("HTTP/1.1 {} ", refusal.status())).unwrap();
        assert!(!reason.starts_with("\r\n"), "{head}");
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
            matches!(refusal.status(), 503 | 504 | 507)
        );
    }
}

#[test]
fn a_refused_method_is_told_the_right_ones() {
    let answer = answer(
        |_| {},
        |reply, out| refused(reply, out, Refusal::MethodNotAllowed, Detail::Allow("GET, HEAD")),
    );
    assert!(has_field(&answer, "Allow: GET, HEAD"));
}

#[test]
fn a_client_that_should_upgrade_is_told_how() {
    let plain = refusal_answer(Refusal::UpgradeRequired);
    assert!(has_field(&plain, "Upgrade: websocket") && has_field(&plain, "Connection: upgrade, keep-alive"));
    assert!(!plain.contains("Sec-WebSocket-Version"));

    let closing = answer(
        |reply| reply.kept_seconds = None,
        |reply, out| refused(reply, out, Refusal::UnsupportedWebSocketVersion, Detail::None),
    );
    assert!(has_field(&closing, "Upgrade: websocket") && has_field(&closing, "Connection: upgrade, close"));
    assert!(has_field(&closing, "Sec-WebSocket-Version: 13"));
}

#[test]
fn a_preflight_has_no_body_and_no_length() {
    let answer = answer(|_| {}, preflight_answer);
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
fn a_page_has_the_fields_of_its_row_and_says_when_to_ask_again() {
    const PAGE: Page = Page {
        content: Content::Health,
        content_type: "text/html",
        fields: &[("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")],
    };
    for (status, asks_again) in [(200, false), (503, true)] {
        let answer = answer(|_| {}, |reply, out| page(reply, out, status, &PAGE, "<p>"));
        for field in [
            "Content-Type: text/html",
            "Content-Length: 3",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ] {
            assert!(has_field(&answer, field), "{field} in {answer}");
        }
        assert!(answer.ends_with("\r\n\r\n<p>"));
        assert_eq!(has_field(&answer, "Retry-After: 5"), asks_again);
    }
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
            answer(alter, |reply, out| sent(reply, out, 1)),
            answer(alter, |reply, out| {
                refused(reply, out, Refusal::MailboxFull, Detail::None);
            }),
            answer(alter, preflight_answer),
            answer(alter, |reply, out| reply.text(out, 200, "text/plain", "ok")),
        ] {
            assert!(fields.iter().all(|field| has_field(&answer, field)), "{answer}");
            assert_eq!(answer.contains("Keep-Alive:"), kept_seconds.is_some(), "{answer}");
        }
    }
}
