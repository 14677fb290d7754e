//! What a profile refuses to certify: each with the setting that was not kept, what was found and what is wanted.

use std::net::IpAddr;
use std::sync::LazyLock;

use kakunin::issuance::profile::{Choices, Period, Profile, Request, Usage};
use kakunin::issuance::{AlternativeName, IssuanceError, Issuer, Links, Validity};
use kakunin::pki::{CertificateInfo, KeyAlgorithm, SignatureAlgorithm};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

use proptest::prelude::*;

use crate::support::{at, info, links, profile, request, root, rsa_spki, self_signed, software_key};

static P256: LazyLock<Vec<u8>> = LazyLock::new(|| SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap().public_key().to_vec());
const SERVER: &str = "br-7.1.2.7-tls-server";
const NOW: &str = "2026-11-21T12:00:00Z";

fn issuer() -> Issuer {
    root("CN=Example CA,C=JP", software_key(KeyAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaSha256))
}

#[track_caller]
fn refused(outcome: Result<Vec<u8>, IssuanceError>, said: &str) {
    let message = outcome.expect_err(said).to_string();
    assert!(message.contains(said), "{message}");
}

#[test]
fn s3_1_subjects_have_the_characters_of_table_7_1_4_1() {
    let tsa = profile("secom-7.1.2-2-root2-tsa");
    assert!(tsa.has_unique_subjects(), "3.1.5");
    for good in ["CN=Example TSA-1,O=Example K.K.,C=JP", "CN=TSA:2026,C=JP"] {
        tsa.subject(good).unwrap();
    }
    for (bad, character) in [("CN=Example_TSA", "'_'"), ("CN=Müller", "'ü'"), ("CN=時刻", "'時'"), ("CN=a@b", "'@'"), ("CN=R&D", "'&'")]
    {
        let finding = tsa.subject(bad).unwrap_err();
        assert_eq!((finding.rule, finding.field.as_str(), finding.found.as_str()), ("subject.characters", "subject CN", character));
        assert_eq!(finding.wanted, "A-Z a-z 0-9 : - . space");
    }
}

#[test]
fn s4_1_subjects_have_the_attributes_in_their_order_and_as_printable_strings() {
    let server = profile("mphpt-7.1.2-server");
    let right = "CN=xxx.yyy.go.jp,OU=MPHPT,O=Japanese Government,C=JP";
    let name = server.subject(right).unwrap();
    // As a CSR has it, in UTF8String: refused as it is, and right once it is encoded as the profile wants.
    let utf8 = profile(SERVER).subject("CN=xxx.yyy.go.jp").unwrap();
    assert_eq!(server.check_subject(&utf8).unwrap_err().rule, "subject.strings");
    let root_name = profile("jpki-7.1-3-self-signed").subject(right).unwrap();
    assert_ne!(root_name, name);
    assert_eq!(server.subject_of(&root_name).unwrap(), name);
    let message = |text: &str| server.subject(text).unwrap_err().to_string();
    assert_eq!(
        message("CN=xxx.yyy.go.jp,O=Japanese Government,OU=MPHPT,C=JP"),
        "subject: found 'OU=MPHPT', wanted O=Japanese Government in its place (subject.attributes)"
    );
    assert!(message("CN=xxx.yyy.go.jp,OU=MPHPT,O=Other Government,C=JP").contains("wanted O=Japanese Government in its place"));
    assert!(message("OU=MPHPT,O=Japanese Government,C=JP").contains("wanted with CN (a host name)"));
    assert!(message("CN=no host,OU=MPHPT,O=Japanese Government,C=JP").contains("wanted CN (a host name)"));
    assert!(message("L=Tokyo,CN=xxx.yyy.go.jp,OU=MPHPT,O=Japanese Government,C=JP").contains("wanted no further attribute"));
    assert!(message("CN=例.go.jp,OU=MPHPT,O=Japanese Government,C=JP").contains("subject"), "no PrintableString");
    assert!(server.check_subject(b"no name").is_err());
}

