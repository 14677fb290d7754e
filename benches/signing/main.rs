//! `cargo bench --bench signing`: how near a full refresh comes to what the token can do. Both are measured in one run, in turns, with the same key and as many
//! sessions: signatures a second of nothing but C_Sign, and of the worker that signs every response of an issuer anew and publishes it to a registry on disk.
//!
//! Keys: P-256 and RSA-2048 on a SoftHSM2 token of its own, and the same in files.

#[path = "../common/softhsm.rs"]
mod softhsm;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::rand::SystemRandom;
use clap::Parser;
use kakunin::issuance::{RootOrder, Validity, random_serial, self_signed_root};
use kakunin::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, KeyAlgorithm, Serial, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CertificateRecord, IssuerMode, NewIssuer, OnConflict, Publication, Registry};
use kakunin::signing::gate::Profile;
use kakunin::signing::{CrlPolicy, IssuerSigning, ResponseSigner, Timing, Worker, describe_signer};
use kakunin::token::{Key, signatures_per_second};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug, Parser)]
struct Options {
    /// Rounds of each measurement; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Signing threads, and sessions
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Certificates of an issuer with a P-256 key; an RSA-2048 issuer has an eighth of them
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    certificates: u32,
    /// Writes the figures to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    softhsm::with_token(|directory| measure_all(&options, directory))
}

/// One kind of key in one place.
struct Measured {
    place: &'static str,
    algorithm: KeyAlgorithm,
    /// Signatures a second of each round.
    raw: Vec<f64>,
    refresh: Vec<f64>,
}

impl Measured {
    fn ratio(&self) -> f64 {
        median(self.refresh.iter().zip(&self.raw).map(|(refresh, raw)| refresh / raw).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure_all(options: &Options, directory: &Path) -> Result<()> {
    let token = softhsm::open(directory, usize::from(options.threads) + 1)?;
    let mut all = Vec::new();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        for (place, key) in softhsm::keys(&token, directory, algorithm)? {
            all.push(measure(options, directory, place, &key)?);
        }
    }
    print(options, &all)
}

fn measure(options: &Options, directory: &Path, place: &'static str, key: &Key) -> Result<Measured> {
    let algorithm = key.key_algorithm();
    let certificates = if algorithm == KeyAlgorithm::EcdsaP256 { options.certificates } else { options.certificates / 8 };
    let issuer = Issuer::new(directory, place, key, certificates)?;
    let mut measured = Measured { place, algorithm, raw: Vec::new(), refresh: Vec::new() };
    // The first signing of all is not measured: it also divides the slots.
    issuer.refresh(options, 0)?;
    for round in 1..=options.rounds {
        eprintln!("signing: round {round} of {}: {algorithm} in {place}", options.rounds);
        measured.raw.push(signatures_per_second(key, usize::from(options.threads), Duration::from_secs(3))?);
        let (signatures, elapsed) = issuer.refresh(options, u32::from(round))?;
        ensure!(signatures == 2 * u64::from(certificates), "{signatures} responses were signed, wanted {}", 2 * certificates);
        measured.refresh.push(signatures as f64 / elapsed.as_secs_f64());
    }
    Ok(measured)
}

/// A CA that signs its OCSP responses itself, in a registry of its own.
struct Issuer {
    registry: Arc<dyn Registry>,
    signing: IssuerSigning,
    start: Timestamp,
}

impl Issuer {
    fn new(directory: &Path, place: &str, key: &Key, certificates: u32) -> Result<Issuer> {
        let start: Timestamp = "2026-12-01T00:00:00Z".parse()?;
        let validity = Validity { not_before: start, not_after: start.saturating_add(DAY * 7300) };
        let order = RootOrder { subject: "CN=Bench CA", serial: random_serial(&SystemRandom::new())?, validity, signs_ocsp: true };
        let certificate = CertificateInfo::from_der(&self_signed_root(&order, key.as_ref())?)?;
        let path = directory.join(format!("{}-{place}.sqlite", key.key_algorithm()));
        let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::create(&path)?);
        let publication = Publication {
            cert_id_hashes: [HashAlgorithm::Sha1, HashAlgorithm::Sha256].into(),
            crl_partitions: 0,
            crl_extras: Default::default(),
        };
        registry.register_issuer(&NewIssuer {
            name: "ca".into(),
            certificate: certificate.der.clone(),
            mode: IssuerMode::Open,
            publication,
        })?;
        let issuer = registry.issuers()?.remove(0);
        let record = |n: u32| CertificateRecord {
            serial: Serial::from_magnitude(&(u64::from(n) + (1 << 40)).to_be_bytes()).expect("eight octets fit"),
            not_before: Some(start),
            not_after: validity.not_after,
            is_ca: false,
            partition: None,
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        registry.add_certificates(issuer.id, &mut (0..certificates).map(|n| Ok(record(n))), OnConflict::Refuse, start)?;
        let profile = Profile::default();
        let signer = describe_signer(key, &certificate, None, &profile, Default::default())?;
        let id = registry.register_signer(issuer.id, &signer)?;
        let responder = Some(ResponseSigner { key: key.clone(), signer, id, not_after: certificate.not_after });
        let ocsp_timing = Timing { validity: 7 * DAY, refresh: 84 * DAY / 24 };
        let crl_policy = CrlPolicy::new(Timing { validity: 7 * DAY, refresh: DAY });
        let base_url = "http://va.example".to_owned();
        let signing = IssuerSigning {
            issuer,
            certificate,
            responder,
            crl_key: None,
            ocsp_timing,
            crl_policy,
            base_url,
            profile,
            replaces_future: false,
        };
        Ok(Issuer { registry, signing, start })
    }

    /// Signs everything anew, as is due after `round` weeks; the signatures, and how long it took.
    fn refresh(&self, options: &Options, round: u32) -> Result<(u64, Duration)> {
        let now = self.start.saturating_add(7 * DAY * round);
        let mut signing = self.signing.clone();
        signing.issuer = self.registry.issuers()?.remove(0);
        let mut worker = Worker::new(self.registry.clone(), vec![signing], usize::from(options.threads), Default::default())?;
        let start = Instant::now();
        let report = worker.pass(&|| now);
        match report.failures.first() {
            Some(failure) => bail!("signing: {failure}"),
            None => Ok((report.responses, start.elapsed())),
        }
    }
}

fn print(options: &Options, all: &[Measured]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nsignatures a second, {} sessions; medians of {} rounds\n", options.threads, options.rounds)?;
    writeln!(out, "{:<12}{:<12}{:>10}{:>16}{:>18}{:>8}{:>8}", "key", "in", "C_Sign", "full refresh", "refresh ÷ C_Sign", "must", "goal")?;
    let mut figures = Vec::new();
    for measured in all {
        let (raw, refresh, ratio) = (median(measured.raw.clone()), median(measured.refresh.clone()), measured.ratio());
        let key = measured.algorithm.to_string();
        writeln!(out, "{key:<12}{:<12}{raw:>10.0}{refresh:>16.0}{ratio:>18.3}{:>8}{:>8}", measured.place, "≥ 0.90", "≥ 0.97")?;
        figures.push(
            serde_json::json!({ "key": key, "place": measured.place, "raw": measured.raw, "refresh": measured.refresh, "ratio": ratio }),
        );
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)?).with_context(|| format!("--json: {}", file.display()))?;
    }
    Ok(())
}
