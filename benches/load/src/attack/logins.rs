//! A neighbour that logs in, closes, and comes anew, one login at a time.

use std::time::Duration;

use super::interface::{LiveCounters, NeighbourReport};
use crate::bench::{Bench, LoginPolicy};
use crate::child::report;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::session_pool::{Logins, Stay, fetch_all};

const FETCHES_AT_ONCE: usize = 1;
/// Counted together.
const VISITS: usize = 20;
const LOGIN_POLICY: LoginPolicy = LoginPolicy {
    timeout: Duration::from_secs(10),
    retries: 0,
};

/// Goes on for ever.
pub(super) fn run(peer: &Peer, counts: &LiveCounters) -> Result<(), String> {
    let bench = Bench {
        peer: peer.clone(),
        login_policy: LOGIN_POLICY,
        threads: 1,
        progress: Progress::start(true),
    };
    let identities = Identity::generate(VISITS)?;
    let mut is_first = true;
    loop {
        let plan = identities.iter().map(|identity| (identity, Stay::UntilLoggedIn));
        let fetched = fetch_all(&bench, plan, FETCHES_AT_ONCE, &mut Logins::default())?;
        for fetched in fetched {
            counts.connect();
            match fetched {
                Some(_) => counts.add(1),
                None => counts.end(),
            }
        }
        if std::mem::take(&mut is_first) {
            report(&NeighbourReport::UnderWay);
        }
    }
}
