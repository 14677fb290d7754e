//! CRLs: the whole and its entries.

use super::scopes::{Scene, full_name};
use super::tree::{Node, extension, other_algorithm};
use super::*;
use crate::pki::der_encoding::{tag, tlv};
use shape::oid;

/// Where things are in a CertificateList.
const INNER_ALGORITHM: &[usize] = &[0, 1];
const ISSUER: &[usize] = &[0, 2];
const THIS_UPDATE: &[usize] = &[0, 3];
const NEXT_UPDATE: &[usize] = &[0, 4];
const ENTRIES: &[usize] = &[0, 5];
const UNKNOWN_OID: &[u8] = &[0x2a, 3, 4];

fn later(duration: Duration) -> Timestamp {
    start().saturating_add(duration)
}

fn utc(at: Timestamp) -> Node {
    Node::Leaf(tag::UTC_TIME, at.utc().unwrap().to_vec())
}

fn generalized(at: Timestamp) -> Node {
    Node::Leaf(tag::GENERALIZED_TIME, at.generalized().to_vec())
}

impl Scene {
    fn set_next_update(&mut self, at: Timestamp) {
        *self.list.at(NEXT_UPDATE) = utc(at);
        self.meant.next_update = at;
    }

    /// nextUpdate, so that the validity is `validity`, measured inclusively.
    fn valid_for(&mut self, validity: Duration) {
        self.set_next_update(later(validity - Duration::from_secs(1)));
    }

    fn follow(&mut self, programme: Programme) {
        self.profile.push(programme);
    }

    /// The first entry; what is to be on the CRL is then another test's business.
    fn entry(&mut self) -> &mut Node {
        self.truth = None;
        self.list.at(ENTRIES).at(&[0])
    }

    /// Replaces the extensions of the first entry by one.
    fn entry_extension(&mut self, id: &[u8], critical: bool, value: &[u8]) {
        let list = Node::Tree(tag::SEQUENCE, vec![extension(id, critical, value.to_vec())]);
        let parts = self.entry().parts();
        parts.truncate(2);
        parts.push(list);
    }

    fn reason(&mut self, code: u8) {
        self.entry_extension(oid::REASON_CODE, false, &[tag::ENUMERATED, 1, code]);
    }
}

type Case = (&'static str, &'static str, fn(&mut Scene));

