//! The server's side of TLS for one connection, without its socket: ciphertext in and out, plaintext out and in.
//!
//! Here and in the transport above is all that names a TLS connection. Which certificate is shown is
//! [`crate::server::certificate`]'s.

mod clock;

use std::sync::Arc;
use std::time::SystemTime;
use std::{error, fmt};

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{
    NoServerSessionStorage, ResolvesServerCert, ServerConfig, ServerConnectionData, UnbufferedServerConnection,
};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::version::{TLS12, TLS13};

use self::clock::{DatedTickets, TlsClock};
use crate::server::limits::{TLS_PARTIAL_MAX_BYTES, TLS_RECORD_BYTES, TLS_RECORD_OVERHEAD_BYTES, TLS_SEALED_MAX_BYTES};

/// What TLS connections begin with: versions 1.2 and 1.3, HTTP/1.1, resumption by tickets that any worker can read.
///
/// A ticket holds the whole of a session under a key that changes every six hours, so nothing is kept for it here.
/// There is no early data: it could be replayed, and a message posted twice.
#[derive(Debug, Clone)]
pub struct TlsAcceptor(Arc<ServerConfig>);

impl TlsAcceptor {
    /// An acceptor that shows what `certificate` has at the time of each handshake, and judges the age of its tickets
    /// by `wall_clock`.
    ///
    /// # Errors
    /// There are no random bytes for the tickets' key.
    pub fn new(
        certificate: Arc<dyn ResolvesServerCert>,
        wall_clock: fn() -> SystemTime,
    ) -> Result<Self, rustls::Error> {
        let mut provider = aws_lc_rs::default_provider();
        // Those with SHA-256 first, which processors have instructions for: with SHA-384 a handshake takes three tenths
        // more.
        provider.cipher_suites.sort_by_key(hash_bytes);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let clock = TlsClock(wall_clock);
        config.ticketer = Arc::new(DatedTickets {
            tickets: Ticketer::new()?,
            clock,
        });
        config.time_provider = Arc::new(clock);
        config.send_tls13_tickets = 1;
        // All of them are strong, so it is the server's order that counts, and not the client's.
        config.ignore_client_order = true;
        Ok(Self(Arc::new(config)))
    }
}

fn hash_bytes(suite: &SupportedCipherSuite) -> usize {
    match suite {
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider.output_len(),
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.output_len(),
    }
}

/// One TLS connection.
///
/// Calling contract:
/// 1. [`Tls::receive`] is given what [`Tls::partial`] has and what came after it, until it fails or
///    [`Tls::has_peer_ended`]. After a failure only [`Tls::unsent`] and [`Tls::sent`] are called.
/// 2. [`Tls::seal`] is given plaintext that is to be sent: each time all that [`Tls::sent`] has not counted yet, in the
///    same order, with anything new at its end. Then what [`Tls::unsent`] gives is sent, and [`Tls::sent`] given how
///    much went.
/// 3. So it is after [`Tls::end`].
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// The start of a record whose rest hasn't come, or the records with the start of a handshake message.
    partial: Vec<u8>,
    /// Records that the kernel hasn't taken.
    sealed: Vec<u8>,
    /// How many bytes of the plaintext that is to be sent are in `sealed`.
    sealed_plaintext: usize,
    has_peer_ended: bool,
    /// The peer has been sent something of the handshake, so that there may be keys.
    has_answered: bool,
}

/// A fatal alert before there are any keys (RFC 8446 §6): the `ClientHello` is longer than it may be. rustls makes none
/// for a message or record whose length alone it refuses, nor for what is refused here.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// The bytes are no TLS that is spoken here, or what was agreed on is broken.
#[derive(Debug)]
pub struct TlsError(rustls::Error);

