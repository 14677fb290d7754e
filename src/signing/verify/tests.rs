//! A registry that is tampered with behind the program's back: what was published is no longer what the rules or the registry say, and it is found.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rusqlite::params;

use super::*;
use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use crate::pki::{Revocation, RevocationReason, Timestamp};
use crate::registry::{CrlHead, CrlRecord};
use crate::signing::gate::{Profile, Programme};
use crate::signing::tests::{Bench, pass, serial};

mod scopes;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const OPTIONS: Options = Options { signatures: Signatures::All, threads: 2 };

impl Bench {
    fn to_verify(&self) -> IssuerToVerify {
        let base_url = "http://va.example".to_owned();
        IssuerToVerify { issuer: self.issuer(), profile: Profile::default(), crl_policy: self.crl_policy, base_url }
    }
}

fn verified(bench: &Bench, now: Timestamp) -> Report {
    let programmes = [Programme::BaselineRequirements, Programme::Microsoft];
    let issuer = IssuerToVerify { profile: Profile::new(programmes), ..bench.to_verify() };
    let done = AtomicU64::new(0);
    let report = verify(bench.registry.as_ref(), vec![issuer], OPTIONS, &|| now, &|| {}, &done).unwrap();
    let counts = bench.registry.counts(bench.issuer().id).unwrap();
    assert!(done.into_inner() >= 2 * (counts.good + counts.revoked).min(report.certificates));
    report
}

/// What is found now: rule and what it says.
fn found(bench: &Bench, now: Timestamp) -> BTreeSet<(&'static str, &'static str)> {
    let report = verified(bench, now);
    report.findings.iter().map(|located| (located.finding.rule, located.finding.what)).collect()
}

/// A CA with certificates in two partitions, three of them revoked, and all of it published.
fn published() -> Bench {
    let bench = Bench::new(365);
    bench.add(0..40);
    (0..3).for_each(|n| bench.revoke(n, bench.start));
    pass(&mut bench.worker(), bench.start);
    bench
}

fn tampered(sql: &str) -> BTreeSet<(&'static str, &'static str)> {
    let bench = published();
    let connection = bench.sql();
    connection.execute_batch("DROP TRIGGER certificate_stays_revoked").unwrap();
    connection.execute_batch(sql).unwrap();
    found(&bench, bench.start)
}

#[test]
fn what_was_published_by_the_worker_has_no_finding() {
    let bench = published();
    let report = verified(&bench, bench.start.saturating_add(HOUR));
    assert_eq!(report.findings, []);
    let Report { certificates, packs, responses, signatures, crls, entries, .. } = report;
    assert_eq!((certificates, packs, responses, signatures, crls, entries), (40, 2, 80, 80, 3, 6));
}

#[test]
fn s5_2_where_every_ca_has_ended_there_is_nothing_to_verify() {
    let bench = published();
    let done = AtomicU64::new(0);
    let report = verify(bench.registry.as_ref(), Vec::new(), OPTIONS, &|| bench.start, &|| {}, &done).unwrap();
    assert_eq!((report.found(), report.packs, report.crls, done.into_inner()), (0, 0, 0, 0));
}

#[test]
fn o16_a_pack_that_is_missing_or_damaged_is_found() {
    assert_eq!(tampered("DELETE FROM response_pack WHERE cert_id_hash = 2"), BTreeSet::from([PACKS[0]]));
    let damage = "UPDATE response_pack SET blob = CAST(substr(blob, 1, 100) || x'00' || substr(blob, 102) AS BLOB) WHERE cert_id_hash = 1";
    assert_eq!(tampered(damage), BTreeSet::from([PACKS[1]]));
}

const PACKS: [(&str, &str); 2] =
    [("O16", "every CertID hash that is configured has its responses"), ("O16", "a published pack can be read")];

#[test]
fn c9_a_pack_that_was_replaced_by_an_older_one_is_found() {
    let bench = published();
    let connection = bench.sql();
    connection.execute_batch("CREATE TEMP TABLE old AS SELECT * FROM response_pack").unwrap();
    let later = bench.start.saturating_add(HOUR);
    bench.revoke(7, later);
    pass(&mut bench.worker(), later);
    assert_eq!(found(&bench, later), BTreeSet::new());
    // The octets alone, then the row as it was.
    connection
        .execute_batch("UPDATE response_pack SET blob = (SELECT blob FROM old WHERE old.cert_id_hash = response_pack.cert_id_hash)")
        .unwrap();
    let status = ("C9", "the status is the registry's");
    assert_eq!(found(&bench, later), BTreeSet::from([("C9", "a pack is the one that was published in its place"), status]));
    connection.execute_batch("DELETE FROM response_pack; INSERT INTO response_pack SELECT * FROM old").unwrap();
    assert_eq!(found(&bench, later), BTreeSet::from([status]));
}

