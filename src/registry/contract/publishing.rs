//! Response packs and CRLs.

use super::*;
use crate::pki::extension::IssuingDistributionPoint;

pub(super) fn pack(cert_id_hash: HashAlgorithm, slot: u32, generation: u64) -> PackRecord {
    let day = generation % DAY;
    let (this_update, next_update, refresh_at) = (time(day), time(day + 7 * DAY), time(day + DAY));
    let head = PackHead { cert_id_hash, slot, generation, this_update, next_update, refresh_at };
    PackRecord { head, blob: format!("{cert_id_hash:?} {slot} {generation}").repeat(500).into_bytes() }
}

/// How many superseded CRLs are kept where that does not matter.
pub(super) const KEEP_ALL: u32 = u32::MAX;

pub(super) fn crl(scope: CrlScope, number: u64) -> CrlRecord {
    let this_update = number % DAY;
    let point = |contents| IssuingDistributionPoint { uri: crl_path("ca", scope.base()), contents };
    let head = CrlHead {
        scope,
        number,
        this_update: time(this_update),
        next_update: time(this_update + 72),
        refresh_at: time(this_update + 24),
        entries: number % 5,
        scheduled: number % 2 == 1,
        reflects: number % 7,
        distribution_point: match scope.base() {
            CrlScope::Full => None,
            CrlScope::Authorities => Some(point(Contents::CaCertificates)),
            _ => Some(point(Contents::UserCertificates)),
        },
        has_delta: scope == CrlScope::Full,
        base: scope.is_delta().then(|| number.saturating_sub(1)),
    };
    CrlRecord { head, der: format!("{scope} {number}").into() }
}

fn packs(registry: &dyn Registry, issuer: IssuerId) -> Vec<PackRecord> {
    let mut found = Vec::new();
    for hash in [SHA1, SHA256] {
        // In two parts, of which the second is open-ended.
        for slots in [0..2, 2..u32::MAX] {
            registry.visit_packs(issuer, hash, slots, &mut |pack| found.push(pack)).unwrap();
        }
    }
    assert!(found.is_sorted_by_key(|pack| (pack.head.cert_id_hash, pack.head.slot)));
    let mut heads = registry.pack_heads(issuer).unwrap();
    heads.sort_by_key(|head| (head.cert_id_hash, head.slot));
    assert_eq!(heads, found.iter().map(|pack| pack.head).collect::<Vec<_>>(), "heads are those of the packs");
    for pack in &found {
        assert_eq!(registry.pack(issuer, pack.head.cert_id_hash, pack.head.slot).unwrap().as_ref(), Some(pack));
    }
    found
}

fn generations(registry: &dyn Registry, issuer: IssuerId) -> u64 {
    registry.pack_heads(issuer).unwrap().iter().map(|head| head.generation).sum()
}

const SHA1: HashAlgorithm = HashAlgorithm::Sha1;
const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

pub(in crate::registry) fn packs_read_back_and_survive_reopening(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    registry.regroup_packs(issuer, 0, 2, 0, &mut std::iter::empty()).unwrap();
    let published = [pack(SHA1, 0, 1), pack(SHA1, 3, 1), pack(SHA256, 0, 1)];
    registry.publish_packs(issuer, 2, &published).unwrap();
    let empty = PackRecord { blob: Vec::new(), ..pack(SHA1, 0, 1) };
    registry.publish_packs(other, 0, std::slice::from_ref(&empty)).unwrap();
    drop(registry);
    let again = store.open();
    assert_eq!(packs(&*again, issuer), published);
    assert_eq!(packs(&*again, other), [empty]);
    assert_eq!(again.pack(issuer, SHA256, 3).unwrap(), None);
}

