//! CRLs of every scope, through virtual time.

use super::*;
use crate::pki::crl_reader::CrlReader;
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::registry::{CrlHead, RegistryError};

const DELTA: Timing = Timing { validity: DAY, refresh: HOUR };
const ONE_SECOND: Duration = Duration::from_secs(1);

impl Bench {
    fn with(crl_extras: CrlExtras, crl_policy: CrlPolicy) -> Bench {
        let mut bench = Bench { crl_extras, crl_policy, ..Bench::new(0) };
        bench.crl_policy.delta = DELTA;
        bench.register(&[HashAlgorithm::Sha256]);
        bench
    }

    fn crl_worker(&self) -> Worker {
        self.worker_of(IssuerSigning { responder: None, ..self.signing() })
    }

    fn head(&self, scope: CrlScope) -> CrlHead {
        self.registry.latest_crl(self.issuer().id, scope).unwrap().unwrap_or_else(|| panic!("no CRL ({scope})")).head
    }

    /// The serial numbers on the newest CRL of a scope, and its number and that of its base.
    pub(super) fn listed(&self, scope: CrlScope) -> Vec<u64> {
        let der = self.registry.latest_crl(self.issuer().id, scope).unwrap().unwrap().der;
        let crl = CrlReader::from_der(&der).unwrap();
        let number = |content: &[u8]| content.iter().fold(0, |n, octet| n << 8 | u64::from(*octet)) - 1_000_000;
        let mut listed: Vec<_> = crl.entries().map(|entry| number(entry.unwrap().serial)).collect();
        listed.sort_unstable();
        listed
    }

    fn base(&self, delta: CrlScope) -> u64 {
        let der = self.registry.latest_crl(self.issuer().id, delta).unwrap().unwrap().der;
        let crl = CrlReader::from_der(&der).unwrap();
        let indicator = crl.extension(&[0x55, 0x1d, 0x1b]).expect("C5: a delta has a deltaCRLIndicator");
        indicator.value[2..].iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
    }

