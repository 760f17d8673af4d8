//! Newcomers come after those who are in: after connections that have been answered already, and sessions.

#![expect(clippy::unwrap_used, reason = "these fail a test")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Condvar, Mutex};

use npchat::server::Server;
use npchat::server::config::{Config, Listen};
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::limits::EVENTS_PER_POLL;
use npchat::server::refusal::{CloseReason, Refusal};
use npchat::server::routes::Request;
use npchat::server::service::{Handled, Handler, Posted, Service};
use npchat::server::store::Store;
use npchat::server::websocket::Event;
use testkit::{PATIENCE, RawClient, address, patient_timeouts, post_request, wait_until};

/// Notes what is posted, and holds up its worker while the gate is shut.
#[derive(Debug)]
struct Gated;

const SHUTS_THE_GATE: &[u8] = b"wait";

static POSTED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static IS_SHUT: Mutex<bool> = Mutex::new(false);
static GATE: Condvar = Condvar::new();

impl Service for Gated {
    type Post = ();
    type Handler = Self;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        POSTED.lock().unwrap().push(body.to_vec());
        if body == SHUTS_THE_GATE {
            let mut is_shut = IS_SHUT.lock().unwrap();
            *is_shut = true;
            let waited = GATE.wait_timeout_while(is_shut, PATIENCE, |is_shut| *is_shut).unwrap();
            assert!(!waited.1.timed_out(), "nobody opened the gate");
        }
        reply.bytes(context.out, 200, "application/octet-stream", body);
        Posted::Stored
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Self> {
        None
    }
}

impl Handler for Gated {
    fn handle<S: Service>(&mut self, _: &Event, _: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        Ok(Handled::Done)
    }

    fn is_logged_in(&self) -> bool {
        true
    }
}

#[test]
fn who_is_in_is_answered_before_a_storm_of_newcomers_that_was_there_earlier() {
    // The kernel tells of the one who is in after more polls than one.
    const NEWCOMERS: usize = 2 * EVENTS_PER_POLL + 1;
    let config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers: 1,
        timeouts: patient_timeouts(),
        ..Config::default()
    };
    let server = Server::start_service(&config, Gated).unwrap();
    let address = address(&server);
    let request = |body: &[u8]| post_request(address, "/x", "", body);
    let mut known: Vec<_> = (0..2).map(|_| RawClient::connect(address)).collect();
    for client in &mut known {
        assert_eq!(client.post("x", b"first").status, 200);
    }
    let mut newcomers: Vec<_> = (0..NEWCOMERS).map(|_| RawClient::connect(address)).collect();
    wait_until(PATIENCE, "all are accepted", || {
        server.totals().accepted == (known.len() + NEWCOMERS) as u64
    });

    known[0].send(request(SHUTS_THE_GATE));
    wait_until(PATIENCE, "the worker is held up", || *IS_SHUT.lock().unwrap());
    for newcomer in &mut newcomers {
        newcomer.send(request(b"newcomer"));
    }
    known[1].send(request(b"known"));
    let port = known[1].socket().local_addr().unwrap().port();
    wait_until(PATIENCE, "all has come to the worker's sockets", || {
        unacknowledged(port) == Some(0)
    });
    *IS_SHUT.lock().unwrap() = false;
    GATE.notify_all();

    for client in known.iter_mut().chain(&mut newcomers) {
        assert_eq!(client.read_response().status, 200);
    }
    let posted = POSTED.lock().unwrap();
    let since: Vec<_> = posted.iter().skip_while(|body| *body != SHUTS_THE_GATE).collect();
    assert_eq!(since[1], b"known");
    assert_eq!(since.len(), 2 + NEWCOMERS);
}

/// Bytes that were sent from this port of 127.0.0.1 and haven't come to the other end yet. `None`: the table, which is
/// no snapshot, doesn't show the connection this time.
fn unacknowledged(port: u16) -> Option<u64> {
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    // "<number>: <local> <remote> <state> <to send>:<to read> …", all in hexadecimal.
    let mut rows = table
        .lines()
        .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == local)?;
    let (to_send, _) = row[4].split_once(':')?;
    u64::from_str_radix(to_send, 16).ok()
}
