//! Runs for tests, made up in the form of real ones. Unit tests and tests of the built program share them.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use kakunin_loadtest::record::{Figures, Finding, Latency, Load, Mark, Process, Record, Search, Second, Step, Truth, VERSION};

/// An ordinary run of so many seconds in which a thousand requests a second are answered.
pub fn sample(seconds: usize) -> Record {
    let timeline: Vec<Second> = (0..seconds).map(second).collect();
    let sum = |value: fn(&Second) -> u64| timeline.iter().map(value).sum::<u64>();
    let total = Figures {
        due: sum(|s| s.due),
        answered: sum(|s| s.answered),
        in_time: None,
        failed: sum(|s| s.failed),
        octets: sum(|s| s.octets),
        latency: latency(sum(|s| s.answered), 1.25),
        service: latency(sum(|s| s.answered), 1.0),
    };
    let mut answers = BTreeMap::new();
    timeline.iter().flat_map(|s| &s.answers).for_each(|(status, times)| *answers.entry(status.clone()).or_insert(0) += times);
    Record {
        version: VERSION,
        title: "steady day".to_owned(),
        started: "2026-11-21T12:00:00Z".to_owned(),
        seconds: seconds as f64,
        load: Load {
            url: "http://127.0.0.1:2560".to_owned(),
            model: "open".to_owned(),
            rate: Some((1000.0, 1000.0)),
            connections: 64,
            protocol: "http/1.1".to_owned(),
            description: vec!["90 % ocsp-get, 10 % ocsp-post".to_owned(), "zipf over 10000 certificates".to_owned()],
        },
        kinds: BTreeMap::from([("ocsp-get".to_owned(), total.clone()), ("ocsp-post".to_owned(), total.clone())]),
        total,
        timeline,
        answers,
        errors: BTreeMap::new(),
        truth: Truth { checked: 200, wrong: 0, findings: vec![] },
        server: Some(Process { user_seconds: 0.1, system_seconds: 0.2, resident: 180_000_000 }),
        generator: Process { user_seconds: 0.1, system_seconds: 0.2, resident: 20_000_000 },
        search: None,
        marks: vec![Mark { at: seconds as f64 * 0.4, what: "revoked 100".to_owned() }],
        failures: vec![],
    }
}

fn second(index: usize) -> Second {
    let wobble = (index as u64 * 37) % 23;
    let revoked = 10 + wobble;
    Second {
        due: 1000,
        answered: 990 + wobble % 10,
        failed: 0,
        octets: 812_000,
        latency: [100 + wobble, 200 + 2 * wobble, 700 + 20 * wobble, 900 + 40 * wobble, 2000 + 90 * wobble],
        server_cpu_percent: Some(12.0 + wobble as f64 / 10.0),
        generator_cpu_percent: 10.0,
        answers: BTreeMap::from([("good".to_owned(), 990 + wobble % 10 - revoked), ("revoked".to_owned(), revoked)]),
    }
}

fn latency(count: u64, factor: f64) -> Latency {
    let points =
        [(0.0, 80.0), (50.0, 110.0), (75.0, 140.0), (90.0, 200.0), (99.0, 700.0), (99.9, 1200.0), (99.99, 3000.0), (100.0, 4100.0)];
    let percentiles: Vec<(f64, u64)> = points.iter().map(|(p, v)| (*p, (v * factor) as u64)).collect();
    Latency { count, min: percentiles[0].1, mean: 130.0 * factor, max: percentiles[7].1, percentiles }
}

/// A search for the highest rate.
pub fn search() -> Record {
    let step = |rate: f64, p99, failed, met| Step { rate, achieved: rate.min(21_000.0), p99, failed, met };
    let steps = vec![
        step(5000.0, 900, 0, true),
        step(20_000.0, 3_000, 0, true),
        step(40_000.0, 90_000, 17, false),
        step(25_000.0, 6_000, 0, false),
    ];
    let search = Search { objective: "p99<5ms,errors=0".to_owned(), highest: Some(20_000.0), steps };
    Record { search: Some(search), ..sample(12) }
}

/// A run with everything that a report can show, all of it bad.
pub fn troubled() -> Record {
    let mut record = sample(60);
    for (index, second) in record.timeline.iter_mut().enumerate().skip(30).take(8) {
        (second.failed, second.answered) = (40 * (index as u64 % 5), second.answered - 40 * (index as u64 % 5));
        second.latency = [90_000, 400_000, 900_000, 1_100_000, 1_400_000];
        second.answers.insert("tryLater".to_owned(), 300);
        second.server_cpu_percent = None;
    }
    record.total.failed = record.timeline.iter().map(|s| s.failed).sum();
    record.errors = BTreeMap::from([("timeout".to_owned(), record.total.failed - 20), ("connect".to_owned(), 20)]);
    let finding = Finding {
        what: "O5: the CertID in the answer is not the one asked for".to_owned(),
        request: "GET /MEIwQDA+MDwwOjAJ HTTP/1.1\n\n".to_owned(),
        answer: "HTTP/1.1 200 OK\ncontent-type: application/ocsp-response\n\n308203280a0100".to_owned(),
    };
    record.truth = Truth { checked: 900, wrong: 2, findings: vec![finding.clone(), finding] };
    record.search = search().search;
    record.search.as_mut().unwrap().highest = None;
    record
}
