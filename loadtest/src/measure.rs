//! A whole measurement: everything is there beforehand, the load runs with its checks beside it, and what came of it becomes a [`Record`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::Client;
use crate::descriptors;
use crate::endpoint::Endpoint;
use crate::load::{self, Clock, Job, KindTally, Measured, Times, Totals};
use crate::record::{Figures, Latency, Load, Mark, Record, Search as SearchRecord, Second, Step, Truth, VERSION};
use crate::search::{self, Objective, Search};
use crate::shape::{Arrivals, Settings};
use crate::slow;
use crate::targets::certificate::Certificate;
use crate::targets::{Kind, Targets};
use crate::truth::{self, HeaderRules, Samples, Standard};
use crate::units::Rate;

/// The rate with which a search begins where none was given.
const FIRST_RATE: f64 = 1000.0;
/// What a search may take at most.
const MAX_SEARCH: Duration = Duration::from_secs(3600);

/// Everything that a measurement needs.
#[derive(Debug)]
pub struct Measurement {
    /// What it is called.
    pub title: String,
    /// Where to.
    pub endpoint: Endpoint,
    /// What is asked.
    pub targets: Targets,
    /// How.
    pub settings: Settings,
    /// Who must have signed the answers.
    pub issuer: Option<Certificate>,
    /// The headers that answers must have.
    pub headers: HeaderRules,
    /// The process of the server.
    pub server: Option<u32>,
    /// Set when the user wants it to end early: what was measured until then is told.
    pub interrupted: Arc<AtomicBool>,
}

/// What came of something that went on beside a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// What happened when.
    pub marks: Vec<Mark>,
    /// Why it fails the run, as a sentence.
    pub failure: Option<String>,
}

/// What goes on beside a load, on a thread of its own. It may end the load.
pub type GoesOnBeside<'a> = dyn Fn(&Clock, &AtomicBool) -> Beside + Sync + 'a;

impl Measurement {
    /// Makes the load once. `told` is called with each second that is over.
    pub fn run(&self, told: &mut dyn FnMut(&Second)) -> Result<Record> {
        self.run_beside(None, told)
    }

    /// The same, with something going on beside it.
    pub fn run_beside(&self, beside: Option<&GoesOnBeside<'_>>, told: &mut dyn FnMut(&Second)) -> Result<Record> {
        descriptors::make_room(&self.settings)?;
        let address = Client::new(&self.endpoint).knock(&self.targets)?;
        let endpoint = Endpoint { address, ..self.endpoint.clone() };
        let (samples, to_check) = Samples::new(self.settings.check);
        let standard = Standard { endpoint: &self.endpoint, targets: &self.targets, issuer: self.issuer.as_ref(), headers: self.headers };
        let halt = AtomicBool::new(false);
        let job = Job {
            endpoint: &endpoint,
            targets: &self.targets,
            settings: &self.settings,
            halt: &halt,
            interrupted: &self.interrupted,
            clock: Clock::start(),
        };
        std::thread::scope(|scope| {
            let checks = scope.spawn(|| truth::check_all(&standard, to_check));
            let slow = (self.settings.slow_clients > 0).then(|| scope.spawn(|| slow::trickle(&job)));
            let beside = beside.map(|beside| scope.spawn(|| beside(&job.clock, &halt)));
            let measured = load::run(&job, self.server, &samples, told);
            halt.store(true, Ordering::Relaxed);
            drop(samples);
            let panicked = |_| anyhow!("a thread beside the load has panicked");
            let truth = checks.join().map_err(panicked)?;
            let mut beside = beside.map_or(Ok(Beside::default()), |beside| beside.join().map_err(panicked))?;
            if let Some(slow) = slow {
                beside.marks.extend(slow.join().map_err(panicked)?);
            }
            Ok(self.record(measured?, truth, beside))
        })
    }

