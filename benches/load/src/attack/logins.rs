//! A neighbour that logs in, closes, and comes anew, one login at a time.

use std::io;
use std::time::Duration;

use super::neighbour::{Counts, say_under_way};
use crate::Bench;
use crate::fleet::{Logins, Manner};
use crate::identity::Identity;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::visits::{Visit, visit_all};

const VISITS_AT_ONCE: usize = 1;
/// Counted together.
const VISITS: usize = 20;
const MANNER: Manner = Manner {
    timeout: Duration::from_secs(10),
    retries: 0,
};

/// Goes on for ever.
///
/// # Errors
/// Those of the system.
pub(super) fn run(peer: &Peer, counts: &Counts) -> io::Result<()> {
    let bench = Bench {
        peer: peer.clone(),
        manner: MANNER,
        threads: 1,
        progress: Progress::start(true),
    };
    let identities = Identity::generate(VISITS).map_err(io::Error::other)?;
    let visits: Vec<_> = identities.iter().map(Visit::in_passing).collect();
    let mut is_first = true;
    loop {
        for visited in visit_all(&bench, &visits, VISITS_AT_ONCE, &mut Logins::default())? {
            counts.connect();
            match visited {
                Some(_) => counts.add(1),
                None => counts.end(),
            }
        }
        if std::mem::take(&mut is_first) {
            say_under_way();
        }
    }
}
