//! What an order may do about revocations, and what it makes of keys that were revoked.

use std::fs;

use crate::common::{fail, list, succeed};
use crate::office;

#[test]
fn c3_a_ceremony_does_not_revoke_for_a_reason_that_cannot_be_published() {
    let (_directory, office) = office();
    let write = |id: &str, reason: &str| {
        let order = format!("{id}.toml");
        let steps = format!("[[step]]\ndo = \"revoke-all\"\nissuer = \"issuing\"\nreason = \"{reason}\"\n");
        fs::write(office.path(&order), office.head(id, "ceremony") + &steps).unwrap();
        office.approve(&order, &["chiba", "doi"]);
        order
    };
    let revoked = || list(&office.config(), "issuing").iter().filter(|certificate| certificate.revoked_at.is_some()).count();
    for reason in ["cACompromise", "aACompromise"] {
        let order = write(reason, reason);
        for said in [office.refused(&order), fail(&mut office.order("check", &[&order]))] {
            assert!(said.contains(&format!("reason: found {reason}, wanted one of unspecified, keyCompromise,")), "{said}");
            assert!(said.contains("issuer 'issuing' keeps the Baseline Requirements (C3)"), "{said}");
        }
        assert_eq!(revoked(), 1, "nothing was recorded");
    }
    let order = write("end", "cessationOfOperation");
    succeed(&mut office.order("check", &[&order]));
    succeed(&mut office.run_order(&order));
    assert_eq!(revoked(), 10);
    succeed(&mut crate::with_config("sign", &office.config(), &["--once"]));
}
