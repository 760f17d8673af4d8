//! Services other than the relay on the same connections: a bug in one connection's handling, the echo's way of
//! working, and posts that are answered later.

#![expect(clippy::unwrap_used, reason = "these fail a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use npchat::server::Server;
use npchat::server::config::{Config, Listen};
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::refusal::{CloseReason, Refusal};
use npchat::server::routes::Request;
use npchat::server::service::{Handled, Handler, Posted, Service};
use npchat::server::store::Store;
use npchat::server::token::Ticket;
use npchat::server::websocket::{Event, Opcode, Wants, write_frame};
use socket2::SockRef;
use testkit::{Frame, PATIENCE, RawClient, RawWebSocket, address, patient_timeouts, upgrade_request, wait_until};

/// Echoes what it hears, but panics when it hears so.
#[derive(Debug)]
struct Fragile;

impl Service for Fragile {
    type Post = ();
    type Handler = Self;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        reply.bytes(context.out, 200, "application/octet-stream", body);
        assert_ne!(body, b"panic");
        Posted::Stored
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Self> {
        Some(Self)
    }
}

impl Handler for Fragile {
    fn handle<S: Service>(&mut self, event: &Event, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        if let Event::Text(text) = event {
            write_frame(context.out, Opcode::Text, text.as_bytes());
            assert_ne!(text.as_str(), "panic");
        }
        Ok(Handled::Done)
    }

    fn wants(&self) -> Wants {
        Wants::Everything
    }

    fn is_logged_in(&self) -> bool {
        true
    }
}

/// Has every POST pending, until the test reports what became of it.
#[derive(Debug, Default, Clone)]
struct Later(Arc<Mutex<Vec<Pending>>>);

/// A ticket, and the body.
type Pending = (Ticket, Vec<u8>);

impl Later {
    /// Waits until so many are pending, and takes them.
    fn take(&self, count: usize) -> Vec<Pending> {
        wait_until(PATIENCE, "posts reach the service", || {
            self.0.lock().unwrap().len() >= count
        });
        self.0.lock().unwrap().drain(..).collect()
    }
}

impl Service for Later {
    type Post = ();
    type Handler = Fragile;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), body: &[u8], _: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        let ticket = context.take_ticket();
        self.0.lock().unwrap().push((ticket, body.to_vec()));
        Posted::Pending(ticket)
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Fragile> {
        None
    }
}

const MESSAGE_MAX_BYTES: u32 = 16 << 20;

fn start() -> Server {
    start_service(Fragile, 1)
}

fn start_service(service: impl Service, workers: usize) -> Server {
    let config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()]),
        workers,
        max_message: MESSAGE_MAX_BYTES,
        mailbox_bytes: MESSAGE_MAX_BYTES,
        timeouts: patient_timeouts(),
        ..Config::default()
    };
    Server::start_service(&config, service).unwrap()
}

fn open(server: &Server) -> RawWebSocket {
    let mut client = RawClient::connect(address(server));
    client.send(upgrade_request(address(server), "anything").as_bytes());
    RawWebSocket::upgraded(client)
}

#[test]
fn a_panic_in_one_connection_ends_that_connection_only() {
    let server = start();
    let mut well = open(&server);
    let mut ill = open(&server);
    ill.send(&Frame::text("panic"));
    ill.client().wait_closed();
    let mut poster = RawClient::connect(address(&server));
    poster.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\npanic");
    poster.wait_closed();

    well.send(&Frame::text("still here"));
    assert_eq!(well.read_text(), "still here");
    wait_until(PATIENCE, "both panics are counted", || {
        server.totals().closed(CloseReason::Internal) == 2
    });
    let mut late = open(&server);
    late.send(&Frame::text("late"));
    assert_eq!(
        late.read_text(),
        "late",
        "what was half written for another connection must not come here"
    );
}

