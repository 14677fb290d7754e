//! The change feed and its watermarks.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

pub(in crate::registry) fn every_call_tells_the_feed_what_it_changed(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    assert_eq!(store.open().last_change().unwrap(), 1);
    let batch = [good(1), CertificateRecord { partition: Some(2), ..revoked(2, DAY) }, revoked(3, DAY), good(4)];
    add(&*registry, issuer, &batch, OnConflict::Refuse).unwrap();
    registry.revoke(issuer, &serial(1), revocation(DAY), None, time(0)).unwrap();
    let packs = [HashAlgorithm::Sha256, HashAlgorithm::Sha1].map(|hash| publishing::pack(hash, 0, 1));
    registry.publish_packs(issuer, 0, &packs).unwrap();
    registry.publish_crls(issuer, &[publishing::crl(CrlScope::Partition(3), 1)], publishing::KEEP_ALL).unwrap();
    registry
        .publish_crls(issuer, &[CrlScope::Full, CrlScope::FullDelta].map(|scope| publishing::crl(scope, 1)), publishing::KEEP_ALL)
        .unwrap();
    registry.publish_crls(issuer, &[publishing::crl(CrlScope::PartitionDelta(3), 2)], publishing::KEEP_ALL).unwrap();
    registry.publish_crls(issuer, &[publishing::crl(CrlScope::Authorities, 1)], publishing::KEEP_ALL).unwrap();
    // Calls that change nothing that a consumer would have to read.
    add(&*registry, issuer, &batch, OnConflict::Merge).unwrap();
    registry.publish_packs(issuer, 0, &[]).unwrap();
    registry.set_watermark("worker", 1).unwrap();

    let expected = [
        ChangeKind::Issuer,
        ChangeKind::Certificates(vec![hash(1), hash(4)]),
        ChangeKind::Revocations(vec![(hash(2), CrlPlace::Partition(2)), (hash(3), CrlPlace::Nowhere)]),
        ChangeKind::Revocations(vec![(hash(1), CrlPlace::Nowhere)]),
        ChangeKind::Packs(HashAlgorithm::Sha1, vec![0]),
        ChangeKind::Packs(HashAlgorithm::Sha256, vec![0]),
        ChangeKind::Crl(CrlScope::Partition(3)),
        ChangeKind::Crl(CrlScope::Full),
        ChangeKind::Crl(CrlScope::FullDelta),
        ChangeKind::Crl(CrlScope::PartitionDelta(3)),
        ChangeKind::Crl(CrlScope::Authorities),
    ];
    drop(registry);
    let again = store.open();
    assert_eq!(changes_since(&*again, 0), expected);
    let changes = again.changes_after(0, usize::MAX).unwrap();
    assert!(changes.iter().all(|change| change.issuer == issuer));
    assert!(changes.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!(changes.last().unwrap().sequence, again.last_change().unwrap());
    for (n, change) in changes.iter().enumerate() {
        assert_eq!(again.changes_after(change.sequence, 2).unwrap(), changes[n + 1..].iter().take(2).cloned().collect::<Vec<_>>());
    }
    assert_eq!(again.changes_after(0, 0).unwrap(), []);
    assert_eq!(again.changes_after(u64::MAX, 9).unwrap(), []);
}

pub(in crate::registry) fn a_large_batch_reaches_the_feed_whole(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let before = registry.last_change().unwrap();
    let mut records = (0..70_000).map(|n| Ok(if n % 2 == 0 { good(n) } else { revoked(n, DAY) }));
    registry.add_certificates(issuer, &mut records, OnConflict::Refuse, time(0)).unwrap();
    let (mut added, mut revoked) = (HashSet::new(), HashSet::new());
    for kind in changes_since(&*registry, before) {
        match kind {
            ChangeKind::Certificates(hashes) => added.extend(hashes),
            ChangeKind::Revocations(items) => revoked.extend(items.iter().map(|(hash, _)| *hash)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(added, (0..70_000).step_by(2).map(hash).collect());
    assert_eq!(revoked, (1..70_000).step_by(2).map(hash).collect());
    assert_eq!(registry.counts(issuer).unwrap(), Counts { good: 35_000, revoked: 35_000 });
}

pub(in crate::registry) fn racing_writers_and_a_polling_consumer_miss_nothing(store: &dyn Store) {
    const WRITERS: u64 = 4;
    const CALLS: u64 = 30;
    let (registry, issuer) = with_issuer(store);
    let elsewhere = store.open();
    let busy = AtomicUsize::new(WRITERS as usize);
    let (registry, elsewhere, busy) = (&*registry, &*elsewhere, &busy);
    let consumed = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let _finished = Finished(busy);
                // Half of the writers share a connection; the others come from another process.
                let registry = if writer % 2 == 0 { registry } else { elsewhere };
                for call in 0..CALLS {
                    // Calls of different length: a later one may be ready to commit before an earlier one.
                    let first = (writer * CALLS + call) * 100;
                    let records: Vec<_> = (first..first + 1 + 33 * (writer % 3)).map(good).collect();
                    add(registry, issuer, &records, OnConflict::Refuse).unwrap();
                    registry.revoke(issuer, &serial(first), revocation(DAY), None, time(0)).unwrap();
                }
            });
        }
        scope.spawn(|| consume(registry, busy)).join().unwrap()
    });
    let sequences: Vec<u64> = consumed.iter().map(|change| change.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert_eq!(consumed, registry.changes_after(0, usize::MAX).unwrap(), "what was read bit by bit is what there is");
    let (mut added, mut revoked) = (0, 0);
    for change in &consumed {
        match &change.kind {
            ChangeKind::Certificates(hashes) => added += hashes.len() as u64,
            ChangeKind::Revocations(items) => revoked += items.len() as u64,
            _ => {}
        }
    }
    assert_eq!(revoked, WRITERS * CALLS);
    assert_eq!(registry.counts(issuer).unwrap(), Counts { good: added - revoked, revoked });
}

