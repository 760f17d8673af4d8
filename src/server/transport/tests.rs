//! What a deadline finds in the kernel before it ends anything: over real sockets, in virtual time, without a poller
//! that would have told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::SockRef;

use super::Transport;
use super::tls::TlsAcceptor;
use crate::server::answers;
use crate::server::certificate::{self, CurrentCertificate};
use crate::server::config::{CertificateFiles, Config, Timeouts};
use crate::server::connection::Connection;
use crate::server::connection::visit::{Cause, Edges, IoContext, Wired};
use crate::server::context::Context;
use crate::server::http::{HttpDate, Reply};
use crate::server::mailboxes::Deliveries;
use crate::server::metrics::Counters;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::routes::Request;
use crate::server::service::{Handled, Handler, Posted, Service};
use crate::server::signer::ChallengeSigner;
use crate::server::store::Store;
use crate::server::token::{SessionAddress, Tickets, Token};
use crate::server::websocket::Event as Said;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 ";
const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Takes every POST, and for a login any text.
#[derive(Debug)]
struct Anything;

#[derive(Debug, Default)]
struct Guest {
    has_spoken: bool,
}

impl Service for Anything {
    type Post = ();
    type Handler = Guest;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), _: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        answers::sent(reply, context.out, 1);
        Posted::Stored
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Guest> {
        Some(Guest::default())
    }
}

impl Handler for Guest {
    fn handle<S: Service>(&mut self, event: &Said, _: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        self.has_spoken |= matches!(event, Said::Text(_));
        Ok(Handled::Done)
    }

    fn is_logged_in(&self) -> bool {
        self.has_spoken
    }
}

/// A connection that has been accepted, and its client.
struct TlsScene {
    wired: Wired<Transport, Anything>,
    client: TcpStream,
    /// The server's end, to see what has come.
    end: TcpStream,
    now: Instant,
    timeouts: Timeouts,
    store: Store,
    io: IoContext,
}

impl TlsScene {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(acceptor: Option<&TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (end, _) = listener.accept().unwrap();
        end.set_nonblocking(true).unwrap();
        let socket = mio::net::TcpStream::from_std(end.try_clone().unwrap());
        let transport = Transport::accepted(socket, acceptor).unwrap();
        let (config, now) = (Config::default(), Instant::now());
        Self {
            wired: Wired::new(transport, Connection::new(now, &config.timeouts)),
            client,
            end,
            now,
            timeouts: config.timeouts,
            store: Store::new(&config, [1, 2], now, "1970-01-01T00:00:00Z"),
            io: IoContext::default(),
        }
    }

