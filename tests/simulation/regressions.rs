//! What runs have found, each as the shortest story that shows it.
//!
//! One connection with no worker around it; nobody reads what it says unless the story has it.

use std::time::{Duration, Instant};

use npchat::server::config::{Config, Timeouts};
use npchat::server::connection::visit::{Cause, Edges, IoContext};
use npchat::server::limits::REQUESTS_PER_VISIT;
use testkit::{Lent, Piped};

use crate::identity;

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

/// One visit, for which an event has reported all that there is.
fn visit(lent: &mut Lent, piped: &mut Piped, cause: Cause) {
    piped.note_edges(Edges {
        readable: true,
        read_closed: false,
        writable: true,
    });
    assert_eq!(piped.visit(cause, &mut lent.turn(), &mut IoContext::default()), None);
}
