//! What npchat-web exports: its link has an identity and the contacts in it, private keys as JWK (RFC 7517).
//!
//! It is read only: nothing writes private keys into a link any more.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::client::card::Shareable;
use crate::client::identity::file::FileError;
use crate::client::identity::{AgreementSecret, Identity, KeyError, SCALAR_BYTES, SigningSecret};
use crate::client::names::{Name, Origin};
use crate::protocol::id::PUBLIC_KEY_BYTES;
use crate::protocol::json::Json;

/// Largest export as a text, contacts included.
pub const EXPORT_MAX_BYTES: usize = 1024 * 1024;

/// What an export has.
#[derive(Debug)]
pub struct Export {
    /// The keys, name and relay. Its agreement key counts as in use since 1970.
    pub identity: Identity,
    /// The contacts, but for those that are malformed.
    pub contacts: Vec<Shareable>,
}

impl Export {
    /// Reads the link `<page>#<…>`, or what follows its `#`: base64url of `{"keys":{"auth":{"base64":{"publicKey":…,
    /// "privateKey":…}},"dh":…},"name":…,"origin":…,"contacts":[…]}`, where `privateKey` is base64url of a JWK.
    ///
    /// # Errors
    /// [`FileError::Malformed`] and [`FileError::BadKey`].
    pub fn parse(link: &str) -> Result<Self, FileError> {
        if link.len() > EXPORT_MAX_BYTES {
            return Err(FileError::Malformed);
        }
        let text = link.trim();
        let text = text.rsplit_once('#').map_or(text, |(_, fragment)| fragment);
        let document = decode(text)?;
        let keys = document.member("keys").ok_or(FileError::Malformed)?;
        let pair = |name| {
            keys.member(name)
                .and_then(|key| key.member("base64"))
                .ok_or(FileError::Malformed)
        };
        let (public, scalar) = read_pair(pair("auth")?)?;
        let auth = SigningSecret::from_scalar(&scalar).map_err(|_: KeyError| FileError::BadKey)?;
        let is_pair = *auth.public().as_bytes() == public;
        let (public, scalar) = read_pair(pair("dh")?)?;
        let dh = AgreementSecret::from_scalar(&scalar, 0).map_err(|_: KeyError| FileError::BadKey)?;
        if !is_pair || *dh.public().as_bytes() != public {
            return Err(FileError::BadKey);
        }
        let text = |name| document.text(name).ok_or(FileError::Malformed);
        let name = Name::parse(text("name")?).ok_or(FileError::Malformed)?;
        let origin = Origin::parse(text("origin")?).ok_or(FileError::Malformed)?;
        let contacts = document.member("contacts").and_then(Json::as_array).unwrap_or_default();
        Ok(Self {
            identity: Identity::from_keys(name, origin, auth, vec![dh]).ok_or(FileError::Malformed)?,
            contacts: contacts
                .iter()
                .filter_map(|contact| Shareable::read(contact).ok())
                .collect(),
        })
    }
}

/// JSON in base64url.
fn decode(text: &str) -> Result<Zeroizing<Json>, FileError> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| FileError::Malformed)?;
    let json = Zeroizing::new(json);
    Json::parse(&json).map(Zeroizing::new).ok_or(FileError::Malformed)
}

/// The public key as it stands, and the scalar of the JWK (RFC 7518 §6.2).
fn read_pair(pair: &Json) -> Result<([u8; PUBLIC_KEY_BYTES], Zeroizing<[u8; SCALAR_BYTES]>), FileError> {
    let public = pair
        .member("publicKey")
        .and_then(Json::as_bytes)
        .ok_or(FileError::Malformed)?;
    let jwk = pair.text("privateKey").ok_or(FileError::Malformed)?;
    let jwk = decode(jwk)?;
    let text = |name| jwk.text(name);
    if (text("kty"), text("crv")) != (Some("EC"), Some("P-256")) {
        return Err(FileError::BadKey);
    }
    let scalar = jwk.member("d").and_then(Json::as_bytes).ok_or(FileError::BadKey)?;
    Ok((public, Zeroizing::new(scalar)))
}

#[cfg(test)]
mod tests;
