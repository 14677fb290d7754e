//! Reading CRLs: by the gate, which is also how `kakunin verify` reads them, and by [`CrlReader`], held against `x509-cert`.
//!
//! What two of them read, both read the same. What `x509-cert` reads and [`CrlReader`] refuses is one of [`Stricter`], or no DER; written again as DER, it
//! is read by both.

use std::sync::LazyLock;

use der::Encode;
use kakunin::pki::Timestamp;
use kakunin::pki::crl_reader::{CrlReader, EntryRef, ExtensionRef};
use kakunin::signing::gate::{
    Coverage, CrlContext, IssuerFacts, MeantCrl, NumberedCrl, Profile, Programme, RevokedSet, check_crl_and_visit, signature_algorithm,
};
use x509_cert::certificate::Version;
use x509_cert::crl::CertificateList;
use x509_cert::ext::Extension;
use x509_cert::time::Time;

use super::world::{THIS_UPDATE, time};
use super::{borrows, read_by_another};

const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/responder.der");
/// The longest message about one broken rule.
const MAX_MESSAGE_BYTES: usize = 600;

static FACTS: LazyLock<[IssuerFacts; 2]> = LazyLock::new(|| {
    use Programme::*;
    let all = [BaselineRequirements, Microsoft, CodeSigning, Etsi, EtsiQualified, Jpki, Fpki];
    [Profile::default(), Profile::new(all)].map(|profile| IssuerFacts::new(CERTIFICATE, profile).expect("a certificate"))
});

/// Why [`CrlReader`] refuses what `x509-cert` reads, and would write in the same way.
#[derive(Debug)]
enum Stricter {
    /// It is not version 2.
    Version,
    /// A GeneralizedTime before 2050 (rule C1).
    Time,
    /// A list without a member: of entries or of extensions.
    EmptyList,
    /// A signature with unused bits.
    UnusedBits,
}

/// One input: a CRL.
pub fn check(input: &[u8]) {
    let gate = Gate::look_at(input);
    let ours = CrlReader::from_der(input).ok();
    let entries = ours.as_ref().and_then(|ours| ours.entries().collect::<Result<Vec<_>, _>>().ok());
    if let Some(ours) = &ours {
        stays_in_bounds(ours, input);
    }
    let theirs = read_by_another::<CertificateList>(input);
    if let (Some(ours), Some(entries)) = (&ours, &entries) {
        gate.saw(entries);
        if let Some(theirs) = &theirs {
            says_the_same(ours, entries, theirs);
        }
    }
    let Some(theirs) = theirs else { return };
    let written = theirs.to_der().expect("what was read can be written");
    let stricter = Stricter::than(&theirs);
    let again = CrlReader::from_der(&written).and_then(|ours| Ok((ours.entries().collect::<Result<Vec<_>, _>>()?, ours)));
    match (again, stricter) {
        (Ok((entries, ours)), None) => says_the_same(&ours, &entries, &theirs),
        (Err(_), Some(_)) => {}
        (again, stricter) => panic!("{again:?} though {stricter:?}: {theirs:?}"),
    }
}

/// What the gate says of a CRL.
struct Gate {
    /// Serial and revocationDate of each entry.
    listed: Vec<(Vec<u8>, Option<Timestamp>)>,
    is_readable: bool,
}

impl Gate {
    /// Holds it against every rule, for an issuer that follows no programme and for one that follows all, as a complete CRL and as a delta to itself.
    fn look_at(input: &[u8]) -> Gate {
        let mut gate = Gate { listed: Vec::new(), is_readable: true };
        let [plain, strict] = &*FACTS;
        let findings = check_crl_and_visit(input, &context(plain, signature_algorithm(input, plain)), &mut |listed| {
            gate.listed.push((listed.serial.to_vec(), listed.revoked_at));
        });
        gate.is_readable = !findings.iter().any(|finding| ["one CRL in DER", "every entry is DER"].contains(&finding.what));
        let before = NumberedCrl { number: 3, this_update: time(THIS_UPDATE) };
        let as_delta = CrlContext {
            coverage: Coverage::Cas,
            distribution_point: Some("http://crl.example/arl.crl"),
            base: Some(input),
            freshest: Some("http://crl.example/arl.delta.crl"),
            truth: Some(RevokedSet::default()),
            previous: Some(before),
            companion: Some(before),
            aia_ocsp: false,
            last: true,
            verify_signature: false,
            ..context(strict, signature_algorithm(input, strict))
        };
        let mut count = 0;
        let of_delta = check_crl_and_visit(input, &as_delta, &mut |_| count += 1);
        assert_eq!(count, gate.listed.len());
        for finding in findings.iter().chain(&of_delta) {
            assert!(finding.to_string().len() <= MAX_MESSAGE_BYTES, "a message that quotes too much: {finding}");
        }
        gate
    }

