//! What a session has been sent and its client has not been seen to have read: how much that may be, and when to ask.
//!
//! A ping follows the messages in the stream, with a number in it. Every WebSocket stack answers it by itself, and only
//! when it has read up to it (RFC 6455 §5.5.2), so the pong with that number confirms all that went before. No frame,
//! no mailbox and no clock is touched here.

use std::mem;
use std::time::{Duration, Instant};

use crate::server::limits::{
    PING_SPACING_MILLIS, PONG_QUICK_MILLIS, PONG_SLOW_MILLIS, WINDOW_MAX_BYTES, WINDOW_MAX_MESSAGES, WINDOW_MIN_BYTES,
};
use crate::server::mailboxes::{Room, Sequence};

/// Payload of a ping: its number, big-endian.
pub(super) type PingPayload = [u8; 4];

/// The unconfirmed part of one session's stream. At most one ping is under way.
#[derive(Debug)]
pub(super) struct Window {
    /// Bytes that may be unconfirmed.
    max_bytes: usize,
    /// Sent since the last ping.
    fresh: Room,
    /// The last message sent, if any is unconfirmed.
    last: Option<Sequence>,
    ping: Option<Ping>,
    /// Pings so far, wrapping: the number of the last one.
    number: u32,
    /// When the next ping is due, while none is under way.
    next_ping_at: Instant,
    /// No ping before this unless the window is filling, however many messages come.
    spaced_until: Instant,
}

/// A ping under way.
#[derive(Debug)]
struct Ping {
    /// Messages that its pong confirms.
    covers: Room,
    /// The last of them.
    upto: Option<Sequence>,
    /// When the kernel had taken it: what waits before that has a deadline of its own.
    left_at: Option<Instant>,
}

/// What a pong confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) messages: usize,
    /// The last message of them; `None` if the ping only asked whether anybody is there.
    pub(super) upto: Option<Sequence>,
}

impl Window {
    /// Nothing is sent yet; with no mail, the first ping is due after `interval`.
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            max_bytes: WINDOW_MIN_BYTES,
            fresh: Room::NONE,
            last: None,
            ping: None,
            number: 0,
            next_ping_at: now + interval,
            spaced_until: now,
        }
    }

    /// How much more may be sent; at most one message may go beyond it in bytes. `None`: nothing, until a pong comes.
    pub(super) fn room(&self) -> Option<Room> {
        let unconfirmed = self.unconfirmed();
        let messages = WINDOW_MAX_MESSAGES.saturating_sub(unconfirmed.messages);
        let bytes = self.max_bytes.saturating_sub(unconfirmed.bytes);
        (messages > 0 && bytes > 0).then_some(Room { messages, bytes })
    }

    /// Whether the client has acknowledged all that it was sent.
    pub(super) fn is_all_acknowledged(&self) -> bool {
        self.unconfirmed().messages == 0
    }

    /// The next ping is due as soon as one may be: something waits for what was sent to be acknowledged.
    pub(super) fn ask_soon(&mut self, now: Instant) {
        self.next_ping_at = now.max(self.spaced_until);
    }

    /// A message with a body of so many bytes has been written into the stream.
    ///
    /// Its ping is due at once, in the same write, unless the last one is too recent. So a client that ends the session
    /// in order soon after it has read the message has acknowledged it, and isn't sent it again at its next login.
    pub(super) fn note_message(&mut self, sequence: Sequence, bytes: usize, now: Instant) {
        self.fresh.messages += 1;
        self.fresh.bytes += bytes;
        self.last = Some(sequence);
        self.next_ping_at = self.next_ping_at.min(now.max(self.spaced_until));
    }

    /// Whether a ping is to follow what has been written, at once.
    pub(super) fn is_ping_due(&self, now: Instant) -> bool {
        // With the other half on its way, a client that is far away isn't kept waiting for its own pong.
        let is_half_full = self.fresh.messages >= WINDOW_MAX_MESSAGES / 2 || self.fresh.bytes >= self.max_bytes / 2;
        self.ping.is_none() && (is_half_full || now >= self.next_ping_at)
    }

    /// A ping with this payload is written into the stream now.
    pub(super) fn ping(&mut self, now: Instant) -> PingPayload {
        self.number = self.number.wrapping_add(1);
        self.ping = Some(Ping {
            covers: mem::replace(&mut self.fresh, Room::NONE),
            upto: self.last.take(),
            left_at: None,
        });
        self.spaced_until = now + Duration::from_millis(PING_SPACING_MILLIS);
        self.number.to_be_bytes()
    }

    /// The kernel has taken all that has been written.
    pub(super) fn note_flushed(&mut self, now: Instant) {
        if let Some(ping) = &mut self.ping {
            ping.left_at.get_or_insert(now);
        }
    }

    /// A pong: what it confirms, if it answers the ping under way. With no mail, the next ping is due after `interval`.
    pub(super) fn pong(&mut self, payload: &[u8], now: Instant, interval: Duration) -> Option<Confirmed> {
        let ping = self.ping.take_if(|_| payload == self.number.to_be_bytes())?;
        self.adapt(&ping, now);
        self.next_ping_at = if self.last.is_some() {
            self.spaced_until
        } else {
            now + interval
        };
        Some(Confirmed {
            messages: ping.covers.messages,
            upto: ping.upto,
        })
    }

    /// When a ping is due, or its pong must have come. `None` while the ping under way has not left.
    pub(super) fn deadline(&self, pong_timeout: Duration) -> Option<Instant> {
        match &self.ping {
            None => Some(self.next_ping_at),
            Some(ping) => ping.left_at.map(|at| at + pong_timeout),
        }
    }

    /// Whether a ping is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.ping.is_some()
    }

    /// Whether the pong is too late.
    pub(super) fn is_overdue(&self, now: Instant, pong_timeout: Duration) -> bool {
        self.ping.is_some() && self.deadline(pong_timeout).is_some_and(|deadline| now >= deadline)
    }

    fn adapt(&mut self, ping: &Ping, now: Instant) {
        let took = ping
            .left_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if took > Duration::from_millis(PONG_SLOW_MILLIS) {
            self.max_bytes = (self.max_bytes / 2).max(WINDOW_MIN_BYTES);
        } else if took <= Duration::from_millis(PONG_QUICK_MILLIS) && ping.covers.bytes >= self.max_bytes / 2 {
            self.max_bytes = (self.max_bytes * 2).min(WINDOW_MAX_BYTES);
        }
    }

    fn unconfirmed(&self) -> Room {
        let under_way = self.ping.as_ref().map_or(Room::NONE, |ping| ping.covers);
        Room {
            messages: self.fresh.messages + under_way.messages,
            bytes: self.fresh.bytes + under_way.bytes,
        }
    }
}

