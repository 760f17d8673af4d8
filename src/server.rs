//! The server: binds, raises the file limit, starts workers, turns signals into a drain or a look at the certificate.
//!
//! What a worker does is in `worker`; what an operator can set is in [`crate::server::config`].

pub mod config;
pub mod log;
pub mod system;

mod error;
mod listeners;
mod places;
mod renewal;
mod sync;

// For tests, benches, fuzz targets and examples, which look at the parts of the house.
#[cfg(not(feature = "internals"))]
mod answers;
#[cfg(feature = "internals")]
pub mod answers;
#[cfg(not(feature = "internals"))]
mod certificate;
#[cfg(feature = "internals")]
pub mod certificate;
#[cfg(not(feature = "internals"))]
mod connection;
#[cfg(feature = "internals")]
pub mod connection;
#[cfg(not(feature = "internals"))]
mod context;
#[cfg(feature = "internals")]
pub mod context;
#[cfg(not(feature = "internals"))]
mod http;
#[cfg(feature = "internals")]
pub mod http;
#[cfg(not(feature = "internals"))]
mod limits;
#[cfg(feature = "internals")]
pub mod limits;
#[cfg(not(feature = "internals"))]
mod mailboxes;
#[cfg(feature = "internals")]
pub mod mailboxes;
#[cfg(not(feature = "internals"))]
mod metrics;
#[cfg(feature = "internals")]
pub mod metrics;
#[cfg(not(feature = "internals"))]
mod outbound;
#[cfg(feature = "internals")]
pub mod outbound;
#[cfg(not(feature = "internals"))]
mod pace;
#[cfg(feature = "internals")]
pub mod pace;
#[cfg(not(feature = "internals"))]
mod refusal;
#[cfg(feature = "internals")]
pub mod refusal;
#[cfg(not(feature = "internals"))]
mod relay;
#[cfg(feature = "internals")]
pub mod relay;
#[cfg(not(feature = "internals"))]
mod routes;
#[cfg(feature = "internals")]
pub mod routes;
#[cfg(not(feature = "internals"))]
mod service;
#[cfg(feature = "internals")]
pub mod service;
#[cfg(not(feature = "internals"))]
mod session;
#[cfg(feature = "internals")]
pub mod session;
#[cfg(not(feature = "internals"))]
mod signer;
#[cfg(feature = "internals")]
pub mod signer;
#[cfg(not(feature = "internals"))]
mod store;
#[cfg(feature = "internals")]
pub mod store;
#[cfg(not(feature = "internals"))]
mod timer_wheel;
#[cfg(feature = "internals")]
pub mod timer_wheel;
#[cfg(not(feature = "internals"))]
mod token;
#[cfg(feature = "internals")]
pub mod token;
#[cfg(not(feature = "internals"))]
mod transport;
#[cfg(feature = "internals")]
pub mod transport;
#[cfg(not(feature = "internals"))]
mod websocket;
#[cfg(feature = "internals")]
pub mod websocket;
#[cfg(not(feature = "internals"))]
mod worker;
#[cfg(feature = "internals")]
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use mio::Poll;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

pub use self::certificate::CertificateError;
pub use self::config::{Config, ConfigError};
pub use self::error::StartError;
pub use self::mailboxes::Stats;
pub use self::metrics::Totals;
use self::renewal::Renewal;
use crate::server::certificate::{CurrentCertificate, Loaded};
use crate::server::config::CertificateFiles;
use crate::server::limits::{FEW_CONNECTIONS, LOG_LAST_FLUSH_MILLIS, START_SIGNAL_MILLIS};
use crate::server::refusal::Refusal;
use crate::server::relay::Relay;
use crate::server::service::Service;
use crate::server::signer::ChallengeSigner;
use crate::server::system::FileLimit;
use crate::server::token::Ticket;
use crate::server::transport::tls::TlsAcceptor;
use crate::server::worker::{Listener, Shared, Worker, reserved_files};

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    renewal: Option<Renewal>,
}

