//! What the system says of memory, disk and CPU time, and what it can be told: which core a thread runs on, which file to forget.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Left to everybody else, of memory and of disk.
const RESERVE: u64 = 1 << 30;

/// Memory of a process, in octets.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident: u64,
    /// At its most.
    pub(crate) peak: u64,
}

/// Memory of a process by its id, or of `self`.
pub(crate) fn memory_of(process: &str) -> Result<Memory> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |name: &str| kib(&text, name).with_context(|| format!("{path}: no {name}"));
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Fails unless so many octets of memory are free.
pub(crate) fn require_memory(needed: u64) -> Result<()> {
    let free = kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:").context("/proc/meminfo: no MemAvailable")?;
    ensure!(
        free >= needed + RESERVE,
        "{:.1} GB of memory are free, wanted {:.1} GB: give fewer --certificates (or --largest), or end something",
        free as f64 / 1e9,
        (needed + RESERVE) as f64 / 1e9
    );
    Ok(())
}

/// Fails unless so many octets are free where `directory` is.
pub(crate) fn require_disk(directory: &Path, needed: u64) -> Result<()> {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(directory).output().context("df")?;
    let free = String::from_utf8(output.stdout)?.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok()).context("df")?;
    ensure!(
        free >= needed + RESERVE,
        "{:.1} GB of disk are free in {}, wanted {:.1} GB: give another --directory, or fewer --certificates (or --largest)",
        free as f64 / 1e9,
        directory.display(),
        (needed + RESERVE) as f64 / 1e9
    );
    Ok(())
}

/// Moves the calling thread to a core. Threads that it starts begin there too.
pub(crate) fn pin(core: &str) -> Result<()> {
    let thread = this_thread()?;
    let pinned = Command::new("taskset").args(["-cp", core, &thread]).stdout(Stdio::null()).status()?;
    ensure!(pinned.success(), "taskset cannot move a thread to core {core}: two cores are wanted");
    Ok(())
}

/// The id of the calling thread.
pub(crate) fn this_thread() -> Result<String> {
    let link = fs::read_link("/proc/thread-self")?;
    Ok(link.file_name().context("/proc/thread-self")?.to_string_lossy().into_owned())
}

/// The id of this process's thread of that name.
pub(crate) fn thread_named(name: &str) -> Result<String> {
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("no thread is named {name}")
}

/// CPU time of one of this process's threads, so far.
pub(crate) fn cpu_of(thread: &str) -> Result<Duration> {
    nanoseconds(Path::new("/proc/self/task").join(thread))
}

fn nanoseconds(task: PathBuf) -> Result<Duration> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse().context("schedstat")?))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}
