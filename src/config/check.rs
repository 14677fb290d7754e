//! Bounds of the configuration, and the timing rules that can be held against it before anything is signed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{Config, IssuerConfig, KeyConfig, ResponderConfig, TokenConfig, UnknownConfig, live};
use crate::signing::gate::Programme;

mod crl;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MAX_PROFILES: usize = 100;
const THREADS: std::ops::RangeInclusive<usize> = 1..=256;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: `issuer 'issuing': ocsp.validity`.
    pub field: String,
    /// What it says.
    pub found: String,
    /// What is wanted, with the rule id where a rule says so.
    pub wanted: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {}", self.field, self.found, self.wanted)
    }
}

/// Collects findings under a prefix that names the place.
struct Findings {
    place: String,
    found: Vec<Finding>,
}

impl Findings {
    fn unless(&mut self, holds: bool, field: &str, found: impl fmt::Display, wanted: &str) {
        if !holds {
            let field = format!("{}{field}", self.place);
            self.found.push(Finding { field, found: format!("'{found}'"), wanted: wanted.to_owned() });
        }
    }

    fn unless_duration(&mut self, holds: bool, field: &str, found: Duration, wanted: &str) {
        self.unless(holds, field, text(found), wanted);
    }
}

/// A duration as it would be written in the file.
pub(super) fn text(duration: Duration) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let whole = units.into_iter().find(|(seconds, _)| duration.as_secs().is_multiple_of(*seconds) && !duration.is_zero());
    whole.map_or_else(|| format!("{}s", duration.as_secs()), |(seconds, unit)| format!("{}{unit}", duration.as_secs() / seconds))
}

/// Everything that is out of bounds or against a rule.
pub fn bounds(config: &Config) -> Vec<Finding> {
    let mut findings = Findings { place: String::new(), found: Vec::new() };
    let url = &config.base_url;
    let is_url = url.starts_with("http://") && url.len() > 7 && url.len() <= 512 && !url.ends_with('/');
    findings.unless(
        is_url && url.bytes().all(|b| b.is_ascii_graphic()),
        "base_url",
        url,
        "an http:// URL of at most 512 characters without a trailing slash (C4)",
    );
    check_responder(&mut findings, &config.responder);
    for (field, found, wanted) in live::out_of_bounds(&config.live) {
        findings.unless(false, &format!("live.{field}"), found, wanted);
    }
    findings.unless(THREADS.contains(&config.signing.threads), "signing.threads", config.signing.threads, "1 to 256");
    findings.unless(THREADS.contains(&config.issuing.threads), "issuing.threads", config.issuing.threads, "1 to 256");
    findings.unless(config.issuers.len() <= 10_000, "issuer", config.issuers.len(), "at most 10000 issuers");
    let mut names = BTreeSet::new();
    for token in &config.tokens {
        findings.place = format!("token '{}': ", token.name);
        findings.unless(names.insert(&token.name), "name", &token.name, "a name that no other token has");
        check_token(&mut findings, token);
    }
    let mut names = BTreeSet::new();
    for issuer in &config.issuers {
        findings.place = format!("issuer '{}': ", issuer.name);
        findings.unless(names.insert(&issuer.name), "name", &issuer.name, "a name that no other issuer has");
        check_issuer(&mut findings, issuer);
        let keys = issuer.key.iter().chain(issuer.responder.iter().map(|r| &r.key));
        keys.for_each(|key| check_key(&mut findings, key, config));
    }
    findings.found
}

fn check_responder(findings: &mut Findings, responder: &ResponderConfig) {
    findings.place = "responder.".to_owned();
    let addresses = responder.listen.len();
    findings.unless((1..=16).contains(&addresses), "listen", format!("{addresses} addresses"), "1 to 16 addresses");
    findings.unless(THREADS.contains(&responder.threads), "threads", responder.threads, "1 to 256");
    let connections = responder.max_connections;
    findings.unless((1..=1_000_000).contains(&connections), "max_connections", connections, "1 to 1000000");
    findings.unless(responder.max_requests_per_connection > 0, "max_requests_per_connection", 0, "1 to 4294967295");
    let octets = responder.max_header_bytes;
    findings.unless((8192..=1 << 20).contains(&octets), "max_header_bytes", octets, "8192 to 1048576");
    let times = [
        ("header_read_timeout", responder.header_read_timeout),
        ("body_read_timeout", responder.body_read_timeout),
        ("write_stall_timeout", responder.write_stall_timeout),
        ("drain_timeout", responder.drain_timeout),
    ];
    for (field, time) in times {
        findings.unless_duration((Duration::from_millis(100)..=HOUR).contains(&time), field, time, "100ms to 1h");
    }
    let announce = responder.announce_stop;
    findings.unless_duration(announce <= HOUR, "announce_stop", announce, "0s to 1h");
    findings.place.clear();
}

fn check_token(findings: &mut Findings, token: &TokenConfig) {
    let pins = usize::from(token.pin_file.is_some()) + usize::from(token.pin_env.is_some());
    findings.unless(pins == 1, "pin_file, pin_env", format!("{pins} of them"), "exactly one");
    findings.unless(token.sessions.is_none_or(|n| (1..=256).contains(&n)), "sessions", token.sessions.unwrap_or(0), "1 to 256");
}

