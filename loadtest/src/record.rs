//! What a run has measured, as it is written to and read from JSON: the one thing that the measuring and the showing share.
//!
//! Never measures and never draws. Times are microseconds, sizes octets, rates a second, unless a name says otherwise. A file of another
//! [`VERSION`] is refused rather than read wrongly.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the form of a [`Record`].
pub const VERSION: u32 = 1;

/// One run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// What the run is called: the scenario's name, or what the user said.
    pub title: String,
    /// When the first request was due, RFC 3339 in UTC.
    pub started: String,
    /// How long requests were sent, without the draining at the end.
    pub seconds: f64,
    /// What was asked of the server.
    pub load: Load,
    /// Everything over the whole run.
    pub total: Figures,
    /// The run second by second, in order, without gaps.
    pub timeline: Vec<Second>,
    /// Latencies by kind of request (`ocsp-get`, `ocsp-post`, `crl`, `crl-conditional`, `crl-range` …), where there is more than one.
    pub kinds: BTreeMap<String, Figures>,
    /// The answers by what they say: `good`, `revoked`, `unknown`, `unauthorized`, `tryLater`, `304`, `206` …
    pub answers: BTreeMap<String, u64>,
    /// The failures by what went wrong: `connect`, `timeout`, `reset`, `http 503` …
    pub errors: BTreeMap<String, u64>,
    /// What the check of the answers found.
    pub truth: Truth,
    /// What the server's process used, where it was named.
    pub server: Option<Process>,
    /// What the load tester itself used: it must not be the bottleneck.
    pub generator: Process,
    /// The steps of a search for the highest rate, where there was one.
    pub search: Option<Search>,
    /// What happened when, to be marked on the charts (`revoked 100000`, `all answers revoked`).
    pub marks: Vec<Mark>,
    /// What failed the run beside what its figures say, a sentence each: an incident that did not come to its end, a user who ended it early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// What was asked of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Where to, as the user gave it.
    pub url: String,
    /// `open` (requests leave when they are due) or `closed` (each connection sends when it has been answered).
    pub model: String,
    /// Requests a second at the start and at the end of an open run.
    pub rate: Option<(f64, f64)>,
    /// Connections at most at once.
    pub connections: u32,
    /// `http/1.1`, `http/1.1 pipelined 16`, `http/1.1 new connections`, `h2c`, `h2`; with ` over TLS` behind.
    pub protocol: String,
    /// The rest in words, one line each: mix, popularity, targets.
    pub description: Vec<String>,
}

/// How many, how much, how fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Requests that were due.
    pub due: u64,
    /// Requests answered as HTTP allows, whatever the answer says.
    pub answered: u64,
    /// Of these, those whose answer came while requests were sent, and not in the draining at the end: what a rate is made of. Unknown in old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_time: Option<u64>,
    /// Requests that failed.
    pub failed: u64,
    /// Octets of the answers' bodies.
    pub octets: u64,
    /// Latency, from the moment the request was *due* to the last octet of the answer (no coordinated omission).
    pub latency: Latency,
    /// Latency from the moment the request was really sent. What lies between the two is the wait for a free connection.
    pub service: Latency,
}

impl Figures {
    /// Answers a second of a run of so many seconds. Those of the draining are no part of it: a server that cannot keep up would seem to.
    pub fn answered_a_second(&self, seconds: f64) -> f64 {
        self.in_time.unwrap_or(self.answered) as f64 / seconds
    }

    /// Octets of bodies a second, of the same answers.
    pub fn octets_a_second(&self, seconds: f64) -> f64 {
        let part = self.in_time.map_or(1.0, |in_time| in_time as f64 / (self.answered as f64).max(1.0));
        self.octets as f64 * part / seconds
    }
}

/// A distribution of times in microseconds. All zero where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// How many times were measured.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: u64,
    /// (percentile, microseconds), rising, from 0 to 100, dense towards 100: enough to draw the whole distribution.
    pub percentiles: Vec<(f64, u64)>,
}

/// One second of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Requests that were due in it.
    pub due: u64,
    /// Requests that were answered in it.
    pub answered: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Octets of bodies that arrived in it.
    pub octets: u64,
    /// Of the requests answered in it, latency from the due moment: p50, p90, p99, p99.9 and the greatest.
    pub latency: [u64; 5],
    /// The server's CPU time in it, in percent of one core.
    pub server_cpu_percent: Option<f64>,
    /// The load tester's CPU time in it, in percent of one core.
    pub generator_cpu_percent: f64,
    /// Answers by what they say, as in [`Record::answers`].
    pub answers: BTreeMap<String, u64>,
}

/// What the check of the answers found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Answers that were checked.
    pub checked: u64,
    /// Of these, those with at least one finding.
    pub wrong: u64,
    /// The first findings, a bounded number of them.
    pub findings: Vec<Finding>,
}

/// One wrong answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What is wrong, with the rule's id where there is one.
    pub what: String,
    /// The request, as sent: method and path, and the body in hexadecimal.
    pub request: String,
    /// The answer: status line, headers, and the body in hexadecimal.
    pub answer: String,
}

/// What a process used during the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// CPU time in user mode, in seconds.
    pub user_seconds: f64,
    /// CPU time in the kernel, in seconds.
    pub system_seconds: f64,
    /// The greatest resident set seen, in octets.
    pub resident: u64,
}

/// A search for the highest rate that meets an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The objective, as the user gave it: `p99<5ms,errors=0`.
    pub objective: String,
    /// The highest rate that met it, a second; none if no step did.
    pub highest: Option<f64>,
    /// The steps in the order in which they were tried.
    pub steps: Vec<Step>,
}

/// One step of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Requests a second asked for.
    pub rate: f64,
    /// Answers a second got.
    pub achieved: f64,
    /// p99 in microseconds.
    pub p99: u64,
    /// Failures.
    pub failed: u64,
    /// Whether it met the objective.
    pub met: bool,
}

/// Something that happened during the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Seconds after the start.
    pub at: f64,
    /// What.
    pub what: String,
}
