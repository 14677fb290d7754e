//! From the configuration to open registries, certificates and keys: what every command begins with.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tracing::error;

use super::reasons::{self, Reasons};
use super::responder_certificates::{pick_up, renew_where_due};
use crate::config::crl::KeepExpired;
use crate::config::{Config, CrlConfig, IssuerConfig, KeyConfig, TokenConfig};
use crate::issuance::profile::Profile;
use crate::pki::crl::CrlEntry;
use crate::pki::extension::Contents;
use crate::pki::{CertificateInfo, CertificateStatus, SignatureAlgorithm, SlotRange, Timestamp};
use crate::registry::sqlite::SqliteRegistry;
use crate::registry::{CrlScope, CrlSelection, Issuer, IssuerMode, NewIssuer, Publication, Registry, Signer, crl_path};
use crate::signing::ending::{Wanted, unpublished};
use crate::signing::{CrlPolicy, ExpiredEntries, IssuerSigning, REVOCATION_THREADS, ResponseSigner, Timing, crl_url, describe_signer};
use crate::token::pkcs11::{KeyRequest, Pin, Pkcs11Token};
use crate::token::software::SoftwareKey;
use crate::token::{Key, TokenError};

/// The greatest certificate file that is read.
const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;
/// The field that switches an ARL on.
const ARL: &str = "crl.arl";
/// The most octets of a CKA_ID.
const MAX_ID: usize = 64;

/// Opens the registry that the configuration names; it must exist.
pub(super) fn open_registry(config: &Config) -> Result<Arc<dyn Registry>> {
    Ok(Arc::new(SqliteRegistry::open(&config.registry.sqlite)?))
}

/// Opens it without the right to write.
pub(super) fn open_registry_read_only(config: &Config) -> Result<Arc<dyn Registry>> {
    Ok(Arc::new(SqliteRegistry::open_read_only(&config.registry.sqlite)?))
}

/// Opens it, or creates it where there is none.
pub(super) fn open_or_create_registry(path: &Path) -> Result<Arc<dyn Registry>> {
    let registry = if path.exists() { SqliteRegistry::open(path)? } else { SqliteRegistry::create(path)? };
    Ok(Arc::new(registry))
}

/// Opens it as issuance sees it; it must exist.
pub(super) fn open_work_registry(config: &Config) -> Result<Arc<SqliteRegistry>> {
    Ok(Arc::new(SqliteRegistry::open(&config.registry.sqlite)?))
}

/// The same without the right to write.
pub(super) fn open_work_registry_read_only(config: &Config) -> Result<Arc<SqliteRegistry>> {
    Ok(Arc::new(SqliteRegistry::open_read_only(&config.registry.sqlite)?))
}

/// The same, created where there is none.
pub(super) fn open_or_create_work_registry(config: &Config) -> Result<Arc<SqliteRegistry>> {
    let path = &config.registry.sqlite;
    Ok(Arc::new(if path.exists() { SqliteRegistry::open(path)? } else { SqliteRegistry::create(path)? }))
}

/// Reads a PEM certificate.
pub(super) fn read_certificate(path: &Path) -> Result<CertificateInfo> {
    let mut pem = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("certificate {}", path.display()))?;
    file.take(MAX_CERTIFICATE_BYTES).read_to_end(&mut pem).with_context(|| format!("certificate {}", path.display()))?;
    CertificateInfo::from_pem(&pem).with_context(|| format!("certificate {}", path.display()))
}

/// The registered issuer of that name.
pub(super) fn find_issuer(registry: &dyn Registry, name: &str) -> Result<Issuer> {
    let issuers = registry.issuers()?;
    let names: Vec<&str> = issuers.iter().map(|i| i.name.as_str()).collect();
    let known = names.join(", ");
    issuers.iter().find(|i| i.name == name).cloned().with_context(|| format!("no issuer '{name}' in the registry: there are {known}"))
}

