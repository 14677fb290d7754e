//! The certificates of delegated OCSP responders: renewed in time where the CA's key is at hand, and while the program runs picked up from their files,
//! whoever renews them.

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use tracing::{error, info};

use super::live::LiveLane;
use super::{durable_file, setup};
use crate::config::{Config, DelegatedResponderConfig, IssuerConfig};
use crate::issuance::{Issuer, random_serial, renewal};
use crate::pki::certificate::certificate_pem;
use crate::pki::{CertificateInfo, CertificateStatus, Timestamp};
use crate::registry::{CertificateRecord, OnConflict, Registry};
use crate::signing::metrics::SigningMetrics;
use crate::signing::{IssuerSigning, ResponseSigner, SignerUpdates, describe_signer};

/// Renews the responder certificate of an issuer where it is due at `now` and the CA's key is there. The new certificate is in the registry first, so that it
/// can be revoked and its serial is never used again (rule P3); then it takes the place of the file. Says whether there is a new one.
///
/// Only the certificate in use is renewed, which was held against rule P1 and its key. Whoever can write the file, and nothing else, gets no certificate from
/// it, and no second one from an old one: what else is there is for [`pick_up`] to judge.
pub(super) fn renew_where_due(config: &IssuerConfig, registry: &dyn Registry, signing: &IssuerSigning, now: Timestamp) -> Result<bool> {
    let delegated = config.responder.as_ref().filter(|delegated| delegated.renew);
    // A CA that is closed has nobody who signs responses.
    let (Some(delegated), Some(responder), Some(ca_key)) = (delegated, &signing.responder, &signing.crl_key) else { return Ok(false) };
    let old = setup::read_certificate(&delegated.certificate)?;
    if responder.signer.certificate.as_ref() != Some(&old.der) {
        return Ok(false);
    }
    let before = delegated.renew_before.unwrap_or_else(|| renewal::lead_time(&old, config.ocsp.validity));
    let Some(validity) = renewal::due(&old, &signing.certificate, before, now) else { return Ok(false) };
    refuse_revoked(delegated, registry, signing, &old)?;
    // A file that cannot be written is found before anything is issued.
    durable_file::write(&delegated.certificate, old.to_pem().as_bytes())?;
    let issuer = Issuer::new(signing.certificate.clone(), ca_key.clone())?;
    let serial = random_serial(&SystemRandom::new())?;
    let der = renewal::renewed(&issuer, &old, serial, validity)?;
    let record = CertificateRecord {
        serial,
        not_before: Some(validity.not_before),
        not_after: validity.not_after,
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    registry.add_certificates(signing.issuer.id, &mut std::iter::once(Ok(record)), OnConflict::Refuse, now)?;
    durable_file::write(&delegated.certificate, certificate_pem(&der).as_bytes())?;
    info!(issuer = config.name, %serial, not_after = %validity.not_after, "renewed the OCSP responder's certificate");
    Ok(true)
}

/// A responder whose certificate is revoked needs another key.
fn refuse_revoked(
    delegated: &DelegatedResponderConfig,
    registry: &dyn Registry,
    signing: &IssuerSigning,
    old: &CertificateInfo,
) -> Result<()> {
    let known = registry.certificate(signing.issuer.id, &old.serial)?;
    if let Some(CertificateStatus::Revoked(revocation)) = known.map(|known| known.status) {
        let (file, serial) = (delegated.certificate.display(), old.serial);
        bail!("certificate {file}: serial {serial}: found revoked at {}, wanted good: give the responder a new key", revocation.at);
    }
    Ok(())
}

/// Who signs with the certificate that is in the file at `now`, where that is another one than is in use. It must be valid, for the key in use, as rule P1
/// wants it, and end no earlier than the one in use.
pub(super) fn pick_up(
    delegated: &DelegatedResponderConfig,
    registry: &dyn Registry,
    signing: &IssuerSigning,
    now: Timestamp,
) -> Result<Option<ResponseSigner>> {
    let Some(responder) = &signing.responder else { return Ok(None) };
    let certificate = setup::read_certificate(&delegated.certificate)?;
    if responder.signer.certificate.as_ref() == Some(&certificate.der) {
        return Ok(None);
    }
    let (from, to) = (certificate.not_before, certificate.not_after);
    if now < from || to <= now {
        bail!("certificate {}: found valid from {from} to {to}, wanted one that is valid at {now}", delegated.certificate.display());
    }
    let (profile, expired) = (&signing.profile, signing.crl_policy.expired);
    let signer = describe_signer(&responder.key, &signing.certificate, Some(&certificate), profile, expired)
        .with_context(|| format!("certificate {}", delegated.certificate.display()))?;
    if to < responder.not_after {
        let wanted = responder.not_after;
        bail!("certificate {}: found valid to {to}, wanted no less than the one in use: {wanted}", delegated.certificate.display());
    }
    let id = registry.register_signer(signing.issuer.id, &signer)?;
    Ok(Some(ResponseSigner { key: responder.key.clone(), signer, id, not_after: to }))
}

/// Looks after the responder certificates of what signs in this process.
pub(super) struct ResponderCertificates<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a dyn Registry,
    pub(super) live: &'a LiveLane,
    pub(super) metrics: &'a SigningMetrics,
    pub(super) watched: Vec<Watched>,
}

