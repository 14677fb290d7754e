//! Figures as people read them: grouped digits, and units that keep a number short. Never rounds away more than three digits tell.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things a second.
    Rate,
    /// Microseconds.
    Micros,
    /// Percent.
    Percent,
}

impl Unit {
    /// What the script of a report knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Unit::Rate => "rate",
            Unit::Micros => "micros",
            Unit::Percent => "percent",
        }
    }

    /// A number of it, short.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Rate => format!("{}/s", number(value)),
            Unit::Micros => micros(value),
            Unit::Percent => format!("{} %", number(value)),
        }
    }
}

/// A number with grouped digits; below 100 with up to two decimals, below 1 with three digits.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 100.0 || value == value.trunc() => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size => (2 - size.log10().floor() as i32).clamp(2, 9) as usize,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction.trim_end_matches('0')));
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", grouped(whole))
}

/// A whole number with grouped digits.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time of so many microseconds.
pub(crate) fn micros(value: f64) -> String {
    match value {
        v if v < 1000.0 => format!("{} µs", number(v)),
        v if v < 1_000_000.0 => format!("{} ms", number(v / 1000.0)),
        v => format!("{} s", number(v / 1_000_000.0)),
    }
}

/// A number of octets, in decimal units as rule C8 and network links have them.
pub(crate) fn octets(value: f64) -> String {
    match value {
        v if v < 1e3 => format!("{} B", number(v)),
        v if v < 1e6 => format!("{} kB", number(v / 1e3)),
        v if v < 1e9 => format!("{} MB", number(v / 1e6)),
        v if v < 1e12 => format!("{} GB", number(v / 1e9)),
        v => format!("{} TB", number(v / 1e12)),
    }
}

/// Seconds since a start, as `12 s`, `3:07` or `1:02:03`; `span` is the longest that is shown beside it.
pub(crate) fn clock(seconds: f64, span: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match span {
        span if span <= 120.0 => format!("{} s", number(seconds)),
        span if span <= 7200.0 => format!("{}:{rest:02}", whole / 60),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

/// A length of time in seconds, in the unit that suits it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => format!("-{}", duration(-s)),
        s if s < 1.0 => micros(s * 1e6),
        s if s < 120.0 => format!("{} s", number(s)),
        s if s < 7200.0 => format!("{} min", number(s / 60.0)),
        s if s < 172_800.0 => format!("{} h", number(s / 3600.0)),
        s => format!("{} days", number(s / 86_400.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short() {
        for (value, wanted) in [
            (0.0, "0"),
            (0.001_234, "0.00123"),
            (0.5, "0.5"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (100.4, "100"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (999.0, "999"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), wanted);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn units_keep_numbers_short() {
        assert_eq!([micros(999.0), micros(1500.0), micros(2_000_000.0)], ["999 µs", "1.5 ms", "2 s"]);
        assert_eq!([octets(812.0), octets(1_250_000.0), octets(8.4e9)], ["812 B", "1.25 MB", "8.4 GB"]);
        assert_eq!([clock(7.0, 60.0), clock(187.0, 600.0), clock(3723.0, 86_400.0)], ["7 s", "3:07", "1:02:03"]);
        assert_eq!([duration(0.002), duration(90.0), duration(302_400.0), duration(-86_400.0)], ["2 ms", "90 s", "3.5 days", "-24 h"]);
        assert_eq!([Unit::Rate.show(1e4), Unit::Percent.show(99.5)], ["10,000/s", "99.5 %"]);
    }
}
