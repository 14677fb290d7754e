//! A headless Chromium that opens pages from files. It gets a new profile each time, and is killed when it takes too long.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Generous, since test machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);
/// A browser that says nothing at all for so long has got stuck before it opened the page, which happens: another one is started.
const ATTEMPTS: usize = 4;
/// One at a time: each of them is many processes.
static BROWSER: Mutex<()> = Mutex::new(());

/// What a browser made of a page.
pub struct Rendered {
    /// The page's elements after its scripts have run, as HTML.
    pub dom: String,
    /// What was reported on the console: errors of scripts, and what the page's policy forbade.
    pub console: Vec<String>,
}

/// Opens a page and gives its elements.
pub fn render(page: &str) -> Rendered {
    let output = open(page, &["--dump-dom".to_owned()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Rendered {
        dom: String::from_utf8(output.stdout).unwrap(),
        console: stderr.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
    }
}

/// Opens a page in a window of this size, and writes what it looks like as PNG.
pub fn screenshot(page: &str, (width, height): (u32, u32), dark: bool, png: &Path) {
    fs::create_dir_all(png.parent().unwrap()).unwrap();
    let _ = fs::remove_file(png);
    let mut arguments =
        vec!["--hide-scrollbars".to_owned(), format!("--window-size={width},{height}"), format!("--screenshot={}", png.display())];
    arguments.extend(dark.then(|| "--blink-settings=preferredColorScheme=0".to_owned()));
    let output = open(page, &arguments);
    let octets = fs::read(png).unwrap_or_else(|e| panic!("{}: {e}: {}", png.display(), String::from_utf8_lossy(&output.stderr)));
    assert!(octets.starts_with(b"\x89PNG"));
}

/// Where tests leave what people want to look at.
pub fn artefact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-artefacts").join(name)
}

fn open(page: &str, more: &[String]) -> Output {
    let _alone = BROWSER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let attempt = |_| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("page.html");
        fs::write(&file, page).unwrap();
        let mut command = Command::new("chromium");
        command.args(arguments(directory.path())).args(more).arg(format!("file://{}", file.display()));
        run(&mut command, directory.path())
    };
    let output = (0..ATTEMPTS).find_map(attempt).unwrap_or_else(|| panic!("chromium got stuck {ATTEMPTS} times"));
    assert!(output.status.success(), "chromium: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output
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

/// Runs it to its end; nothing where it gets stuck. Its output goes to files: a pipe that its many processes keep open would never end.
fn run(command: &mut Command, directory: &Path) -> Option<Output> {
    let (out, err) = (directory.join("out"), directory.join("err"));
    let (stdout, stderr) = (fs::File::create(&out).unwrap(), fs::File::create(&err).unwrap());
    let spawned = command.env("HOME", directory).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let mut child = Guard(spawned.unwrap_or_else(|e| panic!("chromium: {e}: run tests/run, it installs what the tests need")));
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.0.try_wait().unwrap() {
            return Some(Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
