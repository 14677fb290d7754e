//! CRLs: what they cover, and deltas.

use super::tree::{Node, extension, sign};
use super::*;
use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use crate::pki::der_encoding::{constructed, integer_content, tag, tlv};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::pki::{Revocation, RevocationReason, Serial};
use crate::signing::schedule::next_update;
use shape::oid;

const URI: &str = "http://crl.example/crl/ca/0.crl";
const DELTA_URI: &str = "http://crl.example/crl/ca/0.delta.crl";
const NUMBER: u64 = 700;

/// A valid CRL of three certificates with all that it is held against: a case changes what it needs to.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) list: Node,
    pub(super) appended: Vec<u8>,
    coverage: Coverage,
    distribution_point: Option<&'static str>,
    base: Option<Vec<u8>>,
    freshest: Option<&'static str>,
    pub(super) meant: MeantCrl,
    pub(super) truth: Option<RevokedSet>,
    pub(super) previous: Option<NumberedCrl>,
    pub(super) companion: Option<NumberedCrl>,
    pub(super) aia_ocsp: bool,
    pub(super) last: bool,
    pub(super) profile: Vec<Programme>,
    pub(super) now: Timestamp,
    /// Whether the signature is spoilt.
    pub(super) spoils_signature: bool,
}

fn entries() -> [CrlEntry; 3] {
    let reasons = [RevocationReason::KeyCompromise, RevocationReason::Superseded, RevocationReason::CessationOfOperation];
    [0, 1, 2].map(|index| CrlEntry {
        serial: Serial::from_magnitude(&[7, 7, 7, 7, 7, 7, 7, 7, index as u8 * 2]).unwrap(),
        revocation: Revocation { at: start(), reason: Some(reasons[index]) },
        invalidity_date: None,
    })
}

impl Scene {
    /// A complete CRL.
    pub(super) fn of(coverage: Coverage, distribution_point: Option<&'static str>) -> Scene {
        let world = World::new();
        let (entries, mut truth) = (entries(), RevokedSet::default());
        entries.iter().for_each(|entry| truth.note(entry));
        let meant = MeantCrl { number: NUMBER, this_update: start(), next_update: next_update(start(), 7 * DAY, Timestamp::MAX) };
        let contents = match coverage {
            Coverage::All => Contents::All,
            Coverage::EndEntities => Contents::UserCertificates,
            Coverage::Cas => Contents::CaCertificates,
        };
        let header = CrlHeader {
            issuer: &world.ca.subject,
            authority_key_identifier: &world.ca.key_identifier,
            algorithm: world.ca_key.signature_algorithm(),
            number: meant.number,
            this_update: meant.this_update,
            next_update: meant.next_update,
            base: None,
            distribution_point: distribution_point.map(|uri| IssuingDistributionPoint { uri: uri.to_owned(), contents }),
            freshest: None,
            expired_since: None,
        };
        let mut crl = CrlEncoder::new(&header, entries.len() as u64);
        entries.iter().for_each(|entry| crl.push(entry));
        let list = Node::read(&crl.finish().unwrap().with_signature(&[]));
        Scene {
            world,
            list,
            appended: vec![],
            coverage,
            distribution_point,
            base: None,
            freshest: None,
            meant,
            truth: Some(truth),
            previous: None,
            companion: None,
            aia_ocsp: true,
            last: false,
            profile: vec![],
            now: start(),
            spoils_signature: false,
        }
    }

    fn partition() -> Scene {
        Scene::of(Coverage::EndEntities, Some(URI))
    }

    /// A delta, with the complete CRL that it builds on.
    fn delta() -> Scene {
        let mut scene = Scene::partition();
        let base = scene.der();
        let indicator = extension(oid::DELTA_CRL_INDICATOR, true, tlv(tag::INTEGER, &integer_content(NUMBER)));
        scene.extensions().parts().push(indicator);
        scene.base = Some(base);
        scene.set_number(NUMBER + 1);
        scene
    }

    fn set_number(&mut self, number: u64) {
        self.extensions().extension(oid::CRL_NUMBER).set_value(tlv(tag::INTEGER, &integer_content(number)));
        self.meant.number = number;
    }

    /// The list of extensions.
    pub(super) fn extensions(&mut self) -> &mut Node {
        self.list.at(&[0]).parts().last_mut().unwrap().at(&[0])
    }

    fn point(&mut self) -> &mut Node {
        self.extensions().extension(oid::ISSUING_DISTRIBUTION_POINT)
    }

