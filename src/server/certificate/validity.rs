//! From when until when a certificate is valid, and when its end is to be announced.

use std::time::{Duration, SystemTime};

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::CertificateDer;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The first and the last second in which a certificate is valid (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first one.
    pub not_before: SystemTime,
    /// The last one.
    pub not_after: SystemTime,
}

/// How near the end of a certificate's validity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// Nothing is to be done.
    Enough,
    /// It ends within a week.
    LessThanAWeek,
    /// It ends within a day.
    LessThanADay,
    /// It has ended.
    Nothing,
}

impl Validity {
    /// Reads it from a certificate: the times that follow version, serial number, algorithm and issuer (RFC 5280 §4.1).
    pub(super) fn of(certificate: &CertificateDer<'_>) -> der::Result<Self> {
        let mut certificate = sequence(AnyRef::from_der(certificate)?)?;
        let mut signed = sequence(certificate.decode()?)?;
        let first: AnyRef<'_> = signed.decode()?;
        // Version 1 is left out.
        let others = if first.tag() == Tag::Integer { 2 } else { 3 };
        for _ in 0..others {
            signed.decode::<AnyRef<'_>>()?;
        }
        let mut validity = sequence(signed.decode()?)?;
        let (not_before, not_after) = (validity.decode()?, validity.decode()?);
        Ok(Self {
            // One before 1970 is none that anybody waits for.
            not_before: time(not_before).unwrap_or(SystemTime::UNIX_EPOCH),
            not_after: time(not_after)?,
        })
    }

    /// Whether `now` is neither before the first nor after the last second.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        self.has_begun(now) && !self.is_over(now)
    }

    /// Whether `now` isn't before the first second.
    #[must_use]
    pub fn has_begun(&self, now: SystemTime) -> bool {
        now >= self.not_before
    }

    /// Whether `now` is after the last second.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.not_after)
            .is_ok_and(|since| since >= Duration::from_secs(1))
    }

    /// How near its end is. A week or a day isn't near for a certificate whose whole life isn't twice as long: it is
    /// renewed within that anyway.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Remaining {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let left = self.not_after.duration_since(now).unwrap_or_default();
        let is_near = |time: Duration| left < time && life >= 2 * time;
        if self.is_over(now) {
            Remaining::Nothing
        } else if is_near(DAY) {
            Remaining::LessThanADay
        } else if is_near(WEEK) {
            Remaining::LessThanAWeek
        } else {
            Remaining::Enough
        }
    }
}

fn time(any: AnyRef<'_>) -> der::Result<SystemTime> {
    let since_1970 = match any.tag() {
        Tag::UtcTime => any.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => any.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    // At most the year 9999, which fits.
    Ok(SystemTime::UNIX_EPOCH
        .checked_add(since_1970)
        .unwrap_or(SystemTime::UNIX_EPOCH))
}

fn sequence(any: AnyRef<'_>) -> der::Result<SliceReader<'_>> {
    any.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(any.value())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn at(time: &str) -> SystemTime {
        humantime::parse_rfc3339(time).unwrap()
    }

    fn validity(not_before: &str, not_after: &str) -> Validity {
        Validity {
            not_before: at(not_before),
            not_after: at(not_after),
        }
    }

    #[test]
    fn it_is_read_from_both_forms_of_times() {
        let of = |name: &str| {
            let certificate = CertificateDer::from_pem_file(format!("tests/fixtures/{name}.cert.pem")).unwrap();
            Validity::of(&certificate).unwrap()
        };
        assert_eq!(of("expired"), validity("2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"));
        // From 2050 on, the time has another form.
        assert_eq!(
            of("localhost"),
            validity("2025-01-01T00:00:00Z", "2125-01-01T00:00:00Z")
        );
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let certificate = CertificateDer::from_pem_file("tests/fixtures/localhost.cert.pem").unwrap();
        for length in 0..certificate.len() {
            assert!(Validity::of(&CertificateDer::from(&certificate[..length])).is_err());
        }
    }

    #[test]
    fn it_holds_from_its_first_to_its_last_second() {
        let validity = validity("2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z");
        for (now, has_begun, is_over) in [
            ("2022-12-31T23:59:59Z", false, false),
            ("2023-01-01T00:00:00Z", true, false),
            ("2024-01-01T00:00:00Z", true, false),
            ("2024-01-01T00:00:01Z", true, true),
        ] {
            let now = at(now);
            assert_eq!((validity.has_begun(now), validity.is_over(now)), (has_begun, is_over));
            assert_eq!(validity.holds(now), has_begun && !is_over);
        }
    }

    #[test]
    fn its_end_is_near_a_week_and_a_day_before_unless_its_life_is_short() {
        let remaining = |not_before: &str, now: &str| validity(not_before, "2024-01-31T00:00:00Z").remaining(at(now));
        for (now, expected) in [
            ("2024-01-24T00:00:00Z", Remaining::Enough),
            ("2024-01-24T00:00:01Z", Remaining::LessThanAWeek),
            ("2024-01-30T00:00:00Z", Remaining::LessThanAWeek),
            ("2024-01-30T00:00:01Z", Remaining::LessThanADay),
            ("2024-01-31T00:00:00Z", Remaining::LessThanADay),
            ("2024-01-31T00:00:01Z", Remaining::Nothing),
        ] {
            assert_eq!(remaining("2024-01-01T00:00:00Z", now), expected, "{now}");
        }
        // A week, and a day.
        assert_eq!(
            remaining("2024-01-24T00:00:00Z", "2024-01-25T00:00:00Z"),
            Remaining::Enough
        );
        assert_eq!(
            remaining("2024-01-24T00:00:00Z", "2024-01-30T12:00:00Z"),
            Remaining::LessThanADay
        );
        assert_eq!(
            remaining("2024-01-30T00:00:00Z", "2024-01-30T12:00:00Z"),
            Remaining::Enough
        );
    }
}
