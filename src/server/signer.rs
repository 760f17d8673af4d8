//! Makes the challenges that clients have to sign, and signs them with a key that is replaced every so often.
//!
//! Which challenge a connection holds, and for how long, is [`crate::server::session`]'s business.

use std::error::Error;
use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use crate::protocol::login::{CHALLENGE_BYTES, Challenge};

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
    use crate::protocol::id::PublicKey;
    use crate::protocol::signature::verify;

    fn key_of(signer: &ChallengeSigner) -> PublicKey {
        PublicKey::from_sec1(signer.public_key()).unwrap()
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
}
