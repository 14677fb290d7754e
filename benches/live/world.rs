//! A CA with certificates whose status is signed and loaded, a live lane over it that keeps no answers, and somebody who asks.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use aws_lc_rs::rand::SystemRandom;
use kakunin::issuance::{RootOrder, Validity, random_serial, self_signed_root};
use kakunin::pki::ocsp_live::{LiveSingle, LiveStatus, Question, SignedAnswer};
use kakunin::pki::ocsp_request::OcspRequest;
use kakunin::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, Serial, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CertificateRecord, IssuerMode, NewIssuer, OnConflict, Publication, Registry};
use kakunin::responder::live::{Answered, Dropped, Lane, LiveOutcome, Origin, Policy, Reply, Settings, Source};
use kakunin::responder::{Content, Follower};
use kakunin::signing::live::{LiveSigner, LiveSigning, NotSigned, Waiter};
use kakunin::signing::{CrlPolicy, IssuerSigning, ResponseSigner, Timing, Worker, describe_signer};
use kakunin::token::Key;

const CERTIFICATES: u64 = 1000;
/// Requests that wait for their answers at the same time.
const CLIENTS: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

/// When everything happens.
fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000).expect("a time before the year 10000")
}

fn serial(number: u64) -> Serial {
    Serial::from_magnitude(&(number % CERTIFICATES + (1 << 40)).to_be_bytes()).expect("eight octets fit")
}

pub(crate) struct World {
    lane: Lane,
    signer: LiveSigner,
    threads: Vec<JoinHandle<()>>,
    hashes: IssuerHashes,
    asked: AtomicU64,
}

impl World {
    /// A CA that signs its OCSP responses itself, in a registry at `path`.
    pub(crate) fn new(path: &Path, key: &Key, threads: usize) -> Result<World> {
        let validity = Validity { not_before: now(), not_after: now().saturating_add(DAY * 7300) };
        let order = RootOrder { subject: "CN=Bench CA", serial: random_serial(&SystemRandom::new())?, validity, signs_ocsp: true };
        let certificate = CertificateInfo::from_der(&self_signed_root(&order, key.as_ref())?)?;
        let hashes = IssuerHashes::of(&certificate, HashAlgorithm::Sha1);
        let (registry, signing) = publish(path, key, certificate)?;
        let content = Arc::new(Content::new());
        let mut follower = Follower::new(registry, content.clone());
        while follower.step(now())? {}
        let signer = LiveSigner::new(4 * CLIENTS);
        signer.add(LiveSigning::of(&signing, NonZeroU32::MAX).ok_or_else(|| anyhow!("nobody signs"))?);
        let threads = signer.start(threads, now)?;
        let policy = Policy { nonce: true, ..Policy::default() };
        let settings = Settings { timeout: Duration::from_secs(60), cached_answers: 0 };
        let lane = Lane::new(content, [("ca".into(), policy)].into(), Box::new(Signed(signer.clone())), settings);
        Ok(World { lane, signer, threads, hashes, asked: AtomicU64::new(0) })
    }

    /// Answers a second, with [`CLIENTS`] of them asked for at any time.
    pub(crate) fn answers_per_second(self: &Arc<World>, duration: Duration) -> Result<f64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let start = Instant::now();
        let client = |world: Arc<World>| async move {
            let mut answered = 0;
            while start.elapsed() < duration {
                world.ask().await?;
                answered += 1;
            }
            Ok(answered)
        };
        let counts: Result<Vec<u64>> = runtime.block_on(async {
            let mut clients = tokio::task::JoinSet::new();
            (0..CLIENTS).for_each(|_| drop(clients.spawn(client(self.clone()))));
            clients.join_all().await.into_iter().collect()
        });
        Ok(counts?.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
    }

    /// CPU time of the signing threads so far, by their schedstat.
    pub(crate) fn signing_cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir("/proc/self/task")? {
            let task = task?.path();
            if is_signing_thread(&fs::read_to_string(task.join("comm"))?) {
                let stat = fs::read_to_string(task.join("schedstat"))?;
                total += stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default();
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Asks about one certificate, with a nonce that was never used.
    async fn ask(&self) -> Result<()> {
        let number = self.asked.fetch_add(1, Relaxed);
        let cert_id = self.hashes.cert_id(serial(number).as_der_content()).into();
        let nonce = [number.to_be_bytes(), [7; 8]].concat();
        let status = LiveStatus::Issued(CertificateStatus::Good);
        let der = Question { singles: vec![LiveSingle { cert_id, status }], nonce: Some(nonce.into()) }.to_request();
        match self.lane.answer(&OcspRequest::from_der(&der)?, None, false, now).await {
            LiveOutcome::Answered(_, Origin::Signed) => Ok(()),
            other => bail!("{other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.signer.stop();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// By its name, `live-` and a number. (What cargo calls this program begins with `live-` too.)
fn is_signing_thread(comm: &str) -> bool {
    comm.trim_end().strip_prefix("live-").is_some_and(|number| number.parse::<u16>().is_ok())
}

/// Registers the CA with its certificates, and signs and publishes their status.
fn publish(path: &Path, key: &Key, certificate: CertificateInfo) -> Result<(Arc<dyn Registry>, IssuerSigning)> {
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::create(path)?);
    let publication = Publication { cert_id_hashes: [HashAlgorithm::Sha1].into(), crl_partitions: 0, crl_extras: Default::default() };
    let der = certificate.der.clone();
    registry.register_issuer(&NewIssuer { name: "ca".into(), certificate: der, mode: IssuerMode::Open, publication })?;
    let issuer = registry.issuers()?.remove(0);
    let record = |number| CertificateRecord {
        serial: serial(number),
        not_before: None,
        not_after: certificate.not_after,
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    registry.add_certificates(issuer.id, &mut (0..CERTIFICATES).map(|n| Ok(record(n))), OnConflict::Refuse, now())?;
    let signer = describe_signer(key, &certificate, None, &Default::default(), Default::default())?;
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
        profile: Default::default(),
        replaces_future: false,
    };
    let report = Worker::new(registry.clone(), vec![signing.clone()], 2, Default::default())?.pass(&now);
    ensure!(report.responses == CERTIFICATES && report.failures.is_empty(), "{report:?}");
    Ok((registry, signing))
}

/// Between lane and signer, as the service has it.
struct Signed(LiveSigner);

impl Source for Signed {
    fn answers_for(&self, issuer: &str, _: bool) -> bool {
        self.0.signs_for(issuer)
    }

    fn ask(&self, issuer: &str, question: Arc<Question>, _: bool, reply: Reply) {
        self.0.submit(issuer, question.clone(), Box::new(Asked { question, reply }), now());
    }
}

struct Asked {
    question: Arc<Question>,
    reply: Reply,
}

impl Waiter for Asked {
    fn is_waiting(&self) -> bool {
        self.reply.is_awaited()
    }

    fn done(self: Box<Self>, answer: Result<SignedAnswer, NotSigned>, now: Timestamp) {
        let Asked { question, reply } = *self;
        reply.give(answer.map(|answer| Answered { question, answer }).map_err(|_| Dropped::Failed), now);
    }
}
