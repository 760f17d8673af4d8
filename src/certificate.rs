//! Loads a certificate chain and its private key from PEM files, checks that they belong together and can still be used,
//! and holds the ones that new handshakes show.
//!
//! Nothing here speaks TLS, and a certificate's names and its issuer are its clients' to judge.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use std::{error, fmt, io};

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::CertificateFiles;

/// A longer file is neither a chain nor a key.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A certificate with its key, as new handshakes show it. Whoever renews it disturbs no connection that there is.
#[derive(Debug)]
pub struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    /// Starts with this one.
    #[must_use]
    pub fn new(certified: Arc<CertifiedKey>) -> Self {
        Self(RwLock::new(certified))
    }

    /// From now on it is this one.
    pub fn renew(&self, certified: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }
}

impl ResolvesServerCert for CurrentCertificate {
    /// The one there is, whatever name the client asks for.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Loads the chain, the server's own certificate first, and the key: PKCS#8, PKCS#1 or SEC1, not encrypted. The
/// certificate must be valid beyond `now`.
///
/// # Errors
///
/// Which of the files can't be used, and why.
pub fn load(files: &CertificateFiles, now: SystemTime) -> Result<Arc<CertifiedKey>, CertificateError> {
    let CertificateFiles {
        certificate,
        private_key,
    } = files;
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::new(certificate, Problem::Pem(error)))?;
    let Some(own) = chain.first() else {
        return Err(CertificateError::new(certificate, Problem::NoCertificate));
    };
    let expiry = not_after(own);
    let key = PrivateKeyDer::from_pem_slice(&read(private_key)?).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => Problem::NoPrivateKey,
            error => Problem::Pem(error),
        };
        CertificateError::new(private_key, problem)
    })?;
    let key = any_supported_type(&key).map_err(|_| CertificateError::new(private_key, Problem::UnsupportedKey))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::new(private_key, Problem::Mismatch)),
        Err(error) => return Err(CertificateError::new(certificate, Problem::Certificate(Some(error)))),
    }
    let expiry = expiry.map_err(|_| CertificateError::new(certificate, Problem::Certificate(None)))?;
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if expiry < since_1970 {
        let expired = SystemTime::UNIX_EPOCH.checked_add(expiry).unwrap_or(now);
        return Err(CertificateError::new(certificate, Problem::Expired(expired)));
    }
    Ok(Arc::new(certified))
}

/// The last second in which a certificate is valid, since 1970: the second of the times that follow version, serial number,
/// algorithm and issuer (RFC 5280 §4.1).
fn not_after(certificate: &CertificateDer<'_>) -> der::Result<Duration> {
    let mut certificate = sequence(AnyRef::from_der(certificate)?)?;
    let mut signed = sequence(certificate.decode()?)?;
    let first: AnyRef<'_> = signed.decode()?;
    // Version 1 is left out.
    let others = if first.tag() == Tag::Integer { 2 } else { 3 };
    for _ in 0..others {
        signed.decode::<AnyRef<'_>>()?;
    }
    let mut validity = sequence(signed.decode()?)?;
    validity.decode::<AnyRef<'_>>()?;
    let not_after: AnyRef<'_> = validity.decode()?;
    Ok(match not_after.tag() {
        Tag::UtcTime => not_after.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => not_after.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    })
}

fn sequence(any: AnyRef<'_>) -> der::Result<SliceReader<'_>> {
    any.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(any.value())
}

/// A file that can't be used, and why. Displayed on one line.
#[derive(Debug)]
pub struct CertificateError {
    file: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    TooLarge,
    Pem(pem::Error),
    NoCertificate,
    NoPrivateKey,
    UnsupportedKey,
    Mismatch,
    Certificate(Option<rustls::Error>),
    /// Since then.
    Expired(SystemTime),
}

impl CertificateError {
    fn new(file: &Path, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            problem,
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "{error}"),
            Problem::TooLarge => write!(f, "larger than {FILE_MAX_BYTES} bytes"),
            // The crate's own text would show what stands in the file.
            Problem::Pem(_) => f.write_str("malformed PEM"),
            Problem::NoCertificate => f.write_str("no certificate in PEM form found"),
            Problem::NoPrivateKey => f.write_str("no private key in PEM form found, or an encrypted one"),
            Problem::UnsupportedKey => f.write_str("the private key is malformed or of a kind that is not supported"),
            Problem::Mismatch => f.write_str("the private key does not belong to the certificate"),
            // The crate's own text would speak of a peer.
            Problem::Certificate(_) => {
                f.write_str("the certificate is malformed or of a version that is not supported")
            }
            Problem::Expired(since) => {
                write!(
                    f,
                    "the certificate expired at {}",
                    humantime::format_rfc3339_seconds(*since)
                )
            }
        }
    }
}

impl error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::Pem(error) => Some(error),
            Problem::Certificate(Some(error)) => Some(error),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let fail = |problem| CertificateError::new(path, problem);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(Problem::Unreadable(error)))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(fail(Problem::TooLarge));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_at(name: &str, time: &str) -> Result<(), String> {
        let fixture = |name: &str| Path::new("tests/fixtures").join(name);
        let files = CertificateFiles {
            certificate: fixture(&format!("{name}.cert.pem")),
            private_key: fixture("localhost.key.pem"),
        };
        let loaded = load(&files, humantime::parse_rfc3339(time).unwrap());
        loaded.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_is_good_to_its_last_second() {
        assert_eq!(load_at("expired", "2024-01-01T00:00:00Z"), Ok(()));
        let late = "tests/fixtures/expired.cert.pem: the certificate expired at 2024-01-01T00:00:00Z";
        assert_eq!(load_at("expired", "2024-01-01T00:00:01Z"), Err(late.to_owned()));
        // From 2050 on, the time has another form.
        assert_eq!(load_at("localhost", "2125-01-01T00:00:00Z"), Ok(()));
        let late = "tests/fixtures/localhost.cert.pem: the certificate expired at 2125-01-01T00:00:00Z";
        assert_eq!(load_at("localhost", "2125-01-01T00:00:01Z"), Err(late.to_owned()));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let certificate = CertificateDer::from_pem_file("tests/fixtures/localhost.cert.pem").unwrap();
        for length in 0..certificate.len() {
            assert!(not_after(&CertificateDer::from(&certificate[..length])).is_err());
        }
    }
}
