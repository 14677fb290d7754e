//! `kakunin demo`: a CA hierarchy, its certificates and its validation authority, from nothing, in one command.
//!
//! Every step looks first at what is there and adds what is missing, so a demo that was interrupted anywhere goes on where it was.

mod examples;
mod files;
mod hierarchy;
mod population;
mod samples;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::live::LiveLane;
use super::opening::Opening;
use super::output::{Output, progress, watch};
use super::service::{self, Service, Sockets};
use super::signer::BackgroundSigner;
use super::{opening, setup};
use crate::admin::Admin;
use crate::config::{AdminConfig, Config, ResponderConfig};
use crate::pki::{KeyAlgorithm, Timestamp};
use crate::responder::Server;
use crate::signing::Worker;
use crate::signing::metrics::SigningMetrics;
use files::Plan;

/// Where a new demo answers OCSP and CRL requests.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2560);
/// CRL partitions of the issuing CA.
const PARTITIONS: u32 = 8;

/// Build a CA with certificates in a directory, sign their status, and serve it
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin demo --certificates 100000 --revoked 2000 --key-algorithm rsa-2048\n\n\
    Run again on the same directory, it resumes what is there. Ctrl-C stops it.")]
pub(super) struct Demo {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "kakunin-demo")]
    dir: PathBuf,
    /// How many certificates to issue [default: 10000, or what is there]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=200_000_000))]
    certificates: Option<u64>,
    /// How many of them to revoke [default: 500 and at most half, or what is there]
    #[arg(long, value_name = "M")]
    revoked: Option<u64>,
    /// Where to answer OCSP and CRL requests [default: 127.0.0.1:2560, or as in DIR/kakunin.toml]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where to answer /livez, /readyz and /metrics [default: 127.0.0.1:2561, or as in DIR/kakunin.toml]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Keys of the CAs and the OCSP responder: rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384 or ed25519 [default: ecdsa-p256, or what is there]
    #[arg(long, value_name = "ALGORITHM")]
    key_algorithm: Option<KeyAlgorithm>,
}

impl Demo {
    pub(super) fn run(self) -> Result<()> {
        let config_path = self.dir.join("kakunin.toml");
        let before = files::read_plan(&self.dir)?;
        let mut plan = self.plan(before.as_ref())?;
        if before.is_none() {
            files::refuse_foreign(&self.dir)?;
        }
        let mut responder = ResponderConfig { listen: vec![plan.listen], ..Default::default() };
        let mut admin = self.admin.unwrap_or(plan.admin);
        if config_path.exists() {
            let config = Config::load(&config_path)?;
            (responder, admin) = (config.responder, self.admin.unwrap_or(config.admin.listen));
        }
        responder.listen = self.listen.map_or(responder.listen, |address| vec![address]);
        // The port is part of every certificate, so it is taken before anything is made.
        let (server, announce_stop) = (service::bind(&responder)?, responder.announce_stop);
        let sockets =
            Sockets { admin: Admin::bind(admin).with_context(|| format!("--admin: cannot listen on {admin}"))?, responder: Some(server) };
        if before.is_none() {
            plan.listen = sockets.responder.as_ref().map_or(plan.listen, Server::local_addr);
        }
        let service = self.build_and_serve(&config_path, &plan, sockets)?;
        service.run_until_signal(announce_stop)
    }

    /// Makes what is missing of the plan, signs what is due, starts serving, and tells how to ask.
    fn build_and_serve(&self, config_path: &Path, plan: &Plan, sockets: Sockets) -> Result<Service> {
        // The plan comes first: it is what tells this directory from somebody else's.
        files::write_plan(&self.dir, plan)?;
        files::create_directories(&self.dir)?;
        hierarchy::ensure(&self.dir, plan, Timestamp::now())?;
        files::ensure_config(config_path, plan)?;
        let config = Config::load(config_path)?;
        let registry = setup::open_or_create_registry(&config.registry.sqlite)?;
        let issuers = opening::open_signing(&config, registry.as_ref(), |_| true).all()?;
        population::ensure(&self.dir, &config, registry.as_ref(), plan)?;

        let live = LiveLane::new(&config);
        issuers.iter().for_each(|signing| live.add(signing));
        let metrics = SigningMetrics::default();
        let mut worker = Worker::new(registry.clone(), issuers, config.signing.threads, metrics.clone())?;
        sign_with_progress(&mut worker, &metrics, plan)?;
        let signer = BackgroundSigner::new(worker, metrics, &live, Opening::new(&config, &registry), Vec::new());
        let service = Service::start(sockets, registry.clone(), Some(signer), live)?;
        service.wait_until_ready(Duration::from_secs(60))?;

        let counts = registry.counts(setup::find_issuer(registry.as_ref(), "issuing")?.id)?;
        let (ocsp, admin) = (service.ocsp_urls(), service.admin_url());
        let mut output = Output::new();
        examples::print(&mut output, &self.dir, ocsp.first().map_or("", String::as_str), counts)?;
        let total = counts.good + counts.revoked;
        output.line(format!("ready ocsp={} admin={admin} certificates={total} revoked={}", ocsp.join(","), counts.revoked))?;
        output.finish()?;
        Ok(service)
    }

    /// What is to be there: what was asked for, and for the rest what is there already.
    fn plan(&self, before: Option<&Plan>) -> Result<Plan> {
        let certificates = self.certificates.or(before.map(|p| p.certificates)).unwrap_or(10_000);
        let default_revoked = || before.map_or(500, |p| p.revoked).min(certificates / 2);
        let revoked = self.revoked.unwrap_or_else(default_revoked);
        if revoked >= certificates {
            bail!("--revoked: found {revoked}, wanted less than --certificates ({certificates})");
        }
        let key_algorithm = match (self.key_algorithm, before) {
            (Some(asked), Some(plan)) if plan.key_algorithm()? != asked => {
                let there = &plan.key_algorithm;
                bail!("--key-algorithm: found {asked}, but {} has {there} keys: choose another --dir", self.dir.display())
            }
            (Some(asked), _) => asked,
            (None, Some(plan)) => plan.key_algorithm()?,
            (None, None) => KeyAlgorithm::EcdsaP256,
        };
        let listen = before.map(|p| p.listen).or(self.listen).unwrap_or(DEFAULT_LISTEN);
        let admin = before.map(|p| p.admin).or(self.admin).unwrap_or(AdminConfig::default().listen);
        Ok(Plan { certificates, revoked, key_algorithm: key_algorithm.name().to_owned(), listen, admin })
    }
}

/// Signs everything that is due, with a progress bar on a terminal.
fn sign_with_progress(worker: &mut Worker, metrics: &SigningMetrics, plan: &Plan) -> Result<()> {
    let bar = progress(2 * plan.certificates, "signing responses");
    let report = watch(&bar, &|| metrics.responses.get(), || worker.pass(&Timestamp::now));
    match &report.failures[..] {
        [] => Ok(()),
        failures => bail!("signing: {}", failures.join("; ")),
    }
}
