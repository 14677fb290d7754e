//! The paths that `openssl verify` builds: every chain strictly, over link certificates, and over cross-certificates of a bridge.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use kakunin::issuance::profile::{Choices, Profile, Request};
use kakunin::issuance::{AlternativeName, Issuer, Validity};
use kakunin::pki::{KeyAlgorithm, SignatureAlgorithm, Timestamp};
use kakunin::token::pkcs11::KeyRequest;
use kakunin::token::software::SoftwareKey;
use kakunin::token::{Key, SigningKey};

use crate::softhsm_token::{import, labelled, open, with_token};
use crate::support::{at, info, links, openssl_verify, profile, request, rsa_spki, self_signed, software_key, write};

/// As [`request`], with a random serial: a path does not have two certificates of one issuer with the same.
fn request_with_serial<'a>(profile: &Profile, subject: &'a [u8], spki: &'a [u8], not_before: Timestamp) -> Request<'a> {
    Request { serial: profile.serial(&SystemRandom::new()).unwrap(), ..request(profile, subject, spki, not_before) }
}

fn rsa() -> Key {
    software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256)
}

/// A server's certificate of one issuer, from now on.
fn server(issuer: &Issuer, now: Timestamp) -> Vec<u8> {
    let profile = profile("br-7.1.2.7-tls-server");
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let subject = profile.subject("CN=www.example.com").unwrap();
    let names = [AlternativeName::Dns("www.example.com")];
    let request = Request { alternative_names: &names, ..request_with_serial(&profile, &subject, key.public_key(), now) };
    profile.certificate(issuer, &Choices { links: links(), ..Choices::default() }, &request).unwrap()
}

fn verifies(directory: &Path, trusted: &[&[u8]], untrusted: &[&[u8]], leaf: &[u8], options: &[&str]) -> (bool, String) {
    let trusted = write(directory, "trusted.pem", trusted);
    let leaf = write(directory, "leaf.pem", &[leaf]);
    let others = write(directory, "untrusted.pem", untrusted);
    let mut arguments = vec!["-x509_strict", "-CAfile", &trusted];
    if !untrusted.is_empty() {
        arguments.extend(["-untrusted", &others]);
    }
    arguments.extend(options);
    arguments.push(&leaf);
    openssl_verify(&arguments)
}

#[track_caller]
fn assert_path(outcome: (bool, String), wanted: bool) {
    assert_eq!(outcome.0, wanted, "{}", outcome.1);
}

#[test]
fn s5_7_s4_7_link_certificates_lead_from_either_key_to_either_root() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let roots = profile("jpki-7.1-3-self-signed");
    let subject = "OU=Governor of Example,O=JPKI,C=JP";
    let old = self_signed(&roots, subject, rsa(), now.saturating_sub(std::time::Duration::from_secs(5 * 366 * 86_400)));
    let new = self_signed(&roots, subject, rsa(), now);
    let link = |name: &str, signer: &Issuer, certified: &Issuer| {
        let profile = profile(name);
        let serial = profile.serial(&SystemRandom::new()).unwrap();
        profile.link(signer, certified.certificate(), &Choices::default(), serial).unwrap()
    };
    let old_with_new = link("jpki-7.1-4-old-with-new", &new, &old);
    let new_with_old = link("jpki-7.1-4-new-with-old", &old, &new);
    let (old_leaf, new_leaf) = (server(&old, now), server(&new, now));
    let (old_root, new_root) = (&old.certificate().der[..], &new.certificate().der[..]);
    let path = |trusted: &[u8], untrusted: &[&[u8]], leaf: &[u8]| verifies(directory.path(), &[trusted], untrusted, leaf, &[]);
    assert_path(path(new_root, &[&old_with_new], &old_leaf), true);
    assert_path(path(old_root, &[&new_with_old], &new_leaf), true);
    assert_path(path(new_root, &[], &old_leaf), false);
    assert_path(path(old_root, &[], &new_leaf), false);
    assert_path(path(new_root, &[&new_with_old], &old_leaf), false);
    assert_path(path(old_root, &[&old_with_new], &new_leaf), false);
    // With both links at hand each still finds its own.
    assert_path(path(new_root, &[&new_with_old, &old_with_new], &old_leaf), true);
    assert_path(path(old_root, &[&old_with_new, &new_with_old], &new_leaf), true);
}

