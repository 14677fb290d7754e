//! The signing side of a running service: a worker for the issuers whose keys could be opened, and patience with the others (S1.1).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tracing::{error, info, warn};

use super::live::LiveLane;
use super::opening::{Opened, Opening, Unopened};
use super::responder_certificates::{ResponderCertificates, Watched};
use crate::config::Config;
use crate::pki::Timestamp;
use crate::registry::Registry;
use crate::responder::Stop;
use crate::signing::metrics::SigningMetrics;
use crate::signing::{IssuerSigning, Worker};

/// How often keys that could not be opened are tried again, and the certificates of responders looked at.
const RETRY: Duration = Duration::from_secs(10);

/// A signing worker to run in the background.
pub(super) struct BackgroundSigner {
    worker: Worker,
    pub(super) metrics: SigningMetrics,
    /// Told of every issuer whose keys are opened.
    live: LiveLane,
    opening: Opening,
    unopened: Vec<Unopened>,
}

impl BackgroundSigner {
    /// A worker for every issuer of the configuration whose keys can be opened, be it none: what is published is answered whatever token is away, and that
    /// is the service's first duty. Fails where keys cannot be opened for a reason that does not pass by itself. Tokens that do not answer are waited for
    /// some seconds.
    pub(super) fn open(config: &Config, registry: &Arc<dyn Registry>, live: &LiveLane) -> Result<BackgroundSigner> {
        let mut opening = Opening::new(config, registry);
        opening.begin(|_| true);
        let Opened { issuers, mut unopened, .. } = opening.wait(&|| false);
        if !unopened.iter().all(Unopened::may_come_back) {
            let all: Vec<String> = unopened.iter().map(Unopened::to_string).collect();
            bail!("cannot sign for every issuer:\n  {}", all.join("\n  "));
        }
        unopened.extend(opening.silent());
        issuers.iter().for_each(|signing| live.add(signing));
        let metrics = SigningMetrics::default();
        let worker = Worker::new(registry.clone(), issuers, config.signing.threads, metrics.clone())?;
        Ok(BackgroundSigner::new(worker, metrics, live, opening, unopened))
    }

    /// Goes on with a worker that has worked already.
    pub(super) fn new(
        worker: Worker,
        metrics: SigningMetrics,
        live: &LiveLane,
        opening: Opening,
        unopened: Vec<Unopened>,
    ) -> BackgroundSigner {
        // From the first look at the metrics on.
        metrics.failing_issuers.add(unopened.len() as i64);
        BackgroundSigner { worker, metrics, live: live.clone(), opening, unopened }
    }

    /// Signs until the stop.
    pub(super) fn run(self, stop: &Stop) {
        let BackgroundSigner { mut worker, metrics, live, mut opening, unopened } = self;
        let (config, registry) = (opening.config.clone(), opening.registry.clone());
        let updates = worker.updates();
        let watched = worker.issuers().map(|signing| Watched::new(signing.clone(), updates.clone())).collect();
        let mut certificates =
            ResponderCertificates { config: &config, registry: registry.as_ref(), live: &live, metrics: &metrics, watched };
        std::thread::scope(|scope| {
            scope.spawn(|| worker.run(&|| stop.is_stopped(), &Timestamp::now));
            let mut waiting = Waiting::of(unopened, metrics.clone());
            loop {
                certificates.look(Timestamp::now());
                if !stop.sleep(RETRY) {
                    break;
                }
                if waiting.issuers.is_empty() {
                    continue;
                }
                opening.begin(|name| waiting.has(name));
                let opened = opening.wait(&|| stop.is_stopped());
                waiting.go_on(opened, |signing| {
                    let mut worker = Worker::new(registry.clone(), vec![signing.clone()], config.signing.threads, metrics.clone())?;
                    live.add(&signing);
                    certificates.watched.push(Watched::new(signing, worker.updates()));
                    scope.spawn(move || worker.run(&|| stop.is_stopped(), &Timestamp::now));
                    Ok(())
                });
            }
        });
    }
}

/// The issuers whose keys are tried again. Each counts as failing until it is signed for, and whatever becomes of it is logged.
struct Waiting {
    issuers: Vec<Unopened>,
    metrics: SigningMetrics,
}

impl Waiting {
    /// Those of `unopened`, which count as failing already, that may be tried again.
    fn of(unopened: Vec<Unopened>, metrics: SigningMetrics) -> Waiting {
        let mut waiting = Waiting { issuers: Vec::new(), metrics };
        waiting.keep(&[], unopened);
        waiting
    }

    fn has(&self, name: &str) -> bool {
        self.issuers.iter().any(|issuer| issuer.name == name)
    }

