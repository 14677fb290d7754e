//! Any history of additions and revocations against a map that follows the contract's words.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Call {
    Add { records: Vec<CertificateRecord>, on_conflict: OnConflict, fails: bool },
    Revoke { serial: Serial, revocation: Revocation, invalidity_date: Option<Timestamp> },
}

/// What is known of each certificate, and by which call it was recorded; and of whose revocation the reason was learnt later.
#[derive(Clone, Default)]
struct Model(BTreeMap<Serial, (CertificateRecord, u64)>, BTreeSet<SlotHash>);

fn revocations() -> impl Strategy<Value = Revocation> {
    (0..9_u64, proptest::option::of(proptest::sample::select(RevocationReason::ALL.to_vec())))
        .prop_map(|(at, reason)| Revocation { at: time(at), reason })
}

fn records() -> impl Strategy<Value = CertificateRecord> {
    let optional_time = || proptest::option::of((0..9_u64).prop_map(time));
    let status = proptest::option::of(revocations()).prop_map(|r| r.map_or(CertificateStatus::Good, CertificateStatus::Revoked));
    let place = (any::<bool>(), proptest::option::of(0..3_u32));
    ((0..12_u64).prop_map(serial), optional_time(), (0..30_u64).prop_map(time), place, status, optional_time()).prop_map(
        |(serial, not_before, not_after, (is_ca, partition), status, invalidity_date)| CertificateRecord {
            serial,
            not_before,
            not_after,
            is_ca,
            partition,
            status,
            invalidity_date,
        },
    )
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let add = (
        proptest::collection::vec(records(), 0..6),
        prop_oneof![Just(OnConflict::Refuse), Just(OnConflict::Merge)],
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(records, on_conflict, fails)| Call::Add { records, on_conflict, fails });
    let revoke = ((0..12_u64).prop_map(serial), revocations(), proptest::option::of((0..9_u64).prop_map(time)))
        .prop_map(|(serial, revocation, invalidity_date)| Call::Revoke { serial, revocation, invalidity_date });
    proptest::collection::vec(prop_oneof![add, revoke], 1..12)
}

impl Model {
    fn add(&mut self, records: &[CertificateRecord], on_conflict: OnConflict, now: u64) -> Option<AddReport> {
        let mut report = AddReport::default();
        for record in records {
            let Some((known, recorded_at)) = self.0.get_mut(&record.serial) else {
                self.0.insert(record.serial, (*record, now));
                report.added += 1;
                continue;
            };
            if on_conflict == OnConflict::Refuse {
                return None;
            }
            known.not_before = known.not_before.or(record.not_before);
            let place = known.crl_place();
            (known.partition, known.is_ca) = (known.partition.or(record.partition), known.is_ca || record.is_ca);
            let learns = match (&mut known.status, record.status) {
                (CertificateStatus::Revoked(known), CertificateStatus::Revoked(told)) => learn(known, told.reason),
                _ => false,
            };
            if learns || known.crl_place() != place {
                *recorded_at = now;
            }
            self.1.extend(learns.then(|| SlotHash::from(&record.serial)));
            if known.status == CertificateStatus::Good && record.status != CertificateStatus::Good {
                (known.status, known.invalidity_date, *recorded_at) = (record.status, record.invalidity_date, now);
                report.revoked += 1;
            } else {
                report.unchanged += 1;
            }
        }
        Some(report)
    }

    fn revoke(&mut self, serial: &Serial, revocation: Revocation, invalidity_date: Option<Timestamp>, now: u64) -> RevokeOutcome {
        let Some((known, recorded_at)) = self.0.get_mut(serial) else {
            return RevokeOutcome::NotFound;
        };
        if let CertificateStatus::Revoked(known) = &mut known.status {
            let before = *known;
            if !learn(known, revocation.reason) {
                return RevokeOutcome::AlreadyRevoked(before);
            }
            *recorded_at = now;
            self.1.insert(SlotHash::from(serial));
            return RevokeOutcome::ReasonLearnt(before);
        }
        (known.status, known.invalidity_date, *recorded_at) = (CertificateStatus::Revoked(revocation), invalidity_date, now);
        RevokeOutcome::Revoked
    }

    /// `sequences`: the newest change before each call.
    fn on_crl(&self, selection: &CrlSelection, sequences: &[u64]) -> BTreeSet<Serial> {
        let in_scope = |record: &CertificateRecord| match selection.scope.base() {
            CrlScope::Partition(n) => record.partition == Some(n),
            _ => true,
        };
        let is_content = |record: &CertificateRecord| match selection.contents {
            Contents::All => true,
            contents => record.is_ca == (contents == Contents::CaCertificates),
        };
        // Recorded by a call after which the feed had gone on from what it was before.
        let recorded_after = |call: u64, sequence: u64| sequences[call as usize] >= sequence;
        let listed = |(record, call): &&(CertificateRecord, u64)| {
            let stays = record.not_after >= selection.not_after_from || recorded_after(*call, selection.or_recorded_after);
            let changed =
                selection.changed.is_none_or(|range| recorded_after(*call, range.after) && sequences[*call as usize] < range.up_to);
            record.status != CertificateStatus::Good && in_scope(record) && is_content(record) && stays && changed
        };
        self.0.values().filter(listed).map(|(record, _)| record.serial).collect()
    }
}

