//! TLS as a client has it: which certificates it trusts, whether it resumes, and how many handshakes of each
//! kind there were.
//!
//! The bytes on a connection are [`crate::wire`]'s.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, RootCertStore,
    SignatureScheme,
};
use serde::{Deserialize, Serialize};

use crate::report::Section;

const ALPN: &[u8] = b"http/1.1";
/// Tickets that are kept at most.
const TICKETS: usize = 65_536;

/// How a client uses TLS.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[group(skip)]
pub(crate) struct Options {
    /// Certificates (PEM) of the authorities of the server, or its own
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cafile: Option<PathBuf>,
    /// Take any certificate
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Resume TLS sessions; otherwise each handshake is a full one
    #[arg(long, global = true)]
    pub(crate) resume: bool,
}

/// How connections to one server become secure.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    handshakes: Arc<Handshakes>,
}

#[derive(Debug, Default)]
struct Handshakes {
    full: AtomicU64,
    resumed: AtomicU64,
}

impl Tls {
    /// For the server of this name or address.
    ///
    /// # Errors
    /// What is wrong with the name, the options, or the file.
    pub(crate) fn new(host: &str, options: &Options) -> Result<Self, String> {
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("{host}: {error}"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut verifier = Verifier {
            trusted: Vec::new(),
            authorities: None,
            provider: Arc::clone(&provider),
        };
        match &options.cafile {
            _ if options.insecure => {}
            Some(cafile) => verifier
                .trust(cafile)
                .map_err(|error| format!("{}: {error}", cafile.display()))?,
            None => return Err("https needs --cafile or --insecure".to_owned()),
        }
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = if options.resume {
            Resumption::store(Arc::new(Tickets::default()))
        } else {
            Resumption::disabled()
        };
        Ok(Self {
            config: Arc::new(config),
            name,
            handshakes: Arc::default(),
        })
    }

    /// A connection that has sent nothing yet.
    pub(crate) fn connect(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// A handshake is done.
    pub(crate) fn count(&self, kind: Option<HandshakeKind>) {
        let counter = match kind {
            Some(HandshakeKind::Resumed) => &self.handshakes.resumed,
            _ => &self.handshakes.full,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many handshakes were full, and how many resumed a session.
    pub(crate) fn handshakes(&self) -> [u64; 2] {
        [&self.handshakes.full, &self.handshakes.resumed].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Tells all that there were.
    pub(crate) fn report(&self, section: &mut Section) {
        let [full, resumed] = self.handshakes();
        section.count("handshakes_full", full);
        section.count("handshakes_resumed", resumed);
    }
}

/// What sessions can be resumed with. All connections are to one server, which many of them resume at once: more
/// tickets are kept than a browser has use for.
#[derive(Debug, Default)]
struct Tickets {
    tls13: Mutex<VecDeque<Tls13ClientSessionValue>>,
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    group: Mutex<Option<NamedGroup>>,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.tls13.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS {
            tickets.push_back(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Takes certificates that authorities have issued for the server's name, and those in the file itself, whatever is in
/// them: what `openssl req -x509` makes by default is an authority's own (RFC 5280 §4.2.1.9), which no server may show
/// otherwise. Without authorities it takes any. The server has to have the certificate's key in any case.
#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn trust(&mut self, cafile: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        self.trusted = CertificateDer::pem_file_iter(cafile)?.collect::<Result<_, _>>()?;
        for root in &self.trusted {
            roots.add(root.clone())?;
        }
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        self.authorities = Some(builder.build()?);
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.authorities {
            Some(authorities) if !self.trusted.contains(own) => {
                authorities.verify_server_cert(own, intermediates, name, ocsp_response, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