proptest! {
    /// Names and keys that anybody may send, true ones with some octets changed and any others.
    #[test]
    fn octets_from_outside_are_refused_or_allowed_and_never_more(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let (server, tsa) = (profile("mphpt-7.1.2-server"), profile("secom-7.1.2-2-root2-tsa"));
        let mut name = server.subject("CN=xxx.yyy.go.jp,OU=MPHPT,O=Japanese Government,C=JP").unwrap();
        let mut key = P256.clone();
        for (place, octet) in changes {
            let (in_name, in_key) = (place % name.len(), place % key.len());
            name[in_name] = octet;
            key[in_key] = octet;
        }
        for octets in [&octets, &name] {
            // What is encoded anew is allowed as it then is.
            if let Ok(encoded) = tsa.subject_of(octets) {
                prop_assert_eq!(tsa.check_subject(&encoded), Ok(()));
            }
            let _ = server.check_subject(octets);
        }
        for octets in [&octets, &key] {
            let _ = profile(SERVER).check_key(octets);
        }
    }
}

#[test]
fn keys_are_of_the_kinds_and_sizes_that_the_profile_names() {
    let server = profile(SERVER);
    let p256 = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    server.check_key(p256.public_key()).unwrap();
    let message = |spki: &[u8]| server.check_key(spki).unwrap_err().to_string();
    assert_eq!(message(&rsa_spki(1024)), "public key: found rsa-1024, wanted rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384 (keys)");
    assert!(message(&rsa_spki(2056)).contains("found rsa-2056"));
    let ed25519 = SoftwareKey::generate(KeyAlgorithm::Ed25519).unwrap();
    assert!(message(ed25519.public_key()).contains("found ed25519"));
    assert!(message(b"").contains("no SubjectPublicKeyInfo"));
    let mut trailing = p256.public_key().to_vec();
    trailing.push(0);
    assert!(server.check_key(&trailing).is_err());
    // RSA without the NULL of RFC 3279 2.3.1: two octets less inside, and in the lengths around.
    let rsa = rsa_spki(2048);
    let null = rsa.windows(2).position(|pair| pair == [5, 0]).unwrap();
    let mut without = [&rsa[..null], &rsa[null + 2..]].concat();
    without[3] -= 2;
    without[5] -= 2;
    assert!(message(&without).contains("another form"), "{}", message(&without));
}

#[test]
fn a_request_that_the_profile_does_not_allow_makes_no_certificate() {
    let (server, issuer) = (profile(SERVER), issuer());
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let subject = server.subject("CN=www.example.com").unwrap();
    let names = [AlternativeName::Dns("www.example.com")];
    let right = Request { alternative_names: &names, ..request(&server, &subject, key.public_key(), at(NOW)) };
    let choices = Choices { links: links(), ..Choices::default() };
    let template = server.template(&issuer, &choices).unwrap();
    template.certificate(&right).unwrap();

    refused(template.certificate(&Request { alternative_names: &[], ..right }), "one of the subjectAltNames");
    let empty = server.subject("").unwrap();
    template.certificate(&Request { subject: &empty, ..right }).unwrap();
    refused(template.certificate(&Request { subject: &empty, alternative_names: &[], ..right }), "found empty, without a subjectAltName");
    let root = profile("br-7.1.2.1-root");
    let days =
        |days: u64| Validity { not_before: at(NOW), not_after: at(NOW).saturating_add(std::time::Duration::from_secs(86_400 * days - 1)) };
    assert!(root.check_validity(&days(2921)).unwrap_err().to_string().contains("wanted at least 2922d (BR 7.1.2.1.1)"));
    root.check_validity(&days(2922)).unwrap();
    for (subject, wanted) in [("", "with C"), ("CN=a responder", "C in its place"), ("CN=a responder,C=JP", "O in its place")] {
        let said = profile("br-7.1.2.8-ocsp-responder").subject(subject).unwrap_err().to_string();
        assert!(said.contains(&format!("wanted {wanted}")), "{said}");
    }
    assert!(profile("jpki-7.1-2-cross").subject("").is_err());
    let other = [AlternativeName::Dns("www.example.org")];
    refused(template.certificate(&Request { alternative_names: &other, ..right }), "subject CN: found 'www.example.com'");
    let bad = [names[0], AlternativeName::Dns("a_b.example")];
    refused(template.certificate(&Request { alternative_names: &bad, ..right }), "dNSName: found 'a_b.example'");
    let with_address = |text: &str| {
        let address: IpAddr = text.parse().unwrap();
        template.certificate(&Request { alternative_names: &[names[0], AlternativeName::Ip(address)], ..right })
    };
    with_address("192.0.2.1").unwrap();
    refused(with_address("192.168.2.1"), "iPAddress: found 192.168.2.1, wanted an address of the public Internet (BR 7.1.2.7.12)");
    for serial in ["01", "0123456789abcdef", "0123456789abcdef0123456789abcdef01"] {
        refused(template.certificate(&Request { serial: serial.parse().unwrap(), ..right }), "wanted 16, from a random source (P3)");
    }
    let longer = Validity { not_after: right.validity.not_after.saturating_add(std::time::Duration::from_secs(1)), ..right.validity };
    refused(template.certificate(&Request { validity: longer, ..right }), "wanted at most 199d");
    // The day on which the BR take 100 days off a profile that was not changed in time.
    let late = server.validity(at("2027-03-15T00:00:00Z")).unwrap();
    refused(template.certificate(&Request { validity: late, ..right }), "at most 100d");
    refused(template.certificate(&Request { spki: &rsa_spki(1024), ..right }), "public key: found rsa-1024");
}

