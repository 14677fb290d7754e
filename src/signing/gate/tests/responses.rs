//! OCSP responses.

use super::tree::{Node, extension, other_algorithm, sign};
use super::*;
use crate::pki::der_encoding::tag;
use crate::pki::ocsp_response::SingleResponse;
use crate::pki::{CertificateStatus, HashAlgorithm, IssuerHashes, Revocation, RevocationReason, ecdsa};
use crate::registry::Signer;
use crate::signing::Timing;
use crate::signing::schedule::next_update;

const SERIAL: &[u8] = &[0x51, 2, 3, 4, 5, 6, 7, 8, 9];
const WEEK: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };
/// Where things are in a BasicOCSPResponse.
const RESPONDER_ID: &[usize] = &[0, 0];
const PRODUCED_AT: &[usize] = &[0, 1];
const SINGLE: &[usize] = &[0, 2, 0];
const ALGORITHM_OID: &[usize] = &[0, 2, 0, 0, 0, 0];
const CERT_ID: &[usize] = &[0, 2, 0, 0];
const STATUS: &[usize] = &[0, 2, 0, 1];
const THIS_UPDATE: &[usize] = &[0, 2, 0, 2];
const NEXT_UPDATE: &[usize] = &[0, 2, 0, 3, 0];
const FRACTION: &[u8] = b"20261201000000.5Z";
const UNKNOWN_OID: &[u8] = &[0x2a, 3, 4];

/// A valid response with all that it is held against: a case changes what it needs to.
struct Scene {
    world: World,
    basic: Node,
    /// Replaces the whole response.
    octets: Option<Vec<u8>>,
    truth: Option<CertificateTruth>,
    previous: Option<PreviousResponse>,
    timing: Option<Timing>,
    pre_produced: bool,
    profile: Vec<Programme>,
    now: Timestamp,
    signer_ends: Option<Timestamp>,
    /// Whether it is signed after the change.
    signer_begins: Option<Timestamp>,
    signed: bool,
}

fn revocation(reason: Option<RevocationReason>) -> CertificateStatus {
    CertificateStatus::Revoked(Revocation { at: start(), reason })
}

fn truth(status: CertificateStatus, is_ca: bool) -> Option<CertificateTruth> {
    Some(CertificateTruth { status, is_ca })
}

impl Scene {
    fn new(status: CertificateStatus) -> Scene {
        let world = World::new();
        let signer = world.signer();
        let template = signer.template(&IssuerHashes::of(&world.ca, HashAlgorithm::Sha1));
        let single = SingleResponse {
            serial: SERIAL,
            status,
            this_update: start(),
            next_update: next_update(start(), WEEK.validity, Timestamp::MAX),
        };
        let signature = world.responder_key.sign(&template.to_be_signed(&single)).unwrap();
        let der = template.response(&single, &ecdsa::raw_from_der(&signature, 64).unwrap());
        let basic = Node::read(Node::read(&der).at(&[1, 0, 1]).octets());
        let truth = truth(status, false);
        let octets = Some(der);
        let (profile, previous, timing, now) = (vec![], None, Some(WEEK), start());
        Scene {
            world,
            basic,
            octets,
            truth,
            previous,
            timing,
            pre_produced: true,
            profile,
            now,
            signer_ends: None,
            signer_begins: None,
            signed: true,
        }
    }

    /// The response after the change.
    fn der(&mut self) -> Vec<u8> {
        if let Some(octets) = self.octets.take() {
            return octets;
        }
        if self.signed {
            sign(&mut self.basic, self.world.responder_key.as_ref());
        }
        wrap(0, const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC.as_bytes(), self.basic.write())
    }

    fn findings(mut self) -> Vec<Finding> {
        let der = self.der();
        self.check(&der)
    }

    fn check(&self, der: &[u8]) -> Vec<Finding> {
        let issuer = IssuerFacts::of(&self.world.ca, Profile::new(self.profile.iter().copied())).unwrap();
        let mut signer = SignerFacts::new(&self.world.signer(), &issuer).unwrap();
        signer.not_after = self.signer_ends.unwrap_or(signer.not_after);
        signer.not_before = self.signer_begins.unwrap_or(signer.not_before);
        let context = ResponseContext {
            issuer: &issuer,
            signer: &signer,
            cert_id_hash: HashAlgorithm::Sha1,
            serial: SERIAL,
            truth: self.truth,
            previous: self.previous,
            timing: self.timing,
            pre_produced: self.pre_produced,
            verify_signature: true,
            now: self.now,
        };
        check_response(der, &context)
    }