pub(in crate::registry) fn a_pack_replaces_exactly_the_generation_before(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    registry.regroup_packs(issuer, 0, 1, 0, &mut std::iter::empty()).unwrap();
    registry.publish_packs(issuer, 1, &[pack(SHA1, 0, 1), pack(SHA1, 1, 1)]).unwrap();
    registry.publish_packs(issuer, 1, &[pack(SHA1, 0, 2)]).unwrap();
    let before = (packs(&*registry, issuer), registry.last_change().unwrap());
    // A valid pack in front of each: nothing of a call is published unless all of it is.
    for wrong in [pack(SHA1, 1, 0), pack(SHA1, 1, 1), pack(SHA1, 1, 3), pack(SHA1, 1, u64::MAX)] {
        let result = registry.publish_packs(issuer, 1, &[pack(SHA1, 0, 3), wrong]);
        assert!(matches!(result, Err(RegistryError::Stale { found: 1, .. })), "{result:?}");
    }
    let first = registry.publish_packs(issuer, 1, &[pack(SHA256, 0, 2)]);
    assert!(matches!(first, Err(RegistryError::Stale { found: 0, expected: 1, .. })), "{first:?}");
    for bits in [0, 2] {
        let result = registry.publish_packs(issuer, bits, &[pack(SHA1, 0, 3)]);
        assert!(matches!(result, Err(RegistryError::Stale { found: 1, .. })), "{result:?}");
    }
    let result = registry.publish_packs(issuer, 1, &[pack(SHA1, 0, 3), pack(SHA1, 2, 1)]);
    assert!(matches!(result, Err(RegistryError::OutOfRange { .. })), "no such slot: {result:?}");
    let result = registry.publish_packs(issuer, 1, &[pack(SHA1, 0, 3), pack(SHA256, 1, 2)]);
    assert!(matches!(result, Err(RegistryError::Stale { found: 0, expected: 1, .. })), "another hash does not hide it: {result:?}");
    assert_eq!((packs(&*registry, issuer), registry.last_change().unwrap()), before);
}

pub(in crate::registry) fn racing_publishers_of_a_slot_never_overwrite_each_other(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let connections = [store.open(), store.open()];
    let publish = |connection: &dyn Registry| {
        let attempt = |_: &i32| {
            let generation = connection.pack(issuer, SHA1, 0).unwrap().map_or(1, |pack| pack.head.generation + 1);
            match connection.publish_packs(issuer, 0, &[pack(SHA1, 0, generation)]) {
                Ok(()) => true,
                Err(RegistryError::Stale { found, expected, .. }) => {
                    assert!(found > expected);
                    false
                }
                Err(other) => panic!("{other}"),
            }
        };
        (0..25).filter(attempt).count()
    };
    let published: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| &*connections[n % 2]).map(|c| scope.spawn(move || publish(c))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(packs(&*registry, issuer), [pack(SHA1, 0, published as u64)], "each success is one generation");
}

pub(in crate::registry) fn regrouping_replaces_all_packs_at_once(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    registry.publish_packs(issuer, 0, &[pack(SHA1, 0, 1)]).unwrap();
    registry.publish_packs(issuer, 0, &[pack(SHA1, 0, 2)]).unwrap();
    registry.publish_packs(issuer, 0, &[pack(SHA256, 0, 1)]).unwrap();
    registry.publish_packs(other, 0, &[pack(SHA1, 0, 1)]).unwrap();
    let halves = [pack(SHA1, 0, 3), pack(SHA1, 1, 3), pack(SHA256, 0, 2), pack(SHA256, 1, 2)];
    let before = (packs(&*registry, issuer), registry.issuers().unwrap(), registry.last_change().unwrap());

    for (from, to, sum) in [(1, 2, 3), (0, 1, 2), (0, 1, 4)] {
        let result = registry.regroup_packs(issuer, from, to, sum, &mut halves.iter().cloned().map(Ok));
        assert!(matches!(result, Err(RegistryError::Stale { .. })), "from {from}, sum {sum}: {result:?}");
    }
    let (no_room, too_fine) = (vec![halves[0].clone(), pack(SHA1, 2, 1)], Vec::new());
    for (to, packs) in [(1, no_room), (25, too_fine)] {
        let result = registry.regroup_packs(issuer, 0, to, 3, &mut packs.into_iter().map(Ok));
        assert!(matches!(result, Err(RegistryError::OutOfRange { .. })), "{result:?}");
    }
    let unreadable = [Ok(halves[0].clone()), Err(RegistryError::UnknownIssuer(7))];
    let result = registry.regroup_packs(issuer, 0, 1, 3, &mut unreadable.into_iter());
    assert!(matches!(result, Err(RegistryError::UnknownIssuer(7))), "{result:?}");
    assert_eq!((packs(&*registry, issuer), registry.issuers().unwrap(), registry.last_change().unwrap()), before);

    // The old packs can be read while the new ones are asked for: that is where these come from.
    let mut split = halves.iter().cloned().inspect(|half| {
        assert!(registry.pack(issuer, half.head.cert_id_hash, 0).unwrap().unwrap().head.generation < half.head.generation);
    });
    registry.regroup_packs(issuer, 0, 1, generations(&*registry, issuer), &mut split.by_ref().map(Ok)).unwrap();
    assert_eq!(changes_since(&*registry, before.2), [ChangeKind::Issuer]);
    drop(split);
    drop(registry);
    let again = store.open();
    assert_eq!(packs(&*again, issuer), halves);
    assert_eq!(packs(&*again, other), [pack(SHA1, 0, 1)]);
    assert_eq!(again.issuers().unwrap().iter().map(|issuer| issuer.slot_bits).collect::<Vec<_>>(), [1, 0]);
    again.publish_packs(issuer, 1, &[pack(SHA1, 1, 4)]).unwrap();
}

