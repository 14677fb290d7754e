//! Certificates: adding, merging, revoking, scanning.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

pub(in crate::registry) fn what_was_added_survives_reopening(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let extremes = CertificateRecord {
        serial: "7fffffffffffffffffffffffffffffffffffffff".parse().unwrap(),
        not_before: None,
        not_after: Timestamp::MAX,
        is_ca: true,
        partition: Some(u32::MAX - 2),
        status: CertificateStatus::Revoked(Revocation { at: time(0), reason: None }),
        invalidity_date: Some(time(0)),
    };
    let zero = CertificateRecord { serial: "0".parse().unwrap(), not_before: Some(time(0)), not_after: time(0), ..good(0) };
    let mut records = vec![extremes, zero, good(1), revoked(2, DAY)];
    for (n, reason) in RevocationReason::ALL.into_iter().enumerate() {
        let status = CertificateStatus::Revoked(Revocation { at: time(5), reason: Some(reason) });
        records.push(CertificateRecord { status, partition: Some(0), ..good(10 + n as u64) });
    }
    let report = add(&*registry, issuer, &records, OnConflict::Refuse).unwrap();
    assert_eq!(report, AddReport { added: 11, revoked: 0, unchanged: 0 });
    drop(registry);
    let again = store.open();
    for record in &records {
        assert_eq!(again.certificate(issuer, &record.serial).unwrap(), Some(*record));
    }
    assert_eq!(again.certificate(issuer, &serial(99)).unwrap(), None);
    assert_eq!(again.counts(issuer).unwrap(), Counts { good: 2, revoked: 9 });
}

/// What a call must not have changed.
fn state(registry: &dyn Registry, issuer: IssuerId) -> (Vec<CertificateRecord>, Counts, u64) {
    (all(registry, issuer), registry.counts(issuer).unwrap(), registry.last_change().unwrap())
}

pub(in crate::registry) fn p3_a_repeated_serial_undoes_the_whole_call(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    add(&*registry, issuer, &[good(1), revoked(2, DAY)], OnConflict::Refuse).unwrap();
    let before = state(&*registry, issuer);
    for (batch, repeated) in [([good(3), good(1)], 1), ([good(3), revoked(2, DAY)], 2), ([good(4), good(4)], 4)] {
        let result = add(&*registry, issuer, &batch, OnConflict::Refuse);
        assert!(matches!(result, Err(RegistryError::SerialRepeats(found)) if found == serial(repeated)), "{result:?}");
        assert_eq!(state(&*registry, issuer), before);
    }
}

pub(in crate::registry) fn p3_serials_are_unique_per_issuer_only(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    add(&*registry, issuer, &[good(1)], OnConflict::Refuse).unwrap();
    add(&*registry, other, &[revoked(1, DAY)], OnConflict::Refuse).unwrap();
    assert_eq!(registry.certificate(issuer, &serial(1)).unwrap(), Some(good(1)));
    assert_eq!(registry.certificate(other, &serial(1)).unwrap(), Some(revoked(1, DAY)));
    assert_eq!(registry.counts(issuer).unwrap(), Counts { good: 1, revoked: 0 });
}

pub(in crate::registry) fn a_failing_stream_adds_nothing(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    add(&*registry, issuer, &[good(1)], OnConflict::Refuse).unwrap();
    let before = state(&*registry, issuer);
    let mut stream = [Ok(good(2)), Ok(revoked(1, DAY)), Err("line 3 is not a record".into()), Ok(good(3))].into_iter();
    let result = registry.add_certificates(issuer, &mut stream, OnConflict::Merge, time(0));
    assert!(matches!(&result, Err(RegistryError::Source(error)) if error.to_string() == "line 3 is not a record"), "{result:?}");
    assert_eq!(state(&*registry, issuer), before);
    drop(registry);
    assert_eq!(state(&*store.open(), issuer), before);
}

