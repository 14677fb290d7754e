//! One certificate of every profile, every field of it read by x509-cert and held against the policy's table.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::BitString;
use der::{Decode, DecodeOwned, Encode, Tagged};
use kakunin::issuance::profile::{Choices, Kind, Profile, Request, Usage};
use kakunin::issuance::{AlternativeName, Issuer, Links};
use kakunin::pki::{KeyAlgorithm, SignatureAlgorithm};
use kakunin::token::Key;
use kakunin::token::pkcs11::KeyRequest;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints, ExtendedKeyUsage,
    KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

use crate::expected::{BASELINE_REQUIREMENTS, Expected, JPKI, JPKI_LINKS, MPHPT, SECOM_OTHERS, SECOM_TSA};
use crate::softhsm_token::{import, labelled, open, with_token};
use crate::support::{at, info, links, profile, request, root, rsa_spki, self_signed, serial, software_key};

static RSA_1024: LazyLock<Vec<u8>> = LazyLock::new(|| rsa_spki(1024));
static RSA_2048: LazyLock<Vec<u8>> = LazyLock::new(|| rsa_spki(2048));
static RSA_4096: LazyLock<Vec<u8>> = LazyLock::new(|| rsa_spki(4096));

fn spki(bits: u32) -> &'static [u8] {
    match bits {
        1024 => &RSA_1024,
        2048 => &RSA_2048,
        _ => &RSA_4096,
    }
}

/// Everything that the profile leaves to the order is ordered.
fn choices(name: &str) -> Choices<'static> {
    let (links, path_length) = match name {
        "secom-7.1.2-2-root2-tsa" => (Links { ocsp: Some("http://scrootca2.ocsp.secomtrust.net"), ..Links::default() }, None),
        "secom-7.1.2-4-root3-tsa" => (Links { ocsp: Some("http://scrootca3.ocsp.secomtrust.net"), ..Links::default() }, None),
        "secom-7.1.2-6-root3-sub-ca" => {
            let ca_issuers = Some("http://repository.secomtrust.net/SC-Root3/SCRoot3ca.cer");
            (Links { ocsp: Some("http://scrootca3.ocsp.secomtrust.net"), ca_issuers, crl: None }, Some(0))
        }
        "jpki-7.1-2-cross" => (links(), Some(0)),
        "jpki-ssl-server" | "jpki-validation-server" => (links(), None),
        name if name.starts_with("br-") => (links(), None),
        _ => (Links::default(), None),
    };
    Choices { links, path_length, key_usage: &[], extended_key_usage: name == "secom-7.1.2-6-root3-sub-ca" }
}

/// RFC 4514 text, most specific attribute first.
fn subject_text(expected: &Expected) -> String {
    let name = |oid| match oid {
        "2.5.4.6" => "C",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        _ => "CN",
    };
    expected.subject.iter().rev().map(|(oid, text, _)| format!("{}={text}", name(*oid))).collect::<Vec<_>>().join(",")
}

/// Issues one certificate as the table wants it and reads it again.
fn issue(expected: &Expected, key: Key) {
    let profile = profile(expected.profile);
    let subject = profile.subject(&subject_text(expected)).unwrap();
    let names = [AlternativeName::Dns("www.example.com"), AlternativeName::Dns("example.com")];
    let choices = choices(expected.profile);
    let issuer_key = key.public_key().to_vec();
    if profile.kind() == Kind::SelfSigned {
        let request = request(&profile, &subject, &issuer_key, at(expected.not_before));
        return compare(expected, &profile.self_signed(&*key, &choices, &request).unwrap(), &issuer_key, &issuer_key);
    }
    let issuer = root("CN=Example Issuer,C=JP", key);
    let has_names = expected.profile.starts_with("br-7.1.2.7") || expected.profile == "jpki-ssl-server";
    let alternative_names = if has_names { &names[..] } else { &[] };
    let request = Request { alternative_names, ..request(&profile, &subject, spki(expected.key), at(expected.not_before)) };
    compare(expected, &profile.certificate(&issuer, &choices, &request).unwrap(), &issuer_key, spki(expected.key));
}

