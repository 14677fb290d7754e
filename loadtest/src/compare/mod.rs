//! Two runs side by side. Pure: from two [`Record`]s to a table, as text or as a page with both curves in the same charts.

mod page;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::figures::{count, micros, number, octets};
use crate::record::{Figures, Load, Process, Record};
use crate::report::verdict::{Verdict, percentile};

/// Figures whose ratio is nearer to 1 than this are called the same.
const SAME_WITHIN: f64 = 0.02;
/// The most rows of a comparison.
const MOST_ROWS: usize = 200;
/// The longest name of a figure and the longest warning, in characters.
const LONGEST: usize = 160;

/// Two runs compared.
pub struct Comparison<'a> {
    a: &'a Record,
    b: &'a Record,
    rows: Vec<Row>,
    warnings: Vec<String>,
}

/// A figure of both runs.
#[derive(Clone, Debug)]
struct Row {
    figure: String,
    a: Option<f64>,
    b: Option<f64>,
    show: fn(f64) -> String,
    wanted: Wanted,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Lower,
    Higher,
    Neither,
}

impl<'a> Comparison<'a> {
    /// Compares two runs.
    pub fn of(a: &'a Record, b: &'a Record) -> Comparison<'a> {
        let mut rows = totals(a, b);
        rows.extend(by_name(a, b));
        rows.truncate(MOST_ROWS);
        Comparison { a, b, rows, warnings: warnings(a, b) }
    }

    /// As a table for the terminal.
    pub fn text(&self) -> String {
        let mut out = format!("A  {}\nB  {}\n", line(self.a), line(self.b));
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {}", plain(warning));
        }
        let mut cells = vec![["figure", "A", "B", "B÷A", ""].map(str::to_owned)];
        cells.extend(self.rows.iter().map(|row| {
            let [a, b] = [row.a, row.b].map(|value| value.map_or("–".to_owned(), row.show));
            [plain(&row.figure), a, b, row.ratio_text(), row.judgement().to_owned()]
        }));
        let widths: Vec<usize> = (0..4).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        out.push('\n');
        for [figure, a, b, ratio, judgement] in &cells {
            let row = format!(
                "{figure:w0$}  {a:>w1$}  {b:>w2$}  {ratio:>w3$}  {judgement}",
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2],
                w3 = widths[3]
            );
            let _ = writeln!(out, "{}", row.trim_end());
        }
        out
    }

    /// As a page without an outside reference, like a report.
    pub fn html(&self) -> String {
        page::html(self)
    }
}

impl Row {
    /// B ÷ A, where that says something.
    fn ratio(&self) -> Option<f64> {
        self.a.zip(self.b).filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a)
    }

    fn ratio_text(&self) -> String {
        self.ratio().map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
    }

    /// What is to be thought of B beside A, in a word.
    fn judgement(&self) -> &'static str {
        let (a, b) = match (self.a, self.b) {
            (None, None) => return "in neither",
            (Some(_), None) => return "only in A",
            (None, Some(_)) => return "only in B",
            (Some(a), Some(b)) => (a, b),
        };
        let same = a == b || self.ratio().is_some_and(|ratio| (ratio - 1.0).abs() < SAME_WITHIN);
        match self.wanted {
            _ if same => "same",
            Wanted::Neither => "",
            Wanted::Lower if b < a => "better",
            Wanted::Higher if b > a => "better",
            Wanted::Lower | Wanted::Higher => "worse",
        }
    }
}

