//! Contents: the same that a plain reading of `serde_json`'s value has, and read back as they are written.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use npchat::client::content::{Body, CONTENT_MAX_BYTES, Content, ContentError, HASHES_MAX, HEADS_MAX, MessageHash};

fuzz_target!(|bytes: &[u8]| {
    match Content::parse(bytes) {
        Ok(content) => {
            check_members(&content, &serde_json::from_slice(bytes).expect("it was read before"));
            let again = content.to_bytes();
            // What is written may have been spelled shorter, such as a character for an escape.
            if again.len() <= CONTENT_MAX_BYTES {
                assert_eq!(Content::parse(&again), Ok(content));
            }
        }
        Err(ContentError::TooLong) => assert!(bytes.len() > CONTENT_MAX_BYTES),
        // A member twice, nested too deep, or white space around it: a plain reading takes that.
        Err(ContentError::Malformed) => {}
        Err(_) => {
            let value: Value = serde_json::from_slice(bytes).expect("JSON, but no content");
            assert!(!is_plain_text(&value), "{value}");
        }
    }
});

/// A message of text, with no heads and no card, that nothing can be said against.
fn is_plain_text(value: &Value) -> bool {
    let members = value.as_object().expect("an object");
    let id = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| MessageHash::parse(text.as_bytes()).is_some())
    };
    members.len() == 4
        && value["t"].as_u64().is_some_and(|time| time < 1 << 53)
        && id(&value["to"])
        && value["p"].as_array().is_some_and(Vec::is_empty)
        && value["text"].is_string()
}

fn check_members(content: &Content, value: &Value) {
    assert_eq!(value["t"], content.time_ms);
    assert_eq!(value["to"], content.to.to_string());
    let kinds = ["text", "file", "ack", "want"].map(|kind| value.get(kind).is_some());
    assert_eq!(
        kinds,
        match &content.body {
            Body::Text(text) => {
                assert_eq!(value["text"], text.as_str());
                [true, false, false, false]
            }
            Body::File(file) => {
                let shown = &value["file"];
                assert_eq!(
                    (&shown["name"], &shown["type"]),
                    (&file.name.as_str().into(), &file.media_type.as_str().into())
                );
                assert_eq!(shown["data"], URL_SAFE_NO_PAD.encode(&file.data));
                [false, true, false, false]
            }
            Body::Unknown => [false; 4],
            Body::Ack(hashes) => {
                check_hashes(hashes, &value["ack"], HASHES_MAX);
                [false, false, true, false]
            }
            Body::Want(want) => {
                check_hashes(&want.want, &value["want"], HASHES_MAX);
                check_hashes(&want.have, &value["have"], HASHES_MAX);
                [false, false, false, true]
            }
        }
    );
    if content.body.is_message() {
        check_hashes(&content.heads, &value["p"], HEADS_MAX);
    } else {
        assert!(value.get("p").is_none() && content.heads.is_empty());
    }
    match &content.card {
        Some(card) => {
            assert_eq!(value["card"]["name"], card.name.as_str());
            assert_eq!(value["card"]["origin"], card.origin.as_str());
            assert_eq!(value["card"]["dh"], URL_SAFE_NO_PAD.encode(card.dh.as_bytes()));
        }
        None => assert!(value.get("card").is_none()),
    }
}

fn check_hashes(hashes: &[MessageHash], value: &Value, limit: usize) {
    let shown: Vec<_> = hashes.iter().map(|hash| Value::from(hash.to_string())).collect();
    assert_eq!(value, &Value::from(shown));
    assert!(hashes.len() <= limit);
    let mut sorted = hashes.to_vec();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), hashes.len());
}
