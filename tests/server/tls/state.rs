//! The server's half of TLS without a socket: bytes in any pieces, and a kernel that takes what it likes.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use npchat::server::certificate::{CurrentCertificate, load};
use npchat::server::limits::{TLS_PARTIAL_MAX_BYTES, TLS_RECORD_BYTES, TLS_SEALED_MAX_BYTES};
use npchat::server::transport::tls::{Tls, TlsAcceptor};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ProtocolVersion, SupportedProtocolVersion};
use testkit::{certificate_files, client_config};

/// A client and a server with nothing between them.
struct Pair {
    client: ClientConnection,
    server: Tls,
}

impl Pair {
    /// Before the handshake.
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let certified = load(&certificate_files("localhost"), SystemTime::now())
            .unwrap()
            .certified;
        let acceptor = TlsAcceptor::new(Arc::new(CurrentCertificate::new(certified)), SystemTime::now).unwrap();
        let config = Arc::new(client_config(&[version]));
        Self {
            client: ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap(),
            server: Tls::new(&acceptor).unwrap(),
        }
    }

    /// After the handshake.
    fn open(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        while pair.client.is_handshaking() || pair.server.is_handshaking() {
            assert_eq!(pair.arrive(usize::MAX), b"");
            let flight = pair.take(usize::MAX).0;
            assert_eq!(pair.deliver(&flight), b"");
        }
        pair
    }

    /// What the client sends, in the clear, when it arrives in pieces of this length.
    fn arrive(&mut self, piece: usize) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut flight).unwrap();
        }
        let mut plaintext = Vec::new();
        for piece in flight.chunks(piece.min(flight.len()).max(1)) {
            self.receive(piece, &mut plaintext).unwrap();
        }
        plaintext
    }

    fn receive(&mut self, piece: &[u8], plaintext: &mut Vec<u8>) -> Result<(), String> {
        let mut ciphertext = [self.server.partial(), piece].concat();
        let received = self.server.receive(&mut ciphertext, plaintext);
        assert!(self.server.partial().len() <= TLS_PARTIAL_MAX_BYTES);
        received.map_err(|error| error.to_string())
    }

    /// The kernel takes so much: returns the ciphertext, and how much of the plaintext has left with it.
    fn take(&mut self, length: usize) -> (Vec<u8>, usize) {
        let taken = self.server.unsent();
        let taken = taken[..length.min(taken.len())].to_vec();
        let left = self.server.sent(taken.len());
        (taken, left)
    }

    /// What reaches the client, in the clear.
    fn deliver(&mut self, mut flight: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::new();
        while !flight.is_empty() {
            self.client.read_tls(&mut flight).unwrap();
            self.client.process_new_packets().unwrap();
            // It ends with what has come.
            let _ = self.client.reader().read_to_end(&mut plaintext);
        }
        plaintext
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| b"0123456789abcdefghijklm"[place % 23])
        .collect()
}

#[test]
fn however_the_ciphertext_is_cut_the_plaintext_is_the_same() {
    for version in [&TLS12, &TLS13] {
        for piece in [1, 2, 3, 5, 7, 100, 1000, 16_389, usize::MAX] {
            let mut pair = Pair::new(version);
            let mut heard = Vec::new();
            while pair.client.is_handshaking() {
                heard.extend(pair.arrive(piece));
                let flight = pair.take(usize::MAX).0;
                pair.deliver(&flight);
            }
            let said = text(40_000);
            pair.client.writer().write_all(&said).unwrap();
            heard.extend(pair.arrive(piece));
            assert!(heard == said, "{version:?} in pieces of {piece}");
            assert_eq!(pair.server.partial(), b"");
        }
    }
}

