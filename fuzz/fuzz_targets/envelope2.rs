//! Envelopes v2: whatever opens is what the sender has sealed, and nothing that was altered does.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::client::content::{CONTENT_MAX_BYTES, Content, MessageHash};
use npchat::client::envelope2::{OpenError, is_envelope, open, seal};
use npchat::client::seal_error::SealError;
use npchat_fuzz::people::{ALICE, BOB, alter};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// As it comes from anybody.
    Raw(&'a [u8]),
    /// As it comes from a contact that seals anything, or altered on its way.
    Sealed { changes: Vec<(u16, u8)>, content: &'a [u8] },
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Raw(bytes) => {
        let opened = open(&BOB, bytes);
        assert_eq!(opened == Err(OpenError::NotAnEnvelope), !is_envelope(bytes));
    }
    Input::Sealed { content, changes } => check_sealed(content, &changes),
});

fn check_sealed(content: &[u8], changes: &[(u16, u8)]) {
    let mut envelope = match seal(&ALICE, BOB.dh().public(), content) {
        Ok(envelope) => envelope,
        Err(error) => {
            assert_eq!(error, SealError::TooLong);
            assert!(content.len() > CONTENT_MAX_BYTES);
            return;
        }
    };
    assert!(is_envelope(&envelope));
    let blocks = (129 + content.len()).div_ceil(256);
    assert_eq!(envelope.len(), 82 + 256 * blocks);
    if alter(&mut envelope, changes) {
        let error = open(&BOB, &envelope).expect_err("it was altered");
        assert!(
            matches!(error, OpenError::NotForUs | OpenError::NotAnEnvelope),
            "{error:?}"
        );
        return;
    }
    let sender = *ALICE.public_key();
    // Spaces at the end are the padding's: a hash over them is that of another content.
    let trimmed = content.trim_suffix_spaces();
    let hash = MessageHash::of(&sender, trimmed);
    let opened = open(&BOB, &envelope);
    if trimmed != content {
        assert_eq!(opened, Err(OpenError::WrongSignature));
        return;
    }
    match Content::parse(content) {
        Err(error) => assert_eq!(opened, Err(OpenError::Content { sender, hash, error })),
        Ok(parsed) if parsed.to != BOB.id() => assert_eq!(opened, Err(OpenError::WrongRecipient { sender })),
        Ok(parsed) => {
            let opened = opened.expect("a good content");
            assert_eq!((opened.sender, opened.hash, opened.content), (sender, hash, parsed));
            assert_eq!(opened.bytes, content);
        }
    }
}

trait TrimSpaces {
    fn trim_suffix_spaces(&self) -> &Self;
}

impl TrimSpaces for [u8] {
    fn trim_suffix_spaces(&self) -> &Self {
        let mut rest = self;
        while let [before @ .., b' '] = rest {
            rest = before;
        }
        rest
    }
}
