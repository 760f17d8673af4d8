//! Both envelopes and identity files against a program that has nothing but `WebCrypto`, both ways.
//!
//! Needs node, and is skipped, aloud, where there is none.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use npchat::client::content::{Body, Heads, MessageHash};
use npchat::client::identity::Identity;
use npchat::client::identity::file::Passphrase;
use npchat::client::{envelope1, envelope2};

use crate::people::{NOW_MS, decode, encode, relay, stranger, text};

const COUNT: usize = 200;
const PASSPHRASE: &str = "six wörds of a pass phrase";

/// Gives the program JSON on its stdin, and takes JSON from its stdout. `None` without node.
#[expect(clippy::print_stderr, reason = "that a test was skipped has to be seen")]
fn run(input: &Value) -> Option<Value> {
    let mut child = match Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webcrypto/interoperate.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: node: {error}");
            return None;
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Texts of every length class, with what JSON escapes and what UTF-8 makes longer, and spaces at the end.
fn texts() -> impl Iterator<Item = String> {
    (0..COUNT).map(|number| {
        let unit = ["x", "é", "🚀", "\"", "\\", "\n", "\u{1}", "\u{2028}"][number % 8];
        unit.repeat(number * number / 20) + &" ".repeat(number % 5)
    })
}

fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE.into()).unwrap()
}

#[test]
fn webcrypto_opens_what_we_seal_and_we_open_what_it_seals() {
    let alice = stranger("alice");
    let file = alice.to_bytes(None).unwrap();
    let sealed_file = alice.to_bytes(Some(&passphrase())).unwrap();
    let bob = stranger("bob");
    let head = Heads::new(vec![MessageHash::from_bytes([7; 32])]).unwrap();
    let contents: Vec<_> = texts()
        .map(|body| {
            let mut content = text(&alice, &body);
            content.heads = head.clone();
            content.card = body.len().is_multiple_of(2).then(|| bob.card_update());
            content.to_bytes()
        })
        .collect();
    let envelopes = contents
        .iter()
        .map(|content| encode(&envelope2::seal(&bob, alice.dh().public(), content).unwrap()));
    let previous = MessageHash::from_bytes([7; 32]);
    let envelopes1: Vec<_> = texts()
        .map(|text| {
            let message = envelope1::Message::Text(text);
            let sealed = envelope1::seal(&bob, &alice.card(None), &message, Some(previous), NOW_MS).unwrap();
            String::from_utf8(sealed.bytes).unwrap()
        })
        .collect();
    let input = json!({
        "identity": String::from_utf8(file.to_vec()).unwrap(),
        "sealed_identity": String::from_utf8(sealed_file.to_vec()).unwrap(),
        "passphrase": PASSPHRASE,
        "to_auth": encode(bob.public_key().as_bytes()),
        "previous": previous.to_string(),
        "envelopes1": envelopes1,
        "to": encode(bob.dh().public().as_bytes()),
        "to_id": bob.id().to_string(),
        "relay": relay().as_str(),
        "texts": texts().collect::<Vec<_>>(),
        "envelopes": envelopes.collect::<Vec<_>>(),
    });
    let Some(output) = run(&input) else { return };

    assert_eq!(output["opened_identity"], input["identity"]);
    let opened = output["opened"].as_array().unwrap();
    assert_eq!(opened.len(), COUNT);
    for (opened, content) in opened.iter().zip(&contents) {
        assert_eq!(decode(&opened["content"]), *content);
        let hash = MessageHash::of(bob.public_key(), content);
        assert_eq!(opened["h"], hash.to_string());
        assert_eq!(opened["from"], bob.id().to_string());
    }

    let sealed = output["sealed"].as_array().unwrap();
    assert_eq!(sealed.len(), COUNT);
    for (sealed, body) in sealed.iter().zip(texts()) {
        let opened = envelope2::open(&bob, &decode(&sealed["envelope"])).unwrap();
        assert_eq!(opened.sender, *alice.public_key());
        assert_eq!(opened.hash.to_string(), sealed["h"].as_str().unwrap());
        assert_eq!(opened.content.body, Body::Text(body));
        assert_eq!(opened.content.to_bytes(), opened.bytes);
    }

    let opened = output["opened1"].as_array().unwrap();
    let sealed = output["sealed1"].as_array().unwrap();
    assert_eq!((opened.len(), sealed.len()), (COUNT, COUNT));
    for ((opened, sealed), text) in opened.iter().zip(sealed).zip(texts()) {
        assert_eq!(
            (&opened["text"], &opened["p"]),
            (&json!(text), &json!(previous.to_string()))
        );
        let sealed = sealed.as_str().unwrap().as_bytes();
        let opened = envelope1::open(&bob, &alice.card(None), sealed).unwrap();
        assert_eq!(opened.message, envelope1::Message::Text(text));
    }

    // A file that a browser has made, plain and sealed.
    let theirs = output["new_identity"].as_str().unwrap().as_bytes();
    let sealed = output["new_sealed_identity"].as_str().unwrap().as_bytes();
    let [plain, opened] = [
        Identity::parse(theirs, None).unwrap(),
        Identity::parse(sealed, Some(&passphrase())).unwrap(),
    ];
    assert_eq!(plain.card(None), opened.card(None));
    assert_eq!(plain.card(None).to_fragment(), output["new_card"].as_str().unwrap());
    // Written again, it is byte for byte the same but for the line's end.
    assert_eq!(plain.to_bytes(None).unwrap()[..], [theirs, b"\n"].concat());
}
