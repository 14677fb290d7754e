//! `kakunin sign`: one pass of the signing worker.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::ConfigFile;
use super::opening::{self, Opened, Unopened};
use super::output::Output;
use super::setup;
use crate::pki::Timestamp;
use crate::registry::{CrlHead, Issuer, IssuerMode, PackHead, Registry};
use crate::signing::{IssuerSigning, Worker};

/// Sign everything that is due: OCSP responses and CRLs
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin sign --config kakunin.toml --once\n\nA continuous worker is `kakunin serve --roles signer`.")]
pub(super) struct Sign {
    #[command(flatten)]
    config: ConfigFile,
    /// Sign what is due now, and return
    #[arg(long, required = true)]
    once: bool,
    /// The clock was ahead, and is right now: sign anew what has a thisUpdate that is still to come
    #[arg(long)]
    replace_future: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let registry = setup::open_registry(&config)?;
        let Opened { mut issuers, unopened, .. } = opening::open_signing(&config, registry.as_ref(), |_| true);
        issuers.iter_mut().for_each(|signing| signing.replaces_future = self.replace_future);
        let watched: Vec<_> = issuers.iter().map(Watched::of).collect();
        let mut worker = Worker::new(registry.clone(), issuers, config.signing.threads, Default::default())?;
        let mut report = worker.pass(&Timestamp::now);
        let ahead = watched.iter().map(|issuer| issuer.ahead(registry.as_ref(), Timestamp::now()));
        report.failures.extend(ahead.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        report.failures.extend(unopened.iter().map(Unopened::to_string));
        let mut output = Output::new();
        let written = match self.json {
            true => output.json(&report),
            false => {
                output.line(format!("signed {} responses: {} packs and {} CRLs published", report.responses, report.packs, report.crls))
            }
        };
        written.and_then(|()| output.finish()).context("standard output")?;
        match &report.failures[..] {
            [] => Ok(()),
            failures => bail!("{} of it failed:\n  {}", failures.len(), failures.join("\n  ")),
        }
    }
}

/// An issuer for which there is a key here.
struct Watched {
    issuer: Issuer,
    signs_responses: bool,
    signs_crls: bool,
}

impl Watched {
    fn of(signing: &IssuerSigning) -> Watched {
        Watched { issuer: signing.issuer.clone(), signs_responses: signing.responder.is_some(), signs_crls: signing.crl_key.is_some() }
    }

    /// What is published of what is signed here, and not valid yet: nobody is answered with it, and nothing of it is due.
    fn ahead(&self, registry: &dyn Registry, now: Timestamp) -> Result<Option<String>> {
        if self.issuer.mode == IssuerMode::Closed {
            return Ok(None);
        }
        let packs = if self.signs_responses { registry.pack_heads(self.issuer.id)? } else { Vec::new() };
        let crls = if self.signs_crls { registry.crl_heads(self.issuer.id)? } else { Vec::new() };
        Ok(what_is_ahead(&self.issuer, &packs, &crls, now))
    }
}

/// One sentence about what an issuer publishes and what is not valid yet.
fn what_is_ahead(issuer: &Issuer, packs: &[PackHead], crls: &[CrlHead], now: Timestamp) -> Option<String> {
    let packs = packs.iter().filter(|pack| issuer.publication.cert_id_hashes.contains(&pack.cert_id_hash)).map(|pack| pack.this_update);
    let packs: Vec<_> = packs.filter(|at| at.is_ahead_of(now)).collect();
    let crls: Vec<_> = crls.iter().filter(|crl| issuer.publication.has_crl(crl.scope) && crl.this_update.is_ahead_of(now)).collect();
    let until = packs.iter().copied().chain(crls.iter().map(|crl| crl.this_update)).max()?;
    let scopes: Vec<_> = crls.iter().map(|crl| crl.scope.to_string()).collect();
    let what = match (packs.len(), scopes.is_empty()) {
        (count, true) => format!("{count} packs of OCSP responses"),
        (0, false) => format!("CRLs ({})", scopes.join(", ")),
        (count, false) => format!("{count} packs of OCSP responses, and CRLs ({})", scopes.join(", ")),
    };
    Some(format!(
        "issuer '{}': {what} are not valid yet, until {until}, and the clock shows {now}: nobody is answered with them; if the clock was ahead when they were signed, and is right now: kakunin sign --once --replace-future",
        issuer.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::HashAlgorithm;
    use crate::registry::{CrlScope, IssuerId, Publication};

    const SIGNED: u64 = 1_800_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    fn pack(cert_id_hash: HashAlgorithm) -> PackHead {
        let (this_update, next_update) = (at(SIGNED), at(SIGNED + 9000));
        PackHead { cert_id_hash, slot: 0, generation: 1, this_update, next_update, refresh_at: at(SIGNED + 5000) }
    }

    fn crl(scope: CrlScope) -> CrlHead {
        CrlHead {
            scope,
            number: 1,
            this_update: at(SIGNED),
            next_update: at(SIGNED + 9000),
            refresh_at: at(SIGNED + 5000),
            entries: 0,
            scheduled: true,
            reflects: 0,
            distribution_point: None,
            has_delta: false,
            base: None,
        }
    }

    #[test]
    fn o13_t1_what_was_signed_while_the_clock_was_ahead_is_told_until_it_is_valid() {
        let issuer = Issuer {
            id: IssuerId(1),
            name: "a".into(),
            certificate: Vec::new(),
            mode: IssuerMode::Open,
            publication: Publication { cert_id_hashes: [HashAlgorithm::Sha1].into(), crl_partitions: 0, crl_extras: Default::default() },
            slot_bits: 0,
        };
        let told = |packs: &[PackHead], crls: &[CrlHead], now: u64| what_is_ahead(&issuer, packs, crls, at(now));
        let (packs, crls) = ([pack(HashAlgorithm::Sha1)], [crl(CrlScope::Full)]);
        for now in [SIGNED, SIGNED - 1, SIGNED - Timestamp::MAX_SKEW.as_secs()] {
            assert_eq!(told(&packs, &crls, now), None, "signed at {SIGNED}, and the clock shows {now}");
        }
        let now = SIGNED - Timestamp::MAX_SKEW.as_secs() - 1;
        let said = told(&packs, &crls, now).unwrap();
        for part in ["issuer 'a': 1 packs", "CRLs (full)", &format!("until {}", at(SIGNED)), "kakunin sign --once --replace-future"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!told(&packs, &[], now).unwrap().contains("CRL") && !told(&[], &crls, now).unwrap().contains("OCSP"));
        let others = (pack(HashAlgorithm::Sha256), crl(CrlScope::Authorities));
        assert_eq!(told(&[others.0], &[others.1], now), None, "what is not published is nobody's concern");
    }
}