    /// What the client sends has come, and no event has told of it.
    fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).unwrap();
        while self.end.peek(&mut [0]).is_err() {
            thread::yield_now();
        }
    }

    /// An event reports it.
    fn report_input(&mut self) {
        self.wired.note_edges(Edges {
            readable: true,
            ..Edges::default()
        });
    }

    fn visit(&mut self, cause: Cause) -> Option<CloseReason> {
        let (date, counters) = (HttpDate::at(UNIX_EPOCH), Counters::default());
        let token = Token {
            index: 0,
            generation: 0,
        };
        let mut context = Context {
            service: &Anything,
            now: self.now,
            mail_now: self.now,
            date: &date,
            address: SessionAddress { worker: 0, token },
            store: &self.store,
            timeouts: &self.timeouts,
            requests: 64,
            login_steps: 1,
            signer: &mut ChallengeSigner::new(1).unwrap(),
            counters: &counters,
            tickets: &mut Tickets::default(),
            out: &mut Vec::new(),
            wake: &mut Vec::new(),
            deliveries: &mut Deliveries::new(),
        };
        self.wired.visit(cause, &mut context, &mut self.io)
    }

    /// The time of the connection's deadline comes.
    fn reach_deadline(&mut self, expected: Duration) {
        let deadline = self.wired.deadline(&self.timeouts).unwrap();
        assert_eq!(deadline - self.now, expected);
        self.now = deadline;
        assert_eq!(self.visit(Cause::Deadline), None);
    }

    /// All that has come to the client, once there is something.
    fn answer(&mut self) -> Vec<u8> {
        let mut answer = vec![0; 64 * 1024];
        let count = self.client.read(&mut answer).unwrap();
        answer.truncate(count);
        answer
    }

    #[track_caller]
    fn expect_answer(&mut self, start: &[u8]) {
        let answer = self.answer();
        assert!(answer.starts_with(start), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_request_that_has_come_is_answered_and_neither_the_first_nor_a_kept_connection_ends_for_it() {
    let mut scene = TlsScene::new();
    scene.send(HEALTH);
    scene.reach_deadline(scene.timeouts.head);
    scene.expect_answer(OK);
    scene.send(HEALTH);
    scene.reach_deadline(scene.timeouts.keep_alive);
    scene.expect_answer(OK);
    // Nothing has come.
    scene.reach_deadline(scene.timeouts.keep_alive);
    assert_eq!(scene.client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_rest_of_a_head_and_of_a_body_that_has_come_makes_a_request() {
    let mut scene = TlsScene::new();
    scene.send(&HEALTH[..9]);
    scene.report_input();
    assert_eq!(scene.visit(Cause::Ordinary), None);
    scene.send(&HEALTH[9..]);
    scene.reach_deadline(scene.timeouts.head);
    scene.expect_answer(OK);
    scene.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
    scene.report_input();
    assert_eq!(scene.visit(Cause::Ordinary), None);
    scene.send(b"llo");
    scene.reach_deadline(scene.timeouts.body_grace);
    scene.expect_answer(OK);
}

#[test]
fn a_login_that_has_come_and_the_rest_of_a_message_are_heard() {
    let mut scene = TlsScene::new();
    scene.send(UPGRADE);
    scene.report_input();
    assert_eq!(scene.visit(Cause::Ordinary), None);
    scene.expect_answer(b"HTTP/1.1 101 ");
    scene.send(b"\x81\x85\0\0\0\0login\x81\x85\0\0\0\0re");
    scene.reach_deadline(scene.timeouts.login);
    scene.send(b"st.");
    scene.reach_deadline(scene.timeouts.message_grace);
    scene.send(b"\x89\x80\0\0\0\0");
    scene.report_input();
    assert_eq!(scene.visit(Cause::Ordinary), None);
    assert_eq!(scene.answer(), b"\x8a\0", "it goes on");
}

/// Requests until their answers fill what the kernel holds.
fn fill(scene: &mut TlsScene) {
    SockRef::from(&scene.end).set_send_buffer_size(4096).unwrap();
    SockRef::from(&scene.client).set_recv_buffer_size(4096).unwrap();
    while !scene.wired.connection.has_unsent() {
        scene.send(&HEALTH.repeat(50));
        scene.report_input();
        assert_eq!(scene.visit(Cause::Ordinary), None);
    }
}

/// The client reads until the server's kernel has room.
fn read_until_there_is_room(scene: &mut TlsScene) {
    let mut poll = mio::Poll::new().unwrap();
    let mut end = mio::net::TcpStream::from_std(scene.end.try_clone().unwrap());
    poll.registry()
        .register(&mut end, mio::Token(0), mio::Interest::WRITABLE)
        .unwrap();
    let mut events = mio::Events::with_capacity(1);
    while events.is_empty() {
        assert!(scene.client.read(&mut [0; 1024]).unwrap() > 0);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn output_that_the_kernel_has_room_for_is_no_stall() {
    let mut scene = TlsScene::new();
    fill(&mut scene);
    read_until_there_is_room(&mut scene);
    scene.reach_deadline(scene.timeouts.write_stall);
    assert!(!scene.wired.connection.is_lingering());

    let mut scene = TlsScene::new();
    fill(&mut scene);
    scene.now = scene.wired.deadline(&scene.timeouts).unwrap();
    assert_eq!(scene.visit(Cause::Deadline), Some(CloseReason::Stalled));
}

fn acceptor() -> TlsAcceptor {
    let file = |kind| format!("tests/fixtures/localhost.{kind}.pem").into();
    let files = CertificateFiles {
        certificate: file("cert"),
        private_key: file("key"),
    };
    let loaded = certificate::load(&files, UNIX_EPOCH).unwrap();
    TlsAcceptor::new(Arc::new(CurrentCertificate::new(loaded.certified)), SystemTime::now).unwrap()
}

fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_deadline_takes_no_step_of_a_handshake_that_the_turn_has_no_time_for() {
    let acceptor = acceptor();
    for has_begun in [false, true] {
        let mut scene = TlsScene::with(Some(&acceptor));
        let hello = client_hello();
        let (start, rest) = hello.split_at(if has_begun { 5 } else { 0 });
        if has_begun {
            scene.send(start);
            scene.report_input();
            scene.io.handshake_steps = 1;
            assert_eq!(scene.visit(Cause::Ordinary), None);
        }
        scene.send(rest);
        scene.reach_deadline(scene.timeouts.head);
        // The end, and no answer before it.
        assert_eq!(scene.client.read(&mut [0]).unwrap(), 0);
    }
}
