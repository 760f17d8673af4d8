//! Listening sockets: one for each worker and address, all on the same port (`SO_REUSEPORT`), so that the kernel shares out.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::StartError;
use crate::config::{Address, Listen, Scheme};
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
    fn new(address: SocketAddr, scheme: Scheme, workers: usize) -> io::Result<Self> {
        let (address, listeners) = bind_for_all(address, workers)?;
        Ok(Self {
            scheme,
            address,
            listeners,
        })
    }
}

/// Binds a listener for each worker at each address.
///
/// # Errors
/// [`StartError::Listen`] with the address, which may be in use by another process, or a name that isn't known.
pub(super) fn bind(listen: &Listen, workers: usize, has_certificate: bool) -> Result<Vec<Bound>, StartError> {
    let default = if has_certificate { Scheme::Https } else { Scheme::Http };
    let mut bound = Vec::new();
    match listen {
        Listen::Default { port } => bound.push(bind_any(*port, default, workers)?),
        Listen::Addresses(endpoints) => {
            for endpoint in endpoints {
                let scheme = endpoint.scheme.unwrap_or(default);
                match &endpoint.address {
                    Address::Any { port } => bound.push(bind_any(*port, scheme, workers)?),
                    Address::Socket(address) => bound.push(bind_one(*address, scheme, workers)?),
                    Address::Named { name, port } => bound.extend(bind_named(name, *port, scheme, workers)?),
                }
            }
        }
    }
    Ok(bound)
}

fn bind_one(address: SocketAddr, scheme: Scheme, workers: usize) -> Result<Bound, StartError> {
    Bound::new(address, scheme, workers).map_err(|error| StartError::Listen(address.to_string(), error))
}

/// All addresses: of both families by one socket, or of IPv4 where there is no IPv6.
fn bind_any(port: u16, scheme: Scheme, workers: usize) -> Result<Bound, StartError> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match Bound::new(dual, scheme, workers) {
        Err(error) if lacks_address(&error) => {
            bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), scheme, workers)
        }
        bound => bound.map_err(|error| StartError::Listen(dual.to_string(), error)),
    }
}

/// All addresses of a name, but for those that this machine hasn't: `localhost` has `::1` even where there is no IPv6.
fn bind_named(name: &str, port: u16, scheme: Scheme, workers: usize) -> Result<Vec<Bound>, StartError> {
    let fail = |error| StartError::Listen(format!("{name}:{port}"), error);
    let mut addresses = Vec::new();
    for address in (name, port).to_socket_addrs().map_err(fail)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let mut bound = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        match Bound::new(address, scheme, workers) {
            Ok(one) => bound.push(one),
            Err(error) if lacks_address(&error) => failure = error,
            Err(error) => return Err(StartError::Listen(address.to_string(), error)),
        }
    }
    if bound.is_empty() {
        Err(fail(failure))
    } else {
        Ok(bound)
    }
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

/// Whether this machine has no such address, or no addresses of its family.
fn lacks_address(error: &io::Error) -> bool {
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
    use crate::config::Endpoint;

    #[test]
    fn a_name_is_listened_on_at_all_addresses_that_it_has_here() {
        let endpoint = |address| Endpoint { scheme: None, address };
        let listen = |address| bind(&Listen::Addresses(vec![endpoint(address)]), 2, false);
        let named = |name: &str| {
            listen(Address::Named {
                name: name.to_owned(),
                port: 0,
            })
        };
        let bound = named("localhost").unwrap();
        assert!(bound.iter().any(|one| one.address.ip() == Ipv4Addr::LOCALHOST));
        assert!(
            bound
                .iter()
                .all(|one| one.address.ip().is_loopback() && one.listeners.len() == 2)
        );
        let any = listen(Address::Any { port: 0 }).unwrap();
        assert!(any.len() == 1 && any[0].address.ip().is_unspecified());
        let told = named("no.such.name.invalid").unwrap_err().to_string();
        assert!(told.starts_with("cannot listen on no.such.name.invalid:0: "), "{told}");
    }

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
