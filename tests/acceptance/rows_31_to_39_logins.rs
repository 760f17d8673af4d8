//! Rows 31 to 39: what a client says over its WebSocket to log in, and every way to say it wrong.
//!
//! Whether the login's cryptography is right is proved with two libraries in `tests/vectors/login_vectors.rs`.

use std::slice;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use npchat::server::Server;
use p256::ecdsa::Signature;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{
    Challenge, Frame, Identity, Opcode, RawClient, RawWebSocket, Receiver, address, post, start, wait_until_confirmed,
};

use crate::harness::{Cut, ID, expect_close, expect_well, masked, trickle};

/// Makes a bad solution of a good one.
type Spoil = fn(&str) -> String;

const CHALLENGE_REQUEST: &str = r#"{"get":"challenge"}"#;
const DONE: &str = r#"{"message":"handshake done"}"#;

#[test]
fn row_31_a_binary_frame_before_the_login_is_close_1003_and_ignored_after_it() {
    let server = start(|_| {});
    for payload in ["", CHALLENGE_REQUEST] {
        let binary = Frame::new(Opcode::BINARY, payload);
        let mut socket = connect(&server);
        socket.send(&binary);
        expect_close(&mut socket, 1003, Some("unexpected_binary"));
        let mut socket = connect(&server);
        socket.challenge();
        socket.send(&binary);
        expect_close(&mut socket, 1003, Some("unexpected_binary"));

        let identity = Identity::generate();
        let mut socket = RawWebSocket::log_in(address(&server), &identity);
        socket.send(&binary);
        assert_eq!(post(address(&server), &identity.id, "mail").status, 200);
        assert_eq!(socket.read_message(), Frame::text("mail"));
    }
}

#[test]
fn row_32_no_login_by_the_deadline_is_close_1008_whatever_else_is_said() {
    /// Long enough that a client which does nothing else is logged in by then.
    const DEADLINE: Duration = Duration::from_secs(3);
    let server = start(|config| config.timeouts.login = DEADLINE);
    let identity = Identity::generate();
    let mut in_time = RawWebSocket::log_in(address(&server), &identity);
    let mut silent = connect(&server);
    let mut asked = connect(&server);
    let mut busy = connect(&server);
    asked.challenge();
    trickle(busy.client(), &Frame::new(Opcode::PONG, "alive").masked().repeat(500));
    for socket in [&mut silent, &mut asked, &mut busy] {
        expect_close(socket, 1008, Some("login_timeout"));
    }
    assert_eq!(post(address(&server), &identity.id, "mail").status, 200);
    assert_eq!(in_time.read_message(), Frame::text("mail"));
}

#[test]
fn row_33_sixteen_challenges_are_made_for_a_connection_and_the_next_is_close_1008() {
    let server = start(|_| {});
    let flood = masked(&vec![Frame::text(CHALLENGE_REQUEST); 1000]);
    let mut texts = Vec::new();
    for cut in Cut::ALL {
        let mut socket = connect(&server);
        cut.send(socket.client(), &flood);
        for _ in 0..16 {
            texts.push(Challenge::read(&socket.read_text()).txt);
        }
        expect_close(&mut socket, 1008, Some("too_many_challenges"));
        expect_well(&server);
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 32, "no challenge comes twice");
}

#[test]
fn row_34_a_challenge_that_this_connection_does_not_hold_is_close_1008() {
    let server = start(|config| config.workers = 1);
    let identity = Identity::generate();
    let mut other = RawWebSocket::connect(address(&server), &identity.id);
    let foreign = other.challenge();
    let refused = |case: &str, alter: &dyn Fn(Challenge) -> Challenge| {
        println!("{case}");
        let mut socket = RawWebSocket::connect(address(&server), &identity.id);
        let challenge = alter(socket.challenge());
        socket.send(&Frame::text(&identity.solution(&challenge)));
        expect_close(&mut socket, 1008, Some("unknown_challenge"));
    };
    refused("another connection's", &|_| foreign.clone());
    refused("another connection's signature", &|own| Challenge {
        sig: foreign.sig.clone(),
        ..own
    });
    refused("another text", &|own| Challenge {
        txt: foreign.txt.clone(),
        ..own
    });
    refused("an altered signature", &|own| Challenge {
        sig: altered(&own.sig),
        ..own
    });
    refused("an altered text", &|own| Challenge {
        txt: altered(&own.txt),
        ..own
    });
    refused("a signature that is too short", &|own| Challenge {
        sig: own.sig[..84].to_owned(),
        ..own
    });

    let mut unasked = RawWebSocket::connect(address(&server), &identity.id);
    unasked.send(&Frame::text(&identity.solution(&foreign)));
    expect_close(&mut unasked, 1008, Some("unknown_challenge"));
    // What others tried has not used it up.
    other.send(&Frame::text(&identity.solution(&foreign)));
    assert_eq!(other.read_text(), DONE);
    other.send(&Frame::text(&identity.solution(&foreign)));
    expect_close(&mut other, 1008, Some("unknown_challenge"));
}