#[test]
fn p4_names_and_links_that_a_profile_has_no_place_for() {
    let issuer = issuer();
    let short = profile("br-7.1.2.7-tls-server-short-lived");
    // One set of links for all profiles of a CA: a distribution point does not slip in beside noRevAvail.
    let template = short.template(&issuer, &Choices { links: links(), ..Choices::default() }).unwrap();
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let subject = short.subject("CN=www.example.com").unwrap();
    let names = [AlternativeName::Dns("www.example.com")];
    let order = Request { alternative_names: &names, ..request(&short, &subject, key.public_key(), at(NOW)) };
    assert!(info(&template.certificate(&order).unwrap()).crl_urls.is_empty());

    let responder = profile("br-7.1.2.8-ocsp-responder");
    let subject = responder.subject("CN=Responder,O=Example,C=JP").unwrap();
    let order = Request { alternative_names: &names, ..request(&responder, &subject, key.public_key(), at(NOW)) };
    refused(responder.certificate(&issuer, &Choices::default(), &order), "subjectAltName: found 1 names, wanted none");
}

#[test]
fn choices_are_those_that_the_profile_leaves_open() {
    let issuer = issuer();
    let template = |profile: &Profile, choices: Choices<'_>| profile.template(&issuer, &choices).map(|_| Vec::new());
    let server = profile(SERVER);
    refused(template(&server, Choices::default()), "CRL URL: found none");
    let choices = Choices { links: links(), ..Choices::default() };
    refused(template(&server, Choices { key_usage: &[Usage::NonRepudiation], ..choices }), "key usage asked for");
    refused(template(&server, Choices { extended_key_usage: true, ..choices }), "it is not optional");
    refused(template(&server, Choices { path_length: Some(0), ..choices }), "path length: found 0, wanted none");
    let secure = Links { crl: Some("https://crl.example.com/"), ..links() };
    refused(template(&server, Choices { links: secure, ..choices }), "CRL URL");
    let ca = profile("br-7.1.2.6-tls-sub-ca");
    refused(template(&ca, Choices { path_length: Some(1), ..choices }), "path length: found 1, wanted 0");
    template(&ca, Choices { path_length: Some(0), key_usage: &[Usage::DigitalSignature], ..choices }).unwrap();
    // A link that the table fixes is that one or none.
    let rsa = root("CN=RootCA2", software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256));
    let tsa = profile("secom-7.1.2-2-root2-tsa");
    let error = tsa.template(&rsa, &choices).err().unwrap().to_string();
    assert!(error.contains("CRL URL: found 'http://crl.example.com/17.crl', wanted 'http://repository.secomtrust.net"), "{error}");
}

