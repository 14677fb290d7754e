//! Which CRLs are to be issued: those whose time has come, and those that a revocation has made untrue. Part of [`super::agenda`].

use std::collections::{BTreeMap, BTreeSet};

use super::crl::PlannedCrl;
use super::crl_policy::LONGEST_WAIT;
use crate::pki::Timestamp;
use crate::registry::{CrlPlace, CrlScope};

/// So many revocations at once are a mass revocation, which no CRL holds back (rules S4.4, S5.10).
const MASS: usize = 1000;

/// The CRLs of one issuer.
#[derive(Debug)]
pub(super) struct CrlAgenda {
    planned: BTreeMap<CrlScope, PlannedCrl>,
    /// CRLs that lack a revocation.
    untrue: BTreeMap<CrlScope, Untrue>,
    /// Those that somebody works on, with what was known to be untrue when he began.
    in_flight: BTreeMap<CrlScope, Vec<(CrlScope, Untrue)>>,
    /// Whether the full CRL is one of end entities.
    has_arl_alone: bool,
}

/// What a CRL lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Untrue {
    /// The first change that is not reflected in it.
    since: u64,
    /// Whether it is too much, or too grave, to be held back.
    cannot_wait: bool,
}

impl CrlAgenda {
    /// CRLs of these scopes. What was never published is due at once.
    pub(super) fn new(scopes: impl IntoIterator<Item = CrlScope>, has_arl_alone: bool) -> CrlAgenda {
        let planned = scopes.into_iter().map(|scope| (scope, PlannedCrl::default())).collect();
        CrlAgenda { planned, untrue: BTreeMap::new(), in_flight: BTreeMap::new(), has_arl_alone }
    }

    /// A CRL is published, and the next one planned. Of a scope that is none here, nothing follows.
    pub(super) fn published(&mut self, scope: CrlScope, planned: PlannedCrl) {
        self.planned.entry(scope).and_modify(|known| *known = planned);
    }

    /// Nobody knows what has changed since the change `after`: it may have been anything.
    pub(super) fn distrust(&mut self, after: u64) {
        let scopes: Vec<_> = self.planned.keys().copied().collect();
        scopes.into_iter().for_each(|scope| self.mark(scope, Untrue { since: after + 1, cannot_wait: true }));
    }

    /// Takes note of revocations.
    pub(super) fn note(&mut self, places: impl ExactSizeIterator<Item = CrlPlace>, sequence: u64) {
        let untrue = Untrue { since: sequence, cannot_wait: places.len() >= MASS };
        let places: BTreeSet<CrlPlace> = places.collect();
        places.into_iter().for_each(|place| self.note_place(place, untrue));
    }

    /// The CRLs on which the certificate must stand. A scope that is not published here has no CRL to issue.
    fn note_place(&mut self, place: CrlPlace, untrue: Untrue) {
        let own = match place {
            CrlPlace::Nowhere => CrlScope::Full,
            CrlPlace::Partition(n) => CrlScope::Partition(n),
            CrlPlace::Authorities => CrlScope::Authorities,
        };
        // A CA's is published at once, on whatever CRL it stands (rule S4.4).
        let untrue = Untrue { cannot_wait: untrue.cannot_wait || place == CrlPlace::Authorities, ..untrue };
        let is_on_full = own != CrlScope::Authorities || !self.has_arl_alone;
        let complete = BTreeSet::from([Some(own), is_on_full.then_some(CrlScope::Full)]);
        for scope in complete.into_iter().flatten().flat_map(|scope| [Some(scope), scope.delta()]).flatten() {
            if self.planned.contains_key(&scope) {
                self.mark(scope, untrue);
            }
        }
    }

    fn mark(&mut self, scope: CrlScope, untrue: Untrue) {
        let known = self.untrue.entry(scope).or_insert(untrue);
        *known = Untrue { since: known.since.min(untrue.since), cannot_wait: known.cannot_wait || untrue.cannot_wait };
    }

    /// CRLs that are untrue and may not wait.
    pub(super) fn urgent(&self, now: Timestamp) -> impl Iterator<Item = CrlScope> {
        let free = self.untrue.keys().copied().filter(move |scope| self.is_urgent(*scope, now) && !self.is_taken(*scope));
        // A complete CRL brings its delta with it.
        free.filter(move |scope| !scope.is_delta() || !self.is_urgent(scope.base(), now))
    }

