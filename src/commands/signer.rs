//! The signing side of a running service: a worker for the issuers whose keys could be opened, and patience with the others (S1.1).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tracing::{error, info, warn};

use super::live::LiveLane;
use super::responder_certificates::{ResponderCertificates, Watched};
use super::setup::{self, Opened, Unopened};
use crate::config::Config;
use crate::pki::Timestamp;
use crate::registry::Registry;
use crate::responder::Stop;
use crate::signing::Worker;
use crate::signing::metrics::SigningMetrics;

/// How often keys that could not be opened are tried again, and the certificates of responders looked at.
const RETRY: Duration = Duration::from_secs(10);

/// A signing worker to run in the background.
pub(super) struct BackgroundSigner {
    worker: Worker,
    pub(super) metrics: SigningMetrics,
    /// Told of every issuer whose keys are opened.
    live: LiveLane,
    config: Config,
    registry: Arc<dyn Registry>,
    unopened: Vec<Unopened>,
}

impl BackgroundSigner {
    /// A worker for every issuer of the configuration whose keys can be opened, be it none: what is published is answered whatever token is away, and that
    /// is the service's first duty. Fails where keys cannot be opened for a reason that does not pass by itself.
    pub(super) fn open(config: &Config, registry: &Arc<dyn Registry>, live: &LiveLane) -> Result<BackgroundSigner> {
        let Opened { issuers, unopened } = setup::open_signing(config, registry.as_ref(), |_| true);
        if !unopened.iter().all(Unopened::may_come_back) {
            let all: Vec<String> = unopened.iter().map(Unopened::to_string).collect();
            bail!("cannot sign for every issuer:\n  {}", all.join("\n  "));
        }
        issuers.iter().for_each(|signing| live.add(signing));
        let metrics = SigningMetrics::default();
        let worker = Worker::new(registry.clone(), issuers, config.signing.threads, metrics.clone())?;
        Ok(BackgroundSigner::new(worker, metrics, live, config, registry, unopened))
    }

    /// Goes on with a worker that has worked already.
    pub(super) fn new(
        worker: Worker,
        metrics: SigningMetrics,
        live: &LiveLane,
        config: &Config,
        registry: &Arc<dyn Registry>,
        unopened: Vec<Unopened>,
    ) -> BackgroundSigner {
        // From the first look at the metrics on.
        metrics.failing_issuers.add(unopened.len() as i64);
        BackgroundSigner { worker, metrics, live: live.clone(), config: config.clone(), registry: registry.clone(), unopened }
    }

    /// Signs until the stop.
    pub(super) fn run(self, stop: &Stop) {
        let BackgroundSigner { mut worker, metrics, live, config, registry, unopened } = self;
        let updates = worker.updates();
        let watched = worker.issuers().map(|signing| Watched::new(signing.clone(), updates.clone())).collect();
        let mut certificates =
            ResponderCertificates { config: &config, registry: registry.as_ref(), live: &live, metrics: &metrics, watched };
        std::thread::scope(|scope| {
            scope.spawn(|| worker.run(&|| stop.is_stopped(), &Timestamp::now));
            for failure in &unopened {
                error!("{failure}; what is published of it is answered, and nothing new is signed");
            }
            let (mut waiting, given_up): (Vec<Unopened>, Vec<Unopened>) = unopened.into_iter().partition(|issuer| !issuer.pin_refused());
            for issuer in given_up {
                warn!("issuer '{}': its PIN is not tried again before the next start, so that the token is not locked", issuer.name);
            }
            loop {
                certificates.look(Timestamp::now());
                if !stop.sleep(RETRY) {
                    break;
                }
                if waiting.is_empty() {
                    continue;
                }
                let opened = setup::open_signing(&config, registry.as_ref(), |name| waiting.iter().any(|issuer| issuer.name == name));
                waiting = opened.unopened.into_iter().filter(|issuer| !issuer.pin_refused()).collect();
                for signing in opened.issuers {
                    info!(issuer = signing.issuer.name, "its keys could be opened now");
                    metrics.failing_issuers.sub(1);
                    live.add(&signing);
                    match Worker::new(registry.clone(), vec![signing.clone()], config.signing.threads, metrics.clone()) {
                        Ok(mut worker) => {
                            certificates.watched.push(Watched::new(signing, worker.updates()));
                            scope.spawn(move || worker.run(&|| stop.is_stopped(), &Timestamp::now));
                        }
                        Err(failure) => {
                            error!("issuer '{}': {failure}: nothing is signed for it before the next start", signing.issuer.name)
                        }
                    }
                }
            }
        });
    }
}
