//! A copy of a demo's registry, served by the program with a refresh interval that is too short for what there is to sign.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;

use super::load::{Pattern, Requests};
use super::machine;
use super::processes::Process;
use super::world::{self, Demo, Key};

const KAKUNIN: &str = env!("CARGO_BIN_EXE_kakunin");
/// The shortest that the configuration allows.
const REFRESH: Duration = Duration::from_secs(60);
/// The CertID hashes for which there are responses: one more than by default, so that a fast core is not done with a million certificates in a minute.
const HASHES: [&str; 3] = ["sha1", "sha256", "sha384"];
/// What the copy takes on disk, and the processes in memory, for each certificate is less.
const OCTETS: u64 = 1000;
/// Certificates that the load asks about.
const ASKED: usize = 100_000;
/// How long a signer may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many signatures show that it has.
const BEGUN: u64 = 5000;

/// The name of the demo's CA that has issued the certificates.
pub(crate) const ISSUER: &str = "issuing";
/// Connections at a time, each with one request under way.
pub(crate) const PATTERN: Pattern = Pattern { connections: 64, depth: 1, fresh: false, rate: None, status: 200 };

/// The copy, which is removed when this is dropped.
pub(crate) struct Refreshing {
    pub(crate) demo: Demo,
    /// Where the copy is.
    directory: PathBuf,
    config: PathBuf,
}

/// A running program.
pub(crate) struct Serving {
    process: Process,
    /// Where it answers OCSP; none for a signer alone.
    ocsp: Option<SocketAddr>,
    admin: SocketAddr,
}

/// What a program has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    at: Instant,
    signatures: u64,
    cpu_seconds: f64,
}

/// What it has done in some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) signatures_per_second: f64,
    /// CPU seconds in a second.
    pub(crate) cores: f64,
    pub(crate) cpu_seconds: f64,
}

impl Refreshing {
    /// Builds the demo, or takes the one that is there, and copies its registry.
    pub(crate) fn copy_of_demo(bench: &Path, certificates: u64) -> Result<Refreshing> {
        machine::require_memory(certificates * OCTETS)?;
        machine::require_disk(bench, certificates * OCTETS)?;
        let demo = Demo::ensure(bench, certificates, Key::P256)?;
        let directory = bench.join("deadlines");
        fs::create_dir_all(&directory)?;
        let this = Refreshing { config: demo.directory.join("deadlines.toml"), demo, directory };
        this.remove_copy()?;
        let original = this.demo.directory.join("registry.sqlite");
        Connection::open(&original)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        fs::copy(original, this.registry())?;
        this.write_config()?;
        Ok(this)
    }

    /// The registry's file.
    pub(crate) fn registry(&self) -> PathBuf {
        self.directory.join("registry.sqlite")
    }

    /// GETs for random certificates.
    pub(crate) fn gets(&self) -> Requests {
        let mut requests = Requests::new("GET ", " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.demo.serials.iter().take(ASKED).for_each(|serial| requests.push(&[self.demo.path(serial).as_bytes()]));
        requests
    }

    /// Starts the program in some roles on some cores, and waits until it is ready.
    pub(crate) fn serve(&self, cores: &str, roles: &str) -> Result<Serving> {
        let (log, config) = (self.directory.join(format!("{roles}.log")), self.config.display().to_string());
        let mut process = Process::start(cores, Path::new(KAKUNIN), &["serve", "--config", &config, "--roles", roles], &log)?;
        let ready = process.wait_for_line("ready ", &log)?;
        let address = |name: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix("=http://"));
        let ocsp = address("ocsp").map(str::parse).transpose()?;
        let admin = address("admin").context("no admin address")?.parse()?;
        Ok(Serving { process, ocsp, admin })
    }

    /// Signatures a second that keep refresh up to date: where there are fewer, it has never been without work.
    pub(crate) fn require_busy(&self, rates: Rates) -> Result<()> {
        let due = (self.demo.serials.len() * HASHES.len()) as f64 / REFRESH.as_secs_f64();
        let found = rates.signatures_per_second;
        ensure!(
            found < due,
            "{found:.0} signatures a second, and refresh needs {due:.0}: it was not always busy: give more --certificates"
        );
        Ok(())
    }

    /// One signing thread: refresh takes one core.
    fn write_config(&self) -> Result<()> {
        let text = fs::read_to_string(self.demo.directory.join("bench.toml"))?;
        let registry = format!("sqlite = \"{}\"", std::path::absolute(self.registry())?.display());
        let lines = text.lines().map(|line| if line.starts_with("sqlite = ") { &registry } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        // What comes last in the demo's is the issuing CA.
        let times = format!("validity = \"8h\"\nrefresh = \"{}s\"", REFRESH.as_secs());
        let added = format!("[issuer.ocsp]\n{times}\ncert_id_hashes = {HASHES:?}\n\n[signing]\nthreads = 1\n");
        Ok(fs::write(&self.config, format!("{text}\n\n{added}"))?)
    }

    fn remove_copy(&self) -> Result<()> {
        let files = ["", "-wal", "-shm"].map(|suffix| self.directory.join(format!("registry.sqlite{suffix}")));
        Ok(files.iter().filter(|file| file.exists()).try_for_each(fs::remove_file)?)
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        let _ = self.remove_copy();
    }
}

impl Serving {
    /// Where it answers OCSP.
    pub(crate) fn ocsp(&self) -> Result<SocketAddr> {
        self.ocsp.context("it does not answer OCSP")
    }

    /// What it has done so far.
    pub(crate) fn done(&self) -> Result<Done> {
        let text = world::fetch(&mut TcpStream::connect(self.admin)?, "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n", 200)?;
        let text = std::str::from_utf8(text.body())?;
        let signatures = text.lines().find_map(|line| line.strip_prefix("kakunin_signing_responses_total "));
        let signatures = signatures.map_or(Ok(0), str::parse).context("/metrics")?;
        Ok(Done { at: Instant::now(), signatures, cpu_seconds: self.cpu_seconds()? })
    }

    /// What it has done since then.
    pub(crate) fn since(&self, before: Done) -> Result<Rates> {
        let now = self.done()?;
        let (seconds, cpu_seconds) = ((now.at - before.at).as_secs_f64(), now.cpu_seconds - before.cpu_seconds);
        let signatures = (now.signatures - before.signatures) as f64;
        Ok(Rates { signatures_per_second: signatures / seconds, cores: cpu_seconds / seconds, cpu_seconds })
    }

    /// Waits until it signs.
    pub(crate) fn wait_until_signing(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.done()?.signatures < BEGUN {
            ensure!(Instant::now() < end, "less than {BEGUN} signatures in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// CPU time of its threads so far. In nanoseconds: ticks are too coarse.
    fn cpu_seconds(&self) -> Result<f64> {
        let mut seconds = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            // A thread may have ended meanwhile.
            let Ok(schedule) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            seconds += schedule.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).context("schedstat")? / 1e9;
        }
        Ok(seconds)
    }
}