pub(in crate::registry) fn s1_1_taking_over_registers_the_issuer_with_all_its_certificates_or_not_at_all(store: &dyn Store) {
    let (registry, _) = with_issuer(store);
    let before = (registry.issuers().unwrap(), registry.last_change().unwrap());
    let mut unsound = [Ok(good(1).into()), Err("line 2 is not a record".into())].into_iter();
    let refused = registry.take_over(&new_issuer("new"), 41, &mut unsound, time(0));
    assert!(matches!(refused, Err(RegistryError::Source(_))), "{refused:?}");
    let refused = registry.take_over(&new_issuer("new"), u64::MAX, &mut std::iter::empty(), time(0));
    assert!(matches!(refused, Err(RegistryError::OutOfRange { .. })), "{refused:?}");
    assert_eq!((registry.issuers().unwrap(), registry.last_change().unwrap()), before);
    let take_over =
        || registry.take_over(&new_issuer("new"), 41, &mut [Ok(good(1).into()), Ok(revoked(2, DAY).into())].into_iter(), time(10 * DAY));
    assert_eq!(take_over().unwrap(), AddReport { added: 2, ..Default::default() });
    let new = registry.issuers().unwrap().into_iter().find(|issuer| issuer.name == "new").unwrap().id;
    assert_eq!((all(&*registry, new).len(), registry.next_crl_number(new, CrlScope::Full).unwrap()), (2, 42));
    assert_eq!(take_over().unwrap(), AddReport { unchanged: 2, ..Default::default() });
}

pub(in crate::registry) fn readers_see_all_of_a_call_or_nothing(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let elsewhere = store.open();
    let before = state(&*registry, issuer);
    let mut stream = (0..1000).map(|n| {
        if n % 100 == 99 {
            assert_eq!(state(&*registry, issuer), before, "a reader of the same connection");
            assert_eq!(state(&*elsewhere, issuer), before, "another process");
        }
        Ok(good(n))
    });
    registry.add_certificates(issuer, &mut stream, OnConflict::Refuse, time(0)).unwrap();
    assert_eq!(all(&*registry, issuer).len(), 1000);
    assert_eq!(elsewhere.counts(issuer).unwrap().good, 1000);
}

pub(in crate::registry) fn a_panic_in_a_stream_or_visitor_undoes_its_call_and_harms_no_other(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    add(&*registry, issuer, &[good(1)], OnConflict::Refuse).unwrap();
    let before = state(&*registry, issuer);
    let mut stream = (2..9).map(|n| if n < 8 { Ok(good(n)) } else { panic!("a fault of the caller's") });
    let add_all = || registry.add_certificates(issuer, &mut stream, OnConflict::Refuse, time(0));
    assert!(catch_unwind(AssertUnwindSafe(add_all)).is_err());
    let visit = || registry.visit_certificates(issuer, SlotRange::ALL, &mut |_| panic!("another one"));
    assert!(catch_unwind(AssertUnwindSafe(visit)).is_err());
    assert_eq!(state(&*registry, issuer), before);
    add(&*registry, issuer, &[good(2)], OnConflict::Refuse).unwrap();
    assert_eq!(registry.counts(issuer).unwrap().good, 2);
}

pub(in crate::registry) fn a_partition_that_cannot_be_stored_is_refused(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    for partition in [u32::MAX, u32::MAX - 1] {
        let record = CertificateRecord { partition: Some(partition), ..good(1) };
        assert!(matches!(add(&*registry, issuer, &[record], OnConflict::Merge), Err(RegistryError::OutOfRange { .. })));
    }
    assert_eq!(all(&*registry, issuer), []);
}

