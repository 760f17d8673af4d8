//! However input is split and output is taken, the same bytes come out and the same mail is stored.
//!
//! A challenge is random, so its members are masked before outputs are compared.

use std::mem;

use proptest::prelude::*;
use proptest::sample::Index;

use npchat::server::mailboxes::Stats;
use npchat::server::metrics::Totals;
use npchat::server::refusal::CloseReason;
use testkit::{Frame, Identity, Opcode, post_request, upgrade_request};

use crate::endpoint::Endpoint;

/// Somebody who never logs in.
const OTHER_ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

#[derive(Debug, Clone)]
struct Post {
    is_to_self: bool,
    is_chunked: bool,
    body: Vec<u8>,
}

/// How bytes come and go.
#[derive(Debug, Clone)]
struct Transport {
    /// Where input is cut, relative to its length.
    cuts: Vec<Index>,
    /// How much each send takes, over and over.
    send_sizes: Vec<usize>,
    visits_needlessly: bool,
}

/// All that can be seen of a run.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// What was sent before the login, during it, and after it.
    sent: Vec<Vec<u8>>,
    /// What was stored before the login, and at the end.
    stats: Vec<(Stats, u64)>,
    totals: Totals,
    half_closed: bool,
    freed: Option<CloseReason>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn requests_an_upgrade_and_frames_come_out_the_same_however_they_are_split(
        posts in prop::collection::vec(post(), 0..80),
        transport in transport(),
    ) {
        let identity = Identity::generate();
        prop_assert_eq!(run(&identity, &posts, &transport), run(&identity, &posts, &Transport::whole()));
    }

    #[test]
    fn what_follows_a_bad_request_is_discarded_however_it_is_split(
        before in prop::collection::vec(post(), 0..20),
        transport in transport(),
    ) {
        let bad = format!("POST /{OTHER_ID} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
        let after = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
        let input = [requests(OTHER_ID, &before), bad.into_bytes(), after.into_bytes()].concat();
        let outcome = |endpoint: &mut Endpoint, cuts: &[Index]| {
            endpoint.receive_all(pieces(&input, cuts));
            endpoint.end_input();
            endpoint.settle();
            (mem::take(&mut endpoint.sent), endpoint.stats(), endpoint.totals(), endpoint.freed)
        };
        let expected = outcome(&mut Endpoint::new(), &[]);
        prop_assert_eq!(expected.3, Some(CloseReason::Answered));
        prop_assert_eq!(outcome(&mut transport.endpoint(), &transport.cuts), expected);
    }

    #[test]
    fn mail_and_answers_to_pings_each_keep_their_order_when_the_socket_is_full_again_and_again(
        mails in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30_000), 1..12),
        send_sizes in send_sizes(),
    ) {
        let identity = Identity::generate();
        let mut endpoint = Endpoint::with_send_sizes(&send_sizes);
        endpoint.log_in(&identity);
        for (number, mail) in (0_u8..).zip(&mails) {
            endpoint.post(&identity.id, mail);
            endpoint.receive(&Frame::new(Opcode::PING, [number]).masked());
        }
        endpoint.confirm_all();
        let frames = Frame::parse_all(&endpoint.sent).into_iter().filter(|frame| frame.opcode != Opcode::PING);
        let (heard, pongs): (Vec<_>, Vec<_>) =
            frames.partition(|frame| frame.opcode != Opcode::PONG);
        let payloads = |frames: Vec<Frame>| frames.into_iter().map(|frame| frame.payload).collect::<Vec<_>>();
        prop_assert_eq!(payloads(heard), mails.clone());
        prop_assert_eq!(payloads(pongs), (0_u8..).take(mails.len()).map(|number| vec![number]).collect::<Vec<_>>());
        prop_assert_eq!(endpoint.stats().messages, 0);
        prop_assert_eq!(endpoint.totals().delivered, mails.len() as u64);
    }
}

#[test]
fn input_byte_by_byte_and_output_byte_by_byte_change_nothing() {
    let identity = Identity::generate();
    let body = |length: u8| -> Vec<u8> { (0..length).collect() };
    let posts: Vec<_> = [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .flat_map(|(is_to_self, is_chunked)| {
            [0, 1, 30].map(|length| Post {
                is_to_self,
                is_chunked,
                body: body(length),
            })
        })
        .collect();
    let expected = run(&identity, &posts, &Transport::whole());
    assert_eq!(expected.totals.posted, 12);
    assert_eq!(
        expected.stats[1].0.messages, 6,
        "what was delivered is confirmed at once"
    );
    assert_eq!(
        run_in(&mut Endpoint::with_send_sizes(&[1]), &identity, &posts, |input| {
            input.chunks(1).collect()
        }),
        expected
    );
}

fn post() -> impl Strategy<Value = Post> {
    let body = prop::collection::vec(any::<u8>(), 0..400);
    (any::<bool>(), any::<bool>(), body).prop_map(|(is_to_self, is_chunked, body)| Post {
        is_to_self,
        is_chunked,
        body,
    })
}

fn transport() -> impl Strategy<Value = Transport> {
    let cuts = prop::collection::vec(any::<Index>(), 0..40);
    (cuts, send_sizes(), any::<bool>()).prop_map(|(cuts, send_sizes, visits_needlessly)| Transport {
        cuts,
        send_sizes,
        visits_needlessly,
    })
}

fn send_sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(0_usize), 1..20_usize, 20..5000_usize, Just(usize::MAX)];
    // One at least that isn't a full socket.
    prop::collection::vec(size, 0..6).prop_map(|mut sizes| {
        sizes.push(700);
        sizes
    })
}

