//! CRLs of every scope: what waits for a delta's base is no finding, and what is missing is one.

use super::*;
use crate::pki::{CertificateStatus, HashAlgorithm};
use crate::registry::{CertificateRecord, CrlExtras, CrlScope, OnConflict};
use crate::signing::{CrlPolicy, Timing};

const EXTRAS: CrlExtras = CrlExtras { arl: true, arl_alone: true, full_delta: true, partition_deltas: true };
const LISTED: (&str, &str) = ("C9", "every revoked certificate is listed");

/// A CA with certificates of end entities in two partitions and of CAs, three and one of them revoked and published. Two entries are great.
fn published_in_every_scope() -> Bench {
    let mut bench = Bench::new(365);
    let delta = Timing { validity: DAY, refresh: HOUR };
    bench.crl_policy = CrlPolicy { at_once_below: 2, delta, ..bench.crl_policy };
    bench.crl_extras = EXTRAS;
    bench.register(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
    bench.add(0..40);
    let record = CertificateRecord {
        serial: serial(100),
        not_before: Some(bench.start),
        not_after: bench.start.saturating_add(DAY * 3650),
        is_ca: true,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    bench.registry.add_certificates(bench.issuer().id, &mut std::iter::once(Ok(record)), OnConflict::Refuse, bench.start).unwrap();
    [0, 2, 4, 100].iter().for_each(|n| bench.revoke(*n, bench.start));
    pass(&mut bench.worker(), bench.start);
    bench
}

/// The same, with two more revoked an hour later: they are on the deltas, and not on the great CRLs.
fn published_with_deltas() -> (Bench, Timestamp) {
    let bench = published_in_every_scope();
    let later = bench.start.saturating_add(HOUR / 2);
    [6, 8].iter().for_each(|n| bench.revoke(*n, later));
    pass(&mut bench.worker(), later);
    (bench, later)
}

#[test]
fn c4_c5_c9_crls_of_every_scope_have_no_finding_even_while_revocations_wait_for_the_next_base() {
    let (bench, later) = published_with_deltas();
    let numbers = [CrlScope::Full, CrlScope::FullDelta, CrlScope::Partition(0), CrlScope::PartitionDelta(0)];
    let latest = numbers.map(|scope| bench.registry.latest_crl(bench.issuer().id, scope).unwrap().unwrap().head);
    assert_eq!(latest.map(|head| (head.number, head.base)), [(1, None), (2, Some(1)), (1, None), (2, Some(1))]);
    let report = verified(&bench, later);
    assert_eq!((report.findings, report.crls), (vec![], 7));
    // Deltas follow each hour.
    let late = found(&bench, later.saturating_add(2 * DAY));
    assert!(late.contains(&("T5", "issued anew before nextUpdate")), "{late:?}");
}

#[test]
fn c9_what_waits_is_on_the_delta() {
    let (bench, later) = published_with_deltas();
    bench.revoke(10, later);
    assert_eq!(found(&bench, later), BTreeSet::from([("C9", "the status is the registry's")]), "great and young, all of them");
    let too_late = later.saturating_add(HOUR);
    assert!(found(&bench, too_late).contains(&LISTED), "a delta does not wait for its turn");
    pass(&mut bench.worker(), too_late);
    assert_eq!(found(&bench, too_late), BTreeSet::new());
}

#[test]
fn c9_a_revocation_that_a_small_crl_lacks_is_found() {
    let bench = published_in_every_scope();
    bench.revoke(1, bench.start);
    let found = verified(&bench, bench.start).findings;
    let of_crls: BTreeSet<_> = found.iter().filter(|f| (f.finding.rule, f.finding.what) == LISTED).map(|f| f.artefact.clone()).collect();
    let wanted = ["CRL of partition 1", "delta of partition 1", "delta of the full CRL"].map(|crl| format!("{crl}, serial {}", serial(1)));
    assert_eq!(of_crls, BTreeSet::from(wanted), "not the full CRL: it is great, and its delta tells");
}

#[test]
fn c5_a_delta_whose_base_is_gone_or_another_is_found() {
    for (sql, wanted) in [
        ("DELETE FROM crl WHERE scope = -1 AND number = 1", ("T5", "there is a CRL for every scope")),
        ("UPDATE crl SET base = 9 WHERE scope = -3 AND number = 2", ("C5", "the base is a complete CRL")),
        ("UPDATE crl SET scope = -3, number = 9 WHERE scope = -1", ("C5", "deltaCRLIndicator on a delta, and only there")),
    ] {
        let (bench, later) = published_with_deltas();
        bench.sql().execute_batch(sql).unwrap();
        assert!(found(&bench, later).contains(&wanted), "{sql}: {:?}", found(&bench, later));
    }
}

#[test]
fn c4_a_ca_certificate_on_another_crl_than_the_arl_is_found() {
    let bench = published_in_every_scope();
    bench.sql().execute_batch("UPDATE certificate SET is_ca = 0 WHERE is_ca = 1").unwrap();
    let misplaced = ("C4", "a partition lists the certificates that name it, and no others");
    assert!(found(&bench, bench.start).is_superset(&BTreeSet::from([misplaced, LISTED])));
}

#[test]
fn c6_an_entry_that_left_too_soon_is_found() {
    let mut bench = published();
    let expiry = bench.start.saturating_add(90 * DAY);
    let last = expiry.saturating_sub(HOUR);
    pass(&mut bench.worker(), last);
    let due = bench.registry.latest_crl(bench.issuer().id, CrlScope::Full).unwrap().unwrap().head.refresh_at;
    pass(&mut bench.worker(), due.saturating_add(2 * DAY));
    let now = due.saturating_add(3 * DAY);
    pass(&mut bench.worker(), now);
    let on_crls = |found: BTreeSet<(&'static str, &'static str)>| found.into_iter().filter(|(rule, _)| *rule == "C6").collect::<Vec<_>>();
    assert_eq!(on_crls(found(&bench, now)), [], "they have stood on a scheduled CRL after their expiry");
    bench.crl_policy.expired = crate::signing::ExpiredEntries::For(365 * DAY);
    let left = ("C6", "an entry stays until it has stood on a scheduled CRL after its certificate's expiry");
    assert_eq!(on_crls(found(&bench, now)), [left]);
}