/// Registers an issuer as the configuration describes it, or brings its description up to date.
pub(super) fn register_issuer(registry: &dyn Registry, config: &IssuerConfig, base_url: &str) -> Result<(Issuer, CertificateInfo)> {
    let (new, certificate) = describe_issuer(registry, config)?;
    check_base_url(registry, &config.name, base_url)?;
    registry.register_issuer(&new)?;
    Ok((find_issuer(registry, &config.name)?, certificate))
}

/// An issuer as the configuration describes it, where what is registered of it allows that. Changes nothing.
pub(super) fn describe_issuer(registry: &dyn Registry, config: &IssuerConfig) -> Result<(NewIssuer, CertificateInfo)> {
    let certificate = read_certificate(&config.certificate)?;
    if !certificate.is_ca {
        bail!("certificate {}: not a CA's (basicConstraints lacks cA)", config.certificate.display());
    }
    check_registered(registry, config)?;
    let publication = config.publication();
    Ok((NewIssuer { name: config.name.clone(), certificate: certificate.der.clone(), mode: config.mode, publication }, certificate))
}

/// What is registered of an issuer allows what its configuration says now. Changes nothing.
pub(super) fn check_registered(registry: &dyn Registry, config: &IssuerConfig) -> Result<()> {
    let (issuers, publication) = (registry.issuers()?, config.publication());
    let Some(known) = issuers.iter().find(|i| i.name == config.name) else { return Ok(()) };
    let (before, after) = (known.publication.crl_partitions, publication.crl_partitions);
    if after < before {
        bail!(
            "issuer '{}': crl.partitions: found {after}, wanted at least {before}: certificates name their partition for life",
            config.name
        );
    }
    let kinds_apart = |of: &Publication| of.crl_partitions > 0 || of.crl_extras.arl;
    let newly_apart = kinds_apart(&publication) && !kinds_apart(&known.publication);
    let new_arl = publication.crl_extras.arl && !known.publication.crl_extras.arl;
    if newly_apart || new_arl {
        check_reasons(registry, known, config, if new_arl { ARL } else { "crl.partitions" })?;
    }
    if config.mode == IssuerMode::Closed && known.mode != IssuerMode::Closed {
        check_has_ended(registry, known)?;
    }
    Ok(())
}

/// A CA ends when its last certificate has expired or is revoked (S5.2).
fn check_has_ended(registry: &dyn Registry, issuer: &Issuer) -> Result<()> {
    let (now, mut live) = (Timestamp::now(), None);
    registry.visit_certificates(issuer.id, SlotRange::ALL, &mut |record| {
        let is_live = record.status == CertificateStatus::Good && record.not_after >= now;
        live = live.or(is_live.then_some(record.serial));
    })?;
    let found = format!("issuer '{}': mode: found 'closed', wanted 'run-off'", issuer.name);
    if let Some(serial) = live {
        bail!("{found} as long as a certificate is neither revoked nor expired: {serial} (S5.2)");
    }
    let certificate = CertificateInfo::from_der(&issuer.certificate)?;
    let lacking = unpublished(registry, issuer, &certificate, Wanted { responses: false, crls: false, last_crls: false })?;
    if !lacking.is_empty() {
        bail!("{found} until everything of it is published, which nobody does afterwards: {} (S5.2, C9)", lacking.join("; "));
    }
    Ok(())
}

/// Certificates name the URL of their CRL for life, and a CRL that says where it is has to say the same (rule C4).
pub(super) fn check_base_url(registry: &dyn Registry, name: &str, base_url: &str) -> Result<()> {
    let Some(issuer) = registry.issuers()?.into_iter().find(|known| known.name == name) else { return Ok(()) };
    let moved = moved_crls(registry, &issuer, base_url)?;
    if moved.is_empty() {
        return Ok(());
    }
    let mut named = None;
    registry.visit_certificates(issuer.id, SlotRange::ALL, &mut |record| {
        let on = moved.iter().find(|(scope, _)| issuer.publication.has_crl(*scope) && issuer.publication.lists(*scope, &record));
        named = named.take().or(on.map(|(scope, uri)| (record.serial, *scope, uri.clone())));
    })?;
    let Some((serial, scope, uri)) = named else { return Ok(()) };
    let wanted = uri.strip_suffix(&crl_path(name, scope)).unwrap_or(&uri);
    bail!(
        "base_url: found '{base_url}', wanted '{wanted}': the CRL of certificate {serial} of issuer '{name}' says {uri}, and the certificate for life (C4). \
         Where that was wrong, import the CA's certificates again with this base_url"
    )
}

