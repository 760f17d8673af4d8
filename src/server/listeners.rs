//! Listening sockets: one for each worker and address, all on the same port (`SO_REUSEPORT`), so that the kernel shares
//! out. No other server can share that port, however close together two are started.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::server::config::{Address, Listen, Scheme};
use crate::server::error::StartError;
use crate::server::limits::{
    LISTEN_BACKLOG, TCP_KEEPALIVE_IDLE_SECONDS, TCP_KEEPALIVE_INTERVAL_SECONDS, TCP_KEEPALIVE_PROBES,
    TCP_NOTSENT_LOWAT_BYTES, TCP_USER_TIMEOUT_SECONDS,
};
use crate::server::transport::tls::TlsAcceptor;
use crate::server::worker::Listener;

/// What was bound: one address, with a listener for each worker.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) scheme: Scheme,
    pub(super) address: SocketAddr,
    listeners: Vec<TcpListener>,
}

impl Bound {
    fn new(address: SocketAddr, families: Families, scheme: Scheme, workers: usize) -> io::Result<Self> {
        let (address, listeners) = bind_for_all(address, families, workers)?;
        Ok(Self {
            scheme,
            address,
            listeners,
        })
    }
}

/// What `[::]` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Families {
    /// All addresses, of IPv4 too.
    Both,
    /// Those of IPv6: an address of IPv4 with the same port is listened on beside it.
    Ipv6Only,
}

/// Binds a listener for each worker at each address.
///
/// # Errors
/// [`StartError::Listen`] with the address, which may be in use by another process, or a name that isn't known.
pub(super) fn bind(listen: &Listen, workers: usize, has_certificate: bool) -> Result<Vec<Bound>, StartError> {
    let default = if has_certificate { Scheme::Https } else { Scheme::Http };
    let endpoints = match listen {
        Listen::Default { port } => return Ok(vec![bind_any(*port, default, workers)?]),
        Listen::Addresses(endpoints) => endpoints,
    };
    let given: Vec<_> = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.address.socket())
        .collect();
    let mut bound = Vec::new();
    for endpoint in endpoints {
        let scheme = endpoint.scheme.unwrap_or(default);
        match &endpoint.address {
            Address::Any { port } => bound.push(bind_any(*port, scheme, workers)?),
            Address::Socket(address) => {
                let one = Bound::new(*address, families(*address, &given), scheme, workers);
                bound.push(one.map_err(|error| StartError::Listen(address.to_string(), error))?);
            }
            Address::Named { name, port } => bound.extend(bind_named(name, *port, scheme, workers)?),
        }
    }
    Ok(bound)
}

