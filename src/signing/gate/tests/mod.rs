//! Every row of every table is broken on purpose, one by one, in artefacts that are valid otherwise and signed with the right key: this rule is found, and no
//! other. What is not broken has no finding.

mod certificates;
mod crls;
mod responses;
mod scopes;
mod tree;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;

use super::*;
use crate::issuance::{
    CaOptions, Issuer as CaIssuer, Order, RootOrder, Validity, issuing_ca, random_serial, responder_certificate, self_signed_root,
};
use crate::pki::{CertificateInfo, KeyAlgorithm, Timestamp};
use crate::token::Key;
use crate::token::software::SoftwareKey;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn start() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// A CA that issues end-entity certificates only, and its responder.
struct World {
    ca: CertificateInfo,
    ca_key: Key,
    responder: CertificateInfo,
    responder_key: Key,
}

impl World {
    fn new() -> World {
        let random = SystemRandom::new();
        let key = || -> Key { Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap()) };
        let (root_key, ca_key, responder_key) = (key(), key(), key());
        let serial = || random_serial(&random).unwrap();
        let validity = Validity { not_before: start(), not_after: start().saturating_add(7300 * DAY) };
        let root = RootOrder { subject: "CN=Test Root", serial: serial(), validity, signs_ocsp: false };
        let root = CertificateInfo::from_der(&self_signed_root(&root, root_key.as_ref()).unwrap()).unwrap();
        let root = CaIssuer::new(root, root_key).unwrap();
        let order = Order { subject: "CN=Test CA", spki: ca_key.public_key(), serial: serial(), validity };
        let ca = CertificateInfo::from_der(&issuing_ca(&root, &order, &CaOptions::default()).unwrap()).unwrap();
        let issuer = CaIssuer::new(ca.clone(), ca_key.clone()).unwrap();
        let order = Order { subject: "CN=Test Responder", spki: responder_key.public_key(), serial: serial(), validity };
        let responder = CertificateInfo::from_der(&responder_certificate(&issuer, &order).unwrap()).unwrap();
        World { ca, ca_key, responder, responder_key }
    }
}

/// A row of a table: rule and what it says.
type Row = (&'static str, &'static str);

fn row(finding: &Finding) -> Row {
    (finding.rule, finding.what)
}

/// Exactly this rule is found, in one finding that says what is wrong.
fn assert_only(findings: &[Finding], (rule, what): Row) {
    assert_eq!(findings.iter().map(row).collect::<Vec<_>>(), [(rule, what)], "{findings:#?}");
    let Finding { found, wanted, .. } = &findings[0];
    assert!(!found.is_empty() && !wanted.is_empty() && found != wanted, "{findings:?}");
}

#[test]
fn every_row_of_every_table_is_broken_by_a_test_and_stands_there_once() {
    fn rows<F>(table: &[Lint<F>]) -> Vec<Row> {
        table.iter().map(|lint| (lint.rule, lint.what)).collect()
    }
    let tables = [
        response::READING.to_vec(),
        rows(response_lints::RESPONSE_LINTS),
        crl::READING.to_vec(),
        rows(crl_lints::CRL_LINTS),
        rows(scope_lints::SCOPE_LINTS),
        rows(scope_lints::CONTENT_LINTS),
        rows(entry_lints::ENTRY_LINTS),
        vec![certificate_lints::READING],
        rows(certificate_lints::RESPONDER_LINTS),
        rows(certificate_lints::CA_LINTS),
    ]
    .concat();
    let broken: Vec<Row> = [responses::rows(), crls::rows(), scopes::rows(), certificates::rows()].concat();
    let (wanted, found) = (BTreeSet::from_iter(tables.clone()), BTreeSet::from_iter(broken));
    assert_eq!(wanted.len(), tables.len(), "a row stands there twice");
    assert_eq!(found, wanted);
}

/// Every rule of the module's table that names the gate has a lint, and every lint's rule is in it.
#[test]
fn the_documented_rules_are_those_of_the_tables() {
    let documented: Vec<&str> = include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! | ")).collect();
    for (rule, _) in [responses::rows(), crls::rows(), scopes::rows(), certificates::rows()].concat() {
        let names = |line: &&&str| rules_of(line).contains(&rule.to_owned());
        assert!(documented.iter().find(names).is_some_and(|line| line.contains("gate")), "{rule}");
    }
    let all: Vec<String> = documented.iter().flat_map(|line| rules_of(line)).collect();
    for (letter, last) in [("O", 16), ("T", 6), ("C", 10), ("P", 5), ("L", 1)] {
        (1..=last).for_each(|n| assert!(all.contains(&format!("{letter}{n}")), "{letter}{n} is enforced nowhere"));
    }
}

/// The rule ids in the first column: `O1`, `T1, T2`, `O2 – O8`.
fn rules_of(line: &str) -> Vec<String> {
    let column = line.split(" | ").next().unwrap_or_default();
    let number = |id: &str| id[1..].parse::<u32>().ok();
    match column.split_once(" – ") {
        Some((first, last)) => (number(first).unwrap()..=number(last).unwrap()).map(|n| format!("{}{n}", &first[..1])).collect(),
        None => column.split(", ").map(str::to_owned).collect(),
    }
}
