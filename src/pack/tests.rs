use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::pki::{HashAlgorithm, Revocation, RevocationReason, Serial};

fn place(bits: u8, slot: u32) -> PackPlace {
    let issuer = IssuerHashes { algorithm: HashAlgorithm::Sha1, name_hash: vec![1; 20], key_hash: vec![2; 20] };
    PackPlace::new(&issuer, SlotRange { bits, slot })
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

#[derive(Clone, Debug)]
struct Given {
    status: CertificateStatus,
    signing: Signing,
    signature: Vec<u8>,
}

fn given_strategy(signature_length: usize) -> impl Strategy<Value = Given> {
    let signing = (0u64..5, 0u32..2).prop_map(|(n, signer)| {
        let refresh_at = time(n + 10 + n % 2);
        Signing { this_update: time(n), next_update: time(n + 100), signer, refresh_at }
    });
    let reason = (0usize..=7).prop_map(|i| RevocationReason::ALL.get(i).copied());
    let revoked =
        (0..=Timestamp::MAX.unix(), reason).prop_map(|(at, reason)| CertificateStatus::Revoked(Revocation { at: time(at), reason }));
    let status = prop_oneof![3 => Just(CertificateStatus::Good), 1 => revoked];
    (status, signing, proptest::collection::vec(any::<u8>(), signature_length)).prop_map(|(status, signing, signature)| Given {
        status,
        signing,
        signature,
    })
}

fn serials(lengths: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Serial> {
    proptest::collection::vec(any::<u8>(), lengths).prop_filter_map("a serial", |m| Serial::from_magnitude(&m).ok())
}

fn build(given: &BTreeMap<Serial, Given>, place: PackPlace) -> Vec<u8> {
    let mut builder = PackBuilder::new(place, 7, time(50));
    for (serial, g) in given {
        builder.push(&Entry { serial: serial.as_der_content(), status: g.status, signing: g.signing, raw_signature: &g.signature });
    }
    builder.build().unwrap()
}

fn assert_holds(pack: &Pack, given: &BTreeMap<Serial, Given>) {
    assert_eq!(pack.len(), given.len());
    assert_eq!(pack.revoked(), given.values().filter(|g| g.status != CertificateStatus::Good).count());
    for (serial, g) in given {
        let entry = pack.lookup(serial.into(), serial.as_der_content()).expect("every serial is found");
        let expected = Entry { serial: serial.as_der_content(), status: g.status, signing: g.signing, raw_signature: &g.signature };
        assert_eq!(entry, expected);
    }
}

proptest! {
    #[test]
    fn what_was_put_in_is_found_and_nothing_else(
        given in prop_oneof![
            proptest::collection::btree_map(serials(1..=20), given_strategy(64), 0..300),
            proptest::collection::btree_map(serials(16..=16), given_strategy(256), 0..60),
        ],
        other in serials(1..=20),
    ) {
        let pack = Pack::from_blob(build(&given, place(0, 0)), place(0, 0)).unwrap();
        assert_holds(&pack, &given);
        prop_assert_eq!(pack.lookup((&other).into(), other.as_der_content()).is_some(), given.contains_key(&other));
        prop_assert_eq!((pack.generation(), pack.refresh_at()), (7, time(50)));
    }

    #[test]
    fn a_pack_splits_without_losing_or_changing_anything(given in proptest::collection::btree_map(serials(1..=20), given_strategy(64), 0..200)) {
        let pack = Pack::from_blob(build(&given, place(0, 0)), place(0, 0)).unwrap();
        let halves = pack.split(place(0, 0)).unwrap();
        let (mut found, mut total) = (given.clone(), 0);
        for (slot, half) in halves.into_iter().enumerate() {
            let place = place(1, slot as u32);
            let half = Pack::from_blob(half, place).unwrap();
            total += half.len();
            let mine: BTreeMap<_, _> = given.iter().filter(|(s, _)| SlotHash::from(*s).slot(1) == slot as u32).map(|(s, g)| (*s, g.clone())).collect();
            assert_holds(&half, &mine);
            mine.keys().for_each(|s| { found.remove(s); });
        }
        prop_assert!(found.is_empty() && total == given.len());
    }

    /// Damage anywhere is refused; damage with a checksum made to fit may be accepted, but never makes a look-up fail.
    #[test]
    fn a_damaged_pack_never_panics(
        given in proptest::collection::btree_map(serials(1..=20), given_strategy(8), 1..40),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4),
        cut in 0usize..4,
        forge: bool,
    ) {
        let good = build(&given, place(0, 0));
        let mut blob = good.clone();
        for (at, octet) in damage {
            let at = 8 + usize::from(at) % (blob.len() - 8);
            blob[at] = octet;
        }
        blob.truncate(blob.len() - cut);
        if forge {
            let checksum = xxhash_rust::xxh3::xxh3_64(&blob[layout::CHECKED_FROM..]);
            blob[8..16].copy_from_slice(&checksum.to_le_bytes());
        }
        match Pack::from_blob(blob.clone(), place(0, 0)) {
            Ok(pack) => {
                prop_assert!(forge || blob == good);
                pack.entries().for_each(drop);
                pack.signings().for_each(drop);
                given.keys().for_each(|s| { pack.lookup(s.into(), s.as_der_content()); });
            }
            Err(_) => prop_assert!(blob != good),
        }
    }
}

#[test]
fn a_pack_in_another_place_is_refused() {
    let blob = build(&BTreeMap::new(), place(3, 5));
    assert!(Pack::from_blob(blob.clone(), place(3, 5)).unwrap().is_empty());
    assert!(matches!(Pack::from_blob(blob.clone(), place(3, 6)), Err(PackError::Place(_))));
    let other = IssuerHashes { algorithm: HashAlgorithm::Sha256, name_hash: vec![1; 32], key_hash: vec![2; 32] };
    assert!(matches!(Pack::from_blob(blob.clone(), PackPlace::new(&other, SlotRange { bits: 3, slot: 5 })), Err(PackError::Place(_))));
    assert_eq!(Pack::from_blob(&b"KKNPACK1"[..], place(3, 5)).unwrap_err(), PackError::Magic);
}

#[test]
fn too_many_signings_and_mixed_signatures_are_refused_by_the_builder() {
    let push = |builder: &mut PackBuilder, n: u64, length: usize| {
        let serial = Serial::from_magnitude(&n.to_be_bytes()).unwrap();
        let next_update = time(0).saturating_add(Duration::from_secs(n + 1));
        let signing = Signing { this_update: time(n), next_update, signer: 0, refresh_at: time(n + 1) };
        builder.push(&Entry { serial: serial.as_der_content(), status: CertificateStatus::Good, signing, raw_signature: &vec![0; length] });
    };
    let mut builder = PackBuilder::new(place(0, 0), 1, time(0));
    (0..=MAX_SIGNINGS as u64).for_each(|n| push(&mut builder, n, 64));
    assert!(builder.build().is_err());
    let mut builder = PackBuilder::new(place(0, 0), 1, time(0));
    push(&mut builder, 1, 64);
    push(&mut builder, 2, 96);
    assert!(builder.build().is_err());
}
