//! The configuration file: typed, with unknown fields refused and every bound checked before anything starts.
//!
//! Paths in the file are relative to the directory of the file. [`Config::load`] reads and resolves; [`check`] holds what was read against the rules.

pub mod check;
pub mod crl;
mod duration;
mod live;
mod responder;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::pki::HashAlgorithm;
use crate::registry::{IssuerMode, Publication};
use crate::signing::gate::{Profile, Programme};

pub use crl::CrlConfig;
pub use live::{IssuerLiveConfig, LiveConfig, UnknownConfig};
pub use responder::ResponderConfig;

/// The greatest configuration file that is read.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or not of the expected shape.
    #[error("configuration {path}: {detail}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, field and what was wanted.
        detail: String,
    },
    /// Readable, but against a bound or a rule.
    #[error("configuration {path}:\n{}", .findings.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        findings: Vec<check::Finding>,
    },
}

/// A whole configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The URL under which relying parties reach this service, without a trailing slash: `http://ocsp.example`. Distribution points of CRL partitions
    /// begin with it, so it must be the one written into the certificates, and stays while there are certificates with a partition.
    pub base_url: String,
    /// Where the registry is.
    pub registry: RegistryConfig,
    /// The front end.
    #[serde(default)]
    pub responder: ResponderConfig,
    /// Health and metrics.
    #[serde(default)]
    pub admin: AdminConfig,
    /// The signing worker.
    #[serde(default)]
    pub signing: SigningConfig,
    /// The live lane.
    #[serde(default)]
    pub live: LiveConfig,
    /// Work orders.
    #[serde(default)]
    pub issuing: IssuingConfig,
    /// PKCS#11 tokens that keys refer to.
    #[serde(default, rename = "token")]
    pub tokens: Vec<TokenConfig>,
    /// The CAs.
    #[serde(default, rename = "issuer")]
    pub issuers: Vec<IssuerConfig>,
}

/// `[registry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// An SQLite file. It must exist: `kakunin import` and `kakunin demo` create it.
    pub sqlite: PathBuf,
}

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:2561`; keep it off public interfaces.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: local(2561) }
    }
}

/// `[signing]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningConfig {
    /// Signing threads; 1 to 256. Default: one a core.
    pub threads: usize,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self { threads: cores() }
    }
}

/// `[issuing]`: what work orders are held against.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuingConfig {
    /// The file of operators. Default `operators.toml`.
    pub operators: PathBuf,
    /// Public keys that get no certificate: the SHA-256 of a SubjectPublicKeyInfo a line, or a line of the lists of Debian's `openssl-blacklist` (the last 20
    /// digits of a SHA-1). Default: none.
    pub blocked_keys: Option<PathBuf>,
    /// Threads that vet requests, beside those that sign; 1 to 256. Default: two a core, of which one may wait until the chunk before its own is vetted.
    pub threads: usize,
}

impl Default for IssuingConfig {
    fn default() -> Self {
        Self { operators: "operators.toml".into(), blocked_keys: None, threads: (2 * cores()).min(256) }
    }
}

/// `[[token]]`: a PKCS#11 token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The name by which keys refer to it.
    pub name: String,
    /// The PKCS#11 module: a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// A file that holds the user PIN, readable by its owner only.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// Or an environment variable that holds it.
    #[serde(default)]
    pub pin_env: Option<String>,
    /// Sessions to sign with at the same time; 1 to 256. Default: one a signing thread, and three for what is urgent. Threads of the live
    /// lane have sessions beside these.
    #[serde(default)]
    pub sessions: Option<usize>,
}

/// Where a private key is: a file, or an object on a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// A PKCS#8 PEM file of mode 0600.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Or the name of a `[[token]]`.
    #[serde(default)]
    pub token: Option<String>,
    /// The key's CKA_LABEL on that token.
    #[serde(default)]
    pub label: Option<String>,
    /// The key's CKA_ID on that token, in hexadecimal.
    #[serde(default)]
    pub id: Option<String>,
    /// Signature algorithm, where the key allows several: `rsa-sha256` (the default for RSA), `rsa-sha384`, `rsa-sha512`.
    #[serde(default)]
    pub signature: Option<String>,
}

/// `[[issuer]]`: a CA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its name in URLs and on the command line: 1 to 64 of a–z, 0–9, `-`, `_` and `.`.
    pub name: String,
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// `open` (the default), `run-off` or `closed`.
    #[serde(default = "open")]
    pub mode: IssuerMode,
    /// The programmes whose rules apply to what is signed, beside the RFCs': `baseline-requirements`, `microsoft`, `code-signing`, `etsi`, `etsi-qualified`,
    /// `jpki`, `fpki`. Default: none.
    #[serde(default)]
    pub programmes: BTreeSet<Programme>,
    /// The CA's key: signs CRLs, and OCSP responses where there is no `responder`. Not needed on a host that only answers.
    #[serde(default)]
    pub key: Option<KeyConfig>,
    /// A delegated OCSP responder.
    #[serde(default)]
    pub responder: Option<DelegatedResponderConfig>,
    /// How OCSP responses are made.
    #[serde(default)]
    pub ocsp: OcspConfig,
    /// How CRLs are made.
    #[serde(default)]
    pub crl: CrlConfig,
    /// What it issues.
    #[serde(default)]
    pub issuance: IssuanceConfig,
}

