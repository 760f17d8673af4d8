//! The bodies of the messages posted here: each names its sender, its number and its time, and no two are alike.
//!
//! They are ASCII, as the envelopes of real clients are.

use std::ops::Range;
use std::time::{Duration, Instant};

pub(crate) const LEAST_BYTES: usize = LABEL_BYTES;

pub(crate) const MOST_BYTES: usize = 64 * 1024;

/// Length of a body where no option sets it.
pub(crate) const USUAL_BYTES: usize = 480;

const LABEL_BYTES: usize = 40;
const SENDER: Range<usize> = 0..8;
const RECIPIENT: Range<usize> = 8..16;
const SEQUENCE: Range<usize> = 16..24;
const NANOS: Range<usize> = 24..40;
/// Longer than any body by all starts.
static FILLER: [u8; 2 * MOST_BYTES] = filler();
const STARTS: usize = 61;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) sender: u32,
    pub(crate) recipient: u32,
    /// How many the sender has posted to the recipient before.
    pub(crate) sequence: u32,
    /// When it was posted, after the epoch of this run.
    pub(crate) since_epoch: Duration,
}

/// A message that is to be posted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'l> {
    pub(crate) id: &'l str,
    pub(crate) label: Label,
    pub(crate) ttl_seconds: u64,
}

impl Label {
    /// Appends the body, of `size` bytes and at least [`LEAST_BYTES`].
    pub(crate) fn write(&self, body: &mut Vec<u8>, size: usize) {
        let nanos = u64::try_from(self.since_epoch.as_nanos()).unwrap_or(u64::MAX);
        for number in [self.sender, self.recipient, self.sequence] {
            put_hex(body, number.into(), 8);
        }
        put_hex(body, nanos, 16);
        body.extend_from_slice(self.filler(size.saturating_sub(LABEL_BYTES)));
    }

    /// Reads a body of `size` bytes, of which each has to be what [`Label::write`] made it.
    pub(crate) fn read(body: &[u8], size: usize) -> Option<Self> {
        if body.len() != size {
            return None;
        }
        let number = |range: Range<usize>| {
            let text = str::from_utf8(body.get(range)?).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        let small = |range| u32::try_from(number(range)?).ok();
        let label = Self {
            sender: small(SENDER)?,
            recipient: small(RECIPIENT)?,
            sequence: small(SEQUENCE)?,
            since_epoch: Duration::from_nanos(number(NANOS)?),
        };
        (body.get(LABEL_BYTES..)? == label.filler(size - LABEL_BYTES)).then_some(label)
    }

    /// How long ago it was posted.
    pub(crate) fn age(&self, epoch: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(epoch + self.since_epoch)
    }

    fn filler(&self, length: usize) -> &'static [u8] {
        let start = (self.sender.wrapping_mul(7).wrapping_add(self.sequence)) as usize % STARTS;
        FILLER.get(start..start + length).unwrap_or_default()
    }
}

fn put_hex(body: &mut Vec<u8>, number: u64, digits: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    body.extend(
        (0..digits)
            .rev()
            .map(|place| DIGITS[(number >> (4 * place) & 0xf) as usize]),
    );
}

/// Letters of which no long stretch repeats within 61 starts.
const fn filler<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut state = 1_u32;
    let mut index = 0;
    while index < N {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes[index] = b'a' + ((state >> 24) % 26) as u8;
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_as_it_was_written_and_no_altered_one_is() {
        let label = Label {
            sender: 3,
            recipient: 0xffff_fffe,
            sequence: 17,
            since_epoch: Duration::from_nanos(123_456_789_012),
        };
        for size in [LEAST_BYTES, 480, 64 * 1024] {
            let mut body = Vec::new();
            label.write(&mut body, size);
            assert_eq!(body.len(), size);
            assert_eq!(Label::read(&body, size), Some(label));
            assert_eq!(Label::read(&body[1..], size), None);
            let last = body.len() - 1;
            body[last] ^= 0x20;
            assert_ne!(Label::read(&body, size), Some(label));
        }
    }
}
