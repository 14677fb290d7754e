//! The registry's contract as tests: every back end runs the same ones.
//!
//! A back end implements [`Store`] and invokes [`registry_contract!`] in its own test module. Nothing here knows an engine.

use std::collections::BTreeSet;

use super::*;
use crate::pki::RevocationReason;
use crate::pki::extension::Contents;

pub(super) mod certificates;
pub(super) mod feed;
pub(super) mod issuers;
pub(super) mod model;
pub(super) mod publishing;

/// A new, empty registry of some back end.
pub(super) trait Store: Sync {
    /// A connection of its own to the same registry, as another process would have it.
    fn open(&self) -> Box<dyn Registry>;
}

/// Makes a `#[test]` of every test of the contract; `$store` is evaluated for each and gives a new [`Store`].
macro_rules! registry_contract {
    ($store:expr) => {
        $crate::registry::contract::registry_contract! { $store;
            issuers: registering_again_gives_the_same_id_and_changes_nothing;
            issuers: mode_and_publication_follow_the_last_registration;
            issuers: a_name_and_a_certificate_belong_together;
            issuers: c2_a_ca_has_one_name_and_its_certificate_may_be_renewed;
            issuers: every_call_for_an_unknown_issuer_says_so;
            issuers: the_same_signer_gets_the_same_id;
            certificates: what_was_added_survives_reopening;
            certificates: p3_a_repeated_serial_undoes_the_whole_call;
            certificates: p3_serials_are_unique_per_issuer_only;
            certificates: a_failing_stream_adds_nothing;
            certificates: s1_1_taking_over_registers_the_issuer_with_all_its_certificates_or_not_at_all;
            certificates: readers_see_all_of_a_call_or_nothing;
            certificates: a_panic_in_a_stream_or_visitor_undoes_its_call_and_harms_no_other;
            certificates: a_partition_that_cannot_be_stored_is_refused;
            certificates: s4_4_s5_10_all_certificates_are_revoked_at_once_or_none;
            certificates: merge_keeps_what_is_known_and_adds_what_is_not;
            certificates: s4_4_a_merge_never_undoes_a_revocation;
            certificates: c3_a_merge_learns_the_reason_of_a_revocation_once;
            certificates: c3_whatever_a_revocation_was_for_its_key_may_turn_out_to_be_compromised;
            certificates: s4_4_a_revocation_is_for_ever_and_survives_reopening;
            certificates: slots_are_scanned_in_order_and_completely;
            certificates: a_slot_that_does_not_exist_is_refused;
            certificates: c6_an_entry_stays_until_it_was_on_a_crl_after_expiry;
            certificates: a_crl_scope_lists_its_own_revoked_certificates;
            certificates: c4_ca_certificates_stand_on_an_arl_and_on_no_partition;
            certificates: c5_a_delta_lists_what_was_recorded_since_its_base;
            certificates: c5_what_an_import_adds_to_a_revoked_ca_certificate_does_not_take_it_off_a_delta;
            feed: every_call_tells_the_feed_what_it_changed;
            feed: a_large_batch_reaches_the_feed_whole;
            feed: racing_writers_and_a_polling_consumer_miss_nothing;
            feed: a_watermark_never_goes_back_and_survives_reopening;
            feed: pruning_forgets_tells_and_never_reuses_a_number;
            feed: every_stored_watermark_is_listed;
            publishing: packs_read_back_and_survive_reopening;
            publishing: a_pack_replaces_exactly_the_generation_before;
            publishing: racing_publishers_of_a_slot_never_overwrite_each_other;
            publishing: regrouping_replaces_all_packs_at_once;
            publishing: c2_crl_numbers_strictly_increase;
            publishing: c2_racing_publishers_never_share_a_crl_number;
            publishing: c2_a_raised_number_is_never_lowered;
            publishing: the_newest_crl_of_each_scope_is_the_latest;
            publishing: c2_a_complete_crl_and_its_delta_share_one_sequence;
            publishing: c2_pruning_crls_keeps_what_is_needed_and_gives_no_number_again;
            publishing: c5_a_superseded_crl_is_found_by_its_number_until_it_is_forgotten;
            publishing: a_great_crl_is_kept_whole;
            model: any_history_agrees_with_a_simple_model;
        }
    };
    ($store:expr; $($module:ident: $test:ident;)*) => { $(
        #[test]
        fn $test() {
            $crate::registry::contract::$module::$test(&$store);
        }
    )* };
}
pub(super) use registry_contract;

