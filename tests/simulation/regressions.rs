//! What runs have found, each as the shortest story that shows it.
//!
//! One connection with no worker around it; nobody reads what it says unless the story has it.

use std::time::{Duration, Instant, SystemTime};

use npchat::server::config::{Config, Timeouts};
use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Cause, Edges, IoContext, Wired};
use npchat::server::context::Context;
use npchat::server::http::HttpDate;
use npchat::server::limits::REQUESTS_PER_VISIT;
use npchat::server::mailboxes::Deliveries;
use npchat::server::metrics::Counters;
use npchat::server::signer::ChallengeSigner;
use npchat::server::store::Store;
use npchat::server::token::{SessionAddress, Token};
use testkit::Pipe;

use crate::identity;

#[test]
fn a_request_that_waits_for_its_client_to_take_earlier_answers_is_not_too_late() {
    let id = &identity::all()[0].id;
    let head = format!("POST /{id} HTTP/1.1\r\nHost: r\r\n");
    let short = format!("{head}Content-Length: 1\r\n\r\nx");
    // Its first piece is the last step of the turn's budget, so that it is left over in the middle of its body.
    let in_pieces = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    let input = short.repeat(REQUESTS_PER_VISIT - 1) + &in_pieces;

    let start = Instant::now();
    let mut stage = Stage::new(start);
    let mut wired = Wired::new(Pipe::default(), Connection::new(start, &Timeouts::default()));
    wired.io.input = input.into_bytes();
    wired.io.send_sizes = vec![0];
    stage.visit(&mut wired, Cause::Ordinary, start);
    wired.io.send_sizes = vec![usize::MAX];
    let too_late = start + Timeouts::default().body_grace + Duration::from_secs(1);
    stage.visit(&mut wired, Cause::Deadline, too_late);
    stage.visit(&mut wired, Cause::Ordinary, too_late);

    let answers = String::from_utf8_lossy(&wired.io.sent);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS_PER_VISIT);
    assert!(!answers.contains("HTTP/1.1 408"));
}

/// What a turn borrows.
struct Stage {
    store: Store,
    signer: ChallengeSigner,
    counters: Counters,
    out: Vec<u8>,
}

impl Stage {
    fn new(now: Instant) -> Self {
        let config = Config::default();
        Self {
            store: Store::new(&config, [1, 2], now, "1970-01-01T00:00:00Z"),
            signer: ChallengeSigner::new(1).expect("this machine can make a key"),
            counters: Counters::default(),
            out: Vec::new(),
        }
    }

    /// One visit, for which an event has reported all that there is.
    fn visit(&mut self, wired: &mut Wired<Pipe>, cause: Cause, now: Instant) {
        wired.note_edges(Edges {
            readable: true,
            read_closed: false,
            writable: true,
        });
        let mut context = Context {
            now,
            mail_now: now,
            date: &HttpDate::at(SystemTime::UNIX_EPOCH),
            address: SessionAddress {
                worker: 0,
                token: Token {
                    index: 0,
                    generation: 0,
                },
            },
            store: &self.store,
            timeouts: &Timeouts::default(),
            requests: REQUESTS_PER_VISIT,
            login_steps: 1,
            signer: &mut self.signer,
            counters: &self.counters,
            out: &mut self.out,
            wake: &mut Vec::new(),
            deliveries: &mut Deliveries::new(),
        };
        assert_eq!(wired.visit(cause, &mut context, &mut IoContext::default()), None);
    }
}