#[test]
fn o15_the_issuer_signs_with_an_algorithm_of_the_profile() {
    let tsa = profile("secom-7.1.2-4-root3-tsa");
    let rsa = root("CN=RootCA3", software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256));
    let error = tsa.template(&rsa, &Choices::default()).err().unwrap().to_string();
    assert_eq!(error, "issuer's signature algorithm: found rsa-sha256, wanted rsa-sha384 (signatures)");
    assert_eq!(tsa.signature_for(KeyAlgorithm::Rsa4096, None), Some(SignatureAlgorithm::RsaSha384));
    assert_eq!(tsa.signature_for(KeyAlgorithm::EcdsaP384, None), None);
    let configured = |signature| profile(SERVER).signature_for(KeyAlgorithm::Rsa2048, signature);
    assert_eq!(configured(None), Some(SignatureAlgorithm::RsaSha256));
    assert_eq!(configured(Some(SignatureAlgorithm::RsaSha512)), Some(SignatureAlgorithm::RsaSha512));
    assert_eq!(tsa.signature_for(KeyAlgorithm::Rsa4096, Some(SignatureAlgorithm::RsaSha512)), Some(SignatureAlgorithm::RsaSha384));
}

#[test]
fn s3_3_nothing_is_issued_before_or_after_the_time_of_its_table() {
    let check = |name: &str, time: &str| {
        let profile = profile(name);
        let validity = profile.validity(at(time)).unwrap();
        profile.check_validity(&validity).map_err(|finding| finding.rule)
    };
    // Midnight in Tokyo is 15:00 UTC.
    assert_eq!(check("secom-7.1.2-4-root3-tsa", "2018-09-26T14:59:59Z"), Ok(()));
    assert_eq!(check("secom-7.1.2-4-root3-tsa", "2018-09-26T15:00:00Z"), Err("issued_until"));
    assert_eq!(check("secom-7.1.2-6-root3-sub-ca", "2018-06-06T14:59:59Z"), Err("issued_from"));
    assert_eq!(check("secom-7.1.2-6-root3-sub-ca", "2018-06-06T15:00:00Z"), Ok(()));
}

#[test]
fn s5_7_links_are_between_two_keys_of_one_ca_the_older_one_first() {
    let roots = profile("jpki-7.1-3-self-signed");
    let key = || software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256);
    let ca = |subject: &str, from: &str| self_signed(&roots, subject, key(), at(from));
    let (old, new, other) = (ca("CN=A", "2010-01-01T00:00:00Z"), ca("CN=A", "2015-01-01T00:00:00Z"), ca("CN=B", "2015-01-01T00:00:00Z"));
    let forward = profile("jpki-7.1-4-new-with-old");
    let link =
        |signer: &Issuer, certified: &Issuer| forward.link(signer, certified.certificate(), &Choices::default(), crate::support::serial());
    link(&old, &new).unwrap();
    refused(link(&new, &old), "wanted the older one as the old");
    refused(link(&old, &other), "octet for octet");
    refused(link(&old, &old), "wanted two keys");
    // What calls itself self-signed and is not.
    let mut der = new.certificate().der.clone();
    *der.last_mut().unwrap() ^= 1;
    let forged = CertificateInfo::from_der(&der).unwrap();
    refused(forward.link(&old, &forged, &Choices::default(), crate::support::serial()), "a CA's self-signed certificate");
    let no_link = profile("jpki-7.1-2-cross");
    refused(no_link.link(&old, new.certificate(), &Choices::default(), crate::support::serial()), "wanted old-with-new or new-with-old");
    assert!(forward.template(&old, &Choices::default()).is_err() && roots.template(&old, &Choices::default()).is_err());
}