#[test]
fn s5_7_cross_certificates_lead_over_the_bridge() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let roots = profile("jpki-7.1-3-self-signed");
    let ca = |subject: &str| self_signed(&roots, subject, rsa(), now);
    let (prefecture, bridge) = (ca("OU=Governor of Example,O=JPKI,C=JP"), ca("OU=Bridge CA,O=JPKI,C=JP"));
    let government = ca("OU=Bridge CA,O=Japanese Government,C=JP");
    let leaf = server(&government, now);
    let cross = profile("jpki-7.1-2-cross");
    let certify = |issuer: &Issuer, other: &Issuer| {
        let other = other.certificate();
        let request = request_with_serial(&cross, &other.subject, &other.spki, now);
        let request = Request { key_identifier: Some(&other.key_identifier), ..request };
        cross.certificate(issuer, &Choices::default(), &request).unwrap()
    };
    let (to_bridge, to_government) = (certify(&prefecture, &bridge), certify(&bridge, &government));
    let trusted = &prefecture.certificate().der[..];
    let path = |untrusted: &[&[u8]]| verifies(directory.path(), &[trusted], untrusted, &leaf, &[]);
    assert_path(path(&[&to_bridge, &to_government]), true);
    assert_path(path(&[&to_bridge]), false);
    assert_path(path(&[&to_government]), false);
    // The other way: a party that trusts the government's root takes a prefecture's certificate.
    let (to_bridge, to_prefecture) = (certify(&government, &bridge), certify(&bridge, &prefecture));
    let leaf = server(&prefecture, now);
    let trusted = &government.certificate().der[..];
    assert_path(verifies(directory.path(), &[trusted], &[&to_bridge, &to_prefecture], &leaf, &[]), true);
}

#[test]
fn s5_7_a_path_length_of_zero_ends_the_path_at_the_bridge() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let roots = profile("jpki-7.1-3-self-signed");
    let (first, second, third) = (
        self_signed(&roots, "CN=First", rsa(), now),
        self_signed(&roots, "CN=Second", rsa(), now),
        self_signed(&roots, "CN=Third", rsa(), now),
    );
    let cross = profile("jpki-7.1-2-cross");
    let certify = |issuer: &Issuer, other: &Issuer, path_length| {
        let request = request_with_serial(&cross, &other.certificate().subject, &other.certificate().spki, now);
        cross.certificate(issuer, &Choices { path_length, ..Choices::default() }, &request).unwrap()
    };
    let (trusted, leaf) = (&first.certificate().der[..], server(&third, now));
    let onward = certify(&second, &third, None);
    for (path_length, reaches) in [(Some(1), true), (Some(0), false)] {
        let bridge = certify(&first, &second, path_length);
        assert_path(verifies(directory.path(), &[trusted], &[&bridge, &onward], &leaf, &[]), reaches);
    }
}

/// A bridge maps its own policy to the other PKI's: a party that wants the one takes certificates of the other.
#[test]
fn s5_7_policies_are_mapped_over_the_bridge() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let roots = profile("jpki-7.1-3-self-signed");
    let (bridge, government) = (self_signed(&roots, "CN=Bridge", rsa(), now), self_signed(&roots, "CN=Government", rsa(), now));
    let text = |name: &str| std::fs::read_to_string(format!("{}/config/profiles/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mapped = text("jpki-7.1-2-cross")
        + "policy_mappings = { critical = true, mappings = [{ issuer = \"1.2.392.200149.8.5.1.1.10\", subject = \"1.2.3.4.5\" }] }\n";
    let certify = |toml: &str| {
        let cross = Profile::from_toml("cross", toml).unwrap();
        let other = government.certificate();
        cross.certificate(&bridge, &Choices::default(), &request_with_serial(&cross, &other.subject, &other.spki, now)).unwrap()
    };
    let leaf = Profile::from_toml("leaf", &text("br-7.1.2.7-tls-server").replace("2.23.140.1.2.1", "1.2.3.4.5")).unwrap();
    let (spki, subject) = (rsa_spki(2048), leaf.subject("CN=www.example.com").unwrap());
    let names = [AlternativeName::Dns("www.example.com")];
    let request = Request { alternative_names: &names, ..request_with_serial(&leaf, &subject, &spki, now) };
    let leaf = leaf.certificate(&government, &Choices { links: links(), ..Choices::default() }, &request).unwrap();
    let trusted = &bridge.certificate().der[..];
    let with_policy = |cross: &[u8], policy: &str| {
        verifies(directory.path(), &[trusted], &[cross], &leaf, &["-policy_check", "-explicit_policy", "-policy", policy])
    };
    assert_path(with_policy(&certify(&mapped), "1.2.392.200149.8.5.1.1.10"), true);
    assert_path(with_policy(&certify(&mapped), "1.2.3.4.6"), false);
    assert_path(with_policy(&certify(&text("jpki-7.1-2-cross")), "1.2.392.200149.8.5.1.1.10"), false);
}

#[test]
fn s3_3_secom_chains_verify_strictly() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let key = software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha384);
    let root = crate::support::root("OU=Security Communication RootCA3,O=Example,C=JP", key);
    let ca = profile("secom-7.1.2-6-root3-sub-ca");
    let ca_key = rsa();
    let subject = ca.subject("CN=Example TSA CA,O=Example,C=JP").unwrap();
    let choices = Choices { path_length: Some(0), extended_key_usage: true, ..Choices::default() };
    let ca = ca.certificate(&root, &choices, &request_with_serial(&ca, &subject, ca_key.public_key(), now)).unwrap();
    let issuing = Issuer::new(info(&ca), ca_key).unwrap();
    let tsa = profile("secom-7.1.2-2-root2-tsa");
    let subject = tsa.subject("CN=Example TSA,O=Example,C=JP").unwrap();
    let spki = rsa_spki(2048);
    let tsa = tsa.certificate(&issuing, &Choices::default(), &request_with_serial(&tsa, &subject, &spki, now)).unwrap();
    let trusted = &root.certificate().der[..];
    assert_path(verifies(directory.path(), &[trusted], &[&ca], &tsa, &["-purpose", "timestampsign"]), true);
    assert_path(verifies(directory.path(), &[trusted], &[&ca], &tsa, &["-purpose", "sslserver"]), false);
    let responder = profile("secom-7.1.2-5-root3-ocsp");
    let subject = responder.subject("CN=Example OCSP,O=Example,C=JP").unwrap();
    let responder = responder.certificate(&root, &Choices::default(), &request_with_serial(&responder, &subject, &spki, now)).unwrap();
    assert_path(verifies(directory.path(), &[trusted], &[], &responder, &["-purpose", "ocsphelper"]), true);
}

