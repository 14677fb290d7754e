//! How even the steady refresh is: signatures minute by minute, by the schedule alone. No clock, no key.

use std::time::Duration;

use anyhow::{Context, Result};
use kakunin::pki::{Serial, SlotHash, SlotRange, Timestamp};
use kakunin::signing::Timing;
use kakunin::signing::schedule::{Phase, SlotTurns, next_update};

use super::load::Random;
use super::report::{BESIDE, Report, Wanted};

/// The defaults, which satisfy every programme (rule T2).
const TIMING: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };
/// When everything is signed for the first time.
const START: u64 = 1_800_000_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// Adds the figures to the report.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let wanted = Wanted { must: "≤ 1.2", goal: "≤ 1.05" };
    for (certificates, name, wanted) in
        [(1_000_000, "1 million", wanted), (10_000_000, "10 million", BESIDE), (100_000_000, "100 million", BESIDE)]
    {
        let bits = SlotRange::bits_for(certificates);
        let sizes = slot_sizes(certificates, bits)?;
        let by_minute = busiest_to_mean(&sizes, bits, MINUTE)?;
        report.add(format!("busiest minute of steady refresh ÷ mean minute, {name} certificates"), "", wanted, [by_minute]);
        report.add("  busiest hour ÷ mean hour", "", BESIDE, [busiest_to_mean(&sizes, bits, HOUR)?]);
    }
    Ok(())
}

/// How many certificates with random serials fall into each slot.
fn slot_sizes(certificates: u64, bits: u8) -> Result<Vec<u64>> {
    let (mut sizes, mut random) = (vec![0; 1 << bits], Random(1));
    for _ in 0..certificates {
        let octets = [(); 2].map(|()| (random.below(1 << 62) as u64 | 1 << 62).to_be_bytes());
        sizes[SlotHash::from(&Serial::from_magnitude(octets.as_flattened())?).slot(bits) as usize] += 1;
    }
    Ok(sizes)
}

/// The third refresh interval after everything was signed at once, cut into equal parts: signatures in the part that has most, by the mean.
fn busiest_to_mean(sizes: &[u64], bits: u8, part_seconds: u64) -> Result<f64> {
    let start = Timestamp::from_unix(START).context("a time")?;
    let from = start.saturating_add(TIMING.refresh * 2);
    let mut parts = vec![0; (TIMING.refresh.as_secs() / part_seconds) as usize];
    let times = |signed| (signed, next_update(signed, TIMING.validity, Timestamp::MAX));
    for (slot, size) in (0..).zip(sizes) {
        let turns = SlotTurns::new(SlotRange { bits, slot }, Phase::default(), TIMING);
        let mut oldest_first = vec![times(start); *size as usize];
        let mut now = turns.next(start);
        while now.since(from) < TIMING.refresh {
            let wanted = turns.wanted(&oldest_first, now);
            oldest_first[..wanted].fill(times(now));
            oldest_first.rotate_left(wanted);
            if now >= from
                && let Some(part) = parts.get_mut((now.since(from).as_secs() / part_seconds) as usize)
            {
                *part += wanted as u64;
            }
            now = turns.next(now);
        }
    }
    let (busiest, total) = (parts.iter().max().copied().unwrap_or(0), parts.iter().sum::<u64>());
    Ok(busiest as f64 * parts.len() as f64 / total as f64)
}
