//! The running program: responder, signing worker and admin listener in one process, each where its role is wanted, stopped together.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::live::LiveLane;
use super::signer::BackgroundSigner;
use crate::admin::{Admin, Part, ResponderPart};
use crate::config::ResponderConfig;
use crate::pki::Timestamp;
use crate::registry::Registry;
use crate::responder::{Content, Follower, Limits, Readiness, Running, Server, Stop};
use crate::signing::metrics::SigningMetrics;

/// How long background threads may take to end: a signature that was begun cannot be interrupted.
const LAST_SIGNATURES: Duration = Duration::from_secs(5);
/// How often readiness is looked at while waiting for it.
const LOOK: Duration = Duration::from_millis(5);

/// Sockets that are taken before anything else is done.
pub(super) struct Sockets {
    /// For relying parties; none where this process does not answer them.
    pub(super) responder: Option<Server>,
    /// For the operator.
    pub(super) admin: Admin,
}

/// Everything that runs.
pub(super) struct Service {
    /// Told of the stop before anybody else: from then on the node is not ready.
    announced: Stop,
    stop: Stop,
    /// The stop of the admin listener, which tells of all others to the end.
    admin_stop: Stop,
    content: Arc<Content>,
    responder: Option<Running>,
    admin: SocketAddr,
    admin_thread: JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
    live: LiveLane,
    signals: Signals,
}

/// Files that are open beside connections: registry, listeners, token modules.
const OTHER_FILES: u64 = 256;

/// Listens for relying parties, as configured.
pub(super) fn bind(config: &ResponderConfig) -> Result<Server> {
    let wanted = config.max_connections as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            warn!("open files: found a hard limit of {limit}, wanted {wanted} for responder.max_connections = {}", config.max_connections);
        }
        Ok(_) => {}
        Err(e) => warn!("open files: the limit cannot be raised to {wanted}: {e}"),
    }
    let limits = Limits {
        max_connections: config.max_connections,
        max_requests_per_connection: config.max_requests_per_connection,
        max_header_bytes: config.max_header_bytes,
        header_read_timeout: config.header_read_timeout,
        body_read_timeout: config.body_read_timeout,
        write_stall_timeout: config.write_stall_timeout,
        drain_timeout: config.drain_timeout,
        max_cache_age: config.max_age,
    };
    let threads = NonZeroUsize::new(config.threads).unwrap_or(NonZeroUsize::MIN);
    Server::bind(&config.listen, threads, limits).context("responder.listen")
}

impl Service {
    /// Starts what there are sockets and workers for. Relying parties are answered once the registry has been read.
    pub(super) fn start(
        sockets: Sockets,
        registry: Arc<dyn Registry>,
        signer: Option<BackgroundSigner>,
        live: LiveLane,
    ) -> Result<Service> {
        let (announced, stop, admin_stop, content) = (Stop::new(), Stop::new(), Stop::new(), Arc::new(Content::new()));
        let mut parts: Vec<Arc<dyn Part>> = vec![Arc::new(StoppingPart(announced.clone()))];
        let (mut threads, signs) = (Vec::new(), signer.is_some());
        if let Some(signer) = signer {
            parts.push(Arc::new(SigningPart(signer.metrics.clone())));
            let stop = stop.clone();
            let work = move || signer.run(&stop);
            threads.push(std::thread::Builder::new().name("signing".to_owned()).spawn(work)?);
        }
        let responder = match sockets.responder {
            Some(server) => {
                threads.push(Follower::start(registry, content.clone(), stop.clone())?);
                wait_until(&stop, Duration::from_secs(3600), || content.feed.is_loaded());
                let lane = live.start(&content, signs)?.map(|running| {
                    threads.extend(running.threads);
                    running.lane
                });
                Some(server.with_live(lane).run(&content, &stop)?)
            }
            None => None,
        };
        if let Some(running) = &responder {
            parts.push(Arc::new(ResponderPart::new(content.clone(), running.statistics().clone())));
        }
        let admin = sockets.admin.local_addr();
        let admin_thread = sockets.admin.run(parts.into(), admin_stop.clone())?;
        // From here on there is something to finish; before, a signal ends the process at once, which loses nothing.
        let signals = Signals::catch()?;
        Ok(Service { announced, stop, admin_stop, content, responder, admin, admin_thread, threads, live, signals })
    }