/// `[issuer.issuance]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuanceConfig {
    /// The profiles by which this CA issues certificates: files that end in `.toml`, or names of profiles that come with the program
    /// ([`Profile::find`](crate::issuance::profile::Profile::find)). An order by another one is refused. Default: none are named, and an order may be by any
    /// that its approvals are for.
    pub profiles: Vec<String>,
}

impl IssuerConfig {
    /// What the registry is told about it.
    pub fn publication(&self) -> Publication {
        Publication { cert_id_hashes: self.ocsp.cert_id_hashes.clone(), crl_partitions: self.crl.partitions, crl_extras: self.crl.extras() }
    }

    /// The programmes whose rules the gate applies to it.
    pub fn profile(&self) -> Profile {
        Profile::new(self.programmes.iter().copied())
    }
}

/// `[issuer.responder]`: a responder to which the CA has delegated signing (RFC 6960 2.6).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegatedResponderConfig {
    /// Its certificate, PEM, issued by the CA (rule P1). A new one for the same key is picked up from there while the service runs.
    pub certificate: PathBuf,
    /// Its key.
    pub key: KeyConfig,
    /// Whether the certificate is renewed here before it ends, where the CA's `key` is at hand: the file is written anew. Default: true.
    #[serde(default = "yes")]
    pub renew: bool,
    /// How long before its end; at least `ocsp.validity`. Default: a third of its validity, and at least twice `ocsp.validity` (rule T3).
    #[serde(default, with = "duration::optional")]
    pub renew_before: Option<Duration>,
}

/// `[issuer.ocsp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OcspConfig {
    /// nextUpdate − thisUpdate + 1 s, as the rules measure it: 8 h to 10 d. Default 7 d (rule T2).
    #[serde(with = "duration")]
    pub validity: Duration,
    /// Every response is signed anew at least this often. Default 3 d 12 h (rule T2).
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// The CertID hashes for which every response is pre-signed: each costs its own signatures and memory. Default `["sha1", "sha256"]`.
    pub cert_id_hashes: BTreeSet<HashAlgorithm>,
    /// What is answered live. Default: nothing.
    pub live: IssuerLiveConfig,
}

