//! Keeps a [`Content`] like the registry: loads everything once, then follows the change feed. Writes nothing to the registry.
//!
//! A registry that fails is asked again, later and later; what is in memory is served meanwhile. From time to time everything is compared, so that whatever
//! the feed could not tell (a feed pruned behind our back, a registry restored from a backup) is put right.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use crate::pki::{HashAlgorithm, Timestamp};
use crate::registry::{Change, ChangeKind, CrlScope, IssuerId, Registry, RegistryError};

use super::content::Content;
use super::load::Loader;
use super::readiness::is_ahead;
use super::stop::Stop;

/// The pause between two looks at the feed. A revocation is in effect no later than this after its pack was published, plus the time to load the pack; mostly
/// at once. Shorter ones show in the percentiles of requests while refresh publishes all the time.
const REST: Duration = Duration::from_millis(5);
/// The feed is read this often even if nobody tells of a commit, and a stop is noticed.
const LOOK: Duration = Duration::from_millis(100);
/// Changes taken at once: they are loaded together, each pack once.
const BATCH: usize = 1000;
/// How often everything is compared to the registry.
const RECONCILE: Duration = Duration::from_secs(600);
/// The longest pause between two attempts to reach a failing registry.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Follows a registry. [`Follower::start`] does it on a thread of its own; [`Follower::step`] is for tests and for callers with their own thread.
pub struct Follower {
    registry: Arc<dyn Registry>,
    content: Arc<Content>,
    /// `None`: nothing was read yet.
    after: Option<u64>,
    reconcile_at: Timestamp,
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(registry: Arc<dyn Registry>, content: Arc<Content>) -> Follower {
        Follower { registry, content, after: None, reconcile_at: Timestamp::default() }
    }

    /// Follows on a thread of its own until the stop. Requests may be served at once: until everything is loaded they are answered tryLater or
    /// unauthorized, and [`super::Readiness`] says so.
    pub fn start(registry: Arc<dyn Registry>, content: Arc<Content>, stop: Stop) -> std::io::Result<JoinHandle<()>> {
        let follower = Follower::new(registry, content);
        std::thread::Builder::new().name("follow".into()).spawn(move || follower.run(&stop))
    }

    fn run(mut self, stop: &Stop) {
        let (mut watch, mut backoff) = (self.registry.watch(), REST);
        while !stop.is_stopped() {
            match self.step(Timestamp::now()) {
                Ok(true) => backoff = REST,
                Ok(false) => {
                    backoff = REST;
                    if stop.sleep(REST) {
                        watch.wait(LOOK);
                    }
                }
                Err(e) => {
                    self.content.feed.registry_failed();
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                    warn!("cannot read the registry, serving what is in memory, next attempt in {} ms: {e}", backoff.as_millis());
                    stop.sleep(backoff);
                }
            }
        }
    }

    /// Takes the next changes into effect; the first time, and every ten minutes, compares everything. Returns whether there may be more to do.
    /// After an error nothing is lost: the next step does the same again.
    pub fn step(&mut self, now: Timestamp) -> Result<bool, RegistryError> {
        let Some(after) = self.after.filter(|_| now < self.reconcile_at) else { return self.reconcile(now) };
        let changes = match self.registry.changes_after(after, BATCH) {
            // This node was away for longer than the feed is kept.
            Err(RegistryError::FeedPruned { .. }) => return self.reconcile(now),
            changes => changes?,
        };
        if changes.iter().any(|change| change.kind == ChangeKind::Unreadable) {
            return self.reconcile(now);
        }
        if let Some(last) = changes.last() {
            Due::of(&changes).load(&self.loader(now))?;
            self.after = Some(last.sequence);
            self.content.feed.advanced(last.sequence);
        }
        let more = changes.len() == BATCH;
        if !more {
            self.content.feed.caught_up(now);
        }
        Ok(more)
    }

