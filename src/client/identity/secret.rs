//! The two private keys of an identity: made, used, erased. Nothing else holds a private key.
//!
//! Keys are p256's, which validates and erases them. Signatures are by aws-lc-rs, which keeps its copy of the key to
//! itself, takes no time that depends on it and erases it; p256's `SigningKey` leaves its scalar in memory.

use std::fmt;

use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::{Zeroize, Zeroizing};

use crate::client::keys::AgreementKey;
use crate::protocol::id::{PUBLIC_KEY_BYTES, PublicKey};
use crate::protocol::login::SIGNATURE_BYTES;

/// Length of a private key: a scalar, big-endian.
pub const SCALAR_BYTES: usize = 32;

/// Why a key can't be made or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not a scalar from 1 to n-1, or not the one of the public key beside it.
    BadScalar,
    /// The system's random numbers or its cryptography failed.
    System,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadScalar => "the private key isn't one of P-256, or not that of its public key",
            Self::System => "the system has no random numbers",
        })
    }
}

impl std::error::Error for KeyError {}

/// The ECDSA P-256 key that makes an id its owner's.
pub struct SigningSecret {
    secret: SecretKey,
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningSecret {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// [`KeyError::System`].
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(generate()?)
    }

    /// The key with this scalar.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn from_scalar(scalar: &[u8; SCALAR_BYTES]) -> Result<Self, KeyError> {
        Self::new(parse(scalar)?)
    }

    fn new(secret: SecretKey) -> Result<Self, KeyError> {
        let public = public_point(&secret)?;
        let scalar = scalar_of(&secret);
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &scalar[..], &public)
                .map_err(|_| KeyError::System)?;
        let public = PublicKey::from_sec1(&public).ok_or(KeyError::BadScalar)?;
        Ok(Self { secret, pair, public })
    }

    /// The public key, whose hash is the id.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The ES256 signature over `message`, as `r || s`.
    ///
    /// # Errors
    /// [`KeyError::System`]: a signature takes a random number.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::System)?;
        signature.as_ref().try_into().map_err(|_| KeyError::System)
    }

    /// The private key, to be written to a file.
    #[must_use]
    pub(super) fn scalar(&self) -> Zeroizing<[u8; SCALAR_BYTES]> {
        scalar_of(&self.secret)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// An ECDH P-256 key that messages are sealed to.
pub struct AgreementSecret {
    secret: SecretKey,
    public: AgreementKey,
    since_ms: u64,
}

impl AgreementSecret {
    /// A new key from the system's random numbers, in use since `now_ms`, milliseconds since 1970.
    ///
    /// # Errors
    /// [`KeyError::System`].
    pub fn generate(now_ms: u64) -> Result<Self, KeyError> {
        Self::new(generate()?, now_ms)
    }

    /// The key with this scalar, in use since `since_ms`.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn from_scalar(scalar: &[u8; SCALAR_BYTES], since_ms: u64) -> Result<Self, KeyError> {
        Self::new(parse(scalar)?, since_ms)
    }

    fn new(secret: SecretKey, since_ms: u64) -> Result<Self, KeyError> {
        let public = AgreementKey::from_sec1(&public_point(&secret)?).ok_or(KeyError::BadScalar)?;
        Ok(Self {
            secret,
            public,
            since_ms,
        })
    }

    /// The public key, which others seal to.
    #[must_use]
    pub fn public(&self) -> &AgreementKey {
        &self.public
    }

    /// Since when it has been in use, in milliseconds since 1970.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// The x-coordinate of the point that this key and the other side's agree on (SP 800-56A §5.7.1.2). It is never the
    /// point at infinity: the curve has no point of small order, and both are points of it.
    pub(in crate::client) fn agree(&self, other: &AgreementKey) -> Result<Zeroizing<[u8; SCALAR_BYTES]>, KeyError> {
        let other = p256::PublicKey::from_sec1_bytes(other.as_bytes()).map_err(|_| KeyError::BadScalar)?;
        let shared = self.secret.diffie_hellman(&other);
        let mut x = Zeroizing::new([0; SCALAR_BYTES]);
        x.copy_from_slice(shared.raw_secret_bytes());
        Ok(x)
    }

    /// The private key, for HPKE or a file.
    #[must_use]
    pub(in crate::client) fn scalar(&self) -> Zeroizing<[u8; SCALAR_BYTES]> {
        scalar_of(&self.secret)
    }
}

impl fmt::Debug for AgreementSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgreementSecret(…)")
    }
}

fn public_point(secret: &SecretKey) -> Result<[u8; PUBLIC_KEY_BYTES], KeyError> {
    let point = secret.public_key().to_sec1_point(false);
    point.as_bytes().try_into().map_err(|_| KeyError::BadScalar)
}

fn scalar_of(secret: &SecretKey) -> Zeroizing<[u8; SCALAR_BYTES]> {
    let mut bytes = secret.to_bytes();
    let mut scalar = Zeroizing::new([0; SCALAR_BYTES]);
    scalar.copy_from_slice(&bytes);
    bytes.as_mut_slice().zeroize();
    scalar
}

fn parse(scalar: &[u8; SCALAR_BYTES]) -> Result<SecretKey, KeyError> {
    SecretKey::from_slice(scalar).map_err(|_| KeyError::BadScalar)
}

/// A scalar from 1 to n-1, each as likely as any other (FIPS 186-5 §A.2.2).
fn generate() -> Result<SecretKey, KeyError> {
    loop {
        let mut scalar = Zeroizing::new([0; SCALAR_BYTES]);
        fill(scalar.as_mut_slice()).map_err(|_| KeyError::System)?;
        // One in 2^32 is 0, or n or more.
        if let Ok(secret) = parse(&scalar) {
            return Ok(secret);
        }
    }
}

#[cfg(test)]
mod tests;
