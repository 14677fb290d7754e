//! Lengths of validity, in the units that policies use: calendar years, days, hours.

use std::fmt;
use std::time::Duration;

use der::DateTime;
use serde::{Deserialize, Deserializer, de};

use super::super::Validity;
use crate::pki::Timestamp;

const DAY: u64 = 86_400;
const HOUR: u64 = 3600;

/// `3y`, `200d` or `12h`: 1 to 100 years, or as many days or hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Calendar years: to the same day and time, or to 28 February where that year has no 29th.
    Years(u16),
    /// Days of 86 400 seconds.
    Days(u32),
    /// Hours.
    Hours(u32),
}

impl Period {
    /// The instant that is so much later, at most [`Timestamp::MAX`].
    pub fn after(self, start: Timestamp) -> Timestamp {
        match self {
            Period::Years(years) => years_after(start, years),
            Period::Days(days) => start.saturating_add(Duration::from_secs(u64::from(days) * DAY)),
            Period::Hours(hours) => start.saturating_add(Duration::from_secs(u64::from(hours) * HOUR)),
        }
    }

    /// At most so many seconds: a year counts 366 days.
    pub(super) fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Period::Years(years) => u64::from(years) * 366 * DAY,
            Period::Days(days) => u64::from(days) * DAY,
            Period::Hours(hours) => u64::from(hours) * HOUR,
        })
    }

    fn parse(text: &str) -> Option<Period> {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        // No sign, no leading zero: one way to write each.
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = digits.parse().ok().filter(|_| plain)?;
        match unit {
            "y" if number <= 100 => Some(Period::Years(number as u16)),
            "d" if number <= 36_525 => Some(Period::Days(number)),
            "h" if number <= 876_600 => Some(Period::Hours(number)),
            _ => None,
        }
    }
}

fn years_after(start: Timestamp, years: u16) -> Timestamp {
    let t = start.civil();
    let year = t.year.saturating_add(years);
    let on = |day| DateTime::new(year, t.month, day, t.hour, t.minute, t.second);
    on(t.day).or_else(|_| on(28)).map_or(Timestamp::MAX, Timestamp::from)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Years(n) => write!(f, "{n}y"),
            Period::Days(n) => write!(f, "{n}d"),
            Period::Hours(n) => write!(f, "{n}h"),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wanted = || de::Error::custom(format!("found '{text}', wanted a period such as 3y, 200d or 12h, at most 100y"));
        Period::parse(&text).ok_or_else(wanted)
    }
}

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Length {
    /// Exactly: notAfter is so much later than notBefore, to the second.
    Fixed(Period),
    /// At most so long, the last second counted (RFC 5280 4.1.2.5, BR 6.3.2): 200 days end one second before the same time on the 200th day.
    Maximum(Period),
}

impl Length {
    /// The whole validity that begins at `not_before`.
    pub fn from(self, not_before: Timestamp) -> Validity {
        let not_after = match self {
            Length::Fixed(period) => period.after(not_before),
            Length::Maximum(period) => period.after(not_before).saturating_sub(Duration::from_secs(1)),
        };
        Validity { not_before, not_after }
    }

    /// Whether a validity is so long, or within it.
    pub(super) fn allows(self, validity: &Validity) -> bool {
        let whole = self.from(validity.not_before);
        match self {
            Length::Fixed(_) => validity.not_after == whole.not_after,
            Length::Maximum(_) => validity.not_after <= whole.not_after,
        }
    }

    /// The period, fixed or greatest.
    pub(super) fn period(self) -> Period {
        match self {
            Length::Fixed(period) | Length::Maximum(period) => period,
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Fixed(period) => write!(f, "exactly {period}"),
            Length::Maximum(period) => write!(f, "at most {period}"),
        }
    }
}

/// A root lives so long at least (BR 7.1.2.1.1).
pub(super) const BR_ROOT_MINIMUM: Period = Period::Days(2922);
/// From 15 March of 2029, 2027 and 2026 on, in seconds since 1970, a TLS server's certificate is valid for so many days at most (BR 6.3.2); last first.
pub(super) const TLS_MAXIMA: [(u64, u32); 4] = [(1_868_227_200, 47), (1_805_068_800, 100), (1_773_532_800, 200), (0, 398)];
/// The same for one that is short-lived (BR 1.6.1).
pub(super) const SHORT_LIVED_MAXIMA: [(u64, u32); 2] = [(1_773_532_800, 7), (0, 10)];

/// The most days at `now`.
pub(super) fn maximum(steps: &[(u64, u32)], now: Timestamp) -> Option<u32> {
    steps.iter().find(|(from, _)| *from <= now.unix()).map(|(_, days)| *days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn s4_1_three_years_end_at_the_same_time_as_the_table_prints_it() {
        assert_eq!(Length::Fixed(Period::Years(3)).from(at("2001-03-31T15:00:00Z")).not_after, at("2004-03-31T15:00:00Z"));
        assert_eq!(Period::Years(10).after(at("2001-03-31T15:00:00Z")), at("2011-03-31T15:00:00Z"));
    }

    #[test]
    fn a_leap_day_ends_on_the_28th_and_nothing_passes_the_last_instant() {
        assert_eq!(Period::Years(1).after(at("2024-02-29T01:02:03Z")), at("2025-02-28T01:02:03Z"));
        assert_eq!(Period::Years(4).after(at("2024-02-29T01:02:03Z")), at("2028-02-29T01:02:03Z"));
        assert_eq!(Period::Years(100).after(at("9950-01-01T00:00:00Z")), Timestamp::MAX);
    }

    #[test]
    fn a_maximum_counts_its_last_second() {
        let length = Length::Maximum(Period::Days(200));
        let whole = length.from(at("2026-03-15T00:00:00Z"));
        assert_eq!(whole.not_after, at("2026-09-30T23:59:59Z"));
        assert!(length.allows(&whole));
        let longer = Validity { not_after: at("2026-10-01T00:00:00Z"), ..whole };
        assert!(!length.allows(&longer));
        let shorter = Validity { not_after: at("2026-09-01T00:00:00Z"), ..whole };
        assert!(length.allows(&shorter) && !Length::Fixed(Period::Days(200)).allows(&shorter));
    }

    #[test]
    fn s2_2_tls_maxima_begin_on_the_ides_of_march() {
        let day = |text: &str| maximum(&TLS_MAXIMA, at(text)).unwrap();
        assert_eq!([day("2026-03-14T23:59:59Z"), day("2026-03-15T00:00:00Z")], [398, 200]);
        assert_eq!([day("2027-03-14T23:59:59Z"), day("2027-03-15T00:00:00Z")], [200, 100]);
        assert_eq!([day("2029-03-14T23:59:59Z"), day("2029-03-15T00:00:00Z")], [100, 47]);
        assert_eq!(maximum(&SHORT_LIVED_MAXIMA, at("2026-03-15T00:00:00Z")), Some(7));
    }

    #[test]
    fn periods_are_written_in_one_way_and_bounded() {
        for (text, period) in [("3y", Period::Years(3)), ("200d", Period::Days(200)), ("12h", Period::Hours(12))] {
            assert_eq!((Period::parse(text), period.to_string().as_str()), (Some(period), text));
        }
        for text in ["", "y", "0y", "03y", "+3y", "101y", "1w", "-1d", "99999999999d", "3年", "36526d"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
