//! What an order may do about revocations, and what it makes of keys that were revoked.

use std::fs;

use crate::common::{fail, list, succeed};
use crate::{approved, office};

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

#[test]
fn s3_1_a_compromised_key_is_not_certified_again_whatever_the_order_says() {
    let (_directory, office) = office();
    succeed(&mut office.run_order(&approved(&office, "first")));
    let renew = |id: &str| {
        let order = office.write_issue(id, "one.jsonl", "renewal = true\n");
        office.approve(&order, &["baba"]);
        (succeed(&mut office.run_order(&order)), fs::read_to_string(office.path(&format!("out-{id}/rejected.jsonl"))).unwrap())
    };
    let serial = |id: &str| {
        let line = fs::read_to_string(office.path(&format!("out-{id}/certificates-000000001.jsonl"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["serial"].as_str().unwrap().to_owned()
    };
    let revoke = |id: &str, reason: &str| {
        succeed(&mut crate::with_config("revoke", &office.config(), &["--issuer", "issuing", "--serial", &serial(id), "--reason", reason]));
    };
    revoke("first", "superseded");
    let (said, _) = renew("second");
    assert!(said.contains("issued 1 certificates"), "another reason says nothing of the key: {said}");
    let (said, _) = renew("third");
    assert!(said.contains("issued 1 certificates"), "{said}");
    // Not the newest certificate of the key: the key is the same.
    revoke("second", "keyCompromise");
    let (said, rejected) = renew("fourth");
    assert!(said.contains("issued 0 certificates") && said.contains("1 requests were rejected"), "{said}");
    assert!(rejected.contains("compromised-key") && rejected.contains(&serial("second")) && rejected.contains("BR 6.1.1.3"), "{rejected}");
}

#[test]
fn s3_1_the_key_of_a_ca_is_certified_for_nobody_else() {
    let (_directory, office) = office();
    let mut request = crate::common::tool("openssl");
    request.args([
        "req",
        "-new",
        "-key",
        "keys/issuing.key.pem",
        "-subj",
        "/CN=www.example.com",
        "-addext",
        "subjectAltName=DNS:www.example.com",
    ]);
    fs::create_dir(office.path("requests")).unwrap();
    fs::write(office.path("requests/ca"), succeed(request.current_dir(&office.directory))).unwrap();
    let order = office.write_issue("ca-key", "requests", "renewal = true\n");
    office.approve(&order, &["baba"]);
    let said = succeed(&mut office.run_order(&order));
    let rejected = fs::read_to_string(office.path("out-ca-key/rejected.jsonl")).unwrap();
    assert!(said.contains("issued 0 certificates") && rejected.contains("it is the key of the CA 'issuing'"), "{said}{rejected}");
}
