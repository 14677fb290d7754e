//! A record in a screenful of text.

use std::fmt::Write;

use crate::measure::failures;
use crate::record::{Figures, Latency, Record};

/// Findings that are shown; the record has more.
const SHOWN_FINDINGS: usize = 3;
/// Characters of a request or an answer that are shown.
const SHOWN_CHARACTERS: usize = 1200;

/// The summary. Writing to a string does not fail.
pub(super) fn of(record: &Record) -> String {
    let mut out = String::new();
    let Record { load, total, .. } = record;
    let rate = load.rate.map_or(String::new(), |(start, end)| {
        if start == end { format!(", {start:.0} a second due") } else { format!(", {start:.0} to {end:.0} a second due") }
    });
    let _ = writeln!(out, "{}\n", record.title);
    let _ = writeln!(
        out,
        "load       {} loop{rate}, {} connections, {}; {:.1} s to {}",
        load.model, load.connections, load.protocol, record.seconds, load.url
    );
    let _ = writeln!(out, "asked      {}", load.description.join("; "));
    let per_second = total.answered_a_second(record.seconds.max(1e-9));
    let _ =
        writeln!(out, "answered   {} of {} due: {per_second:.0} a second, {:.1} MB", total.answered, total.due, total.octets as f64 / 1e6);
    if total.failed > 0 {
        let _ = writeln!(out, "failed     {}: {}", total.failed, failures(record));
    }
    let said: Vec<String> = record.answers.iter().map(|(said, count)| format!("{count} {said}")).collect();
    let _ = writeln!(out, "they say   {}", said.join(", "));
    let _ = writeln!(out, "latency    {}", percentiles(&total.latency));
    let _ = writeln!(out, "service    {}", percentiles(&total.service));
    for (kind, figures) in &record.kinds {
        let _ = writeln!(out, "  {kind:<16} {} answered, {}", figures.answered, percentiles(&figures.latency));
    }
    out.push_str(&processes(record, total));
    let _ = writeln!(out, "checked    {} answers, {} wrong", record.truth.checked, record.truth.wrong);
    for mark in &record.marks {
        let _ = writeln!(out, "{:>7.2} s  {}", mark.at, mark.what);
    }
    out.push_str(&search(record));
    for finding in record.truth.findings.iter().take(SHOWN_FINDINGS) {
        // What a server has sent must not command the terminal.
        let tame = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        let cut = |text: &str| text.lines().collect::<Vec<_>>().join("\n").chars().take(SHOWN_CHARACTERS).map(tame).collect::<String>();
        let _ = writeln!(out, "\nwrong: {}\nrequest: {}\nanswer: {}", cut(&finding.what), cut(&finding.request), cut(&finding.answer));
    }
    out
}

fn processes(record: &Record, total: &Figures) -> String {
    let mut out = String::new();
    for (name, process) in [("server", record.server.as_ref()), ("generator", Some(&record.generator))] {
        let Some(process) = process else { continue };
        let seconds = process.user_seconds + process.system_seconds;
        let each = 1e6 * seconds / (total.answered as f64).max(1.0);
        let memory = process.resident as f64 / 1e6;
        let _ = writeln!(out, "{name:<10} {seconds:.2} s of CPU, {each:.1} µs an answer; {memory:.0} MB of memory");
    }
    out
}

fn search(record: &Record) -> String {
    let Some(search) = &record.search else { return String::new() };
    let mut out = format!("\n{:>12} {:>12} {:>10} {:>8}\n", "asked a s", "answered", "p99", "failed");
    for step in &search.steps {
        let (p99, met) = (time(step.p99 as f64), if step.met { "met" } else { "not met" });
        let _ = writeln!(out, "{:>12.0} {:>12.0} {p99:>10} {:>8}  {met}", step.rate, step.achieved, step.failed);
    }
    let highest = search.highest.map_or("no rate that was tried".to_owned(), |rate| format!("{rate:.0} requests a second"));
    let _ = writeln!(out, "{}: {highest}", search.objective);
    out
}

fn percentiles(latency: &Latency) -> String {
    let at = |wanted: f64| latency.percentiles.iter().find(|(percentile, _)| *percentile >= wanted).map_or(0, |(_, at)| *at) as f64;
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(at(50.0)),
        time(at(90.0)),
        time(at(99.0)),
        time(at(99.9)),
        time(latency.max as f64)
    )
}

/// Microseconds with a unit that people can read.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        short if short < 1e3 => format!("{short:.0} µs"),
        middle if middle < 1e6 => format!("{:.2} ms", middle / 1e3),
        long => format!("{:.2} s", long / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::troubled;

    #[test]
    fn a_terminal_gets_no_control_characters_from_a_server() {
        let mut record = troubled();
        let hostile = "HTTP/1.1 200 \u{9b}31m\r\nX: \u{1b}[2J\u{7}";
        for finding in &mut record.truth.findings {
            (finding.what, finding.answer) = (hostile.to_owned(), hostile.to_owned());
        }
        let text = of(&record);
        assert!(text.contains("answer: HTTP/1.1 200 \u{fffd}31m\nX: \u{fffd}[2J\u{fffd}"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    }
}