fn check_key(findings: &mut Findings, key: &KeyConfig, config: &Config) {
    let object = key.label.is_some() || key.id.is_some();
    match (&key.file, &key.token) {
        (Some(file), None) => findings.unless(!object, "key.label, key.id", file.display(), "only together with key.token"),
        (None, Some(token)) => {
            findings.unless(config.tokens.iter().any(|t| t.name == *token), "key.token", token, "the name of a [[token]]");
            findings.unless(object, "key.label, key.id", "neither", "at least one of them");
        }
        _ => findings.unless(false, "key", format!("{key:?}"), "either file, or token with label or id"),
    }
    let names = ["rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384", "ed25519"];
    let signature = key.signature.as_deref();
    findings.unless(signature.is_none_or(|s| names.contains(&s)), "key.signature", signature.unwrap_or(""), &names.join(", "));
}

fn check_issuer(findings: &mut Findings, issuer: &IssuerConfig) {
    let name = &issuer.name;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
    let length_fits = (1..=64).contains(&name.len());
    findings.unless(plain && length_fits && !name.starts_with('.'), "name", name, "1 to 64 of a-z, 0-9, '-', '_', '.', not first a '.'");
    findings.unless(!issuer.ocsp.cert_id_hashes.is_empty(), "ocsp.cert_id_hashes", "none", "at least one of sha1, sha256, sha384, sha512");
    check_ocsp_timing(findings, issuer.ocsp.validity, issuer.ocsp.refresh);
    let (live, is_br) = (&issuer.ocsp.live, issuer.profile().has(Programme::BaselineRequirements));
    let allowed = "unauthorized or unknown (O10, baseline-requirements)";
    findings.unless(!(is_br && live.unknown == UnknownConfig::ExtendedRevoke), "ocsp.live.unknown", "extended-revoke", allowed);
    let budget = live.budget.get();
    findings.unless(budget <= 1_000_000, "ocsp.live.budget", budget, "1 to 1000000");
    if let Some(before) = issuer.responder.as_ref().and_then(|responder| responder.renew_before) {
        findings.unless_duration(before >= issuer.ocsp.validity, "responder.renew_before", before, "at least ocsp.validity (T3)");
    }
    let ocsp = &issuer.ocsp;
    if issuer.profile().has(Programme::Microsoft) {
        findings.unless_duration(ocsp.validity <= 7 * DAY, "ocsp.validity", ocsp.validity, "at most 7d (T2, microsoft)");
        let half = ocsp.validity / 2;
        findings.unless_duration(ocsp.refresh <= half, "ocsp.refresh", ocsp.refresh, "at most half of ocsp.validity (T2, microsoft)");
    }
    crl::check(findings, &issuer.crl, &issuer.programmes);
    let profiles = &issuer.issuance.profiles;
    findings.unless(profiles.len() <= MAX_PROFILES, "issuance.profiles", profiles.len(), "at most 100 profiles");
    let mut seen = BTreeSet::new();
    for profile in profiles {
        findings.unless(seen.insert(profile), "issuance.profiles", profile, "each profile once");
    }
}

/// Rule T1, which is S3.6 too.
fn check_ocsp_timing(findings: &mut Findings, validity: Duration, refresh: Duration) {
    findings.unless_duration((8 * HOUR..=10 * DAY).contains(&validity), "ocsp.validity", validity, "8h to 10d (T1)");
    let half = validity / 2;
    if validity < 16 * HOUR {
        findings.unless_duration(refresh < half, "ocsp.refresh", refresh, "less than half of ocsp.validity, where that is below 16h (T1)");
    } else {
        // nextUpdate is the last second of the validity.
        let latest = (validity - Duration::from_secs(1)).saturating_sub(8 * HOUR).min(4 * DAY);
        findings.unless_duration(
            refresh <= latest,
            "ocsp.refresh",
            refresh,
            "at most 4d, and 8h before nextUpdate, the last second of ocsp.validity (T1)",
        );
    }
    findings.unless_duration(refresh >= HOUR / 60, "ocsp.refresh", refresh, "1m or more");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(validity: Duration, refresh: Duration) -> usize {
        let mut findings = Findings { place: String::new(), found: Vec::new() };
        check_ocsp_timing(&mut findings, validity, refresh);
        findings.found.len()
    }

    #[test]
    fn s3_6_t1_refresh_before_half_of_a_short_validity() {
        assert_eq!(timing(10 * HOUR, 5 * HOUR), 1);
        assert_eq!(timing(10 * HOUR, 5 * HOUR - HOUR / 60), 0);
    }

    #[test]
    fn s3_6_t1_refresh_eight_hours_before_next_update_and_within_four_days() {
        assert_eq!(timing(16 * HOUR, 8 * HOUR - Duration::from_secs(1)), 0);
        assert_eq!(timing(16 * HOUR, 8 * HOUR), 1);
        assert_eq!(timing(10 * DAY, 4 * DAY), 0);
        assert_eq!(timing(10 * DAY, 4 * DAY + HOUR), 1);
        assert_eq!(timing(7 * HOUR, HOUR), 1);
        assert_eq!(timing(11 * DAY, DAY), 1);
    }
}
