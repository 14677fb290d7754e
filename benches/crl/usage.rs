//! Time and CPU time of a child process, as the system accounts for it.

use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// What a child process took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// Seconds of CPU time, user and system, with its children's.
    pub(crate) cpu: f64,
}

/// Runs a command to its end. It must succeed.
pub(crate) fn run(command: &mut Command) -> Result<(Usage, Output)> {
    let (before, start) = (cpu_of_children()?, Instant::now());
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let wall = start.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok((Usage { wall, cpu: cpu_of_children()? - before }, output))
}

/// CPU seconds of all children that have ended.
fn cpu_of_children() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, which may hold anything, ends with the last parenthesis; cutime and cstime are the 14th and 15th field behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).context("/proc/self/stat");
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    let ticks_per_second: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((ticks(13)? + ticks(14)?) / ticks_per_second)
}

/// The greatest resident memory of this process so far, in bytes.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/self/status has no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