    /// Takes what came of another try: `start` begins to sign for an issuer.
    fn go_on(&mut self, opened: Opened, mut start: impl FnMut(IssuerSigning) -> Result<()>) {
        let Opened { issuers, mut unopened, tried } = opened;
        let waiting = std::mem::take(&mut self.issuers).into_iter();
        let (before, others): (Vec<_>, Vec<_>) = waiting.partition(|issuer| tried.contains(&issuer.name));
        self.issuers = others;
        for signing in issuers {
            let name = signing.issuer.name.clone();
            match start(signing) {
                Ok(()) => info!(issuer = name, "its keys could be opened now"),
                Err(why) => unopened.push(Unopened { name, why }),
            }
        }
        // An issuer that is neither is closed by now, and nothing is to be signed for it.
        self.metrics.failing_issuers.sub(before.len() as i64 - unopened.len() as i64);
        self.keep(&before, unopened);
    }

    /// Says of each why it waits, where that was not known, and gives up those whose PIN was refused.
    fn keep(&mut self, known: &[Unopened], unopened: Vec<Unopened>) {
        let known: Vec<String> = known.iter().map(Unopened::to_string).collect();
        for issuer in unopened {
            if !known.contains(&issuer.to_string()) {
                error!("{issuer}; what is published of it is answered, and nothing new is signed");
            }
            if issuer.pin_refused() {
                warn!("issuer '{}': its PIN is not tried again before the next start, so that the token is not locked", issuer.name);
            } else {
                self.issuers.push(issuer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::opening;
    use crate::issuance::{RootOrder, Validity, self_signed_root};
    use crate::pki::KeyAlgorithm;
    use crate::pki::certificate::certificate_pem;
    use crate::registry::sqlite::SqliteRegistry;
    use crate::token::TokenError;
    use crate::token::software::SoftwareKey;
    use anyhow::anyhow;

    /// What can be signed for: one CA with its key in a file.
    fn opened() -> Opened {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let registry = SqliteRegistry::create(&path("registry.sqlite")).unwrap();
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        key.create_file(&path("ca.key")).unwrap();
        let validity = Validity { not_before: Timestamp::default(), not_after: Timestamp::from_unix(4_000_000_000).unwrap() };
        let root = RootOrder { subject: "CN=CA", serial: "01".parse().unwrap(), validity, signs_ocsp: true };
        std::fs::write(path("ca.pem"), certificate_pem(&self_signed_root(&root, &key).unwrap())).unwrap();
        let text = "base_url = 'http://va.example'\n[registry]\nsqlite = 'registry.sqlite'\n\
            [[issuer]]\nname = 'ca'\ncertificate = 'ca.pem'\nkey = { file = 'ca.key' }\n";
        std::fs::write(path("kakunin.toml"), text).unwrap();
        opening::open_signing(&Config::load(&path("kakunin.toml")).unwrap(), &registry, |_| true)
    }

    fn unopened(name: &str, why: impl Into<anyhow::Error>) -> Unopened {
        Unopened { name: name.to_owned(), why: why.into() }
    }

    fn waiting(names: &[&str]) -> (Waiting, SigningMetrics) {
        let metrics = SigningMetrics::default();
        metrics.failing_issuers.add(names.len() as i64);
        let absent = |name: &&str| unopened(name, TokenError::Busy { token: "hsm".into(), seconds: 30 });
        (Waiting::of(names.iter().map(absent).collect(), metrics.clone()), metrics)
    }

    #[test]
    fn an_issuer_waits_and_counts_as_failing_until_it_is_signed_for() {
        let (mut waiting, metrics) = waiting(&["ca"]);
        waiting.go_on(opened(), |_| Err(anyhow!("the registry is busy")));
        assert!(waiting.has("ca") && metrics.failing_issuers.get() == 1, "its worker could not be made");
        waiting.go_on(opened(), |_| Ok(()));
        assert!(!waiting.has("ca") && metrics.failing_issuers.get() == 0);
    }

    #[test]
    fn a_refused_pin_is_not_tried_again_and_stays_an_alarm() {
        let (mut waiting, metrics) = waiting(&["ca", "other", "closed"]);
        let refused = TokenError::WrongPin { token: "hsm".into(), place: "hsm.pin".into() };
        let unopened = vec![unopened("ca", refused), unopened("other", anyhow!("another reason"))];
        let tried = ["ca", "other", "closed"].map(str::to_owned).into();
        waiting.go_on(Opened { unopened, tried, ..Opened::default() }, |_| Ok(()));
        assert!(!waiting.has("ca") && waiting.has("other") && !waiting.has("closed"));
        assert_eq!(metrics.failing_issuers.get(), 2, "the closed one is no alarm any more");
    }
}
