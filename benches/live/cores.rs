//! Who runs where: the first core asks, as many others as there are signing threads sign.

use anyhow::{Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of each.
pub(crate) struct Cores {
    ask: CpuSet,
    sign: CpuSet,
}

impl Cores {
    /// Of those that this process may use.
    pub(crate) fn of_this_process(signing_threads: usize) -> Result<Cores> {
        let all = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let found = cores.len();
        ensure!(found > signing_threads, "{found} cores for {signing_threads} signing threads and one that asks: wanted one for each");
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().for_each(|core| set.set(*core));
            set
        };
        Ok(Cores { ask: set(&cores[..1]), sign: set(&cores[1..=signing_threads]) })
    }

    /// From now on this thread, and those that it starts, run where is signed.
    pub(crate) fn sign(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.sign)?)
    }

    /// The same where is asked.
    pub(crate) fn ask(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.ask)?)
    }
}