/// When to ask a silent client next: within `interval`, and not at the same time as all others.
pub(super) fn jittered(interval: Duration, seed: u32) -> Duration {
    // Knuth's multiplicative hash: neighbours end up far apart, and no random numbers are needed.
    let spread = seed.wrapping_mul(2_654_435_769) >> 24;
    interval * (1024 - spread) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);
    const PONG: Duration = Duration::from_secs(75);
    const SPACING: Duration = Duration::from_millis(PING_SPACING_MILLIS);

    #[test]
    fn a_lone_message_is_asked_for_at_once_and_its_pong_confirms_it() {
        let start = Instant::now();
        let mut window = Window::new(start, PAUSE);
        let now = start + Duration::from_secs(5);
        assert!(!window.is_ping_due(now));
        window.note_message(Sequence(7), 100, now);
        assert!(window.is_ping_due(now));
        let payload = window.ping(now);
        assert_eq!(window.deadline(PONG), None, "it has not left");
        window.note_flushed(now + SPACING);
        window.note_flushed(now + 2 * SPACING);
        assert_eq!(window.deadline(PONG), Some(now + SPACING + PONG));
        let confirmed = window.pong(&payload, now + 2 * SPACING, PAUSE);
        let expected = Confirmed {
            messages: 1,
            upto: Some(Sequence(7)),
        };
        assert_eq!(confirmed, Some(expected));
        assert_eq!(window.pong(&payload, now, PAUSE), None, "it confirms once");
        assert_eq!(window.deadline(PONG), Some(now + 2 * SPACING + PAUSE));
    }

    #[test]
    fn what_follows_the_ping_waits_for_the_next_one() {
        let now = Instant::now();
        let mut window = Window::new(now, PAUSE);
        window.note_message(Sequence(1), 10, now);
        let payload = window.ping(now);
        window.note_message(Sequence(2), 10, now);
        assert!(!window.is_ping_due(now + PAUSE), "one is under way");
        let confirmed = window.pong(&payload, now + SPACING / 2, PAUSE).unwrap();
        assert_eq!((confirmed.messages, confirmed.upto), (1, Some(Sequence(1))));
        assert!(!window.is_ping_due(now + SPACING / 2));
        assert_eq!(window.deadline(PONG), Some(now + SPACING), "they keep their distance");
        assert_eq!(window.unconfirmed(), Room { messages: 1, bytes: 10 });
    }

    #[test]
    fn what_follows_a_ping_that_was_answered_keeps_the_distance_from_it_and_no_more() {
        let now = Instant::now();
        let mut window = Window::new(now, PAUSE);
        window.note_message(Sequence(1), 10, now);
        let payload = window.ping(now);
        assert!(window.pong(&payload, now, PAUSE).is_some());
        window.note_message(Sequence(2), 10, now + SPACING / 2);
        assert!(!window.is_ping_due(now + SPACING / 2));
        assert_eq!(window.deadline(PONG), Some(now + SPACING));
        let payload = window.ping(now + SPACING);
        window.note_message(Sequence(3), 10, now + SPACING);
        let _ = window.pong(&payload, now + 3 * SPACING, PAUSE).unwrap();
        assert!(
            window.is_ping_due(now + 3 * SPACING),
            "its pong took longer than the distance"
        );
    }

    #[test]
    fn a_pong_that_answers_no_ping_or_another_one_confirms_nothing() {
        let now = Instant::now();
        let mut window = Window::new(now, PAUSE);
        assert_eq!(window.pong(&0_u32.to_be_bytes(), now, PAUSE), None);
        window.note_message(Sequence(1), 10, now);
        let first = window.ping(now);
        for payload in [&b""[..], b"hello", &2_u32.to_be_bytes(), &[&first[..], b"x"].concat()] {
            assert_eq!(window.pong(payload, now, PAUSE), None);
        }
        assert!(window.pong(&first, now, PAUSE).is_some());
        window.note_message(Sequence(2), 10, now);
        let _ = window.ping(now);
        assert_eq!(window.pong(&first, now, PAUSE), None, "it answers an earlier one");
    }

    #[test]
    fn a_window_that_is_full_asks_at_once_and_has_no_room_until_the_pong() {
        let now = Instant::now();
        for (count, bytes) in [(WINDOW_MAX_MESSAGES, 0), (4, WINDOW_MIN_BYTES / 4)] {
            let mut window = Window::new(now, PAUSE);
            let mut payload = None;
            for number in 0..count {
                assert!(window.room().is_some());
                window.note_message(Sequence(u32::try_from(number).unwrap()), bytes, now);
                if window.is_ping_due(now) {
                    payload = Some((number + 1, window.ping(now)));
                }
            }
            let (covered, payload) = payload.expect("half full is reason to ask");
            assert_eq!(window.room(), None);
            assert_eq!(window.pong(&payload, now, PAUSE).unwrap().messages, covered);
            assert_eq!(window.room().unwrap().messages, WINDOW_MAX_MESSAGES - (count - covered));
        }
    }

    /// Fills half of the window; how much that was, and how long its pong takes.
    fn fill_half(window: &mut Window, now: Instant, takes: Duration) -> usize {
        let half = window.max_bytes / 2;
        window.note_message(Sequence(1), half, now);
        assert!(window.is_ping_due(now));
        let payload = window.ping(now);
        window.note_flushed(now);
        assert!(window.pong(&payload, now + takes, PAUSE).is_some());
        half
    }

    #[test]
    fn the_window_grows_with_quick_pongs_and_shrinks_with_slow_ones() {
        let now = Instant::now();
        let mut window = Window::new(now, PAUSE);
        let (quick, slow) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut halves: Vec<_> = (0..6).map(|_| fill_half(&mut window, now, quick)).collect();
        assert_eq!(halves, [8, 16, 32, 64, 128, 128].map(|kib| kib * 1024));
        halves = (0..6).map(|_| fill_half(&mut window, now, slow)).collect();
        assert_eq!(halves, [128, 64, 32, 16, 8, 8].map(|kib| kib * 1024));
    }

    #[test]
    fn a_client_on_a_thin_line_is_never_given_more_than_it_can_confirm_in_time() {
        for bytes_per_second in [1500, 5000, 20_000, 100_000] {
            let now = Instant::now();
            let mut window = Window::new(now, PAUSE);
            for _ in 0..100 {
                // The other half stands before it in the stream.
                let takes = Duration::from_millis(window.max_bytes as u64 * 1000 / bytes_per_second);
                assert!(takes < PONG, "{bytes_per_second}");
                fill_half(&mut window, now, takes);
            }
        }
    }

    #[test]
    fn pauses_are_spread_over_a_quarter_and_never_longer_than_the_interval() {
        let pauses: Vec<_> = (0..1000).map(|seed| jittered(PAUSE, seed)).collect();
        assert!(pauses.iter().all(|pause| *pause <= PAUSE && *pause > PAUSE * 3 / 4));
        for part in 12..16 {
            let (from, to) = (PAUSE * part / 16, PAUSE * (part + 1) / 16);
            let count = pauses.iter().filter(|pause| **pause > from && **pause <= to).count();
            assert!((200..300).contains(&count), "{count}");
        }
    }
}
