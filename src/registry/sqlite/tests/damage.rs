//! Columns that do not say what is there.

use super::*;

fn full_crl(number: u64) -> CrlRecord {
    let head = CrlHead {
        scope: CrlScope::Full,
        number,
        this_update: Timestamp::default(),
        next_update: Timestamp::MAX,
        refresh_at: Timestamp::MAX,
        entries: 0,
        scheduled: true,
        reflects: 0,
        distribution_point: None,
        has_delta: false,
        base: None,
    };
    CrlRecord { head, der: vec![0x30; 9].into() }
}

#[test]
fn c2_a_superseded_crl_that_cannot_be_forgotten_keeps_no_other_from_being_published() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    let publish = |number| registry.publish_crls(issuer, &[full_crl(number)], 0);
    let kept = || registry.newest_crl_heads(issuer, CrlScope::Full, false, 9).unwrap().iter().map(|head| head.number).collect::<Vec<_>>();
    (1..=2).for_each(|number| publish(number).unwrap());
    let spoil = "CREATE TRIGGER spoilt BEFORE DELETE ON crl_chunk BEGIN SELECT RAISE(ABORT, 'a page that is damaged'); END";
    registry.0.writer().execute_batch(spoil).unwrap();
    publish(3).unwrap();
    assert_eq!(kept(), [3, 2, 1]);
    registry.0.writer().execute_batch("DROP TRIGGER spoilt").unwrap();
    publish(4).unwrap();
    assert_eq!(kept(), [4, 3], "it is tried again");
}

#[test]
fn a_crl_that_is_not_what_was_published_is_not_given_out() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    registry.publish_crls(issuer, &[full_crl(1)], u32::MAX).unwrap();
    let spoil = |sql: &str| registry.0.writer().execute_batch(sql).unwrap();
    let octets_read = || registry.latest_crls(issuer).unwrap().remove(0).der.len();
    assert_eq!(octets_read(), 9);
    for damage in [
        "UPDATE crl SET octets = 8",
        "UPDATE crl SET octets = 10",
        "UPDATE crl SET octets = 9223372036854775807",
        "UPDATE crl SET octets = 9, checksum = checksum + 1",
        "UPDATE crl SET checksum = NULL",
        "UPDATE crl_chunk SET der = x'0000000009303030303030303031'",
        "UPDATE crl_chunk SET der = x'0700000000'",
        "DELETE FROM crl_chunk",
    ] {
        spoil(&format!("SAVEPOINT whole; {damage}"));
        let read = crls::latest(&registry.0.writer(), issuer).unwrap().remove(0).der;
        assert!(read.is_empty(), "{damage}: {read:?}");
        spoil("ROLLBACK TO whole; RELEASE whole");
    }
    assert_eq!(octets_read(), 9);
    // As an earlier version kept it.
    spoil("UPDATE crl SET layout = 0, checksum = NULL; UPDATE crl_chunk SET der = x'303030303030303030'");
    assert_eq!(octets_read(), 9);
    for octets in ["8", "10", "9223372036854775807"] {
        spoil(&format!("UPDATE crl SET octets = {octets}"));
        let said = registry.latest_crls(issuer).unwrap_err().to_string();
        assert!(said.contains(&format!("CRL full number 1: found 9 octets, wanted {octets}")), "{said}");
    }
    spoil("UPDATE crl SET octets = 9; DELETE FROM crl_chunk");
    assert!(matches!(registry.latest_crl(issuer, CrlScope::Full), Err(RegistryError::Damaged { .. })));
}
