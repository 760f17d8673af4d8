//! The log: lines go into a bounded queue, and a thread of its own writes them to stderr.
//!
//! Workers and signals never wait for stderr: a line that finds no room, or can't be written, is dropped and counted.
//! What is logged, and when, isn't decided here. Not tracing-appender: its thread doesn't count what it fails to
//! write, its queue is bounded in lines, not in bytes, and its end prints with a macro that panics without stdout.

mod queue;

use std::io::{self, ErrorKind, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

use self::queue::{LineQueue, formatted};
use crate::server::limits::{LOG_FLUSH_MILLIS, LOG_LINE_MAX_BYTES, LOG_REPEAT_SECONDS};

/// The queue of this process, once [`start`] has made it.
static QUEUE: OnceLock<LineQueue> = OnceLock::new();

/// Panics by their place, so that one that clients can cause leaves room for another.
static PANICS: [LineLimit; 16] = [const { LineLimit::new() }; 16];

/// Starts to log what is at `level` or above, and the places of panics, to stderr. For a program, at its start; a
/// second call has no effect. The lines that are left at the end of the program are written when the guard is
/// dropped.
///
/// # Errors
/// No thread can be started.
pub fn start(level: LevelFilter) -> io::Result<FlushGuard> {
    if QUEUE.set(LineQueue::new()).is_err() {
        return Ok(FlushGuard(()));
    }
    let queue = QUEUE.get().ok_or(ErrorKind::Other)?;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(|| queue.write_to(&mut io::stderr()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| Lines(queue))
        .with_ansi(false)
        .with_target(false)
        // They are printed with a macro that panics where stderr can't be written to.
        .log_internal_errors(false)
        .with_max_level(level)
        .finish();
    // It fails if the program has a subscriber already, which then is the one that it wants.
    let _ = tracing::subscriber::set_global_default(subscriber);
    panic::set_hook(Box::new(move |panic| {
        if level >= LevelFilter::ERROR {
            log_panic(queue, panic);
        }
    }));
    Ok(FlushGuard(()))
}

/// Does [`flush`] when it is dropped, also by a panic that ends the program.
#[derive(Debug)]
#[must_use]
pub struct FlushGuard(());

impl Drop for FlushGuard {
    fn drop(&mut self) {
        flush();
    }
}

/// Writes a line as it is, whatever the level. Returns whether the log has been started: otherwise nothing has been
/// done.
#[must_use]
pub fn write_line(line: &str) -> bool {
    QUEUE.get().map(|queue| queue.push(line.as_bytes())).is_some()
}

/// Waits until all lines have been written or dropped, but no longer than a second.
pub fn flush() {
    flush_within(Duration::from_millis(LOG_FLUSH_MILLIS));
}

/// Like [`flush`], but waits no longer than `patience`.
pub fn flush_within(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

/// Logs the place of a panic only: its message may quote what a client sent. Nothing here panics or waits, because a
/// panic while another one is handled ends the process.
fn log_panic(queue: &LineQueue, panic: &PanicHookInfo<'_>) {
    let Some(place) = panic.location() else { return };
    let limit = &PANICS[place.line() as usize % PANICS.len()];
    if let Some(suppressed) = limit.admit(Instant::now()) {
        queue.push(formatted(
            "ERROR",
            format_args!("panic at {place}: please report this suppressed={suppressed}"),
            &mut [0; LOG_LINE_MAX_BYTES],
        ));
    }
}

/// What the subscriber writes to, one whole line at a time.
struct Lines(&'static LineQueue);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Limits the lines of one kind that clients can cause to one a minute, and counts those that are left out.
#[derive(Debug)]
pub(crate) struct LineLimit(Mutex<Admitted>);

#[derive(Debug)]
struct Admitted {
    last: Option<Instant>,
    suppressed: u64,
}

impl LineLimit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Admitted {
            last: None,
            suppressed: 0,
        }))
    }

    /// How many lines have been suppressed since the last one. `None`: so is this one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        const PERIOD: Duration = Duration::from_secs(LOG_REPEAT_SECONDS);
        let mut admitted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_repeated = |last| now.saturating_duration_since(last) < PERIOD;
        if admitted.last.is_some_and(is_repeated) {
            admitted.suppressed = admitted.suppressed.saturating_add(1);
            return None;
        }
        admitted.last = Some(now);
        Some(std::mem::take(&mut admitted.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_comes_once_a_minute_with_the_number_of_those_left_out() {
        let limit = LineLimit::new();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(limit.admit(at(0)), Some(0));
        assert_eq!([0, 1, 30_000, 59_999].map(|millis| limit.admit(at(millis))), [None; 4]);
        assert_eq!(limit.admit(at(60_000)), Some(4));
        assert_eq!(limit.admit(at(60_001)), None);
        assert_eq!(limit.admit(at(200_000)), Some(1));
    }
}
