//! npchat.2 without a socket: its first challenge in the turn of the upgrade or in its own, however the input is split.

use npchat::server::connection::visit::Cause;
use npchat::server::limits::CHALLENGES_PER_CONNECTION;
use npchat::server::refusal::CloseReason;
use testkit::{Frame, Identity, OFFER, Opcode, upgrade_request_with};

use crate::endpoint::Endpoint;

const HOST: &str = "relay.example:8443";
const DONE: &str = r#"{"message":"handshake done"}"#;

fn upgrade(identity: &Identity) -> Vec<u8> {
    upgrade_request_with(HOST, &identity.id, OFFER).into_bytes()
}

/// How many challenges were sent.
fn challenges(endpoint: &Endpoint) -> usize {
    let start = br#"{"challenge":"#;
    endpoint.sent.windows(start.len()).filter(|text| text == start).count()
}

/// Upgrades and logs in, with both given in pieces of these lengths.
fn log_in(endpoint: &mut Endpoint, identity: &Identity, upgrade_piece: usize, solution_piece: usize) {
    endpoint.receive_all(upgrade(identity).chunks(upgrade_piece));
    assert!(endpoint.sent.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(challenges(endpoint), 1);
    let solution = identity.solution_for_host(&endpoint.last_challenge(), HOST);
    endpoint.sent.clear();
    endpoint.receive_all(Frame::text(&solution).masked().chunks(solution_piece));
    assert_eq!(endpoint.sent, Frame::text(DONE).unmasked());
    endpoint.sent.clear();
}

#[test]
fn an_upgrade_and_a_solution_log_in_however_they_are_split() {
    let identity = Identity::generate();
    for piece in (1..20).chain([100, 1000]) {
        for send_size in [1, 7, usize::MAX] {
            log_in(
                &mut Endpoint::with_send_sizes(&[send_size]),
                &identity,
                piece,
                21 - piece.min(20),
            );
        }
    }
    let request = upgrade(&identity);
    for cut in 1..request.len() {
        let mut endpoint = Endpoint::new();
        let (start, rest) = request.split_at(cut);
        endpoint.receive(start);
        assert!(endpoint.sent.is_empty());
        endpoint.receive(rest);
        assert_eq!(challenges(&endpoint), 1, "cut at {cut}");
    }
}

#[test]
fn the_challenge_leaves_in_the_turn_of_the_upgrade() {
    let mut endpoint = Endpoint::new();
    endpoint.read(&upgrade(&Identity::generate()));
    assert!(endpoint.sent.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(challenges(&endpoint), 1);
    assert!(!endpoint.connection().awaits_login_step() && !endpoint.connection().wants_turn());
}

#[test]
fn a_first_challenge_that_finds_no_step_left_waits_for_one_like_any_other() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.read(&upgrade(&identity));
    assert!(endpoint.sent.ends_with(b"\r\n\r\n"), "the upgrade itself doesn't wait");
    for _ in 0..3 {
        endpoint.visit(Cause::Ordinary);
        assert!(endpoint.connection().awaits_login_step() && !endpoint.connection().wants_turn());
    }
    assert_eq!(challenges(&endpoint), 0);

    endpoint.lent.login_steps_per_turn = 1;
    endpoint.visit(Cause::Ordinary);
    assert_eq!(challenges(&endpoint), 1);
    let solution = identity.solution_for_host(&endpoint.last_challenge(), HOST);
    endpoint.receive(&Frame::text(&solution).masked());
    assert_eq!(endpoint.totals().logins, 1);
}

#[test]
fn who_waits_for_the_first_challenge_is_cut_off_at_the_deadline_of_the_login() {
    let mut endpoint = Endpoint::new();
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.read(&upgrade(&Identity::generate()));
    endpoint.pass(endpoint.lent.timeouts.login);
    let reason = CloseReason::LoginTimeout;
    assert!(endpoint.sent.ends_with(&Frame::close(1008, reason.code()).unmasked()));
}

#[test]
fn the_first_challenge_counts_like_those_that_are_asked_for() {
    let mut endpoint = Endpoint::new();
    endpoint.receive(&upgrade(&Identity::generate()));
    let ask = Frame::text(r#"{"get":"challenge"}"#).masked();
    let most = usize::from(CHALLENGES_PER_CONNECTION);
    endpoint.receive(&ask.repeat(most - 1));
    endpoint.settle();
    assert_eq!((challenges(&endpoint), endpoint.is_closing()), (most, false));
    endpoint.receive(&ask);
    let reason = CloseReason::TooManyChallenges;
    assert!(endpoint.sent.ends_with(&Frame::close(1008, reason.code()).unmasked()));
}

#[test]
fn a_login_without_the_subprotocol_hears_nothing_before_it_asks() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.receive(upgrade_request_with(HOST, &identity.id, "Sec-WebSocket-Protocol: chat\r\n").as_bytes());
    assert!(endpoint.sent.ends_with(b"\r\n\r\n"));
    assert!(!endpoint.connection().awaits_login_step() && endpoint.connection().wants_input());
}

#[test]
fn a_session_gets_its_mail_as_binary_in_order() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    log_in(&mut endpoint, &identity, 1000, 1000);
    let bodies = [&b"plain"[..], b"", DONE.as_bytes(), b"\xff"];
    for body in bodies {
        endpoint.post(&identity.id, body);
    }
    endpoint.settle();
    let frames = Frame::parse_all(&endpoint.sent).into_iter();
    let mail: Vec<_> = frames.filter(|frame| frame.opcode != Opcode::PING).collect();
    assert_eq!(mail, bodies.map(|body| Frame::new(Opcode::BINARY, body)));
}
