//! `report` and `compare` as a person runs them.

#![allow(clippy::unwrap_used)]

#[path = "common/browser.rs"]
mod browser;
#[path = "common/records.rs"]
mod records;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kakunin_loadtest::record::Record;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kakunin-loadtest")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn write(directory: &Path, name: &str, record: &Record) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, serde_json::to_vec(record).unwrap()).unwrap();
    path
}

#[test]
fn a_report_is_written_from_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let record = write(directory.path(), "run.json", &records::troubled());
    let html = directory.path().join("run.html");
    let (code, out, said) = run(&["report", record.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    assert_eq!((code, out.as_str(), said.as_str()), (Some(0), "", ""));
    assert_eq!(fs::read_to_string(html).unwrap(), kakunin_loadtest::report::html(&records::troubled()));
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn two_runs_are_compared_on_the_terminal_and_in_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] =
        [("a.json", records::sample(60)), ("b.json", records::troubled())].map(|(name, record)| write(directory.path(), name, &record));
    let html = directory.path().join("both.html");
    let (code, text, _) = run(&["compare", a.to_str().unwrap(), b.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    assert_eq!(code, Some(0), "a worse run is no failure of the comparison");
    let row = text.lines().find(|line| line.starts_with("failed ")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.ends_with("worse") && text.contains("warning: run B failed: 2 of 900 checked answers are wrong."), "{text}");
    let page = fs::read_to_string(html).unwrap();
    let rendered = browser::render(&page);
    assert!(rendered.console.is_empty(), "{:?}", rendered.console);
    assert_eq!(rendered.dom.matches("<path class=\"line c1\"").count(), 5);
    assert_eq!(rendered.dom.matches("<path class=\"line c2 dashed\"").count(), 5);
    browser::screenshot(&page, (1200, 3300), false, &browser::artefact("compare.png"));
}

#[test]
fn what_is_no_record_is_refused_with_file_and_field() {
    let directory = tempfile::tempdir().unwrap();
    let good = write(directory.path(), "good.json", &records::sample(3));
    let mut newer = serde_json::to_value(records::sample(3)).unwrap();
    newer["version"] = 7.into();
    for (name, content, wanted) in [
        ("newer.json", newer.to_string(), "newer.json: version: found 7, wanted 1"),
        ("empty.json", String::new(), "empty.json: .: EOF while parsing"),
        ("cut.json", fs::read_to_string(&good).unwrap()[..500].to_owned(), "cut.json: "),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        for arguments in [
            vec!["compare", good.to_str().unwrap(), path.to_str().unwrap()],
            vec!["report", path.to_str().unwrap(), "--html", "/nonexistent/never.html"],
        ] {
            let (code, out, said) = run(&arguments);
            assert!(code == Some(1) && out.is_empty() && said.contains(wanted), "{arguments:?}: {said}");
        }
    }
    let (code, _, said) = run(&["report", good.to_str().unwrap(), "--html", "/nonexistent/report.html"]);
    assert!(code == Some(1) && said.contains("--html: /nonexistent/report.html: No such file"), "{said}");
}