pub(in crate::registry) fn c2_crl_numbers_strictly_increase(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    for number in 1..=3 {
        assert_eq!(registry.next_crl_number(issuer, CrlScope::Full).unwrap(), number);
        let before = registry.last_change().unwrap();
        for wrong in [0, number - 1, number + 1] {
            let result = registry.publish_crls(issuer, &[crl(CrlScope::Full, wrong)], KEEP_ALL);
            assert!(matches!(result, Err(RegistryError::Stale { found, .. }) if found == number - 1), "{wrong} for {number}: {result:?}");
        }
        assert_eq!(registry.last_change().unwrap(), before);
        registry.publish_crls(issuer, &[crl(CrlScope::Full, number)], KEEP_ALL).unwrap();
    }
    drop(registry);
    let again = store.open();
    assert_eq!(again.next_crl_number(issuer, CrlScope::Full).unwrap(), 4);
    assert_eq!(again.latest_crls(issuer).unwrap(), [crl(CrlScope::Full, 3)]);
    assert_eq!(again.next_crl_number(issuer, CrlScope::Partition(0)).unwrap(), 1, "each scope counts for itself");
}

pub(in crate::registry) fn c2_racing_publishers_never_share_a_crl_number(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let connections = [store.open(), store.open()];
    let publish = |connection: &dyn Registry| -> Vec<u64> {
        let attempt = |_| {
            let number = connection.next_crl_number(issuer, CrlScope::Full).unwrap();
            match connection.publish_crls(issuer, &[crl(CrlScope::Full, number)], KEEP_ALL) {
                Ok(()) => Some(number),
                Err(RegistryError::Stale { .. }) => None,
                Err(other) => panic!("{other}"),
            }
        };
        (0..25).filter_map(attempt).collect()
    };
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| &*connections[n % 2]).map(|c| scope.spawn(move || publish(c))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(registry.latest_crls(issuer).unwrap(), [crl(CrlScope::Full, numbers.len() as u64)]);
}

pub(in crate::registry) fn c2_a_raised_number_is_never_lowered(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    registry.publish_crls(issuer, &[crl(CrlScope::Full, 1)], KEEP_ALL).unwrap();
    let raise = |registry: &dyn Registry, number| registry.take_over(&new_issuer("ca"), number, &mut std::iter::empty(), time(0));
    raise(&*registry, 41).unwrap();
    raise(&*registry, 7).unwrap();
    drop(registry);
    let again = store.open();
    for scope in [CrlScope::Full, CrlScope::Partition(0)] {
        assert_eq!(again.next_crl_number(issuer, scope).unwrap(), 42, "for every scope of the issuer");
        assert!(matches!(again.publish_crls(issuer, &[crl(scope, 2)], KEEP_ALL), Err(RegistryError::Stale { .. })));
        again.publish_crls(issuer, &[crl(scope, 42)], KEEP_ALL).unwrap();
        assert_eq!(again.next_crl_number(issuer, scope).unwrap(), 43);
    }
    assert_eq!(again.next_crl_number(other, CrlScope::Full).unwrap(), 1);
    for beyond in [i64::MAX as u64, u64::MAX] {
        assert!(matches!(raise(&*again, beyond), Err(RegistryError::OutOfRange { .. })), "{beyond}");
    }
    assert!(matches!(again.publish_crls(issuer, &[crl(CrlScope::Full, u64::MAX)], KEEP_ALL), Err(RegistryError::OutOfRange { .. })));
    assert_eq!(again.next_crl_number(issuer, CrlScope::Full).unwrap(), 43);
}