#[test]
fn s5_7_a_ca_certifies_no_ca_that_its_own_path_length_leaves_no_room_for() {
    let key = || software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256);
    let (bridge, below, other) = (self_signed(&profile("jpki-7.1-3-self-signed"), "CN=Bridge", key(), at(NOW)), key(), key());
    let cross = profile("jpki-7.1-2-cross");
    let subject = cross.subject("CN=Other,C=JP").unwrap();
    let choices = |path_length| Choices { path_length, ..Choices::default() };
    let certify = |issuer: &Issuer, path_length, spki: &[u8]| {
        cross.certificate(issuer, &choices(path_length), &request(&cross, &subject, spki, at(NOW)))
    };
    let no_ca = Some("wanted no CA: the issuer's own is 0 (RFC 5280 4.2.1.9)");
    let less = Some("path length: found a CA with 1, wanted at most 0: the issuer's own is 1 (RFC 5280 4.2.1.9)");
    for (own, asked, said) in [
        (None, Some(7), None),
        (Some(0), None, no_ca),
        (Some(0), Some(0), no_ca),
        (Some(1), None, None),
        (Some(1), Some(0), None),
        (Some(1), Some(1), less),
        (Some(3), Some(2), None),
    ] {
        let issuer = Issuer::new(info(&certify(&bridge, own, below.public_key()).unwrap()), below.clone()).unwrap();
        let outcome = certify(&issuer, asked, other.public_key());
        // Before there is a request, too: those who approve an order see it.
        let checked = cross.check_issuance(issuer.certificate(), SignatureAlgorithm::RsaSha256, &choices(asked)).map(|()| Vec::new());
        match said {
            Some(said) => [outcome, checked].into_iter().for_each(|refusal| refused(refusal, said)),
            None => assert_eq!((info(&outcome.unwrap()).path_length, checked), (asked, Ok(Vec::new()))),
        }
        let responder = profile("jpki-ocsp-responder");
        assert!(responder.template(&issuer, &Choices { links: links(), ..Choices::default() }).is_ok());
    }
}

/// They are self-issued, and count for nothing on a path (RFC 5280 4.2.1.9).
#[test]
fn s5_7_a_path_length_of_zero_leaves_links_as_they_are() {
    let text = std::fs::read_to_string(format!("{}/config/profiles/jpki-7.1-3-self-signed.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let limited =
        text.replace("basic_constraints = { critical = true }", "basic_constraints = { critical = true, path_length = { fixed = 0 } }");
    let roots = Profile::from_toml("limited", &limited).unwrap();
    let ca = |from: &str| self_signed(&roots, "CN=A", software_key(KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaSha256), at(from));
    let (old, new) = (ca("2010-01-01T00:00:00Z"), ca("2015-01-01T00:00:00Z"));
    assert_eq!(new.certificate().path_length, Some(0));
    profile("jpki-7.1-4-new-with-old").link(&old, new.certificate(), &Choices::default(), crate::support::serial()).unwrap();
}

#[test]
fn s3_1_a_validity_that_an_order_asks_for_is_within_those_of_profile_and_issuer() {
    let (now, end) = (at("2026-11-21T12:00:00Z"), at("2060-01-01T00:00:00Z"));
    let (server, fixed) = (profile("br-7.1.2.7-tls-server"), profile("mphpt-7.1.2-server"));
    let asked = server.limited_validity(Period::Days(30), end, now).unwrap();
    assert_eq!((asked.not_before, asked.not_after), (now, at("2026-12-21T11:59:59Z")));
    let said = |profile: &Profile, period, end| profile.limited_validity(period, end, now).unwrap_err().to_string();
    assert!(said(&server, Period::Days(200), end).contains("at most 199d"));
    assert!(said(&server, Period::Days(30), at("2026-12-21T11:59:58Z")).contains("within the issuer's"));
    assert!(said(&fixed, Period::Years(2), end).contains("exactly 3y"));
    assert_eq!(fixed.limited_validity(Period::Years(3), end, now).unwrap(), fixed.validity(now).unwrap());
}
