//! Points in time as certificates, CRLs and OCSP responses carry them: whole seconds, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::DateTime;

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, at most `9999-12-31T23:59:59Z`.
///
/// ASN.1 can express years before 1970; nothing in this field needs them, so they cannot be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// The time could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a time: wanted {wanted}")]
pub struct TimeError {
    found: String,
    wanted: &'static str,
}

impl Timestamp {
    /// `9999-12-31T23:59:59Z`: the last instant that a GeneralizedTime expresses; "no well-defined expiration date" (RFC 5280 4.1.2.5).
    pub const MAX: Timestamp = Timestamp(253_402_300_799);
    /// `2050-01-01T00:00:00Z`: from here on `Time` is a GeneralizedTime (RFC 5280 4.1.2.5, rule C1).
    pub const GENERALIZED_FROM: Timestamp = Timestamp(2_524_608_000);

    /// So far the clocks of two hosts may be apart without anything being wrong.
    pub const MAX_SKEW: Duration = Duration::from_secs(60);

    /// The instant `seconds` after the epoch; `None` past the year 9999.
    pub const fn from_unix(seconds: u64) -> Option<Timestamp> {
        if seconds <= Self::MAX.0 { Some(Timestamp(seconds)) } else { None }
    }

    /// Seconds since the epoch.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// The system clock's time, cut to the second. Only the edges of the program call this; everything else takes the time as an argument.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// This instant plus `duration` (cut to whole seconds), at most [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(duration.as_secs()).min(Self::MAX.0))
    }

    /// This instant minus `duration` (cut to whole seconds), not before the epoch.
    pub fn saturating_sub(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(duration.as_secs()))
    }

    /// Time elapsed from `earlier` to `self`; zero where `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Whether it is still to come, by more than [`Timestamp::MAX_SKEW`]: the clock that showed it is ahead, or the one that shows `now` is behind.
    pub fn is_ahead_of(self, now: Timestamp) -> bool {
        self.since(now) > Self::MAX_SKEW
    }

    /// The same instant as a [`SystemTime`].
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// `YYYYMMDDHHMMSSZ`: the content of a GeneralizedTime without fractions (rule O6).
    pub fn generalized(self) -> [u8; 15] {
        let t = self.civil();
        let mut out = *b"00000000000000Z";
        out[..4].copy_from_slice(&t.year_digits());
        out[4..14].copy_from_slice(&t.month_to_second());
        out
    }

    /// `YYMMDDHHMMSSZ`: the content of a UTCTime; `None` from 2050 on.
    pub fn utc(self) -> Option<[u8; 13]> {
        if self >= Self::GENERALIZED_FROM {
            return None;
        }
        let t = self.civil();
        let mut out = *b"000000000000Z";
        out[..2].copy_from_slice(&t.year_digits()[2..]);
        out[2..12].copy_from_slice(&t.month_to_second());
        Some(out)
    }

    /// Reads `YYYYMMDDHHMMSSZ` (four-digit year) or `YYMMDDHHMMSSZ` (1950–2049): the forms of GeneralizedTime and UTCTime, and of an `openssl ca` index.
    pub fn from_asn1_text(text: &str) -> Result<Timestamp, TimeError> {
        let wanted = "YYYYMMDDHHMMSSZ or YYMMDDHHMMSSZ, 1970 to 9999";
        let fail = || TimeError { found: text.chars().take(40).collect(), wanted };
        let digits = text.strip_suffix('Z').filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or_else(fail)?;
        let number = |from: usize, to: usize| digits[from..to].parse::<u16>().map_err(|_| fail());
        let (year, rest) = match digits.len() {
            14 => (number(0, 4)?, 4),
            12 => match number(0, 2)? {
                yy if yy < 50 => (2000 + yy, 2),
                yy => (1900 + yy, 2),
            },
            _ => return Err(fail()),
        };
        let field = |i: usize| number(rest + 2 * i, rest + 2 * i + 2).map(|n| n as u8);
        DateTime::new(year, field(0)?, field(1)?, field(2)?, field(3)?, field(4)?).map(Timestamp::from).map_err(|_| fail())
    }

    /// Reads the content of a UTCTime, `YYMMDDHHMMSSZ`; `None` where it is none, or before 1970.
    pub fn from_utc(content: &[u8; 13]) -> Option<Timestamp> {
        let (date, rest) = content.split_first_chunk::<2>()?;
        let year = two_digits_of(date)?;
        from_civil(if year < 50 { 2000 + year } else { 1900 + year }, rest)
    }

    /// Reads the content of a GeneralizedTime, `YYYYMMDDHHMMSSZ`; `None` where it is none, or before 1970.
    pub fn from_generalized(content: &[u8; 15]) -> Option<Timestamp> {
        let (century, rest) = content.split_first_chunk::<2>()?;
        let (year, rest) = rest.split_first_chunk::<2>()?;
        from_civil(100 * two_digits_of(century)? + two_digits_of(year)?, rest)
    }

    /// Date and time of day. Some ten nanoseconds: every OCSP response takes several of them.
    pub fn civil(self) -> Civil {
        let (days, seconds) = (self.0 / 86_400, (self.0 % 86_400) as u32);
        // Counted in years that begin with March, so that a leap day is the last of its year, and in eras of 400 years, which are all alike.
        let days_since_0000_03 = days + DAYS_BEFORE_1970;
        let (era, day_of_era) = (days_since_0000_03 / DAYS_OF_ERA, (days_since_0000_03 % DAYS_OF_ERA) as u32);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Civil {
            year: (era * 400) as u16 + year_of_era as u16 + u16::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            // 1970-01-01 was a Thursday.
            weekday: ((days + 3) % 7) as u8,
        }
    }
}

