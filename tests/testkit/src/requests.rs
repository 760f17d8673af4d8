//! The bytes of good requests.

use std::net::SocketAddr;

/// The header line that offers npchat.2.
pub const OFFER: &str = "Sec-WebSocket-Protocol: npchat.2\r\n";

/// The handshake's example (RFC 6455 §1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What every upgrade request here gets as `Sec-WebSocket-Accept`.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The bytes of a POST with a Content-Length. `headers` are further header lines, each ended by CR LF.
pub fn post_request(address: SocketAddr, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// The upgrade request for the mailbox of an id.
pub fn upgrade_request(address: SocketAddr, id: &str) -> String {
    upgrade_request_with(&address.to_string(), id, "")
}

/// The same by way of this host, with further header lines, each ended by CR LF.
pub fn upgrade_request_with(host: &str, id: &str, headers: &str) -> String {
    format!(
        "GET /{id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}