fn totals(a: &Record, b: &Record) -> Vec<Row> {
    use Wanted::{Higher, Lower, Neither};
    type Known = (&'static str, Wanted, fn(f64) -> String, fn(&Record) -> Option<f64>);
    let rows: [Known; 20] = [
        ("highest rate that met the objective, /s", Higher, number, |r| r.search.as_ref().and_then(|search| search.highest)),
        ("due, /s", Neither, number, |r| rate(r, |total, seconds| total.due as f64 / seconds)),
        ("answered, /s", Higher, number, |r| rate(r, Figures::answered_a_second)),
        ("failed", Lower, whole, |r| Some(r.total.failed as f64)),
        ("wrong answers", Lower, whole, |r| (r.truth.checked > 0).then_some(r.truth.wrong as f64)),
        ("latency p50", Lower, micros, |r| time(&r.total, 50.0)),
        ("latency p90", Lower, micros, |r| time(&r.total, 90.0)),
        ("latency p99", Lower, micros, |r| time(&r.total, 99.0)),
        ("latency p99.9", Lower, micros, |r| time(&r.total, 99.9)),
        ("latency p99.99", Lower, micros, |r| time(&r.total, 99.99)),
        ("latency, greatest", Lower, micros, |r| time(&r.total, 100.0)),
        ("latency, mean", Lower, micros, |r| (r.total.latency.count > 0).then_some(r.total.latency.mean)),
        ("service time p50", Lower, micros, |r| percentile(&r.total.service, 50.0).map(|value| value as f64)),
        ("service time p99", Lower, micros, |r| percentile(&r.total.service, 99.0).map(|value| value as f64)),
        ("bodies, a second", Neither, octets, |r| rate(r, Figures::octets_a_second)),
        ("server CPU an answer", Lower, micros, |r| r.server.as_ref().and_then(|process| cpu(r, process))),
        ("server memory", Lower, octets, |r| r.server.map(|process| process.resident as f64)),
        ("load tester CPU an answer", Neither, micros, |r| cpu(r, &r.generator)),
        ("answers checked", Neither, whole, |r| Some(r.truth.checked as f64)),
        ("seconds", Neither, number, |r| Some(r.seconds)),
    ];
    let row = |(figure, wanted, show, value): Known| Row { figure: figure.to_owned(), a: value(a), b: value(b), show, wanted };
    // What neither run can know is no figure of theirs.
    rows.into_iter().map(row).filter(|row| row.a.is_some() || row.b.is_some()).collect()
}

/// The figures that have names from outside: kinds of request, statuses, failures.
fn by_name(a: &Record, b: &Record) -> Vec<Row> {
    let mut rows = Vec::new();
    let row = |figure, a, b, show: fn(f64) -> String, wanted| Row { figure, a, b, show, wanted };
    if a.kinds.len().max(b.kinds.len()) > 1 {
        for kind in names(a.kinds.keys(), b.kinds.keys()) {
            let p99 = |record: &Record| record.kinds.get(kind).and_then(|figures| time(figures, 99.0));
            rows.push(row(format!("{kind}, latency p99"), p99(a), p99(b), micros, Wanted::Lower));
        }
    }
    for status in names(a.answers.keys(), b.answers.keys()) {
        let times = |record: &Record| record.answers.get(status).map(|times| *times as f64);
        rows.push(row(format!("answered {status}"), times(a), times(b), whole, Wanted::Neither));
    }
    for failure in names(a.errors.keys(), b.errors.keys()) {
        let times = |record: &Record| Some(record.errors.get(failure).map_or(0.0, |times| *times as f64));
        rows.push(row(format!("failed: {failure}"), times(a), times(b), whole, Wanted::Lower));
    }
    rows
}

fn names<'n>(a: impl Iterator<Item = &'n String>, b: impl Iterator<Item = &'n String>) -> BTreeSet<&'n String> {
    a.chain(b).collect()
}

fn whole(value: f64) -> String {
    count(value as u64)
}

fn rate(record: &Record, a_second: fn(&Figures, f64) -> f64) -> Option<f64> {
    (record.seconds > 0.0).then(|| a_second(&record.total, record.seconds))
}

fn time(figures: &Figures, wanted: f64) -> Option<f64> {
    percentile(&figures.latency, wanted).map(|value| value as f64)
}

/// Microseconds of CPU time an answer.
fn cpu(record: &Record, process: &Process) -> Option<f64> {
    (record.total.answered > 0).then(|| 1e6 * (process.user_seconds + process.system_seconds) / record.total.answered as f64)
}

/// Why the figures of two runs may say little beside each other.
fn warnings(a: &Record, b: &Record) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut unless_same = |what: &str, a: String, b: String| {
        if a != b {
            warnings.push(format!("the runs differ in {what}: A {a}, B {b}"));
        }
    };
    let rate = |load: &Load| load.rate.map_or("none".to_owned(), |(start, end)| format!("{}/s to {}/s", number(start), number(end)));
    unless_same("their model", a.load.model.clone(), b.load.model.clone());
    // The rates of a search are its result.
    if a.search.is_none() || b.search.is_none() {
        unless_same("their rate", rate(&a.load), rate(&b.load));
    }
    unless_same("their protocol", a.load.protocol.clone(), b.load.protocol.clone());
    unless_same("their connections", count(a.load.connections.into()), count(b.load.connections.into()));
    unless_same("what they ask", a.load.description.join("; "), b.load.description.join("; "));
    let objective = |record: &Record| record.search.as_ref().map_or("no search".to_owned(), |search| search.objective.clone());
    unless_same("their objective", objective(a), objective(b));
    if (a.seconds - b.seconds).abs() > 0.1 * a.seconds.max(b.seconds) {
        warnings.push(format!("the runs differ in length: A {} s, B {} s", number(a.seconds), number(b.seconds)));
    }
    for (name, record) in [("A", a), ("B", b)] {
        if let Some(failure) = Verdict::of(record).failures.first() {
            warnings.push(format!("run {name} failed: {failure}"));
        }
    }
    warnings
}

