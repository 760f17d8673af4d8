//! The server's half of TLS without a socket: any bytes before, in and after a handshake, cut anywhere, and a kernel
//! that takes what it likes. Nothing panics, nothing grows beyond its cap, and what was not tampered with arrives
//! whole, both ways.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use npchat::server::certificate::{CurrentCertificate, load};
use npchat::server::config::CertificateFiles;
use npchat::server::limits::{
    TLS_PARTIAL_MAX_BYTES, TLS_RECORD_BYTES, TLS_RECORD_OVERHEAD_BYTES, TLS_SEALED_MAX_BYTES,
};
use npchat::server::transport::tls::{Tls, TlsAcceptor};
use npchat_fuzz::Cuts;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    is_tls_1_2: bool,
    ops: Vec<Op<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Op<'a> {
    /// The client, or somebody in its place, sends these bytes as they are.
    Raw(&'a [u8]),
    /// The client's next flight arrives, in the pieces of the cuts.
    Arrive,
    /// The same, with one bit changed.
    Tamper { at: u16, bit: u8 },
    /// The client has this to say.
    Say { length: u16 },
    /// The client asks for new keys.
    Rekey,
    /// The client says that it ends.
    Close,
    /// The server has this to say.
    Answer { length: u16 },
    /// The kernel takes so many bytes.
    Take { length: u16 },
    /// All that was taken reaches the client.
    Deliver,
    /// The server says that it ends.
    End,
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
const OPS_MAX: usize = 64;
/// Records that are begun before the cap, and a few words of the handshake.
const UNSENT_MAX_BYTES: usize = TLS_SEALED_MAX_BYTES + TLS_RECORD_BYTES + TLS_RECORD_OVERHEAD_BYTES + 16 * 1024;

static ACCEPTOR: LazyLock<TlsAcceptor> = LazyLock::new(|| {
    let files = CertificateFiles {
        certificate: format!("{FIXTURES}/localhost.cert.pem").into(),
        private_key: format!("{FIXTURES}/localhost.key.pem").into(),
    };
    let certified = load(&files, SystemTime::now()).unwrap().certified;
    TlsAcceptor::new(Arc::new(CurrentCertificate::new(certified)), SystemTime::now).unwrap()
});

static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> = LazyLock::new(|| {
    let config = |version: &'static SupportedProtocolVersion| {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(format!("{FIXTURES}/ca.cert.pem")).unwrap();
        roots.add(authority).unwrap();
        let versions = ClientConfig::builder_with_protocol_versions(&[version]);
        Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
    };
    [config(&TLS13), config(&TLS12)]
});

/// Both ends, and what is on its way between them.
struct Line {
    client: ClientConnection,
    server: Tls,
    cuts: Cuts,
    /// The server has failed or been told to end.
    is_over: bool,
    /// Somebody has put in bytes of his own, or the client has done what ends a connection.
    is_tampered: bool,
    has_client_failed: bool,
    has_client_ended: bool,
    rekeys: usize,
    said: usize,
    heard: usize,
    /// What the server has to send and that hasn't left, and what has.
    to_answer: Vec<u8>,
    answered: usize,
    taken: Vec<u8>,
    read: usize,
}

fuzz_target!(|input: Input<'_>| {
    let name = ServerName::try_from("localhost").unwrap();
    let config = Arc::clone(&CLIENTS[usize::from(input.is_tls_1_2)]);
    let mut line = Line {
        client: ClientConnection::new(config, name).unwrap(),
        server: Tls::new(&ACCEPTOR).unwrap(),
        cuts: input.cuts,
        is_over: false,
        is_tampered: false,
        has_client_failed: false,
        has_client_ended: false,
        rekeys: 0,
        said: 0,
        heard: 0,
        to_answer: Vec::new(),
        answered: 0,
        taken: Vec::new(),
        read: 0,
    };
    for op in input.ops.iter().take(OPS_MAX) {
        line.apply(op);
    }
    line.finish();
});