    fn reconcile(&mut self, now: Timestamp) -> Result<bool, RegistryError> {
        // The feed's place first: what changes while everything is loaded is then loaded once more, and nothing is missed.
        let sequence = self.registry.last_change()?;
        let first = self.after.is_none();
        self.loader(now).everything()?;
        for right in self.content.forget_ahead(|issuer| is_ahead(&self.content, issuer, now)) {
            info!(issuer = self.content.issuer(right).map(|issuer| issuer.name.clone()), "everything is valid by now");
        }
        self.after = Some(sequence);
        self.reconcile_at = now.saturating_add(RECONCILE);
        self.content.feed.advanced(sequence);
        self.content.feed.caught_up(now);
        if first {
            let packs = self.content.feed.packs_loaded();
            info!(issuers = self.content.issuers().len(), packs, sequence, "everything is loaded from the registry");
        }
        Ok(true)
    }

    fn loader(&self, now: Timestamp) -> Loader<'_> {
        Loader { registry: &*self.registry, content: &self.content, now }
    }
}

/// What is to be loaded after some changes: each thing once, however often it has changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    issuers: BTreeSet<IssuerId>,
    signers: BTreeSet<IssuerId>,
    packs: BTreeSet<(IssuerId, HashAlgorithm, u32)>,
    crls: BTreeSet<(IssuerId, CrlScope)>,
}

impl Due {
    fn of(changes: &[Change]) -> Due {
        let mut due = Due::default();
        for change in changes {
            let issuer = change.issuer;
            match &change.kind {
                ChangeKind::Issuer => due.issuers.extend([issuer]),
                ChangeKind::Signer => due.signers.extend([issuer]),
                ChangeKind::Packs(algorithm, slots) => due.packs.extend(slots.iter().map(|slot| (issuer, *algorithm, *slot))),
                ChangeKind::Crl(scope) => due.crls.extend([(issuer, *scope)]),
                // They are for the signing side; what it makes of them comes as packs and CRLs.
                ChangeKind::Certificates(_) | ChangeKind::Revocations(_) => {}
                // Everything is loaded then.
                ChangeKind::Unreadable => {}
            }
        }
        due
    }

    fn load(&self, loader: &Loader<'_>) -> Result<(), RegistryError> {
        if !self.issuers.is_empty() {
            for issuer in loader.registry.issuers()?.iter().filter(|issuer| self.issuers.contains(&issuer.id)) {
                loader.issuer(issuer)?;
            }
        }
        let is_new = |issuer: &IssuerId| !self.issuers.contains(issuer);
        for issuer in self.signers.iter().filter(|issuer| is_new(issuer)) {
            loader.signers(*issuer)?;
        }
        for (issuer, algorithm, slot) in self.packs.iter().filter(|(issuer, ..)| is_new(issuer)) {
            loader.pack(*issuer, *algorithm, *slot)?;
        }
        for (issuer, scope) in self.crls.iter().filter(|(issuer, _)| is_new(issuer)) {
            loader.crl(*issuer, *scope)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Readiness;
    use super::super::ocsp::{Definitive, Refusal, answer};
    use super::super::testing::{self, FakeRegistry, HASHES, NOW, serial, time};
    use super::*;
    use crate::pki::SlotHash;
    use crate::pki::ocsp_request::encode_request;
    use crate::registry::crl_path;
    use crate::registry::{CrlExtras, CrlScope, Issuer, IssuerId};

    struct World {
        registry: Arc<FakeRegistry>,
        content: Arc<Content>,
        follower: Follower,
    }

    /// A registry with one issuer of eight slots and a hundred certificates.
    fn world() -> World {
        let registry = Arc::new(FakeRegistry::filled());
        let content = Arc::new(Content::new());
        let follower = Follower::new(registry.clone(), content.clone());
        World { registry, content, follower }
    }

    impl World {
        fn follow(&mut self) {
            while self.follower.step(time(NOW)).unwrap() {}
        }

        fn asked(&self, number: u64) -> Result<Definitive, Refusal> {
            let request = encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number));
            answer(&request, &self.content.status, None, time(NOW), &mut Vec::new())
        }

        fn knows_all(&self, numbers: std::ops::Range<u64>) -> bool {
            numbers.into_iter().all(|n| self.asked(n).is_ok())
        }
    }

