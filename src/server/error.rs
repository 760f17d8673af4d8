//! Why a server does not start, or can't go on.

use std::{error, fmt, io};

use crate::server::certificate::CertificateError;
use crate::server::config::ConfigError;

/// Why a server did not start, or could not go on. Its text is one line.
#[derive(Debug)]
pub enum StartError {
    /// The configuration contradicts itself.
    Config(ConfigError),
    /// An address can't be listened on.
    Listen(String, io::Error),
    /// The certificate or its key is no good.
    Certificate(CertificateError),
    /// The system refuses what a server needs: a poller, a thread, random bytes.
    System(&'static str, io::Error),
    /// A worker ended before it was asked to.
    WorkerFailed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Certificate(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::WorkerFailed(how) => write!(f, "a worker failed: {how}"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Listen(_, error) | Self::System(_, error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::WorkerFailed(_) => None,
        }
    }
}
