//! What processes use: CPU time and memory, by the system's own account in `/proc`.

use std::fs;
use std::io;

use crate::record::Process;

/// Fields of `/proc/PID/stat`, counted from the state.
const UTIME: usize = 11;
const STIME: usize = 12;
/// Children that are looked for at most, so that a fork bomb does not hold the load up.
const MAX_CHILDREN: usize = 256;

/// A process that is watched, with its children.
#[derive(Clone, Debug)]
pub struct Watch {
    id: u32,
    ticks_per_second: f64,
    first: Process,
    last: Process,
    resident: u64,
}

impl Watch {
    /// Begins to watch the process with that id.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn new(id: u32) -> io::Result<Watch> {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let first = usage(id, ticks_per_second)?;
        Ok(Watch { id, ticks_per_second, first, last: first, resident: first.resident })
    }

    /// Looks again. Returns the seconds of CPU time since the last look; `None` where the process has ended.
    pub fn look(&mut self) -> Option<f64> {
        let now = usage(self.id, self.ticks_per_second).ok()?;
        let since = cpu_seconds(&now) - cpu_seconds(&self.last);
        self.last = now;
        self.resident = self.resident.max(now.resident);
        // A child that has ended takes its account along.
        Some(since.max(0.0))
    }

    /// What it has used since it is watched.
    pub fn total(&self) -> Process {
        Process {
            user_seconds: (self.last.user_seconds - self.first.user_seconds).max(0.0),
            system_seconds: (self.last.system_seconds - self.first.system_seconds).max(0.0),
            resident: self.resident,
        }
    }
}

fn cpu_seconds(process: &Process) -> f64 {
    process.user_seconds + process.system_seconds
}

/// A process and its children.
fn usage(id: u32, ticks_per_second: f64) -> io::Result<Process> {
    let mut sum = one(id, ticks_per_second)?;
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|id| id.parse().ok()).take(MAX_CHILDREN) {
        let Ok(child) = one(child, ticks_per_second) else { continue };
        sum.user_seconds += child.user_seconds;
        sum.system_seconds += child.system_seconds;
        sum.resident += child.resident;
    }
    Ok(sum)
}

fn one(id: u32, ticks_per_second: f64) -> io::Result<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    parse(&stat, &status, ticks_per_second).ok_or_else(|| io::Error::other(format!("/proc/{id}: not as expected")))
}

fn parse(stat: &str, status: &str, ticks_per_second: f64) -> Option<Process> {
    // The name, which may hold anything, ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |index: usize| Some(fields.get(index)?.parse::<f64>().ok()? / ticks_per_second);
    // A process that has ended and is not waited for has none.
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Some(Process { user_seconds: seconds(UTIME)?, system_seconds: seconds(STIME)?, resident: resident.unwrap_or(0) << 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_whatever_the_name_is() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let process = parse(stat, "Name:\tx\nVmRSS:\t   12 kB\n", 100.0).unwrap();
        assert_eq!(process, Process { user_seconds: 2.5, system_seconds: 0.5, resident: 12 << 10 });
        assert_eq!(parse("", "", 100.0), None);
    }

    #[test]
    fn this_process_is_seen_to_work() {
        let mut watch = Watch::new(std::process::id()).unwrap();
        let mut used = 0.0;
        while used < 0.02 {
            std::hint::black_box((0..100_000_u64).map(std::hint::black_box).sum::<u64>());
            used += watch.look().unwrap();
        }
        assert!(watch.total().resident > 0 && cpu_seconds(&watch.total()) > 0.015);
        assert!(Watch::new(u32::MAX).is_err());
    }
}
