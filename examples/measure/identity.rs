//! Recipients whose keys this program holds.
//!
//! The signatures are aws-lc-rs's, as the server's are: a slower client would be the bottleneck of what it measures.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A key, and the id that belongs to it.
pub(crate) struct Identity {
    /// As it stands in a path.
    pub(crate) id: String,
    public_key: String,
    key: EcdsaKeyPair,
}

impl Identity {
    /// So many new ones.
    pub(crate) fn generate(count: usize) -> Result<Vec<Self>, Unspecified> {
        (0..count).map(|_| Self::new()).collect()
    }

    /// The text that answers the server's text `asked`, which has to be a challenge (PROTOCOL.md part 1, Receiving).
    pub(crate) fn answer(&self, asked: &[u8]) -> Option<String> {
        let asked: Value = serde_json::from_slice(asked).ok()?;
        let challenge = asked.get("challenge")?;
        let (txt, sig) = (challenge.get("txt")?.as_str()?, challenge.get("sig")?.as_str()?);
        if (txt.len(), sig.len()) != (43, 86) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(txt).ok()?;
        let solution = self.key.sign(&SystemRandom::new(), &bytes).ok()?;
        Some(format!(
            r#"{{"publicKey":"{}","challenge":{{"txt":"{txt}","sig":"{sig}"}},"solution":"{}"}}"#,
            self.public_key,
            URL_SAFE_NO_PAD.encode(solution)
        ))
    }

    fn new() -> Result<Self, Unspecified> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let point = key.public_key().as_ref();
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(point)),
            public_key: URL_SAFE_NO_PAD.encode(point),
            key,
        })
    }
}
