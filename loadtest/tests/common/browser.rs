//! A headless Chromium that opens pages from files. It gets a new profile each time, and is killed when it takes too long.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Generous, since test machines are shared.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a browser made of a page.
pub struct Rendered {
    /// The page's elements after its scripts have run, as HTML.
    pub dom: String,
    /// What was reported on the console: errors of scripts, and what the page's policy forbade.
    pub console: Vec<String>,
}

/// Opens a page and gives its elements.
pub fn render(page: &str) -> Rendered {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), page);
    let output = run(Command::new("chromium").args(arguments(directory.path())).arg("--dump-dom").arg(url(&file)));
    let stderr = String::from_utf8_lossy(&output.stderr);
    Rendered {
        dom: String::from_utf8(output.stdout).unwrap(),
        console: stderr.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
    }
}

/// Opens a page in a window of this size, and writes what it looks like as PNG.
pub fn screenshot(page: &str, (width, height): (u32, u32), dark: bool, png: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), page);
    fs::create_dir_all(png.parent().unwrap()).unwrap();
    let _ = fs::remove_file(png);
    let mut command = Command::new("chromium");
    command.args(arguments(directory.path())).arg("--hide-scrollbars").arg(format!("--window-size={width},{height}"));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    let output = run(command.arg(format!("--screenshot={}", png.display())).arg(url(&file)));
    let octets = fs::read(png).unwrap_or_else(|e| panic!("{}: {e}: {}", png.display(), String::from_utf8_lossy(&output.stderr)));
    assert!(octets.starts_with(b"\x89PNG"));
}

/// Where tests leave what people want to look at.
pub fn artefact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-artefacts").join(name)
}

fn write(directory: &Path, page: &str) -> PathBuf {
    let file = directory.join("page.html");
    fs::write(&file, page).unwrap();
    file
}

fn url(file: &Path) -> String {
    format!("file://{}", file.display())
}

fn arguments(directory: &Path) -> Vec<String> {
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        "--v=0",
    ];
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    fixed.iter().map(|argument| (*argument).to_owned()).chain([profile]).collect()
}

/// Runs it to its end. Its output goes to files: a pipe that its many processes keep open would never end.
fn run(command: &mut Command) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let (stdout, stderr) = (fs::File::create(&out).unwrap(), fs::File::create(&err).unwrap());
    let spawned = command.env("HOME", directory.path()).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let mut child = Guard(spawned.unwrap_or_else(|e| panic!("chromium: {e}: run tests/run, it installs what the tests need")));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "chromium is still at work: {}", String::from_utf8_lossy(&fs::read(&err).unwrap()));
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() };
    assert!(status.success(), "chromium: {status}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
