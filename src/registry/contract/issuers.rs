//! Issuers and signers.

use super::*;
use crate::issuance::{RootOrder, Validity, self_signed_root};
use crate::pki::{CertificateInfo, KeyAlgorithm};
use crate::token::software::SoftwareKey;

pub(in crate::registry) fn registering_again_gives_the_same_id_and_changes_nothing(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    assert_eq!(changes_since(&*registry, 0), [ChangeKind::Issuer]);
    let known = registry.issuers().unwrap();
    assert_eq!(registry.register_issuer(&new_issuer("ca")).unwrap(), issuer);
    assert_eq!(registry.issuers().unwrap(), known);
    assert_eq!(changes_since(&*registry, 0), [ChangeKind::Issuer], "nothing changed, so the feed says nothing");
    let second = registry.register_issuer(&new_issuer("another ca")).unwrap();
    drop(registry);
    let ids: Vec<IssuerId> = store.open().issuers().unwrap().iter().map(|issuer| issuer.id).collect();
    assert_eq!(ids, [issuer, second], "in the order of registration");
}

pub(in crate::registry) fn mode_and_publication_follow_the_last_registration(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    for mode in [IssuerMode::RunOff, IssuerMode::Closed, IssuerMode::Open] {
        let before = registry.last_change().unwrap();
        let crl_extras = CrlExtras {
            arl: true,
            arl_alone: mode == IssuerMode::Open,
            full_delta: mode == IssuerMode::Closed,
            partition_deltas: mode == IssuerMode::RunOff,
        };
        let publication = Publication { cert_id_hashes: BTreeSet::from(HashAlgorithm::ALL), crl_partitions: u32::MAX, crl_extras };
        let changed = NewIssuer { mode, publication: publication.clone(), ..new_issuer("ca") };
        assert_eq!(registry.register_issuer(&changed).unwrap(), issuer);
        let expected = Issuer { id: issuer, name: "ca".into(), certificate: changed.certificate.clone(), mode, publication, slot_bits: 0 };
        assert_eq!(registry.issuers().unwrap(), [expected]);
        assert_eq!(changes_since(&*registry, before), [ChangeKind::Issuer]);
    }
    let nothing = Publication { cert_id_hashes: BTreeSet::new(), crl_partitions: 0, crl_extras: CrlExtras::default() };
    let refused = registry.register_issuer(&NewIssuer { publication: nothing, ..new_issuer("ca") });
    assert!(matches!(refused, Err(RegistryError::OutOfRange { .. })), "{refused:?}");
}

pub(in crate::registry) fn a_name_and_a_certificate_belong_together(store: &dyn Store) {
    let (registry, _) = with_issuer(store);
    registry.register_issuer(&new_issuer("other")).unwrap();
    let before = (registry.issuers().unwrap(), registry.last_change().unwrap());
    for (name, certificate) in [("ca", "unknown"), ("ca", "the certificate of other"), ("new", "the certificate of ca")] {
        let result = registry.register_issuer(&NewIssuer { certificate: certificate.into(), ..new_issuer(name) });
        assert!(matches!(result, Err(RegistryError::IssuerConflict { .. })), "{name} with {certificate}: {result:?}");
    }
    assert_eq!((registry.issuers().unwrap(), registry.last_change().unwrap()), before);
}