/// Whether the reason of a revocation is another one from now on.
fn learn(known: &mut Revocation, told: Option<RevocationReason>) -> bool {
    let becomes = match (known.reason, told) {
        (None, _) => told,
        (Some(RevocationReason::CaCompromise), _) => known.reason,
        (_, Some(RevocationReason::KeyCompromise)) => told,
        (reason, _) => reason,
    };
    std::mem::replace(&mut known.reason, becomes) != becomes
}

/// Makes a call in both worlds; their answers must agree.
fn make(registry: &dyn Registry, issuer: IssuerId, model: &mut Model, call: &Call, now: u64) {
    match call {
        Call::Add { records, on_conflict, fails } => {
            let failure = fails.then(|| Err("the source failed".into()));
            let mut stream = records.iter().copied().map(Ok).chain(failure);
            let result = registry.add_certificates(issuer, &mut stream, *on_conflict, time(5 * now));
            let mut after = model.clone();
            let report = after.add(records, *on_conflict, now);
            match (report, fails) {
                (Some(report), false) => {
                    assert_eq!(result.unwrap(), report);
                    *model = after;
                }
                (None, _) => assert!(matches!(result, Err(RegistryError::SerialRepeats(_))), "{result:?}"),
                (Some(_), true) => assert!(matches!(result, Err(RegistryError::Source(_))), "{result:?}"),
            }
        }
        Call::Revoke { serial, revocation, invalidity_date } => {
            let outcome = registry.revoke(issuer, serial, *revocation, *invalidity_date, time(5 * now)).unwrap();
            assert_eq!(outcome, model.revoke(serial, *revocation, *invalidity_date, now));
        }
    }
}

fn compare(registry: &dyn Registry, issuer: IssuerId, model: &Model, sequences: &[u64]) {
    let mut expected: Vec<CertificateRecord> = model.0.values().map(|(record, _)| *record).collect();
    expected.sort_by_key(|record| (SlotHash::from(&record.serial), record.serial));
    assert_eq!(all(registry, issuer), expected);
    let revoked = expected.iter().filter(|record| record.status != CertificateStatus::Good).count() as u64;
    assert_eq!(registry.counts(issuer).unwrap(), Counts { good: expected.len() as u64 - revoked, revoked });
    let scopes = [CrlScope::Full, CrlScope::Partition(0), CrlScope::Partition(2), CrlScope::Authorities];
    for (n, sequence) in sequences.iter().enumerate() {
        let since = time(7 * n as u64);
        for scope in scopes {
            let complete = CrlSelection { not_after_from: since, or_recorded_after: *sequence, ..selection(scope) };
            assert_eq!(on_crl(registry, issuer, &complete), model.on_crl(&complete, sequences), "{complete:?}");
            let changed = Some(ChangeRange { after: *sequence, up_to: sequences[sequences.len() - 1] });
            let delta = CrlSelection { changed, ..complete };
            assert_eq!(on_crl(registry, issuer, &delta), model.on_crl(&delta, sequences), "{delta:?}");
        }
    }
    let (mut added, mut told) = (BTreeSet::new(), BTreeSet::new());
    for change in registry.changes_after(0, usize::MAX).unwrap().into_iter().filter(|change| change.issuer == issuer) {
        match change.kind {
            ChangeKind::Certificates(hashes) => hashes.into_iter().for_each(|hash| assert!(added.insert(hash), "told twice")),
            // Where the reason was learnt, once more.
            ChangeKind::Revocations(items) => {
                items.into_iter().for_each(|item| assert!(told.insert(item) || model.1.contains(&item.0), "told twice"));
            }
            other => assert_eq!(other, ChangeKind::Issuer),
        }
    }
    let hashes = |revoked: bool| {
        expected.iter().filter(move |r| (r.status != CertificateStatus::Good) == revoked).map(|r| SlotHash::from(&r.serial))
    };
    assert_eq!(told.iter().map(|(hash, _)| *hash).collect::<BTreeSet<_>>(), hashes(true).collect(), "the feed told of every revocation");
    let revoked = expected.iter().filter(|r| r.status != CertificateStatus::Good);
    assert!(revoked.into_iter().all(|r| told.contains(&(SlotHash::from(&r.serial), r.crl_place()))), "and to the CRL that it is on");
    assert!(hashes(false).all(|hash| added.contains(&hash)), "the feed told of every good certificate");
}

pub(in crate::registry) fn any_history_agrees_with_a_simple_model(store: &dyn Store) {
    let registry = store.open();
    let histories = Cell::new(0);
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&calls(), |calls| {
        // One registry for all histories: an issuer each.
        histories.set(histories.get() + 1);
        let issuer = registry.register_issuer(&new_issuer(&format!("ca {}", histories.get()))).unwrap();
        let (mut model, mut sequences) = (Model::default(), Vec::new());
        for (n, call) in calls.iter().enumerate() {
            sequences.push(registry.last_change().unwrap());
            make(&*registry, issuer, &mut model, call, n as u64);
        }
        sequences.push(registry.last_change().unwrap());
        compare(&*registry, issuer, &model, &sequences);
        Ok(())
    });
    run.unwrap();
}
