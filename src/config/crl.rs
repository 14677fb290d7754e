//! `[issuer.crl]`: how the CRLs of an issuer are made.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{days, duration};
use crate::registry::CrlExtras;

/// `[issuer.crl]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrlConfig {
    /// nextUpdate − thisUpdate + 1 s. Default 7 d.
    #[serde(with = "duration")]
    pub validity: Duration,
    /// A CRL is issued at least this often. Default 1 d.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// CRL partitions of end-entity certificates, beside the full CRL; 0 to 65 536. Default 0. Never lower it: certificates name their partition for life.
    pub partitions: u32,
    /// A CRL that lists fewer certificates is issued at once after a revocation. Default 10 000.
    pub at_once_below: u64,
    /// A greater one is issued at once too, but then no more often than this because of revocations; where it has a delta, no more often than every 12 h: the
    /// delta is issued at once. At most 12 h (rule T5). Default 15 m. An OCSP answer never waits for it.
    #[serde(with = "duration")]
    pub coalesce: Duration,
    /// When entries of expired certificates leave (rule C6): `until-listed` on a scheduled CRL after the expiry (the default), a duration after the expiry
    /// such as `10y`, or `for-ever` (with expiredCertsOnCRL on CRLs and ArchiveCutoff in OCSP responses).
    pub keep_expired: KeepExpired,
    /// How many superseded CRLs of each scope the registry keeps, beside those that are still needed: all of them cost room. Default 30.
    pub superseded: u32,
    /// Whether every certificate says where OCSP is answered (AIA). Where not all do, CRLs have closer limits (rules C8, T5). Default true.
    pub aia_ocsp: bool,
    /// Whether a CA whose `mode` is `closed` issues one last CRL of each scope, with nextUpdate 99991231235959Z (rule T6). Default false.
    pub last_crl: bool,
    /// Times of the partitions, where they have their own.
    pub partition: TimesConfig,
    /// Present: revoked CA certificates stand on an ARL, and on no partition (rule C4).
    pub arl: Option<ArlConfig>,
    /// Present: there are delta CRLs (rule C5).
    pub delta: Option<DeltaConfig>,
}

/// Times of one scope; those of `[issuer.crl]` where absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimesConfig {
    /// As in `[issuer.crl]`.
    #[serde(deserialize_with = "optional_duration")]
    pub validity: Option<Duration>,
    /// As in `[issuer.crl]`.
    #[serde(deserialize_with = "optional_duration")]
    pub refresh: Option<Duration>,
}

/// `[issuer.crl.arl]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArlConfig {
    /// As in `[issuer.crl]`.
    #[serde(deserialize_with = "optional_duration")]
    pub validity: Option<Duration>,
    /// As in `[issuer.crl]`.
    #[serde(deserialize_with = "optional_duration")]
    pub refresh: Option<Duration>,
    /// Whether revoked CA certificates stand on the ARL alone: the full CRL is then one of end entities, with an issuingDistributionPoint that says so. Only for a
    /// CA whose certificates all name the URL of their CRL here, CAs' that of the ARL: with others, whoever validates finds no CRL that covers them. Default false.
    pub alone: bool,
}

impl ArlConfig {
    /// Times of its own, where it has them.
    pub fn own_times(&self) -> TimesConfig {
        TimesConfig { validity: self.validity, refresh: self.refresh }
    }
}

/// `[issuer.crl.delta]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeltaConfig {
    /// As in `[issuer.crl]`. Default 1 d.
    #[serde(with = "duration")]
    pub validity: Duration,
    /// As in `[issuer.crl]`. Default 1 h.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// Which complete CRLs have one. Default `["full"]`.
    pub of: Vec<DeltaOf>,
}

/// A kind of complete CRL that may have a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeltaOf {
    /// The full CRL.
    Full,
    /// Every partition.
    Partitions,
}

/// When the entry of an expired certificate leaves (rule C6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepExpired {
    /// `until-listed`.
    UntilListed,
    /// A duration.
    For(Duration),
    /// `for-ever`.
    ForEver,
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            validity: days(7),
            refresh: days(1),
            partitions: 0,
            at_once_below: 10_000,
            coalesce: Duration::from_secs(900),
            keep_expired: KeepExpired::UntilListed,
            superseded: 30,
            aia_ocsp: true,
            last_crl: false,
            partition: TimesConfig::default(),
            arl: None,
            delta: None,
        }
    }
}

impl Default for DeltaConfig {
    fn default() -> Self {
        Self { validity: days(1), refresh: Duration::from_secs(3600), of: vec![DeltaOf::Full] }
    }
}

impl CrlConfig {
    /// Which CRLs there are beside the full one and its partitions.
    pub fn extras(&self) -> CrlExtras {
        let has_delta = |of| self.delta.as_ref().is_some_and(|delta| delta.of.contains(&of));
        CrlExtras {
            arl: self.arl.is_some(),
            arl_alone: self.arl.as_ref().is_some_and(|arl| arl.alone),
            full_delta: has_delta(DeltaOf::Full),
            partition_deltas: has_delta(DeltaOf::Partitions),
        }
    }

    /// Validity and refresh of a scope that may have its own.
    pub fn times(&self, own: &TimesConfig) -> (Duration, Duration) {
        (own.validity.unwrap_or(self.validity), own.refresh.unwrap_or(self.refresh))
    }
}

impl std::fmt::Display for KeepExpired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeepExpired::UntilListed => f.write_str("until-listed"),
            KeepExpired::For(duration) => f.write_str(&super::check::text(*duration)),
            KeepExpired::ForEver => f.write_str("for-ever"),
        }
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for KeepExpired {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeepExpired, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "until-listed" => Ok(KeepExpired::UntilListed),
            "for-ever" => Ok(KeepExpired::ForEver),
            text => humantime::parse_duration(text).map(KeepExpired::For).map_err(|_| {
                de::Error::custom(format!("keep_expired: found '{text}', wanted until-listed, for-ever, or a duration such as 10y"))
            }),
        }
    }
}
