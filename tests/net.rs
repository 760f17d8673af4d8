//! The net under the budgets, in a process of its own: what the test allocates counts as the server's.

use std::thread;
use std::time::Duration;

use npchat::server::config::Config;
use npchat::server::limits::NET_LOOK_MILLIS;
use npchat::server::system;
use testkit::{Identity, PATIENCE, RawClient, address, start, wait_until};

#[test]
fn the_first_post_after_a_quiet_time_is_judged_by_a_reading_of_its_own() {
    if system::resident_bytes().is_none() {
        println!("skipped: this machine doesn't report resident memory");
        return;
    }
    let mut bound = 0;
    let server = start(|config: &mut Config| {
        config.memory = 4 << 20;
        config.connection_memory = None;
        config.connections = Some(64);
        // No idle worker looks by itself for the time of the test.
        config.clean_period = Duration::from_secs(3600);
        bound = config.memory_bound();
    });
    let id = Identity::generate().id;
    let mut client = RawClient::connect(address(&server));
    // Not zero, so that all of it is resident.
    let ballast = vec![1_u8; usize::try_from(bound).unwrap_or(usize::MAX)];
    wait_until(PATIENCE, "mail is refused", || client.post(&id, "m").status == 503);
    assert_eq!(server.totals().over_bound, 1);
    assert!(server.totals().to_string().contains(" over_bound=1"));
    drop(ballast);
    // The time itself is what the test is about: the reading must be too old to be used.
    thread::sleep(Duration::from_millis(2 * NET_LOOK_MILLIS));
    assert_eq!(client.post(&id, "m").status, 200);
    assert_eq!(server.totals().over_bound, 1);
}