impl Tls {
    /// A connection that has just been accepted.
    ///
    /// # Errors
    /// None with a configuration that rustls takes.
    pub fn new(acceptor: &TlsAcceptor) -> Result<Self, TlsError> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(Arc::clone(&acceptor.0)).map_err(TlsError)?,
            partial: Vec::new(),
            sealed: Vec::new(),
            sealed_plaintext: 0,
            has_peer_ended: false,
            has_answered: false,
        })
    }

    /// Whether no plaintext can be sent yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the keys have been agreed on, which is most of the work of a handshake.
    #[must_use]
    pub fn has_agreed_keys(&self) -> bool {
        self.connection.negotiated_key_exchange_group().is_some()
    }

    /// Whether the peer has said that it sends no more, and all that it sent has been given out.
    #[must_use]
    pub fn has_peer_ended(&self) -> bool {
        self.has_peer_ended
    }

    /// What came earlier and couldn't be understood without what is to come, at most [`TLS_PARTIAL_MAX_BYTES`].
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Takes ciphertext, its own partial first, and adds what it says to `plaintext`, which never is longer. What is to
    /// be answered is [`Tls::unsent`].
    ///
    /// # Errors
    /// The connection is over. The alert for the peer, if there is one, is [`Tls::unsent`].
    pub fn receive(&mut self, ciphertext: &mut [u8], plaintext: &mut Vec<u8>) -> Result<(), TlsError> {
        self.partial = Vec::new();
        let understood = self.open(ciphertext, plaintext).inspect_err(|_| self.fail())?;
        let partial = &ciphertext[understood..];
        if self.has_peer_ended {
            // Nothing counts after the peer's end (RFC 8446 §6.1).
            return Ok(());
        }
        if partial.len() > TLS_PARTIAL_MAX_BYTES {
            self.fail();
            return Err(TlsError(rustls::Error::PeerSentOversizedRecord));
        }
        self.partial = partial.to_vec();
        Ok(())
    }

    /// Makes records of plaintext that isn't in any yet, unless the handshake is still under way, and as long as less
    /// than [`TLS_SEALED_MAX_BYTES`] wait to be sent.
    ///
    /// # Errors
    /// The connection can carry no more.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<(), TlsError> {
        while self.sealed_plaintext < plaintext.len()
            && self.sealed.len() < TLS_SEALED_MAX_BYTES
            && !self.is_handshaking()
        {
            let rest = &plaintext[self.sealed_plaintext..];
            let piece = &rest[..rest.len().min(TLS_RECORD_BYTES)];
            self.write(piece.len() + TLS_RECORD_OVERHEAD_BYTES, |traffic, room| {
                traffic.encrypt(piece, room)
            })?;
            self.sealed_plaintext += piece.len();
        }
        Ok(())
    }

    /// Announces that no more will be sent; a handshake that isn't over just ends.
    pub fn end(&mut self) {
        if !self.is_handshaking() {
            // With nothing more to send, there is nothing to be done about it either.
            let _ = self.write(TLS_RECORD_OVERHEAD_BYTES, |traffic, room| {
                traffic.queue_close_notify(room)
            });
        }
    }

    /// Ciphertext to send, oldest first.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.sealed
    }

    /// Bytes of memory that hold ciphertext: what has come in part, and what the kernel hasn't taken.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.sealed.capacity()
    }

    /// The kernel took `count` bytes of [`Tls::unsent`]. Returns how many bytes of plaintext have left with them.
    ///
    /// What leaves in the middle of a record counts for its share, so that a slow peer is seen to take something; the
    /// last byte of plaintext counts with the last one of ciphertext.
    pub fn sent(&mut self, count: usize) -> usize {
        let plaintext = (self.sealed_plaintext * count)
            .checked_div(self.sealed.len())
            .unwrap_or(0);
        self.sealed_plaintext -= plaintext;
        if count == self.sealed.len() {
            self.sealed.clear();
        } else {
            self.sealed.drain(..count);
        }
        plaintext
    }

    /// Moves what is [`Tls::unsent`] into `buffer`, and works there until [`Tls::give_back`].
    pub(super) fn lend(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.append(&mut self.sealed);
        std::mem::swap(&mut self.sealed, buffer);
    }

    /// Gives back what [`Tls::lend`] took, and keeps a copy of what has not been sent: mostly nothing, which takes no
    /// memory.
    pub(super) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        let unsent = self.sealed.as_slice().to_vec();
        *buffer = std::mem::replace(&mut self.sealed, unsent);
    }

    /// Returns how many bytes of the ciphertext are done with.
    fn open(&mut self, ciphertext: &mut [u8], plaintext: &mut Vec<u8>) -> Result<usize, TlsError> {
        let mut done = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut ciphertext[done..]);
            let mut goes_on = true;
            match state.map_err(TlsError)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(TlsError)?;
                        plaintext.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(data) => {
                    self.has_answered = true;
                    encode(data, &mut self.sealed)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.has_peer_ended = true,
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed => {
                    goes_on = false;
                }
                // Early data, which was not offered.
                _ => return Err(TlsError(rustls::Error::HandshakeNotComplete)),
            }
            done += discard;
            if !goes_on {
                return Ok(done);
            }
        }
    }

    /// Has the peer get an alert, if there is one for it.
    fn fail(&mut self) {
        self.take_alert();
        if !self.has_answered && self.sealed.is_empty() {
            self.sealed.extend_from_slice(&DECODE_ERROR);
        }
    }

    /// Takes what rustls has to say of a failure. It looks at no input before it has given out all output.
    fn take_alert(&mut self) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) = self.connection.process_tls_records(&mut []).state else {
                return;
            };
            if encode(data, &mut self.sealed).is_err() {
                return;
            }
        }
    }

    /// Has `write` add to the ciphertext, in `room` or as much more as it asks for.
    fn write(
        &mut self,
        mut room: usize,
        write: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            // It must be shown the input that it knows of, in which there is nothing new.
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.partial);
            match state.map_err(TlsError)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = self.sealed.len();
                    self.sealed.resize(start + room, 0);
                    let written = write(&mut traffic, &mut self.sealed[start..]);
                    self.sealed
                        .truncate(start + written.as_ref().map_or(0, |written| *written));
                    match written {
                        Ok(_) => return Ok(()),
                        Err(EncryptError::InsufficientSize(needed)) if needed.required_size > room => {
                            room = needed.required_size;
                        }
                        Err(_) => return Err(TlsError(rustls::Error::EncryptError)),
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.sealed)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(TlsError(rustls::Error::EncryptError)),
            }
            self.partial.drain(..discard);
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, sealed: &mut Vec<u8>) -> Result<(), TlsError> {
    let start = sealed.len();
    // It reports how much room it needs when it has none.
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        _ => return Err(TlsError(rustls::Error::EncryptError)),
    };
    sealed.resize(start + needed, 0);
    match data.encode(&mut sealed[start..]) {
        Ok(_) => Ok(()),
        Err(_) => Err(TlsError(rustls::Error::EncryptError)),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_handshaking", &self.is_handshaking())
            .field("has_peer_ended", &self.has_peer_ended)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl error::Error for TlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}