pub(in crate::registry) fn the_newest_crl_of_each_scope_is_the_latest(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    assert_eq!(registry.latest_crls(issuer).unwrap(), []);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    let scopes = [CrlScope::Full, CrlScope::Partition(0), CrlScope::Partition(1), CrlScope::Partition(7), CrlScope::Authorities];
    for (n, scope) in scopes.into_iter().enumerate() {
        (1..=n as u64 + 1).for_each(|number| registry.publish_crls(issuer, &[crl(scope, number)], KEEP_ALL).unwrap());
    }
    registry.publish_crls(other, &[crl(CrlScope::Partition(9), 1)], KEEP_ALL).unwrap();
    for (number, scope) in (1..).zip(scopes) {
        assert_eq!(registry.latest_crl(issuer, scope).unwrap(), Some(crl(scope, number)));
    }
    assert_eq!(registry.latest_crl(issuer, CrlScope::Partition(9)).unwrap(), None);
    let mut latest = registry.latest_crls(issuer).unwrap();
    latest.sort_by_key(|crl| crl.head.scope);
    let mut heads = registry.crl_heads(issuer).unwrap();
    heads.sort_by_key(|head| head.scope);
    assert_eq!(heads, latest.iter().map(|crl| crl.head.clone()).collect::<Vec<_>>());
    assert_eq!(latest, (1..).zip(scopes).map(|(number, scope)| crl(scope, number)).collect::<Vec<_>>());
    let mut heads = Vec::new();
    registry.visit_crls(issuer, &mut |head| heads.push((head.scope, head.number))).unwrap();
    let all = (1..).zip(scopes).flat_map(|(newest, scope)| (1..=newest).map(move |number| (scope, number)));
    assert!(
        heads.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1),
        "scope by scope, in the order of numbers: {heads:?}"
    );
    heads.sort_unstable();
    assert_eq!(heads, all.collect::<Vec<_>>(), "and every CRL that is kept is known");
}

pub(in crate::registry) fn c5_a_superseded_crl_is_found_by_its_number_until_it_is_forgotten(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let other = registry.register_issuer(&new_issuer("other")).unwrap();
    for scope in [CrlScope::Full, CrlScope::Partition(2)] {
        (1..=6).for_each(|number| registry.publish_crls(issuer, &[crl(scope, number)], KEEP_ALL).unwrap());
    }
    registry.publish_crls(issuer, &[crl(CrlScope::FullDelta, 7)], KEEP_ALL).unwrap();
    let numbered = |scope, number| registry.crl(issuer, scope, number).unwrap();
    for (scope, number) in [(CrlScope::Full, 2), (CrlScope::Partition(2), 6), (CrlScope::FullDelta, 7)] {
        assert_eq!(numbered(scope, number), Some(crl(scope, number)));
    }
    for (scope, number) in [(CrlScope::Full, 7), (CrlScope::FullDelta, 6), (CrlScope::Partition(3), 1), (CrlScope::Full, i64::MAX as u64)] {
        assert_eq!(numbered(scope, number), None, "{scope} {number}");
    }
    assert_eq!(registry.crl(other, CrlScope::Full, 2).unwrap(), None);
    registry.publish_crls(issuer, &[crl(CrlScope::Full, 8)], 0).unwrap();
    assert_eq!((numbered(CrlScope::Full, 2), numbered(CrlScope::Full, 3)), (None, Some(crl(CrlScope::Full, 3))), "3 was scheduled");
}

