//! A client's end of a connection: a plain socket, or TLS by rustls over one.
//!
//! A test program speaks what [`Wire::here`] says, unless it asks for another.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use npchat::server::config::CertificateFiles;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::PATIENCE;

/// What is between HTTP and a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Plain,
    Tls,
}

impl Wire {
    /// What clients and servers of this program speak unless told otherwise: `acceptance_tls` runs the tests of
    /// `acceptance` once more, all of them over TLS.
    pub fn here() -> Self {
        static HERE: LazyLock<Wire> = LazyLock::new(|| {
            let program = env::current_exe().unwrap();
            let name = program.file_stem().unwrap_or_default().to_string_lossy();
            if name.starts_with("acceptance_tls") {
                Wire::Tls
            } else {
                Wire::Plain
            }
        });
        *HERE
    }
}

/// One connection. It waits for nothing longer than [`PATIENCE`].
pub enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// TLS shakes hands with the first byte that is sent or waited for.
    pub fn over(wire: Wire, socket: TcpStream) -> Self {
        match wire {
            Wire::Plain => Self::plain(socket),
            Wire::Tls => Self::tls(socket, &CLIENT),
        }
    }

    pub fn tls(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let Self::Plain(socket) = Self::plain(socket) else {
            unreachable!()
        };
        Self::Tls(Box::new(StreamOwned::new(connection, socket)))
    }

    /// What TLS has agreed on.
    pub fn session(&mut self) -> &mut ClientConnection {
        match self {
            Self::Plain(_) => panic!("there is no TLS"),
            Self::Tls(stream) => &mut stream.conn,
        }
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Says that no more will be sent.
    pub fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    fn plain(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::Plain(socket)
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Plain(socket) => socket.read(bytes),
            Self::Tls(stream) => read_tls(stream, bytes),
        })
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        uninterrupted(|| match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        })
    }
}

/// Tries again what a pause of the process has interrupted: where a socket has a timeout, the kernel doesn't.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads even where nothing can be written any more, which rustls' own stream doesn't.
fn read_tls(stream: &mut StreamOwned<ClientConnection, TcpStream>, bytes: &mut [u8]) -> io::Result<usize> {
    let StreamOwned { conn, sock } = stream;
    loop {
        match conn.reader().read(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
        while conn.wants_write() && conn.write_tls(sock).is_ok() {}
        conn.read_tls(sock)?;
        if let Err(error) = conn.process_new_packets() {
            // The server may still be there to be told.
            let _ = conn.write_tls(sock);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
    }
}

/// The path of a file of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// A certificate of `tests/fixtures` and its key.
pub fn certificate_files(name: &str) -> CertificateFiles {
    CertificateFiles {
        certificate: fixture(&format!("{name}.cert.pem")),
        private_key: fixture(&format!("{name}.key.pem")),
    }
}

/// A client that trusts the fixtures' authority, and keeps tickets.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_config_by(aws_lc_rs::default_provider(), versions)
}

/// The same with other ciphers, or in another order.
pub fn client_config_by(provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(fixture("ca.cert.pem")).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(client_config(DEFAULT_VERSIONS)));