#[test]
fn what_is_sealed_counts_as_it_leaves_and_all_of_it_when_all_has_left() {
    const LENGTH: usize = 60_000;
    for version in [&TLS12, &TLS13] {
        for piece in [1, 50, 999, 20_000, usize::MAX] {
            let mut pair = Pair::open(version);
            let (mut to_send, mut sent, mut read) = (text(LENGTH), 0, Vec::new());
            while !to_send.is_empty() || !pair.server.unsent().is_empty() {
                pair.server.seal(&to_send).unwrap();
                assert!(pair.server.unsent().len() < TLS_SEALED_MAX_BYTES + TLS_RECORD_BYTES + 1024);
                let (taken, left) = pair.take(piece);
                assert!(left <= taken.len(), "no more leaves than is taken");
                to_send.drain(..left);
                sent += left;
                read.extend(pair.deliver(&taken));
                assert!(sent <= LENGTH && read.len() <= LENGTH);
                if pair.server.unsent().is_empty() {
                    assert_eq!(sent, read.len());
                }
            }
            assert!(read == text(LENGTH), "{version:?} in pieces of {piece}");
        }
    }
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_over() {
    let mut pair = Pair::new(&TLS13);
    pair.server.seal(b"too early").unwrap();
    assert_eq!(pair.server.unsent(), b"");
    pair.arrive(usize::MAX);
    let flight = pair.server.unsent().len();
    pair.server.seal(b"too early").unwrap();
    assert_eq!(pair.server.unsent().len(), flight);
    assert_eq!(pair.take(usize::MAX).1, 0);
}

#[test]
fn the_peers_end_comes_after_all_it_said_and_what_follows_is_nothing() {
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"the last word").unwrap();
        pair.client.send_close_notify();
        let mut flight = Vec::new();
        pair.client.write_tls(&mut flight).unwrap();
        flight.extend_from_slice(&[0xff; 1000]);
        let mut plaintext = Vec::new();
        assert_eq!(pair.receive(&flight, &mut plaintext), Ok(()));
        assert_eq!(plaintext, b"the last word");
        assert!(pair.server.has_peer_ended());
        // It still hears what it is owed.
        pair.server.seal(b"and the answer").unwrap();
        pair.server.end();
        let flight = pair.take(usize::MAX).0;
        assert_eq!(pair.deliver(&flight), b"and the answer");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn new_keys_may_be_asked_for_but_not_without_end() {
    let mut pair = Pair::open(&TLS13);
    assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for number in 0..100 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(b"question").unwrap();
        assert_eq!(pair.arrive(7), b"question");
        pair.server.seal(b"answer").unwrap();
        let (flight, left) = pair.take(usize::MAX);
        assert_eq!((left, pair.deliver(&flight)), (6, b"answer".to_vec()), "{number}");
    }
    let mut flood = Vec::new();
    for _ in 0..100 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.write_tls(&mut flood).unwrap();
    }
    let told = pair.receive(&flood, &mut Vec::new()).unwrap_err();
    assert!(told.contains("TooManyKeyUpdateRequests"), "{told}");
    assert!(pair.server.unsent().len() < 1024, "one answer for all of them, at most");
}

#[test]
fn a_handshake_message_that_is_endless_or_cut_small_is_bounded() {
    // A ClientHello of 16 MiB, as its header says, in records of 1000 bytes.
    let mut pair = Pair::new(&TLS13);
    let record = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, bytes].concat()
    };
    let mut input = record(&[1, 0xff, 0xff, 0xff]);
    input.extend(record(&[0; 1000]).repeat(100));
    assert!(
        input
            .chunks(100)
            .any(|piece| pair.receive(piece, &mut Vec::new()).is_err())
    );
    // One of 30,000 bytes is no longer than may be, but longer than is waited for.
    let mut pair = Pair::new(&TLS13);
    let mut input = record(&[1, 0, 0x75, 0x30]);
    input.extend(record(&[0; 1000]).repeat(29));
    assert!(
        input
            .chunks(100)
            .any(|piece| pair.receive(piece, &mut Vec::new()).is_err())
    );
    // A good one, a byte a record.
    let mut pair = Pair::new(&TLS13);
    let mut hello = Vec::new();
    pair.client.write_tls(&mut hello).unwrap();
    for byte in &hello[5..] {
        pair.receive(&record(&[*byte]), &mut Vec::new()).unwrap();
    }
    assert!(!pair.server.unsent().is_empty(), "it is answered");
}