    #[test]
    fn everything_is_loaded_and_the_node_becomes_ready() {
        let mut world = world();
        assert!(!Readiness::of(&world.content, time(NOW)).is_ready());
        world.follow();
        assert_eq!(Readiness::of(&world.content, time(NOW)), Readiness::default());
        assert!(world.knows_all(0..100));
        assert_eq!(world.content.feed.sequence(), world.registry.last_change().unwrap());
        assert_eq!(world.content.feed.caught_up_at(), Some(time(NOW)));
        for path in ["/crl/test.crl", "/crl/test/1.crl", "/ca/test.cer"] {
            assert!(world.content.documents.get(path).is_some(), "{path}");
        }
    }

    #[test]
    fn a_published_pack_and_crl_are_taken_into_use() {
        let mut world = world();
        world.follow();
        assert_eq!(world.asked(150), Err(Refusal::UnusedSerial));
        world.registry.publish(0..200);
        world.registry.publish_crl_number(9);
        world.follow();
        assert!(world.knows_all(0..200));
        let crl = world.content.documents.get(&crl_path("test", CrlScope::Full)).unwrap();
        assert_eq!(&crl.body[..], b"crl 9");
    }

    #[test]
    fn c9_after_a_change_that_cannot_be_read_everything_is_loaded() {
        let mut world = world();
        world.follow();
        world.registry.publish(0..200);
        world.registry.spoil_feed();
        world.follow();
        assert!(world.knows_all(0..200));
    }

    #[test]
    fn growth_is_followed_without_losing_anything() {
        let mut world = world();
        world.follow();
        world.registry.regroup(5, 0..100);
        world.follow();
        let bits: Vec<_> = world.content.status.directory().statuses().map(|s| s.table().bits()).collect();
        assert_eq!(bits, [5, 5]);
        assert!(world.knows_all(0..100));
        assert_eq!(Readiness::of(&world.content, time(NOW)), Readiness::default());
        assert_eq!(world.content.feed.packs_refused(), 0);
    }

    #[test]
    fn c9_packs_that_are_in_the_registry_no_more_are_served_no_more() {
        let mut world = world();
        world.follow();
        world.registry.forget_packs(HashAlgorithm::Sha1);
        world.follow();
        assert!((0..100).all(|number| world.asked(number).is_err()));
        let packs = |hash| world.content.status.get(IssuerId(1), hash).unwrap().table().packs().flatten().count();
        assert_eq!(HASHES.map(packs), [0, 8]);
        world.registry.publish(0..100);
        world.follow();
        assert!(world.knows_all(0..100));
    }

    /// 2^9 slots are loaded in two parts.
    #[test]
    fn a_large_issuer_is_loaded_as_any_other() {
        for before in [false, true] {
            let mut world = world();
            if before {
                world.follow();
            }
            world.registry.regroup(9, 0..100);
            world.registry.damage(HashAlgorithm::Sha1, SlotHash::from(&serial(5)).slot(9));
            world.follow();
            assert!(world.content.feed.packs_loaded() >= 1023 && world.content.feed.packs_refused() > 0);
            assert!((0..100).filter(|n| *n != 5).all(|n| world.asked(n).is_ok()));
            assert_eq!(world.knows_all(0..100), before, "the damaged pack is made from the old one where there is one");
        }
    }

    #[test]
    fn a_damaged_pack_is_refused_and_the_last_good_one_stays() {
        let mut world = world();
        world.follow();
        world.registry.damage(HashAlgorithm::Sha1, 3);
        world.follow();
        assert_eq!(world.content.feed.packs_refused(), 1);
        assert!(world.knows_all(0..100));
        // Even when the table is divided anew meanwhile, and the damaged pack with it.
        world.registry.regroup(4, 0..100);
        world.registry.damage(HashAlgorithm::Sha1, 6);
        world.follow();
        assert!(world.content.feed.packs_refused() > 1);
        assert!(world.knows_all(0..100));
    }

