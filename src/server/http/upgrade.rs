//! A request for a WebSocket: what it offers, and the key that the answer must carry (RFC 6455 §4.2).
//!
//! Extensions are never taken, so none is read.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use tungstenite::handshake::derive_accept_key;

use super::error::HttpError;
use super::limits::PROTOCOL_FIELDS_MAX;
use super::message::{Once, elements};

/// A GET of HTTP/1.1 whose `Connection` names `upgrade` and whose `Upgrade` names `websocket`.
#[derive(Debug)]
pub struct Upgrade<'b> {
    pub(super) version: Once<'b>,
    pub(super) key: Once<'b>,
    pub(super) has_body: bool,
    /// Values of `Sec-WebSocket-Protocol`; those that aren't there are empty.
    pub(super) protocols: [&'b [u8]; PROTOCOL_FIELDS_MAX],
}

impl Upgrade<'_> {
    /// Whether the client offers this subprotocol (RFC 6455 §4.1), whose case counts. Of its fields
    /// [`PROTOCOL_FIELDS_MAX`] are looked at.
    #[must_use]
    pub fn offers(&self, protocol: &str) -> bool {
        let mut offers = self.protocols.iter().flat_map(|value| elements(value));
        offers.any(|offer| offer == protocol.as_bytes())
    }

    /// The value of `Sec-WebSocket-Accept`, which proves that this request was read as an upgrade.
    ///
    /// # Errors
    /// [`HttpError::UnsupportedWebSocketVersion`] unless there is exactly one version and it is 13; then
    /// [`HttpError::BadUpgrade`] unless there is exactly one key, 24 characters of base64 for 16 bytes, and no body.
    pub fn accept_key(&self) -> Result<String, HttpError> {
        let Once::Value(b"13") = self.version else {
            return Err(HttpError::UnsupportedWebSocketVersion);
        };
        match self.key {
            Once::Value(key) if is_nonce(key) && !self.has_body => Ok(derive_accept_key(key)),
            _ => Err(HttpError::BadUpgrade),
        }
    }
}

/// Base64 whose last character may have stray bits, as the example of RFC 6455 §1.3 and keys made of random characters
/// have.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn is_nonce(key: &[u8]) -> bool {
    // 24 characters can be the base64 of up to 18 bytes.
    key.len() == 24 && LENIENT.decode_slice(key, &mut [0; 18]) == Ok(16)
}
