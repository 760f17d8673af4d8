//! The process is stopped for a while and goes on: what its clients sent meanwhile is there, and nobody is late for it.
//!
//! How a worker's clock sees such a time is tested beside the clock, and what each deadline finds in the kernel beside
//! the visit of a connection.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use testkit::{Daemon, Frame, Identity, Opcode, PATIENCE, RawClient, RawWebSocket, post_request, wait_until};

/// More than a worker takes events of at once.
const SESSIONS: usize = 300;
/// Later than any of the sessions must have answered.
const PAUSE: Duration = Duration::from_secs(7);
const PONG_TIMEOUT: &str = "6s";

/// A message for each session, which reads it and its ping; the pongs.
fn deliver_to_all(address: SocketAddr, sessions: &mut [(Identity, RawWebSocket)]) -> Vec<Vec<u8>> {
    let mut sender = RawClient::connect(address);
    let requests = sessions
        .iter()
        .flat_map(|(identity, _)| post_request(address, &format!("/{}", identity.id), "", "before the pause"));
    sender.send(requests.collect::<Vec<_>>());
    for _ in 0..sessions.len() {
        assert_eq!(sender.read_response().status, 200);
    }
    let pong = |(_, socket): &mut (Identity, RawWebSocket)| {
        assert_eq!(socket.read_frame(), Frame::text("before the pause"));
        let ping = socket.read_frame();
        assert_eq!(ping.opcode, Opcode::PING);
        ping.pong().masked()
    };
    sessions.iter_mut().map(pong).collect()
}

#[test]
fn nobody_is_late_for_a_pause_of_the_process_and_what_came_in_it_is_answered() {
    let daemon = Daemon::start(&["--pong-timeout", PONG_TIMEOUT]);
    let address = daemon.address;
    let mut sessions: Vec<_> = (0..SESSIONS)
        .map(|_| Identity::generate())
        .map(|identity| {
            let socket = RawWebSocket::log_in(address, &identity);
            (identity, socket)
        })
        .collect();
    let mut accepted: Vec<_> = (0..SESSIONS / 4).map(|_| RawClient::connect(address)).collect();
    let pongs = deliver_to_all(address, &mut sessions);
    daemon.signal(Signal::STOP);
    for ((_, socket), pong) in sessions.iter_mut().zip(pongs) {
        socket.client().send(pong);
    }
    accepted.extend((0..SESSIONS / 4).map(|_| RawClient::connect(address)));
    for client in &mut accepted {
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    thread::sleep(PAUSE);
    daemon.signal(Signal::CONT);
    for client in &mut accepted {
        assert_eq!(client.read_response().status, 200);
    }
    let all = format!("delivered={SESSIONS} ");
    let counts = || {
        daemon.signal(Signal::USR1);
        daemon.wait_for_line("delivered=")
    };
    wait_until(PATIENCE, "every pong counts", || counts().contains(&all));
    daemon.signal(Signal::TERM);
    let log = daemon.rest_of_log();
    assert!(log.contains(&all) && !log.contains("pong_timeout"), "{log}");
}
