//! The whole of a connection driven without a socket, in virtual time: bytes in, bytes out, deadlines.
//!
//! What a worker does with a real socket is tested elsewhere, and so is each kind of bad input.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these fail a test"
)]

mod budgets;
mod closing;
mod confirmation;
mod deadlines;
mod drains;
mod endpoint;
mod heads;
mod memory;
mod pending;
mod splits;
mod subprotocol;
mod turned_away;

use npchat::server::connection::Connection;
use npchat::server::outbound::Outbound;
use npchat::server::session::Session;
use npchat::server::websocket::WebSocket;

#[test]
fn hot_structs_keep_their_size() {
    let sizes = [
        size_of::<Connection>(),
        size_of::<WebSocket>(),
        size_of::<Session>(),
        size_of::<Outbound>(),
    ];
    assert_eq!(sizes, [216, 80, 72, 8]);
}
