//! What runs have found, each as the shortest story that shows it.
//!
//! One connection with no worker around it, or a worker without connections; nothing is read but what the story has.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use npchat::server::config::{Config, Timeouts};
use npchat::server::connection::visit::{Cause, Edges, IoContext};
use npchat::server::limits::{ACCEPT_PAUSE_MILLIS, REQUESTS_PER_VISIT};
use npchat::server::signer::ChallengeSigner;
use npchat::server::worker::shared::{Shared, Start};
use testkit::{Lent, Piped, Random};

use crate::identity;
use crate::later::Later;
use crate::model::Model;
use crate::stage::Stage;
use crate::times::Times;
use crate::trace::Trace;
use crate::worker::{Bell, Worker};

#[test]
fn a_request_that_waits_for_its_client_to_take_earlier_answers_is_not_too_late() {
    let id = &identity::all()[0].id;
    let head = format!("POST /{id} HTTP/1.1\r\nHost: r\r\n");
    let short = format!("{head}Content-Length: 1\r\n\r\nx");
    // Its first piece is the last step of the turn's budget, so that it is left over in the middle of its body.
    let in_pieces = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    let input = short.repeat(REQUESTS_PER_VISIT - 1) + &in_pieces;

    let mut lent = Lent::new(&Config::default(), Instant::now());
    let mut piped = lent.accept();
    piped.io.input = input.into_bytes();
    piped.io.send_sizes = vec![0];
    visit(&mut lent, &mut piped, Cause::Ordinary);
    piped.io.send_sizes = vec![usize::MAX];
    lent.now += Timeouts::default().body_grace + Duration::from_secs(1);
    visit(&mut lent, &mut piped, Cause::Deadline);
    visit(&mut lent, &mut piped, Cause::Ordinary);

    let answers = String::from_utf8_lossy(&piped.io.sent);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS_PER_VISIT);
    assert!(!answers.contains("HTTP/1.1 408"));
}

#[test]
fn a_worker_without_room_sleeps_on_when_a_pause_in_accepting_is_over() {
    let (config, start) = (Config::default(), Instant::now());
    let (times, bell) = (Times::new(start, 1), Bell::default());
    let begun = Start {
        secret: [1, 2],
        at: "1970-01-01T00:00:00Z",
        room: 10,
        listeners: 1,
    };
    let shared = Arc::new(Shared::new(&config, begun, &times, vec![bell.clone()]));
    let stage = Stage::new(start, &shared, Model::new(&config), Random::new(0), Trace::new(None));
    let service = Arc::new(Later::new(0, Random::new(0)));
    let mut worker = Worker::new(
        0,
        (&shared, &service),
        bell,
        ChallengeSigner::new(1).expect("this machine can make a key"),
        times.clone(),
        &Rc::new(RefCell::new(stage)),
        4096,
    );
    shared
        .store
        .connection_budget()
        .charge(config.connection_memory_bytes() + 1);
    worker
        .listener
        .pause_until(start + Duration::from_millis(ACCEPT_PAUSE_MILLIS));
    for _ in 0..5 {
        times.pass(Duration::from_millis(ACCEPT_PAUSE_MILLIS));
        let now = times.now();
        worker.take_turn(now, |_| false);
        assert!(
            worker.next_turn(now) > now,
            "it takes one turn after the other for nothing"
        );
    }
}

/// One visit, for which an event has reported all that there is.
fn visit(lent: &mut Lent, piped: &mut Piped, cause: Cause) {
    piped.note_edges(Edges {
        readable: true,
        read_closed: false,
        writable: true,
    });
    assert_eq!(piped.visit(cause, &mut lent.turn(), &mut IoContext::default()), None);
}
