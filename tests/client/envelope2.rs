//! Envelopes v2 that were altered, sent to another, sealed again, or made to confuse; and their sizes.

use npchat::client::content::{Body, CONTENT_MAX_BYTES, ContentError, Heads, MessageHash};
use npchat::client::envelope2::{ENVELOPE_MAX_BYTES, OpenError, is_envelope, open, seal};
use npchat::client::identity::Identity;
use npchat::client::seal_error::SealError;

use crate::hpke;
use crate::people::{NOW_MS, stranger, text};

/// Seals any plaintext, signed or not, as nobody who follows the protocol would.
fn seal_plaintext(to: &Identity, plaintext: &[u8]) -> Vec<u8> {
    let ephemeral = [7; 32];
    let recipient = to.dh().public().as_bytes();
    let (enc, ciphertext) = hpke::seal::<32>(&ephemeral, recipient, b"npchat/2 envelope\0", b"", plaintext);
    [&[2], &enc[..], &ciphertext].concat()
}

/// Signature, key and content, padded: what `from` would seal for `to`.
fn plaintext(from: &Identity, to: &Identity, content: &[u8]) -> Vec<u8> {
    let hash = MessageHash::of(from.public_key(), content);
    let signed = [
        &b"npchat/2 signature\0"[..],
        hash.as_bytes(),
        to.dh().public().as_bytes(),
    ]
    .concat();
    let signature = from.sign(&signed).unwrap();
    let mut plaintext = [&signature[..], from.public_key().as_bytes(), content].concat();
    plaintext.resize(plaintext.len().next_multiple_of(256), b' ');
    plaintext
}

#[test]
fn an_envelope_with_any_bit_flipped_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let content = text(&bob, "hello").to_bytes();
    let envelope = seal(&alice, bob.dh().public(), &content).unwrap();
    assert_eq!(envelope.len(), 338);
    assert_eq!(open(&bob, &envelope).unwrap().bytes, content);
    for bit in 0..8 * envelope.len() {
        let mut altered = envelope.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 {
            OpenError::NotAnEnvelope
        } else {
            OpenError::NotForUs
        };
        assert_eq!(open(&bob, &altered), Err(expected), "bit {bit}");
    }
}

#[test]
fn an_envelope_of_any_other_length_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let envelope = seal(&alice, bob.dh().public(), &text(&bob, "hello").to_bytes()).unwrap();
    for length in 0..envelope.len() {
        assert_eq!(
            open(&bob, &envelope[..length]),
            Err(OpenError::NotAnEnvelope),
            "{length}"
        );
    }
    for more in 1..=256 {
        let longer = [&envelope[..], &vec![0; more]].concat();
        assert!(open(&bob, &longer).is_err(), "{more}");
    }
    assert!(!is_envelope(&[2; 82]) && is_envelope(&[2; 338]));
    let mut largest = vec![2; ENVELOPE_MAX_BYTES];
    assert!(is_envelope(&largest));
    largest.resize(ENVELOPE_MAX_BYTES + 256, 2);
    assert!(!is_envelope(&largest));
}

#[test]
fn an_envelope_for_somebody_else_is_refused() {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(stranger);
    let content = text(&bob, "hello").to_bytes();
    let envelope = seal(&alice, bob.dh().public(), &content).unwrap();
    assert_eq!(open(&carol, &envelope), Err(OpenError::NotForUs));
    assert_eq!(open(&alice, &envelope), Err(OpenError::NotForUs));
    // For bob, and sealed to carol's key: alice was given that key as bob's.
    let envelope = seal(&alice, carol.dh().public(), &content).unwrap();
    let sender = *alice.public_key();
    assert_eq!(open(&carol, &envelope), Err(OpenError::WrongRecipient { sender }));
}

#[test]
fn what_was_sealed_for_one_cannot_be_sealed_again_for_a_third() {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(stranger);
    // Alice writes to carol by way of a key that is bob's, as a man in the middle would have it.
    let content = text(&carol, "hello").to_bytes();
    let opened_by_bob = plaintext(&alice, &bob, &content);
    let envelope = seal_plaintext(&carol, &opened_by_bob);
    assert_eq!(open(&carol, &envelope), Err(OpenError::WrongSignature));
    // The same plaintext signed for carol is good.
    let envelope = seal_plaintext(&carol, &plaintext(&alice, &carol, &content));
    assert_eq!(open(&carol, &envelope).unwrap().bytes, content);
}

#[test]
fn a_plaintext_with_any_bit_flipped_has_no_good_signature() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let content = text(&bob, "hello").to_bytes();
    let good = plaintext(&alice, &bob, &content);
    for bit in 0..8 * (64 + 65 + content.len()) {
        let mut altered = good.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let envelope = seal_plaintext(&bob, &altered);
        assert_eq!(open(&bob, &envelope), Err(OpenError::WrongSignature), "bit {bit}");
    }
}

#[test]
fn nobody_can_put_a_name_under_the_words_of_another() {
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(stranger);
    let content = text(&bob, "hello").to_bytes();
    let mut forged = plaintext(&mallory, &bob, &content);
    forged[64..129].copy_from_slice(alice.public_key().as_bytes());
    assert_eq!(
        open(&bob, &seal_plaintext(&bob, &forged)),
        Err(OpenError::WrongSignature)
    );
    // Nor with a key that is no point of the curve.
    let mut off_curve = plaintext(&mallory, &bob, &content);
    off_curve[128] ^= 1;
    assert_eq!(
        open(&bob, &seal_plaintext(&bob, &off_curve)),
        Err(OpenError::WrongSignature)
    );
}

