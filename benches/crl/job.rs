//! The whole job in a process of its own: read the registry, encode, sign, check, publish.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kakunin::pki::Timestamp;
use kakunin::signing::{CrlPolicy, IssuerSigning, Timing, Worker};

use super::usage::{self, Usage};
use super::world::{World, now};

const DAY: Duration = Duration::from_secs(86_400);

/// What the job takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// The whole process, from its start until the registry is closed: all of the log is then in the database.
    pub(crate) process: Usage,
    /// Seconds from the open registry until the CRL is published.
    pub(crate) published: f64,
    /// Its greatest resident memory.
    pub(crate) peak_bytes: u64,
}

/// Runs the job in a process of its own.
pub(crate) fn measure(world: &World) -> Result<Job> {
    let (process, output) = usage::run(Command::new(std::env::current_exe()?).arg("--job").arg(&world.directory))?;
    let told = String::from_utf8(output.stdout)?;
    let (published, peak) = told.trim().split_once(' ').context("the job tells its time and its peak memory")?;
    Ok(Job { process, published: published.parse()?, peak_bytes: peak.parse()? })
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
        replaces_future: false,
    };
    let at: Timestamp = now().saturating_add(DAY * u32::try_from(number)?);
    let start = Instant::now();
    let report = Worker::new(registry, vec![signing], 1, Default::default())?.pass(&|| at);
    ensure!(report.crls == 1 && report.failures.is_empty(), "one CRL was to be issued: {report:?}");
    writeln!(stdout(), "{} {}", start.elapsed().as_secs_f64(), usage::peak_bytes()?)?;
    Ok(())
}