pub(in crate::registry) fn merge_keeps_what_is_known_and_adds_what_is_not(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let bare = |n| CertificateRecord { not_before: None, ..good(n) };
    add(&*registry, issuer, &[bare(1), bare(2), good(3), good(4)], OnConflict::Merge).unwrap();
    let before = registry.last_change().unwrap();

    let different = CertificateRecord { not_before: Some(time(7)), not_after: time(7), partition: Some(3), ..good(1) };
    let newly_revoked = CertificateRecord { partition: Some(2), ..revoked(2, 3 * DAY) };
    let batch = [different, newly_revoked, good(3), bare(4), good(5), good(5)];
    let report = add(&*registry, issuer, &batch, OnConflict::Merge).unwrap();
    assert_eq!(report, AddReport { added: 1, revoked: 1, unchanged: 4 });

    let found = |n| registry.certificate(issuer, &serial(n)).unwrap().unwrap();
    assert_eq!(found(1), CertificateRecord { not_after: good(1).not_after, ..different }, "only what was missing is taken");
    assert_eq!(found(2), newly_revoked);
    assert_eq!([found(3), found(4), found(5)], [good(3), good(4), good(5)], "nothing known is forgotten");
    let mut told = changes_since(&*registry, before);
    told.sort_by_key(|kind| matches!(kind, ChangeKind::Revocations(_)));
    assert_eq!(told, [ChangeKind::Certificates(vec![hash(5)]), ChangeKind::Revocations(vec![(hash(2), CrlPlace::Partition(2))])]);

    let before = state(&*registry, issuer);
    assert_eq!(add(&*registry, issuer, &batch, OnConflict::Merge).unwrap(), AddReport { added: 0, revoked: 0, unchanged: 6 });
    assert_eq!(state(&*registry, issuer), before, "an import may run twice");
}

pub(in crate::registry) fn s4_4_a_merge_never_undoes_a_revocation(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    add(&*registry, issuer, &[revoked(1, 2 * DAY)], OnConflict::Merge).unwrap();
    let before = state(&*registry, issuer);
    let report = add(&*registry, issuer, &[good(1), revoked(1, DAY)], OnConflict::Merge).unwrap();
    assert_eq!(report, AddReport { added: 0, revoked: 0, unchanged: 2 });
    assert_eq!(state(&*registry, issuer), before);
    // A partition that was not known may still be learnt.
    let filled = CertificateRecord { partition: Some(1), ..good(1) };
    add(&*registry, issuer, &[filled], OnConflict::Merge).unwrap();
    let expected = CertificateRecord { partition: Some(1), ..revoked(1, 2 * DAY) };
    assert_eq!(registry.certificate(issuer, &serial(1)).unwrap(), Some(expected));
}

pub(in crate::registry) fn c3_a_merge_learns_the_reason_of_a_revocation_once(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let with =
        |is_ca, at, reason| CertificateRecord { is_ca, status: CertificateStatus::Revoked(Revocation { at: time(at), reason }), ..good(1) };
    add(&*registry, issuer, &[with(false, 5, None)], OnConflict::Merge).unwrap();
    let before = registry.last_change().unwrap();
    add(&*registry, issuer, &[with(true, 9, Some(RevocationReason::Superseded))], OnConflict::Merge).unwrap();
    let expected = with(true, 5, Some(RevocationReason::Superseded));
    assert_eq!(registry.certificate(issuer, &serial(1)).unwrap(), Some(expected), "its time stays");
    assert_eq!(changes_since(&*registry, before), [ChangeKind::Revocations(vec![(hash(1), CrlPlace::Authorities)])]);
    let before = state(&*registry, issuer);
    for reason in [None, Some(RevocationReason::AffiliationChanged)] {
        add(&*registry, issuer, &[with(true, 5, reason)], OnConflict::Merge).unwrap();
        assert_eq!(state(&*registry, issuer), before, "{reason:?}: it is known");
    }
}

