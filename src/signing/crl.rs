//! Issuing CRLs: full ones, partitions, ARLs, each with its delta where it has one.
//!
//! A complete CRL and its delta share one sequence of numbers. Issued at the same time they have the same number, so they are then published together
//! (rule C2, RFC 5280 5.2.3).

use bytes::Bytes;

use super::crl_policy::{CrlPolicy, ExpiredEntries};
use super::gate::{self, Coverage, CrlContext, EarlyLook, IssuerFacts, MeantCrl, NumberedCrl, Refusal, RevokedSet};
use super::schedule::{self, Phase, Turn};
use super::{IssuerSigning, SigningError, crl_url, kept_since};
use crate::pki::Timestamp;
use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::registry::{ChangeRange, CrlHead, CrlRecord, CrlScope, CrlSelection, Issuer, Registry, RegistryError, RevokedVisitor};
use crate::token::SigningKey;

/// Makes the next CRL of a scope, checked and ready to publish: with a complete CRL that has one, its delta; a delta alone, unless a complete CRL must go
/// with it.
pub fn issue(
    registry: &dyn Registry,
    signing: &IssuerSigning,
    key: &dyn SigningKey,
    scope: CrlScope,
    now: Timestamp,
) -> Result<Vec<CrlRecord>, SigningError> {
    let base = scope.base();
    let newest = |scope, scheduled_only, limit| registry.newest_crl_heads(signing.issuer.id, scope, scheduled_only, limit);
    let delta = base.delta().filter(|delta| signing.issuer.publication.has_crl(*delta));
    let state = State {
        // The number is asked for before the entries: whoever publishes in between makes `publish_crls` refuse these CRLs.
        number: registry.next_crl_number(signing.issuer.id, base)?,
        complete: newest(base, false, 1)?.pop(),
        delta: delta.map(|delta| newest(delta, false, 1)).transpose()?.and_then(|mut heads| heads.pop()),
        scheduled: newest(base, true, 2)?,
    };
    for published in state.complete.iter().chain(&state.delta) {
        // Somebody published it between the two looks.
        if published.number >= state.number {
            let what = format!("the CRL ({})", published.scope);
            return Err(RegistryError::Stale { what, found: published.number, expected: state.number - 1 }.into());
        }
        signing
            .not_before(Some(published.this_update), now, || format!("CRL ({}) of issuer '{}'", published.scope, signing.issuer.name))?;
    }
    // After the number was asked for: whoever closes the CA from now on has a later number for its last CRL, or this one is not published.
    signing.same_mode(registry)?;
    let facts = IssuerFacts::of(&signing.certificate, signing.profile.clone())?;
    let job = Job { registry, signing, key, facts, now, state: &state };
    let alone = scope.is_delta().then(|| state.base_of_lone_delta(signing, now)).flatten();
    if let Some(head) = alone {
        return Ok(vec![job.make(scope, Some(Base { head, beside: None }))?]);
    }
    let complete = job.make(base, None)?;
    let Some(delta) = delta else { return Ok(vec![complete]) };
    let base = Base { head: state.base_beside(&complete.head), beside: Some(&complete) };
    let delta = job.make(delta, Some(base))?;
    Ok(vec![complete, delta])
}

/// Whether a published CRL no longer is what is to be published under its scope: another distribution point, or with a delta now, or without.
fn is_outdated(head: &CrlHead, signing: &IssuerSigning) -> bool {
    let issuer = &signing.issuer;
    let has_delta = head.scope.delta().is_some_and(|delta| issuer.publication.has_crl(delta));
    head.distribution_point != distribution_point(&signing.base_url, issuer, head.scope) || head.has_delta != has_delta
}

/// What is published of a complete CRL and its delta, and the number that the next of either has.
struct State {
    number: u64,
    complete: Option<CrlHead>,
    delta: Option<CrlHead>,
    /// The newest scheduled complete CRLs.
    scheduled: Vec<CrlHead>,
}

