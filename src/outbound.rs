//! What a connection has to send: the output of one turn, and what the kernel did not take of earlier turns.
//!
//! It knows where each message ends, so that a message counts as sent only when the kernel has all of it. It sends nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::MIN_RATE_BYTES_PER_SECOND;
use crate::mailboxes::Sequence;

/// Where in the output a message ends.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Bytes of output up to the message's end, counted from the start of the buffer that holds it.
    end: usize,
    sequence: Sequence,
}

/// Output of one connection in one turn. The worker owns one and lends it to each connection in its turn.
#[derive(Debug, Default)]
pub struct Output {
    /// The bytes, in order.
    pub bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl Output {
    /// Notes that the bytes so far end with the whole of this message.
    pub fn mark(&mut self, sequence: Sequence) {
        self.marks.push(Mark {
            end: self.bytes.len(),
            sequence,
        });
    }

    /// Forgets the output: its connection is gone.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }
}

/// A transfer's pace, from which an absolute deadline follows that a trickle can't push away.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    since: Instant,
    last_progress: Instant,
    bytes: u64,
}

impl Pace {
    /// A transfer that starts now.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        Self {
            since: now,
            last_progress: now,
            bytes: 0,
        }
    }

    /// Counts bytes that went through.
    pub fn progress(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            self.last_progress = now;
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The transfer could not go on for so long, and through no fault of the peer.
    pub fn postpone(&mut self, pause: Duration) {
        self.since += pause;
        self.last_progress += pause;
    }

    /// When the transfer is too slow: the grace plus the time that its bytes take at [`MIN_RATE_BYTES_PER_SECOND`]. What went
    /// fast earns no right to silence: never more than the grace after the last byte.
    #[must_use]
    pub fn deadline(&self, grace: Duration) -> Instant {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / MIN_RATE_BYTES_PER_SECOND);
        (self.since + earned).min(self.last_progress) + grace
    }
}

/// Output that the kernel has not taken yet. Owns memory only while there is some.
#[derive(Debug, Default)]
pub struct Outbound(Option<Box<Blocked>>);

#[derive(Debug)]
struct Blocked {
    bytes: Vec<u8>,
    /// How many of `bytes` the kernel has taken.
    taken: usize,
    marks: VecDeque<Mark>,
    pace: Pace,
}

impl Outbound {
    /// Whether all output so far has been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes not yet taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |blocked| blocked.bytes.len() - blocked.taken)
    }

    /// Since when output has been waiting, if some is.
    #[must_use]
    pub fn blocked_since(&self) -> Option<Instant> {
        self.0.as_ref().map(|blocked| blocked.pace.since)
    }

    /// When the peer must have taken more, if it is behind.
    #[must_use]
    pub fn deadline(&self, stall: Duration) -> Option<Instant> {
        self.0.as_ref().map(|blocked| blocked.pace.deadline(stall))
    }

    /// The bytes to send now, oldest first. Afterwards [`Outbound::taken`] must be told how many went.
    pub fn unsent<'a>(&'a mut self, fresh: &'a mut Output) -> &'a [u8] {
        match &mut self.0 {
            None => &fresh.bytes,
            Some(blocked) => {
                blocked.append(fresh);
                &blocked.bytes[blocked.taken..]
            }
        }
    }

    /// Notes that the kernel took `count` bytes of [`Outbound::unsent`], and keeps the rest.
    ///
    /// Returns how many messages are thereby sent whole, and the last of them.
    pub fn taken(&mut self, count: usize, fresh: &mut Output, now: Instant) -> Option<(usize, Sequence)> {
        let sent = match &mut self.0 {
            None => {
                let whole = fresh.marks.partition_point(|mark| mark.end <= count);
                let last = whole.checked_sub(1).map(|index| (whole, fresh.marks[index].sequence));
                if count < fresh.bytes.len() {
                    self.0 = Some(Box::new(Blocked::rest_of(fresh, count, whole, now)));
                }
                last
            }
            Some(blocked) => {
                let sent = blocked.advance(count, now);
                if blocked.taken == blocked.bytes.len() {
                    self.0 = None;
                }
                sent
            }
        };
        fresh.clear();
        sent
    }
}

impl Blocked {
    fn rest_of(fresh: &Output, taken: usize, whole: usize, now: Instant) -> Self {
        Self {
            bytes: fresh.bytes[taken..].to_vec(),
            taken: 0,
            marks: fresh.marks[whole..]
                .iter()
                .map(|mark| Mark {
                    end: mark.end - taken,
                    ..*mark
                })
                .collect(),
            pace: Pace::starting(now),
        }
    }

