//! Handing out what an order has had issued: when the status of each certificate is signed and published, and not before (rule O16, RFC 7633).
//!
//! The signing worker signs for what is new in the registry: one that runs already, or one pass of it here, where the responder's key is here. Whoever does,
//! what is published is looked at before a certificate is written.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::run::Job;
use crate::commands::durable_file;
use crate::commands::output::{progress, watch};
use crate::issuance::order::{CHUNK, Inputs};
use crate::pki::certificate::certificate_pem;
use crate::pki::{Serial, Timestamp};
use crate::registry::Registry;
use crate::registry::work::WorkRegistry;
use crate::signing::metrics::SigningMetrics;
use crate::signing::{IssuerSigning, Worker, coverage};

/// How long a worker elsewhere may take (rule O16).
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// More than any line of certificates that was handed out; what is longer is none of these.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// How often it is looked meanwhile.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Has the status of an order's certificates published, or waits until it is.
pub(super) fn publish(job: &Job<'_>, signing: &IssuerSigning, items: Range<u64>) -> Result<()> {
    let mut serials: Vec<Serial> = Vec::new();
    job.registry.visit_issued(job.work, items, &mut |_, serial, _| serials.push(serial))?;
    if serials.is_empty() {
        return Ok(());
    }
    if signing.responder.is_some() {
        sign_here(job, signing, serials.len() as u64)?;
    }
    let start = Instant::now();
    loop {
        let issuer = job.registry.issuers()?.into_iter().find(|issuer| issuer.id == signing.issuer.id);
        let issuer = issuer.with_context(|| format!("issuer '{}' is not in the registry any more", signing.issuer.name))?;
        let missing = coverage::uncovered(job.registry.as_ref(), &issuer, &signing.certificate, &serials, Timestamp::now())?;
        if missing.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("the status of {} certificates was not published within 15 minutes: nothing of them is handed out (O16)", missing.len());
        }
        std::thread::sleep(LOOK);
    }
}

fn sign_here(job: &Job<'_>, signing: &IssuerSigning, certificates: u64) -> Result<()> {
    let metrics = SigningMetrics::default();
    let mut worker = Worker::new(job.registry.clone(), vec![signing.clone()], job.config.signing.threads, metrics.clone())?;
    let bar = progress(certificates * signing.issuer.publication.cert_id_hashes.len() as u64, "signing status");
    let report = watch(&bar, &|| metrics.responses.get(), || worker.pass(&Timestamp::now));
    match &report.failures[..] {
        [] => Ok(()),
        failures => bail!("signing the status of what was issued: {}", failures.join("; ")),
    }
}

/// Writes certificates: beside each other as JSON lines where the inputs were lines, else a file each, named as the input's.
pub(super) fn write(job: &Job<'_>, inputs: &Inputs, output: &Path, items: Range<u64>) -> Result<u64> {
    match inputs.names() {
        Some(names) => write_files(job, names, output, items),
        None => write_lines(job, output, items),
    }
}

/// Fails where something else is in the place of what is to be handed out. A certificate that was registered once is the same ever after: whatever differs was
/// issued, and the registry does not know of it any more.
pub(super) fn refuse_stranger(path: &Path, own: Option<&[u8]>) -> Result<()> {
    match durable_file::holds(path, own.unwrap_or_default())? {
        Some(is_own) if !is_own || own.is_none() => bail!(stranger(path)),
        _ => Ok(()),
    }
}

fn stranger(path: &Path) -> String {
    format!(
        "{}: found a certificate that the registry does not know: was an older copy of it restored? Wanted: what was issued taken over with kakunin import, and \
         the file moved away",
        path.display()
    )
}

/// The serials in a file of lines that is there from before.
fn serials_of_lines(path: &Path) -> Result<HashSet<String>> {
    let Some(file) = durable_file::open(path)? else { return Ok(HashSet::new()) };
    let (mut reader, mut serials, mut line) = (BufReader::new(file), HashSet::new(), Vec::new());
    let place = || path.display().to_string();
    while reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).with_context(place)? > 0 {
        let released: Released = serde_json::from_slice(&line).with_context(place)?;
        serials.insert(released.serial);
        line.clear();
    }
    Ok(serials)
}

/// A line of what was handed out.
#[derive(Deserialize)]
struct Released {
    serial: String,
}

fn write_lines(job: &Job<'_>, output: &Path, items: Range<u64>) -> Result<u64> {
    let path = output.join(format!("certificates-{:09}.jsonl", items.start + 1));
    let place = || path.display().to_string();
    let mut there_before = serials_of_lines(&path)?;
    let mut file = BufWriter::with_capacity(256 << 10, durable_file::create(&path).with_context(place)?);
    let (mut written, mut failed) = (0, Ok(()));
    job.registry.visit_issued(job.work, items, &mut |item, serial, der| {
        if failed.is_ok() {
            let line = json!({ "line": item + 1, "serial": serial, "certificate": certificate_pem(&der) });
            failed = writeln!(file, "{line}");
            there_before.remove(&serial.to_string());
            written += 1;
        }
    })?;
    if !there_before.is_empty() {
        bail!(stranger(&path));
    }
    let whole = failed.and_then(|()| file.into_inner().map_err(|e| e.into_error()));
    whole.and_then(|file| durable_file::finish(&file, &path)).with_context(place)?;
    Ok(written)
}

fn write_files(job: &Job<'_>, names: &[String], output: &Path, items: Range<u64>) -> Result<u64> {
    let mut written = 0;
    let bar = progress(items.end - items.start, "writing");
    // In chunks: files take their time, and nobody is to wait for them.
    for first in items.clone().step_by(CHUNK) {
        let mut chunk: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        job.registry.visit_issued(job.work, first..items.end.min(first + CHUNK as u64), &mut |item, _, der| {
            if let Some(name) = names.get(item as usize) {
                chunk.push((output.join(format!("{name}.pem")), certificate_pem(&der).into_bytes()));
            }
        })?;
        chunk.iter().try_for_each(|(path, own)| refuse_stranger(path, Some(own)))?;
        durable_file::write_together(output, &chunk)?;
        written += chunk.len() as u64;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(written)
}