#[test]
fn a_signed_content_that_is_malformed_names_its_sender() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let sender = *alice.public_key();
    for (content, error) in [
        (&b""[..], ContentError::Malformed),
        (b"{}", ContentError::UnknownControl),
        (b"{\"p\":[],\"text\":\"\"", ContentError::Malformed),
        (b"{\"p\":[],\"text\":\"\xff\"}", ContentError::Malformed),
    ] {
        let envelope = seal_plaintext(&bob, &plaintext(&alice, &bob, content));
        let hash = MessageHash::of(&sender, content);
        assert_eq!(open(&bob, &envelope), Err(OpenError::Content { sender, hash, error }));
    }
}

#[test]
fn a_text_keeps_the_spaces_at_its_end_and_padding_is_not_hashed() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let content = text(&bob, "spaces at the end   ").to_bytes();
    let mut hashes = Vec::new();
    for blocks in [1, 2, 100] {
        let mut padded = plaintext(&alice, &bob, &content);
        padded.resize(blocks * 256, b' ');
        let opened = open(&bob, &seal_plaintext(&bob, &padded)).unwrap();
        assert_eq!(opened.content.body, Body::Text("spaces at the end   ".into()));
        hashes.push(opened.hash);
    }
    assert_eq!(hashes, [MessageHash::of(alice.public_key(), &content); 3]);
}

#[test]
fn a_content_sealed_again_is_another_envelope_with_the_same_hash() {
    let [alice, mut bob] = ["alice", "bob"].map(stranger);
    let content = text(&bob, "hello").to_bytes();
    let first = seal(&alice, bob.dh().public(), &content).unwrap();
    let second = seal(&alice, bob.dh().public(), &content).unwrap();
    assert_ne!(first, second);
    bob.renew_dh(NOW_MS + 1).unwrap();
    let third = seal(&alice, bob.dh().public(), &content).unwrap();
    let opened = [first, second, third].map(|envelope| open(&bob, &envelope).unwrap());
    assert_eq!(opened[0], opened[1]);
    assert_eq!(opened[0], opened[2]);
}

#[test]
fn mail_for_an_older_key_opens_until_that_key_is_forgotten() {
    let [alice, mut bob] = ["alice", "bob"].map(stranger);
    let old = seal(&alice, bob.dh().public(), &text(&bob, "old").to_bytes()).unwrap();
    for renewal in 1..8 {
        bob.renew_dh(NOW_MS + renewal).unwrap();
    }
    assert!(open(&bob, &old).is_ok());
    let mut forgetful = bob;
    // Its successor has been in use since the first renewal.
    forgetful.forget_dh(NOW_MS + 1);
    assert!(open(&forgetful, &old).is_ok());
    forgetful.forget_dh(NOW_MS + 2);
    assert_eq!(open(&forgetful, &old), Err(OpenError::NotForUs));
    forgetful.forget_dh(u64::MAX);
    assert_eq!(forgetful.dh_keys().count(), 1);
}

#[test]
fn a_copy_to_oneself_opens_whoever_it_is_for() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let content = text(&bob, "sent from my other device").to_bytes();
    let envelope = seal(&alice, alice.dh().public(), &content).unwrap();
    let opened = open(&alice, &envelope).unwrap();
    assert_eq!(opened.sender, *alice.public_key());
    assert_eq!(opened.content.to, bob.id());
}

#[test]
fn the_length_of_an_envelope_tells_the_number_of_blocks_alone() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let length = |heads: Heads, characters: usize| {
        let mut content = text(&bob, &"x".repeat(characters));
        content.heads = heads;
        seal(&alice, bob.dh().public(), &content.to_bytes()).unwrap().len()
    };
    let head = || Heads::new(vec![MessageHash::from_bytes([7; 32])]).unwrap();
    // A first message, and any other one with one head.
    assert_eq!(length(Heads::default(), 5), 338);
    let lengths: Vec<_> = (0..=251).map(|characters| length(head(), characters)).collect();
    assert_eq!(lengths, [594; 252]);
    assert_eq!(length(head(), 252), 850);
    assert_eq!(length(head(), 2000), 2386);
}

#[test]
fn the_largest_content_fits_a_relays_limit_and_one_byte_more_is_refused() {
    let [alice, bob] = ["alice", "bob"].map(stranger);
    let overhead = text(&bob, "").to_bytes().len();
    let largest = text(&bob, &"x".repeat(CONTENT_MAX_BYTES - overhead)).to_bytes();
    let envelope = seal(&alice, bob.dh().public(), &largest).unwrap();
    assert_eq!((envelope.len(), ENVELOPE_MAX_BYTES), (65_362, 65_362));
    assert_eq!(open(&bob, &envelope).unwrap().bytes, largest);
    let larger = [&largest[..], b" "].concat();
    assert_eq!(seal(&alice, bob.dh().public(), &larger), Err(SealError::TooLong));
}
