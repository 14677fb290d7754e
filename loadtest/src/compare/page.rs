//! A comparison as a page.

use super::{Comparison, Row};
use crate::figures::{Unit, duration};
use crate::record::{Record, Second};
use crate::report::chart::{Across, Chart, Group, Series, Shape};
use crate::report::charts::{distribution_group, nines_of, times_of};
use crate::report::markup::text;
use crate::report::page;
use crate::report::scale::Scale;
use crate::report::thin;

/// How the curves of each run look.
const LOOKS: [(&str, &str); 2] = [("A", "c1"), ("B", "c2 dashed")];

/// The page.
pub(super) fn html(comparison: &Comparison<'_>) -> String {
    let records = [comparison.a, comparison.b];
    let mut body = head(comparison);
    body += &table(&comparison.rows);
    let charts = [
        over_time(records, "throughput", "Answers a second", Unit::Rate, |s| Some(s.answered as f64)),
        over_time(records, "latencies", "Latency p50 over time", Unit::Micros, |s| (s.answered > 0).then_some(s.latency[0] as f64)),
        over_time(records, "tails", "Latency p99 over time", Unit::Micros, |s| (s.answered > 0).then_some(s.latency[2] as f64)),
        distribution(records),
        over_time(records, "processors", "Processor time of the server", Unit::Percent, |s| s.server_cpu_percent),
    ];
    charts.into_iter().flatten().for_each(|chart| body += &chart.html());
    page::page(&format!("{} | {}", comparison.a.title, comparison.b.title), &body)
}

fn head(comparison: &Comparison<'_>) -> String {
    let run = |name: &str, record: &Record| {
        format!(
            "<p class=\"run\"><strong>{name}</strong> {} · {} · {} · {}</p>",
            text(&record.title),
            text(&record.load.url),
            text(&record.started),
            duration(record.seconds)
        )
    };
    let warnings: String = comparison.warnings.iter().map(|warning| format!("<li>{}</li>", text(warning))).collect();
    let warnings = match warnings.is_empty() {
        true => warnings,
        false => format!(
            "<section class=\"outcome failed\"><p class=\"verdict\">Read with care</p><ul class=\"reasons\">{warnings}</ul></section>\n"
        ),
    };
    format!(
        "<header><p class=\"kind\">Two load tests</p><h1>A beside B</h1>{}{}</header>\n{warnings}",
        run("A", comparison.a),
        run("B", comparison.b)
    )
}

fn table(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let [a, b] = [row.a, row.b].map(|value| value.map_or("–".to_owned(), row.show));
        let (ratio, judgement) = (row.ratio_text(), row.judgement());
        let class = judgement.split(' ').next().unwrap_or_default();
        format!("<tr><td>{}</td><td>{a}</td><td>{b}</td><td>{ratio}</td><td class=\"{class}\">{judgement}</td></tr>", text(&row.figure))
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<section class=\"table\"><h2>Figures</h2><div><table><thead><tr><th>figure</th><th>A</th><th>B</th><th>B÷A</th><th>B is</th></tr></thead>\
         <tbody>{rows}</tbody></table></div></section>\n"
    )
}

/// A value of both runs over time; none where neither knows it.
fn over_time(records: [&Record; 2], id: &'static str, title: &'static str, unit: Unit, value: fn(&Second) -> Option<f64>) -> Option<Chart> {
    let group = |(record, (name, look)): (&Record, (&str, &'static str))| {
        let at = |second: usize| value(&record.timeline[second]).unwrap_or(0.0);
        let kept = thin::kept(record.timeline.len(), &[&at]);
        let values = kept.iter().map(|second| value(&record.timeline[*second])).collect();
        let name = format!("{name}: {}", record.title.chars().take(60).collect::<String>());
        Group { x: kept.iter().map(|second| *second as f64).collect(), series: vec![Series { name, look, values, whole: String::new() }] }
    };
    let groups: Vec<Group> = records.into_iter().zip(LOOKS).map(group).filter(|group| !group.x.is_empty()).collect();
    let all = || groups.iter().flat_map(|group| &group.series).flat_map(|series| &series.values).flatten().copied();
    all().next()?;
    let (least, greatest) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
    Some(Chart {
        id,
        title,
        about: "Both runs from their first second on.".to_owned(),
        x: Across::Time(records.map(|record| record.timeline.len()).into_iter().max().unwrap_or(1) as f64),
        y: if unit == Unit::Micros { Scale::log(least, greatest) } else { Scale::linear(greatest) },
        unit,
        shape: Shape::Lines,
        groups,
        marks: vec![],
        mark_names: vec![],
    })
}

fn distribution(records: [&Record; 2]) -> Option<Chart> {
    let latencies = records.map(|record| &record.total.latency);
    let end = nines_of(&latencies);
    let group = |(latency, (name, look))| distribution_group(latency, name, look, end);
    let groups: Vec<Group> = latencies.into_iter().zip(LOOKS).map(group).filter(|group| !group.x.is_empty()).collect();
    (!groups.is_empty()).then(|| Chart {
        id: "distribution",
        title: "Latency distribution",
        about: "From the moment a request was due. Every further nine has the same width.".to_owned(),
        x: Across::Nines(end),
        y: times_of(&latencies),
        unit: Unit::Micros,
        shape: Shape::Lines,
        groups,
        marks: vec![],
        mark_names: vec![],
    })
}
