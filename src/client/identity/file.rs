//! An identity as a file: JSON, plain or sealed with a passphrase, as a browser can write and open it too
//! (PROTOCOL.md, Identity files).
//!
//! No file system here; that is [`crate::client::identity::disk`].

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use aws_lc_rs::rand::fill;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::client::identity::{AgreementSecret, DH_KEYS_MAX, Identity, SCALAR_BYTES, SigningSecret};
use crate::client::names::{Name, Origin};
use crate::client::write::{push_member, push_string};
use crate::protocol::id::PUBLIC_KEY_BYTES;
use crate::protocol::json::Json;

/// Largest identity file.
pub const FILE_MAX_BYTES: usize = 16 * 1024;
/// Rounds of PBKDF2 in what this version writes, and the least that it reads.
pub const ROUNDS: u32 = 600_000;
/// Most rounds that are read: some ten seconds' worth.
pub const ROUNDS_MAX: u32 = 50_000_000;
/// Largest passphrase in bytes of UTF-8.
pub const PASSPHRASE_MAX_BYTES: usize = 1024;

const SALT_BYTES: usize = 16;
const IV_BYTES: usize = 12;
const VERSION: u64 = 1;
const KDF: &str = "PBKDF2-HMAC-SHA256";
/// What the tag of a sealed file covers beside its text.
const LABEL: &[u8] = b"npchat/2 identity\0";

/// What a sealed file is opened with: 1 to [`PASSPHRASE_MAX_BYTES`] bytes. Erased when dropped.
///
/// Its bytes are used as they are: a letter that Unicode spells in two ways makes two passphrases.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the passphrase; `None` if it is empty or too long.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        (!text.is_empty() && text.len() <= PASSPHRASE_MAX_BYTES).then_some(Self(text))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why an identity can't be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileError {
    /// Not an identity file: too long, not JSON, or a member is missing or malformed.
    Malformed,
    /// An identity file of a version, or sealed in a way, that this one doesn't know.
    UnknownVersion,
    /// A private key doesn't belong to the public key beside it, or is none.
    BadKey,
    /// It is sealed, and no passphrase was given.
    PassphraseNeeded,
    /// Not the passphrase, or the file was altered: which of both can't be known.
    WrongPassphrase,
    /// The system's random numbers or its cryptography failed.
    System,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is no identity file of npchat",
            Self::UnknownVersion => "the identity file needs a newer version of npchat",
            Self::BadKey => "the keys in the identity file don't belong together",
            Self::PassphraseNeeded => "the identity file has a passphrase",
            Self::WrongPassphrase => "wrong passphrase, or the identity file was altered",
            Self::System => "the system has no random numbers",
        })
    }
}

impl std::error::Error for FileError {}

