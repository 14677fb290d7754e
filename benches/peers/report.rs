//! The table: medians, spreads and ratios. It judges nothing; what is wanted of a ratio stands beside it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::Measured;
use super::processes::Cpu;
use super::servers::Peer;
use super::{CONDITIONAL, GET, HALF_RATE, NEW_CONNECTION, PIPELINE, POST, POST_NEW_CONNECTION, SAME_RATE};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    requests: u64,
    /// Requests answered a second.
    rate: f64,
    /// Server CPU, microseconds a request.
    user: f64,
    system: f64,
    /// The share of its core that the server used.
    busy: f64,
    /// The share of the time that threads of server and load have waited for a core.
    waited: f64,
    /// Latency percentiles, microseconds.
    p50: f64,
    p99: f64,
    p999: f64,
    /// The median of the p99 of windows of 50 ms.
    calm_p99: f64,
}

impl Sample {
    /// From what the load generator saw, the server's CPU time before and after, and how long server and load have waited for their cores between.
    pub(crate) fn new(measured: &Measured, before: Cpu, after: Cpu, waited: Duration) -> Sample {
        let requests = measured.responses.max(1) as f64;
        let (user, system) = (after.user - before.user, after.system - before.system);
        let percentile = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e3;
        Sample {
            requests: measured.responses,
            rate: requests / measured.elapsed.as_secs_f64(),
            user: user * 1e6 / requests,
            system: system * 1e6 / requests,
            busy: (user + system) / measured.elapsed.as_secs_f64(),
            waited: waited.as_secs_f64() / measured.elapsed.as_secs_f64(),
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            calm_p99: spread(&measured.p99.iter().map(|p99| *p99 as f64 / 1e3).collect::<Vec<_>>()).map_or(f64::NAN, |s| s.median),
        }
    }

    fn cpu(&self) -> f64 {
        self.user + self.system
    }

    fn to_json(self) -> Value {
        json!({
            "requests": self.requests, "requests_per_second": self.rate, "user_us": self.user, "system_us": self.system, "busy": self.busy,
            "waited": self.waited, "p50_us": self.p50, "p99_us": self.p99, "p999_us": self.p999, "p99_of_50_ms_us": self.calm_p99,
        })
    }
}

/// Every measurement of one server in one scenario, in their order: the n-th of each server were made one after the other.
struct Series {
    scenario: &'static str,
    peer: Peer,
    samples: Vec<Sample>,
}

/// Everything that was measured.
pub(crate) struct Report {
    certificates: usize,
    key: &'static str,
    response_octets: (usize, usize),
    connections: u64,
    series: Vec<Series>,
}

/// A figure of one server in one scenario.
type Figure = (&'static str, Peer, fn(&Sample) -> f64);

/// A ratio, and what is wanted of it.
struct Wanted {
    name: &'static str,
    of: Figure,
    to: Figure,
    must: &'static str,
    goal: &'static str,
}

fn wanted() -> Vec<Wanted> {
    use Peer::{Cfssl, Floor, Kakunin, KakuninRsa, Nginx, OpenSsl, OpenSslRsa};
    let cpu = |scenario, peer| -> Figure { (scenario, peer, Sample::cpu) };
    let p99 = |scenario, peer| -> Figure { (scenario, peer, |s| s.calm_p99) };
    let ratio = |name, of, to, must, goal| Wanted { name, of, to, must, goal };
    let ours = |scenario| cpu(scenario, Kakunin);
    let (openssl, openssl_rsa) = (cpu(POST_NEW_CONNECTION, OpenSsl), cpu(POST_NEW_CONNECTION, OpenSslRsa));
    vec![
        ratio("CPU, GET ÷ nginx", ours(GET), cpu(GET, Nginx), "≤ 0.80", "≤ 0.65"),
        ratio("CPU, GET ÷ floor", ours(GET), cpu(GET, Floor), "≤ 1.35", "≤ 1.15"),
        ratio("CPU, POST ÷ own GET", ours(POST), ours(GET), "≤ 1.15", "≤ 1.05"),
        ratio("CPU, POST ÷ floor", ours(POST), cpu(POST, Floor), "", ""),
        ratio("CPU, new connection ÷ nginx", ours(NEW_CONNECTION), cpu(NEW_CONNECTION, Nginx), "≤ 1.0", "≤ 0.9"),
        ratio("CPU, new connection ÷ floor", ours(NEW_CONNECTION), cpu(NEW_CONNECTION, Floor), "", ""),
        ratio("CPU, pipeline ÷ nginx", ours(PIPELINE), cpu(PIPELINE, Nginx), "", ""),
        ratio("CPU, pipeline ÷ floor", ours(PIPELINE), cpu(PIPELINE, Floor), "", ""),
        ratio("CPU, 304 ÷ nginx", ours(CONDITIONAL), cpu(CONDITIONAL, Nginx), "", ""),
        ratio("CPU, 304 ÷ floor", ours(CONDITIONAL), cpu(CONDITIONAL, Floor), "", ""),
        ratio("CPU, cfssl POST ÷ ours", cpu(POST, Cfssl), ours(POST), "≥ 12", "≥ 16"),
        // It signs each answer, so its key decides, and it keeps no connection. Above what it takes of the floor nobody comes.
        ratio("CPU, openssl POST ÷ ours, RSA-2048", openssl_rsa, cpu(POST, KakuninRsa), "≥ 50", "≥ 70"),
        ratio("CPU, openssl POST ÷ ours, P-256", openssl, ours(POST), "≥ 50", "≥ 70"),
        ratio("CPU, openssl POST ÷ floor, P-256", openssl, cpu(POST, Floor), "", ""),
        ratio("CPU, openssl POST ÷ ours, RSA-2048, new connections", openssl_rsa, cpu(POST_NEW_CONNECTION, KakuninRsa), "", ""),
        ratio("CPU, openssl POST ÷ ours, P-256, new connections", openssl, ours(POST_NEW_CONNECTION), "", ""),
        ratio("p99, each at half of its own maximum rate, ÷ nginx", p99(HALF_RATE, Kakunin), p99(HALF_RATE, Nginx), "≤ 1.0", "≤ 0.7"),
        ratio("p99, at the same rate, ÷ nginx", p99(SAME_RATE, Kakunin), p99(SAME_RATE, Nginx), "", ""),
    ]
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(certificates: usize, key: &'static str, response_octets: (usize, usize), connections: u64) -> Report {
        Report { certificates, key, response_octets, connections, series: Vec::new() }
    }

    /// Adds the next measurement.
    pub(crate) fn add(&mut self, scenario: &'static str, peer: Peer, sample: Sample) {
        match self.series.iter_mut().find(|s| s.scenario == scenario && s.peer == peer) {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series { scenario, peer, samples: vec![sample] }),
        }
    }

    /// Requests a second that a server takes in [`GET`]: the median so far.
    pub(crate) fn maximum_rate(&self, peer: Peer) -> Option<f64> {
        let rates: Vec<f64> = self.samples(GET, peer).iter().map(|sample| sample.rate).collect();
        spread(&rates).map(|rates| rates.median)
    }

    fn samples(&self, scenario: &str, peer: Peer) -> &[Sample] {
        self.series.iter().find(|s| s.scenario == scenario && s.peer == peer).map_or(&[], |s| &s.samples)
    }

    /// A ratio between measurements that were made one after the other.
    fn ratios(&self, wanted: &Wanted) -> Vec<f64> {
        let values = |(scenario, peer, figure): Figure| self.samples(scenario, peer).iter().map(figure);
        values(wanted.of).zip(values(wanted.to)).map(|(of, to)| of / to).collect()
    }

    /// Every sample, and the ratios.
    pub(crate) fn to_json(&self) -> Value {
        let samples = |s: &Series| s.samples.iter().map(|sample| sample.to_json()).collect::<Vec<_>>();
        let series = |s: &Series| json!({"scenario": s.scenario, "server": s.peer.name(), "rounds": samples(s)});
        let ratio = |w: &Wanted| json!({"name": w.name, "rounds": self.ratios(w), "median": spread(&self.ratios(w)).map(|s| s.median)});
        json!({
            "certificates": self.certificates, "key": self.key, "connections": self.connections,
            "response_head_octets": self.response_octets.0, "response_body_octets": self.response_octets.1,
            "series": self.series.iter().map(series).collect::<Vec<_>>(),
            "ratios": wanted().iter().map(ratio).collect::<Vec<_>>(),
        })
    }
}

struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Spread { least, median, greatest })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { certificates, key, response_octets: (head, body), connections, .. } = self;
        writeln!(
            f,
            "\n{key}, {certificates} certificates, {connections} connections; a response has {head} octets of head and {body} of body"
        )?;
        writeln!(f, "CPU: of the server, µs a request; latencies in µs; medians, with least–greatest of the measurements")?;
        writeln!(f, "waited: for a core that something else had; where it is not next to 0%, the percentiles say little")?;
        writeln!(f, "50 ms: the median of the p99 of windows of 50 ms, which the ratios compare\n")?;
        let heads = ["CPU", "spread", "user", "system", "requests/s", "spread", "busy", "waited", "p50", "p99", "p99.9", "50 ms"];
        write!(f, "{:<22} {:<11}", "", "")?;
        for (head, width) in heads.iter().zip(WIDTHS) {
            write!(f, " {head:>width$}")?;
        }
        writeln!(f)?;
        for series in &self.series {
            series.fmt_row(f)?;
        }
        writeln!(f, "\n{:<52} {:>7}  {:<13} {:<7} goal", "ratios within a round or pair of seconds", "median", "spread", "must")?;
        for wanted in wanted() {
            let Some(Spread { least, median, greatest }) = spread(&self.ratios(&wanted)) else { continue };
            let range = format!("{least:.2}–{greatest:.2}");
            writeln!(f, "{:<52} {median:>7.3}  {range:<13} {:<7} {}", wanted.name, wanted.must, wanted.goal)?;
        }
        Ok(())
    }
}

const WIDTHS: [usize; 12] = [8, 15, 7, 7, 10, 15, 5, 6, 8, 8, 8, 8];

impl Series {
    fn fmt_row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = |figure: fn(&Sample) -> f64| spread(&self.samples.iter().map(figure).collect::<Vec<_>>());
        let median = |figure| figures(figure).map_or(f64::NAN, |s| s.median);
        let range =
            |figure, digits: usize| figures(figure).map_or(String::new(), |s| format!("{:.digits$}–{:.digits$}", s.least, s.greatest));
        let cells = [
            format!("{:.2}", median(Sample::cpu)),
            range(Sample::cpu, 2),
            format!("{:.2}", median(|s| s.user)),
            format!("{:.2}", median(|s| s.system)),
            format!("{:.0}", median(|s| s.rate)),
            range(|s| s.rate, 0),
            format!("{:.0}%", 100.0 * median(|s| s.busy)),
            format!("{:.1}%", 100.0 * median(|s| s.waited)),
            format!("{:.0}", median(|s| s.p50)),
            format!("{:.0}", median(|s| s.p99)),
            format!("{:.0}", median(|s| s.p999)),
            format!("{:.0}", median(|s| s.calm_p99)),
        ];
        write!(f, "{:<22} {:<11}", self.scenario, self.peer.name())?;
        for (cell, width) in cells.iter().zip(WIDTHS) {
            write!(f, " {cell:>width$}")?;
        }
        writeln!(f)
    }
}