    /// Replaces the issuingDistributionPoint's content.
    pub(super) fn set_point(&mut self, parts: &[&[u8]]) {
        self.point().set_value(constructed(tag::SEQUENCE, parts));
    }

    fn add_freshest(&mut self, uri: &str, critical: bool) {
        let points = constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &[&full_name(uri)])]);
        self.extensions().parts().push(extension(oid::FRESHEST_CRL, critical, points));
    }

    /// Changes the base, which stays what the delta was made for in all else.
    fn change_base(&mut self, change: fn(&mut Node)) {
        let mut base = Node::read(self.base.as_ref().unwrap());
        change(base.at(&[0]).parts().last_mut().unwrap().at(&[0]));
        sign(&mut base, self.world.ca_key.as_ref());
        self.base = Some(base.write());
    }

    /// A published CRL whose number is `below` less than this one's.
    pub(super) fn published(&self, below: u64, this_update: Timestamp) -> NumberedCrl {
        NumberedCrl { number: self.meant.number - below, this_update }
    }

    /// The CRL after the change.
    pub(super) fn der(&mut self) -> Vec<u8> {
        sign(&mut self.list, self.world.ca_key.as_ref());
        if self.spoils_signature {
            self.list.at(&[2]).spoil();
        }
        [self.list.write(), self.appended.clone()].concat()
    }

    pub(super) fn findings(mut self) -> Vec<Finding> {
        let der = self.der();
        self.check(&der)
    }

    pub(super) fn check(&self, der: &[u8]) -> Vec<Finding> {
        let issuer = IssuerFacts::new(&self.world.ca.der, Profile::new(self.profile.iter().copied())).unwrap();
        let context = CrlContext {
            issuer: &issuer,
            coverage: self.coverage,
            distribution_point: self.distribution_point,
            base: self.base.as_deref(),
            freshest: self.freshest,
            meant: self.meant,
            algorithm: self.world.ca_key.signature_algorithm(),
            truth: self.truth,
            previous: self.previous,
            companion: self.companion,
            aia_ocsp: self.aia_ocsp,
            last: self.last,
            verify_signature: true,
            now: self.now,
        };
        let findings = check_crl(der, &context, EarlyLook::default());
        assert_eq!(check_crl(der, &context, early_look(der, &context, |_| {})), findings, "entries that were looked at early");
        let changed = early_look(der, &context, |entries| entries[0] ^= 1);
        assert_eq!(check_crl(der, &context, changed), findings, "what was looked at early is not what is on it");
        findings
    }
}

/// A look at two thirds of the entries, which were changed then.
fn early_look(der: &[u8], context: &CrlContext<'_>, change: fn(&mut [u8])) -> EarlyLook {
    let (mut early, crl) = (EarlyLook::default(), crl::Crl::read(der));
    let entries = crl.ok().and_then(|crl| crl.entries).unwrap_or_default();
    let parts: Vec<_> = crl::Crl::parts(entries, 1).collect();
    let mut written = parts[..parts.len() * 2 / 3].concat();
    if !written.is_empty() {
        change(&mut written);
        while early.go_on(&written, context) {}
    }
    early
}

/// `distributionPoint [0] { fullName [0] { uri } }`.
pub(super) fn full_name(uri: &str) -> Vec<u8> {
    let name = constructed(tag::constructed(0), &[&tlv(tag::primitive(6), uri.as_bytes())]);
    constructed(tag::constructed(0), &[&name])
}

/// A BOOLEAN `[number]` that is TRUE.
fn flag(number: u8) -> Vec<u8> {
    tlv(tag::primitive(number), &[0xff])
}

type Case = (&'static str, &'static str, fn() -> Scene, fn(&mut Scene));

