//! What is reported on stderr while a scenario runs: a line a second, of what is done and how fast.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Tells it until the last copy is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    board: Arc<Board>,
    /// Its end ends the thread that reports.
    _alive: Option<Sender<()>>,
}

#[derive(Debug, Default)]
struct Board {
    done: AtomicU64,
    doing: Mutex<String>,
}

impl Progress {
    /// Nothing is reported yet, and never if `is_quiet`.
    pub(crate) fn start(is_quiet: bool) -> Self {
        let board = Arc::new(Board::default());
        let alive = (!is_quiet).then(|| {
            let (sender, receiver) = mpsc::channel();
            let board = Arc::clone(&board);
            thread::spawn(move || report(&board, &receiver));
            sender
        });
        Self { board, _alive: alive }
    }

    /// Something else is done from now on, and counted from 0.
    pub(crate) fn begin(&self, doing: impl Into<String>) {
        *self.board.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing.into();
        self.board.done.store(0, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.board.done.fetch_add(count, Ordering::Relaxed);
        }
    }
}

fn report(board: &Board, alive: &Receiver<()>) {
    let is_terminal = io::stderr().is_terminal();
    let (mut before, mut since) = (0, Instant::now());
    while alive.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let done = board.done.load(Ordering::Relaxed);
        let doing = board.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if doing.is_empty() {
            continue;
        }
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        // It began anew if there are fewer.
        let more = if done >= before { done - before } else { done };
        let line = format!("{doing}: {done}, {}/s", more.saturating_mul(1000) / millis);
        let line = if is_terminal {
            format!("\r{line:<78}")
        } else {
            line + "\n"
        };
        // With stderr gone nobody reads it.
        let _ = io::stderr().write_all(line.as_bytes());
        (before, since) = (done, Instant::now());
    }
    if is_terminal {
        let _ = write!(io::stderr(), "\r{:<78}\r", "");
    }
}
