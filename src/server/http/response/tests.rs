use super::*;

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn date() -> HttpDate {
    HttpDate::at(UNIX_EPOCH + Duration::from_secs(784_111_777))
}

/// The answer that `write` makes for a request of HTTP/1.1 that keeps its connection, with `alter` applied.
pub(in crate::server) fn answer(alter: impl Fn(&mut Reply<'_>), write: impl Fn(&Reply<'_>, &mut Vec<u8>)) -> String {
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

#[test]
fn an_answer_to_head_has_the_length_of_the_body_that_it_leaves_out() {
    let page = |reply: &Reply<'_>, out: &mut Vec<u8>| reply.text(out, 200, "text/plain", "npchat");
    let to_head = answer(|reply| reply.head_only = true, page);
    assert!(to_head.ends_with("Content-Length: 6\r\n\r\n"));
    assert_eq!(format!("{to_head}npchat"), answer(|_| {}, page));
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
