//! The live view on a real pseudo-terminal, which `script` of util-linux makes, and a terminal's emulator reads: what a person sees while a run lasts, and what
//! is left behind.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::server::{ok, serve};
use common::{Guard, PATIENCE, loadtest, run, tool};

/// Rows and columns: less than people have.
const SIZE: (u16, u16) = (24, 60);
const CTRL_C: &[u8] = &[3];

/// A run against a server that answers at once.
fn load(directory: &std::path::Path, duration: &str) -> Command {
    let request = directory.join("request.der");
    std::fs::write(&request, [0x30, 0]).unwrap();
    let mut command = loadtest(["run", &format!("http://{}", serve(|_| Some(ok("", &[0x30, 3, 0x0a, 1, 6]))))]);
    command.args(["--mix", "post=1", "--check", "0", "--rate", "50", "--title", "seen", "--duration", duration]);
    command.arg("--requests-from").arg(request);
    command
}

/// Every picture that a person may have seen, the last one being what is left; and the exit code.
struct Seen {
    pictures: Vec<String>,
    last: vt100::Parser,
    code: Option<i32>,
}

/// Runs a command on a terminal. `press` gets what stands there, and says what the person presses.
fn watch(command: &Command, press: impl Fn(&str) -> Option<&'static [u8]>) -> Seen {
    let words = [command.get_program()].into_iter().chain(command.get_args()).map(|word| format!("'{}'", word.to_str().unwrap()));
    let line = format!("stty rows {} cols {}; exec {}", SIZE.0, SIZE.1, words.collect::<Vec<_>>().join(" "));
    let mut script = tool("script");
    script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
    let mut terminal = Guard(script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let (mut keys, mut screen) = (terminal.0.stdin.take().unwrap(), terminal.0.stdout.take().unwrap());
    let (mut last, mut pictures, mut buffer) = (vt100::Parser::new(SIZE.0, SIZE.1, 0), Vec::new(), [0; 4096]);
    let (mut pressed, end) = (false, Instant::now() + PATIENCE);
    loop {
        assert!(Instant::now() < end, "{pictures:?}");
        let length = screen.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            break;
        }
        last.process(&buffer[..length]);
        let picture = last.screen().contents();
        if let Some(octets) = press(&picture).filter(|_| !pressed) {
            keys.write_all(octets).unwrap();
            pressed = true;
        }
        pictures.push(picture);
    }
    let code = loop {
        match terminal.0.try_wait().unwrap() {
            Some(status) => break status.code(),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    Seen { pictures, last, code }
}

impl Seen {
    /// Nothing of the bar is left, and the terminal is as it was.
    fn left_clean(&self) -> String {
        let (screen, left) = (self.last.screen(), self.last.screen().contents());
        assert!(!left.contains(['█', '░']) && !left.contains("answered 5"), "{left}");
        assert!(!screen.hide_cursor() && screen.cursor_position().1 == 0 && !screen.alternate_screen(), "{left}");
        left
    }
}

/// Whether it is what a person should see: three lines, the bar, what is going on, how long it takes; none of them torn.
fn is_live(picture: &str) -> bool {
    let lines: Vec<&str> = picture.lines().filter(|line| !line.trim().is_empty()).collect();
    let [bar, load, latency] = lines[..] else { return false };
    bar.contains('█')
        && bar.contains('░')
        && bar.ends_with(" s")
        && load.starts_with("answered ")
        && load.ends_with("errors 0")
        && latency.starts_with("p50 ")
        && ["  p99 ", "  p99.9 ", "  max "].iter().all(|name| latency.contains(name))
}

#[test]
fn a_person_sees_a_bar_with_figures_and_then_the_summary_alone() {
    let directory = tempfile::tempdir().unwrap();
    let seen = watch(&load(directory.path(), "4s"), |_| None);
    assert!(seen.pictures.iter().any(|picture| picture.contains("starting")), "{:?}", seen.pictures);
    let live: Vec<&String> = seen.pictures.iter().filter(|picture| is_live(picture)).collect();
    for second in ["1/4 s", "3/4 s"] {
        assert!(live.iter().any(|picture| picture.contains(second)), "{second}: {:?}", seen.pictures);
    }
    // What is drawn over the same lines is never seen twice.
    assert!(seen.pictures.iter().all(|picture| picture.matches("p99.9").count() <= 2), "{:?}", seen.pictures);
    let left = seen.left_clean();
    assert!(left.starts_with("seen\n") && left.contains("answered   200 of 200 due"), "{left}");
    assert_eq!(seen.code, Some(0));
}

#[test]
fn ctrl_c_ends_a_run_early_and_what_was_measured_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = load(directory.path(), "1h");
    let json = directory.path().join("record.json");
    command.arg("--json").arg(&json);
    let seen = watch(&command, |picture| is_live_at_all(picture).then_some(CTRL_C));
    let left = seen.left_clean();
    assert!(left.contains("\nanswered ") && left.contains("Ended early, by a signal."), "{left}");
    assert_eq!(seen.code, Some(1));
    let record = common::record(&json);
    assert!(record.total.answered > 0 && record.seconds < 300.0, "{record:?}");
    assert_eq!(record.failures, ["Ended early, by a signal."]);
}

/// An hour's bar is still empty.
fn is_live_at_all(picture: &str) -> bool {
    picture.contains("/3600 s") && picture.contains("  p99.9 ")
}

#[test]
fn elsewhere_than_on_a_terminal_there_is_no_bar() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&mut load(directory.path(), "1s"));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(load(directory.path(), "2s").args(["--progress", "plain"]));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("   1 s  answered ") && told.contains("\n   2 s  answered ") && !told.contains('\u{1b}'), "{told}");
}
