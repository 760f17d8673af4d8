//! Somebody who may log in, with p256's keys: nothing of the code under test makes or signs anything here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use sha2::{Digest, Sha256};

/// A signing key, and its public key and id as they are written.
pub struct Identity {
    key: SigningKey,
    /// 43 characters, the path of the mailbox without its slash.
    pub id: String,
    /// 87 characters, the member `publicKey`.
    pub public_key: String,
}

/// A challenge as it came, its members not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub txt: String,
    pub sig: String,
}

impl Identity {
    pub fn generate() -> Self {
        Self::of(SigningKey::generate())
    }

    /// The one of this number, which is the same in every process. None is 0.
    pub fn numbered(number: u8) -> Self {
        Self::of(SigningKey::from_slice(&[number; 32]).expect("below the order of the group, and not 0"))
    }

    /// The one whose [`Identity::secret`] this is, for a process that is told of it.
    pub fn from_secret(secret: &str) -> Self {
        Self::of(SigningKey::from_slice(&decode(secret)).expect("a secret is a P-256 scalar"))
    }

    /// The private key as base64url, the member `d` of a JWK.
    pub fn secret(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.to_bytes())
    }

    /// The public key as an uncompressed point, `04 || X || Y`.
    pub fn point(&self) -> [u8; 65] {
        let point = self.key.verifying_key().to_sec1_point(false);
        point.as_bytes().try_into().expect("an uncompressed point")
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
    pub fn sign(&self, txt: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.sign_bytes(&decode(txt)))
    }

    /// ES256 as `r || s`, the same each time (RFC 6979).
    pub fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(bytes);
        signature.to_bytes().into()
    }

    /// The signature that logs in, bound to a host if npchat.2 is spoken.
    pub fn signature(&self, challenge: &Challenge, host: Option<&str>) -> [u8; 64] {
        let label = host.map(|host| format!("npchat/2 login\0{host}\0")).unwrap_or_default();
        self.sign_bytes(&[label.as_bytes(), &decode(&challenge.txt)].concat())
    }

    /// The text that answers the challenge and logs in.
    pub fn solution(&self, challenge: &Challenge) -> String {
        self.answer(challenge, &self.signature(challenge, None))
    }

    /// The same as npchat.2 has it, bound to a host.
    pub fn solution_for_host(&self, challenge: &Challenge, host: &str) -> String {
        self.answer(challenge, &self.signature(challenge, Some(host)))
    }

    /// The same with this signature.
    pub fn answer(&self, Challenge { txt, sig }: &Challenge, signature: &[u8; 64]) -> String {
        let (public_key, solution) = (&self.public_key, URL_SAFE_NO_PAD.encode(signature));
        format!(r#"{{"publicKey":"{public_key}","challenge":{{"txt":"{txt}","sig":"{sig}"}},"solution":"{solution}"}}"#)
    }
}

impl Challenge {
    /// Reads the server's text, which has to be a challenge to the letter.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        Self::parse(text.as_bytes()).unwrap_or_else(|| panic!("no challenge to the letter: {text}"))
    }

    /// The same where it may be something else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let members = str::from_utf8(bytes).ok()?.strip_prefix(r#"{"challenge":{"txt":""#)?;
        let (txt, sig) = members.strip_suffix(r#""}}"#)?.split_once(r#"","sig":""#)?;
        let is_base64url = |member: &str| URL_SAFE_NO_PAD.decode(member).is_ok();
        ((txt.len(), sig.len()) == (43, 86) && is_base64url(txt) && is_base64url(sig)).then(|| Self {
            txt: txt.to_owned(),
            sig: sig.to_owned(),
        })
    }
}

fn decode(txt: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(txt).expect("it is base64url")
}
