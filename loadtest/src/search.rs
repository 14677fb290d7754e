//! The highest rate that meets an objective: bracketing, then halving. Pure: whoever asks makes the runs, a server or a model of one.

use std::str::FromStr;
use std::time::Duration;

use crate::record::{Figures, Step};
use crate::units::{BadValue, MAX_RATE};

/// Steps at most.
const MAX_STEPS: usize = 24;
/// The bracket is narrow enough when its ends differ by this factor.
const PRECISION: f64 = 1.05;
/// By how much the rate grows and shrinks until there is a bracket.
const STRIDE: f64 = 2.0;
/// No lower rate is tried.
const LEAST_RATE: f64 = 1.0;

/// What a run must meet: `p99<5ms,errors=0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    /// This percentile of the latencies, below so many microseconds.
    Percentile(f64, f64),
    Mean(f64),
    /// At most this part of the requests fails.
    Errors(f64),
}

impl FromStr for Objective {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Objective, BadValue> {
        let terms = text.split(',').map(|term| Term::parse(term.trim())).collect::<Option<Vec<_>>>();
        let wanted = "terms such as p99<5ms, p99.9<20ms, mean<1ms, max<1s, errors=0, errors<0.1%, with commas between them";
        let terms = terms.filter(|terms| !terms.is_empty()).ok_or_else(|| BadValue::new(text, wanted))?;
        Ok(Objective { text: text.to_owned(), terms })
    }
}

impl Term {
    fn parse(text: &str) -> Option<Term> {
        if text == "errors=0" {
            return Some(Term::Errors(0.0));
        }
        let (name, value) = text.split_once('<')?;
        if name == "errors" {
            let part = value.strip_suffix('%')?.parse::<f64>().ok()? / 100.0;
            return (0.0..=1.0).contains(&part).then_some(Term::Errors(part));
        }
        let microseconds = humantime::parse_duration(value).ok().filter(|time| *time > Duration::ZERO)?.as_secs_f64() * 1e6;
        match name {
            "mean" => Some(Term::Mean(microseconds)),
            "max" => Some(Term::Percentile(100.0, microseconds)),
            _ => {
                let percentile = name.strip_prefix('p')?.parse::<f64>().ok()?;
                (percentile > 0.0 && percentile <= 100.0).then_some(Term::Percentile(percentile, microseconds))
            }
        }
    }
}

impl Objective {
    /// As the user gave it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a run meets it. One in which nothing was answered meets nothing.
    pub fn is_met(&self, figures: &Figures) -> bool {
        let meets = |term: &Term| match term {
            Term::Mean(limit) => figures.latency.mean < *limit,
            Term::Errors(part) => figures.failed as f64 <= part * figures.due as f64,
            Term::Percentile(percentile, limit) => {
                let at = figures.latency.percentiles.iter().find(|(known, _)| known >= percentile);
                (at.map_or(figures.latency.max, |(_, microseconds)| *microseconds) as f64) < *limit
            }
        };
        figures.answered > 0 && self.terms.iter().all(meets) && self.is_answered(figures)
    }

    /// Whether enough was answered for the percentiles to mean something. Where nothing is said of errors, p99 wants 99 % of the requests answered: to refuse
    /// most of them at once is not to be fast.
    fn is_answered(&self, figures: &Figures) -> bool {
        let is_enough = |term: &Term| match term {
            // Not to stumble over the last bit of a fraction.
            Term::Percentile(percentile, _) => 100.0 * figures.failed as f64 <= (100.0 - percentile) * figures.due as f64 + 1e-3,
            _ => true,
        };
        self.terms.iter().any(|term| matches!(term, Term::Errors(_))) || self.terms.iter().all(is_enough)
    }
}

/// Whether a server has answered as many as fell due while they did, but for those on their way at the end and a twentieth more. What only the draining has
/// answered would never have been, had the load gone on.
pub fn is_kept_up_with(figures: &Figures, seconds: f64) -> bool {
    let under_way = figures.service.percentiles.iter().find(|(percentile, _)| *percentile >= 99.0).map_or(0, |(_, at)| *at) as f64 / 1e6;
    let behind = figures.due.saturating_sub(figures.in_time.unwrap_or(figures.answered) + figures.failed);
    behind as f64 <= figures.due as f64 * (0.05 + under_way / seconds.max(1e-9))
}

/// A search that is under way.
#[derive(Clone, Debug)]
pub struct Search {
    next: Option<f64>,
    met: Option<f64>,
    failed: Option<f64>,
    steps: Vec<Step>,
}

impl Search {
    /// Begins with a rate.
    pub fn new(first: f64) -> Search {
        Search { next: Some(first.clamp(LEAST_RATE, MAX_RATE)), met: None, failed: None, steps: Vec::new() }
    }