impl Default for OcspConfig {
    fn default() -> Self {
        Self {
            validity: days(7),
            refresh: Duration::from_secs(84 * 3600),
            cert_id_hashes: BTreeSet::from([HashAlgorithm::Sha1, HashAlgorithm::Sha256]),
            live: IssuerLiveConfig::default(),
        }
    }
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn yes() -> bool {
    true
}

fn open() -> IssuerMode {
    IssuerMode::Open
}

impl Config {
    /// Reads a file, resolves its paths and checks every bound that can be checked without opening anything else.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        fs::File::open(path).map_err(read)?.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        if text.len() as u64 > MAX_CONFIG_BYTES {
            return Err(ConfigError::Parse { path: path.to_owned(), detail: format!("larger than {MAX_CONFIG_BYTES} bytes") });
        }
        let mut config: Config = toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.to_owned(), detail: e.to_string() })?;
        let absolute = std::path::absolute(path).map_err(read)?;
        config.resolve(absolute.parent().unwrap_or(Path::new("/")));
        match check::bounds(&config) {
            findings if findings.is_empty() => Ok(config),
            findings => Err(ConfigError::Invalid { path: path.to_owned(), findings }),
        }
    }

    /// The issuer with that name.
    pub fn issuer(&self, name: &str) -> Option<&IssuerConfig> {
        self.issuers.iter().find(|i| i.name == name)
    }

    /// The tokens by name.
    pub fn tokens_by_name(&self) -> BTreeMap<&str, &TokenConfig> {
        self.tokens.iter().map(|t| (t.name.as_str(), t)).collect()
    }

    fn resolve(&mut self, directory: &Path) {
        let resolve = |path: &mut PathBuf| *path = directory.join(&*path);
        resolve(&mut self.registry.sqlite);
        resolve(&mut self.issuing.operators);
        self.issuing.blocked_keys.iter_mut().for_each(resolve);
        self.tokens.iter_mut().filter_map(|t| t.pin_file.as_mut()).for_each(resolve);
        for issuer in &mut self.issuers {
            resolve(&mut issuer.certificate);
            issuer.key.iter_mut().filter_map(|k| k.file.as_mut()).for_each(resolve);
            for profile in issuer.issuance.profiles.iter_mut().filter(|profile| profile.ends_with(".toml")) {
                *profile = directory.join(&*profile).to_string_lossy().into_owned();
            }
            if let Some(responder) = &mut issuer.responder {
                resolve(&mut responder.certificate);
                responder.key.file.iter_mut().for_each(resolve);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::crl::DeltaConfig;
    use super::*;

    const SMALL: &str = r#"
        base_url = "http://ocsp.example"
        [registry]
        sqlite = "registry.sqlite"
        [[issuer]]
        name = "issuing"
        certificate = "issuing.pem"
        key = { file = "keys/issuing.key.pem" }
    "#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kakunin.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn t2_the_defaults_satisfy_every_programme() {
        let config = load(SMALL).unwrap();
        assert_eq!(config.issuers[0].ocsp.validity, days(7));
        assert_eq!(config.issuers[0].ocsp.refresh, days(7) / 2);
        assert!(config.registry.sqlite.is_absolute());
        assert!(config.issuers[0].key.as_ref().unwrap().file.as_ref().unwrap().ends_with("keys/issuing.key.pem"));
    }

    #[test]
    fn the_reference_configuration_is_one_and_states_the_defaults() {
        let config = Config::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/kakunin.toml"))).unwrap();
        let (ocsp, crl) = (OcspConfig::default(), CrlConfig::default());
        let stated = &config.issuers[0];
        assert_eq!((stated.ocsp.validity, stated.ocsp.refresh), (ocsp.validity, ocsp.refresh));
        assert_eq!(stated.ocsp.cert_id_hashes, ocsp.cert_id_hashes);
        assert_eq!((&config.live, &stated.ocsp.live), (&LiveConfig::default(), &ocsp.live));
        assert_eq!((stated.crl.validity, stated.crl.refresh, stated.crl.partitions), (crl.validity, crl.refresh, crl.partitions));
        assert_eq!((stated.crl.at_once_below, stated.crl.coalesce), (crl.at_once_below, crl.coalesce));
        assert!(stated.programmes.is_empty());
        assert_eq!((stated.crl.keep_expired, stated.crl.superseded, stated.crl.last_crl), (crl.keep_expired, crl.superseded, crl.last_crl));
        assert_eq!(stated.publication().crl_extras, Default::default());
        let (other, delta) = (&config.issuers[1].crl, DeltaConfig::default());
        let stated = other.delta.as_ref().unwrap();
        assert_eq!((stated.validity, stated.refresh, &stated.of), (delta.validity, delta.refresh, &delta.of));
        let arl = other.times(&other.arl.as_ref().unwrap().own_times());
        assert_eq!((arl, other.times(&other.partition)), ((days(7), days(1)), (days(7), days(1))));
        assert_eq!(config.admin.listen, AdminConfig::default().listen);
        assert_eq!(config.responder, ResponderConfig::default());
        assert!(config.issuing.operators.ends_with(IssuingConfig::default().operators) && config.issuing.blocked_keys.is_none());
        assert_eq!(config.issuing.threads, IssuingConfig::default().threads);
    }

    #[test]
    fn the_responder_listens_on_one_address_or_several() {
        let listening = |value: &str| load(&format!("{SMALL}\n[responder]\nlisten = {value}")).map(|config| config.responder.listen);
        assert_eq!(listening("'[::]:80'").unwrap(), ["[::]:80".parse().unwrap()]);
        assert_eq!(listening("['0.0.0.0:80', '[::]:80']").unwrap(), ["0.0.0.0:80", "[::]:80"].map(|address| address.parse().unwrap()));
        let many = format!("[{}]", vec!["'127.0.0.1:0'"; 17].join(", "));
        for (value, wanted) in [("'port 80'", "[::]:80"), ("80", "[::]:80"), ("[]", "1 to 16 addresses"), (&many, "1 to 16 addresses")] {
            let message = listening(value).unwrap_err().to_string();
            assert!(message.contains("listen") && message.contains(wanted), "{value}: {message}");
        }
    }

    #[test]
    fn unknown_fields_and_bad_values_are_named() {
        let message = |text: &str| load(text).unwrap_err().to_string();
        assert!(message(&SMALL.replace("base_url", "base_uri")).contains("base_uri"));
        assert!(message("base_url = ").contains("kakunin.toml"));
        let long = format!("{SMALL}\n[issuer.ocsp]\nvalidity = \"11d\"");
        assert!(message(&long).contains("11d") && message(&long).contains("T1"), "{}", message(&long));
        for (programme, rule) in [("microsoft", "T2"), ("jpki", "T6"), ("fpki", "T6"), ("etsi-qualified", "T6"), ("code-signing", "T6")] {
            let slow = SMALL.replace("name =", &format!("programmes = [\"{programme}\"]\nname ="))
                + "\n[issuer.ocsp]\nvalidity = \"9d\"\n[issuer.crl]\nvalidity = \"12d\"\nrefresh = \"8d\"";
            assert!(message(&slow).contains(rule), "{programme}: {}", message(&slow));
        }
        let typo = format!("{SMALL}\n[issuer.crl]\nrefresh = \"often\"");
        assert!(message(&typo).contains("often"), "{}", message(&typo));
    }
}