pub(in crate::registry) fn c3_whatever_a_revocation_was_for_its_key_may_turn_out_to_be_compromised(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let with = |at, reason| CertificateRecord { status: CertificateStatus::Revoked(Revocation { at: time(at), reason }), ..good(1) };
    let (superseded, compromised) = (Some(RevocationReason::Superseded), Some(RevocationReason::KeyCompromise));
    add(&*registry, issuer, &[with(5, superseded)], OnConflict::Merge).unwrap();
    let revoke = |at, reason| registry.revoke(issuer, &serial(1), Revocation { at: time(at), reason }, None, time(11 * DAY)).unwrap();
    let known = Revocation { at: time(5), reason: superseded };
    assert_eq!(revoke(6, Some(RevocationReason::AffiliationChanged)), RevokeOutcome::AlreadyRevoked(known));
    let before = registry.last_change().unwrap();
    assert_eq!(revoke(7, compromised), RevokeOutcome::ReasonLearnt(known));
    assert_eq!(registry.certificate(issuer, &serial(1)).unwrap(), Some(with(5, compromised)), "its time stays");
    assert_eq!(changes_since(&*registry, before), [ChangeKind::Revocations(vec![(hash(1), CrlPlace::Nowhere)])]);
    let changed = Some(ChangeRange { after: before, up_to: registry.last_change().unwrap() });
    let delta = CrlSelection { changed, ..selection(CrlScope::Full) };
    assert_eq!(on_crl(&*registry, issuer, &delta), [serial(1)].into(), "it is on the next delta CRL");
    let settled = state(&*registry, issuer);
    for reason in [superseded, compromised, None] {
        assert_eq!(revoke(8, reason), RevokeOutcome::AlreadyRevoked(Revocation { at: time(5), reason: compromised }));
        add(&*registry, issuer, &[with(8, reason)], OnConflict::Merge).unwrap();
        assert_eq!(state(&*registry, issuer), settled, "{reason:?}");
    }
    // Of a CA it is said already, in its own word.
    let known = Revocation { at: time(5), reason: Some(RevocationReason::CaCompromise) };
    let ca = CertificateRecord { is_ca: true, status: CertificateStatus::Revoked(known), ..good(2) };
    add(&*registry, issuer, &[ca], OnConflict::Merge).unwrap();
    let again = registry.revoke(issuer, &serial(2), Revocation { at: time(6), reason: compromised }, None, time(11 * DAY)).unwrap();
    assert_eq!(again, RevokeOutcome::AlreadyRevoked(known));
}

pub(in crate::registry) fn s4_4_a_revocation_is_for_ever_and_survives_reopening(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    add(&*registry, issuer, &[good(1), CertificateRecord { partition: Some(3), ..good(2) }], OnConflict::Refuse).unwrap();
    let before = registry.last_change().unwrap();
    let revoke = |n, at| registry.revoke(issuer, &serial(n), revocation(at), Some(time(1)), time(11 * DAY)).unwrap();
    assert_eq!(revoke(2, 5), RevokeOutcome::Revoked);
    assert_eq!(revoke(2, 6), RevokeOutcome::AlreadyRevoked(revocation(5)));
    assert_eq!(revoke(3, 5), RevokeOutcome::NotFound);
    assert_eq!(
        changes_since(&*registry, before),
        [ChangeKind::Revocations(vec![(hash(2), CrlPlace::Partition(3))])],
        "told once, and only what changed"
    );
    drop(registry);
    let again = store.open();
    let status = CertificateStatus::Revoked(revocation(5));
    let expected = CertificateRecord { partition: Some(3), status, invalidity_date: Some(time(1)), ..good(2) };
    assert_eq!(again.certificate(issuer, &serial(2)).unwrap(), Some(expected));
    assert_eq!(again.counts(issuer).unwrap(), Counts { good: 1, revoked: 1 });
}

pub(in crate::registry) fn slots_are_scanned_in_order_and_completely(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    let mut records: Vec<CertificateRecord> = (0..500).map(|n| if n % 3 == 0 { revoked(n, DAY) } else { good(n) }).collect();
    add(&*registry, issuer, &records, OnConflict::Refuse).unwrap();
    add(&*registry, other, &[good(1000)], OnConflict::Refuse).unwrap();
    records.sort_by_key(|record| (SlotHash::from(&record.serial), record.serial));
    for bits in [0, 1, 3, 10] {
        let slots = (0..1 << bits).map(|number| slot(&*registry, issuer, SlotRange { bits, slot: number }));
        assert_eq!(slots.flatten().collect::<Vec<_>>(), records, "{bits} bits");
    }
    let last = SlotRange { bits: SlotRange::MAX_BITS, slot: SlotHash::from(&records[499].serial).slot(SlotRange::MAX_BITS) };
    assert_eq!(slot(&*registry, issuer, last).last(), Some(&records[499]));
}