impl State {
    /// The base of a delta that is issued alone: the last scheduled complete CRL but one, so that whoever has fetched the last or the one before can use
    /// it. `None` where a complete CRL is to be issued with it: there is none of this kind, or it is of the same second.
    fn base_of_lone_delta(&self, signing: &IssuerSigning, now: Timestamp) -> Option<&CrlHead> {
        let complete = self.complete.as_ref().filter(|c| !is_outdated(c, signing) && c.this_update < now)?;
        self.delta.as_ref()?;
        self.scheduled.iter().rfind(|head| is_same_kind(head, complete))
    }

    /// The base of a delta that is issued with this complete CRL.
    fn base_beside<'a>(&'a self, complete: &'a CrlHead) -> &'a CrlHead {
        let place = if complete.scheduled { 0 } else { 1 };
        let earlier = self.scheduled.iter().take(place + 1).rfind(|head| is_same_kind(head, complete));
        earlier.unwrap_or(complete)
    }
}

/// Whether a delta to the one is a delta to the other (rule C5).
fn is_same_kind(a: &CrlHead, b: &CrlHead) -> bool {
    a.distribution_point == b.distribution_point && a.has_delta == b.has_delta
}

/// One issue of a complete CRL, a delta, or both.
struct Job<'a> {
    registry: &'a dyn Registry,
    signing: &'a IssuerSigning,
    key: &'a dyn SigningKey,
    /// As the gate knows it.
    facts: IssuerFacts,
    now: Timestamp,
    state: &'a State,
}

/// What a delta is made from.
struct Base<'a> {
    head: &'a CrlHead,
    /// The complete CRL that is issued with it, where there is one.
    beside: Option<&'a CrlRecord>,
}

/// A CRL whose entries are coming.
struct Making<'a> {
    crl: CrlEncoder,
    truth: RevokedSet,
    early: EarlyLook,
    context: &'a CrlContext<'a>,
}

impl RevokedVisitor for Making<'_> {
    fn visit(&mut self, entry: &CrlEntry) {
        self.truth.note(entry);
        self.crl.push(entry);
    }

    fn meanwhile(&mut self) -> bool {
        self.early.go_on(self.crl.entries(), self.context)
    }
}

