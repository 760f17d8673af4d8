//! Logins that straddle a rotation of the signing key: none is refused for it (PROTOCOL.md part 1, Receiving).
//!
//! That keys do rotate is tested where they are made.

mod common;

use std::thread;

use npchat::refusal::CloseReason;
use npchat::server::Server;

use common::{Frame, Identity, RawWebSocket, Receiver, address, post, start};

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

fn assert_none_refused(server: &Server) {
    let totals = server.totals();
    assert_eq!(totals.logins, LOGINS as u64);
    for reason in CloseReason::ALL {
        let is_refused = reason.is_login_failure();
        assert!(!is_refused || totals.closed(reason) == 0, "{totals}");
    }
}
