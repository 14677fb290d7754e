//! Certificates at hand.

use super::tree::{Node, extension, sign};
use super::*;
use crate::pki::der_encoding::tag;

const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 0x20];
const NO_REV_AVAIL: &[u8] = &[0x55, 0x1d, 0x38];
const NO_CHECK: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const NULL: &[u8] = &[5, 0];

/// A certificate to change: the responder's, or the CA's own.
struct Scene {
    world: World,
    certificate: Node,
    octets: Option<Vec<u8>>,
    br: bool,
    of_the_ca: bool,
    signed: bool,
}

impl Scene {
    fn new(of_the_ca: bool) -> Scene {
        let world = World::new();
        let certificate = Node::read(if of_the_ca { &world.ca.der } else { &world.responder.der });
        Scene { world, certificate, octets: None, br: false, of_the_ca, signed: true }
    }

    fn extensions(&mut self) -> &mut Node {
        self.certificate.certificate_extensions()
    }

    fn add(&mut self, id: &[u8], critical: bool, value: &[u8]) {
        self.extensions().parts().push(extension(id, critical, value.to_vec()));
    }

    fn findings(mut self) -> Vec<Finding> {
        if self.signed {
            sign(&mut self.certificate, self.world.ca_key.as_ref());
        }
        let der = self.octets.unwrap_or_else(|| self.certificate.write());
        let profile = Profile::new(self.br.then_some(Programme::BaselineRequirements));
        let ca = if self.of_the_ca { &der } else { &self.world.ca.der };
        let ca = IssuerFacts::new(ca, profile).unwrap();
        if self.of_the_ca { check_ca_certificate(&ca) } else { check_responder_certificate(&der, &ca) }
    }
}

type Case = (&'static str, &'static str, fn(&mut Scene));

const RESPONDER_CASES: &[Case] = &[
    ("P1", "a certificate in DER", |s| s.octets = Some(vec![0x30, 0])),
    ("O7", "the responder certificate is issued by the CA itself", |s| {
        *s.certificate.at(&[0, 3]) = Node::read(&s.world.responder.subject);
    }),
    ("O7", "the responder certificate is signed with the CA's key", |s| {
        s.signed = false;
        s.certificate.at(&[2]).spoil();
    }),
    ("P1", "authorityKeyIdentifier is the CA's key identifier", |s| s.extensions().extension(AUTHORITY_KEY_IDENTIFIER).spoil_value()),
    ("P1", "keyUsage lets it sign", |s| s.extensions().extension(KEY_USAGE).set_value(vec![tag::BIT_STRING, 2, 5, 0x20])),
    ("P1", "extKeyUsage has OCSPSigning", |s| s.extensions().remove_extension(EXTENDED_KEY_USAGE)),
    ("P1", "id-pkix-ocsp-nocheck is NULL", |s| s.extensions().extension(NO_CHECK).set_value(vec![4, 0])),
    ("P1", "not a CA's certificate", |s| s.add(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff])),
    ("P1", "BR: keyUsage is critical, and digitalSignature only", |s| {
        s.br = true;
        s.extensions().extension(KEY_USAGE).set_critical(None);
    }),
    ("P1", "BR: extKeyUsage is OCSPSigning only", |s| {
        s.br = true;
        let usage = s.extensions().extension(EXTENDED_KEY_USAGE).parts().last_mut().unwrap().octets();
        let mut purposes = Node::read(usage);
        purposes.parts().push(Node::Leaf(tag::OID, SERVER_AUTH.to_vec()));
        *usage = purposes.write();
    }),
    ("P1", "BR: with id-pkix-ocsp-nocheck", |s| {
        s.br = true;
        s.extensions().remove_extension(NO_CHECK);
    }),
    ("P1", "BR: no distribution point, subjectAltName or nameConstraints", |s| {
        s.br = true;
        s.add(CRL_DISTRIBUTION_POINTS, false, &[0x30, 0]);
    }),
    ("P1", "BR: no certificatePolicies", |s| {
        s.br = true;
        s.add(CERTIFICATE_POLICIES, false, &[0x30, 0]);
    }),
    ("P3", "BR: the serial number has 64 bits, is positive and below 2^159", |s| {
        s.br = true;
        *s.certificate.at(&[0, 1]).octets() = vec![1, 2, 3];
    }),
    ("P4", "noRevAvail is NULL and not critical", |s| s.add(NO_REV_AVAIL, true, NULL)),
    ("P4", "noRevAvail not beside a distribution point or AIA-OCSP", |s| {
        s.add(NO_REV_AVAIL, false, NULL);
        s.add(CRL_DISTRIBUTION_POINTS, false, &[0x30, 0]);
    }),
];

const CA_CASES: &[Case] = &[
    ("P2", "a CA's keyUsage has cRLSign", |s| s.extensions().extension(KEY_USAGE).set_value(vec![tag::BIT_STRING, 2, 2, 4])),
    ("P4", "no noRevAvail in a CA's certificate", |s| s.add(NO_REV_AVAIL, false, NULL)),
];

/// Rows that cases break.
pub(super) fn rows() -> Vec<Row> {
    RESPONDER_CASES.iter().chain(CA_CASES).map(|(rule, what, _)| (*rule, *what)).collect()
}

#[test]
fn every_broken_rule_is_found_and_no_other() {
    let cases = RESPONDER_CASES.iter().map(|case| (case, false)).chain(CA_CASES.iter().map(|case| (case, true)));
    for ((rule, what, change), of_the_ca) in cases {
        let mut scene = Scene::new(of_the_ca);
        change(&mut scene);
        assert_only(&scene.findings(), (rule, what));
    }
}

#[test]
fn p1_p2_what_this_program_issues_keeps_every_rule() {
    for (of_the_ca, br) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(Scene { br, ..Scene::new(of_the_ca) }.findings(), []);
    }
    let mut short_lived = Scene::new(false);
    short_lived.add(NO_REV_AVAIL, false, NULL);
    assert_eq!(short_lived.findings(), []);
}
