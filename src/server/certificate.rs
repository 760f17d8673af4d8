//! Loads a certificate chain and its private key from PEM files, checks that they belong together and can still be
//! used, and holds the ones that new handshakes show.
//!
//! Nothing here speaks TLS, and a certificate's names and its issuer are its clients' to judge.

mod validity;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use std::{error, fmt, io};

use memchr::memmem;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use self::validity::{Remaining, Validity};
use crate::server::config::CertificateFiles;

/// A longer file is neither a chain nor a key.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A certificate with its key, as new handshakes show it. A renewal disturbs no open connection.
#[derive(Debug)]
pub struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    /// Starts with this one.
    #[must_use]
    pub fn new(certified: Arc<CertifiedKey>) -> Self {
        Self(RwLock::new(certified))
    }

    /// The one that new handshakes show now.
    #[must_use]
    pub fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is this one.
    pub fn renew(&self, certified: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }
}

impl ResolvesServerCert for CurrentCertificate {
    /// The one there is, whatever name the client asks for.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

/// A chain and a key that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For new handshakes.
    pub certified: Arc<CertifiedKey>,
    /// Of the server's own certificate. It may not have begun.
    pub validity: Validity,
}

/// Loads the chain, the server's own certificate first, and the key: PKCS#8, PKCS#1 or SEC1, not encrypted. The
/// certificate must be valid beyond `now`, but it needn't be valid yet.
///
/// # Errors
///
/// Which of the files can't be used, and why.
pub fn load(files: &CertificateFiles, now: SystemTime) -> Result<Loaded, CertificateError> {
    let CertificateFiles {
        certificate,
        private_key,
    } = files;
    let wrong = |problem| CertificateError::new(certificate, problem);
    // rustls can't represent a time before that, and how long this certificate is still valid can't be said either.
    if now < SystemTime::UNIX_EPOCH {
        return Err(wrong(Problem::ClockBefore1970));
    }
    let chain = chain(&read(certificate)?).map_err(wrong)?;
    let own = chain.first().ok_or_else(|| wrong(Problem::NoCertificate))?;
    let validity = Validity::of(own);
    let wrong_key = |problem| CertificateError::new(private_key, problem);
    let key = private_key_in(&read(private_key)?).map_err(wrong_key)?;
    let key = any_supported_type(&key).map_err(|_| wrong_key(Problem::UnsupportedKey))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(wrong_key(Problem::Mismatch)),
        Err(error) => return Err(wrong(Problem::Certificate(Some(error)))),
    }
    let validity = validity.map_err(|_| wrong(Problem::Certificate(None)))?;
    if validity.is_over(now) {
        return Err(wrong(Problem::Expired(validity.not_after)));
    }
    Ok(Loaded {
        certified: Arc::new(certified),
        validity,
    })
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    check_encoding(text)?;
    // They would be passed over in silence, and the next certificate taken for the server's own.
    let others = ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"];
    if let Some(label) = others.into_iter().find(|label| has_section(text, label)) {
        return Err(Problem::CertificateLabel(label));
    }
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(Problem::Pem)
}

fn private_key_in(text: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    check_encoding(text)?;
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        // The first is PKCS#8's form of it (RFC 7468 §11), the second the traditional one (RFC 1421 §4.6.1.1).
        let is_encrypted = has_section(text, "ENCRYPTED PRIVATE KEY")
            || memmem::find(text, b"Proc-Type:").is_some_and(|at| {
                let line = text[at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                memmem::find(line, b"ENCRYPTED").is_some()
            });
        match error {
            _ if is_encrypted => Problem::EncryptedKey,
            _ if has_section(text, "OPENSSH PRIVATE KEY") => Problem::SshKey,
            pem::Error::NoItemsFound => Problem::NoPrivateKey,
            error => Problem::Pem(error),
        }
    })
}

