//! What every scenario needs to know.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use crate::peer::Peer;
use crate::progress::Progress;

/// Longest that a server may be silent that owes something: far longer than one takes that works, on a machine that is
/// slow and does a lot else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The error of a thread that did.
pub(crate) const PANICKED: &str = "a thread of this program panicked";

/// What every scenario needs to know.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) peer: Peer,
    /// How logins are gone about.
    pub(crate) login_policy: LoginPolicy,
    /// Threads of this program that make load.
    pub(crate) threads: usize,
    /// What is reported meanwhile.
    pub(crate) progress: Progress,
}

/// How logins are gone about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginPolicy {
    /// A login without an answer for so long counts as dropped.
    pub(crate) timeout: Duration,
    /// How often one is begun again that the server has dropped.
    pub(crate) retries: u32,
}

impl Bench {
    /// The same against another peer.
    pub(crate) fn against(&self, peer: Peer) -> Self {
        Self { peer, ..self.clone() }
    }

    /// Which of `count` things are the share of thread `thread`.
    pub(crate) fn share(&self, count: usize, thread: usize) -> Range<usize> {
        let first = |thread: usize| thread * (count / self.threads) + thread.min(count % self.threads);
        first(thread)..first(thread + 1)
    }

    /// Runs `work` in each of the threads, given its index.
    ///
    /// # Errors
    /// The first one's, once all have ended.
    pub(crate) fn in_threads<T: Send>(
        &self,
        work: impl Fn(usize) -> Result<T, String> + Sync,
    ) -> Result<Vec<T>, String> {
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..self.threads)
                .map(|index| scope.spawn(move || work(index)))
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().map_err(|_| PANICKED)?);
            results.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_in_the_share_of_one_thread() {
        let bench = Bench {
            peer: Peer::at("http://127.0.0.1:8000", None, &crate::tls::Options::default()).expect("a good URL"),
            login_policy: LoginPolicy {
                timeout: PATIENCE,
                retries: 0,
            },
            threads: 3,
            progress: Progress::start(true),
        };
        for (count, shares) in [
            (0, [0..0, 0..0, 0..0]),
            (2, [0..1, 1..2, 2..2]),
            (7, [0..3, 3..5, 5..7]),
        ] {
            assert_eq!([0, 1, 2].map(|thread| bench.share(count, thread)), shares);
        }
    }
}
