//! Which freshly signed responses the gate looks at. Every CRL is looked at, always.
//!
//! | response | rules | signature verified |
//! |---|---|---|
//! | the first that is signed for a slot | all | yes |
//! | says revoked, and what is published does not | all | yes |
//! | says revoked, as before | all | one in [`ONE_IN`] |
//! | any other | one in [`ONE_IN`] | with them |
//!
//! All responses of a slot are written from one template and signed by one key: a fault of either is in the first of them. The sample is there for faults
//! that come and go. Which responses are in it follows from serial and time, so it is another one with every refresh, and over 128 of them every
//! certificate has had its turn about once. `kakunin verify` looks at all that is published.

use crate::pki::{CertificateStatus, SlotHash, Timestamp};

/// One response in so many is looked at beside those that always are.
pub const ONE_IN: u64 = 128;

/// How closely a response is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    None,
    /// Against every rule, without verifying the signature.
    Rules,
    /// Against every rule, the signature too.
    RulesAndSignature,
}

/// How closely to look at a response that is signed at `now`. `published` is the status that is published for the certificate, where there is one.
pub fn look(first: bool, hash: SlotHash, status: CertificateStatus, published: Option<CertificateStatus>, now: Timestamp) -> Look {
    let says_revoked = status != CertificateStatus::Good;
    let is_news = says_revoked && published != Some(status);
    match () {
        () if first || is_news || is_in_sample(hash, now) => Look::RulesAndSignature,
        () if says_revoked => Look::Rules,
        () => Look::None,
    }
}

/// The low bits of a hash are spread evenly within a slot, which its top bits name.
fn is_in_sample(hash: SlotHash, now: Timestamp) -> bool {
    let mixed = (hash.0 ^ now.unix().wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32).is_multiple_of(ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Revocation, Serial};

    fn hashes() -> Vec<SlotHash> {
        (0..20_000u64).map(|n| SlotHash::from(&Serial::from_magnitude(&(n + (1 << 40)).to_be_bytes()).unwrap())).collect()
    }

    #[test]
    fn the_first_of_a_slot_and_a_revocation_are_always_looked_at() {
        let now = Timestamp::from_unix(1_800_000_000).unwrap();
        let revoked = CertificateStatus::Revoked(Revocation { at: now, reason: None });
        for hash in hashes().into_iter().take(500) {
            assert_eq!(look(true, hash, CertificateStatus::Good, None, now), Look::RulesAndSignature);
            for published in [None, Some(CertificateStatus::Good)] {
                assert_eq!(look(false, hash, revoked, published, now), Look::RulesAndSignature);
            }
            assert_ne!(look(false, hash, revoked, Some(revoked), now), Look::None);
        }
    }

    #[test]
    fn the_sample_is_small_and_another_one_each_time() {
        let (hashes, mut ever) = (hashes(), std::collections::HashSet::new());
        for round in 0..ONE_IN {
            let now = Timestamp::from_unix(1_800_000_000 + round * 84 * 3600).unwrap();
            let seen: Vec<_> = hashes.iter().filter(|hash| look(false, **hash, CertificateStatus::Good, None, now) != Look::None).collect();
            assert!((100..220).contains(&seen.len()), "{} of {}", seen.len(), hashes.len());
            ever.extend(seen.into_iter().map(|hash| hash.0));
        }
        assert!(ever.len() > hashes.len() / 2, "{} of {} ever seen", ever.len(), hashes.len());
    }
}