    fn set_time(&mut self, path: &[usize], at: Timestamp) {
        *self.basic.at(path).octets() = at.generalized().to_vec();
    }

    /// nextUpdate, so that the validity is `validity`, measured inclusively.
    fn valid_for(&mut self, validity: Duration) {
        self.set_time(NEXT_UPDATE, next_update(start(), validity, Timestamp::MAX));
        self.timing = None;
    }

    fn add_single_extension(&mut self, id: &[u8]) {
        let list = Node::Tree(tag::SEQUENCE, vec![extension(id, false, vec![5, 0])]);
        self.basic.at(SINGLE).parts().push(Node::Tree(tag::constructed(1), vec![list]));
    }

    fn add_archive_cutoff(&mut self, since: Timestamp) {
        let time = Node::Leaf(tag::GENERALIZED_TIME, since.generalized().to_vec()).write();
        let list = Node::Tree(tag::SEQUENCE, vec![extension(shape::oid::OCSP_ARCHIVE_CUTOFF, false, time)]);
        self.basic.at(SINGLE).parts().push(Node::Tree(tag::constructed(1), vec![list]));
    }

    fn add_response_extension(&mut self, id: &[u8]) {
        let list = Node::Tree(tag::SEQUENCE, vec![extension(id, false, vec![5, 0])]);
        self.basic.at(&[0]).parts().push(Node::Tree(tag::constructed(1), vec![list]));
    }

    /// An answer about a certificate that was never issued, as O10 wants it, signed for one request.
    fn never_issued(&mut self) {
        (self.truth, self.pre_produced) = (None, false);
        *self.basic.at(STATUS) = revoked_node(Timestamp::default(), 6);
        self.add_response_extension(shape::oid::OCSP_EXTENDED_REVOKE);
    }
}

impl World {
    fn signer(&self) -> Signer {
        let key_hash = crate::pki::ocsp_response::responder_key_hash(&self.responder.public_key_bits);
        let (algorithm, certificate) = (self.responder_key.signature_algorithm(), Some(self.responder.der.clone()));
        Signer { key_hash, algorithm, certificate, archive_cutoff: None }
    }
}

fn wrap(status: u8, kind: &[u8], basic: Vec<u8>) -> Vec<u8> {
    let bytes = Node::Tree(tag::SEQUENCE, vec![Node::Leaf(tag::OID, kind.to_vec()), Node::Leaf(tag::OCTET_STRING, basic)]);
    Node::Tree(tag::SEQUENCE, vec![Node::Leaf(tag::ENUMERATED, vec![status]), Node::Tree(tag::constructed(0), vec![bytes])]).write()
}

fn revoked_node(at: Timestamp, reason: u8) -> Node {
    let reason = Node::Tree(tag::constructed(0), vec![Node::Leaf(tag::ENUMERATED, vec![reason])]);
    Node::Tree(tag::constructed(1), vec![Node::Leaf(tag::GENERALIZED_TIME, at.generalized().to_vec()), reason])
}

type Case = (&'static str, &'static str, fn(&mut Scene));