#[test]
fn o3_o9_o16_responses_and_certificates_belong_together() {
    let signer = ("O3", "a response is signed by a registered signer");
    assert_eq!(tampered("DELETE FROM signer"), BTreeSet::from([signer]));
    let unissued = ("O9", "every response is for a certificate that was issued");
    let one = "(SELECT serial FROM certificate WHERE status = 0 LIMIT 1)";
    assert_eq!(tampered(&format!("DELETE FROM certificate WHERE serial = {one}")), BTreeSet::from([unissued]));
    let bench = published();
    bench.add(40..41);
    assert_eq!(found(&bench, bench.start), BTreeSet::from([("O16", "every certificate has a response")]));
}

#[test]
fn c9_a_status_that_is_not_the_registrys_is_found_in_responses_and_crls() {
    let status = ("C9", "the status is the registry's");
    let one = "(SELECT serial FROM certificate WHERE status = 1 LIMIT 1)";
    let good = format!("UPDATE certificate SET status = 0, revoked_at = NULL, reason = NULL WHERE serial = {one}");
    assert_eq!(tampered(&good), BTreeSet::from([status, ("C9", "every certificate that is listed is revoked")]));
    let revoked = "UPDATE certificate SET status = 1, revoked_at = 1796083200, reason = 4 WHERE serial IN (SELECT serial FROM certificate WHERE status = 0 LIMIT 1)";
    assert_eq!(tampered(revoked), BTreeSet::from([status, ("C9", "every revoked certificate is listed")]));
    let other = format!("UPDATE certificate SET reason = 1 WHERE serial = {one}");
    assert_eq!(tampered(&other), BTreeSet::from([status, ("C9", "an entry says what the registry says")]));
    let unknown = format!("DELETE FROM certificate WHERE serial = {one}");
    let unissued = ("O9", "every response is for a certificate that was issued");
    assert_eq!(tampered(&unknown), BTreeSet::from([unissued, ("C9", "every certificate that is listed is revoked")]));
}

#[test]
fn c4_a_partition_lists_the_certificates_that_name_it() {
    let moved = tampered("UPDATE certificate SET partition = 1 - partition WHERE status = 1");
    let misplaced = ("C4", "a partition lists the certificates that name it, and no others");
    assert_eq!(moved, BTreeSet::from([misplaced, ("C9", "every revoked certificate is listed")]));
}

#[test]
fn c9_a_certificate_names_a_partition_that_there_is() {
    let fewer = tampered("UPDATE issuer SET crl_partitions = 1");
    assert_eq!(fewer, BTreeSet::from([("C9", "the partition that a certificate names has a CRL")]));
}

#[test]
fn t5_c1_c2_c10_a_crl_that_is_missing_damaged_or_renumbered_is_found() {
    assert_eq!(tampered("DELETE FROM crl WHERE scope = 1"), BTreeSet::from([("T5", "there is a CRL for every scope")]));
    let full = "WHERE crl = (SELECT id FROM crl WHERE scope = -1)";
    let last = format!("UPDATE crl_chunk SET der = CAST(substr(der, 1, length(der) - 1) || x'00' AS BLOB) {full}");
    assert_eq!(tampered(&last), BTreeSet::from([("C10", "a published CRL can be read")]));
    // As it was kept by an earlier version, without a checksum.
    for octet in ["00", "ff"] {
        let bench = published();
        let issuer = bench.registry.issuers().unwrap()[0].id;
        let der = bench.registry.latest_crl(issuer, CrlScope::Full).unwrap().unwrap().der;
        let kept: String = der[..der.len() - 1].iter().map(|octet| format!("{octet:02x}")).collect();
        let plain = format!("UPDATE crl SET layout = 0 WHERE scope = -1; UPDATE crl_chunk SET der = x'{kept}{octet}' {full}");
        bench.sql().execute_batch(&plain).unwrap();
        assert_eq!(found(&bench, bench.start), BTreeSet::from([("C1", "the signature verifies with the CA's key")]));
    }
    let cut =
        format!("UPDATE crl_chunk SET der = substr(der, 1, length(der) - 1) {full}; UPDATE crl SET octets = octets - 1 WHERE scope = -1");
    assert_eq!(tampered(&cut), BTreeSet::from([("C10", "a published CRL can be read")]));
    assert_eq!(tampered("UPDATE crl SET number = 0 WHERE scope = 0"), BTreeSet::from([("C2", "cRLNumber is what was reserved")]));
}

