//! Services other than the relay on the same connections: a bug in one connection's handling, and the echo's way of
//! working.

#![expect(clippy::unwrap_used, reason = "these fail a test")]

use std::net::{Ipv4Addr, SocketAddr};

use npchat::server::Server;
use npchat::server::config::{Config, Listen};
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::refusal::{CloseReason, Refusal};
use npchat::server::routes::Request;
use npchat::server::service::{Conversation, Heard, Service};
use npchat::server::store::Store;
use npchat::server::websocket::{Event, Opcode, Wants, write_frame};
use testkit::{Frame, PATIENCE, RawClient, RawWebSocket, address, patient_timeouts, upgrade_request, wait_until};

/// Echoes what it hears, but panics when it hears so.
#[derive(Debug)]
struct Fragile;

impl Service for Fragile {
    type Post = ();
    type Conversation = Self;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Result<(), Refusal> {
        reply.bytes(context.out, 200, "application/octet-stream", body);
        assert_ne!(body, b"panic");
        Ok(())
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Self> {
        Some(Self)
    }
}

impl Conversation for Fragile {
    fn hear<S: Service>(&mut self, event: &Event, context: &mut Context<'_, S>) -> Result<Heard, CloseReason> {
        if let Event::Text(text) = event {
            write_frame(context.out, Opcode::Text, text.as_bytes());
            assert_ne!(text.as_str(), "panic");
        }
        Ok(Heard::Done)
    }

    fn wants(&self) -> Wants {
        Wants::Everything
    }

    fn is_logged_in(&self) -> bool {
        true
    }
}

const MESSAGE_MAX_BYTES: u32 = 16 << 20;

fn start() -> Server {
    let config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers: 1,
        max_message: MESSAGE_MAX_BYTES,
        mailbox_bytes: MESSAGE_MAX_BYTES,
        timeouts: patient_timeouts(),
        ..Config::default()
    };
    Server::start_service(&config, Fragile).unwrap()
}

fn open(server: &Server) -> RawWebSocket {
    let mut client = RawClient::connect(address(server));
    client.send(upgrade_request(address(server), "anything").as_bytes());
    RawWebSocket::upgraded(client)
}

#[test]
fn a_panic_in_one_connection_ends_that_connection_only() {
    let server = start();
    let mut well = open(&server);
    let mut ill = open(&server);
    ill.send(&Frame::text("panic"));
    ill.client().wait_closed();
    let mut poster = RawClient::connect(address(&server));
    poster.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\npanic");
    poster.wait_closed();

    well.send(&Frame::text("still here"));
    assert_eq!(well.read_text(), "still here");
    wait_until(PATIENCE, "both panics are counted", || {
        server.totals().closed(CloseReason::Internal) == 2
    });
    let mut late = open(&server);
    late.send(&Frame::text("late"));
    assert_eq!(
        late.read_text(),
        "late",
        "what was half written for another connection must not come here"
    );
}

#[test]
fn a_large_message_comes_back_whole_however_it_was_fragmented() {
    let server = start();
    let message = "0123456789abcdef".repeat(64 * 1024);
    let mut socket = open(&server);
    for size in [64, 1000, message.len()] {
        let pieces: Vec<_> = message.as_bytes().chunks(size).collect();
        let mut bytes = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = u8::from(index == 0);
            let fin = index + 1 == pieces.len();
            bytes.extend(
                Frame {
                    fin,
                    ..Frame::new(opcode, *piece)
                }
                .masked(),
            );
        }
        socket.client().send(&bytes);
        assert!(socket.read_text() == message, "in fragments of {size}");
    }
}

#[test]
fn a_post_to_any_path_comes_back() {
    let server = start();
    let mut client = RawClient::connect(address(&server));
    let response = client.post_with("/any/path?at=all", "", b"body");
    assert_eq!((response.status, &response.body[..]), (200, &b"body"[..]));
}