#[test]
fn a_large_message_comes_back_whole_however_it_was_fragmented() {
    let server = start();
    let message = "0123456789abcdef".repeat(64 * 1024);
    let mut socket = open(&server);
    for size in [64, 1000, message.len()] {
        let pieces: Vec<_> = message.as_bytes().chunks(size).collect();
        let mut bytes = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = u8::from(index == 0);
            let fin = index + 1 == pieces.len();
            bytes.extend(
                Frame {
                    fin,
                    ..Frame::new(opcode, *piece)
                }
                .masked(),
            );
        }
        socket.client().send(&bytes);
        assert!(socket.read_text() == message, "in fragments of {size}");
    }
}

#[test]
fn a_post_to_any_path_comes_back() {
    let server = start();
    let mut client = RawClient::connect(address(&server));
    let response = client.post_with("/any/path?at=all", "", b"body");
    assert_eq!((response.status, &response.body[..]), (200, &b"body"[..]));
}

fn post_to(client: &mut RawClient, body: &str) {
    client.send(format!(
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
}

#[test]
fn another_thread_has_posts_answered_in_any_order_on_workers_that_sleep() {
    let service = Later::default();
    let server = start_service(service.clone(), 2);
    let mut clients: Vec<_> = (0..8).map(|_| RawClient::connect(address(&server))).collect();
    for round in 0..3_u32 {
        for (number, client) in clients.iter_mut().enumerate() {
            post_to(client, &format!("{}", 10 * number));
        }
        let mut pending = service.take(clients.len());
        pending.rotate_left(round as usize);
        pending.reverse();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (ticket, body) in pending {
                    let number: u32 = str::from_utf8(&body).unwrap().parse().unwrap();
                    server.report(ticket, Ok(number + round));
                }
            });
        });
        for (number, client) in (0..).zip(&mut clients) {
            let answer = client.read_response();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ttl"), Some(format!("{}", 10 * number + round).as_str()));
        }
    }
    assert_eq!(server.totals().posted, 24);
}

#[test]
fn a_client_that_has_ended_its_side_gets_the_answer_that_was_pending() {
    let service = Later::default();
    let server = start_service(service.clone(), 1);
    let mut client = RawClient::connect(address(&server));
    post_to(&mut client, "body");
    client.finish();
    let pending = service.take(1);
    assert!(!client.hears_within(Duration::from_millis(50)));
    server.report(pending[0].0, Err(Refusal::MailboxFull));
    assert_eq!(client.read_response().status, 507);
    client.wait_closed();
}

#[test]
fn what_is_reported_for_a_connection_that_has_gone_finds_none_that_came_after_it() {
    let service = Later::default();
    let server = start_service(service.clone(), 1);
    let mut gone = RawClient::connect(address(&server));
    post_to(&mut gone, "gone");
    let (old, _) = service.take(1).remove(0);
    SockRef::from(gone.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    server.report(old, Ok(1));
    wait_until(PATIENCE, "the connection goes", || server.totals().open == 0);

    // In the same slot, since there was no other.
    let mut next = RawClient::connect(address(&server));
    post_to(&mut next, "next");
    let (new, _) = service.take(1).remove(0);
    server.report(old, Ok(2));
    server.report(new, Ok(3));
    assert_eq!(next.read_response().header("ttl"), Some("3"));
}

#[test]
fn a_drain_waits_for_what_is_pending() {
    let service = Later::default();
    let server = start_service(service.clone(), 2);
    let mut clients = [
        RawClient::connect(address(&server)),
        RawClient::connect(address(&server)),
    ];
    for client in &mut clients {
        post_to(client, "body");
    }
    let pending = service.take(2);
    let mut idle = RawClient::connect(address(&server));
    assert_eq!(idle.request("GET /healthz").status, 200);
    server.drain();
    // The drain has come to the workers when the idle one is closed.
    idle.wait_closed();
    for ((ticket, _), result) in pending.into_iter().zip([Ok(1), Err(Refusal::RelayFull)]) {
        server.report(ticket, result);
    }
    let mut statuses = clients.each_mut().map(|client| {
        let answer = client.read_response();
        assert_eq!(answer.header("connection"), Some("close"));
        client.wait_closed();
        answer.status
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    drop(clients);
    server.wait().unwrap();
}
