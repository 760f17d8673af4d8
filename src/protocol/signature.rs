//! What a signature proves: whether a key has signed a challenge, by itself or bound to a host (PROTOCOL.md).
//!
//! The JSON around it is [`crate::protocol::login`].

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::protocol::host::Host;
use crate::protocol::id::PublicKey;
use crate::protocol::login::{CHALLENGE_BYTES, SIGNATURE_BYTES};

/// What no other text that a key of npchat signs begins with.
const LOGIN_LABEL: &[u8] = b"npchat/2 login";

/// Whether `signature` is the ES256 signature of `key` over `message`.
///
/// A key that is no point of the curve, and an `r` or `s` outside of 1 to n-1, verify nothing. Both signatures of a
/// pair that differs in the sign of `s` are good: ES256 doesn't ask for the lower one.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
        .verify(message, signature)
        .is_ok()
}

/// Whether `signature` is the ES256 signature of `key` over the challenge's `text` as npchat.2 binds it to a host:
/// `"npchat/2 login" || 00 || host || 00 || text` (PROTOCOL.md part 2). What [`verify`] says of keys holds here too.
///
/// No solution of part 1, which is over 32 bytes, is one of these, nor the other way round.
#[must_use]
pub fn verify_for_host(
    key: &PublicKey,
    host: &Host,
    text: &[u8; CHALLENGE_BYTES],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    let mut context = digest::Context::new(&SHA256);
    for part in [LOGIN_LABEL, b"\0", host.as_bytes(), b"\0", text] {
        context.update(part);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
        .verify_digest(&context.finish(), signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::{SecureRandom, SystemRandom};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;
    use crate::protocol::login::Challenge;

    /// n, the order of the curve's group (SEC 2 §2.4.2).
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    /// What a key of its own signed over a text of random bytes.
    fn signed() -> (PublicKey, Challenge) {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let mut text = [0; CHALLENGE_BYTES];
        random.fill(&mut text).unwrap();
        let signature = key.sign(&random, &text).unwrap().as_ref().try_into().unwrap();
        let public_key = PublicKey::from_sec1(key.public_key().as_ref()).unwrap();
        (public_key, Challenge { text, signature })
    }

    #[test]
    fn a_signature_is_good_for_its_own_key_and_message_only() {
        let (key, challenge) = signed();
        let (other_key, other) = signed();
        assert!(verify(&key, &challenge.text, &challenge.signature));
        assert!(!verify(&other_key, &challenge.text, &challenge.signature));
        assert!(!verify(&key, &other.text, &challenge.signature));
        assert!(!verify(&key, b"", &challenge.signature));
        for index in 0..SIGNATURE_BYTES {
            let mut altered = challenge.signature;
            altered[index] ^= 1;
            assert!(!verify(&key, &challenge.text, &altered));
        }
    }

    #[test]
    fn a_number_outside_of_1_to_n_minus_1_is_no_half_of_a_signature() {
        let (key, challenge) = signed();
        let mut over_order = ORDER;
        over_order[31] += 1;
        for bad in [[0; 32], ORDER, over_order, [0xff; 32]] {
            for half in [0..32, 32..64] {
                let mut signature = challenge.signature;
                signature[half].copy_from_slice(&bad);
                assert!(!verify(&key, &challenge.text, &signature));
            }
            let mut both = [0; SIGNATURE_BYTES];
            both[..32].copy_from_slice(&bad);
            both[32..].copy_from_slice(&bad);
            assert!(!verify(&key, &challenge.text, &both));
        }
    }

    #[test]
    fn what_is_no_point_of_the_curve_verifies_nothing() {
        let (key, challenge) = signed();
        let mut off_curve = *key.as_bytes();
        off_curve[64] ^= 1;
        let mut zero = [0; 65];
        zero[0] = 0x04;
        let mut over_field = [0xff; 65];
        over_field[0] = 0x04;
        for bytes in [off_curve, zero, over_field] {
            let bad_key = PublicKey::from_sec1(&bytes).unwrap();
            assert!(!verify(&bad_key, &challenge.text, &challenge.signature));
            assert!(!verify(&bad_key, &challenge.text, &[0; SIGNATURE_BYTES]));
        }
    }
}
