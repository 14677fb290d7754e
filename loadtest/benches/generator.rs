//! What a request costs the load tester, beside wrk: the same requests to the same server, alternating, in CPU time of the generator per answer.
//!
//! `cargo bench -p kakunin-loadtest --bench generator` (Debian's wrk must be there; `-- --rounds N --seconds S`). Only the ratios mean anything, and they
//! mean most while nothing else wants a core.

#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;
use common::demo::Demo;
use common::{record, succeed, tool};
use kakunin_loadtest::targets::certificate::Certificate;
use kakunin_loadtest::targets::{Ask, Hashes, Questions, question, serials};

/// The core of the server, and that of the load.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// Certificates that are asked about.
const CERTIFICATES: u32 = 10_000;

#[derive(Debug, Parser)]
struct Options {
    /// Measurements of each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One way to ask, with the options by which each program does it.
struct Way {
    name: &'static str,
    ours: &'static [&'static str],
    /// The Lua of wrk, which knows `paths`.
    script: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "GET, keep-alive",
        ours: &["--popularity", "replay"],
        script: "local i = 0\nrequest = function() i = i % n + 1; return requests[i] end\n",
    },
    Way {
        name: "GET, 16 in a pipeline",
        ours: &["--popularity", "replay", "--pipeline", "16"],
        script: "local i = 0\nrequest = function()\n  local batch = {}\n  for k = 1, 16 do i = i % n + 1; batch[k] = requests[i] end\n  \
            return table.concat(batch)\nend\n",
    },
];

fn main() {
    let options = Options::parse();
    let demo = Demo::new(CERTIFICATES);
    succeed(tool("taskset").args(["-acp", SERVER_CORE, &demo.pid().to_string()]));
    write_paths(&demo);
    let mut out = std::io::stdout();
    writeln!(out, "{:<24} {:>22} {:>22} {:>26}", "µs of CPU an answer", "kakunin-loadtest", "wrk", "ratio: median (spread)").unwrap();
    for way in &WAYS {
        let (mut ours, mut wrk) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            ours.push(measure_ours(&demo, way, options.seconds));
            wrk.push(measure_wrk(&demo, way, options.seconds));
        }
        let mut ratios: Vec<f64> = ours.iter().zip(&wrk).map(|(ours, wrk)| ours / wrk).collect();
        let cells = [spread(&mut ours), spread(&mut wrk), spread(&mut ratios)];
        writeln!(out, "{:<24} {:>22} {:>22} {:>26}", way.name, cells[0], cells[1], cells[2]).unwrap();
    }
}

/// The median, with the least and the greatest.
fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2}–{:.2})", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Microseconds of CPU time an answer.
fn measure_ours(demo: &Demo, way: &Way, seconds: u32) -> f64 {
    let duration = format!("{seconds}s");
    let (command, json) = demo.load(&["run"], &["--check", "0", "--connections", "64", "--duration", &duration]);
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", LOAD_CORE]).arg(command.get_program()).args(command.get_args()).args(way.ours);
    // Reading the list and making the requests is not the load: the record counts from the first request.
    succeed(&mut pinned);
    let record = record(&json);
    assert_eq!(record.total.failed, 0);
    1e6 * (record.generator.user_seconds + record.generator.system_seconds) / record.total.answered as f64
}

fn measure_wrk(demo: &Demo, way: &Way, seconds: u32) -> f64 {
    let (paths, script) = (demo.path("paths"), demo.path("wrk.lua"));
    let read = format!(
        "requests = {{}}\nn = 0\nfunction init()\n  for line in io.lines('{}') do n = n + 1; requests[n] = wrk.format('GET', line) end\nend\n",
        paths.display()
    );
    std::fs::write(&script, format!("{read}{}", way.script)).unwrap();
    let before = children_seconds();
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE]).arg(tool("wrk").get_program()).args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"]).arg(&script);
    let said = succeed(command.arg(&demo.url).stdin(Stdio::null()));
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let line = said.lines().find(|line| line.contains(" requests in ")).unwrap();
    let answered: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
    1e6 * (children_seconds() - before) / answered
}

/// CPU time of the children that have ended.
fn children_seconds() -> f64 {
    const CUTIME: usize = 13;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[CUTIME..=CUTIME + 1].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// The paths of the requests in the order of the list, for wrk.
fn write_paths(demo: &Demo) {
    let issuer = Certificate::read(&demo.path("issuing.pem")).unwrap();
    let listed = serials::read(Path::new(&demo.path("list.jsonl"))).unwrap();
    let questions = Questions::about(&issuer, &listed, Hashes::Sha1, &Ask::default()).unwrap();
    let paths: Vec<String> = (0..questions.len()).map(|index| question::get_path("", questions.der(index))).collect();
    std::fs::write(demo.path("paths"), paths.join("\n")).unwrap();
}
