//! The queue between those that log and the thread that writes. Nothing in it panics or allocates once it has been
//! made.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::server::limits::{LOG_LINE_MAX_BYTES, LOG_QUEUE_BYTES, LOG_RETRY_MILLIS};

/// Lines on their way to the thread that writes them.
#[derive(Debug)]
pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    /// Lines have come.
    filled: Condvar,
    /// All lines have been written or dropped.
    emptied: Condvar,
}

#[derive(Debug)]
struct QueueState {
    lines: Vec<u8>,
    /// Lines dropped since the last report of them.
    dropped: u64,
    is_writing: bool,
}

impl LineQueue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(QueueState {
                lines: Vec::with_capacity(LOG_QUEUE_BYTES),
                dropped: 0,
                is_writing: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Takes one line, with or without its end. Beyond [`LOG_LINE_MAX_BYTES`] it is cut.
    pub(super) fn push(&self, line: &[u8]) {
        const CUT: &[u8] = "…".as_bytes();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (text, mark) = if line.len() < LOG_LINE_MAX_BYTES {
            (line, &b""[..])
        } else {
            (whole_characters(line, LOG_LINE_MAX_BYTES - CUT.len() - 1), CUT)
        };
        let mut state = self.lock();
        let room = LOG_QUEUE_BYTES.saturating_sub(state.lines.len());
        if text.len() + mark.len() >= room {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        // A path may have the end of a line in it, or what a terminal takes for a command.
        let one_line = (0..text.len()).map(|at| if is_control(text, at) { b' ' } else { text[at] });
        state.lines.extend(one_line);
        state.lines.extend_from_slice(mark);
        state.lines.push(b'\n');
        drop(state);
        self.filled.notify_one();
    }

    /// Writes lines for ever.
    pub(super) fn write_to(&self, out: &mut impl Write) {
        let mut lines = Vec::with_capacity(LOG_QUEUE_BYTES);
        let mut sink = Sink::new(out);
        loop {
            self.write_once(&mut lines, &mut sink);
        }
    }

    /// Waits until all lines have been written or dropped, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let is_busy = |state: &mut QueueState| state.is_writing || !state.lines.is_empty();
        // In time or not, there is nothing more to be done.
        let _ = self.emptied.wait_timeout_while(self.lock(), patience, is_busy);
    }

    /// Waits for lines and writes them, and then how many were dropped before, if any.
    fn write_once(&self, lines: &mut Vec<u8>, sink: &mut Sink<'_, impl Write>) {
        let dropped = self.take(lines);
        let lost = match sink.write_lines(lines) {
            Ok(()) if dropped > 0 => {
                let report = sink.write_lines(formatted(
                    "WARN",
                    format_args!("the log could not be written for a time dropped_lines={dropped}\n"),
                    &mut [0; LOG_LINE_MAX_BYTES],
                ));
                report.map_or(dropped, |()| 0)
            }
            Ok(()) => 0,
            Err(lost) => dropped.saturating_add(lost),
        };
        let mut state = self.lock();
        state.is_writing = false;
        state.dropped = state.dropped.saturating_add(lost);
        if state.lines.is_empty() {
            self.emptied.notify_all();
        }
    }

    /// Exchanges `lines`, which have been dealt with, for those that have come. Returns how many were dropped.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        lines.clear();
        let mut state = self.lock();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(lines, &mut state.lines);
        state.is_writing = true;
        std::mem::take(&mut state.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Text in the layout of the subscriber's lines. What doesn't fit is left out.
pub(super) fn formatted<'a>(level: &str, text: Arguments<'_>, line: &'a mut [u8; LOG_LINE_MAX_BYTES]) -> &'a [u8] {
    let mut rest = &mut line[..];
    // It has no text outside the years 1970 to 9999.
    let _ = write!(rest, "{} ", humantime::format_rfc3339_micros(SystemTime::now()));
    let _ = write!(rest, "{level:>5} {text}");
    let length = LOG_LINE_MAX_BYTES - rest.len();
    &line[..length]
}

/// What lines are written to. It may refuse, and take parts.
struct Sink<'a, W> {
    out: &'a mut W,
    /// The last line that it took has no end.
    is_within_line: bool,
}

impl<'a, W: Write> Sink<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self {
            out,
            is_within_line: false,
        }
    }

    /// Writes whole lines, several at once only as far as a pipe doesn't mix them with those of other processes.
    ///
    /// # Errors
    /// How many of the lines are lost.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), u64> {
        let mut rest = lines;
        if self.is_within_line {
            self.write(b"\n").map_err(|_| count_lines(rest))?;
        }
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(first_lines(rest));
            self.write(piece).map_err(|written| count_lines(&rest[written..]))?;
            rest = others;
        }
        Ok(())
    }

    /// # Errors
    /// How many bytes were written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            match self.out.write(rest) {
                Ok(count @ 1..) => {
                    written += count;
                    self.is_within_line = !bytes[..written].ends_with(b"\n");
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process may have made the shared pipe or terminal one that doesn't wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(LOG_RETRY_MILLIS));
                }
                Ok(0) | Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

/// The length of the lines at the start that add up to [`LOG_LINE_MAX_BYTES`] at most.
fn first_lines(lines: &[u8]) -> usize {
    let start = &lines[..lines.len().min(LOG_LINE_MAX_BYTES)];
    let end = start.iter().rposition(|byte| *byte == b'\n');
    end.map_or(start.len(), |end| end + 1)
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).fold(0, |count, _| count + 1)
}

