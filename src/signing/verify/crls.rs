//! The newest CRL of a scope beside the registry, and the numbers of all CRLs ever published.

use super::issuer::Prepared;
use super::report::{Rule, TaskReport};
use super::{Run, Signatures, VerifyError};
use crate::pki::{CertificateStatus, RevocationReason, Serial, Timestamp};
use crate::registry::{CertificateRecord, CrlHead, CrlRecord, CrlScope};
use crate::signing::gate::{self, CrlContext, Listed, MeantCrl};
use crate::signing::{crl, partition_url};

const CRL_THERE: Rule = ("T5", "there is a CRL for every scope");
const NUMBERS_GROW: Rule = ("C2", "cRLNumber and thisUpdate grow together, from CRL to CRL");
const LISTED: Rule = ("C9", "every revoked certificate is listed");
const LISTED_AS_REGISTERED: Rule = ("C9", "an entry says what the registry says");
const LISTED_ONCE: Rule = ("C9", "a certificate is listed once");
const REVOKED: Rule = ("C9", "every certificate that is listed is revoked");
const IN_ITS_PARTITION: Rule = ("C4", "a partition lists the certificates that name it, and no others");

/// Entries that are not among the scope's revoked certificates are looked up in the registry, at most so many of a CRL.
const MAX_LOOKUPS: usize = 1000;

/// An entry, in as few octets as it needs: a CRL may have millions.
struct Known {
    serial: Serial,
    reason: u8,
    /// Whether the registry has named it.
    named: bool,
    revoked_at: Timestamp,
    /// The epoch stands for none.
    invalidity_date: Timestamp,
}

impl Known {
    fn of(listed: &Listed<'_>) -> Option<Known> {
        Some(Known {
            serial: Serial::from_der_content(listed.serial).ok()?,
            reason: listed.reason.unwrap_or(0),
            named: false,
            revoked_at: listed.revoked_at?,
            invalidity_date: listed.invalidity_date.unwrap_or_default(),
        })
    }

    fn says(&self, record: &CertificateRecord) -> bool {
        let CertificateStatus::Revoked(revocation) = record.status else { return false };
        self.revoked_at == revocation.at
            && self.reason == revocation.reason.map_or(0, RevocationReason::code)
            && self.invalidity_date == record.invalidity_date.unwrap_or_default()
    }
}

fn name_of(scope: CrlScope) -> String {
    match scope {
        CrlScope::Full => "full CRL".to_owned(),
        CrlScope::Partition(n) => format!("CRL of partition {n}"),
    }
}

