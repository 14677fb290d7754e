//! What is written rather than drawn: the head with the verdict and the figures, the wrong answers, the tables.

use std::fmt::Write;

use super::markup::{long_text, text};
use super::verdict::{Verdict, percentile};
use crate::figures::{count, duration, micros, number, octets};
use crate::record::{Figures, Process, Record};

/// The most wrong answers that are shown.
const MOST_FINDINGS: usize = 20;
/// The most characters of a request or an answer that are shown.
const LONGEST_MESSAGE: usize = 6000;
/// The most rows of a table, and the most lines about the load.
const MOST_ROWS: usize = 50;

/// Title, verdict, what was asked of the server, and the figures.
pub(super) fn head(record: &Record) -> String {
    let verdict = Verdict::of(record);
    let (class, word) = if verdict.passed() { ("passed", "Passed") } else { ("failed", "Failed") };
    let reasons = sentences("reasons", &verdict.failures);
    let reasons = if verdict.passed() { format!("<ul class=\"reasons\"><li>{}</li></ul>", passed(record)) } else { reasons };
    format!(
        "<header><p class=\"kind\">Load test of {url}</p><h1>{title}</h1><p class=\"when\">{started} · {seconds}</p></header>\n\
         <section class=\"outcome {class}\"><p class=\"verdict {class}\">{word}</p>{reasons}{notes}</section>\n{tiles}{load}",
        url = text(&record.load.url),
        title = text(&record.title),
        started = text(&record.started),
        seconds = duration(record.seconds),
        notes = sentences("notes", &verdict.notes),
        tiles = tiles(record),
        load = load(record),
    )
}

fn passed(record: &Record) -> String {
    let checked = match record.truth.checked {
        0 => String::new(),
        checked => format!(" {} answers were checked, none is wrong.", count(checked)),
    };
    let highest = record.search.as_ref().and_then(|search| search.highest.map(|rate| (rate, &search.objective)));
    match highest {
        Some((rate, objective)) => {
            format!("The highest rate that met {} is <strong>{}/s</strong>.{checked}", text(objective), number(rate))
        }
        None => format!("All of {} requests were answered.{checked}", count(record.total.due)),
    }
}

fn sentences(class: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>", text(sentence))).collect();
    format!("<ul class=\"{class}\">{items}</ul>")
}

fn tiles(record: &Record) -> String {
    let total = &record.total;
    let time = |wanted| percentile(&total.latency, wanted).map_or("–".to_owned(), |value| micros(value as f64));
    let per_answer = |process: &Process| micros(1e6 * (process.user_seconds + process.system_seconds) / total.answered as f64);
    let mut tiles = vec![
        ("answers a second", number(total.answered_a_second(record.seconds)), format!("{} in all", count(total.answered))),
        ("p50", time(50.0), String::new()),
        ("p99", time(99.0), String::new()),
        ("p99.9", time(99.9), String::new()),
        ("greatest", time(100.0), String::new()),
        ("failed", count(total.failed), format!("of {}", count(total.due))),
        ("wrong", count(record.truth.wrong), format!("of {} checked", count(record.truth.checked))),
        ("bodies", octets(total.octets as f64), format!("{}/s", octets(total.octets_a_second(record.seconds)))),
    ];
    if total.answered > 0 {
        if let Some(server) = &record.server {
            tiles.push(("server CPU an answer", per_answer(server), format!("{} of memory", octets(server.resident as f64))));
        }
        tiles.push((
            "load tester CPU an answer",
            per_answer(&record.generator),
            format!("{} of memory", octets(record.generator.resident as f64)),
        ));
    }
    let tile = |(name, value, more): (&str, String, String)| format!("<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>");
    format!("<dl class=\"tiles\">{}</dl>\n", tiles.into_iter().map(tile).collect::<String>())
}

fn load(record: &Record) -> String {
    let load = &record.load;
    let rate = match load.rate {
        Some((start, end)) if start == end => format!(", {}/s", number(start)),
        Some((start, end)) => format!(", {}/s rising or falling to {}/s", number(start), number(end)),
        None => String::new(),
    };
    let mut out = format!(
        "<section class=\"load\"><h2>The load</h2><ul><li>{} loop{rate}</li><li>{}, up to {} connections at once</li>",
        text(&load.model),
        text(&load.protocol),
        count(load.connections.into())
    );
    load.description.iter().take(MOST_ROWS).for_each(|line| {
        let _ = write!(out, "<li>{}</li>", text(line));
    });
    out + "</ul></section>\n"
}