/// The CRLs of an issuer that say that they are somewhere else, and where.
fn moved_crls(registry: &dyn Registry, issuer: &Issuer, base_url: &str) -> Result<Vec<(CrlScope, String)>> {
    let points = registry.crl_heads(issuer.id)?.into_iter().filter_map(|head| Some((head.scope.base(), head.distribution_point?.uri)));
    Ok(points.filter(|(scope, uri)| *uri != crl_url(base_url, &issuer.name, *scope)).collect())
}

/// Certificates were found that name their CRLs below the base URL: what was published as if it were elsewhere is to be published anew.
pub(super) fn follow_base_url(registry: &dyn Registry, name: &str, base_url: &str) -> Result<()> {
    let issuer = find_issuer(registry, name)?;
    if !moved_crls(registry, &issuer, base_url)?.is_empty() {
        registry.forget_distribution_points(issuer.id)?;
    }
    Ok(())
}

/// What was revoked before can be published under the rules that the configuration names now (rule C3).
pub(super) fn check_recorded_reasons(registry: &dyn Registry, config: &IssuerConfig) -> Result<()> {
    match registry.issuers()?.iter().find(|known| known.name == config.name) {
        Some(known) => check_reasons(registry, known, config, "programmes"),
        None => Ok(()),
    }
}

/// What the gate refuses would leave what was revoked before on no CRL of its kind (rules C3, C4); `field` is what the configuration says anew.
fn check_reasons(registry: &dyn Registry, issuer: &Issuer, config: &IssuerConfig, field: &str) -> Result<()> {
    let (name, reasons) = (&issuer.name, Reasons::of(config)?);
    for (contents, is_ca) in [(Contents::CaCertificates, true), (Contents::UserCertificates, false)] {
        let scope = if is_ca { CrlScope::Authorities } else { CrlScope::Full };
        let selection = CrlSelection { scope, contents, not_after_from: Timestamp::default(), or_recorded_after: 0, changed: None };
        let mut found = None;
        registry.visit_revoked(issuer.id, &selection, &mut |entry: &CrlEntry| {
            let reason = entry.revocation.reason;
            let objection = match reasons.objection(reason, is_ca) {
                None if is_ca && field == ARL && reason.is_none() => Some("wanted a reason for each (C3)".to_owned()),
                objection => objection,
            };
            found = found.take().or(objection.map(|objection| (entry.serial, reason, objection)));
        })?;
        if let Some((serial, reason, objection)) = found {
            let reason = reasons::name(reason);
            let whose = if is_ca { "the CA certificate" } else { "certificate" };
            bail!("issuer '{name}': {field}: found {whose} {serial} revoked ({reason}): {objection}");
        }
    }
    Ok(())
}

/// Opens keys, each token once.
pub(super) struct KeyRing<'a> {
    tokens: BTreeMap<&'a str, &'a TokenConfig>,
    /// A token that could not be opened is not tried again: its PIN might be refused again.
    open: BTreeMap<String, Result<Pkcs11Token, TokenError>>,
    sessions: usize,
    /// Sessions for the live lane, beside the others however many these are.
    live_sessions: usize,
}

