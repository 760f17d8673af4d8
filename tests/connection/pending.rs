//! A POST that the service answers later: what is read and said meanwhile, in which order, and until when.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use npchat::protocol::error::Refusal;
use npchat::server::config::Config;
use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Cause, Edges, Wired};
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::limits::PENDING_POST_SECONDS;
use npchat::server::metrics::Totals;
use npchat::server::refusal::CloseReason;
use npchat::server::relay::{MailboxPost, Relay};
use npchat::server::routes::Request;
use npchat::server::service::{Posted, Service};
use npchat::server::session::Session;
use npchat::server::store::Store;
use npchat::server::token::Ticket;

use testkit::{Lent, Pipe, post_request};

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const DEADLINE: Duration = Duration::from_secs(PENDING_POST_SECONDS);

/// Has every POST pending.
#[derive(Debug, Default)]
struct Later(Mutex<Vec<(Ticket, Vec<u8>)>>);

impl Service for Later {
    type Post = MailboxPost;
    type Handler = Session;

    fn admit(&self, request: &Request<'_>) -> Result<MailboxPost, Refusal> {
        Relay.admit(request)
    }

    fn post(&self, _: &MailboxPost, body: &[u8], _: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        let ticket = context.take_ticket();
        self.0.lock().unwrap().push((ticket, body.to_vec()));
        Posted::Pending(ticket)
    }

    fn open(&self, request: &Request<'_>, store: &Store) -> Option<Session> {
        Relay.open(request, store)
    }
}

/// A connection to such a service, and its worker's belongings.
struct Scene {
    lent: Lent,
    wired: Wired<Pipe, Later>,
    service: Later,
    freed: Option<CloseReason>,
}

impl Scene {
    fn new() -> Self {
        let config = Config::default();
        let now = Instant::now();
        let lent = Lent::new(&config, now);
        Self {
            wired: Wired::new(Pipe::default(), Connection::new(now, &config.timeouts)),
            lent,
            service: Later::default(),
            freed: None,
        }
    }

    /// One whose POST is pending, and what followed it has come too.
    fn waiting(then: &[u8]) -> Self {
        let mut scene = Self::new();
        scene.receive(&[post("first"), then.to_vec()].concat());
        assert_eq!(scene.bodies(), ["first"]);
        scene
    }

    fn visit(&mut self, cause: Cause) {
        if self.freed.is_none() {
            let mut io = self.lent.io.take().unwrap();
            self.freed = self.wired.visit(cause, &mut self.lent.turn_for(&self.service), &mut io);
            self.lent.io = Some(io);
        }
    }

    /// Input comes, and an event reports it.
    fn receive(&mut self, input: &[u8]) {
        self.wired.io.input.extend_from_slice(input);
        self.note_edges(false);
    }

    fn end_input(&mut self) {
        self.wired.io.input_ended = true;
        self.note_edges(true);
    }

    fn note_edges(&mut self, read_closed: bool) {
        self.wired.note_edges(Edges {
            readable: true,
            read_closed,
            writable: true,
        });
        self.visit(Cause::Ordinary);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.freed.is_some() || !self.wired.wants_turn() {
                return;
            }
            self.visit(Cause::Ordinary);
        }
        panic!("it spins");
    }

    /// What became of the POST of this number is reported; whether the connection waits for that.
    fn report(&mut self, number: usize, result: Result<u32, Refusal>) -> bool {
        let ticket = self.service.0.lock().unwrap()[number].0;
        let is_awaited = self.wired.note_posted(ticket.number(), result);
        self.settle();
        is_awaited
    }

    /// The deadlines up to then are reached.
    fn pass(&mut self, time: Duration) {
        let end = self.lent.now + time;
        while let Some(deadline) = self.deadline().filter(|deadline| *deadline <= end) {
            self.lent.now = self.lent.now.max(deadline);
            self.visit(Cause::Deadline);
            self.settle();
        }
        self.lent.now = end;
    }

    fn deadline(&self) -> Option<Instant> {
        let deadline = self.wired.deadline(&self.lent.timeouts);
        deadline.filter(|_| self.freed.is_none())
    }

    fn drain(&mut self) {
        self.lent.store.start_draining();
        self.visit(Cause::Drain);
        self.settle();
    }

    /// The bodies of all POSTs that have reached the service.
    fn bodies(&self) -> Vec<String> {
        let posts = self.service.0.lock().unwrap();
        posts
            .iter()
            .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
            .collect()
    }

    /// What was said since this was last asked.
    fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.wired.io.sent)).unwrap()
    }

    fn totals(&self) -> Totals {
        Totals::of(std::slice::from_ref(&self.lent.counters), 0)
    }
}

fn post(body: &str) -> Vec<u8> {
    post_request(([127, 0, 0, 1], 80).into(), &format!("/{ID}"), "", body)
}