/// All addresses: of both families by one socket, or of IPv4 where there is no IPv6.
fn bind_any(port: u16, scheme: Scheme, workers: usize) -> Result<Bound, StartError> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let bound = match Bound::new(dual, Families::Both, scheme, workers) {
        Err(error) if lacks_address(&error) => Bound::new(ipv4, Families::Both, scheme, workers),
        bound => bound,
    };
    bound.map_err(|error| StartError::Listen(dual.to_string(), error))
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
        match Bound::new(address, Families::Both, scheme, workers) {
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

/// Shares out what was bound: the listeners of each worker.
pub(super) fn share_out(bound: Vec<Bound>, workers: usize, acceptor: Option<&TlsAcceptor>) -> Vec<Vec<Listener>> {
    let mut shares: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for one in bound {
        for (socket, share) in one.listeners.into_iter().zip(&mut shares) {
            let acceptor = acceptor.filter(|_| one.scheme == Scheme::Https).cloned();
            share.push(Listener { socket, acceptor });
        }
    }
    shares
}

fn families(address: SocketAddr, all: &[SocketAddr]) -> Families {
    let is_beside = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    if all.iter().any(is_beside) {
        Families::Ipv6Only
    } else {
        Families::Both
    }
}

/// Sockets that share a port would let a second server share it too, and split the mail with it. So the first one
/// listens alone, which of two servers that start at once only one can, and lets others share its port no sooner than
/// that.
fn bind_for_all(address: SocketAddr, families: Families, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listen(socket(address, families)?, address)?;
    // The system has chosen the port for the first, the others take the same.
    let address = first.local_addr()?;
    if workers > 1 {
        SockRef::from(&first).set_reuse_port(true)?;
    }
    let mut listeners = vec![first];
    for _ in 1..workers {
        let socket = socket(address, families)?;
        socket.set_reuse_port(true)?;
        listeners.push(listen(socket, address)?);
    }
    Ok((address, listeners))
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(LISTEN_BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, families: Families) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(address) = address {
        // One socket for both families where it is the wildcard; a given address means itself alone.
        socket.set_only_v6(families == Families::Ipv6Only || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit these. A session may be silent for days, so only the kernel can detect one whose peer is
    // gone.
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
    use std::net::{IpAddr, TcpStream};
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::server::config::Endpoint;

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
        let (address, listeners) = bind_for_all(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Families::Both, 1).unwrap();
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

    /// Starts two servers at once at these addresses, and has each that starts go on until both have tried. Returns
    /// how many have started.
    fn start_two(listen: &Listen, workers: usize) -> usize {
        let both = Barrier::new(2);
        thread::scope(|scope| {
            let servers = [(); 2].map(|()| {
                scope.spawn(|| {
                    both.wait();
                    let bound = bind(listen, workers, false);
                    both.wait();
                    bound.is_ok()
                })
            });
            servers.map(|server| usize::from(server.join().unwrap())).iter().sum()
        })
    }

    /// A port at which nothing listens, on this address.
    fn free_port(address: impl Into<IpAddr>) -> u16 {
        let any = SocketAddr::new(address.into(), 0);
        bind_for_all(any, Families::Both, 1).unwrap().0.port()
    }

    #[test]
    fn of_two_servers_that_start_at_once_on_one_address_one_goes_on() {
        for workers in [1, 2, 8] {
            for _ in 0..200 {
                // None starts where another test has taken the port meanwhile.
                let tries = (0..10).map(|_| {
                    let address = SocketAddr::from(([127, 0, 0, 77], free_port([127, 0, 0, 77])));
                    start_two(&Listen::Addresses(vec![address.into()]), workers)
                });
                assert_eq!(tries.into_iter().find(|started| *started > 0), Some(1));
            }
        }
    }

    #[test]
    fn all_workers_listen_at_the_port_that_the_system_chose() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, listeners) = bind_for_all(any, Families::Both, 4).unwrap();
        assert_eq!(listeners.len(), 4);
        // Connections get to all of them, the first included, which was there before the port was shared.
        let _clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), address);
            listener.accept().unwrap();
        }
    }

    /// Binds the same port at all of these addresses. Returns what was bound, and the port.
    fn bind_together(addresses: &[IpAddr]) -> (Vec<Bound>, u16) {
        // Another test may have taken the port meanwhile.
        let mut tries = (0..10).map(|_| {
            let port = free_port(Ipv6Addr::UNSPECIFIED);
            let endpoints = addresses.iter().map(|address| SocketAddr::new(*address, port).into());
            bind(&Listen::Addresses(endpoints.collect()), 2, false).map(|bound| (bound, port))
        });
        tries.find_map(Result::ok).expect("they get along")
    }

    #[test]
    fn the_wildcard_of_ipv6_leaves_ipv4_to_an_address_beside_it_and_serves_it_alone() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        if let Err(error) = bind_for_all(any, Families::Both, 1) {
            eprintln!("SKIPPED: there is no IPv6 here: {error}");
            return;
        }
        let ipv6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        for addresses in [
            &[Ipv4Addr::UNSPECIFIED.into(), ipv6][..],
            &[ipv6, Ipv4Addr::UNSPECIFIED.into()],
            &[ipv6, Ipv4Addr::LOCALHOST.into()],
            &[ipv6],
        ] {
            let (bound, port) = bind_together(addresses);
            let bound: Vec<_> = bound.iter().map(|one| one.address).collect();
            assert!(
                bound.iter().map(SocketAddr::ip).eq(addresses.iter().copied()),
                "{bound:?}"
            );
            assert!(bound.iter().all(|address| address.port() == port));
        }
        let (_bound, port) = bind_together(&[Ipv4Addr::UNSPECIFIED.into(), ipv6]);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        let (_bound, port) = bind_together(&[ipv6]);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
