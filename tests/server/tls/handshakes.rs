//! How a TLS connection begins: what is agreed on, with which key, and what comes of what is no handshake.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use npchat::server::Server;
use npchat::server::config::Scheme;
use npchat::server::limits::TLS_PARTIAL_MAX_BYTES;
use npchat::server::refusal::CloseReason;
use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion};
use testkit::{
    Identity, Line, PATIENCE, RawClient, Receiver, Wire, address, client_config, client_config_by, wait_until,
};

use super::{free_port, listen, start_tls, start_with};

/// Makes a connection, and posts over it. Returns the session's version, kind and protocol.
fn shake_hands(server: &Server, config: &Arc<ClientConfig>) -> (ProtocolVersion, HandshakeKind, Option<Vec<u8>>) {
    let socket = TcpStream::connect_timeout(&address(server), PATIENCE).unwrap();
    let mut client = RawClient::over_line(Line::tls(socket, config), address(server));
    assert_eq!(client.post(&Identity::generate().id, "hello").status, 200);
    let session = client.session();
    (
        session.protocol_version().unwrap(),
        session.handshake_kind().unwrap(),
        session.alpn_protocol().map(<[u8]>::to_vec),
    )
}

#[test]
fn a_message_is_posted_and_received_over_tls() {
    let server = start_tls();
    let identity = Identity::generate();
    let mut receiver = Receiver::connect_by(Wire::Tls, address(&server), &identity);
    let mut sender = RawClient::connect_by(Wire::Tls, address(&server));
    for length in [0, 1, 1000, 60_000] {
        let message = vec![b'm'; length];
        assert_eq!(sender.post(&identity.id, &message).status, 200);
        assert_eq!(receiver.recv_bytes(), message);
    }
    receiver.close();
}

#[test]
fn a_certificate_makes_addresses_without_a_scheme_tls_and_http_can_be_had_beside_it() {
    let server = start_with("localhost", |config| {
        config.listen = listen(&[None, Some(Scheme::Https), Some(Scheme::Http)].map(free_port));
    });
    let identity = Identity::generate();
    let wires = [Wire::Tls, Wire::Tls, Wire::Plain];
    let mut receivers: Vec<_> = (wires.iter().zip(server.addresses()))
        .map(|(wire, address)| Receiver::connect_by(*wire, *address, &identity))
        .collect();
    for (wire, address) in wires.iter().zip(server.addresses()) {
        let mut sender = RawClient::connect_by(*wire, *address);
        assert_eq!(sender.post(&identity.id, "by any way").status, 200);
        for receiver in &mut receivers {
            assert_eq!(receiver.recv_bytes(), b"by any way");
        }
    }
}

#[test]
fn keys_of_every_kind_and_form_are_served() {
    for certificate in ["localhost", "sec1", "rsa", "ed25519"] {
        let server = start_with(certificate, |_| {});
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (agreed, kind, _) = shake_hands(&server, &Arc::new(client_config(&[version])));
            assert_eq!((agreed, kind), (version.version, HandshakeKind::Full), "{certificate}");
        }
    }
}

#[test]
fn a_second_handshake_is_resumed_by_whichever_worker_it_meets() {
    let server = start_tls();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client_config(&[version]));
        assert_eq!(shake_hands(&server, &config).1, HandshakeKind::Full);
        for _ in 0..8 {
            assert_eq!(shake_hands(&server, &config).1, HandshakeKind::Resumed, "{version:?}");
        }
    }
}

#[test]
fn http_1_1_is_agreed_on_and_who_speaks_only_something_else_is_refused() {
    let server = start_tls();
    let mut config = client_config(rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (_, _, protocol) = shake_hands(&server, &Arc::new(config.clone()));
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect_timeout(&address(&server), PATIENCE).unwrap();
    let mut client = RawClient::over_line(Line::tls(socket, &Arc::new(config)), address(&server));
    let told = client.try_send("GET / HTTP/1.1\r\n\r\n").unwrap_err().to_string();
    assert!(told.contains("NoApplicationProtocol"), "{told}");
}

#[test]
fn the_quickest_cipher_of_those_offered_is_taken_whichever_the_client_would_rather_have() {
    let quickest = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ];
    let server = start_tls();
    for (version, quickest) in [&rustls::version::TLS12, &rustls::version::TLS13]
        .into_iter()
        .zip(quickest)
    {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.reverse();
        let config = client_config_by(provider, &[version]);
        let socket = TcpStream::connect_timeout(&address(&server), PATIENCE).unwrap();
        let mut client = RawClient::over_line(Line::tls(socket, &Arc::new(config)), address(&server));
        assert_eq!(client.request("GET /healthz").status, 200);
        let suite = client.session().negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), quickest);
    }
}

