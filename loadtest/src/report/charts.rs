//! Which charts a run gives: from seconds and distributions to series. Where every value stands, and how it looks, is the chart's own business.

use std::collections::BTreeMap;

use super::chart::{Across, Chart, Group, Series, Shape};
use super::scale::{Scale, nines};
use super::thin;
use super::verdict::percentile;
use crate::figures::{Unit, clock, count, micros, number};
use crate::record::{Latency, Mark, Record, Second};

/// The most statuses with an area of their own; the others share one.
const MOST_STATUSES: usize = 7;
/// The colours of areas and statuses, told apart by those who see no red or no green, too.
const LOOKS: [&str; 8] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];
/// The most marks that are drawn.
const MOST_MARKS: usize = 30;
/// The name of what all other statuses share.
const OTHERS: &str = "others";

/// All charts that a run gives, in the order of the page.
pub(crate) fn charts(record: &Record) -> Vec<Chart> {
    let all = [
        throughput(record),
        latencies(record),
        distribution(record),
        answers(record),
        failures(record),
        processors(record),
        search(record),
    ];
    all.into_iter().flatten().collect()
}

/// The seconds of a run that are shown, and what is made of them.
struct Seconds<'a> {
    record: &'a Record,
    kept: Vec<usize>,
}

impl<'a> Seconds<'a> {
    /// Those in which any of these values stands out.
    fn of(record: &'a Record, values: &[&dyn Fn(&Second) -> f64]) -> Option<Seconds<'a>> {
        let at: Vec<Box<dyn Fn(usize) -> f64>> = values
            .iter()
            .map(|value| Box::new(move |second: usize| value(&record.timeline[second])) as Box<dyn Fn(usize) -> f64>)
            .collect();
        let at: Vec<&dyn Fn(usize) -> f64> = at.iter().map(AsRef::as_ref).collect();
        (!record.timeline.is_empty()).then(|| Seconds { record, kept: thin::kept(record.timeline.len(), &at) })
    }

    fn series(&self, name: &str, look: &'static str, whole: String, value: impl Fn(&Second) -> Option<f64>) -> Series {
        let values = self.kept.iter().map(|second| value(&self.record.timeline[*second])).collect();
        Series { name: name.to_owned(), look, values, whole }
    }

    fn group(&self, series: Vec<Series>) -> Vec<Group> {
        vec![Group { x: self.kept.iter().map(|second| *second as f64).collect(), series }]
    }

    fn across(&self) -> Across {
        Across::Time(self.record.timeline.len() as f64)
    }

    /// The marks that a chart shows: the first of those within the run.
    fn shown_marks(&self) -> impl Iterator<Item = &Mark> {
        let end = self.record.timeline.len() as f64;
        self.record.marks.iter().filter(move |mark| (0.0..=end).contains(&mark.at)).take(MOST_MARKS)
    }

    fn marks(&self) -> Vec<f64> {
        self.shown_marks().map(|mark| mark.at).collect()
    }

    fn mark_names(&self) -> Vec<String> {
        self.shown_marks().map(|mark| format!("{}: {}", clock(mark.at, self.record.seconds), mark.what)).collect()
    }

    /// Said of a chart, where seconds were left out.
    fn about(&self, text: &str) -> String {
        let (shown, all) = (self.kept.len(), self.record.timeline.len());
        if shown == all {
            text.to_owned()
        } else {
            format!("{text} Shown are {} of {} seconds, every peak among them.", count(shown as u64), count(all as u64))
        }
    }
}

fn throughput(record: &Record) -> Option<Chart> {
    let seconds = Seconds::of(record, &[&|s| s.due as f64, &|s| s.answered as f64, &|s| s.failed as f64])?;
    let greatest = record.timeline.iter().map(|s| s.due.max(s.answered).max(s.failed)).max()?;
    let mean = |a_second: f64| format!("{}/s on average", number(a_second));
    let total = &record.total;
    Some(Chart {
        id: "throughput",
        title: "Throughput",
        about: seconds.about("Requests that were due, that were answered and that failed, in each second."),
        x: seconds.across(),
        y: Scale::linear(greatest as f64),
        unit: Unit::Rate,
        shape: Shape::Lines,
        groups: seconds.group(vec![
            seconds.series("due", "c8 dashed", mean(total.due as f64 / record.seconds), |s| Some(s.due as f64)),
            seconds.series("answered", "c1", mean(total.answered_a_second(record.seconds)), |s| Some(s.answered as f64)),
            seconds.series("failed", "c4", mean(total.failed as f64 / record.seconds), |s| Some(s.failed as f64)),
        ]),
        marks: seconds.marks(),
        mark_names: seconds.mark_names(),
    })
}

/// The percentiles of a second, in the order of [`Second::latency`].
const PERCENTILES: [(&str, &str, f64); 5] =
    [("p50", "p1", 50.0), ("p90", "p2", 90.0), ("p99", "p3", 99.0), ("p99.9", "p4", 99.9), ("greatest", "p5", 100.0)];

fn latencies(record: &Record) -> Option<Chart> {
    let values: Vec<_> = (0..PERCENTILES.len()).map(|place| move |s: &Second| s.latency[place] as f64).collect();
    let values: Vec<&dyn Fn(&Second) -> f64> = values.iter().map(|value| value as &dyn Fn(&Second) -> f64).collect();
    let seconds = Seconds::of(record, &values)?;
    let answered = || record.timeline.iter().filter(|s| s.answered > 0);
    let (least, greatest) = (answered().map(|s| s.latency[0]).min()?, answered().map(|s| s.latency[4]).max()?);
    let series = PERCENTILES.iter().enumerate().map(|(place, (name, look, wanted))| {
        let whole = percentile(&record.total.latency, *wanted).map_or(String::new(), |whole| format!("{} overall", micros(whole as f64)));
        seconds.series(name, look, whole, move |s| (s.answered > 0).then_some(s.latency[place] as f64))
    });
    Some(Chart {
        id: "latencies",
        title: "Latency over time",
        about: seconds.about("From the moment a request was due, whether or not it could be sent then, to the last octet of its answer. Each tenfold has the same height."),
        x: seconds.across(),
        y: Scale::log(least as f64, greatest as f64),
        unit: Unit::Micros,
        shape: Shape::Lines,
        groups: seconds.group(series.collect()),
        marks: seconds.marks(),
        mark_names: vec![],
    })
}

/// The distribution of latencies over percentiles.
pub(crate) fn distribution_group(latency: &Latency, name: &str, look: &'static str, end: f64) -> Group {
    let points = sparse(&latency.percentiles);
    let whole = percentile(latency, 99.0).map_or(String::new(), |p99| format!("p99 {}", micros(p99 as f64)));
    let values = points.iter().map(|(_, value)| Some(*value as f64)).collect();
    let x = points.iter().map(|(at, _)| if nines(*at) > end { 100.0 } else { *at }).collect();
    Group { x, series: vec![Series { name: name.to_owned(), look, values, whole }] }
}

/// At most so many points of a distribution, as many as a chart may have: one of a few that lie side by side.
fn sparse(points: &[(f64, u64)]) -> Vec<(f64, u64)> {
    let every = points.len().div_ceil(thin::MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(|(index, _)| index % every == 0 || *index == last)
        .map(|(_, point)| *point)
        .take(thin::MOST_POINTS)
        .collect()
}

/// Where the axis of percentiles ends: where the one greatest value stands, and at least at 99 %.
pub(crate) fn nines_of(latencies: &[&Latency]) -> f64 {
    latencies.iter().map(|latency| (latency.count.max(1) as f64).log10()).fold(2.0, f64::max).min(9.0)
}

/// An axis for all times of some distributions: by powers of ten, unless they lie close together.
pub(crate) fn times_of(latencies: &[&Latency]) -> Scale {
    let measured = || latencies.iter().filter(|latency| latency.count > 0);
    let greatest = measured().map(|latency| latency.max).max().unwrap_or(1) as f64;
    let least = measured().map(|latency| latency.min).min().unwrap_or(1) as f64;
    Scale::log(least, greatest)
}

fn distribution(record: &Record) -> Option<Chart> {
    let (latency, service) = (&record.total.latency, &record.total.service);
    if latency.percentiles.is_empty() {
        return None;
    }
    let end = nines_of(&[latency, service]);
    let mut groups = vec![distribution_group(latency, "latency, from when it was due", "c1", end)];
    if !service.percentiles.is_empty() {
        groups.push(distribution_group(service, "service time, from when it was sent", "c2 dashed", end));
    }
    Some(Chart {
        id: "distribution",
        title: "Latency distribution",
        about: "Which part of all requests was answered within a time; every further nine has the same width. Between the two curves is the wait before \
                a request could be sent."
            .to_owned(),
        x: Across::Nines(end),
        y: times_of(&[latency, service]),
        unit: Unit::Micros,
        shape: Shape::Lines,
        groups,
        marks: vec![],
        mark_names: vec![],
    })
}

/// The statuses with an area of their own, the most frequent first.
fn statuses(record: &Record) -> Vec<String> {
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    for (status, count) in record.timeline.iter().flat_map(|second| &second.answers) {
        let sum = times.entry(status).or_default();
        *sum = sum.saturating_add(*count);
    }
    let mut by_times: Vec<(&str, u64)> = times.into_iter().collect();
    by_times.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    by_times.into_iter().take(MOST_STATUSES).map(|(status, _)| status.to_owned()).collect()
}

fn answers(record: &Record) -> Option<Chart> {
    let named = statuses(record);
    if named.is_empty() {
        return None;
    }
    let all = |second: &Second| second.answers.values().fold(0.0, |sum, times| sum + *times as f64);
    let one = |second: &Second, status: &str| second.answers.get(status).map_or(0.0, |times| *times as f64);
    let others = |second: &Second| (all(second) - named.iter().map(|status| one(second, status)).sum::<f64>()).max(0.0);
    let each: Vec<_> = named.iter().map(|status| move |second: &Second| one(second, status)).collect();
    let mut stand_out: Vec<&dyn Fn(&Second) -> f64> = each.iter().map(|value| value as &dyn Fn(&Second) -> f64).collect();
    stand_out.push(&all);
    let seconds = Seconds::of(record, &stand_out)?;
    let whole = |status: &str| record.answers.get(status).map_or(String::new(), |times| format!("{} in all", count(*times)));
    let mut series: Vec<Series> =
        named.iter().zip(LOOKS).map(|(status, look)| seconds.series(status, look, whole(status), |s| Some(one(s, status)))).collect();
    if record.timeline.iter().any(|second| others(second) > 0.0) {
        series.push(seconds.series(OTHERS, LOOKS[MOST_STATUSES], String::new(), |s| Some(others(s))));
    }
    Some(Chart {
        id: "answers",
        title: "What the answers said",
        about: seconds.about("Answers by status in each second, on top of each other."),
        x: seconds.across(),
        y: Scale::linear(record.timeline.iter().map(all).fold(0.0, f64::max)),
        unit: Unit::Rate,
        shape: Shape::Stacked,
        groups: seconds.group(series),
        marks: seconds.marks(),
        mark_names: vec![],
    })
}

fn failures(record: &Record) -> Option<Chart> {
    let most = record.timeline.iter().map(|s| s.failed).max().filter(|most| *most > 0)?;
    let seconds = Seconds::of(record, &[&|s| s.failed as f64])?;
    Some(Chart {
        id: "failures",
        title: "Failures",
        about: seconds.about("Requests that failed in each second. What went wrong is counted below."),
        x: seconds.across(),
        y: Scale::linear(most as f64),
        unit: Unit::Rate,
        shape: Shape::Stacked,
        groups: seconds
            .group(vec![seconds.series("failed", "c4", format!("{} in all", count(record.total.failed)), |s| Some(s.failed as f64))]),
        marks: seconds.marks(),
        mark_names: vec![],
    })
}

fn processors(record: &Record) -> Option<Chart> {
    let seconds = Seconds::of(record, &[&|s| s.server_cpu_percent.unwrap_or(0.0), &|s| s.generator_cpu_percent])?;
    let greatest = record.timeline.iter().map(|s| s.server_cpu_percent.unwrap_or(0.0).max(s.generator_cpu_percent)).fold(0.0, f64::max);
    let used = |process: &crate::record::Process| format!("{} s in all", number(process.user_seconds + process.system_seconds));
    let mut series = vec![seconds.series("load tester", "c8 dashed", used(&record.generator), |s| Some(s.generator_cpu_percent))];
    if let Some(server) = &record.server {
        series.insert(0, seconds.series("server", "c1", used(server), |s| s.server_cpu_percent));
    }
    Some(Chart {
        id: "processors",
        title: "Processor time",
        about: seconds.about("In percent of one core: 100 % is one core at work all the time."),
        x: seconds.across(),
        y: Scale::linear(greatest),
        unit: Unit::Percent,
        shape: Shape::Lines,
        groups: seconds.group(series),
        marks: seconds.marks(),
        mark_names: vec![],
    })
}

fn search(record: &Record) -> Option<Chart> {
    let search = record.search.as_ref().filter(|search| !search.steps.is_empty())?;
    let mut steps: Vec<_> = search.steps.iter().take(thin::MOST_POINTS).collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let series = |name: &str, look, met: bool| Series {
        name: name.to_owned(),
        look,
        values: steps.iter().map(|step| (step.met == met).then_some(step.p99 as f64)).collect(),
        whole: format!("{} steps", steps.iter().filter(|step| step.met == met).count()),
    };
    let (least, greatest) = (steps.iter().map(|s| s.p99).min()?, steps.iter().map(|s| s.p99).max()?);
    Some(Chart {
        id: "search",
        title: "The search for the highest rate",
        about: format!("Each step's p99 at the rate that was asked for. The objective: {}.", search.objective),
        x: Across::Rate(Scale::linear(steps.last().map_or(1.0, |step| step.rate))),
        y: Scale::log(least as f64, greatest as f64),
        unit: Unit::Micros,
        shape: Shape::Dots,
        groups: vec![Group {
            x: steps.iter().map(|step| step.rate).collect(),
            series: vec![series("met the objective", "c3", true), series("did not", "c4", false)],
        }],
        marks: vec![],
        mark_names: vec![],
    })
}
