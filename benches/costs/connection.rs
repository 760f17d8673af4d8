//! The whole of a connection without its socket, visited as a worker does it: a POST, and a delivery with its share of
//! pings and pongs.
//!
//! What is posted expires, or is confirmed, in every round, so that no store grows. An expiry isn't measured where the
//! name doesn't say so, nor is the post of what is then delivered; both are the work of other connections or moments.

use std::time::Duration;

use criterion::Criterion;
use npchat::server::limits::PING_SPACING_MILLIS;

use crate::MESSAGE_BYTES;
use crate::clock::{CpuTime, cpu_time};
use crate::peers::{POSTS, Poster, Receivers, SESSIONS};

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("connection");
    let mut poster = None;
    group.bench_function("POST", |bencher| {
        let poster = poster.get_or_insert_with(|| Poster::new(MESSAGE_BYTES));
        bencher.iter_custom(|posts| poster.time(posts, false));
    });
    group.bench_function("POST and its expiry", |bencher| {
        let poster = poster.get_or_insert_with(|| Poster::new(MESSAGE_BYTES));
        bencher.iter_custom(|posts| poster.time(posts, true));
    });
    // Each session gets 500 messages a second: a ping follows each 50 of them.
    let busy = Duration::from_millis(2);
    let mut receivers = None;
    group.bench_function("delivery to a busy session", |bencher| {
        let receivers = receivers.get_or_insert_with(|| Receivers::new(MESSAGE_BYTES));
        bencher.iter_custom(|deliveries| receivers.time(deliveries, busy));
    });
    // Others, of whom none has mail that is not asked for yet.
    receivers = None;
    group.bench_function("delivery with a ping of its own", |bencher| {
        let receivers = receivers.get_or_insert_with(|| Receivers::new(MESSAGE_BYTES));
        bencher.iter_custom(|deliveries| receivers.time_alone(deliveries));
    });
    group.finish();
}

impl Poster {
    fn time(&mut self, posts: u64, with_expiry: bool) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(posts).unwrap();
        while left > 0 {
            let batch = left.min(POSTS);
            let begun = cpu_time();
            for index in 0..batch {
                self.post(index);
            }
            if with_expiry {
                self.expire();
                spent += cpu_time().saturating_sub(begun);
            } else {
                spent += cpu_time().saturating_sub(begun);
                self.expire();
            }
            left -= batch;
        }
        assert_eq!(self.lent.store.memory_used(), 0);
        spent
    }
}

impl Receivers {
    /// Rounds in which every session gets a message, `pause` apart. Their pings are answered before the next one.
    fn time(&mut self, deliveries: u64, pause: Duration) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(deliveries).unwrap();
        while left > 0 {
            let round = left.min(SESSIONS);
            self.lent.now += pause;
            self.post(round);
            let begun = cpu_time();
            for receiver in &mut self.sessions[..round] {
                receiver.answer_ping(&mut self.lent);
                receiver.deliver(&mut self.lent, MESSAGE_BYTES);
            }
            spent += cpu_time().saturating_sub(begun);
            left -= round;
        }
        spent
    }

    /// The same with so much time between two messages that each is asked for with a ping of its own, in the same
    /// write.
    fn time_alone(&mut self, deliveries: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(deliveries).unwrap();
        while left > 0 {
            let round = left.min(SESSIONS);
            self.lent.now += Duration::from_millis(PING_SPACING_MILLIS);
            self.post(round);
            let begun = cpu_time();
            for receiver in &mut self.sessions[..round] {
                receiver.deliver(&mut self.lent, MESSAGE_BYTES);
            }
            for receiver in &mut self.sessions[..round] {
                assert!(receiver.pong.is_some());
                receiver.answer_ping(&mut self.lent);
            }
            spent += cpu_time().saturating_sub(begun);
            left -= round;
        }
        spent
    }
}