fn compare(expected: &Expected, der: &[u8], issuer_key: &[u8], subject_key: &[u8]) {
    let what = expected.profile;
    let certificate = Certificate::from_der(der).unwrap();
    assert_eq!(certificate.to_der().unwrap(), der, "{what}: DER");
    let tbs = &certificate.tbs_certificate;
    assert_eq!(tbs.version, x509_cert::Version::V3, "{what}: version");
    assert_eq!(tbs.serial_number.as_bytes(), serial().as_der_content(), "{what}: serial");
    for algorithm in [&tbs.signature, &certificate.signature_algorithm] {
        assert_eq!(algorithm.oid.to_string(), expected.signature, "{what}: signature");
        assert_eq!(algorithm.parameters.as_ref().map(|p| p.to_der().unwrap()), Some(vec![5, 0]), "{what}: RFC 4055 5");
    }
    let algorithms = [SignatureAlgorithm::RsaSha1, SignatureAlgorithm::RsaSha256, SignatureAlgorithm::RsaSha384];
    let used = algorithms.into_iter().find(|a| a.identifier() == certificate.signature_algorithm.to_der().unwrap()).unwrap();
    assert!(used.verify(issuer_key, &tbs.to_der().unwrap(), certificate.signature.raw_bytes()), "{what}: signature value");

    let attributes = tbs.subject.0.iter().flat_map(|rdn| rdn.0.iter());
    let found: Vec<_> = attributes
        .map(|a| (a.oid.to_string(), std::str::from_utf8(a.value.value()).unwrap().to_owned(), u8::from(a.value.tag())))
        .collect();
    let wanted: Vec<_> = expected.subject.iter().map(|(oid, text, tag)| ((*oid).to_owned(), (*text).to_owned(), *tag)).collect();
    assert_eq!(found, wanted, "{what}: subject");
    let times = [tbs.validity.not_before, tbs.validity.not_after].map(|time| time.to_date_time().to_string());
    assert_eq!(times, [expected.not_before, expected.not_after], "{what}: validity");
    assert_eq!(tbs.subject_public_key_info.to_der().unwrap(), subject_key, "{what}: key");
    assert!(tbs.issuer_unique_id.is_none() && tbs.subject_unique_id.is_none(), "{what}");

    let identifiers = [issuer_key, subject_key].map(key_identifier);
    let extensions = tbs.extensions.iter().flatten();
    let mut found: Vec<_> = extensions.map(|e| (e.extn_id.to_string(), e.critical, describe(e, &identifiers))).collect();
    let mut wanted: Vec<_> =
        expected.extensions.iter().map(|(oid, critical, text)| ((*oid).to_owned(), *critical, (*text).to_owned())).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "{what}: extensions");
}

fn key_identifier(spki: &[u8]) -> Vec<u8> {
    let spki = spki::SubjectPublicKeyInfoOwned::from_der(spki).unwrap();
    digest(&SHA1_FOR_LEGACY_USE_ONLY, spki.subject_public_key.raw_bytes()).as_ref().to_vec()
}

/// The value of an extension in words, read by x509-cert's own types.
fn describe(extension: &Extension, [issuer, subject]: &[Vec<u8>; 2]) -> String {
    fn read<T: DecodeOwned>(extension: &Extension) -> T {
        T::from_der(extension.extn_value.as_bytes()).unwrap()
    }
    let join = |parts: Vec<String>| parts.join(" ");
    match extension.extn_id.to_string().as_str() {
        "2.5.29.35" => {
            let found: AuthorityKeyIdentifier = read(extension);
            assert!(found.authority_cert_issuer.is_none() && found.authority_cert_serial_number.is_none());
            let is_issuers = found.key_identifier.unwrap().as_bytes() == issuer;
            if is_issuers { "SHA-1 of the issuer's key".to_owned() } else { "another key".to_owned() }
        }
        "2.5.29.14" => {
            let is_subjects = read::<SubjectKeyIdentifier>(extension).0.as_bytes() == subject;
            if is_subjects { "SHA-1 of the subject's key".to_owned() } else { "another key".to_owned() }
        }
        "2.5.29.15" => key_usage(&read(extension)),
        "2.5.29.37" => join(read::<ExtendedKeyUsage>(extension).0.iter().map(ToString::to_string).collect()),
        "2.5.29.32" => policies(&read(extension)),
        "2.5.29.19" => {
            let found: BasicConstraints = read(extension);
            let length = found.path_len_constraint.map(|length| format!(" pathLen {length}")).unwrap_or_default();
            format!("{}{length}", if found.ca { "CA" } else { "no CA" })
        }
        "2.5.29.17" => join(read::<SubjectAltName>(extension).0.iter().map(general_name).collect()),
        "2.5.29.31" => {
            let point = |point: &x509_cert::ext::pkix::crl::dp::DistributionPoint| {
                assert!(point.reasons.is_none() && point.crl_issuer.is_none());
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { panic!("{point:?}") };
                join(names.iter().map(general_name).collect())
            };
            join(read::<CrlDistributionPoints>(extension).0.iter().map(point).collect())
        }
        "1.3.6.1.5.5.7.1.1" => {
            let access = read::<AuthorityInfoAccessSyntax>(extension).0;
            join(access.iter().map(|a| format!("{} {}", a.access_method, general_name(&a.access_location))).collect())
        }
        "2.16.840.1.113730.1.1" => {
            let bits: BitString = read(extension);
            let set: Vec<_> = bits.bits().enumerate().filter(|(_, bit)| *bit).map(|(number, _)| number).collect();
            assert_eq!(bits.bit_len(), set.last().unwrap() + 1, "a named bit list has no trailing zeros (X.690 11.2.2)");
            format!("bits {}", join(set.iter().map(ToString::to_string).collect()))
        }
        _ if extension.extn_value.as_bytes() == [5, 0] => "NULL".to_owned(),
        other => panic!("{other}: {:?}", extension.extn_value),
    }
}