impl Server {
    /// Binds, and starts the workers of a relay.
    ///
    /// # Errors
    /// Nothing is left running then.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_service(config, Relay)
    }

    /// Like [`Server::start`], for any service: one value, which all workers share.
    ///
    /// # Errors
    /// Nothing is left running then.
    pub fn start_service<S: Service>(config: &Config, service: S) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let (acceptor, renewal) = secure(config)?.unzip();
        let FileLimit { files, refused } = system::raise_file_limit();
        if let Some(error) = refused {
            tracing::warn!(%error, "the limit of open files can't be raised: it stays at {files}");
        }
        let bound = listeners::bind(&config.listen, config.workers, acceptor.is_some())?;
        let polls = (0..config.workers)
            .map(|_| Poll::new())
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| StartError::System("make a poller", error))?;
        let shared = Arc::new(Shared::on_polls(config, &polls, files, bound.len())?);
        let mut server = Self {
            shared,
            addresses: bound.iter().map(|one| one.address).collect(),
            workers: Vec::with_capacity(config.workers),
            renewal,
        };
        let urls: Vec<_> = bound
            .iter()
            .map(|one| format!("{}://{}", one.scheme, one.address))
            .collect();
        let listeners = listeners::share_out(bound, config.workers, acceptor.as_ref());
        let service = Arc::new(service);
        for (index, (poll, listeners)) in (0..).zip(polls.into_iter().zip(listeners)) {
            server.start_worker(index, Arc::clone(&service), poll, listeners, config.fresh_key)?;
        }
        tracing::info!(
            "listening on {}, {} workers, up to {} connections, {} for mail",
            urls.join(" and "),
            config.workers,
            server.shared.places.count(),
            ByteSize::b(config.memory).display().iec(),
        );
        server.warn_of_few_connections(config, files);
        Ok(server)
    }

    fn warn_of_few_connections(&self, config: &Config, files: u64) {
        let reserved = reserved_files(self.shared.inboxes.len(), self.addresses.len());
        let connections = self.shared.places.count();
        // Fewer than files allow are what the operator has chosen.
        if connections < FEW_CONNECTIONS && u64::from(config.max_connections()) > connections as u64 {
            tracing::warn!(
                "room for {connections} connections only: the process may have {files} open files, of which \
                 {reserved} are kept for other things; raise the hard limit (LimitNOFILE= of a systemd unit, \
                 ulimit -Hn in a shell, --ulimit nofile= of a container)"
            );
        }
    }

    /// Where the server listens, with the ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reports what became of a POST that its service has pending: for how many seconds it is stored, or why it isn't.
    /// To be called once for each ticket, from any thread.
    pub fn report(&self, ticket: Ticket, result: Result<u32, Refusal>) {
        self.shared.report(ticket, result);
    }

    /// Begins to stop: no accept, what is under way is answered, WebSockets are closed with 1012.
    pub fn drain(&self) {
        self.shared.start_draining();
    }

    /// Waits until all workers have ended, which they do after a drain.
    ///
    /// # Errors
    /// [`StartError::WorkerFailed`] if one of them ended otherwise.
    pub fn wait(mut self) -> Result<(), StartError> {
        self.join()
    }

    /// What the workers have counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// What the mailboxes hold now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.store.stats()
    }

    /// Bytes charged now: the segments that mail lies in, and bodies that are coming in.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.shared.store.memory_used()
    }

    fn start_worker<S: Service>(
        &mut self,
        index: u32,
        service: Arc<S>,
        poll: Poll,
        listeners: Vec<Listener>,
        fresh_key: u32,
    ) -> Result<(), StartError> {
        let signer = ChallengeSigner::new(fresh_key)
            .map_err(|error| StartError::System("make a signing key", io::Error::other(error)))?;
        let alarm = Alarm(Arc::clone(&self.shared));
        let shared = Arc::clone(&self.shared);
        let worker = Worker::new(index, shared, service, poll, listeners, signer)
            .map_err(|error| StartError::System("watch the listeners", error))?;
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || alarm.watch(|| worker.run()))
            .map_err(|error| StartError::System("start a thread", error))?;
        self.workers.push(thread);
        Ok(())
    }

    fn join(&mut self) -> Result<(), StartError> {
        let mut result = Ok(());
        for worker in self.workers.drain(..) {
            let failure = match worker.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "panic".to_owned(),
            };
            result = Err(StartError::WorkerFailed(failure));
        }
        result
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.halt();
        // No caller is left that could learn how it ended.
        let _ = self.join();
    }
}

