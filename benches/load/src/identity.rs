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

/// Offline recipients whose mailboxes are read afterwards.
pub(crate) const SAMPLE: usize = 100;

/// A key, and the id that belongs to it.
pub(crate) struct Identity {
    /// As it stands in a path.
    pub(crate) id: String,
    public_key: String,
    key: EcdsaKeyPair,
}

impl Identity {
    /// So many new ones.
    pub(crate) fn generate(count: usize) -> Result<Vec<Self>, String> {
        let all: Result<_, _> = (0..count).map(|_| Self::new()).collect();
        all.map_err(|_| "no keys can be made".to_owned())
    }

    /// The text that answers the server's text `asked`, which has to be a challenge (PROTOCOL.md part 1, Receiving).
    pub(crate) fn answer(&self, asked: &[u8]) -> Option<String> {
        let asked: Value = serde_json::from_slice(asked).ok()?;
        let challenge = asked.get("challenge")?;
        let (txt, sig) = (challenge.get("txt")?.as_str()?, challenge.get("sig")?.as_str()?);
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

/// Offline recipients. The first have keys, so that their mailboxes can be looked into.
pub(crate) struct OfflineRecipients {
    pub(crate) ids: Vec<String>,
    pub(crate) sample: Vec<Identity>,
}

impl OfflineRecipients {
    /// So many new ones, `sample` of them with keys.
    pub(crate) fn generate(count: usize, sample: usize) -> Result<Self, String> {
        // One at least, whose id makes those of the others new.
        let sample = Identity::generate(sample.min(count).max(1))?;
        let seed = sample[0].id.as_bytes();
        let others = (sample.len()..count).map(|index| {
            let hash = Sha256::new()
                .chain_update(seed)
                .chain_update(index.to_be_bytes())
                .finalize();
            URL_SAFE_NO_PAD.encode(hash)
        });
        let ids = sample
            .iter()
            .map(|identity| identity.id.clone())
            .chain(others)
            .take(count);
        Ok(Self {
            ids: ids.collect(),
            sample,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_canonical_and_none_is_twice() {
        let offline = OfflineRecipients::generate(300, 2).expect("random bytes");
        assert_eq!(offline.sample.len(), 2);
        assert_eq!(offline.ids.iter().collect::<HashSet<_>>().len(), 300);
        for id in &offline.ids {
            assert!(
                npchat::protocol::id::RecipientId::parse(id.as_bytes()).is_some(),
                "{id}"
            );
        }
    }

    #[test]
    fn nobody_may_be_away() {
        assert!(
            OfflineRecipients::generate(0, 100)
                .expect("random bytes")
                .ids
                .is_empty()
        );
    }
}