    /// Waits until everything is loaded and fresh.
    pub(super) fn wait_until_ready(&self, patience: Duration) -> Result<()> {
        let ready = || Readiness::of(&self.content, Timestamp::now()).is_ready();
        if wait_until(&self.stop, patience, ready) {
            return Ok(());
        }
        bail!("not ready after {} s:\n  {}", patience.as_secs(), Readiness::of(&self.content, Timestamp::now()).reasons.join("\n  "))
    }

    /// Where OCSP and CRL requests are answered: a URL for each address, in the order of the configuration.
    pub(super) fn ocsp_urls(&self) -> Vec<String> {
        let addresses = self.responder.as_ref().map(Running::addresses).unwrap_or_default();
        addresses.iter().map(|address| format!("http://{address}")).collect()
    }

    /// Where the operator's questions are answered.
    pub(super) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Runs until Ctrl-C or SIGTERM; then is not ready, goes on answering for `announce`, finishes what is in flight, and ends. The admin listener ends last.
    pub(super) fn run_until_signal(self, announce: Duration) -> Result<()> {
        self.signals.wait();
        info!("stopping");
        self.announced.stop();
        if self.responder.is_some() {
            std::thread::sleep(announce);
        }
        self.stop.stop();
        if let Some(responder) = self.responder {
            responder.join();
        }
        self.live.stop();
        end_threads(self.threads)?;
        self.admin_stop.stop();
        end_threads(vec![self.admin_thread])
    }
}

/// Waits for threads that were told to end, for as long as a last signature may take.
fn end_threads(threads: Vec<JoinHandle<()>>) -> Result<()> {
    let end = Instant::now() + LAST_SIGNATURES;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        let name = thread.thread().name().unwrap_or_default().to_owned();
        match thread.is_finished() {
            true if thread.join().is_err() => bail!("the thread '{name}' has panicked"),
            true => {}
            // It ends with the process. Whatever it would have published is done again at the next start.
            false => warn!("the thread '{name}' did not end within {} s: a token does not answer", LAST_SIGNATURES.as_secs()),
        }
    }
    Ok(())
}

fn wait_until(stop: &Stop, patience: Duration, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() >= end || !stop.sleep(LOOK) {
            return false;
        }
    }
    true
}

/// Ctrl-C and SIGTERM, caught from the moment of [`Signals::catch`] on: one that comes before anybody waits is not lost.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let within = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(within);
        Ok(Signals { runtime, terminate, interrupt })
    }

    /// Waits for the first. A second one, while what is in flight is finished, ends the process at once.
    fn wait(mut self) {
        self.next();
        std::thread::spawn(move || {
            self.next();
            std::process::exit(130);
        });
    }

    fn next(&mut self) {
        let Signals { runtime, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        });
    }
}

/// Whether the process is about to end.
struct StoppingPart(Stop);

impl Part for StoppingPart {
    fn readiness(&self, _: Timestamp) -> Readiness {
        let reasons = if self.0.is_stopped() { vec!["stopping".to_owned()] } else { Vec::new() };
        Readiness { reasons, remarks: Vec::new() }
    }

    fn metrics(&self, _: &prometheus::Registry, _: Timestamp) -> prometheus::Result<()> {
        Ok(())
    }
}

/// The signing worker, as operators see it.
struct SigningPart(SigningMetrics);

impl Part for SigningPart {
    fn readiness(&self, _: Timestamp) -> Readiness {
        // What is published stays valid while signing fails: that is an alarm (`kakunin_signing_failing_issuers`), not a reason to take the node out.
        Readiness::default()
    }

    fn metrics(&self, registry: &prometheus::Registry, _: Timestamp) -> prometheus::Result<()> {
        self.0.register(registry)
    }
}