impl<'a> KeyRing<'a> {
    /// A ring over the tokens of a configuration, for the signing worker: a session for each of its threads, and for those that sign what is urgent.
    pub(super) fn new(config: &'a Config) -> KeyRing<'a> {
        let is_live = config.issuers.iter().any(|issuer| issuer.ocsp.live.is_on());
        let live_sessions = if is_live { config.live.threads } else { 0 };
        KeyRing { live_sessions, ..KeyRing::with_sessions(config, config.signing.threads + REVOCATION_THREADS) }
    }

    /// The same with so many sessions, where a token's configuration does not say how many.
    pub(super) fn with_sessions(config: &'a Config, sessions: usize) -> KeyRing<'a> {
        KeyRing { tokens: config.tokens_by_name(), open: BTreeMap::new(), sessions, live_sessions: 0 }
    }

    /// Opens a key; `spki` is that of its certificate.
    pub(super) fn key(&mut self, config: &KeyConfig, spki: &[u8]) -> Result<Key> {
        self.key_with_signature(config, spki, wanted_signature(config))
    }

    /// Opens a key that signs with this algorithm, whatever is configured; with the key's own where it is `None`.
    fn key_with_signature(&mut self, config: &KeyConfig, spki: &[u8], signature: Option<SignatureAlgorithm>) -> Result<Key> {
        if let Some(file) = &config.file {
            return Ok(Arc::new(SoftwareKey::open(file, signature)?));
        }
        let name = config.token.as_deref().unwrap_or_default();
        let id = config.id.as_deref().map(decode_id).transpose()?;
        let request = KeyRequest { label: config.label.clone(), id, signature, certificate_spki: Some(spki.to_vec()) };
        Ok(Arc::new(self.token(name)?.key(&request)?))
    }

    /// Opens the key of a CA so that it signs certificates as a profile wants it: as configured, where the profile has that.
    pub(super) fn issuing_key(&mut self, config: &IssuerConfig, ca: &CertificateInfo, profile: &Profile) -> Result<Key> {
        let key = config.key.as_ref().with_context(|| format!("issuer '{}' has no key in the configuration", config.name))?;
        let algorithm = ca.key_algorithm()?;
        let Some(signature) = profile.signature_for(algorithm, wanted_signature(key)) else {
            bail!("profile {}: no signature of the profile is one that the issuer's key, {algorithm}, makes", profile.name())
        };
        let key = self.key_with_signature(key, &ca.spki, Some(signature))?;
        crate::token::verify_pair(key.as_ref(), &ca.spki).context("key and certificate")?;
        Ok(key)
    }

    /// A token by its name in the configuration.
    pub(super) fn token(&mut self, name: &str) -> Result<&Pkcs11Token> {
        if !self.open.contains_key(name) {
            let config = self.tokens.get(name).with_context(|| format!("no [[token]] named '{name}'"))?;
            self.open.insert(name.to_owned(), open_token(config, config.sessions.unwrap_or(self.sessions) + self.live_sessions));
        }
        match &self.open[name] {
            Ok(token) => Ok(token),
            Err(failure) => Err(failure.clone().into()),
        }
    }
}

fn open_token(config: &TokenConfig, sessions: usize) -> Result<Pkcs11Token, TokenError> {
    // The configuration has exactly one of them.
    let pin = match (&config.pin_file, &config.pin_env) {
        (Some(file), _) => Pin::from_file(file)?,
        (None, variable) => Pin::from_env(variable.as_deref().unwrap_or_default())?,
    };
    Pkcs11Token::open(&config.module, &config.label, pin, sessions)
}

/// The octets of a CKA_ID in hexadecimal digits, 1 to 64 of them.
pub(super) fn decode_id(hex: &str) -> Result<Vec<u8>> {
    let octet = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok());
    let octets: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(octet).collect();
    // A sign is no digit, whatever numbers may begin with.
    let is_id = (2..=2 * MAX_ID).contains(&hex.len()) && hex.len().is_multiple_of(2) && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let shown: String = hex.chars().take(200).collect();
    octets.filter(|_| is_id).with_context(|| format!("key.id: found '{shown}', wanted 1 to {MAX_ID} pairs of hexadecimal digits"))
}

/// The keys and certificates of one issuer, opened and held against each other.
pub(super) struct IssuerKeys {
    /// Signs CRLs.
    pub ca: Option<Key>,
    /// Signs OCSP responses, and what they say of it.
    pub responder: Option<(Key, Signer, CertificateInfo)>,
}

/// The algorithm that a key is to sign with, where the configuration says it.
pub(super) fn wanted_signature(config: &KeyConfig) -> Option<SignatureAlgorithm> {
    config.signature.as_deref().and_then(|name| SignatureAlgorithm::ALL.into_iter().find(|a| a.name() == name))
}

/// Opens the keys of an issuer, checks that each belongs to its certificate, and makes a trial signature with each.
pub(super) fn open_keys(ring: &mut KeyRing<'_>, config: &IssuerConfig, ca: &CertificateInfo) -> Result<IssuerKeys> {
    let open = |ring: &mut KeyRing<'_>, key: &KeyConfig, certificate: &CertificateInfo| ring.key(key, &certificate.spki);
    let ca_key = config.key.as_ref().map(|key| open(ring, key, ca)).transpose()?;
    if let Some(key) = &ca_key {
        crate::token::verify_pair(key.as_ref(), &ca.spki).context("key and certificate")?;
    }
    let (profile, expired) = (config.profile(), expired_entries(&config.crl));
    let responder = match (&config.responder, &ca_key) {
        (Some(delegated), _) => {
            let certificate = read_certificate(&delegated.certificate)?;
            let key = open(ring, &delegated.key, &certificate)?;
            let signer = describe_signer(&key, ca, Some(&certificate), &profile, expired).context("responder")?;
            Some((key, signer, certificate))
        }
        (None, Some(key)) => Some((key.clone(), describe_signer(key, ca, None, &profile, expired)?, ca.clone())),
        (None, None) => None,
    };
    Ok(IssuerKeys { ca: ca_key, responder })
}

fn expired_entries(config: &CrlConfig) -> ExpiredEntries {
    match config.keep_expired {
        KeepExpired::UntilListed => ExpiredEntries::UntilListed,
        KeepExpired::For(duration) => ExpiredEntries::For(duration),
        KeepExpired::ForEver => ExpiredEntries::ForEver,
    }
}

/// How CRLs are made, as configured.
pub(super) fn crl_policy(config: &CrlConfig) -> CrlPolicy {
    let timing = |(validity, refresh)| Timing { validity, refresh };
    let delta = config.delta.clone().unwrap_or_default();
    CrlPolicy {
        full: timing((config.validity, config.refresh)),
        partition: timing(config.times(&config.partition)),
        arl: timing(config.times(&config.arl.clone().unwrap_or_default().own_times())),
        delta: timing((delta.validity, delta.refresh)),
        at_once_below: config.at_once_below,
        coalesce: config.coalesce,
        expired: expired_entries(config),
        superseded: config.superseded,
        aia_ocsp: config.aia_ocsp,
        last_crl: config.last_crl,
    }
}

/// Whether every CRL is the last of its scope (rule T6): then no key of the issuer is needed any more.
fn has_last_crls(registry: &dyn Registry, issuer: &Issuer) -> Result<bool> {
    let heads = registry.crl_heads(issuer.id)?;
    let is_last = |scope| heads.iter().any(|head| head.scope == scope && head.next_update == Timestamp::MAX);
    Ok(issuer.publication.crl_scopes().all(is_last))
}

/// Registers an issuer and opens what is needed to sign for it; `None` for one that is closed and has its last CRLs, or is to have none.
pub(super) fn open_issuer(
    ring: &mut KeyRing<'_>,
    config: &Config,
    issuer_config: &IssuerConfig,
    registry: &dyn Registry,
) -> Result<Option<IssuerSigning>> {
    let (issuer, certificate) = register_issuer(registry, issuer_config, &config.base_url)?;
    let is_closed = issuer.mode == IssuerMode::Closed;
    if is_closed && (!issuer_config.crl.last_crl || has_last_crls(registry, &issuer)?) {
        return Ok(None);
    }
    let keys = open_keys(ring, issuer_config, &certificate)?;
    let responder = match keys.responder.filter(|_| !is_closed) {
        Some((key, signer, signed_as)) => {
            let id = registry.register_signer(issuer.id, &signer)?;
            Some(ResponseSigner { key, signer, id, not_after: signed_as.not_after })
        }
        None => None,
    };
    let mut signing = IssuerSigning {
        issuer,
        certificate,
        responder,
        crl_key: keys.ca,
        ocsp_timing: Timing { validity: issuer_config.ocsp.validity, refresh: issuer_config.ocsp.refresh },
        crl_policy: crl_policy(&issuer_config.crl),
        base_url: config.base_url.clone(),
        profile: issuer_config.profile(),
        replaces_future: false,
    };
    let now = Timestamp::now();
    if let Some(delegated) = &issuer_config.responder {
        let renewed = renew_where_due(issuer_config, registry, &signing, now);
        match renewed.and_then(|_| pick_up(delegated, registry, &signing, now)) {
            Ok(None) => {}
            Ok(responder) => signing.responder = responder,
            // The certificate at hand may still do; where it does not, the gate says so.
            Err(failure) => error!("issuer '{}': the OCSP responder's certificate: {failure:#}", issuer_config.name),
        }
    }
    Ok(Some(signing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::{RootOrder, Validity, self_signed_root};
    use crate::pki::certificate::certificate_pem;
    use crate::pki::{KeyAlgorithm, Revocation, RevocationReason, Serial};
    use crate::registry::{CertificateRecord, OnConflict};

    const BASE_URL: &str = "http://va.example";

    fn revoked_ca(serial: Serial, reason: Option<RevocationReason>) -> CertificateRecord {
        CertificateRecord {
            serial,
            not_before: None,
            not_after: Timestamp::MAX,
            is_ca: true,
            partition: None,
            status: CertificateStatus::Revoked(Revocation { at: Timestamp::default(), reason }),
            invalidity_date: None,
        }
    }

    #[test]
    fn c3_c4_an_arl_is_not_switched_on_where_it_could_not_be_published() {
        let directory = tempfile::tempdir().unwrap();
        let registry = SqliteRegistry::create(&directory.path().join("registry.sqlite")).unwrap();
        let [one, two] = ["01", "02"].map(|serial| serial.parse::<Serial>().unwrap());
        let validity = Validity { not_before: Timestamp::default(), not_after: Timestamp::from_unix(4_000_000_000).unwrap() };
        let root = RootOrder { subject: "CN=CA", serial: one, validity, signs_ocsp: false };
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let file = directory.path().join("ca.pem");
        fs::write(&file, certificate_pem(&self_signed_root(&root, &key).unwrap())).unwrap();
        let text = format!("name = 'ca'\ncertificate = '{}'", file.display());
        let [before, after]: [IssuerConfig; 2] = ["", "\n[crl.arl]"].map(|arl| toml::from_str(&(text.clone() + arl)).unwrap());

        let (issuer, _) = register_issuer(&registry, &before, BASE_URL).unwrap();
        let add = |record| registry.add_certificates(issuer.id, &mut [Ok(record)].into_iter(), OnConflict::Refuse, Timestamp::default());
        add(revoked_ca(one, Some(RevocationReason::CaCompromise))).unwrap();
        assert!(register_issuer(&registry, &after, BASE_URL).unwrap().0.publication.crl_extras.arl);
        register_issuer(&registry, &before, BASE_URL).unwrap();
        add(revoked_ca(two, None)).unwrap();
        let said = register_issuer(&registry, &after, BASE_URL).unwrap_err().to_string();
        assert_eq!(said, "issuer 'ca': crl.arl: found the CA certificate 02 revoked (unspecified): wanted a reason for each (C3)");
        assert!(!find_issuer(&registry, "ca").unwrap().publication.crl_extras.arl, "the full CRL lists CAs as before");
        // An end entity's revocation for what only a CA's is published with, under the BR, on a CRL of end entities.
        add(CertificateRecord { is_ca: false, ..revoked_ca("03".parse().unwrap(), Some(RevocationReason::CaCompromise)) }).unwrap();
        let text = text + "\nprogrammes = ['baseline-requirements']\n[crl]\npartitions = 4";
        let said = register_issuer(&registry, &toml::from_str(&text).unwrap(), BASE_URL).unwrap_err().to_string();
        let told =
            "issuer 'ca': crl.partitions: found certificate 03 revoked (cACompromise): found cACompromise, wanted one of unspecified, ";
        assert!(said.starts_with(told), "{said}");
    }
}