/// The instant in a year whose month to second are `MMDDHHMMSSZ`.
fn from_civil(year: u64, rest: &[u8]) -> Option<Timestamp> {
    let (&[a, b, c, d, e, f, g, h, i, j, b'Z'], []) = rest.split_first_chunk::<11>()? else { return None };
    let field = |pair: [u8; 2]| two_digits_of(&pair);
    let (month, day) = (field([a, b])?, field([c, d])?);
    let (hour, minute, second) = (field([e, f])?, field([g, h])?, field([i, j])?);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years begin with March, so that a leap day is the last of its year.
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    let days = march_year * 365 + leap_days + (march_month * 153 + 2) / 5 + day - 1;
    Timestamp::from_unix((days - DAYS_BEFORE_1970) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn two_digits_of(digits: &[u8; 2]) -> Option<u64> {
    let [tens, ones] = digits.map(|digit| u64::from(digit.wrapping_sub(b'0')));
    if tens < 10 && ones < 10 { Some(10 * tens + ones) } else { None }
}

/// From 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;

/// A point in time as a calendar and a clock show it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Days after Monday.
    pub weekday: u8,
}

impl Civil {
    /// Four digits.
    pub fn year_digits(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (two_digits((self.year / 100) as u8), two_digits((self.year % 100) as u8));
        [a, b, c, d]
    }

    fn month_to_second(&self) -> [u8; 10] {
        let mut out = [0; 10];
        for (place, field) in out.chunks_exact_mut(2).zip([self.month, self.day, self.hour, self.minute, self.second]) {
            place.copy_from_slice(&two_digits(field));
        }
        out
    }
}

/// The decimal digits of a number below 100.
pub const fn two_digits(n: u8) -> [u8; 2] {
    [b'0' + n / 10, b'0' + n % 10]
}

impl From<DateTime> for Timestamp {
    fn from(t: DateTime) -> Timestamp {
        Timestamp(t.unix_duration().as_secs().min(Self::MAX.0))
    }
}

impl From<Timestamp> for DateTime {
    fn from(t: Timestamp) -> DateTime {
        DateTime::from_unix_duration(Duration::from_secs(t.0)).expect("a Timestamp is at most the year 9999")
    }
}

impl From<SystemTime> for Timestamp {
    /// Cuts to the second; times before the epoch become the epoch.
    fn from(t: SystemTime) -> Timestamp {
        let seconds = t.duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
        Timestamp(seconds.min(Self::MAX.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339: `2026-01-31T09:30:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.civil();
        let (date, time) = ((t.year, t.month, t.day), (t.hour, t.minute, t.second));
        write!(f, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", date.0, date.1, date.2, time.0, time.1, time.2)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads RFC 3339 in UTC, `2026-01-31T09:30:00Z`, or one of the ASN.1 forms.
    fn from_str(text: &str) -> Result<Timestamp, TimeError> {
        match text.parse::<DateTime>() {
            Ok(t) => Ok(t.into()),
            Err(_) => Timestamp::from_asn1_text(text).map_err(|e| TimeError { wanted: "a UTC time such as 2026-01-31T09:30:00Z", ..e }),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn c1_utc_time_ends_with_2049() {
        let last = Timestamp::from_asn1_text("20491231235959Z").unwrap();
        assert_eq!(last.utc().as_ref().map(|t| &t[..]), Some(&b"491231235959Z"[..]));
        let first = last.saturating_add(Duration::from_secs(1));
        assert_eq!(first, Timestamp::GENERALIZED_FROM);
        assert_eq!(first.utc(), None);
        assert_eq!(&first.generalized(), b"20500101000000Z");
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "Z",
            "20261301000000Z",
            "20260230000000Z",
            "202601010000Z0",
            "2026010100000",
            "260101000000",
            "+60101000000Z",
            "19691231235959Z",
        ] {
            assert!(Timestamp::from_asn1_text(text).is_err(), "{text}");
        }
        assert!("tomorrow".parse::<Timestamp>().is_err());
    }

    proptest! {
        #[test]
        fn o6_every_form_reads_back(seconds in 0..=Timestamp::MAX.unix()) {
            let t = Timestamp::from_unix(seconds).unwrap();
            prop_assert_eq!(Timestamp::from_asn1_text(std::str::from_utf8(&t.generalized()).unwrap()).unwrap(), t);
            prop_assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
            let (ours, der) = (t.civil(), DateTime::from(t));
            prop_assert_eq!((ours.year, ours.month, ours.day), (der.year(), der.month(), der.day()));
            prop_assert_eq!((ours.hour, ours.minute, ours.second), (der.hour(), der.minutes(), der.seconds()));
            prop_assert_eq!(Timestamp::from_generalized(&t.generalized()), Some(t));
            if let Some(utc) = t.utc() {
                prop_assert_eq!(Timestamp::from_asn1_text(std::str::from_utf8(&utc).unwrap()).unwrap(), t);
                prop_assert_eq!(Timestamp::from_utc(&utc), Some(t));
            }
        }

        /// Any digits: what one way of reading refuses, the other refuses too.
        #[test]
        fn c1_both_ways_of_reading_agree(long in "[0-9]{13,14}[Z0-9]", short in "[0-9]{12}[Z0-9]", month in "(19|20)[0-9]{2}0[0-9][0-3][0-9]1[0-9]3[0-9]00Z") {
            for text in [long, month] {
                if let Ok(content) = text.as_bytes().try_into() {
                    prop_assert_eq!(Timestamp::from_generalized(content), Timestamp::from_asn1_text(&text).ok(), "{}", text);
                }
            }
            prop_assert_eq!(Timestamp::from_utc(short.as_bytes().try_into().unwrap()), Timestamp::from_asn1_text(&short).ok(), "{}", short);
        }
    }
}