/// Stops all workers when one fails or panics: the others would go on without its listeners and its share of the
/// expiry, unnoticed.
struct Alarm(Arc<Shared>);

impl Alarm {
    fn watch(self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let result = work();
        if result.is_err() {
            self.0.halt();
        }
        result
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.halt();
        }
    }
}

/// Whether a server can start with the configured certificate, if there is one.
///
/// # Errors
/// [`StartError::Certificate`]
pub fn check_certificate(config: &Config) -> Result<(), StartError> {
    config
        .certificate
        .as_ref()
        .map_or(Ok(()), |files| load(files).map(drop))
}

fn load(files: &CertificateFiles) -> Result<Loaded, StartError> {
    certificate::load(files, SystemTime::now()).map_err(StartError::Certificate)
}

/// What TLS takes, if there is a certificate.
fn secure(config: &Config) -> Result<Option<(TlsAcceptor, Renewal)>, StartError> {
    let Some(files) = &config.certificate else {
        return Ok(None);
    };
    let stamps = renewal::stamps(files);
    let Loaded { certified, validity } = load(files)?;
    let current = Arc::new(CurrentCertificate::new(certified));
    let acceptor = TlsAcceptor::new(Arc::<CurrentCertificate>::clone(&current), SystemTime::now)
        .map_err(|error| StartError::System("set up TLS", io::Error::other(error)))?;
    let renewal = Renewal::start(files.clone(), stamps, current, validity)
        .map_err(|error| StartError::System("start a thread", error))?;
    Ok(Some((acceptor, renewal)))
}

/// Runs a server until SIGTERM or SIGINT, then drains it. A second one of them ends the process at once, as does the
/// first one while the server hasn't started. SIGHUP has it load its certificate again, SIGUSR1 log what it
/// has counted. Where [`log::start`] has been called, none of them waits for stderr.
///
/// # Errors
/// The server didn't start, or a worker failed.
pub fn run(config: &Config) -> Result<(), StartError> {
    // Before the workers, so that no signal comes between them and its handler.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(|error| StartError::System("take signals", error))?;
    let handle = signals.handle();
    let (announce, started) = mpsc::channel();
    // And its thread too, for a start may wait for the network.
    let watcher = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || watch(&mut signals, &started))
        .map_err(|error| StartError::System("start a thread", error))?;
    let result = Server::start(config).map(|server| {
        let shared = Arc::clone(&server.shared);
        let renew = server.renewal.as_ref().map(Renewal::order);
        // The watcher ends after this.
        let _ = announce.send(Started {
            shared: Arc::clone(&shared),
            renew,
        });
        (server.wait(), shared)
    });
    drop(announce);
    handle.close();
    // It only waits for signals, and has just been asked to end.
    let _ = watcher.join();
    let (result, shared) = result?;
    tracing::info!("stopped: {}", shared.totals());
    result
}

/// What signals act on.
struct Started<F> {
    shared: Arc<Shared>,
    /// If there is a certificate.
    renew: Option<F>,
}

/// Does what each signal asks for, until its handle is closed.
fn watch(signals: &mut Signals, started: &Receiver<Started<impl Fn()>>) {
    let mut server = None;
    let mut is_stopping = false;
    for signal in signals.forever() {
        if server.is_none() {
            // It may just have begun to listen, and have mail.
            server = started.recv_timeout(Duration::from_millis(START_SIGNAL_MILLIS)).ok();
        }
        let is_end = [SIGTERM, SIGINT].contains(&signal);
        match &server {
            Some(Started { renew: Some(renew), .. }) if signal == SIGHUP => renew(),
            Some(_) if signal == SIGHUP => tracing::info!("there is no certificate to renew"),
            Some(Started { shared, .. }) if signal == SIGUSR1 => tracing::info!("so far: {}", shared.totals()),
            Some(Started { shared, .. }) if is_end && !is_stopping => {
                is_stopping = true;
                shared.start_draining();
                tracing::info!("stopping");
            }
            _ if is_end => {
                tracing::warn!("stopping at once");
                log::flush_within(Duration::from_millis(LOG_LAST_FLUSH_MILLIS));
                std::process::exit(128 + signal);
            }
            // Of a server that hasn't started there is nothing to report, nor to load again.
            _ => {}
        }
    }
}