/// What breaks each row. Cases begin with a full CRL of three certificates.
const CASES: &[Case] = &[
    ("C10", "one CRL in DER", |s| s.appended = vec![0]),
    ("C10", "every entry is DER", |s| *s.entry().at(&[0]) = Node::Leaf(tag::OCTET_STRING, vec![1])),
    ("C10", "no default is written out", |s| s.extensions().extension(oid::CRL_NUMBER).set_critical(Some(false))),
    ("C10", "an entry writes no default out", |s| s.entry().at(&[2, 0]).set_critical(Some(false))),
    ("C1", "version 2", |s| drop(s.list.at(&[0]).parts().remove(0))),
    ("C1", "inner and outer algorithm are the same", |s| *s.list.at(INNER_ALGORITHM) = other_algorithm()),
    ("C1", "the signature algorithm is the key's", |s| {
        *s.list.at(INNER_ALGORITHM) = other_algorithm();
        *s.list.at(&[1]) = other_algorithm();
    }),
    ("C1", "the issuer is the CA's subject, octet for octet", |s| *s.list.at(ISSUER) = Node::read(&s.world.responder.subject)),
    ("C1", "thisUpdate has the form of its year", |s| *s.list.at(THIS_UPDATE) = generalized(start())),
    ("C1", "nextUpdate has the form of its year", |s| *s.list.at(NEXT_UPDATE) = generalized(s.meant.next_update)),
    ("C1", "nextUpdate is present", |s| drop(s.list.at(&[0]).parts().remove(4))),
    ("C1", "nextUpdate is later than thisUpdate", |s| s.set_next_update(start())),
    ("C1", "thisUpdate is what was meant", |s| s.meant.this_update = later(HOUR)),
    ("C1", "nextUpdate is what was meant", |s| s.meant.next_update = later(HOUR)),
    ("C1", "thisUpdate is not in the future", |s| s.now = start().saturating_sub(HOUR)),
    ("C1", "an empty revokedCertificates is absent", |s| {
        s.list.at(ENTRIES).parts().clear();
        s.truth = Some(RevokedSet::default());
    }),
    ("C1", "authorityKeyIdentifier is the CA's key identifier", |s| s.extensions().extension(oid::AUTHORITY_KEY_IDENTIFIER).spoil_value()),
    ("C1", "no extension occurs twice", |s| {
        let again = s.extensions().extension(oid::CRL_NUMBER).clone();
        s.extensions().parts().push(again);
    }),
    ("C1", "no unknown extension is critical", |s| s.extensions().parts().push(extension(UNKNOWN_OID, true, vec![5, 0]))),
    ("C1", "the signature verifies with the CA's key", |s| s.spoils_signature = true),
    ("C2", "cRLNumber is present", |s| s.extensions().remove_extension(oid::CRL_NUMBER)),
    ("C2", "cRLNumber is not critical", |s| s.extensions().extension(oid::CRL_NUMBER).set_critical(Some(true))),
    ("C2", "cRLNumber is below 2^159", |s| s.extensions().extension(oid::CRL_NUMBER).set_value(tlv(tag::INTEGER, &[1; 21]))),
    ("C2", "cRLNumber is what was reserved", |s| s.meant.number += 1),
    ("C2", "cRLNumber is greater than that of the CRL before", |s| s.previous = Some(s.published(0, start()))),
    ("C2", "thisUpdate is not older than that of the CRL before", |s| s.previous = Some(s.published(1, later(HOUR)))),
    ("C2", "complete and delta share one sequence of numbers", |s| s.companion = Some(s.published(0, start().saturating_sub(HOUR)))),
    ("C3", "no entry extension is critical", |s| s.entry().at(&[2, 0]).set_critical(Some(true))),
    ("C3", "reasonCode is one of RFC 5280", |s| s.reason(7)),
    ("C3", "reasonCode is never unspecified(0)", |s| s.reason(0)),
    ("C3", "reasonCode is present for CA certificates", |s| {
        *s = Scene::of(Coverage::Cas, Some("http://crl.example/arl.crl"));
        s.entry().parts().truncate(2);
    }),
    ("C3", "removeFromCRL in deltas only", |s| s.reason(8)),
    ("C3", "BR: no certificateHold", |s| {
        s.reason(6);
        s.follow(Programme::BaselineRequirements);
    }),
    ("C3", "BR: reasonCode 1, 3, 4, 5 or 9", |s| {
        s.reason(10);
        s.follow(Programme::BaselineRequirements);
    }),
    ("C3", "invalidityDate is a GeneralizedTime without fractions", |s| {
        s.entry_extension(oid::INVALIDITY_DATE, false, b"\x18\x1120261201000000.5Z");
    }),
    ("C1", "revocationDate has the form of its year", |s| *s.entry().at(&[1]) = generalized(start())),
    ("P3", "BR: the serial number is positive and below 2^159", |s| {
        *s.entry().at(&[0]) = Node::Leaf(tag::INTEGER, vec![0xff]);
        s.follow(Programme::BaselineRequirements);
    }),
    ("C6", "no revoked certificate that belongs on it is missing", |s| drop(s.list.at(ENTRIES).parts().pop())),
    ("C9", "it lists what the registry says is revoked, and nothing else", |s| s.list.at(ENTRIES).at(&[0, 0]).spoil()),
    ("C6", "EN 319 411-2: with expiredCertsOnCRL, not critical", |s| s.follow(Programme::EtsiQualified)),
    ("C8", "Microsoft: below 10 MB where there is no OCSP", |s| {
        s.aia_ocsp = false;
        s.follow(Programme::Microsoft);
        let value = tlv(tag::OCTET_STRING, &vec![0; 10_000_000]);
        s.extensions().parts().push(extension(UNKNOWN_OID, false, value));
    }),
    ("P2", "the CA's keyUsage has cRLSign", |s| {
        let mut ca = Node::read(&s.world.ca.der);
        let usage = ca.certificate_extensions().extension(&[0x55, 0x1d, 0x0f]);
        usage.set_value(vec![tag::BIT_STRING, 2, 2, 4]);
        s.world.ca.der = ca.write();
    }),
    ("T5", "a subscriber CRL is valid for 10 days at most (BR)", |s| {
        s.valid_for(10 * DAY + Duration::from_secs(1));
        s.follow(Programme::BaselineRequirements);
    }),
    ("T5", "valid for 12 months at most", |s| s.valid_for(365 * DAY + Duration::from_secs(1))),
    ("T5", "issued anew before nextUpdate", |s| s.now = s.meant.next_update),
    ("T5", "a subscriber CRL is issued every 7 days, or 4 without AIA-OCSP (BR)", |s| {
        s.valid_for(10 * DAY);
        s.now = later(7 * DAY + HOUR);
        s.follow(Programme::BaselineRequirements);
    }),
    ("T5", "a subscriber CRL is issued every 7 days, or 4 without AIA-OCSP (BR)", |s| {
        s.aia_ocsp = false;
        s.now = later(4 * DAY + HOUR);
        s.follow(Programme::BaselineRequirements);
    }),
    ("T6", "JPKI: every 24 h, valid for 72 h", |s| s.follow(Programme::Jpki)),
    ("T6", "ETSI: every 24 h", |s| {
        s.now = later(26 * HOUR);
        s.follow(Programme::Etsi);
    }),
    ("T6", "ETSI: nextUpdate of the last CRL is 99991231235959Z", |s| {
        s.last = true;
        s.follow(Programme::Etsi);
    }),
    ("T6", "FPKI: every 18 h, valid for 180 h at most", |s| {
        s.now = later(20 * HOUR);
        s.follow(Programme::Fpki);
    }),
    ("T6", "code signing: every 7 days", |s| {
        s.valid_for(10 * DAY);
        s.now = later(7 * DAY + 2 * HOUR);
        s.follow(Programme::CodeSigning);
    }),
];