    /// The rate that is to be tried next; `None` where the search is over.
    pub fn next_rate(&self) -> Option<f64> {
        self.next
    }

    /// The highest rate that has met the objective.
    pub fn highest(&self) -> Option<f64> {
        self.met
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Takes in what came of the rate that was to be tried.
    pub fn tell(&mut self, step: Step) {
        let rate = step.rate;
        if step.met {
            self.met = Some(self.met.map_or(rate, |met| met.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
        }
        self.steps.push(step);
        let next = match (self.met, self.failed) {
            (Some(met), None) => (met < MAX_RATE).then_some((met * STRIDE).min(MAX_RATE)),
            (None, Some(failed)) => (failed > LEAST_RATE).then_some((failed / STRIDE).max(LEAST_RATE)),
            (Some(met), Some(failed)) => (failed / met > PRECISION).then_some((met * failed).sqrt()),
            (None, None) => None,
        };
        // A server that meets a rate but once is not chased for ever.
        self.next = next.filter(|_| self.steps.len() < MAX_STEPS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Latency;
    use proptest::prelude::*;

    /// A server that bears `capacity` requests a second.
    fn search(first: f64, capacity: f64) -> Search {
        let mut search = Search::new(first);
        while let Some(rate) = search.next_rate() {
            search.tell(Step { rate, achieved: rate.min(capacity), p99: 0, failed: 0, met: rate <= capacity });
        }
        search
    }

    proptest! {
        #[test]
        fn the_highest_rate_is_found_within_five_percent(first in 1.0_f64..1e6, capacity in 2.0_f64..1e6) {
            let search = search(first, capacity);
            prop_assert!(search.steps().len() <= MAX_STEPS);
            if search.steps().len() < MAX_STEPS {
                let highest = search.highest().unwrap();
                prop_assert!(highest <= capacity && highest * PRECISION >= capacity, "{highest} of {capacity}");
            }
        }
    }

    #[test]
    fn a_server_that_bears_nothing_or_everything_ends_the_search() {
        assert_eq!(search(1000.0, 0.0).highest(), None);
        assert_eq!(search(1000.0, f64::INFINITY).highest(), Some(MAX_RATE));
    }

    #[test]
    fn a_rate_that_only_the_draining_has_caught_up_with_is_not_kept_up_with() {
        let figures = |in_time, service| {
            let service = Latency { percentiles: vec![(50.0, 1), (99.0, service)], ..Latency::default() };
            Figures { due: 1000, answered: 1000, in_time: Some(in_time), service, ..Figures::default() }
        };
        assert!(is_kept_up_with(&figures(960, 5000), 2.0) && !is_kept_up_with(&figures(260, 5000), 2.0));
        assert!(is_kept_up_with(&figures(720, 500_000), 2.0), "a quarter of them is on its way");
        assert!(is_kept_up_with(&Figures { failed: 740, ..figures(260, 5000) }, 2.0), "that is for the objective to judge");
    }

    #[test]
    fn objectives_are_held_against_figures() {
        let latency =
            Latency { count: 10, min: 1, mean: 100.0, max: 9000, percentiles: vec![(50.0, 90), (99.0, 4000), (99.9, 8000), (100.0, 9000)] };
        let figures = Figures { due: 1000, answered: 999, failed: 1, latency, ..Figures::default() };
        for (objective, met) in [
            ("p99<5ms", true),
            ("p99<4ms", false),
            ("p99.9<8500us", true),
            ("max<9ms", false),
            ("mean<101us,p50<1ms", true),
            ("errors=0", false),
            ("errors<0.1%", true),
            ("p99<5ms,errors=0", false),
        ] {
            assert_eq!(objective.parse::<Objective>().unwrap().is_met(&figures), met, "{objective}");
        }
        let refusing = Figures { due: 1000, answered: 400, failed: 600, ..figures };
        for (objective, met) in [("p99<5ms", false), ("p50<1s", false), ("max<1s", false), ("p40<1ms", true), ("p99<5ms,errors<60%", true)]
        {
            assert_eq!(objective.parse::<Objective>().unwrap().is_met(&refusing), met, "{objective}");
        }
        assert!(!"errors=0".parse::<Objective>().unwrap().is_met(&Figures::default()));
    }

    #[test]
    fn an_objective_that_says_nothing_is_refused() {
        for text in ["", "p99", "p0<1ms", "p101<1ms", "p99<5", "errors=1", "errors<200%", "p99>5ms", "p99<5ms,"] {
            assert!(text.parse::<Objective>().unwrap_err().to_string().contains("p99.9<20ms"), "{text}");
        }
    }
}
