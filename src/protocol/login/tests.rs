//! The rules of the login's JSON, one by one. What the signatures in it are worth is tested elsewhere.

use super::*;

const TEXT: [u8; 32] = [1; 32];
const CHALLENGE_SIGNATURE: [u8; 64] = [2; 64];
const SOLUTION: [u8; 64] = [3; 64];

fn key_bytes() -> [u8; 65] {
    let mut bytes = [5; 65];
    bytes[0] = 0x04;
    bytes
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn challenge_object() -> String {
    format!(
        r#"{{"txt":"{}","sig":"{}"}}"#,
        encode(&TEXT),
        encode(&CHALLENGE_SIGNATURE)
    )
}

/// The members of a good solution, in the order of PROTOCOL.md, their values as JSON.
fn good_members() -> [(&'static str, String); 3] {
    [
        ("publicKey", format!(r#""{}""#, encode(&key_bytes()))),
        ("challenge", challenge_object()),
        ("solution", format!(r#""{}""#, encode(&SOLUTION))),
    ]
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A good solution with one member's value, given as JSON, replaced.
fn with(name: &str, value: &str) -> String {
    object(&good_members().map(|(own, good)| (own, if own == name { value.to_owned() } else { good })))
}

fn without(name: &str) -> String {
    let members: Vec<_> = good_members().into_iter().filter(|(own, _)| *own != name).collect();
    object(&members)
}

fn good_solution() -> Handshake {
    Handshake::Solution(Box::new(Solution {
        public_key: PublicKey::from_sec1(&key_bytes()).unwrap(),
        challenge: Challenge {
            text: TEXT,
            signature: CHALLENGE_SIGNATURE,
        },
        solution: SOLUTION,
    }))
}

fn parse_text(text: &str) -> Result<Option<Handshake>, HandshakeError> {
    parse(text.as_bytes())
}

#[track_caller]
fn assert_request(text: &str) {
    assert_eq!(parse_text(text), Ok(Some(Handshake::ChallengeRequest)), "{text}");
}

#[track_caller]
fn assert_solution(text: &str) {
    assert_eq!(parse_text(text), Ok(Some(good_solution())), "{text}");
}

#[track_caller]
fn assert_neither(text: &str) {
    assert_eq!(parse_text(text), Ok(None), "{text}");
}

#[track_caller]
fn assert_error(text: &str, error: HandshakeError) {
    assert_eq!(parse_text(text), Err(error), "{text}");
}

#[track_caller]
fn assert_malformed(text: &str) {
    assert_error(text, HandshakeError::Malformed);
}

#[test]
fn a_challenge_request_is_known_with_anything_unknown_beside_it() {
    assert_request(r#"{"get":"challenge"}"#);
    assert_request(" {\t\"get\" :\r\n\"challenge\" } \n");
    assert_request(r#"{"x":[{"get":1},null,true,false,-1,2,3.5e3],"get":"challenge","message":{"get":"other"}}"#);
}

#[test]
fn a_name_or_word_written_with_escapes_is_the_same() {
    assert_request(r#"{"\u0067et":"chall\u0065nge"}"#);
    assert_malformed(r#"{"get":"challenge","\u0067et":"challenge"}"#);
    assert_malformed(r#"{"x":{"A":1,"\u0041":1}}"#);
    let first = encode(&SOLUTION).remove(0);
    let escaped = format!(r"\u{:04x}{}", u32::from(first), &encode(&SOLUTION)[1..]);
    assert_solution(&with("solution", &format!(r#""{escaped}""#)));
}

#[test]
fn other_json_is_neither_request_nor_solution() {
    for text in [
        "{}",
        "[]",
        "0",
        "null",
        "true",
        r#""get""#,
        r#"["get","challenge"]"#,
        r#"{"get":"other"}"#,
        r#"{"get":5}"#,
        r#"{"get":null}"#,
        r#"{"get":["challenge"]}"#,
        r#"{"get":"Challenge"}"#,
        r#"{"Get":"challenge"}"#,
        r#"{"t":1,"iv":"","m":"","f":"","h":"","s":""}"#,
        r#"{"x":{"solution":1}}"#,
        r#"[{"solution":1}]"#,
    ] {
        assert_neither(text);
    }
}

#[test]
fn a_solution_is_read_with_its_members_in_any_order() {
    let [a, b, c] = good_members();
    for order in [
        [&a, &b, &c],
        [&a, &c, &b],
        [&b, &a, &c],
        [&b, &c, &a],
        [&c, &a, &b],
        [&c, &b, &a],
    ] {
        assert_solution(&object(&order.map(Clone::clone)));
    }
    let swapped = format!(
        r#"{{"sig":"{}","txt":"{}"}}"#,
        encode(&CHALLENGE_SIGNATURE),
        encode(&TEXT)
    );
    assert_solution(&with("challenge", &swapped));
}

#[test]
fn unknown_members_of_a_solution_are_ignored() {
    let text = object(&good_members());
    assert_solution(&text.replace("{\"publicKey", r#"{"v":1,"":[{}],"publicKey"#));
    assert_solution(&text.replace("{\"txt", r#"{"alg":{"name":"ES256"},"txt"#));
}

#[test]
fn a_missing_member_is_told_as_a_bad_one() {
    assert_error(&without("publicKey"), HandshakeError::BadKey);
    assert_error(&without("challenge"), HandshakeError::BadChallenge);
    assert_error(&without("solution"), HandshakeError::BadSolution);
    assert_error(r#"{"solution":null}"#, HandshakeError::BadKey);
}

#[test]
fn a_member_of_another_type_is_bad() {
    for value in ["null", "true", "0", "[]", "{}", r#""""#, r#"["BA"]"#] {
        assert_error(&with("publicKey", value), HandshakeError::BadKey);
        assert_error(&with("challenge", value), HandshakeError::BadChallenge);
        assert_error(&with("solution", value), HandshakeError::BadSolution);
        let (txt, sig) = (encode(&TEXT), encode(&CHALLENGE_SIGNATURE));
        assert_error(
            &with("challenge", &format!(r#"{{"txt":{value},"sig":"{sig}"}}"#)),
            HandshakeError::BadChallenge,
        );
        assert_error(
            &with("challenge", &format!(r#"{{"txt":"{txt}","sig":{value}}}"#)),
            HandshakeError::BadChallenge,
        );
    }
    assert_error(
        &with("challenge", &format!(r#"{{"txt":"{}"}}"#, encode(&TEXT))),
        HandshakeError::BadChallenge,
    );
}

#[test]
fn base64_has_one_spelling_and_the_exact_length() {
    let wrong = |bytes: &[u8]| {
        let good = encode(bytes);
        let mut stray_bits = good.clone().into_bytes();
        *stray_bits.last_mut().unwrap() += 1;
        [
            format!("{good}="),
            format!("{good}=="),
            format!(" {good}"),
            format!(r"{good}\n"),
            good.replacen(char::is_alphanumeric, "+", 1),
            good.replacen(char::is_alphanumeric, "/", 1),
            good.replacen(char::is_alphanumeric, "é", 1),
            String::from_utf8(stray_bits).unwrap(),
            encode(&bytes[1..]),
            encode(&[bytes, &[0]].concat()),
            encode(&[bytes, bytes].concat()),
            good[1..].to_owned(),
        ]
    };
    for bad in wrong(&SOLUTION) {
        assert_error(&with("solution", &format!(r#""{bad}""#)), HandshakeError::BadSolution);
        let challenge = format!(r#"{{"txt":"{}","sig":"{bad}"}}"#, encode(&TEXT));
        assert_error(&with("challenge", &challenge), HandshakeError::BadChallenge);
    }
    for bad in wrong(&TEXT) {
        let challenge = format!(r#"{{"txt":"{bad}","sig":"{}"}}"#, encode(&CHALLENGE_SIGNATURE));
        assert_error(&with("challenge", &challenge), HandshakeError::BadChallenge);
    }
    for bad in wrong(&key_bytes()) {
        assert_error(&with("publicKey", &format!(r#""{bad}""#)), HandshakeError::BadKey);
    }
}

#[test]
fn a_key_is_an_uncompressed_point() {
    for first in [0x00, 0x02, 0x03, 0x05, 0x06, 0x07, 0xff] {
        let mut bytes = key_bytes();
        bytes[0] = first;
        assert_error(
            &with("publicKey", &format!(r#""{}""#, encode(&bytes))),
            HandshakeError::BadKey,
        );
    }
    let mut compressed = [5; 33];
    compressed[0] = 0x02;
    assert_error(
        &with("publicKey", &format!(r#""{}""#, encode(&compressed))),
        HandshakeError::BadKey,
    );
}

#[test]
fn a_request_and_a_solution_in_one_text_are_malformed() {
    for member in ["publicKey", "challenge", "solution"] {
        assert_malformed(&format!(r#"{{"get":"challenge","{member}":1}}"#));
        assert_malformed(&format!(r#"{{"{member}":1,"get":null}}"#));
    }
}

#[test]
fn a_member_twice_is_malformed_at_any_depth() {
    assert_malformed(r#"{"get":"challenge","get":"challenge"}"#);
    assert_malformed(r#"{"x":1,"get":"challenge","x":1}"#);
    assert_malformed(r#"{"get":"challenge","x":[[{"y":{"":1,"":2}}]]}"#);
    assert_malformed(r#"[{"a":{},"a":{}}]"#);
    let text = object(&good_members());
    assert_malformed(&text.replace("{\"txt", r#"{"txt":"","txt"#));
    assert_malformed(&text.replace("{\"publicKey", r#"{"solution":"","publicKey"#));
    assert_request(r#"{"get":"challenge","x":{"x":{"x":[{"x":1},{"x":1}]}}}"#);
}

#[test]
fn nesting_has_a_limit_that_is_the_same_for_objects_and_arrays() {
    let depth = usize::from(JSON_MAX_DEPTH);
    let nested = |open: &str, close: &str, depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [("[", "]"), (r#"{"x":"#, "}")] {
        assert_neither(&nested(open, close, depth));
        assert_malformed(&nested(open, close, depth + 1));
        assert_malformed(&nested(open, close, 200));
        assert_request(&format!(
            r#"{{"x":{},"get":"challenge"}}"#,
            nested(open, close, depth - 1)
        ));
        assert_malformed(&format!(r#"{{"x":{},"get":"challenge"}}"#, nested(open, close, depth)));
    }
    assert_malformed(&"[".repeat(HANDSHAKE_MAX_BYTES));
    assert_malformed(&r#"{"":"#.repeat(HANDSHAKE_MAX_BYTES / 4));
}

#[test]
fn the_limit_of_size_counts_white_space() {
    let request = r#"{"get":"challenge"}"#;
    assert_request(&format!("{request:<HANDSHAKE_MAX_BYTES$}"));
    let over = HANDSHAKE_MAX_BYTES + 1;
    assert_malformed(&format!("{request:<over$}"));
    assert_malformed(&format!(
        r#"{{"get":"challenge","x":"{}"}}"#,
        "a".repeat(HANDSHAKE_MAX_BYTES)
    ));
}

#[test]
fn a_text_full_of_members_is_read() {
    let members: Vec<_> = (0..220).map(|number| format!(r#","{number}":{{}}"#)).collect();
    let text = format!(r#"{{"get":"challenge"{}"#, members.concat());
    assert!((HANDSHAKE_MAX_BYTES - 200..HANDSHAKE_MAX_BYTES - 10).contains(&text.len()));
    assert_request(&format!("{text}}}"));
    assert_malformed(&format!(r#"{text},"0":1}}"#));
}

#[test]
fn what_is_not_one_json_value_is_malformed() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "get",
        r#"{"get":"challenge"#,
        r#"{"get":"challenge"},"#,
        r#"{"get":"challenge"}{}"#,
        r#"{"get":"challenge"}x"#,
        "{\"get\":\"challenge\"}\0",
        "\u{feff}{\"get\":\"challenge\"}",
        r#"{"get":"challenge",}"#,
        r#"{get:"challenge"}"#,
        r"{'get':'challenge'}",
        r#"{"get" "challenge"}"#,
        r#"{"get":"challenge"/**/}"#,
        r#"{5:"challenge"}"#,
        "[1,]",
        "[,1]",
        "01",
        "+1",
        ".5",
        "1.",
        "NaN",
        "Infinity",
        "nul",
        "\"\n\"",
        r#""\x""#,
        r#""\u12""#,
    ] {
        assert_malformed(text);
    }
}

#[test]
fn strings_that_are_not_unicode_are_malformed() {
    for text in [
        r#"{"get":"challenge","x":"\ud800"}"#,
        r#"{"get":"challenge","\udc00":1}"#,
        r#"{"get":"challenge","x":["\ud800\u0041"]}"#,
        r#"{"get":"challenge","x":"\udc00\ud800"}"#,
    ] {
        assert_malformed(text);
    }
    assert_request(r#"{"get":"challenge","x":"\ud83d\ude00\u0000"}"#);
    for bytes in [
        &b"{\"x\":\"\xff\"}"[..],
        b"{\"\xc0\xaf\":1}",
        b"\xff",
        b"[\"\xed\xa0\x80\"]",
    ] {
        assert_eq!(parse(bytes), Err(HandshakeError::Malformed));
    }
}

#[test]
fn numbers_may_be_long_but_not_out_of_range() {
    let digits = "9".repeat(300);
    for number in [
        &digits,
        "-0",
        "18446744073709551616",
        "-9223372036854775809",
        "1e-999999",
        "0e999999",
        "1E+308",
    ] {
        assert_request(&format!(r#"{{"get":"challenge","x":{number}}}"#));
    }
    for number in ["1e309", "-1e999999999999999999999", &"9".repeat(400)] {
        assert_malformed(&format!(r#"{{"get":"challenge","x":{number}}}"#));
    }
}

#[test]
fn what_is_written_is_exact_and_appended() {
    let challenge = Challenge {
        text: TEXT,
        signature: CHALLENGE_SIGNATURE,
    };
    let mut out = b"before ".to_vec();
    write_challenge(&mut out, &challenge);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(r#"before {{"challenge":{}}}"#, challenge_object())
    );

    for (expired, number) in [(1, "1"), (u64::MAX, "18446744073709551615")] {
        let mut out = b"before ".to_vec();
        write_lost(&mut out, expired);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(r#"before {{"lost":{{"expired":{number}}}}}"#)
        );
    }

    let mut out = b"before ".to_vec();
    write_error(&mut out, "wrong_key");
    assert_eq!(out, br#"before {"error":"wrong_key"}"#);
    assert_eq!(DONE, br#"{"message":"handshake done"}"#);
}

#[test]
fn what_a_client_writes_the_relay_reads() {
    assert_eq!(parse(CHALLENGE_REQUEST), Ok(Some(Handshake::ChallengeRequest)));
    let Handshake::Solution(solution) = good_solution() else {
        unreachable!()
    };
    let mut text = Vec::new();
    write_solution(&mut text, &solution);
    assert_eq!(str::from_utf8(&text).unwrap(), object(&good_members()));
    assert_eq!(parse(&text), Ok(Some(good_solution())));
}

#[test]
fn what_a_relay_writes_the_client_reads() {
    let challenge = Challenge {
        text: TEXT,
        signature: CHALLENGE_SIGNATURE,
    };
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut text = Vec::new();
        write(&mut text);
        parse_announcement(&text)
    };
    assert_eq!(
        written(&|out| write_challenge(out, &challenge)),
        Ok(Some(Announcement::Challenge(Box::new(challenge.clone()))))
    );
    assert_eq!(
        written(&|out| out.extend_from_slice(DONE)),
        Ok(Some(Announcement::Done))
    );
    for expired in [0, 1, u64::MAX] {
        let lost = written(&|out| write_lost(out, expired));
        assert_eq!(lost, Ok(Some(Announcement::Lost { expired })));
    }
    let failed = written(&|out| write_error(out, "wrong_key"));
    assert_eq!(failed, Ok(Some(Announcement::Error("wrong_key".to_owned()))));
}

#[test]
fn a_client_passes_over_what_it_does_not_know_and_takes_no_broken_challenge() {
    for text in [
        "{}",
        "7",
        "[]",
        r#"{"message":"hello"}"#,
        r#"{"lost":{"expired":-1}}"#,
        r#"{"lost":{"expired":1.5}}"#,
        r#"{"error":7}"#,
    ] {
        assert_eq!(parse_announcement(text.as_bytes()), Ok(None), "{text}");
    }
    for text in [r#"{"challenge":{}}"#, r#"{"challenge":{"txt":"AA","sig":"AA"}}"#] {
        let refused = Err(HandshakeError::BadChallenge);
        assert_eq!(parse_announcement(text.as_bytes()), refused, "{text}");
    }
    let long = [DONE, &[b' '; HANDSHAKE_MAX_BYTES]].concat();
    for text in [b"".as_slice(), br#"{"error":"a","error":"b"}"#, &long] {
        assert_eq!(parse_announcement(text), Err(HandshakeError::Malformed));
    }
}
