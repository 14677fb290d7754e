//! Latency is counted from the moment at which a request was due: a server that freezes for 100 ms each second cannot hide it. Nothing here asserts how fast
//! this machine is; only what the freezes must show.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::server::{ok, serve};
use common::{at, fail, loadtest, record, succeed};

const FREEZE: Duration = Duration::from_millis(100);

/// A server that answers at once, but for the first 100 ms of each second.
fn freezing() -> std::net::SocketAddr {
    let start = Instant::now();
    serve(move |_| {
        let into = start.elapsed().as_millis() as u64 % 1000;
        std::thread::sleep(FREEZE.saturating_sub(Duration::from_millis(into)));
        Some(ok("", &[0x30, 3, 0x0a, 1, 6]))
    })
}

fn measured(options: &[&str]) -> kakunin_loadtest::record::Record {
    let directory = tempfile::tempdir().unwrap();
    let (request, json) = (directory.path().join("request.der"), directory.path().join("record.json"));
    std::fs::write(&request, [0x30, 0]).unwrap();
    let mut command = loadtest(["run"]);
    command.arg(format!("http://{}", freezing())).arg("--requests-from").arg(&request).arg("--json").arg(&json);
    succeed(command.args(["--mix", "post=1", "--check", "0", "--duration", "4s"]).args(options));
    record(&json)
}

#[test]
fn an_open_loop_shows_a_stall_that_the_service_time_of_one_connection_hides() {
    let record = measured(&["--rate", "1000", "--connections", "1"]);
    assert_eq!((record.total.due, record.total.failed), (4000, 0));
    // A tenth of the requests fall due in a freeze, and wait 50 ms in the mean: the corrected p99 and p99.9 are near its whole length.
    assert!(at(&record.total.latency, 99.9) >= 80_000, "{:?}", record.total.latency);
    assert!(at(&record.total.latency, 96.0) >= 30_000, "{:?}", record.total.latency);
    // One request in a thousand and less was under way when it began.
    assert!(at(&record.total.service, 99.0) < at(&record.total.latency, 99.0) / 2, "{:?}", record.total.service);
    assert!(record.timeline.iter().take(4).all(|second| second.latency[3] >= 50_000), "{:?}", record.timeline);
}

#[test]
fn a_closed_loop_leaves_out_what_was_not_sent_and_does_not_show_it() {
    let record = measured(&["--connections", "1"]);
    assert_eq!(record.load.model, "closed");
    assert_eq!(record.total.latency, record.total.service);
    assert!(at(&record.total.latency, 99.0) < 50_000, "{:?}", record.total.latency);
    assert!(record.total.latency.max >= 50_000, "{:?}", record.total.latency);
}

#[test]
fn a_rate_is_made_of_what_is_answered_while_requests_fall_due() {
    let address = serve(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Some(ok("", &[0x30, 3, 0x0a, 1, 6]))
    });
    let directory = tempfile::tempdir().unwrap();
    let (request, json) = (directory.path().join("request.der"), directory.path().join("record.json"));
    std::fs::write(&request, [0x30, 0]).unwrap();
    let mut command = loadtest(["run", &format!("http://{address}"), "--rate", "400", "--duration", "1s", "--connections", "1"]);
    let said = succeed(command.args(["--check", "0"]).arg("--requests-from").arg(&request).arg("--json").arg(&json));
    let total = record(&json).total;
    // A hundred of them a second is all that the server can.
    let in_time = total.in_time.unwrap();
    assert_eq!((total.due, total.answered), (400, 400));
    assert!((1..=101).contains(&in_time), "{in_time}");
    assert!(said.contains(&format!("answered   400 of 400 due: {in_time} a second")), "{said}");
}

#[test]
fn a_server_that_never_answers_ends_the_run_within_its_bounds() {
    let address = serve(|_| {
        std::thread::sleep(Duration::from_secs(3600));
        None
    });
    let directory = tempfile::tempdir().unwrap();
    let (request, json) = (directory.path().join("request.der"), directory.path().join("record.json"));
    std::fs::write(&request, [0x30, 0]).unwrap();
    for options in [&["--rate", "500"][..], &[], &["--reuse", "new"], &["--pipeline", "4", "--rate", "500"], &["--protocol", "http2"]] {
        let mut command = loadtest(["run", &format!("http://{address}"), "--duration", "1s", "--timeout", "500ms", "--connections", "4"]);
        command.arg("--requests-from").arg(&request).arg("--json").arg(&json).args(options);
        let said = fail(&mut command);
        assert!(said.contains("Nothing was answered.") && said.contains("timeout"), "{said}");
        let total = record(&json).total;
        assert_eq!((total.answered, total.failed), (0, total.due));
        assert!(total.due > 0);
    }
}

#[test]
fn a_server_that_closes_answers_in_other_framings_and_fails_now_and_then_is_counted_right() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let address = serve(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 {
        0 => Some(ok("", &[0x30, 3, 0x0a, 1, 6])),
        1 => Some(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0\x03\r\n3\r\n\x0a\x01\x06\r\n0\r\n\r\n".to_vec()),
        2 => Some(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()),
        3 => None,
        _ => Some(b"SSH-2.0\r\n".to_vec()),
    });
    let directory = tempfile::tempdir().unwrap();
    let (request, json) = (directory.path().join("request.der"), directory.path().join("record.json"));
    std::fs::write(&request, [0x30, 0]).unwrap();
    let mut command = loadtest(["run", &format!("http://{address}"), "--requests", "100", "--connections", "1", "--check", "0"]);
    let said = fail(command.arg("--requests-from").arg(&request).arg("--json").arg(&json));
    assert!(said.contains("60 of 100 requests failed"), "{said}");
    let record = record(&json);
    assert_eq!((record.total.due, record.total.answered, record.total.failed), (100, 40, 60));
    assert_eq!(record.answers, [("unauthorized".to_owned(), 40)].into());
    let errors = [("closed", 20), ("http 503", 20), ("not http", 20)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(record.errors, errors.into());
}