/// What breaks each row. Cases begin with a good certificate's response.
const CASES: &[Case] = &[
    ("O1", "an OCSPResponse", |s| s.octets = Some(vec![0x30, 3, 0x0a, 1])),
    ("O1", "responseStatus is successful", |s| s.octets = Some(vec![0x30, 3, 0x0a, 1, 3])),
    ("O1", "responseBytes hold an id-pkix-ocsp-basic response", |s| s.octets = Some(wrap(0, UNKNOWN_OID, s.basic.write()))),
    ("O1", "a BasicOCSPResponse", |s| s.octets = Some(wrap(0, const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC.as_bytes(), vec![0x30, 0]))),
    ("O1", "x509-ocsp reads what is signed, and writes the same octets", |s| {
        let version = Node::Tree(tag::constructed(0), vec![Node::Leaf(tag::INTEGER, vec![0])]);
        s.basic.at(&[0]).parts().insert(0, version);
    }),
    ("O2", "issuerNameHash is the hash of the CA's subject", |s| s.basic.at(CERT_ID).at(&[1]).spoil()),
    ("O2", "issuerKeyHash is the hash of the CA's key", |s| s.basic.at(CERT_ID).at(&[2]).spoil()),
    ("O3", "the ResponderID is byKey", |s| {
        *s.basic.at(RESPONDER_ID) = Node::Tree(tag::constructed(1), vec![Node::read(&s.world.responder.subject)]);
    }),
    ("O3", "the ResponderID is the SHA-1 of the signer's key", |s| s.basic.at(RESPONDER_ID).at(&[0]).spoil()),
    ("O4", "one SingleResponse, or SHA-1 and SHA-256 for the same certificate", |s| {
        let mut second = s.basic.at(SINGLE).clone();
        second.at(&[0, 3]).spoil();
        s.basic.at(&[0, 2]).parts().push(second);
    }),
    ("O5", "the CertID has the hash algorithm asked for", |s| {
        *s.basic.at(ALGORITHM_OID).octets() = HashAlgorithm::Sha256.oid().to_vec();
    }),
    ("O5", "the CertID has NULL parameters, as clients write it", |s| s.basic.at(CERT_ID).at(&[0]).parts().truncate(1)),
    ("O5", "the CertID has the serial number asked for", |s| s.basic.at(CERT_ID).at(&[3]).spoil()),
    ("O6", "nextUpdate is present", |s| s.basic.at(SINGLE).parts().truncate(3)),
    ("O6", "nextUpdate is later than thisUpdate", |s| s.set_time(NEXT_UPDATE, start())),
    ("O6", "thisUpdate is a time without fractions", |s| *s.basic.at(THIS_UPDATE).octets() = FRACTION.to_vec()),
    ("O6", "nextUpdate is a time without fractions", |s| *s.basic.at(NEXT_UPDATE).octets() = FRACTION.to_vec()),
    ("O6", "producedAt is a time without fractions", |s| *s.basic.at(PRODUCED_AT).octets() = FRACTION.to_vec()),
    ("O7", "certs holds the delegated responder's certificate, or nothing", |s| s.basic.parts().truncate(3)),
    ("O8", "a pre-produced response has no responseExtensions", |s| s.add_response_extension(UNKNOWN_OID)),
    ("O9", "a certificate that was never issued is not good", |s| s.truth = None),
    ("O10", "revoked for a certificate that was never issued: not in the BR profile", |s| {
        s.never_issued();
        s.profile = vec![Programme::BaselineRequirements];
    }),
    ("O10", "revoked for a certificate that was never issued: with extended-revoke", |s| {
        s.never_issued();
        s.basic.at(&[0]).parts().truncate(3);
    }),
    ("O10", "revoked for a certificate that was never issued: certificateHold since 1970", |s| {
        s.never_issued();
        *s.basic.at(STATUS) = revoked_node(start(), 6);
    }),
    ("O10", "revoked for a certificate that was never issued: no CrlID", |s| {
        s.never_issued();
        s.add_single_extension(shape::oid::OCSP_CRL_ID);
    }),
    ("O13", "producedAt is thisUpdate in a pre-produced response", |s| s.set_time(PRODUCED_AT, start().saturating_add(HOUR))),
    ("O13", "thisUpdate is not in the future", |s| s.now = start().saturating_sub(HOUR)),
    ("O14", "no reasonCode in singleExtensions", |s| s.add_single_extension(shape::oid::REASON_CODE)),
    ("O14", "revocationReason is present for a CA's certificate", |s| {
        *s = Scene::new(revocation(None));
        (s.truth, s.octets) = (truth(revocation(None), true), None);
    }),
    ("O14", "ArchiveCutoff and CrlID are in singleExtensions", |s| {
        s.pre_produced = false;
        s.add_response_extension(shape::oid::OCSP_ARCHIVE_CUTOFF);
    }),
    ("O14", "singleExtensions hold ArchiveCutoff and CrlID only", |s| s.add_single_extension(UNKNOWN_OID)),
    ("O15", "the signature algorithm is the signer's", |s| *s.basic.at(&[1]) = other_algorithm()),
    ("O15", "the signature verifies", |s| {
        s.signed = false;
        s.basic.at(&[2]).spoil();
    }),
    ("C3", "revocationReason is never unspecified(0)", |s| {
        *s.basic.at(STATUS) = revoked_node(start(), 0);
        s.truth = truth(revocation(None), false);
    }),
    ("C3", "revocationReason is one that the BR allow", |s| {
        *s.basic.at(STATUS) = revoked_node(start(), 10);
        s.truth = truth(revocation(Some(RevocationReason::AaCompromise)), false);
        s.profile = vec![Programme::BaselineRequirements];
    }),
    ("C6", "EN 319 411-2: with ArchiveCutoff", |s| s.profile = vec![Programme::EtsiQualified]),
    ("C6", "ArchiveCutoff is a time without fractions", |s| s.add_single_extension(shape::oid::OCSP_ARCHIVE_CUTOFF)),
    ("C9", "the status is the registry's", |s| s.truth = truth(revocation(None), false)),
    ("C9", "a revocation is never taken back", |s| {
        s.previous = Some(PreviousResponse { this_update: start(), status: revocation(None) });
    }),
    ("C9", "thisUpdate is not older than what is published", |s| {
        s.previous = Some(PreviousResponse { this_update: start().saturating_add(HOUR), status: CertificateStatus::Good });
    }),
    ("T1", "valid for 10 days at most", |s| s.valid_for(10 * DAY + Duration::from_secs(1))),
    ("T1", "valid for 8 hours at least", |s| s.valid_for(8 * HOUR - Duration::from_secs(1))),
    ("T1", "valid for as long as configured at most", |s| s.timing = Some(Timing { validity: 6 * DAY, ..WEEK })),
    ("T1", "signed anew in time", |s| s.now = start().saturating_add(4 * DAY + HOUR)),
    ("T2", "Microsoft: valid for 7 days at most", |s| {
        s.valid_for(7 * DAY + Duration::from_secs(1));
        s.profile = vec![Programme::Microsoft];
    }),
    ("T2", "Microsoft: signed anew at half of the validity", |s| {
        s.now = start().saturating_add(86 * HOUR);
        s.profile = vec![Programme::Microsoft];
    }),
    ("T3", "nextUpdate is not later than the signer's notAfter", |s| s.signer_ends = Some(start().saturating_add(6 * DAY))),
    ("O7", "thisUpdate is not earlier than the signer's notBefore", |s| s.signer_begins = Some(start().saturating_add(DAY))),
    ("T4", "a CA's status is signed every 12 months", |s| {
        s.valid_for(367 * DAY);
        s.truth = truth(CertificateStatus::Good, true);
    }),
];