    fn append(&mut self, fresh: &mut Output) {
        // Moving what is left to the front costs at most as much as was taken since the last move.
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            for mark in &mut self.marks {
                mark.end -= self.taken;
            }
            self.taken = 0;
        }
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&fresh.bytes);
        self.marks.extend(fresh.marks.iter().map(|mark| Mark {
            end: base + mark.end,
            ..*mark
        }));
        fresh.clear();
    }

    fn advance(&mut self, count: usize, now: Instant) -> Option<(usize, Sequence)> {
        self.taken += count;
        self.pace.progress(count, now);
        let whole = self.marks.partition_point(|mark| mark.end <= self.taken);
        self.marks.drain(..whole).next_back().map(|mark| (whole, mark.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(bytes: &[u8], sequences: &[(usize, u32)]) -> Output {
        let mut output = Output::default();
        for &(end, sequence) in sequences {
            output.bytes.extend_from_slice(&bytes[output.bytes.len()..end]);
            output.mark(Sequence(sequence));
        }
        output.bytes.extend_from_slice(&bytes[output.bytes.len()..]);
        output
    }

    #[test]
    fn a_message_is_sent_only_when_its_last_byte_is_taken() {
        let now = Instant::now();
        let mut outbound = Outbound::default();
        let mut fresh = output(b"aaabbbccc", &[(3, 1), (6, 2), (9, 3)]);
        assert_eq!(outbound.unsent(&mut fresh), b"aaabbbccc");
        assert_eq!(outbound.taken(5, &mut fresh, now), Some((1, Sequence(1))));
        assert_eq!(outbound.unsent(&mut fresh), b"bccc");
        assert_eq!(outbound.taken(0, &mut fresh, now), None);
        let mut more = output(b"ddd", &[(3, 4)]);
        assert_eq!(outbound.unsent(&mut more), b"bcccddd");
        assert_eq!(outbound.taken(4, &mut more, now), Some((2, Sequence(3))));
        assert_eq!(outbound.taken(2, &mut more, now), None);
        assert_eq!(outbound.unsent(&mut more), b"d");
        assert_eq!(outbound.taken(1, &mut more, now), Some((1, Sequence(4))));
        assert!(outbound.is_empty());
    }

    #[test]
    fn nothing_is_kept_when_the_kernel_takes_all() {
        let mut outbound = Outbound::default();
        let mut fresh = output(b"abc", &[]);
        assert_eq!(outbound.taken(3, &mut fresh, Instant::now()), None);
        assert!(outbound.is_empty() && fresh.bytes.is_empty());
    }

    #[test]
    fn any_pattern_of_short_writes_sends_the_same_bytes_and_marks() {
        let now = Instant::now();
        for step in 1..12 {
            let (mut outbound, mut sent, mut whole) = (Outbound::default(), Vec::new(), Vec::new());
            for turn in 0..40_u32 {
                let text = format!("<{turn}>");
                let mut fresh = output(text.as_bytes(), &[(text.len(), turn)]);
                let unsent = outbound.unsent(&mut fresh);
                let count = unsent.len().min(step);
                sent.extend_from_slice(&unsent[..count]);
                whole.extend(outbound.taken(count, &mut fresh, now));
            }
            let mut nothing = Output::default();
            let rest = outbound.unsent(&mut nothing).to_vec();
            whole.extend(outbound.taken(rest.len(), &mut nothing, now));
            sent.extend(rest);
            let expected: Vec<u8> = (0..40).flat_map(|turn| format!("<{turn}>").into_bytes()).collect();
            assert_eq!(sent, expected);
            assert_eq!(whole.iter().map(|(count, _)| count).sum::<usize>(), 40);
            assert!(outbound.is_empty());
        }
    }

    #[test]
    fn a_trickle_does_not_push_the_deadline_away() {
        let start = Instant::now();
        let mut pace = Pace::starting(start);
        let grace = Duration::from_secs(10);
        pace.progress(10, start + Duration::from_secs(9));
        assert!(pace.deadline(grace) < start + Duration::from_millis(10_010));
        pace.progress(1014, start + Duration::from_secs(9));
        assert_eq!(pace.deadline(grace), start + Duration::from_secs(11));
    }

    #[test]
    fn what_went_fast_earns_no_right_to_silence() {
        let start = Instant::now();
        let mut pace = Pace::starting(start);
        pace.progress(1 << 30, start + Duration::from_secs(1));
        assert_eq!(pace.deadline(Duration::from_secs(10)), start + Duration::from_secs(11));
    }
}