    #[test]
    fn a_pack_by_a_signer_that_came_with_it_is_taken_and_by_nobody_refused() {
        let mut world = world();
        world.follow();
        world.registry.add_signer(7);
        world.registry.publish_signed_by(7, 0..100);
        world.follow();
        assert!(world.knows_all(0..100), "the signer is looked up when a pack names it");
        world.registry.tell_of_signers();
        world.follow();
        world.registry.publish_signed_by(8, 0..100);
        world.follow();
        assert_eq!(world.content.feed.packs_refused(), 16);
        assert!(world.knows_all(0..100));
    }

    #[test]
    fn a_registry_that_fails_loses_nothing() {
        let mut world = world();
        world.registry.fail(true);
        assert!(world.follower.step(time(NOW)).is_err());
        assert!(!world.content.feed.is_loaded());
        world.registry.fail(false);
        world.follow();
        world.registry.publish(0..200);
        world.registry.fail(true);
        assert!(world.follower.step(time(NOW)).is_err());
        assert!(world.knows_all(0..100), "what is in memory is served");
        world.registry.fail(false);
        world.follow();
        assert!(world.knows_all(0..200));
    }

    #[test]
    fn what_the_feed_does_not_tell_is_found_by_comparing() {
        let mut world = world();
        world.follow();
        world.registry.publish(0..200);
        world.registry.forget_feed();
        world.follow();
        assert!(!world.knows_all(0..200));
        world.follower.step(time(NOW).saturating_add(RECONCILE)).unwrap();
        assert!(world.knows_all(0..200));
    }

    #[test]
    fn a_feed_that_was_pruned_in_the_meantime_is_made_up_for_at_once() {
        let mut world = world();
        world.follow();
        world.registry.publish(0..200);
        world.registry.prune_feed();
        world.follow();
        assert!(world.knows_all(0..200));
    }

    #[test]
    fn c7_the_list_of_partitions_follows_them() {
        let mut world = world();
        world.follow();
        let listed = |world: &World| world.content.documents.get("/crl/test/partitions.json").map(|list| list.body.clone());
        let urls = r#"["http://va.example/crl/test/0.crl","http://va.example/crl/test/1.crl"]"#;
        assert_eq!(listed(&world).as_deref(), Some(urls.as_bytes()));
        world.registry.publish_partition_at(1, "http://other.example/crl/test/1.crl");
        world.follow();
        let urls = urls.replace("va.example/crl/test/1", "other.example/crl/test/1");
        assert_eq!(listed(&world).as_deref(), Some(urls.as_bytes()), "each URL is the one in the CRL itself");
    }

    #[test]
    fn an_issuer_that_cannot_be_served_makes_the_node_unready() {
        for damage in [|issuer: &mut Issuer| issuer.certificate.truncate(10), |issuer: &mut Issuer| issuer.slot_bits = 77] {
            let mut world = world();
            world.registry.change_issuer(damage);
            world.follow();
            assert_eq!(world.content.feed.documents_refused(), 1);
            let readiness = Readiness::of(&world.content, time(NOW));
            assert!(readiness.remarks.is_empty() && !readiness.is_ready(), "something was published for it: {readiness:?}");
            let mut world = self::world();
            world.follow();
            world.registry.change_issuer(damage);
            world.follow();
            assert!(world.knows_all(0..100), "what was served before stays");
        }
    }

    #[test]
    fn c2_a_crl_number_never_goes_back() {
        let mut world = world();
        world.registry.publish_crl_number(9);
        world.follow();
        world.registry.publish_crl_number(8);
        world.follow();
        assert_eq!(&world.content.documents.get("/crl/test.crl").unwrap().body[..], b"crl 9");
        assert_eq!(world.content.feed.documents_refused(), 1);
    }