pub(in crate::registry) fn c2_a_complete_crl_and_its_delta_share_one_sequence(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    for (complete, delta) in [(CrlScope::Full, CrlScope::FullDelta), (CrlScope::Partition(3), CrlScope::PartitionDelta(3))] {
        registry.publish_crls(issuer, &[crl(complete, 1), crl(delta, 1)], KEEP_ALL).unwrap();
        assert_eq!([complete, delta].map(|scope| registry.next_crl_number(issuer, scope).unwrap()), [2, 2]);
        registry.publish_crls(issuer, &[crl(delta, 2)], KEEP_ALL).unwrap();
        for scope in [complete, delta] {
            let reused = registry.publish_crls(issuer, &[crl(scope, 2)], KEEP_ALL);
            assert!(matches!(reused, Err(RegistryError::Stale { found: 2, .. })), "{reused:?}");
        }
        registry.publish_crls(issuer, &[crl(complete, 3)], KEEP_ALL).unwrap();
        assert_eq!([complete, delta].map(|scope| registry.latest_crl(issuer, scope).unwrap().unwrap().head.number), [3, 2]);
    }
    assert_eq!(registry.next_crl_number(issuer, CrlScope::PartitionDelta(4)).unwrap(), 1, "a partition counts for itself");
    let before = registry.last_change().unwrap();
    let later = |record: CrlRecord| CrlRecord { head: CrlHead { this_update: time(99), ..record.head }, der: record.der };
    let pairs = [
        [crl(CrlScope::Full, 4), crl(CrlScope::FullDelta, 5)],
        [crl(CrlScope::Full, 4), later(crl(CrlScope::FullDelta, 4))],
        [crl(CrlScope::Full, 4), crl(CrlScope::Full, 4)],
        [crl(CrlScope::Full, 4), crl(CrlScope::PartitionDelta(3), 4)],
    ];
    for pair in pairs {
        let refused = registry.publish_crls(issuer, &pair, KEEP_ALL);
        assert!(matches!(refused, Err(RegistryError::OutOfRange { .. })), "{refused:?}");
    }
    registry.publish_crls(issuer, &[], KEEP_ALL).unwrap();
    assert_eq!((registry.last_change().unwrap(), registry.next_crl_number(issuer, CrlScope::Full).unwrap()), (before, 4));
}

pub(in crate::registry) fn c2_pruning_crls_keeps_what_is_needed_and_gives_no_number_again(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    // Odd ones are scheduled.
    (1..=9).for_each(|number| registry.publish_crls(issuer, &[crl(CrlScope::Full, number)], KEEP_ALL).unwrap());
    registry.publish_crls(issuer, &[crl(CrlScope::Partition(0), 1)], KEEP_ALL).unwrap();
    let numbers = |scheduled_only| {
        let heads = registry.newest_crl_heads(issuer, CrlScope::Full, scheduled_only, usize::MAX).unwrap();
        heads.into_iter().map(|head| head.number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(false), numbers(true)), ((1..=9).rev().collect(), vec![9, 7, 5, 3, 1]));
    assert_eq!(registry.newest_crl_heads(issuer, CrlScope::Full, true, 2).unwrap()[1], crl(CrlScope::Full, 7).head);
    let after = |number, superseded| {
        registry.publish_crls(issuer, &[crl(CrlScope::Full, number)], superseded).unwrap();
        numbers(false)
    };
    assert_eq!(after(10, 9), (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(after(11, 4), [11, 10, 9, 8, 7]);
    assert_eq!(after(12, 0), [12, 11, 9], "the newest, and the last two that were scheduled");
    assert_eq!(after(13, 0), [13, 11]);
    drop(registry);
    let again = store.open();
    assert_eq!(again.next_crl_number(issuer, CrlScope::Full).unwrap(), 14);
    assert_eq!(again.latest_crl(issuer, CrlScope::Full).unwrap(), Some(crl(CrlScope::Full, 13)));
    assert_eq!(
        again.latest_crl(issuer, CrlScope::Partition(0)).unwrap(),
        Some(crl(CrlScope::Partition(0), 1)),
        "another scope's is its own"
    );
}

pub(in crate::registry) fn a_great_crl_is_kept_whole(store: &dyn Store) {
    let (registry, issuer) = with_issuer(store);
    let der: Vec<u8> = (0..20_000_001_u32).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect();
    let great = CrlRecord { der: der.into(), ..crl(CrlScope::Full, 1) };
    registry.publish_crls(issuer, std::slice::from_ref(&great), KEEP_ALL).unwrap();
    drop(registry);
    let again = store.open();
    assert!(again.latest_crl(issuer, CrlScope::Full).unwrap() == Some(great));
    registry_still_takes(&*again, issuer);
}

fn registry_still_takes(registry: &dyn Registry, issuer: IssuerId) {
    add(registry, issuer, &[good(1)], OnConflict::Refuse).unwrap();
    registry.publish_crls(issuer, &[crl(CrlScope::Full, 2)], 0).unwrap();
    assert_eq!(registry.newest_crl_heads(issuer, CrlScope::Full, false, 9).unwrap().len(), 2, "the great one was scheduled");
}
