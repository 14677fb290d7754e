//! The newest CRL of a scope beside the registry, and the numbers of all CRLs that are kept.

use std::fmt;
use std::time::Duration;

use super::issuer::Prepared;
use super::report::{Rule, TaskReport};
use super::{Run, Signatures, VerifyError};
use crate::pki::crl::CrlEntry;
use crate::pki::{CertificateStatus, Revocation, RevocationReason, Serial, Timestamp};
use crate::registry::{ChangeRange, CrlHead, CrlRecord, CrlScope, CrlSelection, RegistryError};
use crate::signing::crl;
use crate::signing::gate::{self, CrlContext, Listed, MeantCrl, NumberedCrl};

const CRL_THERE: Rule = ("T5", "there is a CRL for every scope");
const CRL_READABLE: Rule = ("C10", "a published CRL can be read");
const NUMBERS_GROW: Rule = ("C2", "cRLNumber and thisUpdate grow together, from CRL to CRL");
const LISTED: Rule = ("C9", "every revoked certificate is listed");
const LISTED_AS_REGISTERED: Rule = ("C9", "an entry says what the registry says");
const LISTED_ONCE: Rule = ("C9", "a certificate is listed once");
const REVOKED: Rule = ("C9", "every certificate that is listed is revoked");
const LEFT_TOO_SOON: Rule = ("C6", "an entry stays until it has stood on a scheduled CRL after its certificate's expiry");
const IN_ITS_PARTITION: Rule = ("C4", "a partition lists the certificates that name it, and no others");

/// Entries that are not among the scope's revoked certificates are looked up in the registry, at most so many of a CRL.
const MAX_LOOKUPS: usize = 1000;
/// What a worker may need to issue a CRL that waits no longer.
const GRACE: Duration = Duration::from_secs(60);

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

/// What an entry says, beside its serial.
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = RevocationReason::from_code(self.reason);
        write!(f, "{}", Revocation { at: self.revoked_at, reason })?;
        if reason.is_none() && self.reason != 0 {
            write!(f, ", reason {}", self.reason)?;
        }
        if self.invalidity_date == Timestamp::default() { Ok(()) } else { write!(f, ", invalid since {}", self.invalidity_date) }
    }
}

impl From<&CrlEntry> for Known {
    fn from(entry: &CrlEntry) -> Known {
        Known {
            serial: entry.serial,
            reason: entry.revocation.reason.map_or(0, RevocationReason::code),
            named: true,
            revoked_at: entry.revocation.at,
            invalidity_date: entry.invalidity_date.unwrap_or_default(),
        }
    }
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

    fn says(&self, entry: &CrlEntry) -> bool {
        let said = |known: &Known| (known.revoked_at, known.reason, known.invalidity_date);
        said(self) == said(&Known::from(entry))
    }
}