    /// Makes loads of different rates, until the highest that meets the objective is found. The record is that of the last one that met it; of the last one
    /// where none did.
    pub fn search(&mut self, objective: &Objective, told: &mut dyn FnMut(f64, &Second)) -> Result<Record> {
        let steps_at_most = MAX_SEARCH.as_secs_f64() / self.settings.duration.as_secs_f64();
        ensure!(steps_at_most >= 1.0, "--duration: a step takes longer than {MAX_SEARCH:?}, which is all that --find-max may take");
        let mut search = Search::new(self.settings.rate.map_or(FIRST_RATE, |rate| rate.start));
        let (mut best, mut last) = (None, None);
        while let Some(rate) = search.next_rate().filter(|_| (search.steps().len() as f64) < steps_at_most) {
            self.settings.rate = Some(Rate::constant(rate));
            let record = self.run(&mut |second| told(rate, second))?;
            if self.is_interrupted() {
                last = Some(record);
                break;
            }
            let is_true = record.truth.wrong == 0;
            let met = is_true && objective.is_met(&record.total) && search::is_kept_up_with(&record.total, record.seconds);
            let p99 = record.total.latency.percentiles.iter().find(|(percentile, _)| *percentile >= 99.0).map_or(0, |(_, at)| *at);
            search.tell(Step { rate, achieved: record.total.answered_a_second(record.seconds), p99, failed: record.total.failed, met });
            if met {
                best = Some(record);
            } else {
                last = Some(record);
            }
            if !is_true {
                // A wrong answer is no matter of speed.
                best = last.take();
                break;
            }
        }
        let mut record = best.or(last).context("--find-max: no step was made")?;
        record.failures = self.interruption();
        record.search =
            Some(SearchRecord { objective: objective.text().to_owned(), highest: search.highest(), steps: search.steps().to_vec() });
        Ok(record)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn interruption(&self) -> Vec<String> {
        if self.is_interrupted() { vec!["Ended early, by a signal.".to_owned()] } else { Vec::new() }
    }

    fn record(&self, measured: Measured, truth: Truth, beside: Beside) -> Record {
        let Totals { kinds, errors } = &measured.totals;
        let mut all = Totals::new().kinds.into_iter().next().unwrap_or_else(|| unreachable!("there are kinds"));
        kinds.iter().for_each(|kind| all.add(kind));
        let asked: Vec<(Kind, &KindTally)> = Kind::ALL.into_iter().zip(kinds).filter(|(_, kind)| kind.due > 0).collect();
        let kinds = if asked.len() > 1 {
            asked.iter().map(|(kind, tally)| (kind.name().to_owned(), figures(tally))).collect()
        } else {
            BTreeMap::new()
        };
        let mut answers = BTreeMap::new();
        for second in &measured.timeline {
            second.answers.iter().for_each(|(said, count)| *answers.entry(said.clone()).or_default() += count);
        }
        Record {
            version: VERSION,
            title: self.title.clone(),
            started: humantime::format_rfc3339_seconds(measured.started).to_string(),
            seconds: measured.seconds,
            load: self.load(),
            total: figures(&all),
            timeline: measured.timeline,
            kinds,
            answers,
            errors: errors.iter().map(|(failure, count)| (failure.to_string(), *count)).collect(),
            truth,
            server: measured.server,
            generator: measured.generator,
            search: None,
            marks: beside.marks,
            failures: self.interruption().into_iter().chain(beside.failure).collect(),
        }
    }

    fn load(&self) -> Load {
        let settings = &self.settings;
        let mut description = self.targets.description();
        if settings.rate.is_some() && settings.arrivals == Arrivals::Poisson {
            description.push("arrivals at random (Poisson)".to_owned());
        }
        if settings.slow_clients > 0 {
            description.push(format!("{} slow clients beside", settings.slow_clients));
        }
        let tls = if self.endpoint.tls.is_some() { " over TLS" } else { "" };
        Load {
            url: self.endpoint.url.clone(),
            model: if settings.rate.is_some() { "open" } else { "closed" }.to_owned(),
            rate: settings.rate.map(|rate| (rate.start, rate.end)),
            connections: settings.connections,
            protocol: format!("{}{tls}", settings.protocol_name()),
            description,
        }
    }
}

fn figures(tally: &KindTally) -> Figures {
    Figures {
        due: tally.due,
        answered: tally.answered,
        in_time: Some(tally.in_time),
        failed: tally.failed,
        octets: tally.octets,
        latency: latency(&tally.latency),
        service: latency(&tally.service),
    }
}

fn latency(times: &Times) -> Latency {
    if times.is_empty() {
        return Latency::default();
    }
    let at = |percentile: f64| (percentile, times.value_at_percentile(percentile));
    Latency {
        count: times.len(),
        min: times.min(),
        mean: times.mean(),
        max: times.max(),
        percentiles: percentiles().into_iter().map(at).collect(),
    }
}

/// From 0 to 100: by fives, and from 90 on by ninths of what is left, as far as 99.9999.
fn percentiles() -> Vec<f64> {
    let mut all: Vec<f64> = (0..18).map(|step| 5.0 * f64::from(step)).collect();
    for decade in 0..5 {
        let rest = 10.0 / 10_f64.powi(decade);
        all.extend((0..9).map(|step| 100.0 - rest * (1.0 - f64::from(step) / 10.0)).map(|p| (p * 1e7).round() / 1e7));
    }
    all.push(100.0);
    all
}

/// The failures of a record, most frequent first, in words.
pub fn failures(record: &Record) -> String {
    let mut errors: Vec<_> = record.errors.iter().collect();
    errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    errors.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_rise_and_hold_those_that_people_ask_for() {
        let all = percentiles();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        for wanted in [0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 100.0] {
            assert!(all.contains(&wanted), "{wanted}: {all:?}");
        }
    }
}
