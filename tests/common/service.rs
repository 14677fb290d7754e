//! The built program as a child process that cannot outlive its guard.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PATIENCE, http, kakunin, until, wait};

/// A child process: killed when dropped.
pub struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Reads that until its end.
    reader: JoinHandle<()>,
    started: Instant,
}

impl Process {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Process {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (lines, stdout) = std::sync::mpsc::channel();
        let source = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || source.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut source, sink) = (child.stderr.take().unwrap(), stderr.clone());
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = source.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        Process { child, stdout, stderr, reader, started: Instant::now() }
    }

    /// The next line of standard output; `None` where there is none within `limit`, or none any more.
    pub fn line(&self, limit: Duration) -> Option<String> {
        self.stdout.recv_timeout(limit).ok()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Octets of memory that are resident now.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The most octets of memory that were resident at any time since [`Process::forget_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// Counts the peak from here on.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().strip_suffix(" kB")).unwrap();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Everything that it has written is there then.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = wait(&mut self.child, limit)?;
        self.read_all();
        Some(status)
    }

    /// Until the reader has seen the end; not for ever, as a child of it may hold the pipe open.
    fn read_all(&self) {
        let start = Instant::now();
        while !self.reader.is_finished() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `kill -9`. True where it was still running.
    pub fn kill(&mut self) -> bool {
        let running = self.is_running();
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_all();
        running
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.pid())]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends a signal and waits for the end, which must come within ten seconds.
    pub fn stop(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.wait(Duration::from_secs(10)).unwrap_or_else(|| panic!("still running 10 s after SIG{signal}:\n{}", self.stderr()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- standard error of process {}:\n{}", self.pid(), self.stderr());
        }
    }
}

/// A running service that said it is ready.
pub struct Service {
    pub process: Process,
    /// The URL of the responder, without a trailing slash.
    pub ocsp: String,
    /// The URL of the admin listener, without a trailing slash.
    pub admin: String,
    /// How many certificates of the demo there are, and how many of them are revoked; 0 for `serve`, which does not say.
    pub certificates: u64,
    pub revoked: u64,
    /// How long it took until it was ready.
    pub ready_after: Duration,
    /// What it printed before.
    pub printed: Vec<String>,
}

impl Service {
    /// `kakunin demo` in a directory, on free ports.
    pub fn demo(directory: &Path, arguments: &[&str]) -> Service {
        Service::start(&mut demo_command(directory, arguments))
    }

    /// `kakunin serve`, at the addresses of its configuration, until `/readyz` says that all is loaded and fresh, with no issuer of whom there is nothing.
    pub fn serve(command: &mut Command) -> Service {
        let service = Service::start(command);
        until(PATIENCE, "/readyz", || (http::get(&service.admin, "/readyz", &[]).text() == "ready\n").then_some(()));
        service
    }

    /// Starts a command that serves, and waits until it is ready.
    pub fn start(command: &mut Command) -> Service {
        Service::await_ready(Process::start(command), PATIENCE)
            .unwrap_or_else(|(why, process)| panic!("{command:?}: {why}:\n{}", process.stderr()))
    }

    /// Waits for the line that says so.
    pub fn await_ready(mut process: Process, limit: Duration) -> Result<Service, (String, Process)> {
        let mut printed = Vec::new();
        loop {
            let left = limit.saturating_sub(process.started.elapsed());
            match process.stdout.recv_timeout(left) {
                Ok(line) => match line.strip_prefix("ready ") {
                    Some(fields) => {
                        let (fields, ready_after) = (fields.to_owned(), process.started.elapsed());
                        return Ok(Service::ready(process, &fields, ready_after, printed));
                    }
                    None => printed.push(line),
                },
                Err(RecvTimeoutError::Timeout) => return Err((format!("not ready within {limit:?}"), process)),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = process.wait(Duration::from_secs(5));
                    return Err((format!("ended ({status:?}) before it was ready"), process));
                }
            }
        }
    }

    fn ready(process: Process, fields: &str, ready_after: Duration, printed: Vec<String>) -> Service {
        let value = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let url = |name: &str| {
            let url = value(name).unwrap_or_else(|| panic!("the ready line has no {name}: {fields}"));
            assert!(url.starts_with("http://127.0.0.1:"), "{name}={url}");
            url.trim_end_matches('/').to_owned()
        };
        let number = |name: &str| value(name).unwrap_or("0").parse().unwrap_or_else(|_| panic!("{fields}: {name} is no number"));
        let (certificates, revoked) = (number("certificates"), number("revoked"));
        Service { ocsp: url("ocsp"), admin: url("admin"), certificates, revoked, process, ready_after, printed }
    }

    /// The value of a metric, with its labels as they are written; fails where it is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = http::get(&self.admin, "/metrics", &[]).text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse().unwrap()
    }

    /// What it has written to standard error; fails where something panicked.
    pub fn stderr(&self) -> String {
        let stderr = self.process.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// SIGTERM: it must end within ten seconds with exit code 0, and without a panic.
    pub fn stop(mut self) {
        let status = self.process.stop("TERM");
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        self.stderr();
    }
}

/// `kakunin demo` in a directory, on free ports.
pub fn demo_command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = kakunin(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir"]);
    command.arg(directory).args(arguments);
    command
}
