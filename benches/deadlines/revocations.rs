//! How soon a revocation is answered while refresh is busy and clients ask at half of the greatest rate.
//!
//! Everything shares both cores: the program in both roles with one signing thread, the load, whose thread is always busy with looking for its time, and the
//! one that revokes and asks. The greatest rate was measured just before, of the same program without signing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use der::Decode;
use kakunin::pki::ocsp_request::encode_request;
use kakunin::pki::{Revocation, RevocationReason, Serial, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{IssuerId, Registry, RevokeOutcome};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

use super::load::{Load, Pattern, Random, Requests, response_length};
use super::refreshing::{ISSUER, PATTERN, Refreshing};
use super::report::{BESIDE, Report, Wanted};
use super::say;

const CORES: &str = "0,1";
/// How long the greatest rate is measured, after as long a warm-up.
const MAXIMUM: Duration = Duration::from_secs(3);
/// The load is put in slices of this.
const SLICE: Duration = Duration::from_secs(1);
/// Between two questions about the same certificate.
const POLL: Duration = Duration::from_micros(500);
/// Between two revocations there is up to so much, so that they fall anywhere into the pauses of signer and follower.
const PAUSE_MICROSECONDS: usize = 40_000;
/// A revocation that is not answered so soon ends the measurement.
const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds of every revocation of a round, in order of size.
#[derive(Default)]
struct Times {
    commit: Vec<f64>,
    answered: Vec<f64>,
}

/// What revokes, and asks.
struct Revoker<'a> {
    world: &'a Refreshing,
    registry: SqliteRegistry,
    issuer: IssuerId,
    stream: TcpStream,
    /// Certificates that have not been revoked here.
    left: Box<dyn Iterator<Item = &'a Serial> + 'a>,
    random: Random,
}

/// Adds the figures to the report.
pub(crate) fn measure(world: &Refreshing, rounds: u64, revocations: u64, report: &mut Report) -> Result<()> {
    let requests = world.gets();
    let maximum = maximum_rate(world, &requests)?;
    let program = world.serve(CORES, "responder,signer")?;
    program.wait_until_signing()?;
    let load = Pattern { rate: Some(maximum / 2.0), ..PATTERN };
    let mut revoker = Revoker::new(world, program.ocsp()?)?;
    let mut figures: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        say(&format!("revocation: round {} of {rounds}, {:.0} GETs a second", round + 1, maximum / 2.0))?;
        let before = program.done()?;
        let (times, rate) = under_load(program.ocsp()?, &requests, load, || revoker.revoke_some(revocations))?;
        let rates = program.since(before)?;
        world.require_busy(rates)?;
        let mut add = |name, value| figures.entry(name).or_default().push(value);
        add("p50", quantile(&times.answered, 0.5));
        add("p99", quantile(&times.answered, 0.99));
        add("max", quantile(&times.answered, 1.0));
        add("commit", quantile(&times.commit, 0.5));
        add("load", rate / maximum);
        add("signatures", rates.signatures_per_second);
        add("cores", rates.cores);
    }
    let mut add = |name: &str, unit, wanted, key| report.add(name, unit, wanted, figures.remove(key).unwrap_or_default());
    let wanted = Wanted { must: "≤ 100", goal: "≤ 20" };
    let title = format!("revoke acknowledged → first answer `revoked` ({revocations}× a round), p99");
    add(&title, "ms", wanted, "p99");
    add("  p50", "ms", BESIDE, "p50");
    add("  at the most", "ms", BESIDE, "max");
    add("  before that: the revocation committed, p50", "ms", BESIDE, "commit");
    add("  GETs meanwhile ÷ the greatest rate without refresh", "", BESIDE, "load");
    add("  signatures meanwhile", "a second", BESIDE, "signatures");
    add("  cores that the program used", "", BESIDE, "cores");
    report.add("  the greatest rate without refresh", "GETs a second", BESIDE, [maximum]);
    Ok(())
}

fn maximum_rate(world: &Refreshing, requests: &Requests) -> Result<f64> {
    let (program, mut random) = (world.serve(CORES, "responder")?, Random(1));
    let mut load = Load::new(program.ocsp()?, requests, PATTERN, &mut random)?;
    load.run(MAXIMUM)?;
    let measured = load.run(MAXIMUM)?;
    Ok(measured.responses as f64 / measured.elapsed.as_secs_f64())
}