pub(in crate::registry) fn a_slot_that_does_not_exist_is_refused(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    for (bits, slot) in [(0, 1), (3, 8), (24, 1 << 24), (25, 0), (255, 0)] {
        let result = registry.visit_certificates(issuer, SlotRange { bits, slot }, &mut |_| ());
        assert!(matches!(result, Err(RegistryError::OutOfRange { .. })), "{bits} bits, slot {slot}: {result:?}");
    }
}

pub(in crate::registry) fn c6_an_entry_stays_until_it_was_on_a_crl_after_expiry(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let expiring = |n, day| CertificateRecord { not_after: time(day * DAY), ..revoked(n, DAY) };
    let before = registry.last_change().unwrap();
    add(&*registry, issuer, &[expiring(1, 5), expiring(2, 9), expiring(3, 20), good(4)], OnConflict::Refuse).unwrap();
    let after = registry.last_change().unwrap();
    // As after a scheduled CRL that was issued at `since` and reflected everything up to `reflected`.
    let listed = |since, reflected| {
        let selection = CrlSelection { not_after_from: time(since), or_recorded_after: reflected, ..selection(CrlScope::Full) };
        on_crl(&*registry, issuer, &selection)
    };
    let serials = |numbers: &[u64]| numbers.iter().map(|n| serial(*n)).collect::<BTreeSet<_>>();
    assert_eq!(listed(0, u64::MAX), serials(&[1, 2, 3]));
    assert_eq!(listed(10 * DAY, before), serials(&[1, 2, 3]), "expired, but recorded since then: not on any CRL yet");
    assert_eq!(listed(10 * DAY, after), serials(&[3]));
    assert_eq!(listed(20 * DAY, after), serials(&[3]), "notAfter itself is not past");
    assert_eq!(listed(20 * DAY + 1, after), serials(&[]));
    // Revoked after its expiry: whatever the clock of whoever recorded it says, it comes after the CRLs before.
    registry.revoke(issuer, &serial(4), revocation(DAY), None, time(0)).unwrap();
    assert_eq!(listed(200 * DAY, after), serials(&[4]));
    // And so does a revocation that an import brings.
    let after = registry.last_change().unwrap();
    add(&*registry, issuer, &[CertificateRecord { not_after: time(DAY), ..good(5) }], OnConflict::Refuse).unwrap();
    registry.add_certificates(issuer, &mut [Ok(revoked(5, DAY))].into_iter(), OnConflict::Merge, time(0)).unwrap();
    assert_eq!(listed(300 * DAY, after), serials(&[5]));
    assert_eq!(listed(300 * DAY, registry.last_change().unwrap()), serials(&[]));
}

pub(in crate::registry) fn a_crl_scope_lists_its_own_revoked_certificates(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    let in_partition = |n, partition| CertificateRecord { partition, ..revoked(n, DAY) };
    let batch =
        [in_partition(1, Some(0)), in_partition(2, Some(1)), in_partition(3, None), CertificateRecord { partition: Some(0), ..good(4) }];
    add(&*registry, issuer, &batch, OnConflict::Refuse).unwrap();
    add(&*registry, other, &[in_partition(5, Some(0))], OnConflict::Refuse).unwrap();
    let listed = |scope| on_crl(&*registry, issuer, &selection(scope));
    assert_eq!(listed(CrlScope::Full), BTreeSet::from([serial(1), serial(2), serial(3)]));
    assert_eq!(listed(CrlScope::Partition(0)), BTreeSet::from([serial(1)]));
    assert_eq!(listed(CrlScope::Partition(1)), BTreeSet::from([serial(2)]));
    assert_eq!(listed(CrlScope::Partition(2)), BTreeSet::new());
    let mut entries = Vec::new();
    registry.visit_revoked(issuer, &selection(CrlScope::Partition(1)), &mut |entry: &CrlEntry| entries.push(*entry)).unwrap();
    let expected = CrlEntry { serial: serial(2), revocation: revocation(DAY), invalidity_date: Some(time(DAY - 1)) };
    assert_eq!(entries, [expected]);
}