impl Job<'_> {
    /// Makes one CRL; `base` is that of a delta.
    fn make(&self, scope: CrlScope, base: Option<Base<'_>>) -> Result<CrlRecord, SigningError> {
        let Job { registry, signing, key, now, .. } = *self;
        let validity = signing.crl_policy.timing(scope).validity;
        let next_update = if signing.crls_are_last() { Timestamp::MAX } else { schedule::next_update(now, validity, Timestamp::MAX) };
        let header = CrlHeader {
            issuer: &signing.certificate.subject,
            authority_key_identifier: &signing.certificate.key_identifier,
            algorithm: key.signature_algorithm(),
            number: self.state.number,
            this_update: now,
            next_update,
            base: base.as_ref().map(|base| base.head.number),
            distribution_point: distribution_point(&signing.base_url, &signing.issuer, scope),
            freshest: freshest(&signing.base_url, &signing.issuer, scope),
            expired_since: kept_since(&signing.certificate, signing.crl_policy.expired),
        };
        let selection = self.selection(scope, base.as_ref());
        let base_octets = base.as_ref().map(|base| self.octets_of(base)).transpose()?;
        let context = self.context(scope, &header, base.as_ref(), base_octets.as_deref());
        let crl = CrlEncoder::new(&header, self.expected(scope)?);
        let mut making = Making { crl, truth: RevokedSet::default(), early: EarlyLook::default(), context: &context };
        let newest = registry.visit_revoked(signing.issuer.id, &selection, &mut making)?;
        let Making { crl, truth, early, .. } = making;
        let unsigned = crl.finish()?;
        let signature = key.sign(unsigned.to_be_signed())?;
        let der = unsigned.with_signature(&signature);
        let findings = gate::check_crl(&der, &CrlContext { truth: Some(truth), ..context }, early);
        Refusal::unless_clean(findings, || format!("CRL ({scope}), number {}", header.number))?;
        let head = CrlHead {
            scope,
            number: header.number,
            this_update: now,
            next_update,
            refresh_at: refresh_at(signing, scope, now, next_update),
            entries: truth.count,
            scheduled: self.is_scheduled(scope),
            reflects: selection.changed.map_or(newest, |changed| changed.up_to.min(newest)),
            distribution_point: header.distribution_point,
            has_delta: header.freshest.is_some(),
            base: header.base,
        };
        Ok(CrlRecord { head, der })
    }

    /// What the gate holds a CRL against, but for what is to be on it.
    fn context<'a>(
        &'a self,
        scope: CrlScope,
        meant: &'a CrlHeader<'_>,
        base: Option<&Base<'_>>,
        base_octets: Option<&'a [u8]>,
    ) -> CrlContext<'a> {
        let signing = self.signing;
        // What is published here with a later time is from when the clock was ahead.
        let numbered = |head: &CrlHead| NumberedCrl { number: head.number, this_update: head.this_update.min(self.now) };
        let [complete, delta] = [&self.state.complete, &self.state.delta].map(|head| head.as_ref().map(numbered));
        let beside = base.and_then(|base| base.beside).map(|complete| numbered(&complete.head));
        let (previous, companion) = if scope.is_delta() { (delta, beside.or(complete)) } else { (complete, delta) };
        CrlContext {
            issuer: &self.facts,
            coverage: coverage(signing.issuer.publication.crl_contents(scope)),
            distribution_point: meant.distribution_point.as_ref().map(|point| point.uri.as_str()),
            base: base_octets,
            freshest: meant.freshest.as_deref(),
            meant: MeantCrl { number: meant.number, this_update: meant.this_update, next_update: meant.next_update },
            algorithm: meant.algorithm,
            truth: None,
            previous,
            companion,
            aia_ocsp: signing.crl_policy.aia_ocsp,
            last: signing.crls_are_last(),
            verify_signature: true,
            now: self.now,
        }
    }

    /// A base that is forgotten has none: the gate then refuses the delta (rule C5).
    fn octets_of(&self, base: &Base<'_>) -> Result<Bytes, SigningError> {
        let Base { head, beside } = base;
        if let Some(complete) = beside.filter(|complete| complete.head.number == head.number) {
            return Ok(complete.der.clone());
        }
        let published = self.registry.crl(self.signing.issuer.id, head.scope, head.number)?;
        Ok(published.map(|crl| crl.der).unwrap_or_default())
    }

    /// What is to stand on it.
    fn selection(&self, scope: CrlScope, base: Option<&Base<'_>>) -> CrlSelection {
        let (not_after_from, or_recorded_after) = retained(&self.signing.crl_policy, self.state.scheduled.first(), self.now);
        CrlSelection {
            scope,
            contents: self.signing.issuer.publication.crl_contents(scope),
            not_after_from,
            or_recorded_after,
            changed: base.map(|base| ChangeRange {
                after: base.head.reflects,
                // Together with a complete CRL, it reflects what that reflects.
                up_to: base.beside.map_or(u64::MAX, |complete| complete.head.reflects),
            }),
        }
    }

    /// A CRL is scheduled where its time has come, or where what is published is not of its kind; not where a revocation has brought it forward.
    fn is_scheduled(&self, scope: CrlScope) -> bool {
        let published = if scope.is_delta() { &self.state.delta } else { &self.state.complete };
        published.as_ref().is_none_or(|head| head.refresh_at <= self.now || is_outdated(head, self.signing))
    }

    /// About how many entries there will be.
    fn expected(&self, scope: CrlScope) -> Result<u64, SigningError> {
        let revoked = self.registry.counts(self.signing.issuer.id)?.revoked;
        Ok(match scope {
            CrlScope::Full => revoked,
            CrlScope::Partition(_) => revoked / u64::from(self.signing.issuer.publication.crl_partitions.max(1)),
            CrlScope::Authorities | CrlScope::FullDelta | CrlScope::PartitionDelta(_) => 0,
        })
    }
}