impl Identity {
    /// Reads an identity file. A passphrase is of no use for one that isn't sealed, and does no harm.
    ///
    /// # Errors
    /// Any [`FileError`].
    pub fn parse(bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, FileError> {
        let document = read_document(bytes)?;
        if document.member("sealed").is_none() {
            return read_plain(&document);
        }
        let plain = open(&document, passphrase.ok_or(FileError::PassphraseNeeded)?)?;
        let document = read_document(&plain)?;
        read_plain(&document)
    }

    /// The identity as a file, sealed if there is a passphrase. This alone shows the private keys.
    ///
    /// # Errors
    /// [`FileError::System`].
    pub fn to_bytes(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let plain = self.to_plain();
        match passphrase {
            Some(passphrase) => seal(plain, passphrase),
            None => Ok(plain),
        }
    }

    fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        // Enough for the longest of all, so that no piece of it is left behind when it grows.
        let mut out = Zeroizing::new(String::with_capacity(FILE_MAX_BYTES));
        out.push_str(r#"{"npchat":"identity","version":1,"name":"#);
        push_string(&mut out, self.name.as_str());
        push_member(&mut out, "relay", self.relay.as_str());
        out.push_str(r#","auth":"#);
        push_keys(&mut out, self.auth.public().as_bytes(), &self.auth.scalar());
        out.push_str(r#"},"dh":["#);
        for (place, key) in self.dh_keys().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            push_keys(&mut out, key.public().as_bytes(), &key.scalar());
            out.push_str(r#","since":"#);
            out.push_str(&key.since_ms().to_string());
            out.push('}');
        }
        out.push_str("]}\n");
        Zeroizing::new(std::mem::take(&mut *out).into_bytes())
    }
}

/// Whether the file needs a passphrase.
///
/// # Errors
/// [`FileError::Malformed`] and [`FileError::UnknownVersion`].
pub fn is_sealed(bytes: &[u8]) -> Result<bool, FileError> {
    Ok(read_document(bytes)?.member("sealed").is_some())
}

/// Appends `{"public":"…","private":"…"`, without the end of the object.
fn push_keys(out: &mut String, public: &[u8; PUBLIC_KEY_BYTES], scalar: &[u8; SCALAR_BYTES]) {
    out.push_str(r#"{"public":""#);
    URL_SAFE_NO_PAD.encode_string(public, out);
    out.push_str(r#"","private":""#);
    let mut text = Zeroizing::new([0; 43]);
    let length = URL_SAFE_NO_PAD
        .encode_slice(scalar, text.as_mut_slice())
        .unwrap_or_default();
    out.push_str(
        text.get(..length)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default(),
    );
    out.push('"');
}

fn read_document(bytes: &[u8]) -> Result<Zeroizing<Json>, FileError> {
    if bytes.len() > FILE_MAX_BYTES {
        return Err(FileError::Malformed);
    }
    let document = Zeroizing::new(Json::parse(bytes).ok_or(FileError::Malformed)?);
    let kind = document.text("npchat");
    let version = document.member("version").and_then(Json::as_count);
    match (kind, version) {
        (Some("identity"), Some(VERSION)) => Ok(document),
        (Some("identity"), Some(_)) => Err(FileError::UnknownVersion),
        _ => Err(FileError::Malformed),
    }
}

fn read_plain(document: &Json) -> Result<Identity, FileError> {
    let text = |name| document.text(name).ok_or(FileError::Malformed);
    let name = Name::parse(text("name")?).ok_or(FileError::Malformed)?;
    let relay = Origin::parse(text("relay")?).ok_or(FileError::Malformed)?;
    let auth = document.member("auth").ok_or(FileError::Malformed)?;
    let auth = read_auth(auth)?;
    let dh = document
        .member("dh")
        .and_then(Json::as_array)
        .ok_or(FileError::Malformed)?;
    if dh.len() > DH_KEYS_MAX {
        return Err(FileError::Malformed);
    }
    let dh = dh.iter().map(read_dh).collect::<Result<Vec<_>, _>>()?;
    Identity::from_keys(name, relay, auth, dh).ok_or(FileError::Malformed)
}

/// A public key and the scalar beside it.
fn read_keys(keys: &Json) -> Result<([u8; PUBLIC_KEY_BYTES], Zeroizing<[u8; SCALAR_BYTES]>), FileError> {
    let public = keys.member("public").and_then(Json::as_bytes);
    let private = keys.member("private").and_then(Json::as_bytes).map(Zeroizing::new);
    public.zip(private).ok_or(FileError::Malformed)
}

fn read_auth(keys: &Json) -> Result<SigningSecret, FileError> {
    let (public, private) = read_keys(keys)?;
    let secret = SigningSecret::from_scalar(&private).map_err(|_| FileError::BadKey)?;
    let is_pair = *secret.public().as_bytes() == public;
    is_pair.then_some(secret).ok_or(FileError::BadKey)
}

fn read_dh(keys: &Json) -> Result<AgreementSecret, FileError> {
    let (public, private) = read_keys(keys)?;
    let since_ms = keys
        .member("since")
        .and_then(Json::as_count)
        .ok_or(FileError::Malformed)?;
    let secret = AgreementSecret::from_scalar(&private, since_ms).map_err(|_| FileError::BadKey)?;
    let is_pair = *secret.public().as_bytes() == public;
    is_pair.then_some(secret).ok_or(FileError::BadKey)
}

fn seal(mut plain: Zeroizing<Vec<u8>>, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (mut salt, mut iv) = ([0; SALT_BYTES], [0; IV_BYTES]);
    fill(&mut salt).map_err(|_| FileError::System)?;
    fill(&mut iv).map_err(|_| FileError::System)?;
    let key = derive(passphrase, &salt, ROUNDS)?;
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(LABEL), &mut plain)
        .map_err(|_| FileError::System)?;
    let [salt, iv] = [&salt[..], &iv].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let sealed = URL_SAFE_NO_PAD.encode([&plain[..], tag.as_ref()].concat());
    let mut out = String::from(r#"{"npchat":"identity","version":1"#);
    push_member(&mut out, "kdf", KDF);
    out.push_str(r#","iterations":"#);
    out.push_str(&ROUNDS.to_string());
    push_member(&mut out, "salt", &salt);
    push_member(&mut out, "iv", &iv);
    push_member(&mut out, "sealed", &sealed);
    out.push_str("}\n");
    Ok(Zeroizing::new(out.into_bytes()))
}

fn open(document: &Json, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, FileError> {
    if document.text("kdf") != Some(KDF) {
        return Err(FileError::UnknownVersion);
    }
    let rounds = document.member("iterations").and_then(Json::as_count);
    let rounds = rounds
        .and_then(|rounds| u32::try_from(rounds).ok())
        .filter(|rounds| (ROUNDS..=ROUNDS_MAX).contains(rounds));
    let salt = document.member("salt").and_then(Json::as_bytes::<SALT_BYTES>);
    let iv = document.member("iv").and_then(Json::as_bytes::<IV_BYTES>);
    let sealed = document.text("sealed");
    let sealed = sealed.and_then(|sealed| URL_SAFE_NO_PAD.decode(sealed).ok());
    let (Some(rounds), Some(salt), Some(iv), Some(sealed)) = (rounds, salt, iv, sealed) else {
        return Err(FileError::Malformed);
    };
    let mut sealed = Zeroizing::new(sealed);
    let nonce = Nonce::assume_unique_for_key(iv);
    let length = derive(passphrase, &salt, rounds)?
        .open_in_place(nonce, Aad::from(LABEL), &mut sealed)
        .map_err(|_| FileError::WrongPassphrase)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

/// PBKDF2-HMAC-SHA256 (RFC 8018 §5.2), 32 bytes as the key of AES-256-GCM.
fn derive(passphrase: &Passphrase, salt: &[u8; SALT_BYTES], rounds: u32) -> Result<LessSafeKey, FileError> {
    let rounds = NonZeroU32::new(rounds).ok_or(FileError::Malformed)?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        PBKDF2_HMAC_SHA256,
        rounds,
        salt,
        passphrase.0.as_bytes(),
        key.as_mut_slice(),
    );
    let unbound = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| FileError::System)?;
    Ok(LessSafeKey::new(unbound))
}

#[cfg(test)]
mod tests;
