//! The time of day as rustls asks for it, which may be before 1970 on a machine whose clock is set so: rustls' own way
//! to ask for it panics then, once for each connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

/// A clock, the machine's but in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct TlsClock(pub(super) fn() -> SystemTime);

impl TlsClock {
    fn since_1970(self) -> Option<Duration> {
        (self.0)().duration_since(SystemTime::UNIX_EPOCH).ok()
    }
}

impl TimeProvider for TlsClock {
    /// A time before 1970 is taken for the first second of it: the age of a ticket is all that depends on it.
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = self.since_1970().unwrap_or_default();
        Some(UnixTime::since_unix_epoch(since_1970))
    }
}

/// Tickets that there are none of before 1970: handshakes are full ones then.
#[derive(Debug)]
pub(super) struct DatedTickets {
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) clock: TlsClock,
}

impl ProducesTickets for DatedTickets {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.clock.since_1970().and_then(|_| self.tickets.encrypt(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.clock.since_1970().and_then(|_| self.tickets.decrypt(cipher))
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::Ticketer;

    use super::*;

    #[test]
    fn before_1970_there_is_a_time_but_no_ticket() {
        let early = TlsClock(|| SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        let late = TlsClock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(7));
        assert_eq!(early.current_time().map(|time| time.as_secs()), Some(0));
        assert_eq!(late.current_time().map(|time| time.as_secs()), Some(7));
        let tickets = Ticketer::new().unwrap();
        let at = |clock| DatedTickets {
            tickets: Arc::clone(&tickets),
            clock,
        };
        let ticket = at(late).encrypt(b"session").unwrap();
        assert_eq!(at(late).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert!(at(early).encrypt(b"session").is_none() && at(early).decrypt(&ticket).is_none());
    }
}
