//! The load tester against the validation authority of this workspace: every kind of request, the search, and every scenario in its small form.

#![allow(clippy::unwrap_used)]

mod common;

use common::demo::Demo;
use common::{fail, record, succeed};
use kakunin_loadtest::record::Record;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// Everything that was due was answered, and what was checked is right.
fn all_is_well(record: &Record) {
    let total = &record.total;
    assert!(total.due > 0 && total.answered == total.due && total.failed == 0, "{:?}", record.errors);
    assert!(record.truth.checked > 0 && record.truth.wrong == 0, "{:?}", record.truth);
    assert_eq!(record.answers.values().sum::<u64>(), total.answered);
    assert_eq!(record.timeline.iter().map(|second| second.answered).sum::<u64>(), total.answered);
}

fn load(demo: &Demo, options: &[&str]) -> Record {
    let (mut command, json) = demo.load(&["run"], options);
    succeed(&mut command);
    record(&json)
}

#[test]
fn every_kind_of_request_is_answered_and_every_answer_is_right() {
    let demo = Demo::new(200);
    let all = ["--check", "all", "--requests", "2000", "--connections", "8"];
    let with = |options: &[&str]| load(&demo, &[&all[..], options].concat());

    let record = with(&["--mix", "get=1,post=1", "--hash", "both", "--popularity", "replay"]);
    all_is_well(&record);
    assert_eq!((record.truth.checked, record.kinds.len()), (2000, 2));
    assert_eq!(record.answers, [("good".to_owned(), 1800), ("revoked".to_owned(), 200)].into());

    let record = with(&["--ask", "good=1,revoked=1,unknown=1,malformed=1", "--mix", "get=1,post=1", "--pipeline", "8"]);
    all_is_well(&record);
    assert_eq!(record.load.protocol, "http/1.1 pipelined 8");
    for said in ["good", "revoked", "unauthorized", "malformedRequest"] {
        assert!(record.answers[said] > 300, "{:?}", record.answers);
    }

    let record = with(&["--reuse", "new", "--rate", "2000", "--arrivals", "poisson"]);
    all_is_well(&record);

    let record = with(&["--protocol", "http2", "--mix", "get=1,post=1", "--rate", "2000"]);
    all_is_well(&record);
    assert_eq!(record.load.protocol, "h2, 16 at once");

    let crls = ["--crl", "/crl/issuing.crl", "--crl", "/crl/issuing/0.crl", "--mix", "crl=1,crl-conditional=1,crl-range=1"];
    let record = with(&crls);
    all_is_well(&record);
    for said in ["crl", "304", "206"] {
        assert!(record.answers[said] > 500, "{:?}", record.answers);
    }
}

#[test]
fn the_processes_are_measured_and_a_wrong_list_fails_the_run() {
    let demo = Demo::new(100);
    let record = load(&demo, &["--duration", "2s", "--threads", "2", "--server-pid", &demo.pid().to_string()]);
    all_is_well(&record);
    assert!(record.server.unwrap().resident > 1 << 20 && record.generator.resident > 1 << 20);
    assert!(record.timeline[0].server_cpu_percent.is_some());

    // The list says revoked of what is good, and the other way round.
    let list = std::fs::read_to_string(demo.path("list.jsonl")).unwrap();
    let swapped = list.replace("\"status\":\"good\"", "\"status\":\"x\"").replace("\"status\":\"revoked\"", "\"status\":\"good\"");
    std::fs::write(demo.path("list.jsonl"), swapped.replace("\"status\":\"x\"", "\"status\":\"revoked\"")).unwrap();
    let said = fail(&mut demo.load(&["run"], &["--requests", "100", "--check", "all"]).0);
    assert!(said.contains("wrong: status: found good, wanted revoked") && said.contains("100 of 100 checked answers are wrong."), "{said}");
}

#[test]
fn the_highest_rate_is_searched_and_every_step_told() {
    let demo = Demo::new(100);
    // Generous, so that a busy machine meets it at the lowest rates at least.
    let options = ["--find-max", "p50<2s,errors<50%", "--rate", "50", "--duration", "300ms", "--timeout", "1s", "--connections", "4"];
    let search = load(&demo, &options).search.unwrap();
    assert_eq!(search.objective, "p50<2s,errors<50%");
    let highest = search.highest.unwrap();
    assert!(search.steps.iter().any(|step| step.met && step.rate == highest), "{search:?}");
    assert!(search.steps.iter().all(|step| step.rate <= highest || !step.met), "{search:?}");
    assert!((3..=24).contains(&search.steps.len()), "{search:?}");
    let (mut command, json) = demo.load(&["run"], &["--find-max", "max<1ns", "--rate", "4", "--duration", "300ms"]);
    assert!(fail(&mut command).contains("No rate met max<1ns."));
    assert_eq!(record(&json).search.unwrap().highest, None);
}

