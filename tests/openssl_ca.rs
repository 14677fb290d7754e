//! A CA that was run with `openssl ca` is taken over: its index is imported, its keys are used from a SoftHSM2 token, and its status is served.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::Path;

use common::http::{self, fetch};
use common::ocsp::{Answer, Asker, HASHES, Hash, serial_of, url_encoded};
use common::openssl_ca::{Kind, OpensslCa, P256, RSA, TakeOver};
use common::peers::{Authority, Expected, urls};
use common::{Service, counts, crl_numbers, fail, list, succeed, until};
use der::Encode;
use kakunin::pki::CertificateInfo;
use kakunin::pki::certificate::key_identity;
use kakunin::pki::name::subject_identity;
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::work::{Holder, WorkRegistry};
use tempfile::TempDir;

/// A CA made with `openssl ca`, and a Kakunin that is to take it over.
struct Case {
    directory: TempDir,
    ca: OpensslCa,
    kakunin: TakeOver,
}

impl Case {
    fn new(kind: Kind) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let ca = OpensslCa::create(&directory.path().join("ca"), kind);
        let kakunin = TakeOver::prepare(&directory.path().join("kakunin"), &[&ca]);
        Case { directory, ca, kakunin }
    }

    fn name(&self) -> &'static str {
        self.ca.kind.name
    }

    fn authority(&self, service: &Service) -> Authority {
        let ca = self.ca.path("ca.pem");
        Authority { issuer: ca.clone(), chain: ca, url: service.ocsp.clone(), scratch: self.directory.path().to_owned() }
    }

    fn expected(&self, certificate: &Path) -> Expected<'static> {
        let revoked = self.ca.revoked.iter().find(|(file, _)| file == certificate);
        revoked.map_or(Expected::Good, |(_, reason)| Expected::Revoked(reason))
    }

    /// What the registry holds: serial and reason, sorted.
    fn state(&self) -> Vec<(String, Option<String>)> {
        let mut state: Vec<_> = list(&self.kakunin.config, self.name()).into_iter().map(|c| (c.serial, c.reason)).collect();
        state.sort();
        state
    }
}

fn taken_over_and_served(kind: Kind) {
    let case = Case::new(kind);
    let issued = case.ca.issued.len() as u64;
    assert!(case.ca.read("index.txt").lines().any(|line| line.starts_with("E\t")), "one has expired");
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (issued, 0, 0));
    assert_eq!(counts(&case.kakunin.config, kind.name), (issued - 4, 4));
    let checked = succeed(&mut case.kakunin.command("check", &[]));
    assert!(checked.contains(&format!("issuer '{}'", kind.name)) && !checked.contains("problem"), "{checked}");
    let signed: serde_json::Value = serde_json::from_str(&succeed(&mut case.kakunin.command("sign", &["--once", "--json"]))).unwrap();
    assert_eq!((&signed["responses"], &signed["crls"]), (&(2 * issued).into(), &(1 + kind.partitions).into()), "{signed}");
    let again: serde_json::Value = serde_json::from_str(&succeed(&mut case.kakunin.command("sign", &["--once", "--json"]))).unwrap();
    assert_eq!((&again["responses"], &again["crls"]), (&0.into(), &0.into()), "nothing is due any more: {again}");

    let service = case.kakunin.serve();
    let authority = case.authority(&service);
    everyone_agrees(&case, &service, &authority);
    crls_go_on(&case, &service, &authority);
    service.stop();
}

/// OpenSSL, GnuTLS, GET and `list` say the same of every certificate; pkilint has nothing to say.
fn everyone_agrees(case: &Case, service: &Service, authority: &Authority) {
    let asker = Asker::new(&case.ca.path("ca.pem"));
    for certificate in &case.ca.issued {
        let (serial, expected) = (serial_of(certificate), case.expected(certificate));
        for hash in HASHES {
            authority.openssl_agrees(certificate, hash, false, expected);
            let request = asker.request(&serial, hash);
            let reply = http::post(&service.ocsp, "/", &request);
            assert_eq!(fetch(&service.ocsp, &format!("/ocsp/{}", url_encoded(&request))), reply.body, "GET");
            let answer = Answer::of(&reply);
            assert_eq!(answer.single().cert_id, asker.cert_id(&serial, hash));
            assert_eq!(answer.basic.as_ref().unwrap().certs.is_some(), case.ca.kind.delegated, "O7");
        }
    }
    let samples = [case.ca.leaf(1), case.ca.leaf(3), case.ca.path("expired.pem")];
    for certificate in &samples {
        authority.ocsptool_agrees(certificate, case.expected(certificate));
        authority.response_is_clean(&http::post(&service.ocsp, "/", &asker.request(&serial_of(certificate), Hash::Sha1)).body);
    }
    let mut expected: Vec<_> = case.ca.issued.iter().map(|file| (serial_of(file), None)).collect();
    for (file, reason) in &case.ca.revoked {
        expected.iter_mut().find(|(serial, _)| *serial == serial_of(file)).unwrap().1 = Some((*reason).to_owned());
    }
    expected.sort();
    assert_eq!(case.state(), expected);
    assert_eq!(
        http::get(&service.ocsp, &format!("/ca/{}.cer", case.name()), &[]).body,
        common::ocsp::certificate(&authority.issuer).to_der().unwrap()
    );
}

