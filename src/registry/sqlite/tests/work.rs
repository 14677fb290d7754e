//! The log of work orders, and what they have had issued.

use std::time::Duration;

use super::*;
use crate::pki::{Fingerprint, Revocation, RevocationReason};
use crate::registry::work::{ChainCheck, Holder, IssuedRecord, NewWork, WorkEvent, WorkId, WorkRegistry};
use crate::registry::{ChangeKind, HeldKey, RevokeOutcome, TakenOver};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

fn append(registry: &SqliteRegistry, order: &str, event: WorkEvent) -> Result<u64> {
    Ok(registry.append_work(&NewWork { order, event, at: at(7), detail: "{}" })?.sequence)
}

fn checked(registry: &SqliteRegistry) -> std::result::Result<u64, String> {
    let (mut check, mut found) = (ChainCheck::default(), Ok(()));
    let ever = registry.visit_work(&mut |entry| found = found.clone().and_then(|()| check.entry(&entry))).unwrap();
    found.and_then(|()| check.finish(ever)).map(|(length, _)| length).map_err(|tampered| tampered.to_string())
}

fn issued(item: u64, number: u32) -> IssuedRecord {
    let record = CertificateRecord {
        serial: serial(number),
        not_before: Some(at(1)),
        not_after: at(1000),
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    let (public_key, subject) = (Fingerprint::of(&number.to_be_bytes()), Fingerprint::of(b"a subject"));
    IssuedRecord { item, record, public_key, subject, certificate: number.to_be_bytes().to_vec(), is_responder: false }
}

#[test]
fn s4_8_an_order_is_begun_once_and_ends_once() {
    let store = TempStore::new();
    let registry = store.registry();
    let over = |event| matches!(append(&registry, "one", event), Err(RegistryError::WorkOver { .. }));
    assert!(over(WorkEvent::Resumed) && over(WorkEvent::Done), "it was never begun");
    append(&registry, "one", WorkEvent::Refused).unwrap();
    assert_eq!(append(&registry, "one", WorkEvent::Begun).unwrap(), 2);
    assert!(over(WorkEvent::Begun));
    for event in [WorkEvent::Step, WorkEvent::Failed, WorkEvent::Resumed, WorkEvent::Step, WorkEvent::Done] {
        append(&registry, "one", event).unwrap();
    }
    for event in [WorkEvent::Begun, WorkEvent::Resumed, WorkEvent::Step, WorkEvent::Done, WorkEvent::Stopped, WorkEvent::Failed] {
        assert!(over(event), "{event:?} after the end");
    }
    append(&registry, "one", WorkEvent::Refused).unwrap();
    append(&registry, "two", WorkEvent::Begun).unwrap();
    drop(registry);
    let registry = store.registry();
    let state = registry.work("one").unwrap().unwrap();
    assert_eq!((state.id, state.steps.len(), state.end), (WorkId(2), 2, Some((WorkEvent::Done, at(7)))));
    assert_eq!(registry.work("two").unwrap().unwrap().end, None);
    assert_eq!((registry.work("three").unwrap(), checked(&registry)), (None, Ok(9)));
    let long = "x".repeat(crate::registry::work::MAX_ORDER_ID + 1);
    assert!(matches!(append(&registry, &long, WorkEvent::Begun), Err(RegistryError::OutOfRange { .. })));
}

#[test]
fn s4_5_the_log_refuses_changes_and_shows_them_where_somebody_forces_them() {
    let store = TempStore::new();
    let registry = store.registry();
    for order in ["one", "two", "three"] {
        append(&registry, order, WorkEvent::Begun).unwrap();
    }
    let execute = |sql: &str| registry.0.writer().execute_batch(sql).map_err(|e| e.to_string());
    assert!(execute("UPDATE work_log SET detail = 'x' WHERE sequence = 2").unwrap_err().contains("never changed"));
    assert!(execute("DELETE FROM work_log").unwrap_err().contains("never cut"));
    assert_eq!(checked(&registry), Ok(3));
    execute("DROP TRIGGER work_log_is_not_cut; DROP TRIGGER work_log_is_not_changed").unwrap();
    execute("UPDATE work_log SET detail = 'x' WHERE sequence = 2").unwrap();
    assert!(checked(&registry).unwrap_err().contains("entry 2"));
    execute("UPDATE work_log SET detail = '{}' WHERE sequence = 2").unwrap();
    assert_eq!(checked(&registry), Ok(3));
    execute("DELETE FROM work_log WHERE sequence = 3").unwrap();
    assert!(checked(&registry).unwrap_err().contains("the newest were removed"));
}

#[test]
fn p3_what_an_order_has_issued_is_registered_with_it_or_not_at_all() {
    let store = TempStore::new();
    let (registry, work) = (store.registry(), WorkId(1));
    let issuer = register(&registry);
    append(&registry, "one", WorkEvent::Begun).unwrap();
    registry.add_issued(issuer, work, &[issued(0, 10), issued(2, 12)], at(9)).unwrap();
    let again = registry.add_issued(issuer, work, &[issued(1, 11), issued(2, 13)], at(9));
    assert!(matches!(again, Err(RegistryError::ItemRepeats(2))), "{again:?}");
    let repeated = registry.add_issued(issuer, work, &[issued(1, 11), issued(3, 12)], at(9));
    assert!(matches!(repeated, Err(RegistryError::SerialRepeats(_))), "{repeated:?}");
    drop(registry);
    let registry = store.registry();
    assert_eq!(registry.counts(issuer).unwrap().good, 2);
    assert_eq!(registry.issued_items(work, 0..9).unwrap(), [0, 2].into());
    assert_eq!(registry.issued_items(work, 1..2).unwrap(), [].into());
    let mut seen = Vec::new();
    registry.visit_issued(work, 0..9, &mut |item, serial, der| seen.push((item, serial, der))).unwrap();
    assert_eq!(seen, [(0, serial(10), 10u32.to_be_bytes().to_vec()), (2, serial(12), 12u32.to_be_bytes().to_vec())]);
    let execute = |sql: &str| registry.0.writer().execute_batch(sql).map_err(|e| e.to_string());
    assert!(execute("DELETE FROM issued").unwrap_err().contains("never deleted"));
    assert!(execute("UPDATE issued SET certificate = x''").unwrap_err().contains("never changed"));
}

#[test]
fn s3_1_keys_and_subjects_are_found_again() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    append(&registry, "one", WorkEvent::Begun).unwrap();
    registry.add_issued(issuer, WorkId(1), &[issued(0, 10)], at(9)).unwrap();
    let holders = registry.key_holders(&[issued(0, 10).public_key, issued(0, 11).public_key]).unwrap();
    assert_eq!(holders.iter().map(|holder| holder.map(|h| h.serial)).collect::<Vec<_>>(), [Some(serial(10)), None]);
    let subjects = |from: u64| registry.subject_holders(issuer, &[Fingerprint::of(b"a subject")], at(from)).unwrap()[0].map(|h| h.serial);
    assert_eq!((subjects(1000), subjects(1001)), (Some(serial(10)), None), "until it ends");
    let revocation = Revocation { at: at(20), reason: Some(RevocationReason::Superseded) };
    assert_eq!(registry.revoke(issuer, &serial(10), revocation, None, at(20)).unwrap(), RevokeOutcome::Revoked);
    assert_eq!(subjects(21), None, "or is revoked");
}