/// Rows that cases break.
pub(super) fn rows() -> Vec<Row> {
    CASES.iter().map(|(rule, what, _)| (*rule, *what)).collect()
}

#[test]
fn every_broken_rule_is_found_and_no_other() {
    for (rule, what, change) in CASES {
        let mut scene = Scene::of(Coverage::All, None);
        change(&mut scene);
        assert_only(&scene.findings(), (rule, what));
    }
}

/// A CRL that several threads look at: what is wrong with the first and the last entry is found together, as by one thread.
#[test]
fn a_great_crl_is_checked_to_its_end() {
    let great = |change: fn(&mut Node)| {
        let mut scene = Scene::of(Coverage::All, None);
        scene.reason(7);
        let (broken, sound) = (scene.entry().clone(), scene.list.at(ENTRIES).at(&[1]).clone());
        let mut entries = vec![sound; 100_000];
        entries.insert(0, broken.clone());
        entries.push(broken);
        change(entries.last_mut().unwrap());
        *scene.list.at(ENTRIES).parts() = entries;
        scene.findings()
    };
    let findings = great(|_| {});
    assert_only(&findings, ("C3", "reasonCode is one of RFC 5280"));
    assert!(findings[0].found.ends_with("and 1 more entries"), "{findings:?}");
    let findings = great(|last| *last.at(&[0]) = Node::Leaf(tag::OCTET_STRING, vec![1]));
    let rules: Vec<_> = findings.iter().map(|finding| finding.what).collect();
    assert_eq!(rules, ["reasonCode is one of RFC 5280", "every entry is DER"]);
}

