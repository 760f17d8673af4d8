//! Listening sockets: one for each worker and address, all on the same port (`SO_REUSEPORT`), so that the kernel shares out.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::StartError;
use crate::config::{Endpoint, Listen, Scheme};
use crate::limits::{
    LISTEN_BACKLOG, TCP_KEEPALIVE_IDLE_SECONDS, TCP_KEEPALIVE_INTERVAL_SECONDS, TCP_KEEPALIVE_PROBES,
    TCP_NOTSENT_LOWAT_BYTES, TCP_USER_TIMEOUT_SECONDS,
};
use crate::transport::tls::Acceptor;

/// A listening socket, and what its connections begin with.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    /// If TLS is spoken there.
    pub(crate) acceptor: Option<Acceptor>,
}

/// What was bound: one address, with a listener for each worker.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) scheme: Scheme,
    pub(super) address: SocketAddr,
    listeners: Vec<TcpListener>,
}

impl Bound {
    fn new(endpoint: Endpoint, workers: usize, has_certificate: bool) -> Result<Self, (SocketAddr, io::Error)> {
        let default = if has_certificate { Scheme::Https } else { Scheme::Http };
        let (address, listeners) =
            bind_for_all(endpoint.address, workers).map_err(|error| (endpoint.address, error))?;
        Ok(Self {
            scheme: endpoint.scheme.unwrap_or(default),
            address,
            listeners,
        })
    }
}

/// Binds a listener for each worker at each address.
///
/// # Errors
/// [`StartError::Listen`] with the address, which may be in use by another process.
pub(super) fn bind(listen: &Listen, workers: usize, has_certificate: bool) -> Result<Vec<Bound>, StartError> {
    let bind = |endpoint| Bound::new(endpoint, workers, has_certificate);
    let bound = match listen {
        Listen::Addresses(endpoints) => endpoints.iter().copied().map(bind).collect(),
        Listen::Default { port } => {
            let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
            match bind(dual.into()) {
                Err((_, error)) if lacks_ipv6(&error) => bind(ipv4.into()),
                result => result,
            }
            .map(|bound| vec![bound])
        }
    };
    bound.map_err(|(address, error)| StartError::Listen(address, error))
}

/// Shares out what was bound: the doors of each worker.
pub(super) fn share_out(bound: Vec<Bound>, workers: usize, acceptor: Option<&Acceptor>) -> Vec<Vec<Door>> {
    let mut shares: Vec<Vec<Door>> = (0..workers).map(|_| Vec::new()).collect();
    for one in bound {
        for (listener, share) in one.listeners.into_iter().zip(&mut shares) {
            let acceptor = acceptor.filter(|_| one.scheme == Scheme::Https).cloned();
            share.push(Door { listener, acceptor });
        }
    }
    shares
}

fn bind_for_all(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Sockets that share a port let a second server share it too, and split the mail with it: an exclusive bind
    // finds out first.
    if address.port() != 0 {
        socket(address, false)?.bind(&address.into())?;
    }
    let mut address = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(address, true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(LISTEN_BACKLOG).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from(socket);
        // The system has chosen the port for the first, the others take the same.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((address, listeners))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(address) = address {
        // One socket for both families where it is the wildcard; a given address means itself alone.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit these. A session may be silent for days, so only the kernel can tell one whose peer is gone.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(TCP_USER_TIMEOUT_SECONDS)))?;
    socket.set_tcp_notsent_lowat(TCP_NOTSENT_LOWAT_BYTES)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(TCP_KEEPALIVE_IDLE_SECONDS))
        .with_interval(Duration::from_secs(TCP_KEEPALIVE_INTERVAL_SECONDS))
        .with_retries(TCP_KEEPALIVE_PROBES)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn an_accepted_connection_has_the_options_of_its_listener() {
        let (address, listeners) = bind_for_all(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listeners[0].accept().unwrap();
        let accepted = SockRef::from(&accepted);
        let seconds = |seconds| Duration::from_secs(seconds);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(
            accepted.tcp_keepalive_time().unwrap(),
            seconds(TCP_KEEPALIVE_IDLE_SECONDS)
        );
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            seconds(TCP_KEEPALIVE_INTERVAL_SECONDS)
        );
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), TCP_KEEPALIVE_PROBES);
        assert_eq!(
            accepted.tcp_user_timeout().unwrap(),
            Some(seconds(TCP_USER_TIMEOUT_SECONDS))
        );
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), TCP_NOTSENT_LOWAT_BYTES);
    }
}
