//! What one connection may have in one turn, however much it sends: the rest waits its turn like everybody else's.

use npchat::server::connection::visit::Cause;
use npchat::server::limits::{FRAMES_PER_REQUEST, OUTBOUND_HIGH_WATER_BYTES, REQUESTS_PER_VISIT};
use testkit::{Frame, Identity, Opcode, post_request, upgrade_request};

use crate::endpoint::Endpoint;

/// Longest answer to a message.
const ANSWER_MAX_BYTES: usize = 512;

/// Gives input, then resumes as long as the connection wants it. Returns what `measure` grew by in each visit.
fn growth_by_turn(endpoint: &mut Endpoint, input: &[u8], measure: impl Fn(&Endpoint) -> u64) -> Vec<u64> {
    let mut growth = Vec::new();
    let mut last = measure(endpoint);
    endpoint.read(input);
    loop {
        let now = measure(endpoint);
        growth.push(now - last);
        last = now;
        if endpoint.freed.is_some() || !endpoint.connection().wants_turn() {
            return growth;
        }
        endpoint.visit(Cause::Ordinary);
    }
}

#[test]
fn a_flood_of_pipelined_posts_is_answered_a_share_in_each_turn() {
    const POSTS: usize = 500;
    let mut endpoint = Endpoint::new();
    let post = post_request(
        ([127, 0, 0, 1], 80).into(),
        &format!("/{}", Identity::generate().id),
        "",
        "",
    );
    let by_turn = growth_by_turn(&mut endpoint, &post.repeat(POSTS), |endpoint| endpoint.totals().posted);
    assert!(
        by_turn.iter().all(|posted| *posted <= REQUESTS_PER_VISIT as u64),
        "{by_turn:?}"
    );
    assert_eq!(by_turn.iter().sum::<u64>(), POSTS as u64);
    assert_eq!(by_turn.len(), POSTS.div_ceil(REQUESTS_PER_VISIT));
}

#[test]
fn a_flood_of_texts_is_heard_a_share_in_each_turn() {
    const TEXTS: usize = 1000;
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    let texts = Frame::text("{}").masked().repeat(TEXTS);
    let turns = growth_by_turn(&mut endpoint, &texts, |_| 0).len();
    assert_eq!(turns, TEXTS.div_ceil(REQUESTS_PER_VISIT * FRAMES_PER_REQUEST));
}

#[test]
fn a_flood_of_challenge_requests_takes_no_more_than_the_turn_has_left() {
    let mut endpoint = Endpoint::new();
    endpoint.receive(upgrade_request(([127, 0, 0, 1], 80).into(), &Identity::generate().id).as_bytes());
    let requests = Frame::text(r#"{"get":"challenge"}"#).masked().repeat(8);
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.sent.clear();
    endpoint.read(&requests);
    assert!(endpoint.sent.is_empty(), "other logins have had the turn");
    assert!(endpoint.connection().awaits_login_step() && !endpoint.connection().wants_input());
    assert!(
        !endpoint.connection().wants_turn(),
        "it waits for a step and for nothing else"
    );

    endpoint.lent.login_steps_per_turn = 3;
    let frame_bytes = 4 + r#"{"challenge":{"txt":"","sig":""}}"#.len() + 43 + 86;
    for expected in [3, 6, 8] {
        endpoint.visit(Cause::Ordinary);
        assert_eq!(endpoint.sent.len(), expected * frame_bytes);
    }
    assert!(!endpoint.connection().awaits_login_step());
}

#[test]
fn a_connection_is_a_newcomer_until_it_is_answered_and_from_its_upgrade_to_its_login() {
    let identity = Identity::generate();
    let mut sender = Endpoint::new();
    assert!(sender.connection().is_new());
    let post = post_request(([127, 0, 0, 1], 80).into(), &format!("/{}", identity.id), "", "mail");
    let (part, rest) = post.split_at(post.len() - 1);
    sender.receive(part);
    assert!(sender.connection().is_new());
    sender.receive(rest);
    assert!(!sender.connection().is_new());
    sender.upgrade(&identity);
    assert!(sender.connection().is_new());
    let mut recipient = Endpoint::new();
    recipient.log_in(&identity);
    assert!(!recipient.connection().is_new());
}

#[test]
fn a_session_that_waits_to_log_in_again_still_gets_its_mail() {
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&identity);
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.read(&Frame::text(r#"{"get":"challenge"}"#).masked());
    endpoint.post(&identity.id, b"mail");
    assert!(endpoint.sent.starts_with(&Frame::text("mail").unmasked()));
    assert!(endpoint.connection().awaits_login_step());
}

#[test]
fn a_session_sends_what_it_likes_while_others_log_in() {
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&Identity::generate());
    endpoint.lent.login_steps_per_turn = 0;
    endpoint.sent.clear();
    let frames = [Frame::text("{}").masked(), Frame::new(Opcode::PING, *b"p").masked()].concat();
    endpoint.read(&frames);
    assert!(endpoint.sent.ends_with(b"p"), "the ping after the text is answered");
}

#[test]
fn a_client_that_takes_no_answers_has_no_more_requests_read_than_the_high_water() {
    let mut endpoint = Endpoint::with_send_sizes(&[0]);
    let post = post_request(
        ([127, 0, 0, 1], 80).into(),
        &format!("/{}", Identity::generate().id),
        "",
        "",
    );
    endpoint.read(&post.repeat(400));
    for _ in 0..100 {
        endpoint.visit(Cause::Ordinary);
    }
    assert!(!endpoint.connection().wants_input() && !endpoint.connection().wants_turn());
    assert!(endpoint.unsent() <= OUTBOUND_HIGH_WATER_BYTES + ANSWER_MAX_BYTES);
}

#[test]
fn a_full_mailbox_comes_a_share_in_each_turn_and_waits_for_a_reader_that_is_slow() {
    const MESSAGES: usize = 100;
    const LENGTH: usize = 10_000;
    let identity = Identity::generate();
    let mut endpoint = Endpoint::new();
    endpoint.log_in(&identity);
    endpoint.set_send_size(0);
    for _ in 0..MESSAGES {
        endpoint.post(&identity.id, &[b'x'; LENGTH]);
    }
    assert!(endpoint.unsent() <= OUTBOUND_HIGH_WATER_BYTES + LENGTH);
    assert_eq!(
        endpoint.stats().messages,
        MESSAGES as u64,
        "what isn't confirmed is in the mailbox"
    );

    endpoint.set_send_size(usize::MAX);
    endpoint.confirm_all();
    assert_eq!(
        (endpoint.totals().delivered, endpoint.stats().messages),
        (MESSAGES as u64, 0)
    );
}