#[test]
fn a_crl_that_keeps_every_rule_has_no_finding() {
    let clean: [fn(&mut Scene); 10] = [
        |_| {},
        |s| s.follow(Programme::BaselineRequirements),
        |s| s.follow(Programme::Microsoft),
        |s| s.valid_for(365 * DAY),
        |s| (s.previous, s.companion) = (Some(s.published(1, start())), Some(s.published(0, start()))),
        |s| {
            s.valid_for(72 * HOUR);
            s.now = later(24 * HOUR);
            s.profile.extend([Programme::Jpki, Programme::CodeSigning, Programme::Etsi]);
        },
        |s| {
            s.valid_for(180 * HOUR);
            s.now = later(18 * HOUR);
            s.follow(Programme::Fpki);
        },
        |s| {
            s.last = true;
            *s.list.at(NEXT_UPDATE) = generalized(Timestamp::MAX);
            s.meant.next_update = Timestamp::MAX;
            s.follow(Programme::Etsi);
        },
        |s| {
            let since = tlv(tag::GENERALIZED_TIME, &start().generalized());
            s.extensions().parts().push(extension(oid::EXPIRED_CERTS_ON_CRL, false, since));
            s.follow(Programme::EtsiQualified);
        },
        |s| {
            s.list.at(&[0]).parts().remove(5);
            s.truth = Some(RevokedSet::default());
        },
    ];
    for (index, change) in clean.into_iter().enumerate() {
        let mut scene = Scene::of(Coverage::All, None);
        change(&mut scene);
        assert_eq!(scene.findings(), [], "{index}");
    }
}

#[test]
fn c3_of_many_broken_entries_the_first_is_named_and_the_others_are_counted() {
    let mut scene = Scene::of(Coverage::All, None);
    scene.truth = None;
    for entry in scene.list.at(ENTRIES).parts() {
        entry.at(&[2, 0]).set_critical(Some(true));
    }
    let findings = scene.findings();
    assert_only(&findings, ("C3", "no entry extension is critical"));
    assert!(findings[0].found.contains("serial") && findings[0].found.contains("2 more"), "{findings:?}");
}

#[test]
fn c10_octets_that_are_no_crl_are_a_finding_and_no_panic() {
    let mut scene = Scene::of(Coverage::EndEntities, Some("http://crl.example/0.crl"));
    let der = scene.der();
    for length in 0..der.len() {
        assert!(scene.check(&der[..length]).iter().any(|f| f.rule == "C10"), "{length}");
    }
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 0xff;
        assert_ne!(scene.check(&changed), [], "octet {index}");
    }
}

#[test]
fn c1_an_extension_that_occurs_twice_is_found_among_many() {
    let with_many = || {
        let mut scene = Scene::of(Coverage::All, None);
        let many = (0..=255).map(|n: u8| extension(&[0x2a, 0x81 + (n >> 7), n & 0x7f], false, vec![5, 0]));
        scene.extensions().parts().extend(many);
        scene
    };
    assert_eq!(with_many().findings(), []);
    let mut scene = with_many();
    scene.extensions().parts().push(extension(&[0x2a, 0x82, 7], false, vec![]));
    let findings = scene.findings();
    assert_only(&findings, ("C1", "no extension occurs twice"));
    assert_eq!(findings[0].found, "two with OID octets 2a8207");
}

#[test]
fn a_finding_shows_little_of_what_is_found_and_on_one_line() {
    let mut scene = Scene::of(Coverage::EndEntities, Some("http://crl.example/0.crl"));
    *scene.list.at(THIS_UPDATE) = Node::Leaf(tag::UTC_TIME, b"\n".repeat(100_000));
    scene.entry_extension(oid::INVALIDITY_DATE, false, &[7; 100_000]);
    *scene.list.at(ISSUER) = Node::Leaf(tag::SEQUENCE, vec![7; 100_000]);
    let point = format!("http://{}", "x".repeat(100_000));
    scene.set_point(&[&full_name(&point)]);
    let findings = scene.findings();
    assert!(findings.len() >= 4, "{findings:?}");
    for finding in findings {
        let text = finding.to_string();
        assert!(text.chars().count() < 600 && !text.contains('\n'), "{} characters: {text}", text.chars().count());
    }
}