fn run(identity: &Identity, posts: &[Post], transport: &Transport) -> Outcome {
    run_in(&mut transport.endpoint(), identity, posts, |input| {
        pieces(input, &transport.cuts)
    })
}

/// Pipelined posts with an upgrade and a frame glued on; the login, which brings the mail; more frames, and a Close.
///
/// It comes to rest in between, since how mail and answers to pings interleave does depend on when which came.
fn run_in(
    endpoint: &mut Endpoint,
    identity: &Identity,
    posts: &[Post],
    split: impl Fn(&[u8]) -> Vec<&[u8]>,
) -> Outcome {
    let mut outcome = Outcome {
        sent: Vec::new(),
        stats: Vec::new(),
        totals: endpoint.totals(),
        half_closed: false,
        freed: None,
    };
    let upgrade = upgrade_request(([127, 0, 0, 1], 80).into(), &identity.id);
    let ask = Frame::text(r#"{"get":"challenge"}"#).masked();
    let opening = [requests(&identity.id, posts), upgrade.into_bytes(), ask].concat();
    endpoint.receive_all(split(&opening));
    outcome.note(endpoint);

    let challenge = endpoint.last_challenge();
    endpoint.sent.clear();
    endpoint.receive_all(split(&Frame::text(&identity.solution(&challenge)).masked()));
    outcome.note(endpoint);
    endpoint.sent.clear();

    endpoint.receive_all(split(&parting()));
    endpoint.end_input();
    endpoint.settle();
    outcome.note(endpoint);
    outcome
}

impl Transport {
    /// All in one piece.
    fn whole() -> Self {
        Self {
            cuts: Vec::new(),
            send_sizes: vec![usize::MAX],
            visits_needlessly: false,
        }
    }

    fn endpoint(&self) -> Endpoint {
        let mut endpoint = Endpoint::with_send_sizes(&self.send_sizes);
        endpoint.visits_needlessly = self.visits_needlessly;
        endpoint
    }
}

impl Outcome {
    fn note(&mut self, endpoint: &Endpoint) {
        self.sent.push(masked(&endpoint.sent));
        self.stats.push((endpoint.stats(), endpoint.lent.store.memory_used()));
        self.totals = endpoint.totals();
        (self.half_closed, self.freed) = (endpoint.half_closed(), endpoint.freed);
    }
}

/// A ping, a text in three fragments with a ping among them, a Close.
fn parting() -> Vec<u8> {
    let fragment = |opcode, fin, payload: &str| Frame {
        fin,
        ..Frame::new(opcode, payload)
    };
    let frames = [
        Frame::new(Opcode::PING, "one"),
        fragment(Opcode::TEXT, false, r#"{"what a"#),
        fragment(Opcode::CONTINUATION, false, " client pushes"),
        Frame::new(Opcode::PING, "two"),
        fragment(Opcode::CONTINUATION, true, r#"":"is ignored"}"#),
        Frame::close(1000, "bye"),
    ];
    frames.iter().flat_map(Frame::masked).collect()
}

fn requests(own_id: &str, posts: &[Post]) -> Vec<u8> {
    let request = |post: &Post| {
        let id = if post.is_to_self { own_id } else { OTHER_ID };
        if !post.is_chunked {
            return post_request(([127, 0, 0, 1], 80).into(), &format!("/{id}"), "", &post.body);
        }
        let mut bytes = format!("POST /{id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in post.body.chunks(37) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    posts.iter().flat_map(request).collect()
}

fn pieces<'i>(input: &'i [u8], cuts: &[Index]) -> Vec<&'i [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len())).collect();
    cuts.push(input.len());
    cuts.sort_unstable();
    let mut start = 0;
    cuts.into_iter()
        .map(|cut| &input[mem::replace(&mut start, cut)..cut])
        .collect()
}

/// With stars in place of what is random in a challenge.
fn masked(sent: &[u8]) -> Vec<u8> {
    let mut masked = sent.to_vec();
    for (name, length) in [(&br#""txt":""#[..], 43), (br#""sig":""#, 86)] {
        let found = masked.windows(name.len()).rposition(|window| window == name);
        if let Some(value) = found.map(|start| start + name.len()) {
            masked[value..value + length].fill(b'*');
        }
    }
    masked
}
