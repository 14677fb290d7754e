//! Whether this node can answer for everything it is registered for. Reads the content only, and no clock.

use std::time::Duration;

use crate::pki::{CertificateInfo, HashAlgorithm, Timestamp};
use crate::registry::{Issuer, IssuerId, IssuerMode};

use super::content::Content;
use super::documents::{Document, DocumentKind};
use super::status_map::{next_update, this_update};
use crate::registry::crl_path;

/// For so long a node may be without news from the registry before it says so: from then on it may lack what must be definitive by now (rule O16). It goes on
/// answering all the same: where the registry itself is away, every node is as silent, and what each has is valid for days (S3.9).
const MAX_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Why a node is not ready; ready where there is no reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// One sentence a reason, for people.
    pub reasons: Vec<String>,
    /// The same of what is no reason: an issuer for which nothing was ever published; no news from the registry.
    pub remarks: Vec<String>,
}

impl Readiness {
    /// Checks that the registry has been read, and every issuer that is not closed and whose certificate has not ended: a current pack in every slot for every
    /// CertID hash, and a current CRL of every scope. Where the clock was ahead and is right again, there may be some that are not valid yet.
    ///
    /// An issuer for which nothing was ever published is no reason where anything was for another: no node can answer for it, and each must go on answering
    /// for the others (S1.1).
    pub fn of(content: &Content, now: Timestamp) -> Readiness {
        let mut readiness = Readiness::default();
        readiness.check_feed(content, now);
        for issuer in content.issuers().iter().filter(|issuer| issuer.mode != IssuerMode::Closed) {
            let mut of_issuer = Readiness::default();
            for algorithm in &issuer.publication.cert_id_hashes {
                of_issuer.check_packs(content, issuer, *algorithm, now);
            }
            of_issuer.check_crls(content, issuer, now);
            // The certificate is read only where it matters: there may be thousands of issuers.
            if of_issuer.is_ready() || has_ended(issuer, now) {
                continue;
            }
            match content.is_published(issuer.id) {
                true => readiness.reasons.append(&mut of_issuer.reasons),
                false => readiness.remarks.push(format!("issuer '{}': nothing has been published for it yet", issuer.name)),
            }
        }
        if !content.has_published() {
            readiness.reasons.append(&mut readiness.remarks);
        }
        readiness
    }

    /// Whether there is no reason against it.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    fn check_feed(&mut self, content: &Content, now: Timestamp) {
        if !content.feed.is_loaded() {
            self.reasons.push("the registry has not been read yet".to_owned());
        }
        let silence = content.feed.caught_up_at().map(|at| now.since(at)).unwrap_or_default();
        if silence > MAX_SILENCE {
            let (found, wanted) = (silence.as_secs(), MAX_SILENCE.as_secs());
            self.remarks
                .push(format!("the registry was last read {found} s ago, wanted at most {wanted} s: revocations since then are not told"));
        }
    }

    fn check_packs(&mut self, content: &Content, issuer: &Issuer, algorithm: HashAlgorithm, now: Timestamp) {
        let name = &issuer.name;
        let Some(status) = content.status.get(issuer.id, algorithm) else {
            self.reasons.push(format!("issuer '{name}': no {algorithm:?} responses are loaded"));
            return;
        };
        let table = status.table();
        if table.bits() != issuer.slot_bits {
            self.reasons.push(format!("issuer '{name}': {algorithm:?} responses are not divided into 2^{} slots", issuer.slot_bits));
            return;
        }
        let slots = table.packs().len();
        let (mut missing, mut expired, mut ahead, mut valid_from) = (Vec::new(), Vec::new(), Vec::new(), Timestamp::default());
        for (slot, pack) in table.packs().enumerate() {
            match pack {
                None => missing.push(slot),
                Some(pack) if next_update(&pack) <= now => expired.push(slot),
                Some(pack) if this_update(&pack).is_ahead_of(now) => {
                    valid_from = valid_from.max(this_update(&pack));
                    ahead.push(slot);
                }
                Some(_) => {}
            }
        }
        let not_yet = format!("are not valid yet, the last of them from {valid_from} on");
        for (what, found) in [("are not loaded", missing), ("are past their nextUpdate", expired), (&not_yet, ahead)] {
            if let Some(first) = found.first() {
                let count = found.len();
                self.reasons.push(format!("issuer '{name}': {count} of {slots} {algorithm:?} packs {what} (the first is slot {first})"));
            }
        }
    }

    fn check_crls(&mut self, content: &Content, issuer: &Issuer, now: Timestamp) {
        let scopes = issuer.publication.crl_scopes();
        let state = |path: &str| match content.documents.get(path) {
            None => Some("is missing".to_owned()),
            Some(crl) if Document::is_expired(&crl, now) => Some("is past its nextUpdate".to_owned()),
            Some(crl) => crl.valid_from(now).map(|from| format!("is not valid before {from}")),
        };
        let faults: Vec<_> = scopes.map(|scope| crl_path(&issuer.name, scope)).filter_map(|path| Some((state(&path)?, path))).collect();
        if let Some((state, path)) = faults.first() {
            let more = match faults.len() {
                1 => String::new(),
                count => format!(", and {} more of its CRLs are not current", count - 1),
            };
            self.reasons.push(format!("issuer '{}': CRL {path} {state}{more}", issuer.name));
        }
    }
}

/// Whether any response or CRL of an issuer is not valid yet.
pub(super) fn is_ahead(content: &Content, issuer: IssuerId, now: Timestamp) -> bool {
    let directory = content.status.directory();
    let mut statuses = directory.statuses().filter(|status| status.issuer() == issuer);
    let is_of_issuer = |document: &Document| matches!(document.kind, DocumentKind::Crl { issuer: of, .. } if of == issuer);
    statuses.any(|status| status.table().packs().flatten().any(|pack| this_update(&pack).is_ahead_of(now)))
        || content.documents.all().iter().any(|(_, document)| is_of_issuer(document) && document.valid_from(now).is_some())
}

