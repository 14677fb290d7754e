//! What is measured: requests for keys of their own, a CA that issues for them, and `openssl ca` beside it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::rand::SystemRandom;
use der::asn1::{BitString, SetOfVec};
use der::{Decode, Encode};
use kakunin::config::IssuingConfig;
use kakunin::issuance::order::{Inputs, InputsConfig, Item, OnRejection, input_fingerprint};
use kakunin::issuance::profile::{Choices, Profile};
use kakunin::issuance::requests;
use kakunin::issuance::vetting::{BlockedKeys, Constraints, read_csr_line};
use kakunin::issuance::{Issuer, Links, RootOrder, Validity, random_serial, self_signed_root};
use kakunin::pki::certificate::certificate_pem;
use kakunin::pki::{CertificateInfo, Fingerprint, HashAlgorithm, KeyAlgorithm, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::work::{NewWork, WorkEvent, WorkId, WorkRegistry};
use kakunin::registry::{IssuerMode, NewIssuer, Publication, Registry};
use kakunin::signing::gate::Profile as Programmes;
use kakunin::signing::{CrlPolicy, IssuerSigning, ResponseSigner, Timing, Worker, describe_signer};
use kakunin::token::software::SoftwareKey;
use kakunin::token::{Key, SigningKey};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};

const DAY: Duration = Duration::from_secs(86_400);
/// No extensions are asked for: `openssl ca` copies none by default.
const PROFILE: &str = r#"
title = "bench"
source = "bench"
kind = "end-entity"
keys = ["ecdsa-p256"]
signatures = ["ecdsa-sha256"]
validity = { maximum = "200d" }
[subject]
attributes = [{ type = "CN" }]
[extensions]
authority_key_identifier = { critical = false }
subject_key_identifier = { critical = false }
key_usage = { critical = true, values = ["digitalSignature"] }
crl_distribution_points = { critical = false }
authority_info_access = { critical = false, ca_issuers = {}, ocsp = {} }
"#;

/// A file of requests, and its hash as an order names it.
pub(crate) struct Requests {
    path: PathBuf,
    sha256: Fingerprint,
}

impl Requests {
    pub(crate) fn make(directory: &Path, count: u32, threads: usize) -> Result<Requests> {
        eprintln!("issuance: making {count} requests");
        let path = directory.join("requests.jsonl");
        let parts: Vec<Result<Vec<String>>> = std::thread::scope(|scope| {
            let part = |thread: usize| (thread as u32..count).step_by(threads).map(request).collect();
            let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut file = BufWriter::new(File::create(&path)?);
        for pem in parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            writeln!(file, "{}", serde_json::json!({ "csr": pem }))?;
        }
        file.flush()?;
        let sha256 = input_fingerprint(&path)?;
        Ok(Requests { path, sha256 })
    }
}

fn request(number: u32) -> Result<String> {
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256)?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_str(&format!("CN=host-{number}.example.com"))?,
        public_key: spki::SubjectPublicKeyInfoOwned::from_der(key.public_key())?,
        attributes: SetOfVec::new(),
    };
    let signature = BitString::from_bytes(&key.sign(&info.to_der()?)?)?;
    let algorithm = spki::AlgorithmIdentifierOwned::from_der(key.signature_algorithm().identifier())?;
    let der = CertReq { info, algorithm, signature }.to_der()?;
    der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, &der).map_err(|e| anyhow::anyhow!("PEM: {e}"))
}

/// A CA in a registry of its own.
pub(crate) struct World {
    registry: Arc<SqliteRegistry>,
    signing: IssuerSigning,
    key: Key,
    /// Threads that sign, with a session each.
    signers: usize,
    start: Timestamp,
}

impl World {
    pub(crate) fn new(file: &Path, key: &Key, signers: usize) -> Result<World> {
        let start = Timestamp::now();
        let certificate = CertificateInfo::from_der(&root(key, start)?)?;
        let registry = Arc::new(SqliteRegistry::create(file)?);
        let publication = Publication {
            cert_id_hashes: [HashAlgorithm::Sha1, HashAlgorithm::Sha256].into(),
            crl_partitions: 0,
            crl_extras: Default::default(),
        };
        let new = NewIssuer { name: "ca".into(), certificate: certificate.der.clone(), mode: IssuerMode::Open, publication };
        let id = registry.register_issuer(&new)?;
        let profile = Programmes::default();
        let signer = describe_signer(key, &certificate, None, &profile, Default::default())?;
        let signer_id = registry.register_signer(id, &signer)?;
        let responder = Some(ResponseSigner { key: key.clone(), signer, id: signer_id, not_after: certificate.not_after });
        let signing = IssuerSigning {
            issuer: registry.issuers()?.remove(0),
            certificate,
            responder,
            crl_key: None,
            ocsp_timing: Timing { validity: 7 * DAY, refresh: 84 * DAY / 24 },
            crl_policy: CrlPolicy::new(Timing { validity: 7 * DAY, refresh: DAY }),
            base_url: "http://va.example".to_owned(),
            profile,
            replaces_future: false,
        };
        registry.append_work(&NewWork { order: "bench", event: WorkEvent::Begun, at: start, detail: "{}" })?;
        Ok(World { registry, signing, key: key.clone(), signers, start })
    }