/// What breaks each row, and the CRL that it begins with.
const CASES: &[Case] = &[
    ("C4", "issuingDistributionPoint is there where the scope is limited, and only there", Scene::partition, |s| {
        s.extensions().remove_extension(oid::ISSUING_DISTRIBUTION_POINT);
    }),
    ("C4", "issuingDistributionPoint is critical", Scene::partition, |s| s.point().set_critical(None)),
    ("C4", "issuingDistributionPoint is not empty", Scene::partition, |s| s.set_point(&[])),
    ("C4", "the distribution point is the certificates' CDP, octet for octet", Scene::partition, |s| {
        s.set_point(&[&full_name("http://crl.example/crl/ca/00.crl"), &flag(1)]);
    }),
    ("C4", "onlyContainsUserCerts for end entities, onlyContainsCACerts for CAs", Scene::partition, |s| {
        s.set_point(&[&full_name(URI), &flag(2)]);
    }),
    ("C4", "neither some reasons, nor indirect, nor attribute certificates", Scene::partition, |s| {
        s.set_point(&[&full_name(URI), &flag(1), &flag(4)]);
    }),
    ("C4", "BR: fullName with http URIs only", Scene::partition, |s| {
        let uris = [URI, "ldap://crl.example/"].map(|uri| tlv(tag::primitive(6), uri.as_bytes()));
        let names = constructed(tag::constructed(0), &[&uris[0], &uris[1]]);
        s.set_point(&[&constructed(tag::constructed(0), &[&names]), &flag(1)]);
        s.profile = vec![Programme::BaselineRequirements];
    }),
    ("C5", "deltaCRLIndicator on a delta, and only there", Scene::delta, |s| s.extensions().remove_extension(oid::DELTA_CRL_INDICATOR)),
    ("C5", "deltaCRLIndicator is critical", Scene::delta, |s| s.extensions().extension(oid::DELTA_CRL_INDICATOR).set_critical(None)),
    ("C5", "BaseCRLNumber is the number of the published base", Scene::delta, |s| {
        s.extensions().extension(oid::DELTA_CRL_INDICATOR).set_value(tlv(tag::INTEGER, &integer_content(NUMBER - 1)));
    }),
    ("C5", "the base is a complete CRL", Scene::delta, |s| {
        s.change_base(|extensions| extensions.parts().push(extension(oid::DELTA_CRL_INDICATOR, true, vec![2, 1, 1])));
    }),
    ("C5", "delta and base have the same scope", Scene::delta, |s| {
        s.change_base(|extensions| extensions.extension(oid::ISSUING_DISTRIBUTION_POINT).spoil_value());
    }),
    ("C5", "delta and base have the same key", Scene::delta, |s| {
        s.change_base(|extensions| extensions.extension(oid::AUTHORITY_KEY_IDENTIFIER).spoil_value());
    }),
    ("C5", "a delta has no freshestCRL", Scene::delta, |s| s.add_freshest(DELTA_URI, false)),
    ("C5", "freshestCRL says where the deltas are, where there are some", Scene::partition, |s| s.freshest = Some(DELTA_URI)),
    ("C5", "freshestCRL is not critical", Scene::partition, |s| {
        s.freshest = Some(DELTA_URI);
        s.add_freshest(DELTA_URI, true);
    }),
];

/// Rows that cases break.
pub(super) fn rows() -> Vec<Row> {
    CASES.iter().map(|(rule, what, ..)| (*rule, *what)).collect()
}

#[test]
fn every_broken_rule_is_found_and_no_other() {
    for (rule, what, scene, change) in CASES {
        let mut scene = scene();
        change(&mut scene);
        assert_only(&scene.findings(), (rule, what));
    }
}

#[test]
fn c4_c5_what_keeps_every_rule_has_no_finding() {
    let with_deltas = || {
        let mut scene = Scene::partition();
        scene.freshest = Some(DELTA_URI);
        scene.add_freshest(DELTA_URI, false);
        scene
    };
    for scene in [Scene::partition, Scene::delta, with_deltas, || Scene::of(Coverage::Cas, Some("http://crl.example/arl.crl"))] {
        assert_eq!(scene().findings(), []);
        let mut of_the_br = scene();
        of_the_br.profile = vec![Programme::BaselineRequirements];
        assert_eq!(of_the_br.findings(), []);
    }
}

#[test]
fn c4_a_full_crl_has_no_distribution_point() {
    let mut scene = Scene::partition();
    (scene.coverage, scene.distribution_point) = (Coverage::All, None);
    scene.set_point(&[&flag(4)]);
    assert!(scene.findings().iter().all(|f| f.rule == "C4"));
}

/// C3: an entry that leaves is announced by a delta.
#[test]
fn c3_remove_from_crl_is_allowed_in_a_delta() {
    let mut scene = Scene::delta();
    scene.truth = None;
    scene.list.at(&[0, 5, 0]).parts().truncate(2);
    let reason = extension(oid::REASON_CODE, false, vec![tag::ENUMERATED, 1, 8]);
    scene.list.at(&[0, 5, 0]).parts().push(Node::Tree(tag::SEQUENCE, vec![reason]));
    assert_eq!(scene.findings(), []);
}