/// Whether this byte is a control character or a part of one: those of C1 have two bytes in UTF-8 (U+0080 to U+009F).
fn is_control(text: &[u8], at: usize) -> bool {
    const C1_START: u8 = 0xc2;
    let is_c1_end = |byte: &u8| (0x80..=0x9f).contains(byte);
    match text[at] {
        C1_START => text.get(at + 1).is_some_and(is_c1_end),
        byte if is_c1_end(&byte) => at.checked_sub(1).is_some_and(|before| text[before] == C1_START),
        byte => byte.is_ascii_control(),
    }
}

/// The first `length` bytes of a text, less what there is of a character cut in two.
fn whole_characters(text: &[u8], length: usize) -> &[u8] {
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let mut end = length.min(text.len());
    while end > 0 && text.get(end).is_some_and(continues) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Does with each write what comes next: takes so many bytes, or fails.
    struct Script {
        steps: Vec<io::Result<usize>>,
        written: Vec<u8>,
    }

    impl Script {
        fn new(steps: impl IntoIterator<Item = io::Result<usize>>) -> Self {
            let mut steps: Vec<_> = steps.into_iter().collect();
            steps.reverse();
            Self {
                steps,
                written: Vec::new(),
            }
        }

        fn text(&self) -> &str {
            str::from_utf8(&self.written).unwrap()
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.steps.pop().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Has the lines that are there written as by the thread.
    fn write_once(queue: &LineQueue, out: &mut Script, is_within_line: bool) -> bool {
        let mut sink = Sink { out, is_within_line };
        queue.write_once(&mut Vec::with_capacity(LOG_QUEUE_BYTES), &mut sink);
        sink.is_within_line
    }

    fn failure(kind: ErrorKind) -> io::Result<usize> {
        Err(kind.into())
    }

    #[test]
    fn lines_are_written_in_order_whatever_part_of_them_is_taken() {
        let queue = LineQueue::new();
        let lines: Vec<_> = (0..2000).map(|number| format!("line {number}")).collect();
        for line in &lines {
            queue.push(line.as_bytes());
        }
        let mut out = Script::new([
            Ok(1),
            Ok(3),
            failure(ErrorKind::Interrupted),
            Ok(10),
            failure(ErrorKind::WouldBlock),
        ]);
        assert!(!write_once(&queue, &mut out, false));
        assert_eq!(out.text().lines().collect::<Vec<_>>(), lines);
        assert!(out.text().ends_with('\n'));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_when_writing_works_again() {
        let queue = LineQueue::new();
        for line in ["one", "two", "three"] {
            queue.push(line.as_bytes());
        }
        let mut out = Script::new([Ok(5), failure(ErrorKind::StorageFull)]);
        let is_within_line = write_once(&queue, &mut out, false);
        assert_eq!(out.text(), "one\nt");
        queue.push(b"four");
        let is_within_line = write_once(
            &queue,
            &mut Script::new([failure(ErrorKind::StorageFull)]),
            is_within_line,
        );
        queue.push(b"five");
        // The report of them fails too, and is made up for.
        let mut out = Script::new([Ok(1), Ok(5), failure(ErrorKind::StorageFull)]);
        write_once(&queue, &mut out, is_within_line);
        assert_eq!(out.text(), "\nfive\n");
        queue.push(b"six");
        let mut out = Script::new([]);
        write_once(&queue, &mut out, false);
        assert!(out.text().starts_with("six\n"), "{}", out.text());
        assert!(out.text().ends_with(" dropped_lines=3\n"), "{}", out.text());
        queue.push(b"seven");
        let mut out = Script::new([]);
        write_once(&queue, &mut out, false);
        assert_eq!(out.text(), "seven\n");
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_those_before_them_stay() {
        let queue = LineQueue::new();
        let line = [b'x'; 99];
        let fitting = (LOG_QUEUE_BYTES - 1) / 100;
        (0..fitting + 7).for_each(|_| queue.push(&line));
        let mut out = Script::new([]);
        write_once(&queue, &mut out, false);
        assert_eq!(out.text().lines().count(), fitting + 1);
        assert!(out.text().ends_with(" dropped_lines=7\n"));
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let queue = LineQueue::new();
        queue.push(b"two\nlines\n");
        queue.push("…".repeat(LOG_LINE_MAX_BYTES).as_bytes());
        queue.push(&[b'x'; LOG_LINE_MAX_BYTES]);
        queue.push(&[b'y'; LOG_LINE_MAX_BYTES - 1]);
        let mut out = Script::new([]);
        write_once(&queue, &mut out, false);
        let lines: Vec<_> = out.text().lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "two lines"));
        assert!(lines.iter().all(|line| line.len() < LOG_LINE_MAX_BYTES));
        assert!(lines[2].ends_with("xx…"));
        assert_eq!(lines[3].len(), LOG_LINE_MAX_BYTES - 1);
    }

    #[test]
    fn no_control_character_of_a_line_reaches_a_terminal() {
        let queue = LineQueue::new();
        queue.push("a\u{1b}[31m \u{9b}31m\u{85}\u{7f}é\u{a0}\u{1df}z".as_bytes());
        let mut out = Script::new([]);
        write_once(&queue, &mut out, false);
        assert_eq!(out.text(), "a [31m   31m   é\u{a0}\u{1df}z\n");
    }

    #[test]
    fn a_flush_waits_for_the_lines_but_not_for_ever() {
        let queue = LineQueue::new();
        queue.flush(Duration::from_secs(3600));
        queue.push(b"line");
        queue.flush(Duration::from_millis(1));
        thread::scope(|scope| {
            scope.spawn(|| write_once(&queue, &mut Script::new([failure(ErrorKind::BrokenPipe)]), false));
            queue.flush(Duration::from_secs(3600));
        });
        assert!(queue.lock().lines.is_empty());
    }
}
