//! What the tests of the built program share: running it, a demo of the validation authority, and servers that misbehave on purpose.
//!
//! Every wait is bounded, every child process ends with its guard, every file is below a temporary directory.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod crl_liar;
pub mod demo;
pub mod kakunin;
pub mod liar;
pub mod server;

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kakunin_loadtest::record::Record;

/// The longest time that anything may take: generous, since test machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A command of the built program.
pub fn loadtest<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kakunin-loadtest"));
    command.args(arguments);
    command
}

/// Another program. A test that needs one that is not there fails.
pub fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory: std::path::PathBuf| directory.join(name).is_file());
    assert!(found, "{name} is missing: run tests/run, it installs what the tests need");
    Command::new(name)
}

/// Runs a command to its end, within [`PATIENCE`].
pub fn run(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let drain = |mut stream: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut content = Vec::new();
            let _ = stream.read_to_end(&mut content);
            content
        })
    };
    let (stdout, stderr) = (drain(Box::new(child.stdout.take().unwrap())), drain(Box::new(child.stderr.take().unwrap())));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                panic!("{command:?}: still at work after {PATIENCE:?}");
            }
        }
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Standard output of a command that must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both outputs of a command that must fail, without a panic.
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    let said = text(&output);
    assert!(output.status.code().is_some_and(|code| code != 0 && code != 101), "{command:?}: {}\n{said}", output.status);
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    said
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The record that a run has written.
pub fn record(path: &Path) -> Record {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The least percentile that is at or above this one, in microseconds.
pub fn at(latency: &kakunin_loadtest::record::Latency, percentile: f64) -> u64 {
    latency.percentiles.iter().find(|(known, _)| *known >= percentile).unwrap().1
}

/// A child process: killed when dropped.
#[derive(Debug)]
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of 127.0.0.1 that nobody has just now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
