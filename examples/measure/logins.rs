//! Scenario `logins`: whole logins, from the connect to the end of the stream, and what one costs the server.
//!
//! How a login goes is [`crate::session`]'s.

use std::time::Instant;

use crate::Peer;
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::load::as_f64;
use crate::process::Process;
use crate::visits::{Visit, visit_all};

/// Logins before those that count.
const WARM_UP: usize = 100;

/// Logs in `count` times with new keys, `concurrency` at a time.
///
/// # Errors
/// The logins couldn't be begun.
pub(crate) fn run(peer: Peer, count: usize, concurrency: usize) -> Result<Faults, String> {
    let identities = Identity::generate(WARM_UP + count).map_err(|_| "no keys can be made")?;
    let (warm_up, identities) = identities.split_at(WARM_UP);
    let mut faults = Faults::default();
    log_in(peer, warm_up, concurrency, &mut faults)?;

    let cpu = || {
        peer.process
            .map(Process::cpu)
            .transpose()
            .map_err(|error| error.to_string())
    };
    let cpu_before = cpu()?;
    let start = Instant::now();
    log_in(peer, identities, concurrency, &mut faults)?;
    let rate = as_f64(count as u64) / start.elapsed().as_secs_f64();
    let cost = cpu()?
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64() * 1e6);
    println!("{count} logins, {concurrency} at once: {rate:.0} logins/s");
    if let Some(cost) = cost {
        println!("  {:.1} µs CPU/login", cost / as_f64(count as u64));
    }
    Ok(faults)
}

fn log_in(peer: Peer, identities: &[Identity], concurrency: usize, faults: &mut Faults) -> Result<(), String> {
    let visits: Vec<_> = identities
        .iter()
        .map(|identity| Visit { identity, last: None })
        .collect();
    for visited in visit_all(peer.address, &visits, concurrency).map_err(|error| error.to_string())? {
        match visited {
            Ok(visited) => {
                for body in visited.mail {
                    faults.note(Fault::Corrupt, || format!("mail for a new id: {}", body.escape_ascii()));
                }
            }
            Err(why) => faults.note(Fault::Refused, || why),
        }
    }
    Ok(())
}