/// The CRLs follow those that `openssl ca` has issued, and each certificate's own CRL decides about it.
fn crls_go_on(case: &Case, service: &Service, authority: &Authority) {
    let full = fetch(&service.ocsp, &format!("/crl/{}.crl", case.name()));
    assert!(authority.crl_number(&full) > case.ca.last_crl_number, "C2: the old number is exceeded");
    assert_eq!(authority.crl_text(&full).matches("Serial Number: ").count(), 4);
    authority.crl_is_clean(&full, "CRL", "PKIX");
    for certificate in case.ca.issued.iter().filter(|file| !file.ends_with("expired.pem") && !file.ends_with("ocsp.pem")) {
        let url = urls(certificate).0.remove(0);
        let crl = fetch(&service.ocsp, url.strip_prefix("http://pki.example").unwrap());
        let passes = authority.verifies_with_crl(certificate, &crl);
        assert_eq!(passes, case.expected(certificate) == Expected::Good, "{}", certificate.display());
        assert_eq!(authority.crl_text(&crl).contains(&format!("URI:{url}")), case.ca.kind.partitions > 0, "C4: {url}");
    }
    for partition in 0..case.ca.kind.partitions {
        let crl = fetch(&service.ocsp, &format!("/crl/{}/{partition}.crl", case.name()));
        assert!(authority.crl_number(&crl) > case.ca.last_crl_number);
        authority.crl_is_clean(&crl, "CRL", "PKIX");
    }
}

#[test]
fn s1_4_an_rsa_ca_with_sequential_serials_is_taken_over_and_served_from_its_token() {
    taken_over_and_served(RSA);
}

#[test]
fn s1_4_a_p256_ca_with_random_serials_and_partitions_is_taken_over_and_served_from_its_token() {
    taken_over_and_served(P256);
}

#[test]
fn s1_1_both_cas_live_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let cas = [RSA, P256].map(|kind| OpensslCa::create(&directory.path().join(kind.name), kind));
    let kakunin = TakeOver::prepare(&directory.path().join("kakunin"), &[&cas[0], &cas[1]]);
    for ca in &cas {
        assert_eq!(kakunin.import(ca, "index.txt").0, ca.issued.len() as u64);
    }
    let service = kakunin.serve();
    for ca in &cas {
        let issuer = ca.path("ca.pem");
        let authority =
            Authority { issuer: issuer.clone(), chain: issuer, url: service.ocsp.clone(), scratch: directory.path().to_owned() };
        authority.openssl_agrees(&ca.leaf(1), Hash::Sha1, false, Expected::Good);
        authority.openssl_agrees(&ca.leaf(3), Hash::Sha256, false, Expected::Revoked("keyCompromise"));
    }
}

#[test]
fn importing_again_changes_nothing() {
    let case = Case::new(RSA);
    let issued = case.ca.issued.len() as u64;
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (issued, 0, 0));
    let state = case.state();
    succeed(&mut case.kakunin.command("sign", &["--once"]));
    let numbers = crl_numbers(&case.kakunin.config);
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (0, 0, issued));
    assert_eq!(case.state(), state);
    let signed: serde_json::Value = serde_json::from_str(&succeed(&mut case.kakunin.command("sign", &["--once", "--json"]))).unwrap();
    assert_eq!((&signed["responses"], &signed["crls"]), (&0.into(), &0.into()), "{signed}");
    assert_eq!(crl_numbers(&case.kakunin.config), numbers);
}

