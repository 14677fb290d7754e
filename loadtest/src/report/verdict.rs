//! Whether a run passed, and why. What fails it: wrong answers, requests that failed, an objective that nothing met, no answer at all, an end that was not
//! its own. What only limits what it says is a note.

use crate::figures::{count, micros, number};
use crate::load::Said;
use crate::record::{Latency, Record};

/// What is to be thought of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Why it failed, a sentence each; it passed where there is none.
    pub(crate) failures: Vec<String>,
    /// What a reader should know before relying on the figures.
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    /// Of a run.
    pub(crate) fn of(record: &Record) -> Verdict {
        Verdict { failures: failures(record), notes: notes(record) }
    }

    /// Whether nothing failed it.
    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

fn failures(record: &Record) -> Vec<String> {
    let (total, truth) = (&record.total, &record.truth);
    let mut failures = Vec::new();
    if truth.wrong > 0 {
        failures.push(format!("{} of {} checked answers are wrong.", count(truth.wrong), count(truth.checked)));
    }
    if let Some(times) = record.answers.get(Said::NotOcsp.name()) {
        failures.push(format!("{} answers are no OCSP responses.", count(*times)));
    }
    match &record.search {
        // The steps above the highest rate fail by their nature.
        Some(search) if search.highest.is_none() => failures.push(format!("No rate met {}.", search.objective)),
        Some(_) => {}
        None if total.failed > 0 => {
            failures.push(format!("{} of {} requests failed{}.", count(total.failed), count(total.due), worst(record)))
        }
        None => {}
    }
    if total.answered == 0 {
        failures.push("Nothing was answered.".to_owned());
    }
    failures.extend_from_slice(&record.failures);
    failures
}

/// The failure that came most often, in brackets.
fn worst(record: &Record) -> String {
    let most = record.errors.iter().max_by_key(|(_, times)| **times);
    most.map_or(String::new(), |(kind, times)| format!(" ({}: {})", kind.chars().take(80).collect::<String>(), count(*times)))
}

fn notes(record: &Record) -> Vec<String> {
    let total = &record.total;
    let mut notes = Vec::new();
    let (p99, service) = (percentile(&total.latency, 99.0), percentile(&total.service, 99.0));
    if let (Some(p99), Some(service)) = (p99, service)
        && p99 > 2 * service.max(1)
        && p99 > 1000
    {
        notes.push(format!(
            "Requests waited before they were sent: p99 is {} from when they were due, {} from when they left. The server is at its limit, or the connections are.",
            micros(p99 as f64),
            micros(service as f64)
        ));
    }
    let unsettled = total.due.saturating_sub(total.answered.saturating_add(total.failed));
    if unsettled > total.due / 100 {
        notes.push(format!("{} requests were due and neither answered nor failed.", count(unsettled)));
    }
    if record.truth.checked == 0 && total.answered > 0 {
        notes.push("No answer was checked: that they came says nothing of what they say.".to_owned());
    }
    if let Some(server) = &record.server {
        let (server, own) = (server.user_seconds + server.system_seconds, record.generator.user_seconds + record.generator.system_seconds);
        if own > server && record.seconds > 0.0 && own / record.seconds > 0.9 {
            notes.push(format!(
                "The load tester used {} % of a core, more than the server: it may be what limits the rate.",
                number(100.0 * own / record.seconds)
            ));
        }
    }
    notes
}

/// A percentile of a distribution; none where nothing was measured.
pub(crate) fn percentile(latency: &Latency, wanted: f64) -> Option<u64> {
    let found = latency.percentiles.iter().find(|(percentile, _)| *percentile >= wanted).map(|(_, micros)| *micros);
    (latency.count > 0).then(|| found.unwrap_or(latency.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::sample;

    #[test]
    fn a_clean_run_passes_without_a_word() {
        assert_eq!(Verdict::of(&sample(20)), Verdict { failures: vec![], notes: vec![] });
    }

    #[test]
    fn what_fails_a_run_is_said() {
        let mut record = sample(20);
        record.truth.wrong = 2;
        record.total.failed = 1200;
        record.errors.insert("timeout".to_owned(), 1200);
        let verdict = Verdict::of(&record);
        assert!(!verdict.passed());
        assert_eq!(verdict.failures[0], format!("2 of {} checked answers are wrong.", count(record.truth.checked)));
        assert!(
            verdict.failures[1].starts_with("1,200 of ") && verdict.failures[1].ends_with(" requests failed (timeout: 1,200)."),
            "{verdict:?}"
        );
    }

    #[test]
    fn answers_that_are_no_ocsp_responses_fail_a_run_unchecked() {
        let mut record = sample(20);
        record.answers.insert("not OCSP".to_owned(), 3);
        assert_eq!(Verdict::of(&record).failures, ["3 answers are no OCSP responses."]);
    }

    #[test]
    fn a_run_that_was_ended_early_fails() {
        let mut record = sample(20);
        record.failures.push("Ended early, by a signal.".to_owned());
        assert_eq!(Verdict::of(&record).failures, ["Ended early, by a signal."]);
    }

    #[test]
    fn a_search_fails_where_no_rate_met_its_objective() {
        let mut record = crate::report::sample::search();
        assert!(Verdict::of(&record).passed());
        record.search.as_mut().unwrap().highest = None;
        assert_eq!(Verdict::of(&record).failures, ["No rate met p99<5ms,errors=0."]);
    }

    #[test]
    fn a_wait_before_sending_is_noted() {
        let mut record = sample(20);
        for (_, micros) in &mut record.total.latency.percentiles {
            *micros *= 50;
        }
        assert!(Verdict::of(&record).notes[0].starts_with("Requests waited before they were sent"));
    }
}
