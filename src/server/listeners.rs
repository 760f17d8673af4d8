//! Listening sockets: one for each worker and address, all on the same port (`SO_REUSEPORT`), so that the kernel shares out.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::StartError;
use crate::config::Listen;
use crate::limits::{
    LISTEN_BACKLOG, TCP_KEEPALIVE_IDLE_SECONDS, TCP_KEEPALIVE_INTERVAL_SECONDS, TCP_KEEPALIVE_PROBES,
    TCP_NOTSENT_LOWAT_BYTES, TCP_USER_TIMEOUT_SECONDS,
};

/// The listeners of one worker.
type Set = Vec<TcpListener>;

/// Binds a set of listeners for each worker. Returns the addresses as bound, and the sets.
///
/// # Errors
/// [`StartError::Listen`] with the address, which may be in use by another process.
pub(super) fn bind(listen: &Listen, workers: usize) -> Result<(Vec<SocketAddr>, Vec<Set>), StartError> {
    let mut sets: Vec<Set> = (0..workers).map(|_| Set::new()).collect();
    let mut bound = Vec::new();
    match listen {
        Listen::Addresses(addresses) => {
            for &address in addresses {
                bound.push(bind_for_all(address, &mut sets).map_err(|error| StartError::Listen(address, error))?);
            }
        }
        Listen::Default { port } => {
            let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let address = match bind_for_all(dual, &mut sets) {
                Err(error) if lacks_ipv6(&error) => {
                    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
                    bind_for_all(ipv4, &mut sets).map_err(|error| StartError::Listen(ipv4, error))?
                }
                result => result.map_err(|error| StartError::Listen(dual, error))?,
            };
            bound.push(address);
        }
    }
    Ok((bound, sets))
}

fn bind_for_all(address: SocketAddr, sets: &mut [Set]) -> io::Result<SocketAddr> {
    // Sockets that share a port let a second server share it too, and split the mail with it: an exclusive bind
    // finds out first.
    if address.port() != 0 {
        socket(address, false)?.bind(&address.into())?;
    }
    let mut address = address;
    for set in sets {
        let socket = socket(address, true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(LISTEN_BACKLOG).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from(socket);
        // The system has chosen the port for the first, the others take the same.
        address = listener.local_addr()?;
        set.push(listener);
    }
    Ok(address)
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
