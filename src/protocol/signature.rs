//! What proves who somebody is: challenges, the rotating key that signs them, and the verification of a signature.
//!
//! The JSON around it is [`crate::protocol::login`]; which challenge a connection holds, and for how long, is
//! [`crate::server::session`]'s business.

use std::error::Error;
use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

use crate::protocol::host::Host;
use crate::protocol::id::PublicKey;

/// Length of a challenge's text, before base64url.
pub const CHALLENGE_BYTES: usize = 32;
/// Length of an ES256 signature in the form `r || s`, each half 32 bytes big-endian.
pub const SIGNATURE_BYTES: usize = 64;
/// What no other text that a key of npchat signs begins with.
const LOGIN_LABEL: &[u8] = b"npchat/2 login";

/// What a client has to sign to log in, and the server's signature over it (PROTOCOL.md part 1, Receiving).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Fresh random bytes: `txt`.
    pub text: [u8; CHALLENGE_BYTES],
    /// ES256 over `text`, as `r || s`: `sig`.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Makes challenges and signs them with a key that it replaces every so often. Each worker owns one.
///
/// Nothing remembers a replaced key: a login is checked against the challenge that its connection holds.
pub struct ChallengeSigner {
    random: SystemRandom,
    key: EcdsaKeyPair,
    fresh_after: u32,
    left: u32,
}

impl ChallengeSigner {
    /// A signer that makes itself a fresh key after every `fresh_after` challenges; 0 counts as 1.
    ///
    /// # Errors
    /// [`AuthError::KeyGeneration`].
    pub fn new(fresh_after: u32) -> Result<Self, AuthError> {
        let fresh_after = fresh_after.max(1);
        Ok(Self {
            random: SystemRandom::new(),
            key: generate_key()?,
            fresh_after,
            left: fresh_after,
        })
    }

    /// Makes the next challenge. After an error the signer is as it was, and may be asked again.
    ///
    /// # Errors
    /// Any [`AuthError`].
    pub fn issue(&mut self) -> Result<Challenge, AuthError> {
        if self.left == 0 {
            self.key = generate_key()?;
            self.left = self.fresh_after;
        }
        let mut text = [0; CHALLENGE_BYTES];
        self.random.fill(&mut text).map_err(|_| AuthError::RandomSource)?;
        let signature = self.key.sign(&self.random, &text).map_err(|_| AuthError::Signing)?;
        let signature = signature.as_ref().try_into().map_err(|_| AuthError::Signing)?;
        self.left -= 1;
        Ok(Challenge { text, signature })
    }

    /// The key that signed the last challenge, or will sign the first: an uncompressed SEC1 point.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }
}

impl fmt::Debug for ChallengeSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeSigner")
            .field("fresh_after", &self.fresh_after)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

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

/// What failed on this machine when a challenge was made; never a client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// The system gave no random bytes.
    RandomSource,
    /// No signing key could be made.
    KeyGeneration,
    /// The key didn't sign.
    Signing,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RandomSource => "the system's random source failed",
            Self::KeyGeneration => "no signing key could be made",
            Self::Signing => "a challenge could not be signed",
        })
    }
}

impl Error for AuthError {}

fn generate_key() -> Result<EcdsaKeyPair, AuthError> {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| AuthError::KeyGeneration)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// n, the order of the curve's group (SEC 2 §2.4.2).
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    fn key_of(signer: &ChallengeSigner) -> PublicKey {
        PublicKey::from_sec1(signer.public_key()).unwrap()
    }

    fn signed() -> (PublicKey, Challenge) {
        let mut signer = ChallengeSigner::new(5).unwrap();
        let challenge = signer.issue().unwrap();
        (key_of(&signer), challenge)
    }

    #[test]
    fn a_challenge_is_signed_by_the_current_key_and_never_repeats() {
        let mut signer = ChallengeSigner::new(5).unwrap();
        let mut texts = Vec::new();
        for _ in 0..12 {
            let challenge = signer.issue().unwrap();
            assert!(verify(&key_of(&signer), &challenge.text, &challenge.signature));
            assert!(!texts.contains(&challenge.text));
            texts.push(challenge.text);
        }
    }

    #[test]
    fn the_key_is_fresh_after_as_many_challenges_as_asked_for() {
        for (fresh_after, expected_keys) in [(0, 6), (1, 6), (2, 3), (5, 2), (6, 1), (u32::MAX, 1)] {
            let mut signer = ChallengeSigner::new(fresh_after).unwrap();
            let mut keys = Vec::new();
            for _ in 0..6 {
                signer.issue().unwrap();
                keys.push(signer.public_key().to_vec());
            }
            keys.dedup();
            assert_eq!(keys.len(), expected_keys, "fresh after {fresh_after}");
        }
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
