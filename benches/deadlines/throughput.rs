//! What an answer costs while refresh saturates the token, beside what it costs when nothing is signed.
//!
//! The responder and the load share core 0; the signer, a process of its own, has core 1 for itself. So the load is the same whether there is a signer or
//! not, and the signer is never without CPU time. What counts is GETs for each CPU second of the responder's process, in which it also loads the new packs.
//! Sharing its core with the load, it answers about half as many as it could, so that the packs weigh double.

use std::time::Duration;

use anyhow::Result;

use super::load::{Load, Random, Requests};
use super::refreshing::{PATTERN, Rates, Refreshing, Serving};
use super::report::{BESIDE, Report, Wanted};
use super::{machine, say};

const RESPONDER_CORE: &str = "0";
const SIGNER_CORE: &str = "1";
/// What goes before each measurement.
const WARM_UP: Duration = Duration::from_millis(500);

/// What was seen in one measurement.
struct Seen {
    /// GETs a second of the responder's CPU time.
    per_cpu_second: f64,
    /// GETs a second.
    per_second: f64,
    /// Of the signer, where there was one.
    signer: Option<Rates>,
}

/// Adds the figures to the report: each round with and without refresh in turn.
pub(crate) fn measure(world: &Refreshing, rounds: u64, seconds: u64, report: &mut Report) -> Result<()> {
    machine::pin(RESPONDER_CORE)?;
    let (responder, requests) = (world.serve(RESPONDER_CORE, "responder")?, world.gets());
    let (mut random, duration) = (Random(1), Duration::from_secs(seconds));
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        say(&format!("throughput: round {} of {rounds}", round + 1))?;
        // Whoever comes second may find another machine: they take turns in coming first.
        for is_busy in [round % 2 == 0, round % 2 == 1] {
            let signer = is_busy.then(|| world.serve(SIGNER_CORE, "signer")).transpose()?;
            let seen = measure_once(&responder, signer.as_ref(), &requests, duration, &mut random)?;
            seen.signer.map_or(Ok(()), |rates| world.require_busy(rates))?;
            if is_busy { busy.push(seen) } else { idle.push(seen) }
        }
    }
    machine::pin(&format!("{RESPONDER_CORE},{SIGNER_CORE}"))?;
    let ratio = |figure: fn(&Seen) -> f64| busy.iter().zip(&idle).map(move |(busy, idle)| figure(busy) / figure(idle)).collect::<Vec<_>>();
    let wanted = Wanted { must: "≥ 0.90", goal: "≥ 0.97" };
    report.add(
        "GETs a CPU second of the responder while refresh saturates the token ÷ idle",
        "",
        wanted,
        ratio(|seen| seen.per_cpu_second),
    );
    report.add("  the same by the clock, load and responder on one core", "", BESIDE, ratio(|seen| seen.per_second));
    report.add("  CPU time of a GET, idle", "µs", BESIDE, idle.iter().map(|seen| 1e6 / seen.per_cpu_second));
    report.add("  CPU time of a GET, with refresh", "µs", BESIDE, busy.iter().map(|seen| 1e6 / seen.per_cpu_second));
    let signers = || busy.iter().filter_map(|seen| seen.signer);
    report.add("  signatures meanwhile", "a second", BESIDE, signers().map(|rates| rates.signatures_per_second));
    report.add("  the signer's share of its core", "", BESIDE, signers().map(|rates| rates.cores));
    Ok(())
}

fn measure_once(
    responder: &Serving,
    signer: Option<&Serving>,
    requests: &Requests,
    duration: Duration,
    random: &mut Random,
) -> Result<Seen> {
    signer.map_or(Ok(()), Serving::wait_until_signing)?;
    let mut load = Load::new(responder.ocsp()?, requests, PATTERN, random)?;
    load.run(WARM_UP)?;
    let signer_before = signer.map(Serving::done).transpose()?;
    let before = responder.done()?;
    let measured = load.run(duration)?;
    let rates = responder.since(before)?;
    let signer = signer.zip(signer_before).map(|(signer, before)| signer.since(before)).transpose()?;
    let responses = measured.responses as f64;
    Ok(Seen { per_cpu_second: responses / rates.cpu_seconds, per_second: responses / measured.elapsed.as_secs_f64(), signer })
}