    #[test]
    fn c4_c9_a_scope_that_is_no_longer_published_is_no_longer_served() {
        const EXTRA: [&str; 3] = ["/crl/test/arl.crl", "/crl/test/delta.crl", "/crl/test/1-delta.crl"];
        let mut world = world();
        let all = CrlExtras { arl: true, arl_alone: true, full_delta: true, partition_deltas: true };
        let publish = |world: &mut World, partitions: u32, extras: CrlExtras| {
            world.registry.change_issuer(|issuer| {
                (issuer.publication.crl_partitions, issuer.publication.crl_extras) = (partitions, extras);
            });
            world.follow();
        };
        let served = |world: &World, path: &str| world.content.documents.get(path).map(|crl| crl.body.clone());
        for scope in [CrlScope::Authorities, CrlScope::FullDelta, CrlScope::PartitionDelta(1)] {
            world.registry.publish_crl_of(scope, 5);
        }
        world.follow();
        assert!(EXTRA.iter().all(|path| served(&world, path).is_none()), "at the start");
        publish(&mut world, 2, all);
        assert!(EXTRA.iter().all(|path| served(&world, path).as_deref() == Some(b"crl 5")));

        publish(&mut world, 1, CrlExtras::default());
        assert!(EXTRA.iter().chain(&["/crl/test/1.crl"]).all(|path| served(&world, path).is_none()), "while it runs");
        assert!(["/crl/test.crl", "/crl/test/0.crl"].iter().all(|path| served(&world, path).is_some()));
        assert_eq!(served(&world, "/crl/test/partitions.json").as_deref(), Some(&br#"["http://va.example/crl/test/0.crl"]"#[..]));
        world.registry.publish_crl_of(CrlScope::Authorities, 6);
        world.follow();
        assert_eq!(served(&world, "/crl/test/arl.crl"), None, "the feed tells of one that another process has signed");
        publish(&mut world, 0, CrlExtras::default());
        assert_eq!(served(&world, "/crl/test/partitions.json"), None);

        publish(&mut world, 2, all);
        assert_eq!(served(&world, "/crl/test/arl.crl").as_deref(), Some(&b"crl 6"[..]));
        assert!(
            EXTRA
                .iter()
                .chain(&["/crl/test/0.crl", "/crl/test/1.crl", "/crl/test/partitions.json"])
                .all(|path| served(&world, path).is_some())
        );
    }

    #[test]
    fn o13_t1_what_is_not_valid_yet_is_noted_once_and_forgotten_when_it_is() {
        for (at_start, now) in [(true, NOW - 3661), (false, NOW - 3661), (true, NOW - 3660)] {
            let (mut world, is_ahead) = (world(), now < NOW - 3660);
            if !at_start {
                world.follow();
                world.registry.publish_crl_number(9);
                world.registry.publish(0..100);
            }
            while world.follower.step(time(now)).unwrap() {}
            assert_eq!(!world.content.note_ahead(IssuerId(1)), is_ahead, "thisUpdate is an hour before {NOW}, and the clock shows {now}");
            assert_eq!(Readiness::of(&world.content, time(now)).is_ready(), !is_ahead);
            while world.follower.step(time(NOW).saturating_add(RECONCILE)).unwrap() {}
            assert!(world.content.note_ahead(IssuerId(1)), "the next time is news again");
        }
    }

    #[test]
    fn a_cert_id_hash_that_is_no_longer_published_is_no_longer_served() {
        let mut world = world();
        world.follow();
        world.registry.change_issuer(|issuer| issuer.publication.cert_id_hashes = [HashAlgorithm::Sha256].into());
        world.follow();
        assert_eq!(world.asked(5), Err(Refusal::Unauthorized));
        world.registry.change_issuer(|issuer| issuer.publication.cert_id_hashes = HASHES.into());
        world.follow();
        assert!(world.knows_all(0..100));
    }

    #[test]
    fn a_follower_thread_starts_retries_and_stops() {
        let registry = Arc::new(FakeRegistry::filled());
        registry.fail(true);
        let (content, stop) = (Arc::new(Content::new()), Stop::new());
        let thread = Follower::start(registry.clone(), content.clone(), stop.clone()).unwrap();
        testing::wait_until(|| content.feed.registry_errors() >= 2);
        registry.fail(false);
        testing::wait_until(|| content.feed.caught_up_at().is_some());
        stop.stop();
        thread.join().unwrap();
    }
}
