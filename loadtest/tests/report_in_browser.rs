//! The report in a real browser: it renders without an error, its curves have their points, and its readout says what the record says.

#![allow(clippy::unwrap_used)]

#[path = "common/browser.rs"]
mod browser;
#[path = "common/records.rs"]
mod records;

use browser::{Rendered, artefact, render, screenshot};
use kakunin_loadtest::report;

/// Appended to a page: points at charts, and writes down what they say then.
const DRIVER: &str = r##"<script>
  const said = [];
  const point = (id, part) => {
    const plot = document.querySelector(`#${id} .plot`), box = plot.getBoundingClientRect();
    plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + part * box.width, clientY: box.top + 5, bubbles: true }));
  };
  const read = (id) => said.push(`${id}: ` + [...document.querySelectorAll(`#${id} output`)].map((o) => o.textContent).join(" | "));
  point("throughput", 30.5 / 60); read("throughput"); read("latencies"); read("processors"); read("answers");
  point("latencies", 0); read("latencies");
  point("distribution", 0.999); read("distribution");
  document.querySelector("#search .plot").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" })); read("search");
  document.querySelector("#latencies .plot").dispatchEvent(new PointerEvent("pointerleave")); read("throughput");
  const pre = document.createElement("pre"); pre.id = "said"; pre.textContent = said.join("\n"); document.body.append(pre);
</script>"##;

fn assert_quiet(rendered: &Rendered) {
    assert!(rendered.console.is_empty(), "{:#?}", rendered.console);
}

/// The page without its policy, which lets nothing be appended, and with a script of the test's own.
fn driven(page: &str) -> String {
    let begin = page.find("<meta http-equiv=\"Content-Security-Policy\"").expect("the page has a policy");
    let end = begin + page[begin..].find('>').unwrap() + 1;
    format!("{}{}", &page[..begin], &page[end..]).replace("</body>", &format!("{DRIVER}</body>"))
}

/// How many points the curves of a chart have, as the browser has them.
fn points(dom: &str, chart: &str) -> Vec<usize> {
    let figure = dom.split("<figure").find(|part| part.contains(&format!("id=\"{chart}\""))).unwrap_or_else(|| panic!("no {chart}"));
    let curves = figure.split("<path class=\"").filter(|part| ["line ", "area ", "dots "].iter().any(|class| part.starts_with(class)));
    curves.map(|part| part.split(" d=\"").nth(1).unwrap().split('"').next().unwrap().matches(['M', 'L']).count()).collect()
}

#[test]
fn a_report_renders_without_an_error_and_with_every_point() {
    let rendered = render(&report::html(&records::troubled()));
    assert_quiet(&rendered);
    assert!(rendered.dom.contains("<p class=\"verdict failed\">Failed</p>"));
    assert_eq!(points(&rendered.dom, "throughput"), [60; 3]);
    assert_eq!(points(&rendered.dom, "latencies"), [60; 5]);
    assert_eq!(points(&rendered.dom, "distribution"), [8; 2]);
    assert_eq!(points(&rendered.dom, "answers"), [120; 3], "along the top and back along the bottom");
    assert_eq!(points(&rendered.dom, "processors"), [52, 60], "eight seconds of the server are not known");
    assert_eq!(points(&rendered.dom, "search"), [2, 2]);
    assert_eq!(rendered.dom.matches("<path class=\"mark\"").count(), 5, "one in each chart over time");
}

#[test]
fn a_script_that_breaks_is_noticed() {
    let page = report::html(&records::sample(20));
    let broken = page.replace("\"use strict\";", "\"use strict\"; nobody.home();");
    assert_ne!(page, broken);
    let refused = render(&broken).console;
    assert!(
        refused.iter().any(|line| line.contains("Content Security Policy")),
        "another script than the report's must not run: {refused:?}"
    );
    let failed = render(&driven(&broken)).console;
    assert!(failed.iter().any(|line| line.contains("nobody is not defined")), "{failed:?}");
}

#[test]
fn the_readout_says_what_the_record_says() {
    let record = records::troubled();
    let rendered = render(&driven(&report::html(&record)));
    assert_quiet(&rendered);
    let said = rendered.dom.split("<pre id=\"said\">").nth(1).unwrap().split("</pre>").next().unwrap();
    let said: Vec<&str> = said.lines().collect();
    let second = &record.timeline[30];
    let wanted = [
        format!("throughput: 1,000/s | {}/s | {}/s | at 30 s", second.answered, second.failed),
        "latencies: 90 ms | 400 ms | 900 ms | 1.1 s | 1.4 s | at 30 s".to_owned(),
        "processors: – | 10 % | at 30 s".to_owned(),
        format!("answers: {}/s | 300/s | {}/s | at 30 s", second.answers["good"], second.answers["revoked"]),
        "latencies: 100 µs | 200 µs | 700 µs | 900 µs | 2 ms | at 0 s".to_owned(),
        "distribution: 5.125 ms | 4.1 ms | at 100 %".to_owned(),
        "search: 900 µs | – | at 5,000/s".to_owned(),
    ];
    for (said, wanted) in said.iter().zip(&wanted) {
        assert_eq!(said, wanted);
    }
    assert!(said[7].contains("on average") && said.len() == 8, "after the pointer has left: {said:?}");
}

#[test]
fn hostile_text_does_nothing_in_a_browser() {
    let mut record = records::troubled();
    let hostile = "</script><img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>";
    record.title = hostile.to_owned();
    record.truth.findings[0].answer = hostile.to_owned();
    record.errors.insert(hostile.to_owned(), 7);
    record.timeline[0].answers.insert(hostile.to_owned(), 700_000);
    let rendered = render(&report::html(&record));
    assert_quiet(&rendered);
    assert!(!rendered.dom.contains("<title>pwned") && !rendered.dom.contains("<img"));
    assert_eq!(points(&rendered.dom, "answers").len(), 4, "the status is there, as text");
}

#[test]
fn a_day_renders_and_its_pictures_are_kept() {
    let mut day = records::sample(86_400);
    day.timeline[54_321].latency[4] = 9_000_000;
    let rendered = render(&report::html(&day));
    assert_quiet(&rendered);
    assert!(
        points(&rendered.dom, "latencies").iter().all(|points| (290..=1500).contains(points)),
        "the five percentiles rise and fall together"
    );
    assert!(rendered.dom.contains("9000000"), "the peak is there");

    let (good, bad) = (report::html(&records::search()), report::html(&records::troubled()));
    screenshot(&bad, (1200, 3600), false, &artefact("report.png"));
    screenshot(&bad, (1200, 3600), true, &artefact("report-dark.png"));
    screenshot(&bad, (400, 5600), false, &artefact("report-narrow.png"));
    screenshot(&good, (1200, 2900), true, &artefact("report-passed-dark.png"));
}
