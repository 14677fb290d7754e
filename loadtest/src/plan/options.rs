//! What a plan is made for: options of the command line and of a TOML file, under the same names, checked once.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::facts::KeyAlgorithm;

/// The greatest file of options that is read, in octets.
const MOST_OCTETS: u64 = 1 << 20;

/// Options as they were given.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Unexpired certificates whose status is signed
    #[arg(long, value_name = "N")]
    pub certificates: Option<u64>,
    /// The key that signs responses and CRLs [default: ecdsa-p256]
    #[arg(long, value_name = "ALGORITHM")]
    pub key_algorithm: Option<KeyAlgorithm>,
    /// CertID hashes that are pre-signed: 1 (SHA-1) or 2 (SHA-256 too) [default: 2]
    #[arg(long, value_name = "N")]
    pub hashes: Option<u32>,
    /// How long a response is valid [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "time")]
    pub validity: Option<Duration>,
    /// How often a response is signed anew [default: 3d 12h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "time")]
    pub refresh: Option<Duration>,
    /// How long a certificate is valid: says how many are issued a day [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "time")]
    pub lifetime: Option<Duration>,
    /// The part of the certificates that is revoked, from 0 to 1 [default: 0.01]
    #[arg(long, value_name = "PART")]
    pub revoked: Option<f64>,
    /// Certificates that are revoked at once in the worst case [default: all]
    #[arg(long, value_name = "N")]
    pub mass_revocation: Option<u64>,
    /// CRL partitions; 0: one full CRL [default: 0]
    #[arg(long, value_name = "N")]
    pub crl_partitions: Option<u32>,
    /// How long a CRL is valid [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "time")]
    pub crl_validity: Option<Duration>,
    /// How often a CRL is issued [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "time")]
    pub crl_refresh: Option<Duration>,
    /// OCSP queries a second of all relying parties in the busiest minute
    #[arg(long, value_name = "RATE")]
    pub queries: Option<f64>,
    /// CRL downloads a second of all relying parties in the busiest minute [default: 0]
    #[arg(long, value_name = "RATE")]
    pub crl_pulls: Option<f64>,
    /// The part of them that a CDN answers, from 0 to 1 [default: 0]
    #[arg(long, value_name = "PART")]
    pub cdn_hit_rate: Option<f64>,
    /// The part of the queries that comes on a connection of its own [default: 0.1]
    #[arg(long, value_name = "PART")]
    pub new_connections: Option<f64>,
    /// The part of the queries that is answered 304 [default: 0]
    #[arg(long, value_name = "PART")]
    pub not_modified: Option<f64>,
    /// The part of the queries that asks by SHA-256 CertIDs [default: 0]
    #[arg(long, value_name = "PART")]
    pub sha256: Option<f64>,
    /// Tokens that sign for the service [default: 1]
    #[arg(long, value_name = "N")]
    pub tokens: Option<u32>,
    /// Signatures a second of one token, as `kakunin token bench` measures
    #[arg(long, value_name = "RATE")]
    pub token_rate: Option<f64>,
    /// Hosts that answer; one of them may be down [default: 2]
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Microseconds of server CPU an answer on a kept connection, as a load test with --server-pid measures [default: 9.5]
    #[arg(long, value_name = "MICROS")]
    pub cpu_per_request: Option<f64>,
    /// Microseconds of server CPU that a new connection costs [default: 35]
    #[arg(long, value_name = "MICROS")]
    pub cpu_per_connection: Option<f64>,
    /// The part of its cores that a node is to be busy at most [default: 0.5]
    #[arg(long, value_name = "PART")]
    pub utilisation: Option<f64>,
}

/// What a plan is made for. Every field is within its bounds.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Input {
    pub certificates: f64,
    pub key_algorithm: KeyAlgorithm,
    pub hashes: f64,
    pub validity: f64,
    pub refresh: f64,
    pub lifetime: f64,
    pub revoked: f64,
    pub mass_revocation: f64,
    pub crl_partitions: f64,
    pub crl_validity: f64,
    pub crl_refresh: f64,
    pub queries: f64,
    pub crl_pulls: f64,
    pub cdn_hit_rate: f64,
    pub new_connections: f64,
    pub not_modified: f64,
    pub sha256: f64,
    pub tokens: f64,
    pub token_rate: f64,
    pub nodes: f64,
    pub cpu_per_request: f64,
    pub cpu_per_connection: f64,
    pub utilisation: f64,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// An option out of its bounds.
    #[error("{option}: found {found}, wanted {wanted}")]
    Bounds {
        /// Its name, on the command line and in the file.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// The file cannot be read, or is no TOML of these options.
    #[error("{0}")]
    File(String),
}