#[test]
fn row_34_a_challenge_is_used_up_by_a_wrong_answer_and_a_second_login_takes_a_new_one() {
    let server = start(|_| {});
    let identity = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &identity);
    socket.login(&identity);
    assert_eq!(post(address(&server), &identity.id, "once").status, 200);
    assert_eq!(post(address(&server), &identity.id, "then").status, 200);
    assert_eq!(socket.read_message(), Frame::text("once"));
    assert_eq!(socket.read_message(), Frame::text("then"));
    let challenge = socket.challenge();
    let wrong = solution(&identity.public_key, &challenge, &identity.sign(ID));
    socket.client().send(masked(&[
        Frame::text(&wrong),
        Frame::text(&identity.solution(&challenge)),
    ]));
    expect_close(&mut socket, 1008, Some("wrong_solution"));
}

#[test]
fn row_35_an_answer_after_the_signing_key_has_rotated_is_accepted() {
    let server = start(|config| {
        config.workers = 1;
        config.fresh_key = 1;
    });
    let identity = Identity::generate();
    let mut socket = RawWebSocket::connect(address(&server), &identity.id);
    let challenge = socket.challenge();
    for _ in 0..10 {
        RawWebSocket::log_in(address(&server), &Identity::generate());
    }
    socket.send(&Frame::text(&identity.solution(&challenge)));
    assert_eq!(socket.read_text(), DONE);
}

