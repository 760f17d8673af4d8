//! A request for a WebSocket: what it offers, and the key that the answer must carry (RFC 6455 §4.2).
//!
//! Extensions are never taken, so none is read. The WebSocket itself is [`crate::server::websocket`].

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use tungstenite::handshake::derive_accept_key;

use super::fields::Once;
use crate::server::refusal::Refusal;

/// The one subprotocol spoken here (PROTOCOL.md part 2). Its case counts, as that of every subprotocol's name does.
pub const SUBPROTOCOL: &str = "npchat.2";

/// A GET of HTTP/1.1 whose `Connection` names `upgrade` and whose `Upgrade` names `websocket`.
#[derive(Debug)]
pub struct Upgrade<'b> {
    /// Whether `Sec-WebSocket-Protocol` offers [`SUBPROTOCOL`].
    pub offers_npchat_2: bool,
    pub(super) version: Once<'b>,
    pub(super) key: Once<'b>,
    pub(super) has_body: bool,
}

impl Upgrade<'_> {
    /// The value of `Sec-WebSocket-Accept`, which proves that this request was read as an upgrade.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedWebSocketVersion`] unless there is exactly one version and it is 13; then
    /// [`Refusal::BadUpgrade`] unless there is exactly one key, 24 characters of base64 for 16 bytes, and no body.
    pub fn accept_key(&self) -> Result<String, Refusal> {
        let Once::Value(b"13") = self.version else {
            return Err(Refusal::UnsupportedWebSocketVersion);
        };
        match self.key {
            Once::Value(key) if is_nonce(key) && !self.has_body => Ok(derive_accept_key(key)),
            _ => Err(Refusal::BadUpgrade),
        }
    }
}

/// Base64 whose last character may have stray bits, as the example of RFC 6455 §1.3 and keys made of random characters have.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn is_nonce(key: &[u8]) -> bool {
    // 24 characters can be the base64 of up to 18 bytes.
    key.len() == 24 && LENIENT.decode_slice(key, &mut [0; 18]) == Ok(16)
}