impl Options {
    /// Reads a TOML file. Fails where it is greater than a megabyte or has an option that there is not.
    pub fn read(path: &Path) -> Result<Options, OptionsError> {
        use std::io::Read;
        let error = |why: &dyn std::fmt::Display| OptionsError::File(format!("{}: {why}", path.display()));
        let mut content = String::new();
        std::fs::File::open(path).and_then(|file| file.take(MOST_OCTETS).read_to_string(&mut content)).map_err(|e| error(&e))?;
        if content.len() as u64 == MOST_OCTETS {
            return Err(error(&format!("more than {} octets, wanted fewer", MOST_OCTETS - 1)));
        }
        toml::from_str(&content).map_err(|e| error(&e))
    }

    /// These options, and for those that are not among them the other ones.
    pub fn or(self, other: Options) -> Options {
        macro_rules! first {
            ($($field:ident),*) => { Options { $($field: self.$field.or(other.$field)),* } };
        }
        first!(
            certificates,
            key_algorithm,
            hashes,
            validity,
            refresh,
            lifetime,
            revoked,
            mass_revocation,
            crl_partitions,
            crl_validity,
            crl_refresh,
            queries,
            crl_pulls,
            cdn_hit_rate,
            new_connections,
            not_modified,
            sha256,
            tokens,
            token_rate,
            nodes,
            cpu_per_request,
            cpu_per_connection,
            utilisation
        )
    }

    /// With the defaults, checked.
    pub fn input(&self) -> Result<Input, OptionsError> {
        const DAY: u64 = 86_400;
        let certificates = number(
            "certificates",
            self.certificates.map(|n| n as f64),
            1.0..=1e10,
            "1 to 10000000000 of them: how many there are is the plan's ground",
        )?;
        Ok(Input {
            certificates,
            key_algorithm: self.key_algorithm.unwrap_or(KeyAlgorithm::EcdsaP256),
            hashes: number("hashes", Some(f64::from(self.hashes.unwrap_or(2))), 1.0..=2.0, "1 or 2")?,
            validity: seconds("validity", self.validity, 7 * DAY)?,
            refresh: seconds("refresh", self.refresh, 7 * DAY / 2)?,
            lifetime: seconds("lifetime", self.lifetime, 90 * DAY)?,
            revoked: part("revoked", self.revoked, 0.01)?,
            mass_revocation: number(
                "mass-revocation",
                Some(self.mass_revocation.map_or(certificates, |n| n as f64)),
                0.0..=certificates,
                "0 to certificates",
            )?,
            crl_partitions: number("crl-partitions", Some(f64::from(self.crl_partitions.unwrap_or(0))), 0.0..=65_536.0, "0 to 65536")?,
            crl_validity: seconds("crl-validity", self.crl_validity, 7 * DAY)?,
            crl_refresh: seconds("crl-refresh", self.crl_refresh, DAY)?,
            queries: number("queries", self.queries, 0.0..=1e9, "0 to 1000000000 a second in the busiest minute")?,
            crl_pulls: number("crl-pulls", Some(self.crl_pulls.unwrap_or(0.0)), 0.0..=1e9, "0 to 1000000000 a second")?,
            cdn_hit_rate: part("cdn-hit-rate", self.cdn_hit_rate, 0.0)?,
            new_connections: part("new-connections", self.new_connections, 0.1)?,
            not_modified: part("not-modified", self.not_modified, 0.0)?,
            sha256: part("sha256", self.sha256, 0.0)?,
            tokens: number("tokens", Some(f64::from(self.tokens.unwrap_or(1))), 1.0..=1000.0, "1 to 1000")?,
            token_rate: number(
                "token-rate",
                self.token_rate,
                0.001..=1e8,
                "0.001 to 100000000 signatures a second: measure it with `kakunin token bench`",
            )?,
            nodes: number("nodes", Some(f64::from(self.nodes.unwrap_or(2))), 1.0..=10_000.0, "1 to 10000")?,
            cpu_per_request: number(
                "cpu-per-request",
                Some(self.cpu_per_request.unwrap_or(9.5)),
                0.01..=1e6,
                "0.01 to 1000000 microseconds",
            )?,
            cpu_per_connection: number(
                "cpu-per-connection",
                Some(self.cpu_per_connection.unwrap_or(35.0)),
                0.0..=1e6,
                "0 to 1000000 microseconds",
            )?,
            utilisation: number("utilisation", Some(self.utilisation.unwrap_or(0.5)), 0.01..=1.0, "0.01 to 1")?,
        })
    }
}

