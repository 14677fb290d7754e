//! Columns that do not say what is there.

use super::*;

#[test]
fn a_crl_that_is_not_as_long_as_it_is_said_to_be_is_reported_as_damage() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    let head = CrlHead {
        scope: CrlScope::Full,
        number: 1,
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
    registry.publish_crls(issuer, &[CrlRecord { head, der: vec![0x30; 9].into() }]).unwrap();
    let spoil = |sql: &str| registry.0.writer().execute_batch(sql).unwrap();
    for octets in ["8", "10", "9223372036854775807"] {
        spoil(&format!("UPDATE crl SET octets = {octets}"));
        let said = registry.latest_crls(issuer).unwrap_err().to_string();
        assert!(said.contains(&format!("CRL full number 1: found 9 octets, wanted {octets}")), "{said}");
    }
    spoil("UPDATE crl SET octets = 9; DELETE FROM crl_chunk");
    assert!(matches!(registry.latest_crl(issuer, CrlScope::Full), Err(RegistryError::Damaged { .. })));
}
