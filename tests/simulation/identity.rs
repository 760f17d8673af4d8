//! Recipients with real keys, the same in every process, so that a seed means the same run everywhere.
//!
//! Signed with p256, which is not what the server verifies with.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

/// Somebody who may log in.
pub(crate) struct Identity {
    key: SigningKey,
    /// 43 characters, the path of the mailbox without its slash.
    pub(crate) id: String,
    public_key: String,
}

/// The members of a challenge as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    txt: String,
    sig: String,
}

/// All identities that runs choose from, made once.
pub(crate) fn all() -> &'static [Identity; 8] {
    static ALL: OnceLock<[Identity; 8]> = OnceLock::new();
    ALL.get_or_init(|| [1, 2, 3, 4, 5, 6, 7, 8].map(Identity::with_secret))
}

impl Identity {
    fn with_secret(number: u8) -> Self {
        let key = SigningKey::from_slice(&[number; 32]).expect("a scalar of the group");
        let point = key.verifying_key().to_sec1_point(false);
        Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(point.as_bytes())),
            public_key: URL_SAFE_NO_PAD.encode(point.as_bytes()),
            key,
        }
    }

    /// The text that answers the challenge, and logs in if the signer is this identity. With npchat.2 it is bound to a
    /// host.
    pub(crate) fn solution(&self, signer: &Self, host: Option<&str>, Challenge { txt, sig }: &Challenge) -> String {
        let bound = host.map(|host| format!("npchat/2 login\0{host}\0"));
        let mut text = bound.unwrap_or_default().into_bytes();
        text.extend(URL_SAFE_NO_PAD.decode(txt).expect("txt is base64url"));
        let signature: Signature = signer.key.sign(&text);
        let solution = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        let public_key = &self.public_key;
        format!(r#"{{"publicKey":"{public_key}","challenge":{{"txt":"{txt}","sig":"{sig}"}},"solution":"{solution}"}}"#)
    }
}

impl Challenge {
    /// Reads the server's text, if it is a challenge to the letter.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let frame = std::str::from_utf8(frame).ok()?;
        let pair = frame.strip_prefix(r#"{"challenge":{"txt":""#)?.strip_suffix(r#""}}"#)?;
        let (txt, signature) = pair.split_once(r#"","sig":""#)?;
        (txt.len() == 43 && signature.len() == 86).then(|| Self {
            txt: txt.to_owned(),
            sig: signature.to_owned(),
        })
    }
}