type Bounds = std::ops::RangeInclusive<f64>;

fn number(option: &'static str, found: Option<f64>, bounds: Bounds, wanted: &'static str) -> Result<f64, OptionsError> {
    let refused = |found: String| OptionsError::Bounds { option, found, wanted };
    let found = found.ok_or_else(|| refused("nothing".to_owned()))?;
    if bounds.contains(&found) { Ok(found) } else { Err(refused(found.to_string())) }
}

fn part(option: &'static str, found: Option<f64>, default: f64) -> Result<f64, OptionsError> {
    number(option, Some(found.unwrap_or(default)), 0.0..=1.0, "0 to 1")
}

fn seconds(option: &'static str, found: Option<Duration>, default: u64) -> Result<f64, OptionsError> {
    let found = found.unwrap_or(Duration::from_secs(default));
    let fits = (Duration::from_secs(60)..=Duration::from_secs(3_660 * 86_400)).contains(&found);
    let refused = || OptionsError::Bounds { option, found: humantime::format_duration(found).to_string(), wanted: "1m to ten years" };
    fits.then_some(found.as_secs_f64()).ok_or_else(refused)
}

/// Times in a file are written as on the command line.
mod time {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Some)
            .map_err(|e| D::Error::custom(format!("found '{text}', wanted a time such as 3d 12h ({e})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least() -> Options {
        Options { certificates: Some(1000), queries: Some(10.0), token_rate: Some(100.0), ..Options::default() }
    }

    #[test]
    fn a_file_has_the_options_of_the_command_line() {
        let file: Options = toml::from_str("certificates = 5\nkey-algorithm = 'rsa-2048'\nrefresh = '1d 2h'\ncdn-hit-rate = 0.9").unwrap();
        let both = least().or(file);
        assert_eq!((both.certificates, both.key_algorithm, both.cdn_hit_rate), (Some(1000), Some(KeyAlgorithm::Rsa2048), Some(0.9)));
        assert_eq!(both.refresh, Some(Duration::from_secs(26 * 3600)));
        assert_eq!(both.input().unwrap().hashes, 2.0);
    }

    #[test]
    fn a_wrong_option_is_named_with_what_was_found_and_wanted() {
        let refused = |options: Options| options.input().unwrap_err().to_string();
        assert!(refused(Options { token_rate: None, ..least() }).starts_with("token-rate: found nothing, wanted 0.001 to"));
        assert_eq!(refused(Options { hashes: Some(3), ..least() }), "hashes: found 3, wanted 1 or 2");
        assert_eq!(refused(Options { revoked: Some(f64::NAN), ..least() }), "revoked: found NaN, wanted 0 to 1");
        assert_eq!(refused(Options { mass_revocation: Some(1001), ..least() }), "mass-revocation: found 1001, wanted 0 to certificates");
        assert_eq!(refused(Options { refresh: Some(Duration::ZERO), ..least() }), "refresh: found 0s, wanted 1m to ten years");
        for (file, wanted) in [
            ("refresh = 'soon'", "found 'soon', wanted a time such as 3d 12h"),
            ("colour = 1", "unknown field `colour`"),
            ("key-algorithm = 'dsa'", "unknown variant `dsa`"),
        ] {
            let refused = toml::from_str::<Options>(file).unwrap_err().to_string();
            assert!(refused.contains(wanted), "{refused}");
        }
    }
}