/// Whether a CA has ended: nothing can be signed in its name any more (rule T3).
fn has_ended(issuer: &Issuer, now: Timestamp) -> bool {
    CertificateInfo::from_der(&issuer.certificate).is_ok_and(|certificate| certificate.not_after <= now)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, NEXT_UPDATE, NOW, THIS_UPDATE, time};
    use super::*;

    #[test]
    fn a_node_with_everything_is_ready_until_something_expires() {
        let content = testing::content();
        assert_eq!(Readiness::of(&content, time(NOW)), Readiness::default());
        let late = Readiness::of(&content, time(NEXT_UPDATE));
        assert_eq!(late.reasons.len(), 3, "two CertID hashes and the CRLs: {late:?}");
        assert!(late.reasons[0].contains("8 of 8") && late.reasons[0].contains("nextUpdate"), "{late:?}");
        assert!(late.reasons[2].contains("/crl/test.crl") && late.reasons[2].contains("2 more"), "{late:?}");
    }

    #[test]
    fn o13_t1_a_node_with_what_is_not_valid_yet_is_not_ready_and_says_until_when() {
        let content = testing::content();
        let skew = Timestamp::MAX_SKEW.as_secs();
        for now in [THIS_UPDATE, THIS_UPDATE - 1, THIS_UPDATE - skew] {
            assert_eq!(
                Readiness::of(&content, time(now)),
                Readiness::default(),
                "thisUpdate is at {THIS_UPDATE}, and the clock shows {now}"
            );
            assert!(!is_ahead(&content, IssuerId(1), time(now)));
        }
        let early = time(THIS_UPDATE - skew - 1);
        assert!(is_ahead(&content, IssuerId(1), early) && !is_ahead(&content, IssuerId(2), early));
        let from = time(THIS_UPDATE);
        let reasons = Readiness::of(&content, early).reasons;
        let packs =
            |hash| format!("issuer 'test': 8 of 8 {hash} packs are not valid yet, the last of them from {from} on (the first is slot 0)");
        let crls = format!("issuer 'test': CRL /crl/test.crl is not valid before {from}, and 2 more of its CRLs are not current");
        assert_eq!(reasons, [packs("Sha1"), packs("Sha256"), crls]);
    }

    #[test]
    fn a_missing_slot_and_an_unread_registry_are_reasons() {
        assert!(!Readiness::of(&Content::new(), time(NOW)).is_ready());
        let content = testing::content();
        let status = content.status.directory().statuses().next().unwrap().clone();
        status.replace_table(super::super::status_map::SlotTable::empty(testing::BITS));
        let readiness = Readiness::of(&content, time(NOW));
        assert!(readiness.reasons.len() == 1 && readiness.reasons[0].contains("are not loaded"), "{readiness:?}");
        status.replace_table(super::super::status_map::SlotTable::empty(0));
        assert!(Readiness::of(&content, time(NOW)).reasons[0].contains("not divided"));
    }

    #[test]
    fn s1_1_an_issuer_of_whom_nothing_was_published_takes_no_node_from_the_others() {
        let content = testing::content();
        let mut new = (**content.issuers().first().unwrap()).clone();
        (new.id, new.name) = (IssuerId(2), "new".into());
        content.replace_issuer(&new);
        let readiness = Readiness::of(&content, time(NOW));
        assert!(readiness.is_ready(), "{readiness:?}");
        assert_eq!(readiness.remarks, ["issuer 'new': nothing has been published for it yet"]);
        content.note_published(new.id);
        let readiness = Readiness::of(&content, time(NOW));
        assert!(readiness.remarks.is_empty() && readiness.reasons.iter().any(|reason| reason.contains("'new'")), "{readiness:?}");

        let fresh = Content::new();
        fresh.feed.advanced(1);
        fresh.replace_issuer(&new);
        let readiness = Readiness::of(&fresh, time(NOW));
        assert_eq!(readiness.reasons, ["issuer 'new': nothing has been published for it yet"], "nobody can be answered");
    }

    #[test]
    fn s3_9_o16_a_node_without_news_from_the_registry_says_so_and_goes_on() {
        let content = testing::content();
        content.feed.caught_up(time(NOW));
        assert_eq!(Readiness::of(&content, time(NOW).saturating_add(MAX_SILENCE)), Readiness::default());
        let late = Readiness::of(&content, time(NOW + 1).saturating_add(MAX_SILENCE));
        assert!(late.is_ready());
        assert_eq!(late.remarks, ["the registry was last read 901 s ago, wanted at most 900 s: revocations since then are not told"]);
        content.feed.caught_up(time(NOW + 1).saturating_add(MAX_SILENCE));
        assert_eq!(Readiness::of(&content, time(NOW + 1).saturating_add(MAX_SILENCE)), Readiness::default());
    }

    #[test]
    fn s4_7_a_ca_that_has_ended_is_no_reason() {
        let content = testing::content();
        let end = CertificateInfo::from_der(&content.issuers()[0].certificate).unwrap().not_after;
        assert!(!Readiness::of(&content, end.saturating_sub(std::time::Duration::from_secs(1))).is_ready());
        assert!(Readiness::of(&content, end).is_ready());
    }

    #[test]
    fn a_closed_issuer_is_no_reason() {
        let content = testing::content();
        let mut issuer = (**content.issuers().first().unwrap()).clone();
        issuer.mode = IssuerMode::Closed;
        content.replace_issuer(&issuer);
        assert!(Readiness::of(&content, time(NEXT_UPDATE)).is_ready());
    }
}
