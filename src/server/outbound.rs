//! What a connection has to send: the output of one turn, and what the kernel did not take of earlier turns.
//!
//! It sends nothing, and doesn't know what the bytes mean.

use std::time::{Duration, Instant};

use crate::server::limits::BUFFER_STEP_BYTES;
use crate::server::pace::Pace;

/// Output that the kernel has not taken yet. Owns memory only while there is some.
#[derive(Debug, Default)]
pub struct Outbound(Option<Box<Blocked>>);

#[derive(Debug)]
struct Blocked {
    bytes: Vec<u8>,
    /// How many of `bytes` the kernel has taken.
    taken: usize,
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

    /// Bytes of memory held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let of = |blocked: &Blocked| blocked.bytes.capacity() + size_of::<Blocked>();
        self.0.as_deref().map_or(0, of)
    }

    /// Since when output has been waiting, if some is.
    #[must_use]
    pub fn blocked_since(&self) -> Option<Instant> {
        self.0.as_ref().map(|blocked| blocked.pace.since())
    }

    /// When the peer must have taken more, if it is behind.
    #[must_use]
    pub fn deadline(&self, stall: Duration) -> Option<Instant> {
        self.0.as_ref().map(|blocked| blocked.pace.deadline(stall))
    }

    /// The bytes to send now, oldest first. Afterwards [`Outbound::taken`] must be given how many went.
    pub fn unsent<'a>(&'a mut self, fresh: &'a mut Vec<u8>) -> &'a [u8] {
        match &mut self.0 {
            None => fresh,
            Some(blocked) => {
                blocked.append(fresh);
                &blocked.bytes[blocked.taken..]
            }
        }
    }

    /// Notes that the kernel took `count` bytes of [`Outbound::unsent`], and keeps the rest.
    pub fn taken(&mut self, count: usize, fresh: &mut Vec<u8>, now: Instant) {
        match &mut self.0 {
            None if count < fresh.len() => {
                self.0 = Some(Box::new(Blocked {
                    bytes: fresh[count..].to_vec(),
                    taken: 0,
                    pace: Pace::starting(now),
                }));
            }
            None => {}
            Some(blocked) => {
                blocked.taken += count;
                blocked.pace.progress(count, now);
                if blocked.taken == blocked.bytes.len() {
                    self.0 = None;
                } else if blocked.taken > blocked.bytes.len() / 2 {
                    // So that what has left holds no memory.
                    blocked.discard_taken();
                }
            }
        }
        fresh.clear();
    }
}

/// Room for so many bytes more, in steps of [`BUFFER_STEP_BYTES`]: a buffer that doubles would hold twice what it
/// needs.
pub(crate) fn reserve_steps(buffer: &mut Vec<u8>, more: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        buffer.reserve_exact(needed.next_multiple_of(BUFFER_STEP_BYTES) - buffer.len());
    }
}

impl Blocked {
    fn discard_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.bytes.shrink_to_fit();
        self.taken = 0;
    }

    fn append(&mut self, fresh: &mut Vec<u8>) {
        // Moving what is left to the front costs at most as much as was taken since the last move.
        if self.taken > self.bytes.len() / 2 {
            self.discard_taken();
        }
        reserve_steps(&mut self.bytes, fresh.len());
        self.bytes.append(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_take_comes_first_the_next_time() {
        let now = Instant::now();
        let mut outbound = Outbound::default();
        let mut fresh = b"aaabbbccc".to_vec();
        assert_eq!(outbound.unsent(&mut fresh), b"aaabbbccc");
        outbound.taken(5, &mut fresh, now);
        assert_eq!(outbound.unsent(&mut fresh), b"bccc");
        assert_eq!(outbound.len(), 4);
        outbound.taken(0, &mut fresh, now);
        let mut more = b"ddd".to_vec();
        assert_eq!(outbound.unsent(&mut more), b"bcccddd");
        outbound.taken(7, &mut more, now);
        assert!(outbound.is_empty());
    }

    #[test]
    fn nothing_is_kept_when_the_kernel_takes_all() {
        let mut outbound = Outbound::default();
        let mut fresh = b"abc".to_vec();
        outbound.taken(3, &mut fresh, Instant::now());
        assert!(outbound.is_empty() && fresh.is_empty());
    }

    #[test]
    fn any_pattern_of_short_writes_sends_the_same_bytes() {
        let now = Instant::now();
        for step in 1..12 {
            let (mut outbound, mut sent) = (Outbound::default(), Vec::new());
            for turn in 0..40_u32 {
                let mut fresh = format!("<{turn}>").into_bytes();
                let unsent = outbound.unsent(&mut fresh);
                let count = unsent.len().min(step);
                sent.extend_from_slice(&unsent[..count]);
                outbound.taken(count, &mut fresh, now);
            }
            let mut nothing = Vec::new();
            let rest = outbound.unsent(&mut nothing).to_vec();
            outbound.taken(rest.len(), &mut nothing, now);
            sent.extend(rest);
            let expected: Vec<u8> = (0..40).flat_map(|turn| format!("<{turn}>").into_bytes()).collect();
            assert_eq!(sent, expected);
            assert!(outbound.is_empty());
        }
    }
}