    fn saw(&self, entries: &[EntryRef<'_>]) {
        assert!(self.is_readable, "the gate refuses what the reader takes");
        assert!(self.listed.iter().map(|(serial, at)| (&serial[..], *at)).eq(entries.iter().map(|e| (e.serial, Some(e.at)))));
    }
}

fn context(issuer: &IssuerFacts, algorithm: kakunin::pki::SignatureAlgorithm) -> CrlContext<'_> {
    CrlContext {
        issuer,
        coverage: Coverage::All,
        distribution_point: None,
        base: None,
        freshest: None,
        meant: MeantCrl { number: 4, this_update: time(THIS_UPDATE), next_update: time(THIS_UPDATE + 7200) },
        algorithm,
        truth: None,
        previous: None,
        companion: None,
        aia_ocsp: true,
        last: false,
        verify_signature: true,
        now: time(THIS_UPDATE + 60),
    }
}

fn stays_in_bounds(ours: &CrlReader<'_>, input: &[u8]) {
    for part in [ours.to_be_signed, ours.inner_algorithm, ours.outer_algorithm, ours.issuer, ours.signature] {
        assert!(borrows(input, part));
    }
    for extension in &ours.extensions {
        assert!(borrows(input, extension.oid) && borrows(input, extension.value) && !extension.oid.is_empty());
    }
    let last = ours.extensions.last();
    assert_eq!(last.and_then(|last| ours.extension(last.oid)).map(|found| found.oid), last.map(|last| last.oid));
    for entry in ours.entries().map_while(Result::ok) {
        assert!(borrows(input, entry.serial) && !entry.serial.is_empty());
        assert!(entry.extensions().all(|extension| borrows(input, extension.oid) && borrows(input, extension.value)));
    }
}

type Parts<'a> = (&'a [u8], bool, &'a [u8]);

fn of_ours<'a>(extension: ExtensionRef<'a>) -> Parts<'a> {
    (extension.oid, extension.critical, extension.value)
}

fn of_theirs(extension: &Extension) -> Parts<'_> {
    (extension.extn_id.as_bytes(), extension.critical, extension.extn_value.as_bytes())
}

/// Names and algorithms are compared as they stand, never decoded: `x509-cert` alone would find fault with them.
fn says_the_same(ours: &CrlReader<'_>, entries: &[EntryRef<'_>], theirs: &CertificateList) {
    let body = &theirs.tbs_cert_list;
    assert_eq!(ours.signature, theirs.signature.raw_bytes());
    assert_eq!(ours.this_update, body.this_update.to_date_time().into());
    assert_eq!(ours.next_update, body.next_update.map(|time| time.to_date_time().into()));
    assert!(ours.extensions.iter().copied().map(of_ours).eq(body.crl_extensions.iter().flatten().map(of_theirs)));
    let revoked = body.revoked_certificates.as_deref().unwrap_or_default();
    assert_eq!(entries.len(), revoked.len());
    for (entry, theirs) in entries.iter().zip(revoked) {
        assert_eq!((entry.serial, entry.at), (theirs.serial_number.as_bytes(), theirs.revocation_date.to_date_time().into()));
        assert!(entry.extensions().map(of_ours).eq(theirs.crl_entry_extensions.iter().flatten().map(of_theirs)));
    }
}

impl Stricter {
    fn than(theirs: &CertificateList) -> Option<Stricter> {
        let body = &theirs.tbs_cert_list;
        let revoked = body.revoked_certificates.iter().flatten();
        let times =
            [Some(body.this_update), body.next_update].into_iter().flatten().chain(revoked.clone().map(|entry| entry.revocation_date));
        let is_early =
            |time: Time| matches!(time, Time::GeneralTime(at) if Timestamp::from(at.to_date_time()) < Timestamp::GENERALIZED_FROM);
        let of_entries = revoked.map(|entry| &entry.crl_entry_extensions);
        let is_empty = |list: &Option<Vec<Extension>>| list.as_ref().is_some_and(Vec::is_empty);
        match () {
            () if body.version != Version::V2 => Some(Stricter::Version),
            () if times.into_iter().any(is_early) => Some(Stricter::Time),
            () if body.revoked_certificates.as_ref().is_some_and(Vec::is_empty) => Some(Stricter::EmptyList),
            () if is_empty(&body.crl_extensions) || of_entries.into_iter().any(is_empty) => Some(Stricter::EmptyList),
            () if theirs.signature.unused_bits() > 0 => Some(Stricter::UnusedBits),
            () => None,
        }
    }
}