/// An issuer whose responder has a certificate of its own.
pub(super) struct Watched {
    signing: IssuerSigning,
    updates: SignerUpdates,
    /// What was last said of what is wrong: nothing is said twice.
    told: Option<String>,
}

impl Watched {
    /// `updates` lead to the worker that signs for it.
    pub(super) fn new(signing: IssuerSigning, updates: SignerUpdates) -> Watched {
        Watched { signing, updates, told: None }
    }
}

impl ResponderCertificates<'_> {
    /// Renews what is due and picks up what is new.
    pub(super) fn look(&mut self, now: Timestamp) {
        for watched in &mut self.watched {
            let name = watched.signing.issuer.name.clone();
            let Some(config) = self.config.issuer(&name) else { continue };
            let Some(delegated) = &config.responder else { continue };
            let renewed = renew_where_due(config, self.registry, &watched.signing, now).context("cannot be renewed");
            let found = pick_up(delegated, self.registry, &watched.signing, now);
            let wrong = match (renewed, found) {
                (Ok(_), Ok(None)) => None,
                (renewed, Ok(Some(responder))) => {
                    info!(issuer = name, not_after = %responder.not_after, "the OCSP responder has a new certificate");
                    watched.signing.responder = Some(responder.clone());
                    self.live.add(&watched.signing);
                    watched.updates.replace(watched.signing.issuer.id, responder);
                    renewed.err()
                }
                (Err(wrong), _) | (_, Err(wrong)) => Some(wrong),
            };
            let wrong = wrong.map(|wrong| format!("{wrong:#}"));
            if let Some(wrong) = wrong.as_ref().filter(|_| wrong != watched.told) {
                error!("issuer '{name}': the OCSP responder's certificate: {wrong}; the one in use stays");
                self.metrics.failures.inc();
            }
            watched.told = wrong;
            if let Some(responder) = &watched.signing.responder {
                self.metrics.responder_not_after.with_label_values(&[&name]).set(responder.not_after.unix() as i64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::issuance::{Order, RootOrder, Validity, responder_certificate, self_signed_root};
    use crate::pki::{KeyAlgorithm, Revocation, RevocationReason};
    use crate::registry::NewIssuer;
    use crate::registry::sqlite::SqliteRegistry;
    use crate::signing::Timing;
    use crate::token::Key;
    use crate::token::software::SoftwareKey;

    const DAY: Duration = Duration::from_secs(86_400);

    fn day(n: u32) -> Timestamp {
        Timestamp::from_unix(1_800_000_000).unwrap().saturating_add(DAY * n)
    }

    fn key() -> Key {
        Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap())
    }

    fn validity() -> Validity {
        Validity { not_before: day(0), not_after: day(30) }
    }

    fn ca(key: &Key) -> Issuer {
        let validity = Validity { not_before: day(0), not_after: day(1000) };
        let order = RootOrder { subject: "CN=CA", serial: "01".parse().unwrap(), validity, signs_ocsp: false };
        Issuer::new(CertificateInfo::from_der(&self_signed_root(&order, &**key).unwrap()).unwrap(), key.clone()).unwrap()
    }

    fn responder(ca: &Issuer, key: &Key) -> CertificateInfo {
        let serial = random_serial(&SystemRandom::new()).unwrap();
        let order = Order { subject: "CN=Responder", spki: key.public_key(), serial, validity: validity() };
        CertificateInfo::from_der(&responder_certificate(ca, &order).unwrap()).unwrap()
    }

    /// A CA, and its responder with a certificate of 30 days in a file.
    struct World {
        directory: tempfile::TempDir,
        registry: SqliteRegistry,
        config: IssuerConfig,
        signing: IssuerSigning,
    }

    impl World {
        fn new() -> World {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("responder.pem");
            let key_file = "key = { file = 'responder.key' }";
            let text = format!("name = 'ca'\ncertificate = 'ca.pem'\n[responder]\ncertificate = '{}'\n{key_file}", file.display());
            let config: IssuerConfig = toml::from_str(&text).unwrap();
            let registry = SqliteRegistry::create(&directory.path().join("registry.sqlite")).unwrap();
            let (ca_key, key) = (key(), key());
            let (certificate, delegate) = (ca(&ca_key).certificate().clone(), responder(&ca(&ca_key), &key));
            let issuer = NewIssuer {
                name: config.name.clone(),
                certificate: certificate.der.clone(),
                mode: config.mode,
                publication: config.publication(),
            };
            let id = registry.register_issuer(&issuer).unwrap();
            let signer =
                describe_signer(&key, &certificate, Some(&delegate), &config.profile(), setup::crl_policy(&config.crl).expired).unwrap();
            let signer_id = registry.register_signer(id, &signer).unwrap();
            let signing = IssuerSigning {
                issuer: registry.issuers().unwrap().remove(0),
                certificate,
                responder: Some(ResponseSigner { key, signer, id: signer_id, not_after: delegate.not_after }),
                crl_key: Some(ca_key),
                ocsp_timing: Timing { validity: config.ocsp.validity, refresh: config.ocsp.refresh },
                crl_policy: setup::crl_policy(&config.crl),
                base_url: "http://va.example".into(),
                profile: config.profile(),
                replaces_future: false,
            };
            let world = World { directory, registry, config, signing };
            world.put(&delegate);
            world
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("responder.pem")
        }

        fn put(&self, certificate: &CertificateInfo) {
            std::fs::write(self.file(), certificate.to_pem()).unwrap();
        }

        fn found(&self) -> CertificateInfo {
            setup::read_certificate(&self.file()).unwrap()
        }

        fn renew(&self) -> Result<bool> {
            renew_where_due(&self.config, &self.registry, &self.signing, day(29))
        }

        fn pick_up(&self) -> Result<Option<ResponseSigner>> {
            pick_up(self.config.responder.as_ref().unwrap(), &self.registry, &self.signing, day(29))
        }

        /// What is said where nothing is renewed.
        fn refusal(&self) -> String {
            let (before, change) = (self.found(), self.registry.last_change().unwrap());
            let said = format!("{:#}", self.renew().unwrap_err());
            assert_eq!((self.found(), self.registry.last_change().unwrap()), (before, change), "nothing was issued: {said}");
            said
        }
    }

    #[test]
    fn p1_nobody_gets_a_certificate_for_another_key_by_way_of_the_file() {
        let (world, stranger) = (World::new(), key());
        // By the CA for another key, and by a stranger who calls himself the CA, for his own and for the responder's.
        let (ca_key, key) = (world.signing.crl_key.clone().unwrap(), world.signing.responder.as_ref().unwrap().key.clone());
        let by_a_stranger = ca(&stranger);
        let right = world.found();
        for wrong in [responder(&ca(&ca_key), &stranger), responder(&by_a_stranger, &stranger), responder(&by_a_stranger, &key)] {
            world.put(&wrong);
            let change = world.registry.last_change().unwrap();
            assert!(!world.renew().unwrap() && world.pick_up().is_err());
            assert_eq!((world.found(), world.registry.last_change().unwrap()), (wrong, change), "nothing was issued");
        }
        world.put(&right);
        assert!(world.renew().unwrap());
        assert_eq!((world.found().spki, world.found().not_before), (right.spki, day(29)));
    }

    #[test]
    fn p3_an_old_certificate_that_is_put_back_is_neither_used_nor_renewed_again() {
        let mut world = World::new();
        let old = world.found();
        assert!(world.renew().unwrap());
        world.signing.responder = world.pick_up().unwrap();
        let change = world.registry.last_change().unwrap();
        world.put(&old);
        assert!(!world.renew().unwrap());
        let said = world.pick_up().err().unwrap().to_string();
        assert!(said.contains("responder.pem") && said.contains("wanted no less than the one in use"), "{said}");
        assert_eq!(world.registry.last_change().unwrap(), change, "nothing was issued");
    }

    #[test]
    fn s4_4_a_responder_that_is_revoked_gets_no_new_certificate() {
        let (world, revocation) = (World::new(), Revocation { at: day(3), reason: Some(RevocationReason::KeyCompromise) });
        let record = CertificateRecord {
            serial: world.found().serial,
            not_before: None,
            not_after: day(30),
            is_ca: false,
            partition: None,
            status: CertificateStatus::Revoked(revocation),
            invalidity_date: None,
        };
        world.registry.add_certificates(world.signing.issuer.id, &mut [Ok(record)].into_iter(), OnConflict::Refuse, day(3)).unwrap();
        let said = world.refusal();
        assert!(said.contains("responder.pem") && said.contains("found revoked at") && said.contains("new key"), "{said}");
    }
}
