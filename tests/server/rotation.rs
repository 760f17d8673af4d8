//! Logins that straddle a rotation of the signing key: none is refused for it (PROTOCOL.md part 1, Receiving).
//!
//! That keys do rotate is tested where they are made.

use std::thread;

use npchat::server::Server;
use npchat::server::refusal::CloseReason;
use testkit::{Challenge, Frame, Identity, RawWebSocket, Receiver, address, post, start};

const LOGINS: usize = 200;

#[test]
fn logins_that_wait_through_many_rotations_all_succeed() {
    for fresh_key in [1, 5] {
        // One worker, so that all of them share a signing key.
        let server = start(|config| {
            config.workers = 1;
            config.fresh_key = fresh_key;
        });
        let identities: Vec<_> = (0..LOGINS).map(|_| Identity::generate()).collect();
        let mut asked: Vec<_> = identities
            .iter()
            .map(|identity| {
                let mut socket = RawWebSocket::connect(address(&server), &identity.id);
                let challenge = socket.challenge();
                (identity, socket, challenge)
            })
            .collect();
        // The first to ask has seen the most rotations, and is answered last.
        for (identity, socket, challenge) in asked.iter_mut().rev() {
            socket.send(&Frame::text(&identity.solution(challenge)));
            assert_eq!(socket.read_text(), r#"{"message":"handshake done"}"#);
        }
        assert_none_refused(&server);
    }
}

#[test]
fn logins_at_the_same_time_all_succeed_and_get_their_mail() {
    const THREADS: usize = 20;
    for fresh_key in [1, 5] {
        let server = start(|config| config.fresh_key = fresh_key);
        let address = address(&server);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(move || {
                        let identities: Vec<_> = (0..LOGINS / THREADS).map(|_| Identity::generate()).collect();
                        for identity in identities {
                            post(address, &identity.id, &identity.id);
                            let mut receiver = Receiver::connect(address, &identity);
                            assert_eq!(receiver.recv_bytes(), identity.id.as_bytes());
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        assert_none_refused(&server);
    }
}

#[test]
fn logins_that_wait_for_a_step_all_get_theirs_however_many_each_asks_for() {
    const CLIENTS: usize = 60;
    const REQUESTS: usize = 8;
    let server = start(|config| config.workers = 1);
    let identities: Vec<_> = (0..CLIENTS).map(|_| Identity::generate()).collect();
    let requests = Frame::text(r#"{"get":"challenge"}"#).masked().repeat(REQUESTS);
    let mut sockets: Vec<_> = identities
        .iter()
        .map(|identity| RawWebSocket::connect(address(&server), &identity.id))
        .collect();
    // Far more steps at once than a turn has.
    for socket in &mut sockets {
        socket.client().send(&requests);
    }
    for (socket, identity) in sockets.iter_mut().zip(&identities) {
        let challenges: Vec<_> = (0..REQUESTS).map(|_| Challenge::read(&socket.read_text())).collect();
        let solution = identity.solution(&challenges[REQUESTS - 1]);
        socket.send(&Frame::text(&solution));
        assert_eq!(socket.read_text(), r#"{"message":"handshake done"}"#);
    }
    assert_eq!(server.totals().logins, CLIENTS as u64);
}

fn assert_none_refused(server: &Server) {
    let totals = server.totals();
    assert_eq!(totals.logins, LOGINS as u64);
    for reason in CloseReason::ALL {
        let is_refused = reason.is_login_failure();
        assert!(!is_refused || totals.closed(reason) == 0, "{totals}");
    }
}
