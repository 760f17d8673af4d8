//! The steps whose instructions are counted, on whole connections without sockets.
//!
//! What a step needs first is done before, uncounted: logins with their signatures, the posts of what is delivered, a
//! first round, which leaves the allocator and the tables as they stay. Part of each count is what stands for the
//! socket, which copies input and output once each.

use std::hint::black_box;
use std::time::{Duration, Instant};

use npchat::server::config::Config;
use npchat::server::limits::PING_SPACING_MILLIS;
use testkit::{Lent, upgrade_request};

use crate::peers::{Poster, Receivers, SESSIONS};

const SMALL: usize = 480;
/// Of this size a needless copy is seen, which of the small one is a matter of a few instructions.
const LARGE: usize = 16 * 1024;

/// Posts that are counted.
const SMALL_POSTS: usize = 2000;
const LARGE_POSTS: usize = 200;
/// Rounds that are counted, in which every session gets a message.
const ROUNDS: usize = 10;
const UPGRADES: usize = 500;

/// Something that a connection does.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// How often it is done while instructions are counted.
    pub(crate) times: u64,
    /// Does it that often.
    pub(crate) run: fn(),
}

pub(crate) const STEPS: [Step; 5] = [
    Step {
        name: "POST of 480 bytes to a new mailbox",
        times: SMALL_POSTS as u64,
        run: || post(SMALL, SMALL_POSTS),
    },
    Step {
        name: "POST of 16 KiB to a new mailbox",
        times: LARGE_POSTS as u64,
        run: || post(LARGE, LARGE_POSTS),
    },
    Step {
        name: "delivery of 480 bytes, with a ping and its pong",
        times: (ROUNDS * SESSIONS) as u64,
        run: || deliver(SMALL),
    },
    Step {
        name: "delivery of 16 KiB, with a ping and its pong",
        times: (ROUNDS * SESSIONS) as u64,
        run: || deliver(LARGE),
    },
    Step {
        name: "new connection and its upgrade",
        times: UPGRADES as u64,
        run: upgrade,
    },
];

/// Callgrind counts from here to the end of this function, which it knows by its name. Being no tail call, `work`
/// returns to it.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
    black_box(work);
}

fn post(body_bytes: usize, posts: usize) {
    let mut poster = Poster::new(body_bytes);
    let round = |poster: &mut Poster| (0..posts).for_each(|index| poster.post(index));
    round(&mut poster);
    poster.expire();
    counted_by_callgrind(&mut || round(&mut poster));
}

fn deliver(body_bytes: usize) {
    let mut receivers = Receivers::new(body_bytes);
    for number in 0..=ROUNDS {
        receivers.lent.now += Duration::from_millis(PING_SPACING_MILLIS);
        receivers.post(SESSIONS);
        let mut round = || {
            let Receivers { lent, sessions, .. } = &mut receivers;
            for session in &mut *sessions {
                session.deliver(lent, body_bytes);
                assert!(session.pong.is_some());
                session.answer_ping(lent);
            }
        };
        if number == 0 {
            round();
        } else {
            counted_by_callgrind(&mut round);
        }
        assert_eq!(receivers.lent.store.stats().messages, 0, "all is acknowledged");
    }
}

fn upgrade() {
    let mut lent = Lent::new(&Config::default(), Instant::now());
    let request = upgrade_request(
        ([127, 0, 0, 1], 80).into(),
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    let mut upgraded = Vec::with_capacity(2 * UPGRADES);
    let mut round = || {
        for _ in 0..UPGRADES {
            let mut connection = lent.accept();
            let switches = lent.visit(&mut connection, black_box(request.as_bytes()), |answer| {
                black_box(answer).starts_with(b"HTTP/1.1 101 ")
            });
            assert!(switches);
            upgraded.push(connection);
        }
    };
    round();
    counted_by_callgrind(&mut round);
}
