//! The report of a run: one HTML page without an outside reference, to be opened, mailed and printed. Pure: from a [`Record`] to text.
//!
//! | module | what it is for |
//! |---|---|
//! | `charts` | which charts a run gives |
//! | `chart` | one chart as SVG and HTML |
//! | `scale` | axes and their ticks |
//! | `thin` | few points that keep every peak |
//! | `sections` | the head of the page, and what is written rather than drawn |
//! | `verdict` | passed or failed, and why |
//! | `markup` | text from outside, escaped |
//! | `page` | the frame that reports and comparisons share |

pub(crate) mod chart;
pub(crate) mod charts;
pub(crate) mod markup;
pub(crate) mod page;
pub(crate) mod scale;
mod sections;
pub(crate) mod thin;
pub(crate) mod verdict;

#[cfg(test)]
#[path = "../../tests/common/records.rs"]
pub(crate) mod sample;

use crate::record::Record;

/// The report of a run. At most 3 MB, whatever the record: long runs are thinned, and what a server has sent is cut.
pub fn html(record: &Record) -> String {
    let mut body = sections::head(record);
    let charts = charts::charts(record);
    let (search, charts): (Vec<_>, Vec<_>) = charts.into_iter().partition(|chart| chart.id == "search");
    body += &sections::findings(record);
    for chart in search {
        body += &chart.html();
        body += &sections::steps(record);
    }
    charts.iter().for_each(|chart| body += &chart.html());
    body += &sections::tables(record);
    page::page(&record.title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::{sample, search, troubled};
    use serde_json::Value;

    const MOST_OCTETS: usize = 3_000_000;

    fn charts_of(html: &str) -> Vec<&str> {
        html.match_indices("<figure class=\"chart\" id=\"").map(|(at, tag)| html[at + tag.len()..].split('"').next().unwrap()).collect()
    }

    #[test]
    fn a_report_has_every_chart_that_the_run_gives() {
        assert_eq!(charts_of(&html(&sample(20))), ["throughput", "latencies", "distribution", "answers", "processors"]);
        let all = ["search", "throughput", "latencies", "distribution", "answers", "failures", "processors"];
        assert_eq!(charts_of(&html(&troubled())), all);
        assert_eq!(charts_of(&html(&search()))[0], "search");
    }

    #[test]
    fn a_report_says_first_whether_the_run_passed() {
        assert!(html(&sample(20)).contains("<p class=\"verdict passed\">Passed</p>"));
        let page = html(&troubled());
        assert!(page.contains("<p class=\"verdict failed\">Failed</p>"), "{page}");
        assert!(page.contains("2 of 900 checked answers are wrong.") && page.contains("308203280a0100"));
    }

    #[test]
    fn nothing_is_fetched_from_anywhere() {
        let page = html(&troubled());
        for reference in ["src=", "href=", "url(", "@import", "<link", "<iframe", "<img"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    /// Puts a text in the place of every text and of every name in a map.
    fn poison(value: &mut Value, text: &str, free_names: bool) {
        match value {
            Value::String(old) => *old = text.to_owned(),
            Value::Array(all) => all.iter_mut().for_each(|one| poison(one, text, false)),
            Value::Object(all) => {
                let old = std::mem::take(all);
                for (index, (name, mut inner)) in old.into_iter().enumerate() {
                    let is_map = matches!(name.as_str(), "kinds" | "answers" | "errors");
                    poison(&mut inner, text, is_map && !free_names);
                    all.insert(if free_names { format!("{text}{index}") } else { name }, inner);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn whatever_a_record_says_stays_text() {
        for hostile in
            ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>", "\u{202e}\u{0}<!--"]
        {
            let mut value = serde_json::to_value(troubled()).unwrap();
            poison(&mut value, hostile, false);
            let record: Record = serde_json::from_value(value).unwrap();
            assert_eq!(record.title, hostile);
            assert!(
                record.errors.keys().all(|kind| kind.starts_with(hostile))
                    && record.timeline[0].answers.keys().all(|s| s.starts_with(hostile))
            );
            let page = html(&record);
            assert!(!page.contains(hostile) && !page.contains('\u{202e}') && !page.contains('\u{0}'), "{hostile}");
            let (tame, scripts) = (html(&troubled()), |page: &str| page.matches("<script").count());
            assert_eq!(scripts(&page), scripts(&tame), "{hostile}");
            for element in ["<img", "<svg/", "<!--"] {
                assert!(!page.contains(element), "{element}");
            }
        }
    }

    #[test]
    fn a_day_with_too_much_of_everything_makes_a_bounded_page() {
        let mut record = sample(86_400);
        for (index, second) in record.timeline.iter_mut().enumerate() {
            second.failed = (index as u64 * 7919) % 11;
            second.answers = (0..20).map(|status| (format!("status {status}"), (index as u64 * 104_729 + status * 31) % 977)).collect();
        }
        let long = "<&\"'>".repeat(100_000);
        let finding = crate::record::Finding { what: long.clone(), request: long.clone(), answer: long.clone() };
        record.truth.findings = vec![finding; 1000];
        record.title = long.clone();
        record.load.description = vec![long.clone(); 1000];
        record.errors = (0..5000).map(|n| (format!("{n}{long}"), n)).take(50).collect();
        record.marks = (0..10_000).map(|n| crate::record::Mark { at: f64::from(n), what: "<mark>".repeat(1000) }).collect();
        record.total.latency.percentiles = (0..200_000).map(|n| (f64::from(n) / 2000.0, n as u64)).collect();
        let page = html(&record);
        assert!(page.len() < MOST_OCTETS, "{} octets", page.len());
        assert!(html(&sample(86_400)).len() < MOST_OCTETS / 2);
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_a_report() {
        let mut record = sample(0);
        (record.marks, record.kinds) = (vec![], Default::default());
        (record.total, record.generator) = Default::default();
        let page = html(&record);
        assert!(page.contains("Nothing was answered.") && charts_of(&page).is_empty(), "{page}");
        let mut record = sample(1);
        record.timeline[0] = Default::default();
        html(&record);
    }

    #[test]
    fn extreme_figures_do_no_harm() {
        let mut record = troubled();
        for second in &mut record.timeline {
            (second.due, second.answered, second.failed, second.octets, second.latency) =
                (u64::MAX, u64::MAX, u64::MAX, u64::MAX, [u64::MAX; 5]);
            (second.server_cpu_percent, second.generator_cpu_percent) = (Some(f64::MAX), -1e300);
            second.answers.values_mut().for_each(|times| *times = u64::MAX);
        }
        record.total.latency.percentiles = vec![(-5.0, 0), (50.0, u64::MAX), (400.0, u64::MAX)];
        (record.total.due, record.total.answered, record.seconds) = (u64::MAX, 1, 0.0);
        record.marks[0].at = f64::MAX;
        record.search.as_mut().unwrap().steps[0].rate = f64::MAX;
        assert!(!html(&record).contains("NaN"));
    }
}
