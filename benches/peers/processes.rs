//! Child processes: started on one core, measured by the system's own account of their CPU time, and ended with the harness however it ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The core of the servers, and that of the load.
pub(crate) const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// Fields of /proc/PID/stat, counted from the state: parent, and ticks of CPU time.
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
/// How long a server may take to answer its first connection: cfssl verifies every response that it loads.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program that the harness needs, and the Debian package that has it.
pub(crate) fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut candidates = directories.map(|directory: PathBuf| directory.join(program));
    candidates.find(|candidate| candidate.is_file()).with_context(|| format!("{program} is missing: install the package {package}"))
}

/// Moves this thread to the core of the load.
pub(crate) fn pin_load() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "one core is available, wanted two: one for the server and one for the load");
    let pinned = Command::new("taskset").args(["-cp", LOAD_CORE, &std::process::id().to_string()]).stdout(Stdio::null()).status()?;
    ensure!(pinned.success(), "taskset cannot move the load to core {LOAD_CORE}");
    Ok(())
}

/// A port of 127.0.0.1 that nobody has just now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running child, with its own children. It is ended when this is dropped, and by the kernel when the harness dies.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Kept open for as long as the child may write to it.
    out: BufReader<ChildStdout>,
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Process {
    /// Starts a program on some cores. What it says on standard error goes to `log`.
    pub(crate) fn start(cores: &str, program: &Path, arguments: &[&str], log: &Path) -> Result<Process> {
        let errors = fs::File::create(log).with_context(|| format!("{}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "taskset", "-c", cores]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let out = child.stdout.take().context("standard output is a pipe")?;
        Ok(Process { child, out: BufReader::new(out) })
    }

    /// Waits until the child answers connections.
    pub(crate) fn wait_for(&mut self, address: SocketAddr, log: &Path) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server has ended ({status}): see {}", log.display());
            }
            ensure!(Instant::now() < end, "nobody answers at {address} after {PATIENCE:?}: see {}", log.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Reads what the child says until a line begins with `word`, and returns the rest of it.
    pub(crate) fn wait_for_line(&mut self, word: &str, log: &Path) -> Result<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
            line.clear();
        }
        bail!("a program has ended without being ready: see {}", log.display())
    }

    /// Its id: `setpriv` and `taskset` become the program.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far, with that of its children.
    pub(crate) fn cpu(&self, ticks_per_second: f64) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for (_, fields) in self.family()? {
            let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).context("/proc/PID/stat");
            cpu.user += ticks(UTIME)? / ticks_per_second;
            cpu.system += ticks(STIME)? / ticks_per_second;
        }
        Ok(cpu)
    }

    /// Itself and its children: the directory below /proc, and the fields of `stat` from the state on.
    fn family(&self) -> Result<Vec<(PathBuf, Vec<String>)>> {
        let mut family = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name, which may hold anything, ends with the last parenthesis.
            let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().map(str::to_owned);
            let fields: Vec<String> = fields.collect();
            if pid == self.id() || fields.get(PARENT).and_then(|parent| parent.parse().ok()) == Some(self.id()) {
                family.push((entry.path(), fields));
            }
        }
        Ok(family)
    }
}

/// How long the threads of a server, and the load, have been ready to run while something else had their core.
pub(crate) fn waited(server: &Process) -> Result<Duration> {
    let mut nanoseconds = 0;
    for process in server.family()?.into_iter().map(|(path, _)| path).chain([PathBuf::from("/proc/self")]) {
        for thread in fs::read_dir(process.join("task"))? {
            // Time on a core, time waiting for one, and how often.
            let Ok(schedule) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += schedule.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).context("/proc/PID/schedstat")?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

impl Drop for Process {
    fn drop(&mut self) {
        // TERM first: a master takes its workers with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clock ticks in a second: the unit of /proc/PID/stat.
pub(crate) fn ticks_per_second() -> Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
