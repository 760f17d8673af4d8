//! A neighbour that logs in, closes, and comes anew, one login at a time.

use std::time::Duration;

use super::deeds::{Counts, Told};
use crate::bench::{Bench, Manner};
use crate::child::report;
use crate::fleet::{Logins, Stay, visit_all};
use crate::identity::Identity;
use crate::peer::Peer;
use crate::progress::Progress;

const VISITS_AT_ONCE: usize = 1;
/// Counted together.
const VISITS: usize = 20;
const MANNER: Manner = Manner {
    timeout: Duration::from_secs(10),
    retries: 0,
};

/// Goes on for ever.
pub(super) fn run(peer: &Peer, counts: &Counts) -> Result<(), String> {
    let bench = Bench {
        peer: peer.clone(),
        manner: MANNER,
        threads: 1,
        progress: Progress::start(true),
    };
    let identities = Identity::generate(VISITS)?;
    let mut is_first = true;
    loop {
        let plan = identities.iter().map(|identity| (identity, Stay::InPassing));
        let visited = visit_all(&bench, plan, VISITS_AT_ONCE, &mut Logins::default())?;
        for visited in visited {
            counts.connect();
            match visited {
                Some(_) => counts.add(1),
                None => counts.end(),
            }
        }
        if std::mem::take(&mut is_first) {
            report(&Told::UnderWay);
        }
    }
}