#[test]
fn every_scenario_runs_in_its_small_form() {
    let demo = Demo::new(500);
    for (name, options) in [
        ("steady-day", &[][..]),
        ("cold-cdn", &[]),
        ("random-serials", &[]),
        ("slow-clients", &[]),
        ("stapling-at-dawn", &[]),
        ("crl-hour", &["--crl", "/crl/issuing.crl", "--crl", "/crl/issuing/0.crl"]),
    ] {
        let (mut command, json) = demo.load(&["scenario", &format!("{SCENARIOS}/{name}.toml"), "--small"], options);
        succeed(command.args(["--duration", "3s", "--timeout", "2m"]));
        all_is_well(&record(&json));
    }
}

#[test]
fn an_incident_ends_when_every_answer_says_revoked() {
    let demo = Demo::new(2000);
    let (mut command, json) = demo.load(&["scenario", &format!("{SCENARIOS}/incident.toml"), "--small"], &[]);
    succeed(command.args(["--duration", "5m", "--timeout", "2m", "--revoke-command", &demo.revoke_all()]));
    let record = record(&json);
    all_is_well(&record);
    let said: Vec<&str> = record.marks.iter().map(|mark| mark.what.as_str()).collect();
    assert!(said[0] == "revoke command started" && said[1].starts_with("revoke command returned after "), "{said:?}");
    assert!(said[2].starts_with("all answers for 2000 certificates revoked: "), "{said:?}");
    assert!(record.timeline[0].answers.contains_key("good"), "{:?}", record.timeline[0]);
    let last = record.timeline.last().unwrap();
    assert!(last.answers.keys().all(|said| said == "revoked"), "{last:?}");
    // It ends by itself, long before its time.
    assert!(record.timeline.len() < 200, "{}", record.timeline.len());

    let said = fail(&mut demo.load(&["scenario", &format!("{SCENARIOS}/incident.toml"), "--small"], &[]).0);
    assert!(said.contains("wanted --revoke-command"), "{said}");
    let (mut command, json) = demo.load(&["scenario", &format!("{SCENARIOS}/incident.toml"), "--small"], &["--revoke-command", "exit 7"]);
    assert!(fail(&mut command).contains("'exit 7' has failed"));
    // What was measured until then is not lost.
    let record = self::record(&json);
    assert!(record.total.answered > 0 && record.failures[0].contains("'exit 7' has failed"), "{record:?}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let demo = Demo::new(100);
    for (options, message) in [
        (&["--rate", "0"][..], "found '0'"),
        (&["--mix", "put=1"], "found 'put=1'"),
        (&["--mix", "crl=1"], "--mix: found crl, wanted --crl"),
        (&["--crl", "/none.crl"], "/none.crl: found status 404, wanted 200"),
        (&["--find-max", "fast"], "found 'fast'"),
        (&["--reuse", "new", "--pipeline", "2"], "reuse: found new"),
        (&["--server-pid", "4294967295"], "--server-pid: no process 4294967295"),
        (&["--popularity", "zipf:9"], "found 'zipf:9'"),
        (&["--html", "/nonexistent/report.html"], "--html: /nonexistent/report.html: No such file"),
        (&["--html", "/"], "--html: /: is a directory"),
    ] {
        let said = fail(&mut demo.load(&["run"], options).0);
        assert!(said.contains(message), "{options:?}: {said}");
    }
    std::fs::write(demo.path("list.jsonl"), "01\nxyz\n").unwrap();
    assert!(fail(&mut demo.load(&["run"], &[]).0).contains("list.jsonl: line 2: serial: found 'xyz'"));
    let port = common::free_port();
    std::fs::write(demo.path("list.jsonl"), "01\n").unwrap();
    let mut command = common::loadtest(["run", &format!("http://127.0.0.1:{port}"), "--issuer"]);
    command.arg(demo.path("issuing.pem")).arg("--serials").arg(demo.path("list.jsonl"));
    assert!(fail(&mut command).contains(&format!("connecting to 127.0.0.1:{port}")));
}