#[test]
fn a_compromised_key_is_known_whatever_was_issued_for_it_later() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    append(&registry, "one", WorkEvent::Begun).unwrap();
    let key = issued(0, 10).public_key;
    let later = IssuedRecord { public_key: key, ..issued(1, 11) };
    registry.add_issued(issuer, WorkId(1), &[issued(0, 10), later], at(9)).unwrap();
    let revoke = |number: u32, reason| {
        let revocation = Revocation { at: at(20), reason: Some(reason) };
        assert_eq!(registry.revoke(issuer, &serial(number), revocation, None, at(20)).unwrap(), RevokeOutcome::Revoked);
        registry.compromised_holders(&[key, issued(2, 12).public_key]).unwrap().iter().map(|h| h.map(|h| h.serial)).collect::<Vec<_>>()
    };
    assert_eq!(revoke(11, RevocationReason::Superseded), [None, None]);
    assert_eq!(revoke(10, RevocationReason::KeyCompromise), [Some(serial(10)), None]);
    assert_eq!(registry.key_holders(&[key]).unwrap()[0].map(|holder| holder.serial), Some(serial(11)), "the newest is another");
    // Of a CA it is called otherwise; of an end entity that says that its CA is compromised, not its key.
    let of_ca = issued(3, 13);
    let of_ca = IssuedRecord { record: CertificateRecord { is_ca: true, ..of_ca.record }, ..of_ca };
    let keys = [of_ca.public_key, issued(4, 14).public_key];
    registry.add_issued(issuer, WorkId(1), &[of_ca, issued(4, 14)], at(9)).unwrap();
    let revocation = Revocation { at: at(20), reason: Some(RevocationReason::CaCompromise) };
    for number in [13, 14] {
        registry.revoke(issuer, &serial(number), revocation, None, at(20)).unwrap();
    }
    let compromised: Vec<_> = registry.compromised_holders(&keys).unwrap().iter().map(|h| h.map(|h| h.serial)).collect();
    assert_eq!(compromised, [Some(serial(13)), None]);
}