#[test]
fn row_36_every_answer_of_the_vectors_is_judged_and_none_is_good_for_a_fresh_challenge() {
    let server = start(|_| {});
    let file: Value = serde_json::from_str(include_str!("../vectors/login.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 18);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        println!("{}", text("name"));
        let mut socket = RawWebSocket::connect(address(&server), text("id"));
        let challenge = socket.challenge();
        socket.send(&Frame::text(&solution(text("publicKey"), &challenge, text("solution"))));
        let key_is_a_point = URL_SAFE_NO_PAD
            .decode(text("publicKey"))
            .is_ok_and(|key| key.len() == 65 && key[0] == 4);
        let error = match (key_is_a_point, text("solution").len()) {
            (false, _) => "wrong_key",
            (true, _) => "wrong_solution",
        };
        expect_close(&mut socket, 1008, Some(error));
        expect_well(&server);
    }
}

#[test]
fn row_36_a_fresh_answer_is_taken_in_both_its_forms_but_of_an_uncompressed_key_only() {
    let server = start(|_| {});
    let identity = Identity::generate();
    let point = URL_SAFE_NO_PAD.decode(&identity.public_key).unwrap();
    let (x, parity) = (&point[1..33], point[64] & 1);
    let keys = [
        ("compressed", [&[2 + parity], x].concat()),
        ("hybrid", [&[6 + parity], &point[1..]].concat()),
        ("without its first byte", point[1..].to_vec()),
        ("with another byte", [&point[..], &[0]].concat()),
    ];
    for twin in [|signature| signature, other_s] {
        let mut socket = RawWebSocket::connect(address(&server), &identity.id);
        let challenge = socket.challenge();
        let signature = twin(identity.sign(&challenge.txt));
        socket.send(&Frame::text(&solution(&identity.public_key, &challenge, &signature)));
        assert_eq!(socket.read_text(), DONE);
        for (form, key) in &keys {
            println!("{form}");
            let id = URL_SAFE_NO_PAD.encode(Sha256::digest(key));
            let mut socket = RawWebSocket::connect(address(&server), &id);
            let challenge = socket.challenge();
            let signature = twin(identity.sign(&challenge.txt));
            socket.send(&Frame::text(&solution(
                &URL_SAFE_NO_PAD.encode(key),
                &challenge,
                &signature,
            )));
            expect_close(&mut socket, 1008, Some("wrong_key"));
        }
    }
}

#[test]
fn row_37_a_good_key_and_signature_under_another_id_are_close_1008() {
    let server = start(|_| {});
    let (identity, other) = (Identity::generate(), Identity::generate());
    assert_eq!(post(address(&server), &other.id, "not for you").status, 200);
    for id in [&other.id, ID] {
        let mut socket = RawWebSocket::connect(address(&server), id);
        let challenge = socket.challenge();
        socket.send(&Frame::text(&identity.solution(&challenge)));
        expect_close(&mut socket, 1008, Some("wrong_key"));
    }
    assert_eq!(Receiver::connect(address(&server), &other).recv_bytes(), b"not for you");
}

#[test]
fn row_38_json_that_readers_might_differ_about_is_close_1008() {
    let server = start(|_| {});
    let nested = |depth: usize| {
        format!(
            r#"{{"get":"challenge","x":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let padded = |length: usize| {
        let empty = r#"{"get":"challenge","x":""}"#;
        format!(r#"{{"get":"challenge","x":"{}"}}"#, "x".repeat(length - empty.len()))
    };
    let bad = [
        r#"{"get":"challenge","get":"challenge"}"#.to_owned(),
        r#"{"get":"challenge","x":{"y":1,"y":1}}"#.to_owned(),
        r#"{"get":"challenge","\u0067et":"challenge"}"#.to_owned(),
        nested(200),
        r#"{"get":"challenge"}x"#.to_owned(),
        r#"{"get":"challenge"}{}"#.to_owned(),
        "{\"get\":\"challenge\"}\0".to_owned(),
        padded(2049),
        padded(60_000),
        r#"{"get":"challenge",}"#.to_owned(),
        r#"{"get":"challenge""#.to_owned(),
        r#"{"get":"Challenge"}"#.to_owned(),
        r#"["get","challenge"]"#.to_owned(),
        "null".to_owned(),
        String::new(),
    ];
    for text in &bad {
        for cut in Cut::ALL {
            println!("{} ({cut:?})", text.get(..80).unwrap_or(text));
            let mut socket = connect(&server);
            cut.send(socket.client(), &Frame::text(text).masked());
            expect_close(&mut socket, 1008, Some("bad_handshake"));
        }
        expect_well(&server);
    }
    for text in [
        padded(2048),
        nested(10),
        " \r\n{ \"x\" : [1, null] , \"get\"\t: \"\\u0063hallenge\" }\n".to_owned(),
    ] {
        let mut socket = connect(&server);
        socket.send(&Frame::text(&text));
        Challenge::read(&socket.read_text());
    }
    // Once it is logged in, a client may push up what it likes.
    let identity = Identity::generate();
    let mut socket = RawWebSocket::log_in(address(&server), &identity);
    for text in &bad {
        socket.send(&Frame::text(text));
    }
    assert_eq!(post(address(&server), &identity.id, "mail").status, 200);
    assert_eq!(socket.read_message(), Frame::text("mail"));
}

#[test]
fn row_38_a_solution_with_a_member_twice_or_missing_is_close_1008() {
    let server = start(|_| {});
    let identity = Identity::generate();
    let cases: [(&str, &str, Spoil); 6] = [
        ("a key twice", "bad_handshake", |good| {
            good.replacen('{', r#"{"publicKey":"","#, 1)
        }),
        ("a text twice", "bad_handshake", |good| {
            good.replacen(r#""sig""#, r#""txt":"","sig""#, 1)
        }),
        ("a request in it", "bad_handshake", |good| {
            good.replacen('{', r#"{"get":"challenge","#, 1)
        }),
        ("no key", "wrong_key", |good| good.replacen("publicKey", "publickey", 1)),
        ("no challenge", "unknown_challenge", |good| {
            good.replacen("challenge", "Challenge", 1)
        }),
        ("no solution", "wrong_solution", |good| {
            good.replacen("solution", "signature", 1)
        }),
    ];
    for (name, error, spoil) in cases {
        println!("{name}");
        let mut socket = RawWebSocket::connect(address(&server), &identity.id);
        let challenge = socket.challenge();
        socket.send(&Frame::text(&spoil(&identity.solution(&challenge))));
        expect_close(&mut socket, 1008, Some(error));
    }
    let mut socket = RawWebSocket::connect(address(&server), &identity.id);
    let challenge = socket.challenge();
    let unknown = identity.solution(&challenge).replacen('{', r#"{"unknown":[{}],"#, 1);
    socket.send(&Frame::text(&unknown));
    assert_eq!(socket.read_text(), DONE);
}

#[test]
fn row_39_two_sessions_of_one_id_both_get_every_message_in_order() {
    const COUNT: usize = 200;
    let server = start(|_| {});
    let identity = Identity::generate();
    assert_eq!(post(address(&server), &identity.id, "stored").status, 200);
    let mut first = Receiver::connect(address(&server), &identity);
    assert_eq!(first.recv_bytes(), b"stored");
    wait_until_confirmed(&server, slice::from_mut(&mut first));
    // Enough of them that both workers have one.
    let mut others: Vec<_> = (0..4).map(|_| Receiver::connect(address(&server), &identity)).collect();
    let mut sender = RawClient::connect(address(&server));
    for number in 0..COUNT {
        assert_eq!(sender.post(&identity.id, number.to_string()).status, 200);
    }
    others.push(first);
    for receiver in &mut others {
        for number in 0..COUNT {
            assert_eq!(receiver.recv_bytes(), number.to_string().as_bytes());
        }
    }
    wait_until_confirmed(&server, &mut others);
    let mut first = others.pop().unwrap();
    drop(others);
    assert_eq!(sender.post(&identity.id, "one is left").status, 200);
    assert_eq!(first.recv_bytes(), b"one is left");
}

fn connect(server: &Server) -> RawWebSocket {
    RawWebSocket::connect(address(server), ID)
}

fn solution(public_key: &str, challenge: &Challenge, signature: &str) -> String {
    json!({
        "publicKey": public_key,
        "challenge": { "txt": challenge.txt, "sig": challenge.sig },
        "solution": signature,
    })
    .to_string()
}

/// The base64url of other bytes.
fn altered(text: &str) -> String {
    let other = if text.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &text[1..])
}

/// The signature with the same `r` and the negated `s`, which is as good.
fn other_s(signature: String) -> String {
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let (r, s) = signature.split_scalars();
    URL_SAFE_NO_PAD.encode(Signature::from_scalars(*r, -*s).unwrap().to_bytes())
}
