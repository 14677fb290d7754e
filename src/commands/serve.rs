//! `kakunin serve`: answers relying parties, and signs in the background.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::live::LiveLane;
use super::output::Output;
use super::service::{self, Service, Sockets};
use super::signer::BackgroundSigner;
use super::{ConfigFile, setup};
use crate::admin::Admin;

/// Serve OCSP and CRLs, and sign in the background
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin serve --config kakunin.toml --roles responder\n\n\
    Prints one line, `ready ocsp=URL admin=URL` (URL,URL for several addresses), when requests are answered. SIGTERM and Ctrl-C finish what is in flight, and stop.")]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// What this process does. A responder alone needs neither keys nor write access
    #[arg(long, value_delimiter = ',', default_value = "responder,signer")]
    roles: Vec<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answers OCSP and CRL requests
    Responder,
    /// Signs what is due
    Signer,
}

impl Serve {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        if config.issuers.is_empty() && self.roles.contains(&Role::Signer) {
            bail!("configuration {}: no [[issuer]] to sign for", self.config.config.display());
        }
        let responder = self.roles.contains(&Role::Responder).then(|| service::bind(&config.responder)).transpose()?;
        let sockets = Sockets {
            responder,
            admin: Admin::bind(config.admin.listen).with_context(|| format!("admin.listen: cannot listen on {}", config.admin.listen))?,
        };
        let live = LiveLane::new(&config);
        let (registry, signer) = if self.roles.contains(&Role::Signer) {
            let registry = setup::open_registry(&config)?;
            let signer = BackgroundSigner::open(&config, &registry, &live)?;
            (registry, Some(signer))
        } else {
            (setup::open_registry_read_only(&config)?, None)
        };
        let service = Service::start(sockets, registry, signer, live)?;
        let mut output = Output::new();
        let ocsp = service.ocsp_urls();
        let ocsp = if ocsp.is_empty() { String::new() } else { format!("ocsp={} ", ocsp.join(",")) };
        output.line(format!("ready {ocsp}admin={}", service.admin_url()))?;
        output.finish()?;
        service.run_until_signal(config.responder.announce_stop)
    }
}