/// The historic profile verifies as far as RFC 5280 lets it: strictly it is named for what it is.
#[test]
fn s4_1_mphpt_chains_verify_but_for_what_their_table_leaves_uncritical() {
    with_token("paths::s4_1_mphpt_chains_verify_but_for_what_their_table_leaves_uncritical", |directory| {
        import(directory, KeyAlgorithm::Rsa2048, "ca", "01");
        let request = KeyRequest { signature: Some(SignatureAlgorithm::RsaSha1), ..labelled("ca") };
        let key = std::sync::Arc::new(open(directory, 1).key(&request).unwrap());
        let begun = at("2001-03-31T15:00:00Z");
        let subject = "OU=MPHPT Certification Authority,OU=MPHPT,O=Japanese Government,C=JP";
        let root = self_signed(&profile("mphpt-7.1.1-self-signed"), subject, key, begun);
        let spki = rsa_spki(1024);
        let trusted = write(directory, "root.pem", &[&root.certificate().der]);
        for (name, cn, purpose) in
            [("mphpt-7.1.2-server", "xxx.yyy.go.jp", "sslserver"), ("mphpt-7.1.3-code-signing", "MPHPT(Soumu-sho)", "any")]
        {
            let profile = profile(name);
            let subject = profile.subject(&format!("CN={cn},OU=MPHPT,O=Japanese Government,C=JP")).unwrap();
            let leaf = profile.certificate(&root, &Choices::default(), &request_with_serial(&profile, &subject, &spki, begun)).unwrap();
            let leaf = write(directory, "leaf.pem", &[&leaf]);
            let options = ["-CAfile", &trusted, "-attime", "1017586800", "-auth_level", "0", "-purpose", purpose];
            assert_path(openssl_verify(&[&options[..], &[&leaf]].concat()), true);
            let (_, strictly) = openssl_verify(&[&["-x509_strict"], &options[..], &[&leaf]].concat());
            assert!(strictly.contains("Basic Constraints of CA cert not marked critical"), "{strictly}");
            let (modern, said) = openssl_verify(&["-CAfile", &trusted, "-attime", "1017586800", "-auth_level", "2", &leaf]);
            assert!(!modern && said.contains("too weak"), "{said}");
        }
    });
}

#[test]
fn s2_2_p1_p4_baseline_requirements_chains_verify_strictly() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let pki = crate::pkilint::BaselineRequirements::new(now);
    let trusted = &pki.root[..];
    let path = |leaf: &[u8], options: &[&str]| verifies(directory.path(), &[trusted], &[&pki.ca], leaf, options);
    for leaf in [&pki.server, &pki.short_lived] {
        assert_path(path(leaf, &["-purpose", "sslserver", "-verify_hostname", "www.example.com"]), true);
    }
    assert_path(path(&pki.server, &["-verify_hostname", "www.example.org"]), false);
    assert_path(path(&pki.responder, &["-purpose", "ocsphelper"]), true);
    assert_path(path(&pki.ca, &["-purpose", "crlsign"]), true);
}

#[test]
fn s3_1_a_certificate_ends_with_its_issuer() {
    let now = Timestamp::now();
    let root = self_signed(&profile("jpki-7.1-3-self-signed"), "CN=Root", rsa(), now);
    let cross = profile("jpki-7.1-2-cross");
    let subject = cross.subject("CN=Other").unwrap();
    let spki = rsa_spki(2048);
    let late = now.saturating_add(std::time::Duration::from_secs(6 * 366 * 86_400));
    let error = cross.certificate(&root, &Choices::default(), &request(&cross, &subject, &spki, late)).unwrap_err().to_string();
    assert!(error.contains("within the issuer's"), "{error}");
    let early = Validity { not_before: now.saturating_sub(std::time::Duration::from_secs(1)), not_after: now };
    let request = Request { validity: early, ..request(&cross, &subject, &spki, now) };
    assert!(cross.certificate(&root, &Choices::default(), &request).is_err());
}