fn statuses(said: &str) -> Vec<&str> {
    said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[test]
fn what_became_of_a_post_is_said_once_it_is_reported() {
    for (result, status, code) in [
        (Ok(60), "200", "sent"),
        (Ok(0), "200", "sent"),
        (Err(Refusal::MailboxFull), "507", "mailbox_full"),
        (Err(Refusal::RelayFull), "503", "relay_full"),
    ] {
        let mut scene = Scene::waiting(b"");
        assert_eq!(scene.said(), "");
        scene.pass(Duration::from_secs(1));
        assert!(scene.report(0, result));
        let said = scene.said();
        assert_eq!(statuses(&said), [status]);
        assert!(said.contains(code) && said.contains("Connection: keep-alive"), "{said}");
        if let Ok(ttl) = result {
            assert!(said.contains(&format!("\r\nTTL: {ttl}\r\n")), "{said}");
        }
        assert_eq!(scene.totals().posted, u64::from(result.is_ok()));
        // The time between two requests begins now.
        assert_eq!(scene.deadline(), Some(scene.lent.now + scene.lent.timeouts.keep_alive));
        scene.receive(HEALTH);
        assert_eq!(statuses(&scene.said()), ["200"]);
    }
}

#[test]
fn nothing_is_looked_at_before_the_answer_and_all_are_in_order() {
    let mut scene = Scene::waiting(&[HEALTH, &post("second"), HEALTH].concat());
    assert!(!scene.wired.wants_turn() && !scene.wired.connection.wants_input());
    // What comes meanwhile stays in the kernel.
    scene.receive(b"no request\r\n\r\n");
    assert_eq!(scene.wired.io.input, b"no request\r\n\r\n");
    assert_eq!(scene.said(), "");

    scene.report(0, Ok(1));
    assert_eq!(statuses(&scene.said()), ["200", "200"]);
    assert_eq!(scene.bodies(), ["first", "second"]);
    scene.report(1, Err(Refusal::MailboxFull));
    assert_eq!(statuses(&scene.said()), ["507", "200", "400"]);
}

#[test]
fn however_the_request_is_cut_it_is_answered_once() {
    let chunked = format!(
        "POST /{ID} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n\
         5\r\nfirst\r\n0\r\n\r\n"
    );
    for request in [post("first"), chunked.into_bytes()] {
        for cut in 1..request.len() {
            let mut scene = Scene::new();
            scene.receive(&request[..cut]);
            assert_eq!(scene.bodies().len(), 0, "cut at {cut}");
            scene.receive(&request[cut..]);
            assert_eq!(scene.bodies(), ["first"]);
            assert!(scene.report(0, Ok(1)), "cut at {cut}");
            let said = scene.said();
            assert_eq!(
                statuses(said.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n")),
                ["200"],
                "cut at {cut}"
            );
            assert_eq!(scene.lent.store.memory_used(), 0);
        }
    }
}

#[test]
fn what_is_reported_twice_or_for_another_request_changes_nothing() {
    let mut scene = Scene::waiting(&post("second"));
    scene.report(0, Ok(1));
    scene.said();
    // The connection waits, and not for this.
    assert!(!scene.report(0, Err(Refusal::MailboxFull)));
    assert_eq!((scene.said().as_str(), scene.wired.wants_turn()), ("", false));
    assert!(scene.report(1, Ok(2)));
    assert!(scene.said().contains("\r\nTTL: 2\r\n"));
    assert!(!scene.report(1, Err(Refusal::RelayFull)));
    assert!(!scene.report(0, Ok(3)));
    assert_eq!(scene.said(), "");

    // The first of two is what counts, even if the answer has not been written yet.
    let mut scene = Scene::waiting(b"");
    let number = scene.service.0.lock().unwrap()[0].0.number();
    assert!(scene.wired.note_posted(number, Ok(1)));
    assert!(!scene.wired.note_posted(number, Err(Refusal::RelayFull)));
    scene.settle();
    assert_eq!(statuses(&scene.said()), ["200"]);
}

#[test]
fn what_is_not_reported_in_time_is_answered_so_and_nothing_waits_behind_it() {
    let mut scene = Scene::waiting(&post("second"));
    assert_eq!(scene.deadline(), Some(scene.lent.now + DEADLINE));
    scene.pass(Duration::from_millis(1000 * PENDING_POST_SECONDS - 1));
    assert_eq!(scene.said(), "");
    scene.pass(Duration::from_millis(1));
    let said = scene.said();
    assert_eq!(statuses(&said), ["504"]);
    for part in [
        "storage_timeout",
        "Connection: close",
        "Retry-After: 5",
        "Expose-Headers: Retry-After",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(
        (scene.totals().refused(Refusal::StorageTimeout), scene.totals().posted),
        (1, 0)
    );
    assert!(scene.wired.io.half_closed);
    assert_eq!(scene.bodies(), ["first"]);
    assert!(!scene.report(0, Ok(1)));
    assert_eq!(scene.said(), "");
}

#[test]
fn a_client_that_takes_nothing_gets_its_answers_in_order_and_the_deadline_holds_for_it_too() {
    for is_reported in [true, false] {
        let mut scene = Scene::new();
        scene.wired.io.send_sizes = vec![0];
        scene.receive(&[HEALTH, &post("first"), HEALTH].concat());
        assert_eq!(scene.bodies(), ["first"]);
        if is_reported {
            assert!(scene.report(0, Ok(1)));
        }
        scene.pass(DEADLINE);
        assert!(!scene.wired.connection.wants_input());
        assert_eq!(scene.said(), "");
        scene.wired.io.send_sizes.clear();
        scene.note_edges(false);
        let expected = if is_reported {
            &["200", "200", "200"][..]
        } else {
            &["200", "504"]
        };
        assert_eq!(statuses(&scene.said()), expected);
    }
}

#[test]
fn what_is_reported_late_is_said_if_nothing_else_has_been() {
    let mut scene = Scene::new();
    scene.wired.io.send_sizes = vec![0];
    scene.receive(&[HEALTH, &post("first"), HEALTH].concat());
    scene.pass(DEADLINE);
    assert!(scene.report(0, Ok(1)));
    scene.wired.io.send_sizes.clear();
    scene.note_edges(false);
    assert_eq!(statuses(&scene.said()), ["200"; 3]);
}

#[test]
fn a_client_that_takes_nothing_is_closed_for_that_while_its_post_is_pending() {
    let mut scene = Scene::new();
    scene.wired.io.send_sizes = vec![0];
    scene.receive(&[HEALTH, &post("first")].concat());
    scene.pass(scene.lent.timeouts.write_stall * 2);
    assert_eq!(scene.freed, Some(CloseReason::Stalled));
}

#[test]
fn a_client_that_has_ended_its_side_gets_its_answer_and_those_to_what_it_had_sent() {
    let mut scene = Scene::waiting(HEALTH);
    scene.end_input();
    assert_eq!((scene.freed, scene.wired.wants_turn()), (None, false));
    scene.report(0, Ok(1));
    assert_eq!(statuses(&scene.said()), ["200", "200"]);
    assert_eq!(scene.freed, Some(CloseReason::Done));
}

#[test]
fn a_pending_post_does_not_count_as_idle() {
    let mut scene = Scene::new();
    scene.lent.timeouts.keep_alive = Duration::from_secs(1);
    scene.lent.timeouts.head = Duration::from_secs(1);
    scene.receive(&post("first"));
    scene.pass(Duration::from_secs(PENDING_POST_SECONDS - 1));
    assert_eq!((scene.freed, scene.wired.io.half_closed), (None, false));
    scene.report(0, Ok(1));
    assert_eq!(statuses(&scene.said()), ["200"]);
    scene.pass(Duration::from_secs(1));
    assert!(scene.wired.io.half_closed);
}

#[test]
fn a_drain_waits_for_it_and_its_answer_is_the_last() {
    let results = [Some(Ok(1)), Some(Err(Refusal::MailboxFull)), None];
    for (result, behind) in results.into_iter().flat_map(|result| [(result, HEALTH), (result, b"")]) {
        let mut scene = Scene::waiting(behind);
        scene.drain();
        assert_eq!((scene.said().as_str(), scene.wired.io.half_closed), ("", false));
        match result {
            Some(result) => assert!(scene.report(0, result)),
            None => scene.pass(DEADLINE),
        }
        let said = scene.said();
        assert_eq!(statuses(&said).len(), 1, "{said}");
        assert!(said.contains("\r\nConnection: close\r\n"), "{said}");
        assert!(scene.wired.io.half_closed);
        assert!(!scene.report(0, Ok(1)));
    }
}

#[test]
fn what_it_holds_is_counted_and_it_can_be_evicted() {
    let behind = HEALTH.repeat(100);
    let mut scene = Scene::waiting(&behind);
    assert!(scene.wired.held_bytes() >= behind.len());
    assert!(scene.wired.held_bytes() < behind.len() + 2048);
    scene.visit(Cause::Evict);
    assert_eq!(scene.freed, Some(CloseReason::ConnectionMemory));
    assert_eq!(scene.wired.held_bytes(), 0);
    assert!(!scene.report(0, Ok(1)));
    assert_eq!(scene.said(), "");
    // With nothing behind it, it holds nothing beside itself.
    assert_eq!(Scene::waiting(b"").wired.held_bytes(), 0);
}
