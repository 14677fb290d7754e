//! Renewing the certificate of an OCSP responder: the same subject and key, and a later end.

use std::time::Duration;

use super::hierarchy;
use super::{IssuanceError, Issuer, Validity};
use crate::pki::{CertificateInfo, Serial, Timestamp};

/// How long before its end a responder certificate is renewed where nothing else is configured: when a third of its validity is left, but early enough for
/// every response to get its whole validity (`ocsp_validity`) twice over (rule T3).
pub fn lead_time(certificate: &CertificateInfo, ocsp_validity: Duration) -> Duration {
    (certificate.not_after.since(certificate.not_before) / 3).max(2 * ocsp_validity)
}

/// The validity that the successor of `old` is to have, where it is due at `now`: when no more than `before` is left of `old`. As long as that of `old`, from
/// now on, but not beyond the end of the CA. `None` while it is not due, or would end no later.
///
/// However great `before` is, a third of the validity passes before the next renewal.
pub fn due(old: &CertificateInfo, ca: &CertificateInfo, before: Duration, now: Timestamp) -> Option<Validity> {
    let lifetime = old.not_after.since(old.not_before);
    let before = before.min(lifetime - lifetime / 3);
    let successor = Validity { not_before: now, not_after: now.saturating_add(lifetime).min(ca.not_after) };
    let is_due = old.not_after.saturating_sub(before) <= now;
    (is_due && successor.not_after > old.not_after && successor.not_after > now).then_some(successor)
}

/// The DER certificate that succeeds `old`: its subject, octet for octet, its key and its extensions, under a new serial number. Fails where `old` is not a
/// certificate of this issuer's.
pub fn renewed(issuer: &Issuer, old: &CertificateInfo, serial: Serial, validity: Validity) -> Result<Vec<u8>, IssuanceError> {
    if old.issuer != issuer.certificate().subject {
        let wanted = format!("one that {} has issued", issuer.certificate().subject_text);
        return Err(IssuanceError::field("responder certificate", old.subject_text.clone(), wanted));
    }
    hierarchy::again(issuer, old, serial, validity)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use der::Decode;

    use super::super::profile::{Choices, Profile, Request};
    use super::super::{Order, RootOrder, responder_certificate, self_signed_root};
    use super::*;
    use crate::pki::KeyAlgorithm;
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    const DAY: Duration = Duration::from_secs(86_400);
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn day(n: u32) -> Timestamp {
        Timestamp::from_unix(1_800_000_000).unwrap().saturating_add(DAY * n)
    }

    fn validity(from: u32, to: u32) -> Validity {
        Validity { not_before: day(from), not_after: day(to) }
    }

    fn ca(subject: &str) -> Issuer {
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let order = RootOrder { subject, serial: "01".parse().unwrap(), validity: validity(0, 1000), signs_ocsp: false };
        Issuer::new(CertificateInfo::from_der(&self_signed_root(&order, &*key).unwrap()).unwrap(), key).unwrap()
    }

    fn responder(issuer: &Issuer, validity: Validity) -> CertificateInfo {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let order = Order { subject: "CN=Responder,C=JP", spki: key.public_key(), serial: "02".parse().unwrap(), validity };
        CertificateInfo::from_der(&responder_certificate(issuer, &order).unwrap()).unwrap()
    }

    #[test]
    fn t3_a_responder_certificate_is_renewed_before_it_cuts_a_response_short() {
        let issuer = ca("CN=Root");
        let (ca, long, short) = (issuer.certificate(), responder(&issuer, validity(0, 300)), responder(&issuer, validity(0, 30)));
        assert_eq!((lead_time(&long, WEEK), lead_time(&short, WEEK)), (DAY * 100, DAY * 14));
        assert_eq!(due(&long, ca, DAY * 100, day(199)), None);
        assert_eq!(due(&long, ca, DAY * 100, day(200)), Some(validity(200, 500)));
        assert_eq!(due(&short, ca, DAY * 14, day(15)), None);
        assert_eq!(due(&short, ca, DAY * 14, day(16)), Some(validity(16, 46)));
        assert_eq!(due(&long, ca, DAY * 100, day(400)), Some(validity(400, 700)), "after its end too");
    }

    #[test]
    fn t3_renewal_ends_with_the_ca_and_never_runs_wild() {
        let issuer = ca("CN=Root");
        let (ca, certificate) = (issuer.certificate(), responder(&issuer, validity(690, 990)));
        assert_eq!(due(&certificate, ca, DAY * 100, day(890)), Some(validity(890, 1000)));
        assert_eq!(due(&responder(&issuer, validity(890, 1000)), ca, DAY * 100, day(999)), None, "it would end no later");
        assert_eq!(due(&certificate, ca, DAY * 100, day(1000)), None, "nothing is issued by a CA that has ended");
        let (mut certificate, mut renewals) = (responder(&issuer, validity(0, 30)), 0);
        for today in 0..300 {
            if let Some(validity) = due(&certificate, ca, DAY * 1000, day(today)) {
                certificate = responder(&issuer, validity);
                renewals += 1;
            }
        }
        assert_eq!(renewals, 29, "every ten days, though it is always to be renewed a thousand days ahead");
    }

    #[test]
    fn s5_7_a_renewed_certificate_has_the_policies_of_the_one_before() {
        let text = include_str!("../../config/profiles/jpki-ocsp-responder.toml").replace("legacy = true", "");
        let profile = Profile::from_toml("jpki", &text.replace("rsa-1024", "ecdsa-p256").replace("rsa-sha256", "ecdsa-sha256")).unwrap();
        let (issuer, key) = (ca("CN=Root"), SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let request = Request {
            subject: &profile.subject("CN=Responder,C=JP").unwrap(),
            spki: key.public_key(),
            serial: "11223344556677889900aabbccddeeff".parse().unwrap(),
            validity: profile.validity(day(0)).unwrap(),
            alternative_names: &[],
            key_identifier: None,
        };
        let old = CertificateInfo::from_der(&profile.certificate(&issuer, &Choices::default(), &request).unwrap()).unwrap();
        let new = renewed(&issuer, &old, "03".parse().unwrap(), validity(20, 50)).unwrap();
        let policies = [0x06, 0x03, 0x55, 0x1d, 0x20];
        assert!(new.windows(policies.len()).any(|octets| octets == policies), "certificatePolicies");
    }

    #[test]
    fn p1_a_renewed_certificate_is_the_same_but_for_serial_and_validity() {
        let issuer = ca("CN=Root");
        let old = responder(&issuer, validity(0, 30));
        let new = renewed(&issuer, &old, "03".parse().unwrap(), validity(20, 50)).unwrap();
        let new = CertificateInfo::from_der(&new).unwrap();
        assert!(new.is_signed_by(&issuer.certificate().spki));
        let expected =
            CertificateInfo { der: new.der.clone(), serial: "03".parse().unwrap(), not_before: day(20), not_after: day(50), ..old.clone() };
        assert_eq!(new, expected);
        let extensions = |of: &CertificateInfo| x509_cert::Certificate::from_der(&of.der).unwrap().tbs_certificate.extensions;
        assert_eq!(extensions(&new), extensions(&old));
        let error = renewed(&ca("CN=Other"), &old, "03".parse().unwrap(), validity(20, 50)).unwrap_err();
        assert!(error.to_string().contains("one that CN=Other has issued"), "{error}");
    }
}
