//! Values that people write, on the command line and in scenario files: rates, shares, times, weights. Parsed once, valid from then on.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// The greatest rate that can be asked for, requests a second: more than some cores send, and no more than can be told to fall due in time.
pub const MAX_RATE: f64 = 1_000_000.0;

/// Not a value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found '{found}', wanted {wanted}")]
pub struct BadValue {
    found: String,
    wanted: String,
}

impl BadValue {
    /// What was found (its first 60 characters), and what was wanted.
    pub fn new(found: &str, wanted: impl Into<String>) -> BadValue {
        BadValue { found: found.chars().take(60).collect(), wanted: wanted.into() }
    }
}

/// Requests a second at the start and at the end of a run: `1000`, or `100..10000` to change evenly.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// At the start.
    pub start: f64,
    /// At the end.
    pub end: f64,
}

impl Rate {
    /// The same rate all the time.
    pub fn constant(rate: f64) -> Rate {
        Rate { start: rate, end: rate }
    }
}

impl FromStr for Rate {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Rate, BadValue> {
        let number = |part: &str| {
            let rate = part.trim().parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= MAX_RATE);
            rate.ok_or_else(|| BadValue::new(text, format!("requests a second above 0 and up to {MAX_RATE}, as 1000 or 100..10000")))
        };
        match text.split_once("..") {
            Some((start, end)) => Ok(Rate { start: number(start)?, end: number(end)? }),
            None => number(text).map(Rate::constant),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end { write!(f, "{}", self.start) } else { write!(f, "{}..{}", self.start, self.end) }
    }
}

/// A part of all answers: `1%`, `0.01`, `all`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "String")]
pub struct Share(f64);

impl Share {
    /// All of them.
    pub const ALL: Share = Share(1.0);

    /// Of `0.0` to `1.0`, what is beyond is cut off.
    pub fn new(part: f64) -> Share {
        Share(part.clamp(0.0, 1.0))
    }

    /// From 0 to 1.
    pub fn part(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Share, BadValue> {
        let bad = || BadValue::new(text, "a part such as 1%, 0.01, all or 0");
        let part = match (text, text.strip_suffix('%')) {
            ("all", _) => 1.0,
            (_, Some(percent)) => percent.parse::<f64>().map_err(|_| bad())? / 100.0,
            (_, None) => text.parse::<f64>().map_err(|_| bad())?,
        };
        if (0.0..=1.0).contains(&part) { Ok(Share(part)) } else { Err(bad()) }
    }
}

/// A length of time with its unit: `10s`, `500ms`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl Span {
    const LEAST: Duration = Duration::from_millis(1);
    const GREATEST: Duration = Duration::from_secs(24 * 3600);
}

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Span, BadValue> {
        let span = humantime::parse_duration(text).ok().filter(|span| (Span::LEAST..=Span::GREATEST).contains(span));
        span.map(Span).ok_or_else(|| BadValue::new(text, "a time from 1ms to 24h with its unit, such as 10s or 500ms"))
    }
}

/// Names with weights: `get=9,post=1`. Only their ratios matter.
pub fn weights<K: Copy + Ord>(text: &str, names: &[(&str, K)]) -> Result<BTreeMap<K, u32>, BadValue> {
    let known = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let bad = || BadValue::new(text, format!("NAME=WEIGHT,… with names out of {} and weights up to 1000000", known()));
    let mut weights = BTreeMap::new();
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let (_, key) = names.iter().find(|(known, _)| *known == name.trim()).ok_or_else(bad)?;
        let weight = weight.trim().parse::<u32>().ok().filter(|weight| *weight <= 1_000_000).ok_or_else(bad)?;
        if weights.insert(*key, weight).is_some() {
            return Err(BadValue::new(text, format!("'{}' once", name.trim())));
        }
    }
    weights.retain(|_, weight| *weight > 0);
    if weights.is_empty() { Err(bad()) } else { Ok(weights) }
}

macro_rules! from_strings {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = BadValue;

            fn try_from(text: String) -> Result<$type, BadValue> {
                text.parse()
            }
        }
    )*};
}
pub(crate) use from_strings;

from_strings!(Rate, Share, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!("1000".parse(), Ok(Rate::constant(1000.0)));
        assert_eq!("100..2e3".parse(), Ok(Rate { start: 100.0, end: 2000.0 }));
        assert_eq!(("1%".parse(), "0.01".parse(), "all".parse()), (Ok(Share(0.01)), Ok(Share(0.01)), Ok(Share::ALL)));
        assert_eq!("1m 30s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!(weights("a=3,b", &[("a", 1), ("b", 2)]), Ok(BTreeMap::from([(1, 3), (2, 1)])));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_was_found() {
        for text in ["0", "-1", "1e9", "fast", "1..", "NaN", "inf"] {
            assert!(text.parse::<Rate>().unwrap_err().to_string().contains(&format!("'{text}'")), "{text}");
        }
        for text in ["101%", "-1", "some", "NaN"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        for text in ["0s", "10", "25h", "soon"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["c=1", "a=0", "a=-1", "", "a=1,a=2", "a=9999999"] {
            assert!(weights(text, &[("a", 1), ("b", 2)]).is_err(), "{text}");
        }
    }
}