    /// CRLs whose time has come, but for the urgent ones.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = CrlScope> {
        let is_due = move |scope: CrlScope| self.planned.get(&scope).is_some_and(|planned| planned.due <= now);
        let free = self.planned.keys().copied().filter(move |scope| is_due(*scope) && !self.is_taken(*scope));
        let unspoken = free.filter(move |scope| !self.is_urgent(*scope, now) && !self.is_urgent(scope.base(), now));
        unspoken.filter(move |scope| !scope.is_delta() || !is_due(scope.base()))
    }

    /// Whether it is untrue, and not so great and so young that further revocations are gathered for the next.
    fn is_urgent(&self, scope: CrlScope, now: Timestamp) -> bool {
        let Some(untrue) = self.untrue.get(&scope) else { return false };
        let from = self.planned.get(&scope).map_or(Timestamp::default(), |planned| planned.urgent_from);
        // One that is further ahead than that is from before the clock was set back.
        untrue.cannot_wait || now >= from || from.since(now) > LONGEST_WAIT
    }

    /// Whether somebody works on a CRL of the same sequence of numbers.
    fn is_taken(&self, scope: CrlScope) -> bool {
        self.in_flight.contains_key(&scope.base()) || scope.base().delta().is_some_and(|delta| self.in_flight.contains_key(&delta))
    }

    /// Somebody begins to work on a CRL: what was noted so far will be in it, and in the delta that goes with it.
    pub(super) fn begin(&mut self, scope: CrlScope) {
        let delta = scope.delta();
        let taken = std::iter::once(scope).chain(delta).filter_map(|scope| Some((scope, self.untrue.remove(&scope)?))).collect();
        self.in_flight.insert(scope, taken);
    }

    /// Nobody works on it any more. Where it is not `done`, it is as untrue as before.
    pub(super) fn end(&mut self, scope: CrlScope, done: bool) {
        let taken = self.in_flight.remove(&scope).unwrap_or_default();
        if !done {
            taken.into_iter().for_each(|(scope, untrue)| self.mark(scope, untrue));
        }
    }

    /// The first change that some published CRL does not reflect.
    pub(super) fn first_unreflected(&self) -> Option<u64> {
        let in_flight = self.in_flight.values().flatten().map(|(_, untrue)| untrue.since);
        self.untrue.values().map(|untrue| untrue.since).chain(in_flight).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use CrlScope::{Authorities, Full, FullDelta, Partition};

    const COALESCE: Duration = Duration::from_secs(900);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    fn now() -> Timestamp {
        at(1_000_000)
    }

    /// A CRL that was published at `at` and is due in a day.
    fn planned(at: Timestamp, is_great: bool) -> PlannedCrl {
        let urgent_from = if is_great { at.saturating_add(COALESCE) } else { Timestamp::default() };
        PlannedCrl { due: at.saturating_add(Duration::from_secs(86_400)), urgent_from }
    }

    /// CRLs of these scopes that were published just now, of which the full one is great, or not; an ARL is alone.
    fn published(scopes: &[CrlScope], full_is_great: bool) -> CrlAgenda {
        let mut agenda = CrlAgenda::new(scopes.to_vec(), scopes.contains(&Authorities));
        scopes.iter().for_each(|scope| agenda.published(*scope, planned(now(), full_is_great && *scope == Full)));
        agenda
    }

    fn revoke(agenda: &mut CrlAgenda, place: CrlPlace, sequence: u64) {
        agenda.note([place].into_iter(), sequence);
    }

    fn urgent(agenda: &CrlAgenda, now: Timestamp) -> Vec<CrlScope> {
        agenda.urgent(now).collect()
    }

    #[test]
    fn c4_a_revoked_ca_certificate_is_urgent_for_the_arl_or_else_for_the_full_crl() {
        for (scopes, wanted) in [(&[Full, Authorities][..], Authorities), (&[Full, Partition(0)], Full)] {
            let mut agenda = published(scopes, false);
            revoke(&mut agenda, CrlPlace::Authorities, 1);
            assert_eq!(urgent(&agenda, now()), [wanted]);
        }
    }

    #[test]
    fn t5_great_crls_are_issued_at_once_and_then_a_while_apart() {
        let mut agenda = published(&[Full], true);
        revoke(&mut agenda, CrlPlace::Nowhere, 5);
        let wait = now().saturating_add(COALESCE);
        assert_eq!(urgent(&agenda, now()), []);
        assert_eq!(urgent(&agenda, wait.saturating_sub(Duration::from_secs(1))), []);
        assert_eq!(urgent(&agenda, wait), [Full]);
        assert_eq!(urgent(&agenda, at(5)), [Full], "a clock set back does not hold it up");
        revoke(&mut agenda, CrlPlace::Nowhere, 8);
        assert_eq!(agenda.first_unreflected(), Some(5));
        agenda.begin(Full);
        revoke(&mut agenda, CrlPlace::Nowhere, 9);
        assert_eq!((urgent(&agenda, wait), agenda.first_unreflected()), (vec![], Some(5)), "in flight is not published");
        agenda.end(Full, true);
        assert_eq!(agenda.first_unreflected(), Some(9));
        agenda.begin(Full);
        agenda.end(Full, false);
        assert_eq!((urgent(&agenda, wait), agenda.first_unreflected()), (vec![Full], Some(9)), "what failed is to be done again");
        let turn = now().saturating_add(Duration::from_secs(86_400));
        agenda.published(Full, PlannedCrl { urgent_from: turn.saturating_add(COALESCE), ..planned(now(), true) });
        assert_eq!((urgent(&agenda, turn), agenda.due(turn).collect::<Vec<_>>()), (vec![], vec![Full]), "it does not wait past its turn");
    }

    #[test]
    fn s4_4_s5_10_a_mass_revocation_is_not_held_back() {
        let mut agenda = published(&[Full, FullDelta], true);
        agenda.note(std::iter::repeat_n(CrlPlace::Nowhere, MASS), 5);
        assert_eq!(urgent(&agenda, now()), [Full], "the complete CRL, at once");
    }

    #[test]
    fn s4_4_a_revoked_ca_certificate_is_not_held_back_where_there_is_no_arl() {
        let mut agenda = published(&[Full, FullDelta], true);
        revoke(&mut agenda, CrlPlace::Nowhere, 5);
        assert_eq!(urgent(&agenda, now()), [FullDelta]);
        revoke(&mut agenda, CrlPlace::Authorities, 6);
        assert_eq!(urgent(&agenda, now()), [Full], "the complete CRL, at once");
    }

    #[test]
    fn c5_a_delta_goes_with_its_complete_crl_or_for_it_where_that_is_great() {
        let never_published = CrlAgenda::new([Full, FullDelta], false);
        assert_eq!(never_published.due(now()).collect::<Vec<_>>(), [Full], "both, by one task");

        let mut agenda = published(&[Full, FullDelta], false);
        revoke(&mut agenda, CrlPlace::Nowhere, 5);
        assert_eq!(urgent(&agenda, now()), [Full]);
        agenda.begin(Full);
        assert_eq!(urgent(&agenda, now()), [], "nobody else takes the number");
        revoke(&mut agenda, CrlPlace::Nowhere, 6);
        assert_eq!(urgent(&agenda, now()), []);
        agenda.end(Full, true);
        assert_eq!((urgent(&agenda, now()), agenda.first_unreflected()), (vec![Full], Some(6)));

        let mut agenda = published(&[Full, FullDelta], true);
        revoke(&mut agenda, CrlPlace::Nowhere, 6);
        assert_eq!(urgent(&agenda, now()), [FullDelta]);
        agenda.begin(FullDelta);
        agenda.end(FullDelta, true);
        assert_eq!((urgent(&agenda, now()), agenda.first_unreflected()), (vec![], Some(6)), "the complete one lacks it still");
        assert_eq!(urgent(&agenda, now().saturating_add(COALESCE)), [Full]);
        agenda.begin(Full);
        agenda.end(Full, true);
        assert_eq!((urgent(&agenda, now().saturating_add(COALESCE)), agenda.first_unreflected()), (vec![], None));
    }

    #[test]
    fn c9_what_is_distrusted_is_issued_once() {
        let mut agenda = published(&[Full, Partition(0)], false);
        agenda.distrust(7);
        assert_eq!((urgent(&agenda, now()), agenda.first_unreflected()), (vec![Full, Partition(0)], Some(8)));
        let mut great = published(&[Full], true);
        great.distrust(7);
        assert_eq!(urgent(&great, now()), [Full], "S5.10: it may have been a mass revocation");
    }
}