/// What names a run.
fn line(record: &Record) -> String {
    plain(&format!("{} · {} · {}", record.title, record.load.url, record.started))
}

/// A text from outside for the terminal: on one line, without controls, bounded.
fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{sample, search, troubled};

    #[test]
    fn figures_stand_side_by_side_with_a_word_to_each() {
        let (a, mut b) = (sample(20), sample(20));
        for (_, micros) in &mut b.total.latency.percentiles {
            *micros *= 2;
        }
        b.server = None;
        (b.total.answered, b.total.due) = (2 * b.total.answered, 2 * b.total.due);
        b.answers.insert("tryLater".to_owned(), 5);
        let text = Comparison::of(&a, &b).text();
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("latency p99 "), "875 µs 1.75 ms 2.00 worse");
        assert_eq!(row("answered, /s"), "994 1,987 2.00 better");
        assert_eq!(row("due, /s"), "1,000 2,000 2.00");
        assert_eq!(row("service time p99"), "700 µs 700 µs 1.00 same");
        assert_eq!(row("server memory"), "180 MB – – only in A");
        assert_eq!(row("answered tryLater"), "– 5 – only in B");
        assert_eq!(row("failed "), "0 0 – same");
        assert!(!text.contains("highest rate") && !text.contains("warning"), "{text}");
    }

    #[test]
    fn columns_are_aligned() {
        let (a, b) = (sample(20), troubled());
        let text = Comparison::of(&a, &b).text();
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("figure")).collect();
        let end_of_b = table[0].find(" B ").unwrap() + 1;
        for line in &table[1..] {
            let before: String = line.chars().take(end_of_b + 1).collect();
            assert!(!before.ends_with(' ') && line.chars().nth(end_of_b + 1).is_none_or(|c| c == ' '), "{line}");
        }
    }

    #[test]
    fn runs_that_cannot_be_compared_are_warned_of() {
        let (a, mut b) = (sample(20), search());
        (b.load.model, b.load.protocol) = ("closed".to_owned(), "h2c".to_owned());
        b.truth.wrong = 1;
        let warnings = Comparison::of(&a, &b).warnings;
        for wanted in [
            "model: A open, B closed",
            "protocol: A http/1.1, B h2c",
            "objective: A no search, B p99<5ms",
            "length: A 20 s, B 12 s",
            "run B failed: 1 of 200",
        ] {
            assert!(warnings.iter().any(|warning| warning.contains(wanted)), "{wanted}: {warnings:?}");
        }
    }

    #[test]
    fn a_terminal_gets_no_control_characters_from_outside() {
        let (mut a, b) = (sample(2), sample(2));
        a.title = "\u{1b}[2J\u{7}title".to_owned();
        a.errors.insert("\u{1b}]0;pwned\u{7}".to_owned(), 1);
        let text = Comparison::of(&a, &b).text();
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    }

    #[test]
    fn both_curves_are_in_the_same_charts() {
        let (a, b) = (sample(20), troubled());
        let page = Comparison::of(&a, &b).html();
        for id in ["throughput", "latencies", "tails", "distribution", "processors"] {
            let chart = page.split("<figure").find(|part| part.contains(&format!("id=\"{id}\""))).unwrap_or_else(|| panic!("{id}"));
            assert!(chart.contains("<span>A") && chart.contains("<span>B"), "{chart}");
        }
        assert!(page.contains("the runs differ in length") && page.contains("class=\"worse\">worse"), "{page}");
    }

    #[test]
    fn hostile_names_stay_text_in_the_page() {
        let (mut a, b) = (troubled(), sample(5));
        a.title = "<script>alert(1)</script>".to_owned();
        a.errors.insert("<img src=x>".to_owned(), 1);
        let page = Comparison::of(&a, &b).html();
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
    }
}
