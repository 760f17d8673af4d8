//! How a TLS connection ends: in order from either side, and otherwise.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use npchat::server::refusal::CloseReason;
use testkit::{
    Frame, Identity, Opcode, PATIENCE, RawClient, RawWebSocket, Wire, address, post_request, upgrade_request,
    wait_until,
};

use super::{start_tls, start_with};

#[test]
fn who_says_that_it_ends_gets_all_its_answers_and_then_the_servers_end() {
    const COUNT: usize = 300;
    let server = start_tls();
    let id = Identity::generate().id;
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    let request = post_request(address(&server), &format!("/{id}"), "", "m");
    client.send(request.repeat(COUNT));
    client.finish();
    for _ in 0..COUNT {
        assert_eq!(client.read_response().status, 200);
    }
    // An end without the server's close_notify would fail it.
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(server.stats().messages, COUNT as u64);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::Done) == 1
    });
}

#[test]
fn an_end_of_the_stream_without_a_word_is_an_ordinary_end() {
    let server = start_tls();
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    assert_eq!(client.post(&Identity::generate().id, "m").status, 200);
    client.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(), b"");
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::Done) == 1
    });
}

#[test]
fn the_server_ends_with_a_word_when_it_is_the_first_to_end() {
    let server = start_tls();
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    client.send("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(client.read_to_end(), b"");
    let mut socket = websocket(address(&server));
    socket.send(&Frame::new(Opcode::BINARY, "too early"));
    assert_eq!(socket.expect_closing(), 1003);
}

#[test]
fn a_record_that_was_changed_ends_the_connection_with_an_alert() {
    let server = start_tls();
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    assert_eq!(client.request("GET /healthz").status, 200);
    let mut socket = client.socket();
    socket.write_all(&[23, 3, 3, 0, 20]).unwrap();
    socket.write_all(&[0; 20]).unwrap();
    let error = client.read_error();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    drop(client);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::TlsFailed) == 1
    });
}

#[test]
fn a_session_whose_client_takes_nothing_is_closed_on_a_stall() {
    let server = start_with("localhost", |config| {
        config.max_message = 16 << 20;
        config.mailbox_bytes = 64 << 20;
        config.memory = 256 << 20;
        config.timeouts.write_stall = Duration::from_secs(1);
        config.timeouts.pong = Duration::from_secs(60);
    });
    let identity = Identity::generate();
    let mut socket = websocket_of(address(&server), &identity);
    socket.login(&identity);
    let mut sender = RawClient::connect_by(Wire::Tls, address(&server));
    assert_eq!(sender.post(&identity.id, vec![b'm'; 16 << 20]).status, 200);
    wait_until(PATIENCE, "it is closed", || {
        server.totals().closed(CloseReason::Stalled) == 1
    });
    assert_eq!(server.stats().messages, 1);
}

/// ACCEPTANCE.md row 16.
#[test]
fn a_handshake_that_stands_still_is_ended_at_the_deadline() {
    // Long enough that the server has answered what comes at once.
    let server = start_with("localhost", |config| config.timeouts.head = Duration::from_secs(3));
    // A whole ClientHello and no word after it; the half of one; nothing at all.
    let mut hello = Vec::new();
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    client.session().write_tls(&mut hello).unwrap();
    drop(client);
    let sockets = [hello.len(), hello.len() / 2, 1, 0].map(|length| {
        let mut socket = TcpStream::connect_timeout(&address(&server), PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&hello[..length]).unwrap();
        (length, socket)
    });
    for (length, mut socket) in sockets {
        let mut answer = Vec::new();
        match socket.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert_eq!(answer.is_empty(), length < hello.len());
    }
    wait_until(PATIENCE, "they are counted", || {
        server.totals().closed(CloseReason::Idle) == 4
    });
}

/// ACCEPTANCE.md row 15.
#[test]
fn a_handshake_that_comes_a_byte_at_a_time_is_ended_at_an_absolute_deadline() {
    let server = start_with("localhost", |config| config.timeouts.head = Duration::from_millis(300));
    let mut hello = Vec::new();
    let mut client = RawClient::connect_by(Wire::Tls, address(&server));
    client.session().write_tls(&mut hello).unwrap();
    drop(client);
    wait_until(PATIENCE, "it is gone", || server.totals().open == 0);
    let mut client = RawClient::connect_by(Wire::Plain, address(&server));
    trickle(&mut client, &hello);
    assert_eq!(client.read_to_end(), b"");
    drop(client);
    wait_until(PATIENCE, "it is counted", || {
        server.totals().closed(CloseReason::Idle) == 1
    });
}

/// Sends a byte about every 50 ms until the server says something or ends the stream: a `ClientHello` takes long enough
/// for a server that is late on a slow machine.
fn trickle(client: &mut RawClient, bytes: &[u8]) {
    let heard = bytes.iter().any(|byte| {
        client.send([*byte]);
        client.hears_within(Duration::from_millis(50))
    });
    assert!(heard, "the server lets {} bytes trickle", bytes.len());
}

fn websocket(address: std::net::SocketAddr) -> RawWebSocket {
    websocket_of(address, &Identity::generate())
}

fn websocket_of(address: std::net::SocketAddr, identity: &Identity) -> RawWebSocket {
    let mut client = RawClient::connect_by(Wire::Tls, address);
    client.send(upgrade_request(address, &identity.id));
    RawWebSocket::upgraded(client)
}
