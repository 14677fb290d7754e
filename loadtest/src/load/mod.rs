//! The load: threads that send requests and count answers, and one that gathers what they have seen, second by second.

mod answer;
mod arrivals;
mod connection;
mod http1;
mod lane;
mod reader;
mod supply;
mod tally;
mod timer;
pub mod tls;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};

pub use answer::Said;
pub use reader::{MAX_BODY_BYTES, NotHttp, Reader, Reply};
pub use tally::{Failure, KindTally, SecondTally, Times, Totals};

use crate::endpoint::Endpoint;
use crate::process::Watch;
use crate::record::{Process, Second};
use crate::shape::{Protocol, Settings};
use crate::targets::Targets;
use crate::truth::Samples;
use tally::Tally;

/// How often time-outs are looked for and seconds handed on, and the longest wait.
const TICK: Duration = Duration::from_millis(20);

/// Nanoseconds since the start of a load.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// It starts now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// A load that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// What is asked.
    pub targets: &'a Targets,
    /// How.
    pub settings: &'a Settings,
    /// Set by somebody who wants it to end early: nothing more falls due.
    pub halt: &'a AtomicBool,
    /// The same, set by the user, and never taken back.
    pub interrupted: &'a AtomicBool,
    /// The clock by which it runs.
    pub clock: Clock,
}

impl Job<'_> {
    /// Whether nothing more falls due.
    #[inline]
    pub(crate) fn is_halted(&self) -> bool {
        self.halt.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// When it started.
    pub started: SystemTime,
    /// Seconds in which requests fell due.
    pub seconds: f64,
    /// Everything, by kind of request.
    pub totals: Totals,
    /// Second by second.
    pub timeline: Vec<Second>,
    /// What the server used.
    pub server: Option<Process>,
    /// What the load tester used.
    pub generator: Process,
}

/// Makes the load, and says what came of it. `told` is called with each second that is over.
///
/// # Errors
///
/// A server process that is not there; what the system refuses (sockets, threads).
pub fn run(job: &Job<'_>, server: Option<u32>, samples: &Samples, told: &mut dyn FnMut(&Second)) -> Result<Measured> {
    let server = server.map(|id| Watch::new(id).with_context(|| format!("--server-pid: no process {id}"))).transpose()?;
    let own = Watch::new(std::process::id()).context("/proc")?;
    let (sender, seconds) = channel();
    let mut gatherer = Gatherer { threads: job.settings.threads, pending: BTreeMap::new(), timeline: Vec::new(), own, server };
    let started = SystemTime::now();
    let totals = std::thread::scope(|scope| {
        let spawn = |thread| {
            let (tally, samples) = (Tally::new(sender.clone()).until(job.settings.duration), samples.clone());
            let is_plain = job.settings.protocol == Protocol::Http1 && job.endpoint.tls.is_none();
            let drive = if is_plain { http1::drive } else { lane::drive };
            let run = move || drive(job, thread, tally, samples);
            std::thread::Builder::new().name(format!("load-{thread}")).spawn_scoped(scope, run)
        };
        let threads = (0..job.settings.threads).map(spawn).collect::<std::io::Result<Vec<_>>>();
        if threads.is_err() {
            job.halt.store(true, Ordering::Relaxed);
        }
        drop(sender);
        gatherer.gather(&seconds, told);
        let mut totals = Totals::new();
        for thread in threads.context("starting a thread")? {
            let seen = thread.join().map_err(|_| anyhow!("a thread of the load has panicked"))?;
            totals.add(&seen.context("the event loop")?);
        }
        Ok::<_, anyhow::Error>(totals)
    })?;
    let seconds = job.settings.duration.as_secs_f64().min(job.clock.seconds());
    Ok(gatherer.finish(started, seconds, totals))
}

struct Gatherer {
    threads: u32,
    /// Seconds that some threads have handed on, and how many of them.
    pending: BTreeMap<u32, (u32, SecondTally)>,
    timeline: Vec<Second>,
    own: Watch,
    server: Option<Watch>,
}

impl Gatherer {
    /// Until every thread has come to its end.
    fn gather(&mut self, seconds: &Receiver<SecondTally>, told: &mut dyn FnMut(&Second)) {
        let mut looked = Instant::now();
        while let Ok(second) = seconds.recv() {
            let (count, sum) = self.pending.entry(second.index).or_insert_with(|| (0, SecondTally::new(second.index)));
            *count += 1;
            sum.add(&second);
            while let Some(entry) = self.pending.first_entry()
                && entry.get().0 == self.threads
            {
                let (_, sum) = entry.remove();
                let elapsed = std::mem::replace(&mut looked, Instant::now()).elapsed().as_secs_f64();
                self.over(&sum, elapsed, told);
            }
        }
        // Threads end at different times: the last seconds are not those of all.
        let rest: Vec<SecondTally> = std::mem::take(&mut self.pending).into_values().map(|(_, sum)| sum).collect();
        for sum in rest {
            self.over(&sum, looked.elapsed().as_secs_f64(), told);
        }
    }

    fn over(&mut self, sum: &SecondTally, elapsed: f64, told: &mut dyn FnMut(&Second)) {
        let percent = |seconds: f64| if elapsed > 1e-3 { 100.0 * seconds / elapsed } else { 0.0 };
        let at = |quantile: f64| sum.latency.value_at_quantile(quantile);
        let names = Said::ALL.iter().zip(sum.said).filter(|(_, count)| *count > 0);
        let second = Second {
            due: sum.due,
            answered: sum.answered,
            failed: sum.failed,
            octets: sum.octets,
            latency: if sum.latency.is_empty() { [0; 5] } else { [at(0.5), at(0.9), at(0.99), at(0.999), sum.latency.max()] },
            server_cpu_percent: self.server.as_mut().and_then(Watch::look).map(percent),
            generator_cpu_percent: percent(self.own.look().unwrap_or_default()),
            answers: names.map(|(said, count)| (said.name().to_owned(), count)).collect(),
        };
        told(&second);
        self.timeline.push(second);
    }

    fn finish(mut self, started: SystemTime, seconds: f64, totals: Totals) -> Measured {
        self.own.look();
        if let Some(server) = &mut self.server {
            server.look();
        }
        let is_empty = |second: &Second| second.due + second.answered + second.failed == 0;
        while self.timeline.last().is_some_and(is_empty) {
            self.timeline.pop();
        }
        let server = self.server.map(|watch| watch.total());
        Measured { started, seconds, totals, timeline: self.timeline, server, generator: self.own.total() }
    }
}
