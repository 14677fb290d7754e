//! What an order of a batch may say beside its inputs, and what comes of it.

use std::fs;

use crate::common::{fail, succeed};
use crate::{approved, office};

#[test]
fn s4_8_an_order_by_a_profile_that_its_issuer_does_not_have_is_refused() {
    let (_directory, office) = office();
    let config = fs::read_to_string(office.config()).unwrap();
    let with = |profiles: &str| {
        let tables: Vec<&str> = config.split("[[issuer]]").collect();
        let end = |table: &str| format!("{}\n\n[issuer.issuance]\nprofiles = {profiles}\n\n", table.trim_end());
        let tables: Vec<String> =
            tables.iter().map(|table| if table.contains("name = \"issuing\"") { end(table) } else { (*table).to_owned() }).collect();
        fs::write(office.config(), tables.join("[[issuer]]")).unwrap();
    };
    let order = approved(&office, "other");
    with("[\"br-7.1.2.7-tls-server-short-lived\"]");
    let said = office.refused(&order);
    for wanted in [
        "issuer 'issuing': found the profile",
        "profile.toml (",
        "wanted one of its issuance.profiles: br-7.1.2.7-tls-server-short-lived (",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(fail(&mut office.order("check", &[&order])).contains("found the profile"));
    // By content: the order's file is a copy of the shipped one.
    with("[\"br-7.1.2.7-tls-server-short-lived\", \"br-7.1.2.7-tls-server\"]");
    assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates"));
    // And by a file: an octet more in it is another profile.
    fs::copy(office.path("profile.toml"), office.path("allowed.toml")).unwrap();
    with("[\"allowed.toml\"]");
    let order = office.write_issue("file", "one.jsonl", "renewal = true\n");
    office.approve(&order, &["baba"]);
    fs::write(office.path("allowed.toml"), fs::read_to_string(office.path("profile.toml")).unwrap() + "\n").unwrap();
    assert!(office.refused(&order).contains("allowed.toml ("));
    fs::copy(office.path("profile.toml"), office.path("allowed.toml")).unwrap();
    succeed(&mut office.run_order(&order));
}
