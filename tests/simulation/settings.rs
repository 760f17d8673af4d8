//! The settings of a run, and how long things may take in it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use npchat::server::config::{Config, Timeouts};
use npchat::server::limits::{ACCEPT_PAUSE_MILLIS, DEADLINE_TICK_MILLIS, SEGMENT_MIN_BYTES, WINDOW_MAX_MESSAGES};
use testkit::Random;

/// Rounds in which everything that can move must have moved.
pub(crate) const SETTLING_ROUNDS: usize = 5_000;
/// Later than any deadline of a connection whose peer does nothing.
pub(crate) const LONGEST_END: Duration = Duration::from_secs(300);
/// A ping follows a message within this time, unless an earlier one is under way.
pub(crate) const LONGEST_TO_PING: Duration = Duration::from_millis(150 + 2 * DEADLINE_TICK_MILLIS);
/// Accepting pauses for no longer than this.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(ACCEPT_PAUSE_MILLIS + 2 * DEADLINE_TICK_MILLIS);
/// So many turns in a row may move nothing, without a sleep between them.
pub(crate) const SLEEPLESS_TURNS_MAX: usize = 50;
/// A worker that doesn't sleep takes a turn this often at least.
pub(crate) const LONGEST_TURN: Duration = Duration::from_millis(DEADLINE_TICK_MILLIS);
/// A deadline is reached so much later at most: with the next tick after it, after a turn, or with one more tick if
/// input had to be read first.
pub(crate) const DEADLINE_LATENESS: Duration = Duration::from_millis(4 * DEADLINE_TICK_MILLIS);
/// In so many times of [`LONGEST_TO_PING`] everything that was sent is confirmed by those who answer, but for what
/// sessions have ended with.
pub(crate) const PINGS_TO_CONFIRM_ALL: usize = 4;
/// So many more for each of those: it goes alone, and what follows in batches that double up to a window.
pub(crate) const PINGS_FOR_SUSPECT: usize = 2 + WINDOW_MAX_MESSAGES.ilog2() as usize;
/// Later than any session is closed that doesn't answer, but for one that doesn't take what it is sent either.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// What connections may hold in some runs.
const CONNECTION_MEMORY_BYTES: u64 = 64 * 1024;

/// Small limits, so that runs come to them.
pub(crate) fn any(random: &mut Random) -> Config {
    let max_message = random.pick(&[64, 300, 300, 2_000, 2_000, 40_000, 90_000]);
    let longest = random.pick(&[5, 40, 40, 600]);
    let max_ttl = random.within(1, longest);
    let memory = match random.below(4) {
        0 => 8 * SEGMENT_MIN_BYTES + random.within(1, 5) * 3 * max_message,
        _ => 64 * 1024 * 1024,
    };
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Config {
        workers: 1,
        message_ttl: Duration::from_secs(random.within(1, max_ttl) as u64),
        max_ttl: Duration::from_secs(max_ttl as u64),
        fresh_key: narrow(random.within(1, 5)),
        max_message: narrow(max_message),
        mailbox_messages: random.pick(&[2, 8, 64, 600, 600]),
        mailbox_bytes: narrow(max_message * random.pick(&[1, 4, 200])),
        memory: memory as u64,
        // More than all clients hold that hold too little to be closed for it.
        connection_memory: random.pick(&[None, None, Some(CONNECTION_MEMORY_BYTES)]),
        // Longer than anything takes, so that each connection ends in its own time.
        drain: Duration::from_secs(3600),
        timeouts: Timeouts {
            // Less than the default, so that runs come to it more often.
            pong: Duration::from_secs(20),
            ..Timeouts::default()
        },
        ..Config::default()
    }
}

/// Room for very many messages, all of them short.
pub(crate) fn crowded(random: &mut Random) -> Config {
    let longest = random.pick(&[40, 600]);
    let memory = random.pick(&[100_000, 64 * 1024 * 1024, 64 * 1024 * 1024]);
    Config {
        max_message: 300,
        mailbox_messages: 4_000,
        mailbox_bytes: 4_000 * 300,
        memory,
        message_ttl: Duration::from_secs(longest),
        max_ttl: Duration::from_secs(longest),
        ..any(random)
    }
}

/// When every run begins, of which only the differences matter.
pub(crate) fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

/// What mail may be charged: a session's mailbox is made even when the budget is spent.
pub(crate) fn most_memory(config: &Config) -> u64 {
    config.memory + (config.memory / 64).max(SEGMENT_MIN_BYTES as u64)
}