#[test]
fn c2_numbers_and_times_of_crls_grow_together() {
    let bench = published();
    pass(&mut bench.worker(), bench.start.saturating_add(DAY));
    let later = bench.start.saturating_add(2 * DAY);
    pass(&mut bench.worker(), later);
    assert_eq!(found(&bench, later), BTreeSet::new());
    bench.sql().execute_batch("UPDATE crl SET this_update = this_update + 1000000 WHERE scope = -1 AND number = 1").unwrap();
    assert_eq!(found(&bench, later), BTreeSet::from([("C2", "cRLNumber and thisUpdate grow together, from CRL to CRL")]));
}

#[test]
fn c9_a_certificate_that_is_listed_twice_is_found() {
    let bench = published();
    let (ca, scope) = (bench.ca.certificate(), CrlScope::Full);
    let before = bench.registry.latest_crl(bench.issuer().id, scope).unwrap().unwrap();
    let mut entries = Vec::new();
    for n in [0, 1, 2, 2] {
        let revocation = Revocation { at: bench.start, reason: Some(RevocationReason::Superseded) };
        entries.push(CrlEntry { serial: serial(n), revocation, invalidity_date: None });
    }
    let header = CrlHeader {
        issuer: &ca.subject,
        authority_key_identifier: &ca.key_identifier,
        algorithm: bench.ca_key.signature_algorithm(),
        number: before.head.number + 1,
        this_update: bench.start,
        next_update: before.head.next_update,
        base: None,
        distribution_point: None,
        freshest: None,
        expired_since: None,
    };
    let mut crl = CrlEncoder::new(&header, entries.len() as u64);
    entries.iter().for_each(|entry| crl.push(entry));
    let unsigned = crl.finish().unwrap();
    let signature = bench.ca_key.sign(unsigned.to_be_signed()).unwrap();
    let head = CrlHead { number: before.head.number + 1, ..before.head };
    let record = CrlRecord { head, der: unsigned.with_signature(&signature) };
    bench.registry.publish_crls(bench.issuer().id, &[record], u32::MAX).unwrap();
    assert_eq!(found(&bench, bench.start), BTreeSet::from([("C9", "a certificate is listed once")]));
}

#[test]
fn t1_t5_what_was_not_signed_anew_in_time_is_found() {
    let bench = published();
    let stale = found(&bench, bench.start.saturating_add(7 * DAY));
    let wanted = [("T1", "signed anew in time"), ("T5", "issued anew before nextUpdate")];
    assert!(wanted.iter().all(|rule| stale.contains(rule)), "{stale:?}");
}

#[test]
fn c9_what_is_published_meanwhile_is_looked_at_again() {
    let bench = published();
    bench.revoke(9, bench.start);
    let issuer = bench.to_verify();
    let settle = || drop(pass(&mut bench.worker(), bench.start));
    let report = verify(bench.registry.as_ref(), vec![issuer], OPTIONS, &|| bench.start, &settle, &AtomicU64::new(0)).unwrap();
    assert_eq!((report.findings, report.responses, report.crls), (vec![], 80, 3));
}

#[test]
fn p1_the_certificate_of_who_signs_is_held_against_its_rules() {
    let bench = published();
    let connection = bench.sql();
    let der: Vec<u8> = connection.query_row("SELECT certificate FROM signer", [], |row| row.get(0)).unwrap();
    let nocheck = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05];
    let at = der.windows(nocheck.len()).position(|w| w == nocheck).unwrap();
    let mut changed = der.clone();
    changed[at + nocheck.len() - 1] = 0x7f;
    connection.execute("UPDATE signer SET certificate = ?1", params![changed]).unwrap();
    let rules: BTreeSet<&str> = found(&bench, bench.start).iter().map(|(rule, _)| *rule).collect();
    assert_eq!(rules, BTreeSet::from(["O7", "P1"]), "not what the CA signed, and nocheck is gone");
}