    pub(super) fn add_ca(&self, n: u64) {
        let record = CertificateRecord {
            serial: serial(n),
            not_before: Some(self.start),
            not_after: self.start.saturating_add(90 * DAY),
            is_ca: true,
            partition: None,
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        self.registry.add_certificates(self.issuer().id, &mut std::iter::once(Ok(record)), OnConflict::Refuse, self.start).unwrap();
    }
}

const DELTAS: CrlExtras = CrlExtras { arl: false, arl_alone: false, full_delta: true, partition_deltas: true };

/// C6: an entry stays until it has stood on a scheduled CRL issued after the certificate's expiry, however many urgent ones there are.
#[test]
fn c6_an_expired_entry_leaves_after_one_more_scheduled_crl() {
    let bench = Bench::new(0);
    bench.add(0..100);
    bench.revoke(0, bench.start);
    let (mut worker, scope) = (bench.crl_worker(), CrlScope::Full);
    let expiry = bench.start.saturating_add(90 * DAY);
    pass(&mut worker, expiry.saturating_sub(HOUR));
    let next = bench.head(scope).refresh_at;
    assert!(next > expiry.saturating_add(HOUR));
    // Urgent ones, before the next is due.
    for n in 1..4 {
        let now = expiry.saturating_add(HOUR).saturating_add(Duration::from_secs(n));
        bench.revoke(2 * n, now);
        pass(&mut worker, now);
        assert!(!bench.head(scope).scheduled && bench.listed(scope).contains(&0), "an urgent CRL is not the one that it must stand on");
    }
    pass(&mut worker, next);
    assert!(bench.head(scope).scheduled);
    assert_eq!(bench.listed(scope), [0, 2, 4, 6], "the scheduled one");
    let later = next.saturating_add(HOUR);
    bench.add(200..201);
    bench.revoke(200, later);
    pass(&mut worker, later);
    assert!(!bench.head(scope).scheduled);
    assert_eq!(bench.listed(scope), [200], "and now they may leave; what was revoked after its expiry comes");
    pass(&mut worker, bench.head(scope).refresh_at);
    assert_eq!(bench.listed(scope), [200], "until it has stood on a scheduled one too");
    pass(&mut worker, bench.head(scope).refresh_at);
    assert!(bench.listed(scope).is_empty());
}

#[test]
fn c6_entries_are_kept_for_years_or_for_ever() {
    for (expired, kept) in [(ExpiredEntries::For(3650 * DAY), 3650), (ExpiredEntries::ForEver, 7000), (ExpiredEntries::UntilListed, 0)] {
        let bench = Bench::with(CrlExtras::default(), CrlPolicy { expired, ..CrlPolicy::new(CRL) });
        bench.add(0..2);
        bench.revoke(0, bench.start);
        let mut worker = bench.crl_worker();
        let expiry = bench.start.saturating_add(90 * DAY);
        for days in [0, 2, 1000, 3649, 3653, 7000] {
            pass(&mut worker, expiry.saturating_add(DAY * days));
            pass(&mut worker, expiry.saturating_add(DAY * (days + 1)));
            let is_listed = bench.listed(CrlScope::Full) == [0];
            assert_eq!(is_listed, days <= kept, "{expired:?}: {days} days after expiry");
        }
        let der = bench.registry.latest_crl(bench.issuer().id, CrlScope::Full).unwrap().unwrap().der;
        let found = CrlReader::from_der(&der).unwrap().extension(&[0x55, 0x1d, 0x3c]).map(|e| (e.critical, e.value.to_vec()));
        let since = [&[0x18, 15][..], &bench.ca.certificate().not_before.generalized()].concat();
        assert_eq!(found, (expired == ExpiredEntries::ForEver).then_some((false, since)), "expiredCertsOnCRL");
    }
}

#[test]
fn c4_s4_2_s5_3_ca_certificates_stand_on_an_arl_that_is_alone_and_on_nothing_else() {
    let jpki = Timing { validity: 72 * HOUR, refresh: 24 * HOUR };
    let bench = Bench::with(CrlExtras { arl: true, arl_alone: true, ..CrlExtras::default() }, CrlPolicy::new(jpki));
    bench.add(0..10);
    bench.add_ca(50);
    bench.add_ca(51);
    let mut worker = bench.crl_worker();
    assert_eq!(pass(&mut worker, bench.start).crls, 4);
    let now = bench.start.saturating_add(HOUR);
    bench.revoke(50, now);
    assert_eq!(pass(&mut worker, now).crls, 1, "the ARL, at once");
    bench.revoke(3, now);
    assert_eq!(pass(&mut worker, now).crls, 2, "the full CRL and the partition's");
    let [full, partition, arl] = [CrlScope::Full, CrlScope::Partition(1), CrlScope::Authorities].map(|scope| bench.listed(scope));
    assert_eq!((full, partition, arl), (vec![3], vec![3], vec![50]));
    let point = |path: &str, contents| Some(IssuingDistributionPoint { uri: format!("http://va.example{path}"), contents });
    assert_eq!(bench.head(CrlScope::Authorities).distribution_point, point("/crl/ca/arl.crl", Contents::CaCertificates));
    assert_eq!(bench.head(CrlScope::Full).distribution_point, point("/crl/ca.crl", Contents::UserCertificates));
    for hours in 1..200 {
        let now = now.saturating_add(HOUR * hours);
        pass(&mut worker, now);
        let heads = bench.registry.crl_heads(bench.issuer().id).unwrap();
        assert!(heads.iter().all(|head| now.since(head.this_update) <= 24 * HOUR && head.next_update.since(head.this_update) < 72 * HOUR));
    }
}

#[test]
fn c4_certificates_that_name_the_full_crl_stay_on_it_when_an_arl_is_switched_on() {
    let mut bench = Bench::new(0);
    bench.add(0..4);
    (50..52).for_each(|n| bench.add_ca(n));
    bench.revoke(50, bench.start);
    pass(&mut bench.crl_worker(), bench.start);
    assert_eq!(bench.listed(CrlScope::Full), [50]);
    bench.crl_extras.arl = true;
    bench.register(&[HashAlgorithm::Sha256]);
    let now = bench.start.saturating_add(HOUR);
    assert_eq!(pass(&mut bench.crl_worker(), now).crls, 1, "the full CRL is as it was");
    assert_eq!((bench.listed(CrlScope::Full), bench.listed(CrlScope::Authorities)), (vec![50], vec![50]));
    assert_eq!(bench.head(CrlScope::Full).distribution_point, None, "it covers certificates whose distribution point is elsewhere");
    let mut worker = bench.crl_worker();
    bench.revoke(51, now.saturating_add(ONE_SECOND));
    assert_eq!(pass(&mut worker, now.saturating_add(ONE_SECOND)).crls, 2);
    assert_eq!((bench.listed(CrlScope::Full), bench.listed(CrlScope::Authorities)), (vec![50, 51], vec![50, 51]));
}

#[test]
fn c4_an_arl_alone_takes_the_ca_certificates_from_the_full_crl_at_once() {
    let mut bench = Bench::with(CrlExtras { arl: true, ..CrlExtras::default() }, CrlPolicy::new(CRL));
    bench.add_ca(50);
    bench.revoke(50, bench.start);
    pass(&mut bench.crl_worker(), bench.start);
    bench.crl_extras.arl_alone = true;
    bench.register(&[HashAlgorithm::Sha256]);
    let now = bench.start.saturating_add(HOUR);
    assert_eq!(pass(&mut bench.crl_worker(), now).crls, 1);
    assert_eq!((bench.listed(CrlScope::Full), bench.listed(CrlScope::Authorities)), (vec![], vec![50]));
    assert_eq!(pass(&mut bench.crl_worker(), now), PassReport::default(), "once");
}

#[test]
fn c4_c9_an_arl_that_was_switched_off_comes_back_with_every_revocation() {
    let mut bench = Bench::with(CrlExtras { arl: true, arl_alone: true, ..CrlExtras::default() }, CrlPolicy::new(CRL));
    [50, 51].iter().for_each(|n| bench.add_ca(*n));
    bench.revoke(50, bench.start);
    pass(&mut bench.crl_worker(), bench.start);
    for (arl, minutes) in [(false, 1), (true, 2)] {
        bench.crl_extras.arl = arl;
        bench.register(&[HashAlgorithm::Sha256]);
        let now = bench.start.saturating_add(ONE_SECOND * 60 * minutes);
        if !arl {
            bench.revoke(51, now);
        }
        pass(&mut bench.crl_worker(), now);
    }
    assert_eq!((bench.listed(CrlScope::Full), bench.listed(CrlScope::Authorities)), (vec![], vec![50, 51]));
}

#[test]
fn c2_c5_deltas_follow_their_bases_with_one_sequence_of_numbers() {
    let bench = Bench::with(DELTAS, CrlPolicy { at_once_below: 3, ..CrlPolicy::new(CRL) });
    bench.add(0..50);
    [0, 2, 4].iter().for_each(|n| bench.revoke(*n, bench.start));
    let mut worker = bench.crl_worker();
    assert_eq!(pass(&mut worker, bench.start).crls, 6, "three complete ones and their deltas");
    let full = bench.head(CrlScope::Full);
    assert_eq!((full.number, bench.head(CrlScope::FullDelta).number, bench.base(CrlScope::FullDelta)), (1, 1, 1));
    assert!(full.has_delta && full.scheduled);
    assert!(bench.listed(CrlScope::FullDelta).is_empty());

    // The full CRL and partition 0 are great now: a revocation is on their deltas, at once.
    let now = bench.start.saturating_add(ONE_SECOND);
    bench.revoke(6, now);
    assert_eq!(pass(&mut worker, now).crls, 2);
    for (complete, delta) in [(CrlScope::Full, CrlScope::FullDelta), (CrlScope::Partition(0), CrlScope::PartitionDelta(0))] {
        assert_eq!((bench.head(complete).number, bench.head(delta).number, bench.base(delta)), (1, 2, 1));
        assert_eq!(bench.listed(delta), [6]);
    }
    // A small partition is issued together with its delta, under the same number.
    let now = now.saturating_add(ONE_SECOND);
    bench.revoke(1, now);
    pass(&mut worker, now);
    let (complete, delta) = (bench.head(CrlScope::Partition(1)), bench.head(CrlScope::PartitionDelta(1)));
    assert_eq!((complete.number, delta.number, complete.this_update, complete.reflects), (2, 2, delta.this_update, delta.reflects));
    assert_eq!((bench.listed(CrlScope::Partition(1)), bench.listed(CrlScope::PartitionDelta(1))), (vec![1], vec![1]));
    assert_eq!(bench.listed(CrlScope::FullDelta), [1, 6]);
}

/// C5: whoever has fetched the last scheduled CRL or the one before gets from it and the delta what the newest complete CRL would say.
#[test]
fn c5_base_and_delta_together_say_what_the_complete_crl_says() {
    let bench = Bench::with(CrlExtras { full_delta: true, ..CrlExtras::default() }, CrlPolicy { at_once_below: 0, ..CrlPolicy::new(CRL) });
    bench.add(0..300);
    let (mut worker, mut now, mut revoked) = (bench.crl_worker(), bench.start, Vec::new());
    let mut bases: Vec<(CrlHead, Vec<u64>)> = Vec::new();
    for n in 0..120 {
        if n % 3 != 1 {
            bench.revoke(n, now);
            revoked.push(n);
        }
        pass(&mut worker, now);
        let full = bench.head(CrlScope::Full);
        if bases.last().is_none_or(|(head, _)| head.number != full.number) {
            bases.push((full, bench.listed(CrlScope::Full)));
        }
        let (delta, base) = (bench.head(CrlScope::FullDelta), bench.base(CrlScope::FullDelta));
        assert!(now.since(delta.this_update) <= HOUR && delta.number >= bases.last().unwrap().0.number);
        for (head, listed) in bases.iter().rev().take(2).filter(|(head, _)| head.number >= base && head.number < delta.number) {
            let mut both = [&listed[..], &bench.listed(CrlScope::FullDelta)].concat();
            both.sort_unstable();
            both.dedup();
            assert_eq!(both, revoked, "base {} and delta {} at {now}", head.number, delta.number);
        }
        now = now.saturating_add(Duration::from_secs(47 * 60));
    }
    assert!(bases.len() >= 4, "several bases: {}", bases.len());
    let usable = bases.iter().rev().take(2).all(|(head, _)| head.number >= bench.base(CrlScope::FullDelta));
    assert!(usable, "the last two scheduled CRLs can be used with the delta");
}

#[test]
fn c5_a_delta_that_is_switched_on_has_a_base_that_names_it() {
    let mut bench = Bench::new(0);
    bench.add(0..4);
    pass(&mut bench.crl_worker(), bench.start);
    assert!(!bench.head(CrlScope::Full).has_delta);
    bench.crl_extras.full_delta = true;
    bench.crl_policy.delta = DELTA;
    bench.register(&[HashAlgorithm::Sha256]);
    let now = bench.start.saturating_add(HOUR);
    assert_eq!(pass(&mut bench.crl_worker(), now).crls, 2);
    assert!(bench.head(CrlScope::Full).has_delta);
    assert_eq!((bench.head(CrlScope::FullDelta).number, bench.base(CrlScope::FullDelta)), (2, 2), "C5: not the one without freshestCRL");
    // A delta of the same second as a complete CRL would need its number: they are issued together again.
    bench.revoke(1, now);
    pass(&mut bench.crl_worker(), now);
    assert_eq!((bench.head(CrlScope::Full).number, bench.head(CrlScope::FullDelta).number), (3, 3));
}

#[test]
fn t5_great_crls_gather_revocations_and_none_waits_for_long() {
    let policy = CrlPolicy { at_once_below: 2, coalesce: 2 * HOUR, ..CrlPolicy::new(CRL) };
    let bench = Bench::with(CrlExtras::default(), policy);
    bench.add(0..200);
    [0, 2].iter().for_each(|n| bench.revoke(*n, bench.start));
    let mut worker = bench.crl_worker();
    pass(&mut worker, bench.start);
    let mut issued = 0;
    for minute in 1..=24 * 60 {
        let now = bench.start.saturating_add(Duration::from_secs(60) * minute);
        if minute % 20 == 0 {
            bench.revoke(u64::from(minute / 10 + 2), now);
        }
        let before = bench.head(CrlScope::Full).number;
        pass(&mut worker, now);
        issued += bench.head(CrlScope::Full).number - before;
        let waiting = bench.registry.last_change().unwrap() > bench.head(CrlScope::Full).reflects + 2;
        assert!(!waiting || now.since(bench.head(CrlScope::Full).this_update) < policy.coalesce, "at {now}");
    }
    assert!((11..=14).contains(&issued), "72 revocations, {issued} CRLs");
}

#[test]
fn s5_2_t6_a_closed_ca_issues_one_last_crl_that_never_ends() {
    let mut bench = Bench::new(0);
    bench.add(0..4);
    bench.revoke(1, bench.start);
    pass(&mut bench.crl_worker(), bench.start);
    bench.crl_policy.last_crl = true;
    bench.set_mode(IssuerMode::Closed);
    let now = bench.start.saturating_add(HOUR);
    assert_eq!(pass(&mut bench.crl_worker(), now).crls, 3);
    assert_eq!(bench.head(CrlScope::Full).next_update, Timestamp::MAX);
    let der = bench.registry.latest_crl(bench.issuer().id, CrlScope::Full).unwrap().unwrap().der;
    assert!(der.windows(17).any(|w| w == b"\x18\x0f99991231235959Z"));
    for years in 1..30 {
        assert_eq!(pass(&mut bench.crl_worker(), now.saturating_add(365 * DAY * years)), PassReport::default(), "nothing follows it");
    }
    bench.revoke(2, now);
    assert_eq!(pass(&mut bench.crl_worker(), now.saturating_add(HOUR)).crls, 2, "but for a revocation");
    assert_eq!(bench.listed(CrlScope::Full), [1, 2]);
}

/// A worker that runs is told of the end by the registry alone. Virtual time goes on long enough for every CRL to be due again and again.
#[test]
fn s5_2_t6_a_running_worker_signs_the_last_crls_of_a_ca_that_is_closed_and_nothing_after_them() {
    for last_crl in [true, false] {
        let mut bench = Bench::with(DELTAS, CrlPolicy { last_crl, ..CrlPolicy::new(CRL) });
        bench.add(0..4);
        bench.revoke(1, bench.start);
        let mut running = bench.worker();
        pass(&mut running, bench.start);
        let published = bench.registry.crl_heads(bench.issuer().id).unwrap();
        bench.set_mode(IssuerMode::Closed);
        let crls: u64 = (1..40).map(|days| pass(&mut running, bench.start.saturating_add(DAY * days)).crls).sum();
        let heads = bench.registry.crl_heads(bench.issuer().id).unwrap();
        assert_eq!((heads.len(), crls), (6, if last_crl { 6 } else { 0 }));
        if last_crl {
            assert!(heads.iter().all(|head| head.next_update == Timestamp::MAX), "{heads:?}");
        } else {
            assert_eq!(heads, published);
        }
        // What a configuration has closed it may open again.
        bench.set_mode(IssuerMode::Open);
        bench.crl_policy.last_crl = false;
        let later = bench.start.saturating_add(41 * DAY);
        pass(&mut running, later);
        assert!(
            bench.registry.crl_heads(bench.issuer().id).unwrap().iter().all(|head| (later..Timestamp::MAX).contains(&head.next_update))
        );
    }
}

/// Whoever has read the issuer before it was closed, and is past the change that tells of it, asks the registry before he signs.
#[test]
fn s5_2_t6_no_crl_takes_the_place_of_the_last_whatever_its_signer_knows_of_the_mode() {
    let mut bench = Bench::new(0);
    bench.crl_policy.last_crl = true;
    bench.add(0..4);
    bench.revoke(1, bench.start);
    pass(&mut bench.crl_worker(), bench.start);
    let open = IssuerSigning { responder: None, ..bench.signing() };
    let mut began_before = bench.worker_of(open.clone());
    bench.set_mode(IssuerMode::Closed);
    let mut now = bench.start.saturating_add(HOUR);
    let closing = pass(&mut bench.crl_worker(), now);
    let last = bench.registry.crl_heads(bench.issuer().id).unwrap();
    assert_eq!((closing.crls, last.iter().all(|head| head.next_update == Timestamp::MAX)), (3, true), "{last:?}");
    bench.registry.set_watermark("signing/ca/crl", bench.registry.last_change().unwrap()).unwrap();
    let refused = crl::issue(bench.registry.as_ref(), &open, bench.ca_key.as_ref(), CrlScope::Full, now).err();
    assert!(matches!(refused, Some(SigningError::IssuerChanged(_))), "{refused:?}");
    for mut worker in [bench.worker_of(open.clone()), bench.worker_of(open)] {
        now = now.saturating_add(2 * DAY);
        for worker in [&mut began_before, &mut worker] {
            assert_eq!(pass(worker, now).crls, 0);
        }
    }
    assert_eq!(bench.registry.crl_heads(bench.issuer().id).unwrap(), last);
}

#[test]
fn c1_the_turn_to_2050_changes_the_form_of_times() {
    let bench = Bench::new(0);
    bench.add(0..2);
    let last = Timestamp::GENERALIZED_FROM.saturating_sub(ONE_SECOND);
    let not_after = Timestamp::GENERALIZED_FROM.saturating_add(365 * DAY);
    let record = |n, at| CertificateRecord {
        serial: serial(n),
        not_before: None,
        not_after,
        is_ca: false,
        partition: None,
        status: CertificateStatus::Revoked(Revocation { at, reason: None }),
        invalidity_date: None,
    };
    let records = [record(10, last), record(11, Timestamp::GENERALIZED_FROM)];
    bench.registry.add_certificates(bench.issuer().id, &mut records.into_iter().map(Ok), OnConflict::Refuse, last).unwrap();
    pass(&mut bench.crl_worker(), last);
    let der = bench.registry.latest_crl(bench.issuer().id, CrlScope::Full).unwrap().unwrap().der;
    let crl = CrlReader::from_der(&der).unwrap();
    assert_eq!((crl.this_update, crl.next_update), (last, Some(last.saturating_add(CRL.validity).saturating_sub(ONE_SECOND))));
    let times: Vec<_> = crl.entries().map(|entry| entry.unwrap().at).collect();
    assert_eq!(times, [last, Timestamp::GENERALIZED_FROM]);
    let count = |form: &[u8]| der.windows(form.len()).filter(|w| *w == form).count();
    assert_eq!((count(b"\x17\x0d491231235959Z"), count(b"\x18\x0f20500101000000Z")), (2, 1), "thisUpdate and the first entry; the second");
}

#[test]
fn c2_superseded_crls_are_forgotten_and_numbers_go_on() {
    let bench = Bench::with(CrlExtras::default(), CrlPolicy { superseded: 3, ..CrlPolicy::new(CRL) });
    bench.add(0..400);
    let mut worker = bench.crl_worker();
    for n in 0..100 {
        let now = bench.start.saturating_add(HOUR * n as u32);
        bench.revoke(2 * n, now);
        pass(&mut worker, now);
    }
    let kept = bench.registry.newest_crl_heads(bench.issuer().id, CrlScope::Full, false, usize::MAX).unwrap();
    assert!((4..=6).contains(&kept.len()), "{kept:?}");
    assert!(kept[0].number >= 100 && kept.windows(2).all(|pair| pair[0].number > pair[1].number));
    assert_eq!(bench.listed(CrlScope::Full).len(), 100);
}

#[test]
fn a_lane_that_has_nothing_to_do_follows_the_feed_once_an_hour() {
    let bench = Bench::new(0);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    let other = NewIssuer { name: "other".into(), certificate: b"another certificate".to_vec(), ..bench.new_issuer() };
    bench.registry.register_issuer(&other).unwrap();
    let (last, watermarks) = (bench.registry.last_change().unwrap(), || bench.registry.watermarks().unwrap());
    pass(&mut worker, bench.start);
    assert!(watermarks().iter().all(|(_, sequence)| *sequence < last), "nothing that concerns it has come");
    pass(&mut worker, bench.start.saturating_add(HOUR));
    assert!(watermarks().iter().all(|(_, sequence)| *sequence >= last), "the feed may be forgotten up to there: {:?}", watermarks());
}

#[test]
fn c9_the_feed_is_pruned_behind_everybody_and_nothing_is_missed() {
    let bench = Bench::new(0);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    let lanes = bench.registry.watermarks().unwrap();
    assert_eq!(lanes.len(), 3, "{lanes:?}");
    let last = bench.registry.last_change().unwrap();
    assert!(lanes.iter().all(|(_, sequence)| *sequence <= last));
    // As if the feed had grown long: nothing is left of it.
    bench.revoke(1, bench.start);
    bench.registry.prune_changes(bench.registry.last_change().unwrap()).unwrap();
    assert!(matches!(bench.registry.changes_after(0, 9), Err(RegistryError::FeedPruned { .. })));
    let now = bench.start.saturating_add(HOUR);
    pass(&mut worker, now);
    for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
        assert!(matches!(bench.published_status(algorithm, 1), Some(CertificateStatus::Revoked(_))));
    }
    assert_eq!(bench.listed(CrlScope::Full), [1]);
    assert_eq!(pass(&mut bench.worker(), now), PassReport::default(), "and a restart finds nothing to do");
}