pub(in crate::registry) fn c4_ca_certificates_stand_on_an_arl_and_on_no_partition(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let ca = |n, partition| CertificateRecord { is_ca: true, partition, ..revoked(n, DAY) };
    let user = |n| CertificateRecord { partition: Some(1), ..revoked(n, DAY) };
    add(&*registry, issuer, &[ca(1, None), ca(2, Some(1)), user(3), user(4)], OnConflict::Refuse).unwrap();
    let listed = |scope| on_crl(&*registry, issuer, &selection(scope));
    assert_eq!(listed(CrlScope::Authorities), BTreeSet::from([serial(1), serial(2)]));
    assert_eq!(listed(CrlScope::Partition(1)), BTreeSet::from([serial(3), serial(4)]));
    assert_eq!(listed(CrlScope::Full).len(), 4, "where there is no ARL, the full CRL has them all");
    let users = CrlSelection { contents: Contents::UserCertificates, ..selection(CrlScope::Full) };
    assert_eq!(on_crl(&*registry, issuer, &users), BTreeSet::from([serial(3), serial(4)]));
    // An import may find out later, and the ARL is then told.
    let before = registry.last_change().unwrap();
    add(&*registry, issuer, &[ca(4, None)], OnConflict::Merge).unwrap();
    assert_eq!(changes_since(&*registry, before), [ChangeKind::Revocations(vec![(hash(4), CrlPlace::Authorities)])]);
    assert_eq!(on_crl(&*registry, issuer, &users), BTreeSet::from([serial(3)]));
    add(&*registry, issuer, &[user(1)], OnConflict::Merge).unwrap();
    assert_eq!(registry.certificate(issuer, &serial(1)).unwrap().map(|r| (r.is_ca, r.partition)), Some((true, Some(1))), "never forgotten");
}

pub(in crate::registry) fn c5_a_delta_lists_what_was_recorded_since_its_base(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let in_partition = |n| CertificateRecord { partition: Some(n as u32 % 2), ..good(n) };
    add(&*registry, issuer, &[in_partition(1), in_partition(2), in_partition(3), revoked(4, DAY)], OnConflict::Refuse).unwrap();
    let base = registry.last_change().unwrap();
    let delta = |scope, up_to| {
        let changed = Some(ChangeRange { after: base, up_to });
        on_crl(&*registry, issuer, &CrlSelection { changed, ..selection(scope) })
    };
    assert_eq!(delta(CrlScope::FullDelta, u64::MAX), BTreeSet::new());
    registry.revoke(issuer, &serial(1), revocation(2 * DAY), None, time(0)).unwrap();
    let first = registry.last_change().unwrap();
    add(&*registry, issuer, &[revoked(2, DAY), CertificateRecord { is_ca: true, ..revoked(5, DAY) }], OnConflict::Merge).unwrap();
    assert_eq!(delta(CrlScope::FullDelta, u64::MAX), BTreeSet::from([serial(1), serial(2), serial(5)]));
    assert_eq!(delta(CrlScope::FullDelta, first), BTreeSet::from([serial(1)]), "as of the complete CRL that goes with it");
    assert_eq!(delta(CrlScope::PartitionDelta(1), u64::MAX), BTreeSet::from([serial(1)]));
    assert_eq!(delta(CrlScope::PartitionDelta(0), u64::MAX), BTreeSet::from([serial(2)]));
    let changed = Some(ChangeRange { after: base, up_to: u64::MAX });
    let users = CrlSelection { contents: Contents::UserCertificates, changed, ..selection(CrlScope::FullDelta) };
    assert_eq!(on_crl(&*registry, issuer, &users), BTreeSet::from([serial(1), serial(2)]));
    // Rule C6 holds for deltas as well.
    let expired = CrlSelection { not_after_from: time(101 * DAY), or_recorded_after: first, changed, ..selection(CrlScope::FullDelta) };
    assert_eq!(on_crl(&*registry, issuer, &expired), BTreeSet::from([serial(2), serial(5)]));
    // A revocation that comes to a partition later is new there.
    let base = registry.last_change().unwrap();
    add(&*registry, issuer, &[CertificateRecord { partition: Some(1), ..revoked(4, DAY) }], OnConflict::Merge).unwrap();
    let changed = Some(ChangeRange { after: base, up_to: u64::MAX });
    assert_eq!(
        on_crl(&*registry, issuer, &CrlSelection { changed, ..selection(CrlScope::PartitionDelta(1)) }),
        BTreeSet::from([serial(4)])
    );
}

