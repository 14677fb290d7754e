//! `[live]` and `[issuer.ocsp.live]`: what is signed while a client waits, and what that may take up.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// `[live]`: the live lane of this process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveConfig {
    /// Threads that sign answers, beside the worker's; on a token each has a session of its own beside the worker's. 1 to 64. Default 1.
    pub threads: usize,
    /// Questions that wait for them; 1 to 100 000. Default 256. More are answered without the lane.
    pub queue: usize,
    /// How long a client waits for an answer before it gets the pre-signed one, or tryLater; 10 ms to 10 s (rule O16). Default 2 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Answers without a nonce that are kept until due, some 2.5 KiB each; 0 to 10 000 000. Default 10 000.
    pub cached_answers: usize,
    /// The URL of a node that signs, for a process without keys: questions are passed on to it by OCSP. Default: none.
    pub upstream: Option<String>,
    /// Connections to that node; 1 to 256. Default 8.
    pub upstream_connections: usize,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self { threads: 1, queue: 256, timeout: Duration::from_secs(2), cached_answers: 10_000, upstream: None, upstream_connections: 8 }
    }
}

/// `[issuer.ocsp.live]`: what is answered live for an issuer's certificates. The default is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerLiveConfig {
    /// Echo nonces of 16 to 32 octets (rule O11). Default false.
    pub nonce: bool,
    /// Answer CertIDs with hashes that are not in `cert_id_hashes`. Default false.
    pub other_hashes: bool,
    /// Answer requests for several certificates (up to 16). Default false.
    pub several: bool,
    /// What serials are answered that were never issued. Default `unauthorized`.
    pub unknown: UnknownConfig,
    /// Answers signed in a second; 1 to 1 000 000. Default 100.
    pub budget: NonZeroU32,
}

/// What serials are answered that were never issued (rules O9, O10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownConfig {
    /// `unauthorized`, without a signature.
    #[default]
    Unauthorized,
    /// A signed `unknown`.
    Unknown,
    /// A signed `revoked`, with the extended-revoke extension. Not for CAs under the Baseline Requirements (rule O10).
    ExtendedRevoke,
}

impl Default for IssuerLiveConfig {
    fn default() -> Self {
        let budget = NonZeroU32::MIN.saturating_add(99);
        Self { nonce: false, other_hashes: false, several: false, unknown: UnknownConfig::Unauthorized, budget }
    }
}

impl IssuerLiveConfig {
    /// Whether anything is answered live.
    pub fn is_on(&self) -> bool {
        self.nonce || self.other_hashes || self.several || self.unknown != UnknownConfig::Unauthorized
    }
}

/// What is out of bounds in `[live]`: field, value, what is wanted.
pub(super) fn out_of_bounds(live: &LiveConfig) -> impl Iterator<Item = (&'static str, String, &'static str)> {
    let timeout = (Duration::from_millis(10)..=Duration::from_secs(10)).contains(&live.timeout);
    let is_url = live.upstream.as_ref().is_none_or(|url| is_http_url(url));
    let checks = [
        ((1..=64).contains(&live.threads), "threads", live.threads.to_string(), "1 to 64"),
        ((1..=100_000).contains(&live.queue), "queue", live.queue.to_string(), "1 to 100000"),
        (timeout, "timeout", humantime::format_duration(live.timeout).to_string(), "10ms to 10s (O16)"),
        (live.cached_answers <= 10_000_000, "cached_answers", live.cached_answers.to_string(), "0 to 10000000"),
        (is_url, "upstream", live.upstream.clone().unwrap_or_default(), "an http:// URL with host, port and perhaps a path"),
        ((1..=256).contains(&live.upstream_connections), "upstream_connections", live.upstream_connections.to_string(), "1 to 256"),
    ];
    checks.into_iter().filter(|(holds, ..)| !holds).map(|(_, field, found, wanted)| (field, found, wanted))
}

fn is_http_url(url: &str) -> bool {
    let parsed = url.parse::<hyper::Uri>().ok().filter(|uri| uri.scheme_str() == Some("http") && uri.query().is_none());
    url.len() <= 512 && parsed.is_some_and(|uri| uri.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_no_live_lane() {
        assert!(!IssuerLiveConfig::default().is_on());
        assert_eq!(out_of_bounds(&LiveConfig::default()).count(), 0);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let wrong = LiveConfig {
            threads: 0,
            queue: 0,
            timeout: Duration::from_secs(11),
            cached_answers: usize::MAX,
            upstream: Some("https://va.example".to_owned()),
            upstream_connections: 257,
        };
        let fields: Vec<_> = out_of_bounds(&wrong).map(|(field, ..)| field).collect();
        assert_eq!(fields, ["threads", "queue", "timeout", "cached_answers", "upstream", "upstream_connections"]);
        for (url, usable) in
            [("http://va:2560", true), ("http://[::1]:80/ocsp", true), ("va:2560", false), ("http://", false), ("http:///x", false)]
        {
            assert_eq!(is_http_url(url), usable, "{url}");
        }
    }
}