/// Rule C6: what had expired before the last scheduled CRL, and stood on it, may leave a CRL that is issued `at` that time. Returns the notAfter and the
/// change from which on entries stay.
pub(super) fn retained(policy: &CrlPolicy, last_scheduled: Option<&CrlHead>, at: Timestamp) -> (Timestamp, u64) {
    let listed = last_scheduled.map_or(Timestamp::default(), |head| head.this_update.min(at));
    let not_after_from = match policy.expired {
        ExpiredEntries::UntilListed => listed,
        ExpiredEntries::For(duration) => listed.min(at.saturating_sub(duration)),
        ExpiredEntries::ForEver => Timestamp::default(),
    };
    (not_after_from, last_scheduled.map_or(0, |head| head.reflects))
}

/// When a published CRL is to be followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PlannedCrl {
    /// In any case.
    pub(super) due: Timestamp,
    /// Because of a revocation.
    pub(super) urgent_from: Timestamp,
}

/// What follows from a published CRL: as was planned, or earlier where the configuration says so by now.
pub(super) fn planned(signing: &IssuerSigning, head: &CrlHead) -> PlannedCrl {
    let policy = &signing.crl_policy;
    let due = match () {
        () if is_outdated(head, signing) => Timestamp::default(),
        () if signing.crls_are_last() && head.next_update < Timestamp::MAX => Timestamp::default(),
        () => head.refresh_at.min(refresh_at(signing, head.scope, head.this_update, head.next_update)),
    };
    PlannedCrl { due, urgent_from: policy.urgent_from(head) }
}

/// When a CRL of this scope is issued again: at its turn; never, where it is the last.
fn refresh_at(signing: &IssuerSigning, scope: CrlScope, this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    if signing.crls_are_last() {
        return Timestamp::MAX;
    }
    schedule::refresh_at(turn(signing, scope), signing.crl_policy.timing(scope), this_update, next_update)
}

/// Which certificates a CRL with these contents covers, in the gate's words.
pub(super) fn coverage(contents: Contents) -> Coverage {
    match contents {
        Contents::All => Coverage::All,
        Contents::UserCertificates => Coverage::EndEntities,
        Contents::CaCertificates => Coverage::Cas,
    }
}

/// None for a CRL that covers everything; otherwise that of the complete CRL, for its delta too (RFC 5280 5.2.4: the same scope).
pub(super) fn distribution_point(base_url: &str, issuer: &Issuer, scope: CrlScope) -> Option<IssuingDistributionPoint> {
    match issuer.publication.crl_contents(scope) {
        Contents::All => None,
        contents => Some(IssuingDistributionPoint { uri: crl_url(base_url, &issuer.name, scope.base()), contents }),
    }
}

/// Where the delta of a complete CRL is, if it has one (rule C5).
pub(super) fn freshest(base_url: &str, issuer: &Issuer, scope: CrlScope) -> Option<String> {
    let delta = scope.delta().filter(|delta| issuer.publication.has_crl(*delta))?;
    Some(crl_url(base_url, &issuer.name, delta))
}

/// Partitions are refreshed in turn, each issuer's at a time of its own; full CRL and ARL take the place after the last of them, and a delta that of its base.
fn turn(signing: &IssuerSigning, scope: CrlScope) -> Turn {
    let of = signing.issuer.publication.crl_partitions + 1;
    let index = if let CrlScope::Partition(index) = scope.base() { index.min(of - 1) } else { of - 1 };
    Turn { index, of, phase: Phase::of_issuer(&signing.issuer.name) }
}
