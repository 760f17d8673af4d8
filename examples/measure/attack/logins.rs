//! A neighbour that logs in, closes, and comes anew, one login at a time.

use std::io;
use std::net::SocketAddr;

use super::neighbour::{Counts, say_under_way};
use crate::identity::Identity;
use crate::visits::{Visit, visit_all};

const VISITS_AT_ONCE: usize = 1;
/// Counted together.
const VISITS: usize = 20;

/// Goes on for ever.
///
/// # Errors
/// Those of the system.
pub(super) fn run(address: SocketAddr, counts: &Counts) -> io::Result<()> {
    let identities = Identity::generate(VISITS).map_err(io::Error::other)?;
    let visits: Vec<_> = identities
        .iter()
        .map(|identity| Visit { identity, last: None })
        .collect();
    let mut is_first = true;
    loop {
        for visited in visit_all(address, &visits, VISITS_AT_ONCE)? {
            counts.connect();
            match visited {
                Ok(_) => counts.add(1),
                Err(_) => counts.end(),
            }
        }
        if std::mem::take(&mut is_first) {
            say_under_way();
        }
    }
}