/// Counts a writer down when it ends, by a panic too.
struct Finished<'a>(&'a AtomicUsize);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Polls in small bites until the writers have finished and nothing is left.
fn consume(registry: &dyn Registry, busy: &AtomicUsize) -> Vec<Change> {
    let mut consumed: Vec<Change> = Vec::new();
    loop {
        let finished = busy.load(Ordering::SeqCst) == 0;
        let sequence = consumed.last().map_or(0, |change| change.sequence);
        let changes = registry.changes_after(sequence, 3).unwrap();
        if changes.is_empty() && finished {
            return consumed;
        }
        consumed.extend(changes);
    }
}

pub(in crate::registry) fn a_watermark_never_goes_back_and_survives_reopening(store: &dyn Store) {
    let registry = store.open();
    assert_eq!(registry.watermark("worker").unwrap(), 0);
    registry.set_watermark("worker", 7).unwrap();
    registry.set_watermark("worker", 5).unwrap();
    registry.set_watermark("responder", 3).unwrap();
    assert!(matches!(registry.set_watermark("worker", u64::MAX), Err(RegistryError::OutOfRange { .. })));
    drop(registry);
    let again = store.open();
    assert_eq!([again.watermark("worker").unwrap(), again.watermark("responder").unwrap()], [7, 3]);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let again = &again;
            scope.spawn(move || (0..20).for_each(|i| again.set_watermark("worker", 10 + 4 * i + n).unwrap()));
        }
    });
    assert_eq!(again.watermark("worker").unwrap(), 10 + 4 * 19 + 3);
}

pub(in crate::registry) fn every_stored_watermark_is_listed(store: &dyn Store) {
    let (registry, _) = with_issuer(store);
    assert_eq!(registry.watermarks().unwrap(), []);
    registry.set_watermark("worker", 7).unwrap();
    registry.set_watermark("another", 5).unwrap();
    registry.prune_changes(1).unwrap();
    assert_eq!(store.open().watermarks().unwrap(), [("another".to_owned(), 5), ("worker".to_owned(), 7)]);
}

pub(in crate::registry) fn pruning_forgets_tells_and_never_reuses_a_number(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    assert_eq!(registry.pruned_changes().unwrap(), 0);
    add(&*registry, issuer, &[good(1)], OnConflict::Refuse).unwrap();
    add(&*registry, issuer, &[good(2)], OnConflict::Refuse).unwrap();
    let changes = registry.changes_after(0, usize::MAX).unwrap();
    let pruned = changes[1].sequence;
    registry.prune_changes(pruned).unwrap();
    assert_eq!(registry.changes_after(pruned, usize::MAX).unwrap(), changes[2..]);
    for asked in 0..pruned {
        let told = registry.changes_after(asked, 9);
        assert!(matches!(told, Err(RegistryError::FeedPruned { pruned: found, .. }) if found == pruned), "after {asked}: {told:?}");
    }
    registry.prune_changes(0).unwrap();
    assert_eq!(registry.pruned_changes().unwrap(), pruned, "what was forgotten stays so");
    let last = registry.last_change().unwrap();
    registry.prune_changes(u64::MAX).unwrap();
    drop(registry);
    let again = store.open();
    assert_eq!(again.pruned_changes().unwrap(), last);
    assert_eq!(again.changes_after(last, usize::MAX).unwrap(), []);
    assert_eq!(again.last_change().unwrap(), last, "consumers compare their watermark with it");
    add(&*again, issuer, &[good(3)], OnConflict::Refuse).unwrap();
    let new = again.changes_after(last, usize::MAX).unwrap();
    assert_eq!(new.len(), 1);
    assert!(new[0].sequence > last);
}
