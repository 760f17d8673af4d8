//! Keys and signatures of p256, which is the second opinion on what aws-lc-rs says.

use std::sync::LazyLock;

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

/// Two keys that stay the same from run to run, so that a finding does.
pub static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [7, 11].map(|byte| SigningKey::from_slice(&[byte; 32]).expect("below the order of the curve")));

/// The uncompressed point, `04 || X || Y`.
pub fn public_key(key: &SigningKey) -> [u8; 65] {
    let point = key.verifying_key().to_sec1_point(false);
    point.as_bytes().try_into().expect("an uncompressed point")
}

/// ES256 as `r || s`, the same each time (RFC 6979).
pub fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}