impl Line {
    fn apply(&mut self, op: &Op<'_>) {
        match op {
            Op::Raw(bytes) => {
                self.is_tampered |= !bytes.is_empty();
                self.arrive(bytes);
            }
            Op::Arrive => {
                let flight = self.flight();
                self.arrive(&flight);
            }
            Op::Tamper { at, bit } => {
                let mut flight = self.flight();
                let at = usize::from(*at) % flight.len().max(1);
                if let Some(byte) = flight.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                    self.is_tampered = true;
                }
                self.arrive(&flight);
            }
            // Nothing counts after the client's end, though its TLS would still seal it.
            Op::Say { .. } if self.has_client_ended => {}
            Op::Say { length } => {
                let message: Vec<u8> = pattern(self.said, (*length).into());
                // It takes no more than its buffer holds.
                self.said += std::io::Write::write(&mut self.client.writer(), &message).unwrap_or(0);
            }
            Op::Rekey => {
                // Before the handshake is over, and with TLS 1.2, there is no such thing.
                self.rekeys += usize::from(self.client.refresh_traffic_keys().is_ok());
                // As often as that it may be too often.
                self.is_tampered |= self.rekeys > 32;
            }
            Op::Close => {
                // Who ends before both have seen the end of the handshake gives it up, and all that it has said so far.
                self.is_tampered |= self.server.is_handshaking() || self.client.is_handshaking();
                self.has_client_ended = true;
                self.client.send_close_notify();
            }
            Op::Answer { length } => {
                let start = self.answered + self.to_answer.len();
                self.to_answer.extend(pattern(start, (*length).into()));
                self.seal();
            }
            Op::Take { length } => self.take((*length).into()),
            Op::Deliver => self.deliver(),
            Op::End => self.end(),
        }
    }

    /// What the client sends now.
    fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut flight).unwrap();
        }
        flight
    }

    fn arrive(&mut self, bytes: &[u8]) {
        for piece in self.cuts.pieces(bytes) {
            if self.is_over || self.server.has_peer_ended() {
                return;
            }
            let mut ciphertext = [self.server.partial(), piece].concat();
            let mut plaintext = Vec::new();
            let result = self.server.receive(&mut ciphertext, &mut plaintext);
            assert!(plaintext.len() <= ciphertext.len(), "plaintext out of nothing");
            self.is_over = result.is_err();
            if self.is_over {
                assert!(self.is_tampered, "{result:?}");
            } else {
                assert_eq!(plaintext, pattern(self.heard, plaintext.len()));
                self.heard += plaintext.len();
                assert!(self.server.partial().len() <= TLS_PARTIAL_MAX_BYTES);
            }
            assert!(self.server.unsent().len() <= UNSENT_MAX_BYTES);
        }
    }

    fn seal(&mut self) {
        if !self.is_over {
            self.server.seal(&self.to_answer).unwrap();
            assert!(self.server.unsent().len() <= UNSENT_MAX_BYTES);
        }
    }

    fn end(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.server.end();
            assert!(self.server.unsent().len() <= UNSENT_MAX_BYTES);
        }
    }

    fn take(&mut self, length: usize) {
        let unsent = self.server.unsent();
        let length = length.min(unsent.len());
        self.taken.extend_from_slice(&unsent[..length]);
        let left = self.server.sent(length);
        assert!(left <= self.to_answer.len(), "what was not there has left");
        assert!(length > 0 || left == 0, "nothing was taken, and something has left");
        self.to_answer.drain(..left);
        self.answered += left;
    }

    fn deliver(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        // An alert after the client's end would trip an assertion of rustls.
        if self.has_client_ended && self.is_tampered {
            return;
        }
        let mut rest = &taken[..];
        while !rest.is_empty() && !self.has_client_failed {
            // A client that has been told of the end takes no more.
            if self.client.read_tls(&mut rest).unwrap_or(0) == 0 {
                return;
            }
            let result = self.client.process_new_packets();
            assert!(result.is_ok() || self.is_tampered, "{result:?}");
            self.has_client_failed = result.is_err();
            let mut bytes = Vec::new();
            // It ends with what has come.
            let _ = std::io::Read::read_to_end(&mut self.client.reader(), &mut bytes);
            assert_eq!(bytes, pattern(self.read, bytes.len()));
            self.read += bytes.len();
        }
    }

    /// Lets all arrive that was said, on both sides, and checks that it has; then that the server's end does.
    fn finish(mut self) {
        for _ in 0..8 {
            self.apply(&Op::Arrive);
            for _ in 0..64 {
                self.seal();
                self.take(usize::MAX);
                self.deliver();
            }
        }
        if !self.is_tampered {
            assert_eq!(self.read, self.answered);
            // Who has ended hears no more, and sends only what was sealed before.
            if !self.is_over {
                assert_eq!(self.heard, self.said);
                assert!(self.to_answer.is_empty());
            }
        }
        self.end();
        self.take(usize::MAX);
        self.deliver();
        if !self.is_tampered && !self.server.is_handshaking() {
            assert!(self.client.process_new_packets().unwrap().peer_has_closed());
        }
    }
}

/// So many bytes of one endless text, from a place in it.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|place| (place % 251) as u8).collect()
}
