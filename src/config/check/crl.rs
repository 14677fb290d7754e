//! Bounds of `[issuer.crl]`: what the programmes allow (rules C5, C6, T5, T6), and what makes sense.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{DAY, Findings, HOUR};
use crate::config::crl::{CrlConfig, DeltaOf, KeepExpired};
use crate::signing::crl_policy::LONGEST_WAIT;
use crate::signing::gate::Programme;

const MINUTE: Duration = Duration::from_secs(60);
/// As `humantime` reads `y`.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// The greatest validity and refresh of CRLs, and whose rule that is.
#[derive(Clone, Copy)]
struct Bounds {
    validity: (Duration, &'static str),
    refresh: (Duration, &'static str),
}

/// Of CRLs that list subscriber certificates, or of others; whether all of them say where OCSP is answered.
fn bounds(programmes: &BTreeSet<Programme>, of_subscribers: bool, aia_ocsp: bool) -> Bounds {
    // Twelve months: no twelve are shorter than this year.
    let mut bounds = Bounds { validity: (365 * DAY, "T5"), refresh: (365 * DAY, "T5") };
    for programme in programmes {
        let (validity, refresh, rule) = match programme {
            Programme::BaselineRequirements if of_subscribers && aia_ocsp => (10 * DAY, 7 * DAY, "T5, baseline-requirements"),
            Programme::BaselineRequirements if of_subscribers => (10 * DAY, 4 * DAY, "T5, baseline-requirements without aia_ocsp"),
            Programme::CodeSigning => (10 * DAY, 7 * DAY, "T6, code-signing"),
            Programme::Etsi => (365 * DAY, DAY, "T6, etsi"),
            Programme::EtsiQualified => (365 * DAY, DAY, "T6, etsi-qualified"),
            Programme::Jpki => (72 * HOUR, DAY, "T6, jpki"),
            Programme::Fpki => (180 * HOUR, 18 * HOUR, "T6, fpki"),
            Programme::BaselineRequirements | Programme::Microsoft => continue,
        };
        if validity < bounds.validity.0 {
            bounds.validity = (validity, rule);
        }
        if refresh < bounds.refresh.0 {
            bounds.refresh = (refresh, rule);
        }
    }
    bounds
}

/// Everything that is out of bounds or against a rule of one of the programmes.
pub(super) fn check(findings: &mut Findings, crl: &CrlConfig, programmes: &BTreeSet<Programme>) {
    let (subscribers, authorities) = (bounds(programmes, true, crl.aia_ocsp), bounds(programmes, false, crl.aia_ocsp));
    // The full CRL of a CA without partitions and ARL may be a root's, which lists CAs only.
    let full = if crl.partitions > 0 || crl.arl.is_some() { subscribers } else { authorities };
    check_times(findings, "crl", (crl.validity, crl.refresh), full);
    if crl.partitions > 0 {
        check_times(findings, "crl.partition", crl.times(&crl.partition), subscribers);
    }
    if let Some(arl) = &crl.arl {
        check_times(findings, "crl.arl", crl.times(&arl.own_times()), authorities);
        let has_point = arl.alone && programmes.contains(&Programme::BaselineRequirements);
        findings.unless(!has_point, "crl.arl.alone", "true", "false: a full CRL has no issuingDistributionPoint (C4)");
    }
    if let Some(delta) = &crl.delta {
        check_times(findings, "crl.delta", (delta.validity, delta.refresh), subscribers);
        findings.unless(!delta.of.is_empty(), "crl.delta.of", "none", "at least one of full, partitions (C5)");
        let partitions_exist = !delta.of.contains(&DeltaOf::Partitions) || crl.partitions > 0;
        findings.unless(partitions_exist, "crl.delta.of", "partitions", "only where crl.partitions is not 0 (C5)");
    }
    findings.unless(crl.partitions <= 65_536, "crl.partitions", crl.partitions, "0 to 65536");
    findings.unless_duration(
        crl.coalesce <= LONGEST_WAIT,
        "crl.coalesce",
        crl.coalesce,
        "at most 12h: on a CRL within 24h of a revocation (T5)",
    );
    findings.unless(crl.superseded <= 1_000_000, "crl.superseded", crl.superseded, "0 to 1000000");
    if let KeepExpired::For(duration) = crl.keep_expired {
        findings.unless_duration(duration <= 100 * YEAR, "crl.keep_expired", duration, "at most 100y, or for-ever (C6)");
    }
    for (programme, kept_for, wanted) in [
        (Programme::CodeSigning, 10 * YEAR, "10y or more, or for-ever (C6, code-signing)"),
        (Programme::EtsiQualified, Duration::MAX, "for-ever (C6, etsi-qualified)"),
    ] {
        let is_kept = match crl.keep_expired {
            KeepExpired::UntilListed => false,
            KeepExpired::For(duration) => duration >= kept_for,
            KeepExpired::ForEver => true,
        };
        findings.unless(is_kept || !programmes.contains(&programme), "crl.keep_expired", crl.keep_expired, wanted);
    }
}

fn check_times(findings: &mut Findings, place: &str, (validity, refresh): (Duration, Duration), bounds: Bounds) {
    let (longest, rule) = bounds.validity;
    let wanted = format!("1h to {} ({rule})", super::text(longest));
    findings.unless_duration((HOUR..=longest).contains(&validity), &format!("{place}.validity"), validity, &wanted);
    let (rarest, rule) = bounds.refresh;
    let wanted = format!("1m to {}, and less than the validity ({rule})", super::text(rarest));
    let fits = (MINUTE..=rarest).contains(&refresh) && refresh < validity;
    findings.unless_duration(fits, &format!("{place}.refresh"), refresh, &wanted);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Programme::*;

    fn found(programmes: &[Programme], text: &str) -> Vec<String> {
        let crl: CrlConfig = toml::from_str(text).unwrap();
        let mut findings = Findings { place: String::new(), found: Vec::new() };
        check(&mut findings, &crl, &programmes.iter().copied().collect());
        findings.found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn t5_t6_c6_every_programme_has_its_bounds() {
        for (programmes, text, wanted) in [
            (&[][..], "validity = '366d'", "crl.validity: found '366d', wanted 1h to 365d (T5)"),
            (&[], "refresh = '7d'", "crl.refresh: found '7d', wanted 1m to 365d, and less than the validity (T5)"),
            (
                &[BaselineRequirements],
                "validity = '11d'\npartitions = 1",
                "crl.validity: found '11d', wanted 1h to 10d (T5, baseline-requirements)",
            ),
            (&[BaselineRequirements], "partitions = 1\n[partition]\nvalidity = '11d'", "crl.partition.validity: found '11d'"),
            (
                &[BaselineRequirements],
                "aia_ocsp = false\npartitions = 1\nrefresh = '5d'",
                "crl.refresh: found '5d', wanted 1m to 4d, and less than the validity (T5, baseline-requirements without aia_ocsp)",
            ),
            (&[BaselineRequirements], "[arl]\nvalidity = '366d'", "crl.arl.validity: found '366d', wanted 1h to 365d (T5)"),
            (
                &[BaselineRequirements],
                "[arl]\nalone = true",
                "crl.arl.alone: found 'true', wanted false: a full CRL has no issuingDistributionPoint (C4)",
            ),
            (&[BaselineRequirements, Fpki], "partitions = 1\nrefresh = '19h'", "wanted 1m to 18h, and less than the validity (T6, fpki)"),
            (&[Jpki], "validity = '73h'", "wanted 1h to 3d (T6, jpki)"),
            (&[Jpki], "validity = '72h'\nrefresh = '25h'", "wanted 1m to 1d, and less than the validity (T6, jpki)"),
            (&[Etsi], "refresh = '25h'", "(T6, etsi)"),
            (&[EtsiQualified], "keep_expired = '3650d'", "crl.keep_expired: found '3650d', wanted for-ever (C6, etsi-qualified)"),
            (&[CodeSigning], "", "crl.keep_expired: found 'until-listed', wanted 10y or more, or for-ever (C6, code-signing)"),
            (&[], "[delta]\nrefresh = '2d'", "crl.delta.refresh: found '2d'"),
            (&[], "[delta]\nof = ['partitions']", "crl.delta.of: found 'partitions', wanted only where crl.partitions is not 0 (C5)"),
            (&[], "[delta]\nof = []", "crl.delta.of: found 'none'"),
            (&[], "coalesce = '13h'", "crl.coalesce: found '13h', wanted at most 12h"),
            (&[], "partitions = 65537", "crl.partitions: found '65537'"),
        ] {
            let found = found(programmes, text);
            assert!(found.iter().any(|finding| finding.contains(wanted)), "{programmes:?} {text}: {found:?}");
        }
    }

    #[test]
    fn t5_t6_s5_3_what_the_programmes_ask_for_passes() {
        for (programmes, text) in [
            (&[][..], ""),
            (&[Jpki], "validity = '72h'\nrefresh = '1d'\n[arl]\nalone = true"),
            (&[Etsi], "last_crl = true"),
            (&[EtsiQualified], "last_crl = true\nkeep_expired = 'for-ever'"),
            (&[Fpki], "validity = '48h'\nrefresh = '18h'"),
            (&[CodeSigning, Microsoft], "keep_expired = '10y'"),
            (&[BaselineRequirements], "validity = '365d'\nrefresh = '180d'"),
            (
                &[BaselineRequirements],
                "validity = '10d'\nrefresh = '7d'\npartitions = 4\n[arl]\nvalidity = '365d'\nrefresh = '300d'\n[delta]\nof = ['full', 'partitions']",
            ),
        ] {
            assert_eq!(found(programmes, text), Vec::<String>::new(), "{programmes:?} {text}");
        }
    }

    #[test]
    fn c6_a_retention_that_is_none_is_named() {
        let error = toml::from_str::<CrlConfig>("keep_expired = 'always'").unwrap_err().to_string();
        assert!(error.contains("'always'") && error.contains("for-ever"), "{error}");
    }
}