#[test]
fn s3_1_the_key_of_a_certificate_that_was_taken_over_is_known() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    let (held, other) = (issued(0, 10), issued(1, 11));
    let key = Some(HeldKey { public_key: held.public_key, subject: held.subject });
    for _ in 0..2 {
        let mut certificates = [Ok(TakenOver { record: held.record, key }), Ok(other.record.into())].into_iter();
        registry.take_over(&new_issuer(), 0, &mut certificates, at(9)).unwrap();
    }
    let keys = [held.public_key, other.public_key];
    let serials = |holders: Vec<Option<Holder>>| holders.iter().map(|h| h.map(|h| (h.serial, h.work))).collect::<Vec<_>>();
    assert_eq!(serials(registry.key_holders(&keys).unwrap()), [Some((serial(10), WorkId(0))), None]);
    assert_eq!(serials(registry.compromised_holders(&keys).unwrap()), [None, None]);
    let revocation = Revocation { at: at(20), reason: Some(RevocationReason::KeyCompromise) };
    registry.revoke(issuer, &serial(10), revocation, None, at(20)).unwrap();
    assert_eq!(serials(registry.compromised_holders(&keys).unwrap()), [Some((serial(10), WorkId(0))), None]);
}

#[test]
fn s5_2_a_closed_ca_issues_nothing_whatever_is_registered_later() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    append(&registry, "one", WorkEvent::Begun).unwrap();
    registry.run_off(issuer).unwrap();
    let refused = registry.add_issued(issuer, WorkId(1), &[issued(0, 10)], at(9));
    assert!(matches!(refused, Err(RegistryError::IssuerClosed { mode: IssuerMode::RunOff, .. })), "{refused:?}");
    assert_eq!(register(&registry), issuer, "as open");
    assert_eq!(registry.issuers().unwrap()[0].mode, IssuerMode::RunOff);
    // Who answers for it may have another key; nobody else may hide behind one.
    let responder = IssuedRecord { is_responder: true, ..issued(0, 11) };
    let refused = registry.add_issued(issuer, WorkId(1), &[responder.clone(), issued(1, 12)], at(9));
    assert!(matches!(refused, Err(RegistryError::IssuerClosed { .. })), "{refused:?}");
    registry.add_issued(issuer, WorkId(1), std::slice::from_ref(&responder), at(9)).unwrap();
    let end = responder.record.not_after;
    assert_eq!(registry.close(issuer, end).unwrap(), 1, "valid to the last second");
    assert_eq!(registry.issuers().unwrap()[0].mode, IssuerMode::RunOff);
    assert_eq!(registry.close(issuer, end.saturating_add(Duration::from_secs(1))).unwrap(), 0);
    registry.run_off(issuer).unwrap();
    register(&registry);
    assert_eq!(registry.issuers().unwrap()[0].mode, IssuerMode::Closed);
    let refused = registry.add_issued(issuer, WorkId(1), &[IssuedRecord { item: 1, ..responder }], at(9));
    assert!(matches!(refused, Err(RegistryError::IssuerClosed { mode: IssuerMode::Closed, .. })), "{refused:?}");
    assert_eq!(
        registry.changes_after(0, 9).unwrap().iter().filter(|change| change.kind == ChangeKind::Issuer).count(),
        3,
        "registered, run off, closed"
    );
}