fn key_usage(usage: &KeyUsage) -> String {
    let all = [
        ("digitalSignature", usage.digital_signature()),
        ("nonRepudiation", usage.non_repudiation()),
        ("keyEncipherment", usage.key_encipherment()),
        ("dataEncipherment", usage.data_encipherment()),
        ("keyAgreement", usage.key_agreement()),
        ("keyCertSign", usage.key_cert_sign()),
        ("cRLSign", usage.crl_sign()),
        ("encipherOnly", usage.encipher_only()),
        ("decipherOnly", usage.decipher_only()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

fn policies(policies: &CertificatePolicies) -> String {
    let mut parts = Vec::new();
    for policy in &policies.0 {
        parts.push(policy.policy_identifier.to_string());
        for qualifier in policy.policy_qualifiers.iter().flatten() {
            assert_eq!(qualifier.policy_qualifier_id.to_string(), "1.3.6.1.5.5.7.2.1", "id-qt-cps");
            let value = qualifier.qualifier.as_ref().unwrap();
            assert_eq!(value.tag(), der::Tag::Ia5String);
            parts.push(format!("CPS {}", std::str::from_utf8(value.value()).unwrap()));
        }
    }
    parts.join(" ")
}

fn general_name(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => format!("dns {name}"),
        GeneralName::UniformResourceIdentifier(uri) => uri.to_string(),
        other => panic!("{other:?}"),
    }
}

fn software(expected: &Expected) -> Key {
    let signature = match expected.signature {
        "1.2.840.113549.1.1.12" => SignatureAlgorithm::RsaSha384,
        _ => SignatureAlgorithm::RsaSha256,
    };
    software_key(KeyAlgorithm::Rsa2048, signature)
}

/// Everything but the SHA-1 ones, which only a token signs.
fn issue_in_software(table: &[Expected]) {
    for expected in table.iter().filter(|expected| expected.signature != "1.2.840.113549.1.1.5") {
        issue(expected, software(expected));
    }
}

#[test]
fn s3_3_secom_time_stamping_certificates_are_as_tables_7_1_2_1_2_and_4_have_them() {
    issue_in_software(&SECOM_TSA);
}

#[test]
fn s3_3_p1_secom_responders_and_sub_cas_are_as_tables_7_1_2_3_5_and_6_have_them() {
    issue_in_software(&SECOM_OTHERS);
}

#[test]
fn s4_1_s3_3_mphpt_certificates_and_those_with_sha_1_are_as_their_tables_have_them() {
    with_token("tables::s4_1_s3_3_mphpt_certificates_and_those_with_sha_1_are_as_their_tables_have_them", |directory| {
        import(directory, KeyAlgorithm::Rsa2048, "ca", "01");
        let token = open(directory, 1);
        for expected in MPHPT.iter().chain(&SECOM_TSA).filter(|expected| expected.signature == "1.2.840.113549.1.1.5") {
            let profile = profile(expected.profile);
            let signature = profile.signature_for(KeyAlgorithm::Rsa2048, None);
            assert!(profile.is_legacy() && signature == Some(SignatureAlgorithm::RsaSha1), "{}", expected.profile);
            let key = token.key(&KeyRequest { signature, ..labelled("ca") }).unwrap();
            issue(expected, std::sync::Arc::new(key));
        }
    });
}

#[test]
fn s5_7_jpki_self_signed_cross_and_responder_certificates_are_as_7_1_has_them() {
    issue_in_software(&JPKI);
}

#[test]
fn s5_7_jpki_link_certificates_are_as_7_1_has_them() {
    let roots = profile("jpki-7.1-3-self-signed");
    let ca = |not_before| {
        let key = software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256);
        self_signed(&roots, "OU=Governor of Example,O=JPKI,C=JP", key, at(not_before))
    };
    let (old, new): (Issuer, Issuer) = (ca("2010-01-01T00:00:00Z"), ca("2015-01-01T00:00:00Z"));
    let [old_with_new, new_with_old] = &JPKI_LINKS;
    for (expected, signer, certified) in [(old_with_new, &new, &old), (new_with_old, &old, &new)] {
        let profile = profile(expected.profile);
        let der = profile.link(signer, certified.certificate(), &Choices::default(), serial()).unwrap();
        compare(expected, &der, &signer.certificate().spki, &certified.certificate().spki);
        assert_eq!(info(&der).subject, info(&der).issuer);
    }
}

#[test]
fn p4_p1_s2_2_baseline_requirements_certificates_are_as_7_1_2_has_them() {
    issue_in_software(&BASELINE_REQUIREMENTS);
}

#[test]
fn s3_3_s4_1_s5_7_every_profile_that_is_shipped_has_a_table_here() {
    let tables: [&[Expected]; 6] = [&SECOM_TSA, &SECOM_OTHERS, &MPHPT, &JPKI, &JPKI_LINKS, &BASELINE_REQUIREMENTS];
    let here: BTreeSet<_> = tables.into_iter().flatten().map(|expected| expected.profile).collect();
    assert_eq!(here, Profile::shipped_names().collect());
}

#[test]
fn s3_3_other_usages_are_set_as_needed() {
    let (expected, profile) = (&SECOM_TSA[0], profile("secom-7.1.2-1-root1-tsa"));
    let issuer = root("CN=Example Issuer,C=JP", software(expected));
    let subject = profile.subject(&subject_text(expected)).unwrap();
    let request = request(&profile, &subject, spki(2048), at(expected.not_before));
    let choices = Choices { key_usage: &[Usage::NonRepudiation], ..Choices::default() };
    let certificate = Certificate::from_der(&profile.certificate(&issuer, &choices, &request).unwrap()).unwrap();
    let (critical, usage) = certificate.tbs_certificate.get::<KeyUsage>().unwrap().unwrap();
    assert_eq!((critical, key_usage(&usage).as_str()), (true, "digitalSignature nonRepudiation"));
    let refused = Choices { key_usage: &[Usage::KeyCertSign], ..Choices::default() };
    assert!(profile.certificate(&issuer, &refused, &request).is_err(), "keyCertSign and cRLSign never");
}

#[test]
fn s3_3_what_a_table_leaves_to_the_application_may_be_left_out() {
    let without = |name: &str, extensions: &[&str]| {
        let expected = SECOM_TSA.iter().chain(&SECOM_OTHERS).chain(&JPKI).find(|expected| expected.profile == name).unwrap();
        let profile = profile(name);
        let issuer = root("CN=Example Issuer,C=JP", software(expected));
        let subject = profile.subject(&subject_text(expected)).unwrap();
        let request = request(&profile, &subject, spki(expected.key), at(expected.not_before));
        let der = profile.certificate(&issuer, &Choices::default(), &request).unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        let found: BTreeSet<_> = certificate.tbs_certificate.extensions.iter().flatten().map(|e| e.extn_id.to_string()).collect();
        for (oid, ..) in expected.extensions {
            assert_eq!(found.contains(*oid), !extensions.contains(oid), "{name}: {oid}");
        }
    };
    without("secom-7.1.2-2-root2-tsa", &["1.3.6.1.5.5.7.1.1"]);
    without("secom-7.1.2-4-root3-tsa", &["1.3.6.1.5.5.7.1.1"]);
    without("secom-7.1.2-6-root3-sub-ca", &["1.3.6.1.5.5.7.1.1", "2.5.29.37"]);
    without("jpki-7.1-2-cross", &["2.5.29.31"]);
}
