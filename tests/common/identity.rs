//! Somebody who may log in, with p256's keys: nothing of the code under test makes or signs anything here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A signing key, and its public key and id as they are written.
pub(crate) struct Identity {
    key: SigningKey,
    /// 43 characters, the path of the mailbox without its slash.
    pub(crate) id: String,
    /// 87 characters, the member `publicKey`.
    pub(crate) public_key: String,
}

/// A challenge as it came, its members not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) txt: String,
    pub(crate) sig: String,
}

impl Identity {
    pub(crate) fn generate() -> Self {
        Self::of(SigningKey::generate())
    }

    /// The one whose [`Identity::secret`] this is, for a process that is told of it.
    pub(crate) fn from_secret(secret: &str) -> Self {
        Self::of(SigningKey::from_slice(&decode(secret)).expect("a secret is a P-256 scalar"))
    }

    /// The private key as base64url, the member `d` of a JWK.
    pub(crate) fn secret(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.to_bytes())
    }

    fn of(key: SigningKey) -> Self {
        let point = key.verifying_key().to_sec1_point(false);
        Self {
            key,
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(point.as_bytes())),
            public_key: URL_SAFE_NO_PAD.encode(point.as_bytes()),
        }
    }

    /// The ES256 signature over the bytes of a challenge's `txt`, both as base64url.
    pub(crate) fn sign(&self, txt: &str) -> String {
        self.sign_bytes(&decode(txt))
    }

    /// The text that answers the challenge and logs in.
    pub(crate) fn solution(&self, challenge: &Challenge) -> String {
        self.answer(challenge, &self.sign(&challenge.txt))
    }

    /// The same as npchat.2 has it, bound to a host.
    pub(crate) fn solution_for_host(&self, challenge: &Challenge, host: &str) -> String {
        let signed = [b"npchat/2 login\0", host.as_bytes(), b"\0", &decode(&challenge.txt)].concat();
        self.answer(challenge, &self.sign_bytes(&signed))
    }

    fn answer(&self, challenge: &Challenge, solution: &str) -> String {
        json!({
            "publicKey": self.public_key,
            "challenge": { "txt": challenge.txt, "sig": challenge.sig },
            "solution": solution,
        })
        .to_string()
    }

    fn sign_bytes(&self, bytes: &[u8]) -> String {
        let signature: Signature = self.key.sign(bytes);
        URL_SAFE_NO_PAD.encode(signature.to_bytes())
    }
}

impl Challenge {
    /// Reads the server's text, which has to be a challenge to the letter.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).expect("the challenge is JSON");
        let member = |name: &str| value["challenge"][name].as_str().unwrap_or_default().to_owned();
        let challenge = Self {
            txt: member("txt"),
            sig: member("sig"),
        };
        let expected = format!(
            r#"{{"challenge":{{"txt":"{}","sig":"{}"}}}}"#,
            challenge.txt, challenge.sig
        );
        assert_eq!(text, expected);
        assert_eq!((challenge.txt.len(), challenge.sig.len()), (43, 86));
        challenge
    }
}

fn decode(txt: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(txt).expect("it is base64url")
}
