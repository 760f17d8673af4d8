//! Loads a certificate chain and its private key from PEM files, and checks that they belong together.
//!
//! Nothing here speaks TLS, and a certificate's dates and names are its clients' to judge.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt, io};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A longer file is neither a chain nor a key.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Loads the chain, the server's own certificate first, and the key: PKCS#8, PKCS#1 or SEC1, not encrypted.
///
/// # Errors
///
/// Which of the files can't be used, and why.
pub fn load(certificate: &Path, private_key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::new(certificate, Problem::Pem(error)))?;
    if chain.is_empty() {
        return Err(CertificateError::new(certificate, Problem::NoCertificate));
    }
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
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::new(private_key, Problem::Mismatch)),
        Err(error) => Err(CertificateError::new(certificate, Problem::Certificate(error))),
    }
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
    Certificate(rustls::Error),
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
        }
    }
}

impl error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::Pem(error) => Some(error),
            Problem::Certificate(error) => Some(error),
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