/// Rows that cases break.
pub(super) fn rows() -> Vec<Row> {
    CASES.iter().map(|(rule, what, _)| (*rule, *what)).collect()
}

#[test]
fn every_broken_rule_is_found_and_no_other() {
    for (rule, what, change) in CASES {
        let mut scene = Scene::new(CertificateStatus::Good);
        scene.octets = None;
        change(&mut scene);
        assert_only(&scene.findings(), (rule, what));
    }
}

#[test]
fn a_response_that_keeps_every_rule_has_no_finding() {
    let reason = Some(RevocationReason::KeyCompromise);
    for status in [CertificateStatus::Good, revocation(None), revocation(reason)] {
        for profile in [vec![], vec![Programme::BaselineRequirements, Programme::Microsoft]] {
            let mut scene = Scene::new(status);
            scene.profile = profile;
            scene.previous = Some(PreviousResponse { this_update: start(), status: CertificateStatus::Good });
            assert_eq!(scene.findings(), []);
        }
    }
    // The cases' own ground: signed anew from the tree, and the answers that are not pre-produced.
    let clean: [fn(&mut Scene); 7] = [
        |_| {},
        Scene::never_issued,
        |s| s.valid_for(10 * DAY),
        |s| s.valid_for(8 * HOUR),
        |s| s.now = start().saturating_add(84 * HOUR),
        |s| {
            s.valid_for(2 * HOUR);
            s.signer_ends = Some(next_update(start(), 2 * HOUR, Timestamp::MAX));
        },
        |s| {
            s.profile = vec![Programme::EtsiQualified];
            s.add_archive_cutoff(start());
        },
    ];
    for change in clean {
        let mut scene = Scene::new(CertificateStatus::Good);
        scene.octets = None;
        change(&mut scene);
        assert_eq!(scene.findings(), []);
    }
}

#[test]
fn o1_octets_that_are_no_response_are_a_finding_and_no_panic() {
    let mut scene = Scene::new(CertificateStatus::Good);
    let der = scene.der();
    for length in 0..der.len() {
        let findings = scene.check(&der[..length]);
        assert!(findings.first().is_some_and(|f| f.rule == "O1"), "{length}: {findings:?}");
    }
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 0xff;
        assert_ne!(scene.check(&changed), [], "octet {index} of {:02x?}", &der[index.saturating_sub(20)..][..40]);
    }
}