    /// Issues for all requests; how many.
    pub(crate) fn issue(&self, requests: &Requests) -> Result<u64> {
        let issuer = Issuer::new(self.signing.certificate.clone(), self.key.clone())?;
        let profile = Profile::from_toml("bench", PROFILE)?;
        let links = Links {
            ocsp: Some("http://va.example/ocsp"),
            ca_issuers: Some("http://va.example/ca/ca.cer"),
            crl: Some("http://va.example/crl/ca.crl"),
        };
        let templates = [profile.template(&issuer, &Choices { links, ..Choices::default() })?];
        let config = InputsConfig { directory: None, lines: Some(requests.path.clone()), sha256: requests.sha256 };
        let mut inputs = Inputs::open(&config)?;
        let order = requests::Requests {
            registry: self.registry.as_ref(),
            issuer: self.signing.issuer.id,
            work: WorkId(1),
            templates: &templates,
            is_partitioned: false,
            constraints: &Constraints::default(),
            blocked: &BlockedKeys::default(),
            validity: &|now| Ok(Validity { not_before: now, not_after: now.saturating_add(90 * DAY) }),
            read: &|item: &Item| read_csr_line(&item.content),
            signed: None,
            renewal: false,
            on_rejection: OnRejection::GoOn,
            vetters: IssuingConfig::default().threads,
            signers: self.signers,
        };
        let (mut issued, mut rejected) = (0, None);
        order.issue(&mut inputs, usize::MAX, &SystemRandom::new(), &Timestamp::now, &mut |done| {
            issued += done.issued;
            rejected = rejected.take().or(done.rejected.into_iter().next());
            Ok(())
        })?;
        match rejected {
            Some(rejected) => bail!("{}: {}: {}", rejected.place, rejected.rule, rejected.why),
            None => Ok(issued),
        }
    }

    /// Signs and publishes the status of all of them; how many responses.
    pub(crate) fn publish(&self) -> Result<u64> {
        let mut signing = self.signing.clone();
        signing.issuer = self.registry.issuers()?.remove(0);
        let mut worker = Worker::new(self.registry.clone(), vec![signing], self.signers, Default::default())?;
        let report = worker.pass(&|| Timestamp::now().max(self.start));
        match report.failures.first() {
            Some(failure) => bail!("signing: {failure}"),
            None => Ok(report.responses),
        }
    }
}

fn root(key: &Key, start: Timestamp) -> Result<Vec<u8>> {
    let validity = Validity { not_before: start, not_after: start.saturating_add(7300 * DAY) };
    let order = RootOrder { subject: "CN=Bench CA", serial: random_serial(&SystemRandom::new())?, validity, signs_ocsp: true };
    Ok(self_signed_root(&order, key.as_ref())?)
}

/// `openssl ca` with a key in a file.
pub(crate) struct OpensslCa {
    directory: PathBuf,
    count: u32,
}

const CONFIG: &str = "[ca]\ndefault_ca = bench\n[bench]\ndatabase = index.txt\nnew_certs_dir = new\nrand_serial = yes\ndefault_md = sha256\n\
    default_days = 90\npolicy = any\nunique_subject = no\nx509_extensions = leaf\n[any]\ncommonName = supplied\n[leaf]\nkeyUsage = critical,digitalSignature\n\
    authorityKeyIdentifier = keyid\nsubjectKeyIdentifier = hash\ncrlDistributionPoints = URI:http://va.example/crl/ca.crl\n\
    authorityInfoAccess = OCSP;URI:http://va.example/ocsp,caIssuers;URI:http://va.example/ca/ca.cer\n";

impl OpensslCa {
    /// With the first so many of the requests, a file each.
    pub(crate) fn new(directory: &Path, requests: &Requests, count: u32) -> Result<OpensslCa> {
        let directory = directory.join("openssl");
        fs::create_dir(&directory)?;
        SoftwareKey::generate(KeyAlgorithm::EcdsaP256)?.create_file(&directory.join("ca.key"))?;
        let key: Key = Arc::new(SoftwareKey::open(&directory.join("ca.key"), None)?);
        fs::write(directory.join("ca.pem"), certificate_pem(&root(&key, Timestamp::now().saturating_sub(DAY))?))?;
        fs::write(directory.join("ca.cnf"), CONFIG)?;
        let text = fs::read_to_string(&requests.path)?;
        for (number, line) in text.lines().take(count as usize).enumerate() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            fs::write(directory.join(format!("{number}.csr")), line["csr"].as_str().unwrap_or_default())?;
        }
        Ok(OpensslCa { directory, count })
    }

    /// Certificates a second.
    pub(crate) fn issue(&self, round: u16) -> Result<f64> {
        let work = self.directory.join(format!("round-{round}"));
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(work.join("new"))?;
        fs::write(work.join("index.txt"), "")?;
        let mut command = Command::new("openssl");
        command.current_dir(&work).args(["ca", "-batch", "-notext", "-config", "../ca.cnf", "-cert", "../ca.pem", "-keyfile", "../ca.key"]);
        command.arg("-infiles").args((0..self.count).map(|number| format!("../{number}.csr")));
        let start = Instant::now();
        let output = command.output().context("openssl ca")?;
        let elapsed = start.elapsed();
        ensure!(output.status.success(), "openssl ca: {}", String::from_utf8_lossy(&output.stderr));
        let issued = fs::read_to_string(work.join("index.txt"))?.lines().count();
        ensure!(issued == self.count as usize, "openssl ca issued {issued} certificates, wanted {}", self.count);
        Ok(f64::from(self.count) / elapsed.as_secs_f64())
    }
}

/// Removes the file of a registry, with what is beside it.
pub(crate) fn remove(file: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", file.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(path),
            _ => {}
        }
    }
    Ok(())
}

/// Counts the peak of this process's memory from here on.
pub(crate) fn forget_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// Seconds of processor time that this process, with all its threads, has taken so far.
pub(crate) fn processor_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, which may hold anything, ends with the last parenthesis; utime and stime are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).context("/proc/self/stat");
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    let ticks_per_second: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((ticks(11)? + ticks(12)?) / ticks_per_second)
}

/// The most octets of memory that were resident since then.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