/// A delta ends where the complete CRL beside it does. What was revoked before that is on it, whatever becomes known of it later.
pub(in crate::registry) fn c5_what_an_import_adds_to_a_revoked_ca_certificate_does_not_take_it_off_a_delta(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let ca = |partition| CertificateRecord { is_ca: true, partition, ..revoked(1, DAY) };
    let base = registry.last_change().unwrap();
    add(&*registry, issuer, &[ca(None)], OnConflict::Refuse).unwrap();
    add(&*registry, issuer, &[ca(Some(1))], OnConflict::Merge).unwrap();
    let changed = Some(ChangeRange { after: base, up_to: registry.last_change().unwrap() });
    let delta = CrlSelection { changed, ..selection(CrlScope::FullDelta) };
    assert_eq!(on_crl(&*registry, issuer, &delta), BTreeSet::from([serial(1)]));
}

pub(in crate::registry) fn s4_4_s5_10_all_certificates_are_revoked_at_once_or_none(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    add(&*registry, other, &[good(1)], OnConflict::Refuse).unwrap();
    let mut records: Vec<CertificateRecord> = (0..25_000).map(good).collect();
    records[7] = revoked(7, DAY);
    add(&*registry, issuer, &records, OnConflict::Refuse).unwrap();
    let before = state(&*registry, issuer);
    let revocation = Revocation { at: time(2 * DAY), reason: Some(RevocationReason::CaCompromise) };
    let undone = catch_unwind(AssertUnwindSafe(|| {
        registry.revoke_all(issuer, revocation, time(2 * DAY), &mut |so_far| assert!(so_far < 15_000, "the program dies"))
    }));
    assert!(undone.is_err());
    assert_eq!(state(&*registry, issuer), before);
    let mut told = Vec::new();
    assert_eq!(registry.revoke_all(issuer, revocation, time(2 * DAY), &mut |so_far| told.push(so_far)).unwrap(), 24_999);
    assert!(told.len() > 1 && told.is_sorted() && told.last() == Some(&24_999), "{told:?}");
    assert_eq!(registry.counts(issuer).unwrap(), Counts { good: 0, revoked: 25_000 });
    assert_eq!(registry.counts(other).unwrap(), Counts { good: 1, revoked: 0 });
    let status = |n| registry.certificate(issuer, &serial(n)).unwrap().unwrap().status;
    assert_eq!((status(7), status(24_999)), (records[7].status, CertificateStatus::Revoked(revocation)));
    let changes = registry.changes_after(before.2, 100).unwrap();
    let named = changes.iter().map(|change| match &change.kind {
        ChangeKind::Revocations(items) => items.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(named.sum::<usize>(), 24_999);
    assert_eq!(registry.revoke_all(issuer, revocation, time(3 * DAY), &mut |_| {}).unwrap(), 0, "nothing is left to revoke");
}
