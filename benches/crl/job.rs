//! The whole job in a process of its own: read the registry, encode, sign, check, publish.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kakunin::pki::Timestamp;
use kakunin::signing::{CrlPolicy, IssuerSigning, Timing, Worker};

use super::usage::{self, Usage};
use super::world::{World, now};

const DAY: Duration = Duration::from_secs(86_400);

/// What the job takes, and its greatest resident memory in bytes.
pub(crate) fn measure(world: &World) -> Result<(Usage, u64)> {
    let (usage, output) = usage::run(Command::new(std::env::current_exe()?).arg("--job").arg(&world.directory))?;
    let peak = String::from_utf8(output.stdout)?.trim().parse().context("the job tells its peak memory")?;
    Ok((usage, peak))
}

/// Issues the next full CRL, a day after the one before, and tells the peak of resident memory.
pub(crate) fn run(directory: &Path) -> Result<()> {
    let world = World { directory: directory.to_owned() };
    let registry = world.registry()?;
    let issuer = registry.issuers()?.pop().context("the registry has an issuer")?;
    let number = registry.next_crl_number(issuer.id, kakunin::registry::CrlScope::Full)?;
    let (key, certificate) = world.ca()?;
    let timing = Timing { validity: 7 * DAY, refresh: DAY };
    let signing = IssuerSigning {
        issuer,
        certificate,
        responder: None,
        crl_key: Some(key),
        ocsp_timing: timing,
        crl_policy: CrlPolicy::new(timing),
        base_url: "http://va.example".into(),
        profile: Default::default(),
    };
    let at: Timestamp = now().saturating_add(DAY * u32::try_from(number)?);
    let report = Worker::new(registry, vec![signing], 1, Default::default())?.pass(&|| at);
    ensure!(report.crls == 1 && report.failures.is_empty(), "one CRL was to be issued: {report:?}");
    writeln!(stdout(), "{}", usage::peak_bytes()?)?;
    Ok(())
}