#[test]
fn tls_1_0_and_1_1_are_refused_with_an_alert() {
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;
    let server = start_tls();
    for version in [[3, 1], [3, 2]] {
        let mut client = RawClient::connect_by(Wire::Plain, address(&server));
        client.send(client_hello(version));
        assert_eq!(client.read_to_end(), [ALERT, 3, 3, 0, 2, 2, PROTOCOL_VERSION]);
    }
    wait_until(PATIENCE, "they are counted", || {
        server.totals().closed(CloseReason::TlsFailed) == 2
    });
}

/// ACCEPTANCE.md row 8, the other way round.
#[test]
fn what_is_no_tls_gets_an_alert_and_the_end() {
    const DECODE_ERROR: u8 = 50;
    let server = start_tls();
    let inputs = [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        vec![0; 100_000],
        vec![0xff; 6],
        // A record that is longer than any may be.
        [&[22, 3, 1, 0xff, 0xff][..], &vec![1; 70_000]].concat(),
    ];
    for input in &inputs {
        let mut client = RawClient::connect_by(Wire::Plain, address(&server));
        // It may be refused before all of it is sent.
        let _ = client.try_send(input);
        assert_eq!(client.read_to_end()[5..], [2, DECODE_ERROR]);
    }
    assert_eq!(
        RawClient::connect_by(Wire::Tls, address(&server))
            .request("GET /healthz")
            .status,
        200
    );
    wait_until(PATIENCE, "they are counted", || {
        server.totals().closed(CloseReason::TlsFailed) == inputs.len() as u64
    });
}

#[test]
fn a_client_hello_over_the_limit_gets_an_alert_and_the_end() {
    const ALERT: u8 = 21;
    const DECODE_ERROR: u8 = 50;
    const RECORD: [u8; 5] = [22, 3, 1, 0x40, 0];
    let server = start_tls();
    // Two full records of a ClientHello that claims so many bytes.
    let hello = |claim: [u8; 3]| {
        let mut hello = [&RECORD[..], &[7; 0x4000]].concat().repeat(2);
        hello[5] = 1;
        hello[6..9].copy_from_slice(&claim);
        hello
    };
    let whole = hello([0, 0xff, 0xff]);
    assert!(whole.len() > TLS_PARTIAL_MAX_BYTES);
    let inputs = [
        whole,
        hello([1, 0, 0]),
        [&[22, 3, 1, 0, 200, 1, 0xff, 0xff, 0xff][..], &[7; 196]].concat(),
        hello([0xff, 0xff, 0xff])[..RECORD.len() + 0x4000].to_vec(),
        // A record that is longer than its kind may be.
        [&[22, 3, 1, 0x42, 0x68, 1, 0, 0x40, 0][..], &vec![7; 0x4264]].concat(),
    ];
    for (input, pieces) in inputs.iter().flat_map(|input| [(input, 1), (input, 100)]) {
        let mut client = RawClient::connect_by(Wire::Plain, address(&server));
        for piece in input.chunks(input.len().div_ceil(pieces)) {
            // It may be refused before all of it is sent.
            let _ = client.try_send(piece);
        }
        client.finish();
        assert_eq!(
            client.read_to_end(),
            [ALERT, 3, 3, 0, 2, 2, DECODE_ERROR],
            "{:?}",
            &input[..9]
        );
    }
    wait_until(PATIENCE, "they are counted", || {
        server.totals().closed(CloseReason::TlsFailed) == 2 * inputs.len() as u64
    });
}

#[test]
fn handshakes_that_come_all_at_once_are_all_served() {
    const CLIENTS: usize = 200;
    let server = start_with("localhost", |config| config.workers = 1);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = RawClient::connect_by(Wire::Tls, address(&server));
            let mut hello = Vec::new();
            client.session().write_tls(&mut hello).unwrap();
            client.socket().write_all(&hello).unwrap();
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.request("GET /healthz").status, 200);
    }
}

/// A `ClientHello` of this version, as good as it can be (RFC 5246 §7.4.1.2).
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    // ECDHE with ECDSA or RSA, AES; X25519 and P-256, uncompressed points, ECDSA and RSA with SHA-256.
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x2f];
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 6, 0, 4, 4, 3, 4, 1],
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let body = [
        &version[..],
        &[7; 32],
        &[0],
        &length(&suites),
        &suites,
        &[1, 0],
        &length(&extensions),
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&message), &message].concat()
}
