//! Envelopes v1: whatever opens is what the sender has sealed, and a text arrives as it was written.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::client::content::{MessageHash, TIME_MAX_MS};
use npchat::client::envelope1::{Message, OpenError, claimed_sender, open, seal};
use npchat::client::seal_error::SealError;
use npchat_fuzz::people::{ALICE, BOB, alter};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// As it comes from anybody.
    Raw(&'a [u8]),
    /// As it comes from a contact, or altered on its way.
    Sealed {
        resend: Option<[u8; 32]>,
        previous: Option<[u8; 32]>,
        time_ms: u64,
        changes: Vec<(u16, u8)>,
        text: &'a str,
    },
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Raw(bytes) => {
        let opened = open(&BOB, &ALICE.card(None), bytes);
        match claimed_sender(bytes) {
            None => assert_eq!(opened, Err(OpenError::Malformed)),
            Some(id) => assert_eq!(matches!(opened, Err(OpenError::OtherSender(_))), id != ALICE.id()),
        }
    }
    Input::Sealed {
        text,
        resend,
        previous,
        time_ms,
        changes,
    } => {
        let message = match resend {
            Some(hash) => Message::Resend(MessageHash::from_bytes(hash)),
            None => Message::Text(text.into()),
        };
        let previous = previous.map(MessageHash::from_bytes);
        let mut sealed = match seal(&ALICE, &BOB.card(None), &message, previous, time_ms) {
            Ok(sealed) => sealed,
            Err(error) => {
                assert_eq!(error, SealError::TooLong);
                return;
            }
        };
        let is_altered = alter(&mut sealed.bytes, &changes);
        match open(&BOB, &ALICE.card(None), &sealed.bytes) {
            Ok(opened) => {
                assert_eq!((opened.hash, opened.previous), (sealed.hash, previous));
                assert_eq!(opened.time_ms, time_ms.min(TIME_MAX_MS));
                assert_eq!(opened.message, arrived(message));
            }
            Err(error) => assert!(is_altered, "{error:?}"),
        }
    }
});

/// A text that is JSON gets one character more, so that every client shows it.
fn arrived(message: Message) -> Message {
    let is_json = |text: &str| {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Numbers and strings that no value holds, and what is nested too deep, are JSON to a browser all the same.
        serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|text| text.get() != "null")
    };
    match message {
        Message::Text(text) if is_json(&text) => Message::Text(text + "\u{200b}"),
        other => other,
    }
}