pub(in crate::registry) fn c2_a_ca_has_one_name_and_its_certificate_may_be_renewed(store: &dyn Store) {
    let registry = store.open();
    let keys = [0, 1].map(|_| SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let certificate = |subject, key: &SoftwareKey, serial: &str| {
        let validity = Validity { not_before: time(0), not_after: time(DAY) };
        self_signed_root(&RootOrder { subject, serial: serial.parse().unwrap(), validity, signs_ocsp: false }, key).unwrap()
    };
    let register =
        |name, certificate: &[u8]| registry.register_issuer(&NewIssuer { certificate: certificate.to_vec(), ..new_issuer(name) });
    let (first, renewed) = (certificate("CN=CA", &keys[0], "01"), certificate("CN=CA", &keys[0], "02"));
    let id = register("ca", &first).unwrap();
    assert!(register("again", &renewed).unwrap_err().to_string().contains("it is the CA that is registered as 'ca'"));
    let before = registry.last_change().unwrap();
    assert_eq!(register("ca", &renewed).unwrap(), id);
    assert_eq!(registry.issuers().unwrap()[0].certificate, renewed);
    // CertIDs know no key identifier: two of them would name one certificate, and each its own status of it (O2).
    let mut identified_otherwise = renewed.clone();
    let identifier = CertificateInfo::from_der(&renewed).unwrap().key_identifier;
    let place = renewed.windows(identifier.len()).position(|octets| octets == identifier).unwrap();
    identified_otherwise[place] ^= 1;
    for (name, wanted) in [("again", "it is the CA that is registered as 'ca'"), ("ca", "a certificate with another subjectKeyIdentifier")]
    {
        let said = register(name, &identified_otherwise).unwrap_err().to_string();
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(changes_since(&*registry, before), [ChangeKind::Issuer]);
    for other in [certificate("CN=CA", &keys[1], "03"), certificate("CN=Other", &keys[0], "04")] {
        assert!(matches!(register("ca", &other), Err(RegistryError::IssuerConflict { .. })), "another key, or another name");
    }
    assert_ne!(register("after a change of keys", &certificate("CN=CA", &keys[1], "05")).unwrap(), id);
}

pub(in crate::registry) fn every_call_for_an_unknown_issuer_says_so(store: &dyn Store) {
    let (registry, known) = with_issuer(store);
    let no = IssuerId(known.0 + 1);
    let before = registry.last_change().unwrap();
    let signer = Signer { key_hash: [0; 20], algorithm: SignatureAlgorithm::Ed25519, certificate: None, archive_cutoff: None };
    let crl = publishing::crl(CrlScope::Full, 1);
    let (hash, scope, now) = (HashAlgorithm::Sha1, CrlScope::Full, time(0));
    let results: [(&str, Result<()>); 16] = [
        ("add_certificates", add(&*registry, no, &[good(1)], OnConflict::Merge).map(drop)),
        ("revoke", registry.revoke(no, &serial(1), revocation(1), None, now).map(drop)),
        ("certificate", registry.certificate(no, &serial(1)).map(drop)),
        ("visit_certificates", registry.visit_certificates(no, SlotRange::ALL, &mut |_| ())),
        ("visit_revoked", registry.visit_revoked(no, &selection(scope), &mut |_: &CrlEntry| ()).map(drop)),
        ("counts", registry.counts(no).map(drop)),
        ("register_signer", registry.register_signer(no, &signer).map(drop)),
        ("signers", registry.signers(no).map(drop)),
        ("pack_heads", registry.pack_heads(no).map(drop)),
        ("pack", registry.pack(no, hash, 0).map(drop)),
        ("visit_packs", registry.visit_packs(no, hash, 0..1, &mut |_| ())),
        ("publish_packs", registry.publish_packs(no, 0, &[])),
        ("regroup_packs", registry.regroup_packs(no, 0, 1, 0, &mut std::iter::empty())),
        ("publish_crls", registry.publish_crls(no, &[crl], publishing::KEEP_ALL)),
        ("crl_heads", registry.crl_heads(no).map(drop)),
        ("newest_crl_heads", registry.newest_crl_heads(no, scope, true, 1).map(drop)),
    ];
    for (call, result) in results {
        assert!(matches!(result, Err(RegistryError::UnknownIssuer(id)) if id == no.0), "{call}: {result:?}");
    }
    assert!(matches!(registry.next_crl_number(no, scope), Err(RegistryError::UnknownIssuer(_))));
    assert!(matches!(registry.latest_crls(no), Err(RegistryError::UnknownIssuer(_))));
    assert_eq!(registry.last_change().unwrap(), before);
}

pub(in crate::registry) fn the_same_signer_gets_the_same_id(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    let before = registry.last_change().unwrap();
    let key = Signer { key_hash: [1; 20], algorithm: SignatureAlgorithm::EcdsaSha256, certificate: None, archive_cutoff: None };
    let delegated = Signer { certificate: Some(b"a responder certificate".to_vec()), ..key.clone() };
    let renewed = Signer { certificate: Some(b"its successor".to_vec()), ..key.clone() };
    let archiving = Signer { archive_cutoff: Some(time(7)), ..renewed.clone() };
    let all = [key, delegated, renewed, archiving];
    let register = |signer| (registry.register_signer(issuer, signer).unwrap(), signer.clone());
    let ids: Vec<(SignerId, Signer)> = all.iter().map(register).collect();
    assert_eq!(ids, all.iter().map(register).collect::<Vec<_>>());
    assert_eq!(changes_since(&*registry, before), [(); 4].map(|()| ChangeKind::Signer));
    drop(registry);
    let again = store.open();
    assert_eq!(again.signers(issuer).unwrap(), ids);
    assert_eq!(again.signers(other).unwrap(), []);
}