#[test]
fn c9_a_change_that_cannot_be_read_may_have_been_anything_and_holds_up_nothing() {
    let bench = Bench::new(0);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    for (n, spoilt) in [(1, "kind = 99"), (2, "payload = x'00'")] {
        bench.revoke(n, bench.start);
        bench.sql().execute(&format!("UPDATE change SET {spoilt} WHERE sequence = (SELECT max(sequence) FROM change)"), []).unwrap();
        bench.revoke(n + 4, bench.start);
        pass(&mut worker, bench.start.saturating_add(HOUR * n as u32));
        for hash in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            assert!([n, n + 4].iter().all(|n| matches!(bench.published_status(hash, *n), Some(CertificateStatus::Revoked(_)))));
        }
        assert_eq!(bench.listed(CrlScope::Full).len() as u64, 2 * n);
    }
    let last = bench.registry.last_change().unwrap();
    assert_eq!(pass(&mut bench.worker(), bench.start.saturating_add(3 * HOUR)), PassReport::default());
    assert!(bench.registry.watermarks().unwrap().iter().all(|(_, sequence)| *sequence <= last));
}

/// A worker that has signed everything, and responses for one more CertID hash registered since.
fn with_a_hash_that_the_worker_does_not_know() -> (Bench, Worker) {
    let bench = Bench::new(0);
    bench.register(&[HashAlgorithm::Sha256]);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    bench.register(&[HashAlgorithm::Sha256, HashAlgorithm::Sha384]);
    (bench, worker)
}

#[test]
fn c9_what_the_pruned_feed_told_of_an_issuer_is_read_from_the_registry() {
    let (bench, mut worker) = with_a_hash_that_the_worker_does_not_know();
    bench.registry.prune_changes(bench.registry.last_change().unwrap()).unwrap();
    pass(&mut worker, bench.start);
    assert_eq!(bench.published_status(HashAlgorithm::Sha384, 1), Some(CertificateStatus::Good));
}

#[test]
fn c9_lanes_that_could_not_be_begun_again_are_begun_once_the_registry_can_be_read() {
    let (bench, mut worker) = with_a_hash_that_the_worker_does_not_know();
    bench.sql().execute_batch("ALTER TABLE response_pack RENAME TO hidden").unwrap();
    assert!(!worker.pass(&|| bench.start).failures.is_empty());
    bench.sql().execute_batch("ALTER TABLE hidden RENAME TO response_pack").unwrap();
    pass(&mut worker, bench.start.saturating_add(ONE_SECOND));
    assert_eq!(bench.published_status(HashAlgorithm::Sha384, 1), Some(CertificateStatus::Good));
}
