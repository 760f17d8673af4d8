//! The values that options of several scenarios take.

use clap::builder::RangedU64ValueParser;

use crate::mail::{LEAST_BYTES, MOST_BYTES};

pub(crate) fn at_least<T>(least: u64) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64> + Clone + Send + Sync,
{
    RangedU64ValueParser::new().range(least..=u64::from(u32::MAX))
}

pub(crate) fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

pub(crate) fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(LEAST_BYTES as u64..=MOST_BYTES as u64)
}

pub(crate) fn rate() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=100_000_000)
}