/// The wrong answers with their requests.
pub(super) fn findings(record: &Record) -> String {
    let findings = &record.truth.findings;
    if findings.is_empty() {
        return String::new();
    }
    let mut out = "<section class=\"findings\"><h2>Wrong answers</h2>".to_owned();
    let shown = findings.iter().take(MOST_FINDINGS);
    let _ = write!(out, "<p>{} were found; {} of them are shown.</p>", count(record.truth.wrong), shown.len());
    for (index, finding) in shown.enumerate() {
        let open = if index == 0 { " open" } else { "" };
        let _ = write!(
            out,
            "<details{open}><summary>{}</summary><h3>Request</h3><pre>{}</pre><h3>Answer</h3><pre>{}</pre></details>",
            text(&finding.what),
            long_text(&finding.request, LONGEST_MESSAGE),
            long_text(&finding.answer, LONGEST_MESSAGE)
        );
    }
    out + "</section>\n"
}

/// The steps of a search as a table.
pub(super) fn steps(record: &Record) -> String {
    let Some(search) = &record.search else { return String::new() };
    let row = |step: &crate::record::Step| {
        let verdict = if step.met { "met" } else { "not met" };
        [number(step.rate), number(step.achieved), micros(step.p99 as f64), count(step.failed), verdict.to_owned()].map(Cell::Plain).into()
    };
    table("Steps", &["asked for, /s", "answered, /s", "p99", "failed", "objective"], search.steps.iter().map(row))
}

/// What a table says best: kinds of request, statuses, failures, percentiles.
pub(super) fn tables(record: &Record) -> String {
    let mut out = String::new();
    if record.kinds.len() > 1 {
        let columns = ["kind", "due", "answered", "failed", "bodies", "p50", "p99", "p99.9", "greatest"];
        out += &table("By kind of request", &columns, record.kinds.iter().map(|(kind, figures)| kind_row(kind, figures)));
    }
    out += &counts("What the answers said", "status", &record.answers);
    out += &counts("What went wrong", "failure", &record.errors);
    let wanted = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];
    let time = |latency, wanted| Cell::Plain(percentile(latency, wanted).map_or("–".to_owned(), |value| micros(value as f64)));
    let rows = wanted
        .into_iter()
        .map(|wanted| vec![Cell::Plain(format!("{wanted} %")), time(&record.total.latency, wanted), time(&record.total.service, wanted)]);
    out + &table("Percentiles", &["of all requests", "latency, from when due", "service time, from when sent"], rows)
}

fn kind_row(kind: &str, figures: &Figures) -> Vec<Cell> {
    let time = |wanted| percentile(&figures.latency, wanted).map_or("–".to_owned(), |value| micros(value as f64));
    let plain = [count(figures.due), count(figures.answered), count(figures.failed), octets(figures.octets as f64)];
    let times = [50.0, 99.0, 99.9, 100.0].map(time);
    std::iter::once(Cell::Foreign(kind.to_owned())).chain(plain.into_iter().chain(times).map(Cell::Plain)).collect()
}

fn counts(title: &str, what: &str, counts: &std::collections::BTreeMap<String, u64>) -> String {
    let all = counts.values().fold(0u64, |sum, times| sum.saturating_add(*times)).max(1) as f64;
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let row = |(name, times): (&String, &u64)| {
        let part = 100.0 * *times as f64 / all;
        vec![Cell::Foreign(name.clone()), Cell::Plain(count(*times)), Cell::Bar(part)]
    };
    table(title, &[what, "times", "part"], sorted.into_iter().map(row))
}

/// A cell of a table.
enum Cell {
    /// Made here.
    Plain(String),
    /// From outside.
    Foreign(String),
    /// Percent, with a bar behind.
    Bar(f64),
}

fn table(title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    let mut out = format!("<section class=\"table\"><h2>{title}</h2>");
    let head: String = columns.iter().map(|column| format!("<th>{column}</th>")).collect();
    let _ = write!(out, "<div><table><thead><tr>{head}</tr></thead><tbody>");
    for row in rows.by_ref().take(MOST_ROWS) {
        out.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Cell::Plain(content) => write!(out, "<td>{content}</td>"),
                Cell::Foreign(content) => write!(out, "<td>{}</td>", text(&content)),
                Cell::Bar(part) => write!(out, "<td class=\"bar\"><i style=\"width:{part:.1}%\"></i><span>{} %</span></td>", number(part)),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    match rows.count() {
        0 => {}
        left => {
            let _ = write!(out, "<p>… and {} more.</p>", count(left as u64));
        }
    }
    out + "</section>\n"
}
