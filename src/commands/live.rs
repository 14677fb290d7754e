//! The live lane of a running service: policies from the configuration, and between the responder, which holds no key, and whoever signs: this process, or
//! a node upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::config::{Config, IssuerLiveConfig, LiveConfig, UnknownConfig};
use crate::pki::Timestamp;
use crate::pki::ocsp_live::{Question, SignedAnswer};
use crate::responder::Content;
use crate::responder::live::relay::Relay;
use crate::responder::live::{Answered, Dropped, Lane, Policy, Reply, Settings, Source, UnknownSerial};
use crate::signing::IssuerSigning;
use crate::signing::live::{LiveSigner, LiveSigning, NotSigned, Waiter};

/// What there is to a live lane before anything runs.
#[derive(Clone)]
pub(super) struct LiveLane {
    config: LiveConfig,
    issuers: HashMap<Box<str>, IssuerLiveConfig>,
    signer: LiveSigner,
}

/// A live lane that runs.
pub(super) struct RunningLane {
    pub(super) lane: Arc<Lane>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl LiveLane {
    /// As configured.
    pub(super) fn new(config: &Config) -> LiveLane {
        let live = config.issuers.iter().filter(|issuer| issuer.ocsp.live.is_on());
        let issuers = live.map(|issuer| (issuer.name.as_str().into(), issuer.ocsp.live.clone())).collect();
        LiveLane { config: config.live.clone(), issuers, signer: LiveSigner::new(config.live.queue) }
    }

    /// Signs answers for this issuer here, where its policy has any.
    pub(super) fn add(&self, signing: &IssuerSigning) {
        let policy = self.issuers.get(signing.issuer.name.as_str());
        if let Some(live) = policy.and_then(|policy| LiveSigning::of(signing, policy.budget)) {
            self.signer.add(live);
        }
    }

    /// Starts it; `None` where nothing is to be answered live.
    pub(super) fn start(&self, content: &Arc<Content>, signs: bool) -> Result<Option<RunningLane>> {
        if self.issuers.is_empty() || !signs && self.config.upstream.is_none() {
            return Ok(None);
        }
        let mut threads = if signs { self.signer.start(self.config.threads, Timestamp::now)? } else { Vec::new() };
        let relay = self.config.upstream.as_ref().map(|url| {
            Relay::start(url, self.config.upstream_connections, self.config.queue, self.config.timeout).context("live.upstream")
        });
        let relay = match relay.transpose()? {
            Some((relay, thread)) => {
                threads.push(thread);
                Some(relay)
            }
            None => None,
        };
        let policies = self.issuers.iter().map(|(name, live)| (name.clone(), policy(live))).collect();
        let settings = Settings { timeout: self.config.timeout, cached_answers: self.config.cached_answers };
        let source = Sources { signer: self.signer.clone(), relay };
        let lane = Arc::new(Lane::new(content.clone(), policies, Box::new(source), settings));
        Ok(Some(RunningLane { lane, threads }))
    }

    /// Ends the threads that sign.
    pub(super) fn stop(&self) {
        self.signer.stop();
    }
}

fn policy(live: &IssuerLiveConfig) -> Policy {
    let unknown = match live.unknown {
        UnknownConfig::Unauthorized => UnknownSerial::Unauthorized,
        UnknownConfig::Unknown => UnknownSerial::Unknown,
        UnknownConfig::ExtendedRevoke => UnknownSerial::ExtendedRevoke,
    };
    Policy { nonce: live.nonce, cert_id_hashes: live.other_hashes, several: live.several, unknown }
}

/// Keys here, where there are any for the issuer; otherwise a node upstream.
struct Sources {
    signer: LiveSigner,
    relay: Option<Relay>,
}

impl Source for Sources {
    fn answers_for(&self, issuer: &str, relayed: bool) -> bool {
        self.signer.signs_for(issuer) || self.relay.as_ref().is_some_and(|relay| relay.answers_for(issuer, relayed))
    }

    fn ask(&self, issuer: &str, question: Arc<Question>, relayed: bool, reply: Reply) {
        match &self.relay {
            Some(relay) if !relayed && !self.signer.signs_for(issuer) => relay.ask(issuer, question, relayed, reply),
            _ => {
                let waiter = Box::new(Asked { question: question.clone(), reply });
                self.signer.submit(issuer, question, waiter, Timestamp::now());
            }
        }
    }
}

/// A reply to be given by a signing thread.
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
        let answered = answer.map(|answer| Answered { question, answer }).map_err(|why| match why {
            NotSigned::Budget => Dropped::Budget,
            NotSigned::Queue => Dropped::Queue,
            NotSigned::Abandoned => Dropped::Late,
            NotSigned::Failed => Dropped::Failed,
        });
        reply.give(answered, now);
    }
}
