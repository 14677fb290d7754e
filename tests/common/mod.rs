//! What the end-to-end tests share: the built program as a child process, other people's tools, HTTP, OCSP and CRLs.
//!
//! Every wait is bounded, every child process ends with its guard, every file is below a temporary directory.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

pub mod http;
pub mod kills;
pub mod ocsp;
pub mod openssl_ca;
pub mod peers;
pub mod random;
mod service;
mod world;

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use service::{Process, Service, demo_command};
pub use world::World;

/// The longest time that anything may take: generous, since test machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the built program.
pub fn kakunin<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kakunin"));
    command.args(arguments);
    command
}

/// A subcommand with `--config`.
pub fn with_config(subcommand: &str, config: &Path, arguments: &[&str]) -> Command {
    let mut command = kakunin([subcommand, "--config"]);
    command.arg(config).args(arguments);
    command
}

/// Of whoever runs the tests.
pub fn user_id() -> String {
    succeed(Command::new("id").arg("-u")).trim().to_owned()
}

/// Another program. A test that needs one that is not there fails.
pub fn tool(name: &str) -> Command {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(name).is_file()));
    assert!(found, "{name} is missing: run tests/run, it installs what the tests need");
    Command::new(name)
}

/// Runs a command to its end, within [`PATIENCE`].
pub fn run(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|e| {
        panic!("{command:?}: {e}");
    });
    let (stdout, stderr) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let Some(status) = wait(&mut child, PATIENCE) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?}: still at work after {PATIENCE:?}");
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut content = Vec::new();
        let _ = stream.read_to_end(&mut content);
        content
    })
}

/// Waits for the end of a process; `None` where it has not come within `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            None if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            ended => return ended,
        }
    }
}

/// Both outputs of a command as text.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Standard output of a command that must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both outputs of a command that must succeed: some tools print their verdict on standard error.
pub fn succeed_with_all(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    text(&output)
}

/// The message of a command that must fail, without a panic and without anything on standard output.
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0 && code != 101), "{command:?}: {}\n{}", output.status, text(&output));
    assert!(!message.contains("panicked"), "{command:?}: {message}");
    message
}

/// Asks again and again until there is an answer; fails when there is none within `limit`.
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A certificate of `kakunin list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub serial: String,
    pub revoked_at: Option<String>,
    pub reason: Option<String>,
    pub partition: Option<u64>,
}

impl Listed {
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }
}

/// All certificates of an issuer, as `kakunin list` shows them.
pub fn list(config: &Path, issuer: &str) -> Vec<Listed> {
    succeed(&mut with_config("list", config, &["--issuer", issuer])).lines().map(listed).collect()
}

fn listed(line: &str) -> Listed {
    let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let field = |name: &str| json[name].as_str().map(str::to_owned);
    let serial = field("serial").unwrap_or_else(|| panic!("{line}: no serial"));
    assert!(serial.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{line}");
    assert!(json["not_after"].is_string(), "{line}");
    let listed = Listed { serial, revoked_at: field("revoked_at"), reason: field("reason"), partition: json["partition"].as_u64() };
    let status = if listed.is_revoked() { "revoked" } else { "good" };
    assert_eq!(json["status"], status, "{line}");
    assert_eq!(listed.is_revoked(), listed.reason.is_some(), "{line}");
    listed
}

/// `kakunin status --json`.
pub fn status(config: &Path) -> serde_json::Value {
    serde_json::from_str(&succeed(&mut with_config("status", config, &["--json"]))).unwrap()
}

/// The CRL numbers of every issuer and scope.
pub fn crl_numbers(config: &Path) -> std::collections::BTreeMap<(String, String), u64> {
    let status = status(config);
    let mut numbers = std::collections::BTreeMap::new();
    for issuer in status["issuers"].as_array().unwrap() {
        for crl in issuer["crls"].as_array().unwrap() {
            let scope = (issuer["name"].as_str().unwrap().to_owned(), crl["scope"].as_str().unwrap().to_owned());
            numbers.insert(scope, crl["number"].as_u64().unwrap());
        }
    }
    numbers
}

/// Good and revoked certificates of an issuer, as `kakunin status --json` counts them.
pub fn counts(config: &Path, issuer: &str) -> (u64, u64) {
    let status = status(config);
    let issuer = status["issuers"].as_array().unwrap().iter().find(|i| i["name"] == issuer).cloned().unwrap();
    (issuer["certificates"]["good"].as_u64().unwrap(), issuer["certificates"]["revoked"].as_u64().unwrap())
}