#[test]
fn s3_1_whose_the_imported_keys_are_is_known_and_which_of_them_are_compromised() {
    let case = Case::new(P256);
    case.kakunin.import(&case.ca, "index.txt");
    let registry = SqliteRegistry::open_read_only(&case.kakunin.directory.join("registry.sqlite")).unwrap();
    let read = |file: std::path::PathBuf| CertificateInfo::from_pem(&std::fs::read(file).unwrap()).unwrap();
    // All leaves have one key; the third was revoked for its compromise. The CA's own is in no certificate that it issued.
    let (leaf, ca) = (read(case.ca.leaf(3)), read(case.ca.path("ca.pem")));
    let keys = [&leaf, &ca].map(|certificate| key_identity(&certificate.spki));
    let found = |holders: Vec<Option<Holder>>| holders.iter().map(|holder| holder.map(|h| (h.serial, h.subject))).collect::<Vec<_>>();
    assert_eq!(found(registry.key_holders(&keys).unwrap()).iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    assert_eq!(found(registry.compromised_holders(&keys).unwrap()), [Some((leaf.serial, subject_identity(&leaf.subject))), None]);
}

#[test]
fn s4_4_a_later_index_adds_revocations_and_an_older_one_undoes_none() {
    let mut case = Case::new(P256);
    let issued = case.ca.issued.len() as u64;
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (issued, 0, 0));
    let service = case.kakunin.serve();
    let asker = Asker::new(&case.ca.path("ca.pem"));
    let older = case.ca.read("index.txt");
    case.ca.write("older.txt", &older);

    let leaf = case.ca.leaf(9);
    case.ca.revoke(leaf.clone(), "superseded");
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (0, 1, issued - 1));
    let answer = || asker.ask(&service.ocsp, &serial_of(&leaf), Hash::Sha1);
    until(std::time::Duration::from_secs(2), "the imported revocation is served", || answer().is_revoked().then_some(()));
    assert_eq!(answer().reason().as_deref(), Some("superseded"));

    let other = serial_of(&case.ca.leaf(10));
    succeed(&mut case.kakunin.command("revoke", &["--issuer", case.name(), "--serial", &other, "--reason", "keyCompromise"]));
    let state = case.state();
    assert_eq!(case.kakunin.import(&case.ca, "older.txt"), (0, 0, issued), "both revocations are younger than this index");
    assert_eq!(case.kakunin.import(&case.ca, "index.txt"), (0, 0, issued));
    assert_eq!(case.state(), state);
    assert!(asker.ask(&service.ocsp, &other, Hash::Sha256).is_revoked());
    service.stop();
}

#[test]
fn a_bad_line_is_named_by_its_number_and_nothing_of_the_file_is_applied() {
    let mut case = Case::new(RSA);
    case.ca.write("bad.txt", "V\tnever\t\t2F02\tunknown\t/CN=x\n");
    fail(&mut case.kakunin.import_command(&case.ca, "bad.txt"));
    let listed = fail(&mut case.kakunin.command("list", &["--issuer", case.name()]));
    assert!(listed.contains(&format!("no issuer '{}'", case.name())), "S1.1: nor is the issuer registered: {listed}");
    assert_eq!(case.kakunin.import(&case.ca, "index.txt").0, case.ca.issued.len() as u64);
    let state = case.state();
    let leaf = case.ca.leaf(8);
    case.ca.revoke(leaf, "superseded");
    let newer = case.ca.read("index.txt");
    let lines = newer.lines().count();
    let new_line = "V\t301231000000Z\t\t2F01\tunknown\t/CN=new.example";
    for (bad, wanted) in [
        ("V\t301231000000Z\t\t2F02\tunknown", "5 fields"),
        ("Q\t301231000000Z\t\t2F02\tunknown\t/CN=x", "status 'Q'"),
        ("V\tnever\t\t2F02\tunknown\t/CN=x", "never"),
        ("R\t301231000000Z\t260101000000Z,certificateHold\t2F02\tunknown\t/CN=x", "certificateHold"),
        ("V\t301231000000Z\t\tnot-hex\tunknown\t/CN=x", "serial"),
    ] {
        case.ca.write("bad.txt", &format!("{newer}{new_line}\n{bad}\n{new_line}9\n"));
        let message = fail(&mut case.kakunin.import_command(&case.ca, "bad.txt"));
        assert!(message.contains(&format!("line {}", lines + 2)) && message.contains(wanted) && message.contains("bad.txt"), "{message}");
        assert_eq!(case.state(), state, "{bad}: nothing is applied");
    }
    let message = fail(&mut case.kakunin.import_command(&case.ca, "absent.txt"));
    assert!(message.contains("absent.txt"), "{message}");
    assert_eq!(case.kakunin.import(&case.ca, "index.txt").1, 1);
}