/// Does something while there is load, and tells how many GETs a second were answered.
fn under_load<T>(address: SocketAddr, requests: &Requests, load: Pattern, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| {
            let (mut random, mut responses, mut seconds) = (Random(1), 0, 0.0);
            while !done.load(Relaxed) {
                let measured = Load::new(address, requests, load, &mut random)?.run(SLICE)?;
                (responses, seconds) = (responses + measured.responses, seconds + measured.elapsed.as_secs_f64());
            }
            Ok::<f64, anyhow::Error>(responses as f64 / seconds)
        });
        std::thread::sleep(SLICE / 2);
        let outcome = work();
        done.store(true, Relaxed);
        let rate = generator.join().map_err(|_| anyhow::anyhow!("the load has panicked"))?;
        Ok((outcome?, rate.context("the load")?))
    })
}

impl<'a> Revoker<'a> {
    fn new(world: &'a Refreshing, address: SocketAddr) -> Result<Revoker<'a>> {
        let registry = SqliteRegistry::open(&world.registry())?;
        let issuer = registry.issuers()?.into_iter().find(|issuer| issuer.name == ISSUER).context("the demo has an issuing CA")?.id;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Revoker { world, registry, issuer, stream, left: Box::new(world.demo.serials.iter().rev()), random: Random(2) })
    }

    /// One after the other.
    fn revoke_some(&mut self, count: u64) -> Result<Times> {
        let mut times = Times::default();
        while (times.answered.len() as u64) < count {
            let serial = self.left.next().context("no certificate is left")?;
            std::thread::sleep(Duration::from_micros(self.random.below(PAUSE_MICROSECONDS) as u64));
            // Some are revoked from the beginning.
            if self.is_revoked(serial)? {
                continue;
            }
            let (commit, answered) = self.revoke(serial)?;
            times.commit.push(commit.as_secs_f64() * 1e3);
            times.answered.push(answered.as_secs_f64() * 1e3);
        }
        times.commit.sort_by(f64::total_cmp);
        times.answered.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// How long the commit took, and the answer from then on.
    fn revoke(&mut self, serial: &Serial) -> Result<(Duration, Duration)> {
        let revocation = Revocation { at: Timestamp::now(), reason: Some(RevocationReason::KeyCompromise) };
        let start = Instant::now();
        let outcome = self.registry.revoke(self.issuer, serial, revocation, None, revocation.at)?;
        let acknowledged = Instant::now();
        ensure!(outcome == RevokeOutcome::Revoked, "{serial}: {outcome:?}");
        while !self.is_revoked(serial)? {
            ensure!(acknowledged.elapsed() < PATIENCE, "{serial} is not answered revoked after {PATIENCE:?}");
            std::thread::sleep(POLL);
        }
        Ok((acknowledged - start, acknowledged.elapsed()))
    }

    /// Asks by POST, and reads the answer.
    fn is_revoked(&mut self, serial: &Serial) -> Result<bool> {
        let request = encode_request(&self.world.demo.hashes, serial);
        let length = request.len();
        let head = format!("POST / HTTP/1.1\r\nHost: va\r\nContent-Type: application/ocsp-request\r\nContent-Length: {length}\r\n\r\n");
        self.stream.write_all(&[head.as_bytes(), &request].concat())?;
        let (mut octets, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            if let Some((status, head, _)) = response_length(&octets)? {
                ensure!(status == 200, "{serial}: answered {status}");
                return says_revoked(&octets[head..], serial);
            }
            let read = self.stream.read(&mut buffer)?;
            ensure!(read > 0, "the connection was closed");
            octets.extend_from_slice(&buffer[..read]);
        }
    }
}

fn says_revoked(body: &[u8], serial: &Serial) -> Result<bool> {
    let response = OcspResponse::from_der(body).context("not an OCSPResponse")?;
    let bytes = response.response_bytes.context("an OCSP error instead of a response")?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).context("not a BasicOCSPResponse")?;
    let [single] = &basic.tbs_response_data.responses[..] else { anyhow::bail!("not one SingleResponse") };
    ensure!(single.cert_id.serial_number.as_bytes() == serial.as_der_content(), "the response is about another serial");
    Ok(matches!(single.cert_status, CertStatus::Revoked(_)))
}

/// Of values in order.
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