/// What a file may begin with whose text isn't plain, or isn't text.
fn check_encoding(text: &[u8]) -> Result<(), Problem> {
    if text.starts_with(b"\xef\xbb\xbf") {
        Err(Problem::ByteOrderMark("UTF-8"))
    } else if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        Err(Problem::ByteOrderMark("UTF-16"))
    } else if text.starts_with(b"\x30\x81") || text.starts_with(b"\x30\x82") {
        Err(Problem::Der)
    } else {
        Ok(())
    }
}

fn has_section(text: &[u8], label: &str) -> bool {
    memmem::find(text, format!("-----BEGIN {label}-----").as_bytes()).is_some()
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
    NoRegularFile,
    TooLarge,
    /// Of this encoding.
    ByteOrderMark(&'static str),
    Der,
    Pem(pem::Error),
    /// PEM of another kind, by its label.
    CertificateLabel(&'static str),
    EncryptedKey,
    SshKey,
    NoCertificate,
    NoPrivateKey,
    UnsupportedKey,
    Mismatch,
    Certificate(Option<rustls::Error>),
    /// At its last second.
    Expired(SystemTime),
    /// Before its first second.
    NotYetValid(SystemTime),
    ClockBefore1970,
}

impl CertificateError {
    fn new(file: &Path, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            problem,
        }
    }

    /// A good certificate that mustn't take the place of one that is valid.
    pub(crate) fn not_yet_valid(file: &Path, validity: &Validity) -> Self {
        Self::new(file, Problem::NotYetValid(validity.not_before))
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &SystemTime| humantime::format_rfc3339_seconds(*time);
        let file = self.file.display();
        write!(f, "{file}: ")?;
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "{error}"),
            Problem::NoRegularFile => f.write_str("not a regular file"),
            Problem::ByteOrderMark(encoding) => {
                write!(
                    f,
                    "it begins with a byte order mark of {encoding}: save it as ASCII without one"
                )
            }
            Problem::Der => write!(
                f,
                "DER, where PEM is needed: openssl x509 (or pkey) -inform DER -in {file}"
            ),
            Problem::CertificateLabel(label) => {
                write!(
                    f,
                    "it has a \"{label}\", where \"CERTIFICATE\" is needed: openssl x509 -in {file}"
                )
            }
            Problem::EncryptedKey => {
                write!(
                    f,
                    "the private key is encrypted, where a plain one is needed: openssl pkey -in {file}"
                )
            }
            Problem::SshKey => write!(
                f,
                "a private key of OpenSSH, where PKCS#8, PKCS#1 or SEC1 is needed: ssh-keygen -p -m PKCS8 -f {file}"
            ),
            Problem::TooLarge => write!(f, "larger than {FILE_MAX_BYTES} bytes"),
            // The crate's own text would show what stands in the file.
            Problem::Pem(_) => f.write_str("malformed PEM"),
            Problem::NoCertificate => f.write_str("no certificate in PEM form found"),
            Problem::NoPrivateKey => f.write_str("no private key in PEM form found"),
            Problem::UnsupportedKey => f.write_str("the private key is malformed or of a kind that is not supported"),
            Problem::Mismatch => f.write_str("the private key does not belong to the certificate"),
            // The crate's own text would speak of a peer.
            Problem::Certificate(_) => {
                f.write_str("the certificate is malformed or of a version that is not supported")
            }
            Problem::Expired(end) => write!(f, "the certificate expired at {}", time(end)),
            Problem::NotYetValid(start) => write!(f, "the certificate is not valid before {}", time(start)),
            Problem::ClockBefore1970 => {
                f.write_str("the clock of this machine is before 1970, and TLS needs a right one")
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
    let unreadable = |error: io::Error| fail(Problem::Unreadable(error));
    // A named pipe would be waited for until another process writes to it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = retry_on_intr(|| open(path, flags, Mode::empty())).map_err(|error| unreadable(error.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(fail(Problem::NoRegularFile));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(fail(Problem::TooLarge));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