const DAY: u64 = 86_400;

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

fn serial(n: u64) -> Serial {
    Serial::from_magnitude(&(n + 1).to_be_bytes()).unwrap()
}

fn hash(n: u64) -> SlotHash {
    SlotHash::from(&serial(n))
}

fn good(n: u64) -> CertificateRecord {
    CertificateRecord {
        serial: serial(n),
        not_before: Some(time(DAY)),
        not_after: time(100 * DAY),
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    }
}

fn revocation(at: u64) -> Revocation {
    Revocation { at: time(at), reason: Some(RevocationReason::Superseded) }
}

fn revoked(n: u64, at: u64) -> CertificateRecord {
    CertificateRecord { status: CertificateStatus::Revoked(revocation(at)), invalidity_date: Some(time(at - 1)), ..good(n) }
}

fn new_issuer(name: &str) -> NewIssuer {
    let publication = Publication {
        cert_id_hashes: BTreeSet::from([HashAlgorithm::Sha1, HashAlgorithm::Sha256]),
        crl_partitions: 4,
        crl_extras: CrlExtras::default(),
    };
    NewIssuer { name: name.into(), certificate: format!("the certificate of {name}").into_bytes(), mode: IssuerMode::Open, publication }
}

/// A connection, and an issuer registered through it.
fn with_issuer(store: &dyn Store) -> (Box<dyn Registry>, IssuerId) {
    let registry = store.open();
    let issuer = registry.register_issuer(&new_issuer("ca")).unwrap();
    (registry, issuer)
}

fn add(registry: &dyn Registry, issuer: IssuerId, records: &[CertificateRecord], on_conflict: OnConflict) -> Result<AddReport> {
    registry.add_certificates(issuer, &mut records.iter().copied().map(Ok), on_conflict, time(10 * DAY))
}

fn all(registry: &dyn Registry, issuer: IssuerId) -> Vec<CertificateRecord> {
    slot(registry, issuer, SlotRange::ALL)
}

fn slot(registry: &dyn Registry, issuer: IssuerId, slot: SlotRange) -> Vec<CertificateRecord> {
    let mut found = Vec::new();
    registry.visit_certificates(issuer, slot, &mut |record| found.push(record)).unwrap();
    found
}

/// Everything that the CRL of a scope can list: of everybody for the full one, of end entities for a partition, of CAs for an ARL.
fn selection(scope: CrlScope) -> CrlSelection {
    let contents = match scope {
        CrlScope::Authorities => Contents::CaCertificates,
        CrlScope::Full | CrlScope::FullDelta => Contents::All,
        CrlScope::Partition(_) | CrlScope::PartitionDelta(_) => Contents::UserCertificates,
    };
    CrlSelection { scope, contents, not_after_from: time(0), or_recorded_after: 0, changed: None }
}

fn on_crl(registry: &dyn Registry, issuer: IssuerId, selection: &CrlSelection) -> BTreeSet<Serial> {
    let mut found = BTreeSet::new();
    let mut visit = |entry: &CrlEntry| assert!(found.insert(entry.serial), "{entry:?} came twice");
    let reflected = registry.visit_revoked(issuer, selection, &mut visit).unwrap();
    assert_eq!(reflected, registry.last_change().unwrap());
    found
}

fn changes_since(registry: &dyn Registry, sequence: u64) -> Vec<ChangeKind> {
    registry.changes_after(sequence, usize::MAX).unwrap().into_iter().map(|change| change.kind).collect()
}