fn name_of(scope: CrlScope) -> String {
    match scope {
        CrlScope::Full => "full CRL".to_owned(),
        CrlScope::Partition(n) => format!("CRL of partition {n}"),
        CrlScope::Authorities => "ARL".to_owned(),
        CrlScope::FullDelta => "delta of the full CRL".to_owned(),
        CrlScope::PartitionDelta(n) => format!("delta of partition {n}"),
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
        if record.der.is_empty() {
            let found = format!("the octets of CRL number {} in the registry are damaged", record.head.number);
            report.find(name, || name_of(scope), CRL_READABLE, found, "the octets that were published");
            report.crls = 1;
            return Ok(report);
        }
        let base = self.base_of(issuer, &record.head)?;
        let mut entries = Vec::new();
        let findings = self.look_at(issuer, &record, base.as_ref(), &mut |listed| entries.extend(Known::of(listed)))?;
        let readable = !findings.iter().any(|finding| finding.rule == "C10");
        report.note(name, || name_of(scope), findings);
        (report.crls, report.entries) = (1, entries.len() as u64);
        let base = base.map(|base| base.head);
        if readable && base.is_some() == scope.is_delta() {
            Comparison { run: self, issuer, head: &record.head, base, entries }.against_registry(&mut report)?;
        }
        Ok(report)
    }

    /// The complete CRL that a delta builds on.
    fn base_of(&self, issuer: &Prepared, head: &CrlHead) -> Result<Option<CrlRecord>, RegistryError> {
        match head.base.filter(|_| head.scope.is_delta()) {
            Some(number) => self.registry.crl(issuer.issuer.id, head.scope.base(), number),
            None => Ok(None),
        }
    }

    /// Holds a published CRL against the gate's rules.
    fn look_at(
        &self,
        issuer: &Prepared,
        CrlRecord { head, der }: &CrlRecord,
        base: Option<&CrlRecord>,
        visit: &mut dyn FnMut(&Listed<'_>),
    ) -> Result<Vec<gate::Finding>, RegistryError> {
        let Prepared { issuer: registered, base_url, facts, crl_policy, .. } = issuer;
        let is_delta = head.scope.is_delta();
        let complete = self.registry.newest_crl_heads(registered.id, head.scope.base(), false, 1)?.pop();
        let point = crl::distribution_point(base_url, registered, head.scope);
        let freshest = crl::freshest(base_url, registered, head.scope);
        let context = CrlContext {
            issuer: facts,
            coverage: crl::coverage(registered.publication.crl_contents(head.scope)),
            distribution_point: point.as_ref().map(|point| point.uri.as_str()),
            // A base that is gone is none.
            base: is_delta.then(|| base.map_or(&[][..], |base| &base.der)),
            freshest: freshest.as_deref(),
            meant: MeantCrl { number: head.number, this_update: head.this_update, next_update: head.next_update },
            algorithm: gate::signature_algorithm(der, facts),
            // Compared entry by entry, with names.
            truth: None,
            previous: None,
            companion: complete.filter(|_| is_delta).map(|c| NumberedCrl { number: c.number, this_update: c.this_update }),
            aia_ocsp: crl_policy.aia_ocsp,
            last: head.next_update == Timestamp::MAX,
            verify_signature: self.options.signatures != Signatures::None,
            now: (self.clock)(),
        };
        Ok(gate::check_crl_and_visit(der, &context, visit))
    }

    /// Rule C2 over time: of two CRLs of a scope, the one with the greater number is not older.
    pub(super) fn crl_numbers(&self, issuer: &Prepared) -> Result<TaskReport, VerifyError> {
        let (mut report, mut before) = (TaskReport::default(), None::<CrlHead>);
        self.registry.visit_crls(issuer.issuer.id, &mut |head| {
            let same_scope = before.take().filter(|before| before.scope == head.scope);
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
    head: &'a CrlHead,
    /// That of a delta.
    base: Option<CrlHead>,
    entries: Vec<Known>,
}

impl Comparison<'_> {
    fn against_registry(mut self, report: &mut TaskReport) -> Result<(), VerifyError> {
        let name = &self.issuer.issuer.name;
        self.entries.sort_unstable_by_key(|entry| entry.serial);
        for pair in self.entries.windows(2).filter(|pair| pair[0].serial == pair[1].serial) {
            report.find(name, || self.artefact(&pair[0].serial), LISTED_ONCE, "twice", "once");
        }
        self.entries.dedup_by_key(|entry| entry.serial);
        self.name_entries(report)?;
        self.look_for_missing(report)?;
        self.look_at_unnamed(report)
    }

    fn artefact(&self, serial: &Serial) -> String {
        format!("{}, serial {serial}", name_of(self.head.scope))
    }

    fn visit_revoked(&self, selection: &CrlSelection, mut visit: &mut dyn FnMut(&CrlEntry)) -> Result<(), RegistryError> {
        self.run.registry.visit_revoked(self.issuer.issuer.id, selection, &mut visit).map(|_| ())
    }

    /// The revoked certificates that may stand on it: all of its scope, on a delta those that are not reflected in its base.
    fn selection(&self) -> CrlSelection {
        let Comparison { issuer, head, base, .. } = self;
        CrlSelection {
            scope: head.scope,
            contents: issuer.issuer.publication.crl_contents(head.scope),
            not_after_from: Timestamp::default(),
            or_recorded_after: u64::MAX,
            changed: base.as_ref().map(|base| ChangeRange { after: base.reflects, up_to: u64::MAX }),
        }
    }

    /// Marks the entries that the registry names, and finds those of which it says something else.
    fn name_entries(&mut self, report: &mut TaskReport) -> Result<(), VerifyError> {
        let mut entries = std::mem::take(&mut self.entries);
        self.visit_revoked(&self.selection(), &mut |revoked| {
            let Ok(index) = entries.binary_search_by_key(&revoked.serial, |entry| entry.serial) else { return };
            entries[index].named = true;
            if !entries[index].says(revoked) {
                let artefact = || self.artefact(&revoked.serial);
                report.find(&self.issuer.issuer.name, artefact, LISTED_AS_REGISTERED, &entries[index], Known::from(revoked));
            }
        })?;
        self.entries = entries;
        Ok(())
    }

    /// Those that must stand on it and do not.
    fn look_for_missing(&self, report: &mut TaskReport) -> Result<(), VerifyError> {
        let Comparison { run, issuer, head, .. } = self;
        let mut missing = Vec::new();
        self.visit_revoked(&self.must()?, &mut |revoked| {
            if self.entries.binary_search_by_key(&revoked.serial, |entry| entry.serial).is_err() {
                missing.push(revoked.serial);
            }
        })?;
        missing.sort_unstable();
        if !missing.is_empty() && self.may_wait() {
            let changed = Some(ChangeRange { after: head.reflects, up_to: u64::MAX });
            let mut waiting = Vec::new();
            self.visit_revoked(&CrlSelection { changed, ..self.selection() }, &mut |revoked| waiting.push(revoked.serial))?;
            waiting.sort_unstable();
            missing.retain(|serial| waiting.binary_search(serial).is_err());
        }
        for (index, serial) in missing.iter().enumerate() {
            let certificate = if index < MAX_LOOKUPS { run.registry.certificate(issuer.issuer.id, serial)? } else { None };
            let is_expired = certificate.is_some_and(|certificate| certificate.not_after < head.this_update);
            let rule = if is_expired { LEFT_TOO_SOON } else { LISTED };
            report.find(&issuer.issuer.name, || self.artefact(serial), rule, format!("not on CRL number {}", head.number), "an entry");
        }
        Ok(())
    }

    /// What must stand on it: of the expired certificates, those that rule C6 keeps on it.
    fn must(&self) -> Result<CrlSelection, RegistryError> {
        let Comparison { run, issuer, head, .. } = self;
        if head.reflects == 0 {
            // It comes from an earlier version of this program, which did not say.
            return Ok(CrlSelection { not_after_from: head.this_update, ..self.selection() });
        }
        let scheduled = run.registry.newest_crl_heads(issuer.issuer.id, head.scope.base(), true, 3)?;
        let before = scheduled.iter().find(|scheduled| scheduled.number < head.number);
        let (not_after_from, or_recorded_after) = crl::retained(&issuer.crl_policy, before, head.this_update);
        Ok(CrlSelection { not_after_from, or_recorded_after, ..self.selection() })
    }

    /// Whether what was revoked after it may wait for the next: it is great and young.
    fn may_wait(&self) -> bool {
        let Comparison { run, issuer, head, .. } = self;
        (run.clock)() < issuer.crl_policy.urgent_from(head).saturating_add(GRACE)
    }

    /// Entries that are not those of a certificate of the selection.
    fn look_at_unnamed(&self, report: &mut TaskReport) -> Result<(), VerifyError> {
        let Comparison { run, issuer, head, .. } = self;
        let name = &issuer.issuer.name;
        for entry in self.entries.iter().filter(|entry| !entry.named).take(MAX_LOOKUPS) {
            let artefact = || self.artefact(&entry.serial);
            match run.registry.certificate(issuer.issuer.id, &entry.serial)? {
                Some(known) if matches!(known.status, CertificateStatus::Revoked(_)) => {
                    // A delta may repeat what its base says.
                    if !issuer.issuer.publication.lists(head.scope, &known) {
                        report.find(name, artefact, IN_ITS_PARTITION, format!("{:?}", known.crl_place()), name_of(head.scope));
                    }
                }
                Some(_) => report.find(name, artefact, REVOKED, "listed", "not listed: it is good"),
                None => report.find(name, artefact, REVOKED, "listed", "not listed: the registry does not know it"),
            }
        }
        Ok(())
    }
}