impl Run<'_> {
    pub(super) fn crl(&self, issuer: &Prepared, scope: CrlScope) -> Result<TaskReport, VerifyError> {
        let mut report = TaskReport::default();
        let name = &issuer.issuer.name;
        let Some(record) = self.registry.latest_crl(issuer.issuer.id, scope)? else {
            report.find(name, || name_of(scope), CRL_THERE, "none", "a CRL");
            return Ok(report);
        };
        let mut entries = Vec::new();
        let findings = self.look_at(issuer, &record, &mut |listed| entries.extend(Known::of(listed)));
        let readable = !findings.iter().any(|finding| finding.rule == "C10");
        report.note(name, || name_of(scope), findings);
        (report.crls, report.entries) = (1, entries.len() as u64);
        if readable {
            Comparison { run: self, issuer, record: &record, entries }.against_registry(&mut report)?;
        }
        Ok(report)
    }

    /// Holds a published CRL against the gate's rules.
    fn look_at(&self, issuer: &Prepared, record: &CrlRecord, visit: &mut dyn FnMut(&Listed<'_>)) -> Vec<gate::Finding> {
        let point = match record.scope {
            CrlScope::Full => None,
            CrlScope::Partition(n) => Some(partition_url(&issuer.base_url, &issuer.issuer.name, n)),
        };
        let context = CrlContext {
            issuer: &issuer.facts,
            coverage: crl::coverage(record.scope),
            distribution_point: point.as_deref(),
            base: None,
            freshest: None,
            meant: MeantCrl { number: record.number, this_update: record.this_update, next_update: record.next_update },
            algorithm: gate::signature_algorithm(&record.der, &issuer.facts),
            // Compared entry by entry, with names.
            truth: None,
            previous: None,
            companion: None,
            ocsp: !issuer.signers.is_empty(),
            last: record.next_update == Timestamp::MAX,
            verify_signature: self.options.signatures != Signatures::None,
            now: (self.clock)(),
        };
        gate::check_crl_and_visit(&record.der, &context, visit)
    }

    /// Rule C2 over time: of two CRLs of a scope, the one with the greater number is not older.
    pub(super) fn crl_numbers(&self, issuer: &Prepared) -> Result<TaskReport, VerifyError> {
        let (mut report, mut before) = (TaskReport::default(), None::<CrlHead>);
        self.registry.visit_crls(issuer.issuer.id, &mut |head| {
            let same_scope = before.filter(|before| before.scope == head.scope);
            if let Some(before) = same_scope.filter(|before| before.this_update > head.this_update) {
                let found = format!("number {} at {}, number {} at {}", before.number, before.this_update, head.number, head.this_update);
                report.find(&issuer.issuer.name, || name_of(head.scope), NUMBERS_GROW, found, "the greater number later");
            }
            before = Some(head);
        })?;
        Ok(report)
    }
}

/// A CRL that is readable, beside the registry.
struct Comparison<'a> {
    run: &'a Run<'a>,
    issuer: &'a Prepared,
    record: &'a CrlRecord,
    entries: Vec<Known>,
}

impl Comparison<'_> {
    fn against_registry(mut self, report: &mut TaskReport) -> Result<(), VerifyError> {
        let (name, record, id) = (&self.issuer.issuer.name, self.record, self.issuer.issuer.id);
        let artefact = |serial: &Serial| format!("{}, serial {serial}", name_of(record.scope));
        self.entries.sort_unstable_by_key(|entry| entry.serial);
        for pair in self.entries.windows(2).filter(|pair| pair[0].serial == pair[1].serial) {
            report.find(name, || artefact(&pair[0].serial), LISTED_ONCE, "twice", "once");
        }
        self.entries.dedup_by_key(|entry| entry.serial);
        self.run.registry.visit_revoked(id, record.scope, Timestamp::default(), &mut |revoked| {
            match self.entries.binary_search_by_key(&revoked.serial, |entry| entry.serial) {
                Ok(index) => {
                    let entry = &mut self.entries[index];
                    entry.named = true;
                    if !entry.says(&revoked) {
                        let found = format!("revoked at {}, reason {}", entry.revoked_at, entry.reason);
                        report.find(name, || artefact(&revoked.serial), LISTED_AS_REGISTERED, found, format!("{:?}", revoked.status));
                    }
                }
                // What had expired may have left (rule C6).
                Err(_) if revoked.not_after < record.this_update => {}
                Err(_) => report.find(
                    name,
                    || artefact(&revoked.serial),
                    LISTED,
                    format!("not on CRL number {}", record.number),
                    format!("{:?}", revoked.status),
                ),
            }
        })?;
        let unnamed = |entry: &&Known| !entry.named;
        for entry in self.entries.iter().filter(unnamed).take(MAX_LOOKUPS) {
            let registered = self.run.registry.certificate(id, &entry.serial)?;
            let artefact = || artefact(&entry.serial);
            match registered {
                Some(known) if matches!(known.status, CertificateStatus::Revoked(_)) => {
                    report.find(name, artefact, IN_ITS_PARTITION, format!("one of partition {:?}", known.partition), name_of(record.scope));
                }
                Some(_) => report.find(name, artefact, REVOKED, "listed", "not listed: it is good"),
                None => report.find(name, artefact, REVOKED, "listed", "not listed: the registry does not know it"),
            }
        }
        Ok(())
    }
}
