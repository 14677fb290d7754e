//! What each programme asks for, held through weeks of virtual time: every scope in time, every revocation where relying parties look, and all of it clean
//! before the gate and beside the registry.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::signing::gate::{Profile, Programme};
use crate::signing::verify::{self, IssuerToVerify, Options, Signatures};

const EXTRAS: CrlExtras = CrlExtras { arl: true, arl_alone: true, full_delta: true, partition_deltas: true };
const CAS: std::ops::Range<u64> = 1000..1010;

/// What an issuer is configured to do for its programmes, and how long that is looked at.
struct Programmed {
    programmes: &'static [Programme],
    policy: CrlPolicy,
    days: u32,
}

const fn days(validity: u32, refresh: u32) -> Timing {
    hours(24 * validity, 24 * refresh)
}

const fn hours(validity: u32, refresh: u32) -> Timing {
    Timing { validity: Duration::from_secs(validity as u64 * 3600), refresh: Duration::from_secs(refresh as u64 * 3600) }
}

/// Three entries are great.
fn policy(timing: Timing, delta: Timing) -> CrlPolicy {
    CrlPolicy { at_once_below: 3, coalesce: 2 * HOUR, delta, ..CrlPolicy::new(timing) }
}

fn hold(Programmed { programmes, policy, days }: Programmed) {
    let mut bench = Bench::new(365);
    (bench.crl_policy, bench.crl_extras) = (policy, EXTRAS);
    bench.register(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
    bench.add(0..200);
    CAS.for_each(|n| bench.add_ca(n));
    let profile = Profile::new(programmes.iter().copied());
    let mut worker = bench.worker_of(IssuerSigning { profile: profile.clone(), ..bench.signing() });
    let mut revoked: Vec<(u64, Timestamp)> = Vec::new();
    for hour in 0..days * 24 {
        let now = bench.start.saturating_add(HOUR * hour);
        if hour % 5 == 3 {
            let n = if hour % 100 == 3 { CAS.start + u64::from(hour / 100) } else { u64::from(hour * 7 % 200) };
            bench.revoke(n, now);
            revoked.push((n, now));
        }
        pass(&mut worker, now);
        assert_in_time(&bench, now);
        assert_told(&bench, &revoked, now);
        if hour % 24 == 5 {
            let base_url = "http://va.example".to_owned();
            let issuer = IssuerToVerify { issuer: bench.issuer(), profile: profile.clone(), crl_policy: policy, base_url };
            let options = Options { signatures: Signatures::Sample, threads: 1 };
            let report = verify::verify(bench.registry.as_ref(), vec![issuer], options, &|| now, &|| {}, &AtomicU64::new(0)).unwrap();
            assert_eq!((report.findings, report.crls, report.responses), (vec![], 7, 2 * 210), "{programmes:?}, at {now}");
        }
    }
}

/// T5, T6: each scope as often and for as long as it is configured, an hour's step aside.
fn assert_in_time(bench: &Bench, now: Timestamp) {
    let heads = bench.registry.crl_heads(bench.issuer().id).unwrap();
    assert_eq!(heads.len(), 7);
    for head in heads {
        let timing = bench.crl_policy.timing(head.scope);
        let (validity, age) = (head.next_update.since(head.this_update) + Duration::from_secs(1), now.since(head.this_update));
        assert_eq!(validity, timing.validity, "{} at {now}", head.scope);
        assert!(age < timing.refresh + HOUR && now < head.next_update, "{} is of {}, at {now}", head.scope, head.this_update);
    }
}

/// T5, S5.3: at once on a CRL or a delta that are not great, on a delta that is within the time that it gathers others, on the complete CRL within 24 hours.
fn assert_told(bench: &Bench, revoked: &[(u64, Timestamp)], now: Timestamp) {
    let listed = |scope: CrlScope| bench.listed(scope);
    let scopes = [CrlScope::Full, CrlScope::Partition(0), CrlScope::Partition(1), CrlScope::Authorities];
    let complete = scopes.map(listed);
    let deltas = [CrlScope::FullDelta, CrlScope::PartitionDelta(0), CrlScope::PartitionDelta(1)].map(listed);
    for (n, at) in revoked {
        let places: &[usize] = if CAS.contains(n) { &[3] } else { &[0, 1 + (n % 2) as usize] };
        for place in places {
            let on_complete = complete[*place].binary_search(n).is_ok();
            let tells = |delta: &Vec<u64>| delta.binary_search(n).is_ok() || delta.len() >= 3 && now.since(*at) < bench.crl_policy.coalesce;
            let waits = now.since(*at) < 24 * HOUR && deltas.get(*place).is_some_and(tells);
            assert!(on_complete || waits, "{n}, revoked at {at}, {:?}, at {now}", scopes[*place]);
        }
    }
}

#[test]
fn s5_3_t6_jpki_every_scope_every_24_hours_for_72() {
    hold(Programmed { programmes: &[Programme::Jpki], policy: policy(hours(72, 24), hours(72, 1)), days: 7 });
}

#[test]
fn t6_fpki_every_scope_every_18_hours_for_48() {
    hold(Programmed { programmes: &[Programme::Fpki], policy: policy(hours(48, 18), hours(48, 3)), days: 7 });
}

#[test]
fn t6_c6_code_signing_every_7_days_kept_for_10_years() {
    let expired = ExpiredEntries::For(3653 * DAY);
    hold(Programmed { programmes: &[Programme::CodeSigning], policy: CrlPolicy { expired, ..policy(days(10, 7), days(2, 1)) }, days: 16 });
}

#[test]
fn t6_c6_o14_etsi_qualified_every_24_hours_kept_for_ever() {
    let policy = CrlPolicy { expired: ExpiredEntries::ForEver, ..policy(days(7, 1), hours(24, 12)) };
    hold(Programmed { programmes: &[Programme::Etsi, Programme::EtsiQualified], policy, days: 7 });
}

/// The ARL may take its time where nothing is revoked (T5): it is issued anew within a year.
#[test]
fn t5_baseline_requirements_subscribers_every_4_days_for_10_and_the_arl_for_a_year() {
    let policy = CrlPolicy { arl: days(365, 300), ..policy(days(10, 4), days(2, 1)) };
    hold(Programmed { programmes: &[Programme::BaselineRequirements, Programme::Microsoft], policy, days: 14 });
}
