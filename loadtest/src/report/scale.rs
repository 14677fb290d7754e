//! Axes: where a value stands, and round ticks. Pure.

use crate::figures::{Unit, clock};

/// How values become places from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// Evenly, from 0 to the end.
    Linear {
        /// The value at 1; above 0.
        end: f64,
    },
    /// By powers of ten, from the beginning to the end.
    Log {
        /// The value at 0; above 0.
        begin: f64,
        /// The value at 1; above `begin`.
        end: f64,
    },
}

/// A tick of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// From 0 to 1.
    pub(crate) at: f64,
    /// What is written there; empty for a line alone.
    pub(crate) label: String,
    /// One of those that a narrow screen leaves out.
    pub(crate) minor: bool,
}

impl Scale {
    /// From 0 to a round number that is at least `greatest`.
    pub(crate) fn linear(greatest: f64) -> Scale {
        let step = step(greatest.max(f64::MIN_POSITIVE), 5);
        Scale::Linear { end: if greatest > 0.0 { (greatest / step).ceil() * step } else { 1.0 } }
    }

    /// From a power of ten, or its double or fivefold, to another, around what is shown; at least a decade.
    pub(crate) fn log(least: f64, greatest: f64) -> Scale {
        let begin = round_down(least.max(1.0));
        let end = round_up(greatest.max(begin * 10.0));
        Scale::Log { begin, end }
    }

    /// Where a value stands; values beyond the ends stand at them.
    pub(crate) fn place(self, value: f64) -> f64 {
        let place = match self {
            Scale::Linear { end } => value / end,
            Scale::Log { begin, end } => (value.max(begin) / begin).log10() / (end / begin).log10(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round ticks with their unit.
    pub(crate) fn ticks(self, unit: Unit) -> Vec<Tick> {
        match self {
            Scale::Linear { end } => {
                let step = step(end, 5);
                let last = (end / step + 0.001).floor() as u32;
                (0..=last).map(|n| tick(self, f64::from(n) * step, unit)).collect()
            }
            Scale::Log { begin, end } => self.log_ticks(begin, end, unit),
        }
    }

    fn log_ticks(self, begin: f64, end: f64, unit: Unit) -> Vec<Tick> {
        let crowded = (end / begin).log10() > 2.5;
        let (first, last) = (begin.log10().floor() as i32, end.log10().ceil() as i32);
        let values = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| (digit, digit * 10f64.powi(power))));
        let inside = values.filter(|(_, value)| *value >= begin * 0.999 && *value <= end * 1.001);
        inside
            .map(|(digit, value)| {
                let tick = tick(self, value, unit);
                if crowded && digit != 1.0 { Tick { label: String::new(), ..tick } } else { tick }
            })
            .collect()
    }
}

fn tick(scale: Scale, value: f64, unit: Unit) -> Tick {
    Tick { at: scale.place(value), label: unit.show(value), minor: false }
}

/// The ticks of a time axis from 0 to `seconds`.
pub(crate) fn time_ticks(seconds: f64) -> Vec<Tick> {
    const STEPS: [f64; 18] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0];
    let fits = |step: &&f64| seconds / **step <= 10.0;
    let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| (seconds / 10.0 / 86_400.0).ceil() * 86_400.0);
    let last = (seconds / step + 0.001).floor() as u32;
    let label = |n: u32| clock(f64::from(n) * step, seconds);
    (0..=last).map(|n| Tick { at: (f64::from(n) * step / seconds).min(1.0), label: label(n), minor: last > 5 && n % 2 == 1 }).collect()
}

/// Where a percentile stands on an axis that gives each further nine as much room as the one before (as HdrHistogram's plots do): decades of 1/(1 - p).
pub(crate) fn nines(percentile: f64) -> f64 {
    let beyond = (1.0 - percentile / 100.0).max(1e-12);
    -beyond.log10()
}

/// The ticks of such an axis, which ends at `end` nines.
pub(crate) fn nines_ticks(end: f64) -> Vec<Tick> {
    let mut ticks = vec![(0.0, "0 %".to_owned(), false), (0.5, "50 %".to_owned(), true), (0.9, "90 %".to_owned(), false)];
    ticks.extend(
        (2..=9).map(|n| (1.0 - 10f64.powi(-n), format!("99{}{} %", if n > 2 { "." } else { "" }, "9".repeat(n as usize - 2)), false)),
    );
    let place = |part: f64| nines(part * 100.0) / end;
    let inside = ticks.into_iter().filter(|(part, ..)| place(*part) <= 1.0001);
    inside.map(|(part, label, minor)| Tick { at: place(part).min(1.0), label, minor }).collect()
}

/// A step of 1, 2 or 5 times a power of ten, so that at most `most` of them make up `span`.
fn step(span: f64, most: u32) -> f64 {
    let raw = span / f64::from(most);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= raw * 0.999_999);
    step.unwrap_or(10.0 * power)
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf((value * 1.000_001).log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|digit| digit * power).find(|round| *round <= value * 1.000_001).unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10f64.powf((value * 1.000_001).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|round| *round >= value * 0.999_999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_have_units() {
        assert_eq!(labels(&Scale::linear(9_300.0).ticks(Unit::Rate)), ["0/s", "2,000/s", "4,000/s", "6,000/s", "8,000/s", "10,000/s"]);
        assert_eq!(labels(&Scale::linear(0.0).ticks(Unit::Percent)), ["0 %", "0.2 %", "0.4 %", "0.6 %", "0.8 %", "1 %"]);
        assert_eq!(labels(&Scale::log(230.0, 4_100.0).ticks(Unit::Micros)), ["200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]);
        assert_eq!(labels(&Scale::log(100.0, 1e6).ticks(Unit::Micros)).iter().filter(|l| !l.is_empty()).count(), 5);
        assert_eq!(labels(&time_ticks(10.0)), ["0 s", "1 s", "2 s", "3 s", "4 s", "5 s", "6 s", "7 s", "8 s", "9 s", "10 s"]);
        assert_eq!(
            labels(&time_ticks(86_400.0)),
            ["0:00:00", "3:00:00", "6:00:00", "9:00:00", "12:00:00", "15:00:00", "18:00:00", "21:00:00", "24:00:00"]
        );
        assert_eq!(labels(&nines_ticks(4.3)), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn each_nine_has_as_much_room() {
        for (percentile, place) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((nines(percentile) - place).abs() < 1e-9);
        }
        assert!(nines(100.0).is_finite());
    }

    proptest! {
        #[test]
        fn every_value_and_tick_has_a_place(least in 0.0f64..1e15, more in 0.0f64..1e15, value in -1e18f64..1e18) {
            for scale in [Scale::linear(least + more), Scale::log(least, least + more)] {
                prop_assert!((0.0..=1.0).contains(&scale.place(value)));
                let ticks = scale.ticks(Unit::Percent);
                prop_assert!((2..=60).contains(&ticks.len()), "{}", ticks.len());
                prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
                prop_assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.at)));
            }
        }

        #[test]
        fn a_time_axis_is_never_crowded(seconds in 0.5f64..1e8) {
            let ticks = time_ticks(seconds);
            prop_assert!((1..=11).contains(&ticks.len()));
            prop_assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.at)));
        }
    }
}
