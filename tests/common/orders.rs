//! A CA under dual control: operators with their keys, orders, certification requests. Not a module of `common`, whose users know the program only from
//! outside: it is named where it is needed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use const_oid::AssociatedOid;
use der::asn1::{BitString, Ia5String, OctetString, SetOfVec};
use der::{Decode, Encode};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};

use kakunin::pki::{Fingerprint, KeyAlgorithm, Timestamp};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

use crate::common::{kakunin, list, run, succeed, text, tool};

/// Names and roles.
pub const OPERATORS: [(&str, &str); 6] = [
    ("abe", "\"ra-clerk\""),
    ("baba", "\"ra-manager\", \"ra-operator\""),
    ("chiba", "\"ca-administrator\""),
    ("doi", "\"ca-manager\", \"service-manager\""),
    ("endo", "\"log-auditor\""),
    ("fuji", "\"operations-manager\""),
];

/// A directory with a demo's CA, operators in force, and a profile.
pub struct Office {
    pub directory: PathBuf,
}

impl Office {
    /// From a demo's directory.
    pub fn new(directory: &Path) -> Office {
        let office = Office { directory: directory.to_owned() };
        for (name, _) in OPERATORS {
            let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            key.create_file(&office.path(&format!("{name}.key.pem"))).unwrap();
            fs::write(office.path(&format!("{name}.pub.pem")), public_pem(&key)).unwrap();
        }
        fs::write(office.path("operators.toml"), operators_text()).unwrap();
        fs::copy(profiles().join("br-7.1.2.7-tls-server.toml"), office.path("profile.toml")).unwrap();
        office.put_in_force();
        office
    }

    pub fn put_in_force(&self) -> String {
        succeed(&mut self.order("operators", &[]))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    /// `kakunin order … --config`.
    pub fn order(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = kakunin(["order", subcommand, "--config"]);
        command.arg(self.config()).args(arguments).current_dir(&self.directory);
        command
    }

    /// `kakunin order approve`.
    pub fn approval(&self, order: &str, operator: &str) -> Command {
        let mut command = kakunin(["order", "approve", order, "--operators", "operators.toml", "--operator", operator, "--key"]);
        command.arg(format!("{operator}.key.pem")).current_dir(&self.directory);
        command
    }

    /// Has the requester sign, and these approve.
    pub fn approve(&self, order: &str, operators: &[&str]) {
        ["abe"].iter().chain(operators).for_each(|operator| drop(succeed(&mut self.approval(order, operator))));
    }

    pub fn run_order(&self, order: &str) -> Command {
        self.order("run", &[order])
    }

    /// What is said of an order that must be refused, and that must leave no trace but an entry that says so.
    pub fn refused(&self, order: &str) -> String {
        let before = self.issued();
        let output = run(&mut self.run_order(order));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(self.issued(), before, "{said}");
        said
    }

    /// How many certificates there are, and how many orders were begun.
    pub fn issued(&self) -> (usize, usize) {
        let log = self.log();
        (list(&self.config(), "issuing").len(), log.iter().filter(|entry| entry["event"] == "begun").count())
    }

    pub fn log(&self) -> Vec<serde_json::Value> {
        succeed(&mut self.order("log", &["--json"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The head of an order of this id, for an hour from now on.
    pub fn head(&self, id: &str, kind: &str) -> String {
        let now = Timestamp::now();
        let expires = now.saturating_add(std::time::Duration::from_secs(3600));
        format!("id = \"{id}\"\nkind = \"{kind}\"\nrequester = \"abe\"\ncreated = \"{now}\"\nexpires = \"{expires}\"\n")
    }

    /// Writes an order of kind `issue` for inputs that are there already.
    pub fn write_issue(&self, id: &str, inputs: &str, more: &str) -> String {
        let digest = succeed(kakunin(["order", "digest", inputs]).current_dir(&self.directory));
        let profile = Fingerprint::of(&fs::read(self.path("profile.toml")).unwrap());
        let field = if self.path(inputs).is_dir() { "directory" } else { "lines" };
        let text = format!(
            "{}issuer = \"issuing\"\noutput = \"out-{id}\"\nprofile = {{ file = \"profile.toml\", sha256 = \"{profile}\" }}\n\
             inputs = {{ {field} = \"{inputs}\", sha256 = \"{}\" }}\n{more}",
            self.head(id, "issue"),
            digest.trim()
        );
        let name = format!("{id}.toml");
        fs::write(self.path(&name), text).unwrap();
        name
    }

    /// Certification requests for these host names, as JSON lines, each for a key of its own.
    pub fn write_requests(&self, name: &str, hosts: impl Iterator<Item = String>) {
        let lines: String = hosts.map(|host| format!("{}\n", serde_json::json!({ "csr": request_made_here(&host) }))).collect();
        fs::write(self.path(name), lines).unwrap();
    }
}

/// A request by OpenSSL for a new key.
pub fn request(key: &Path, host: &str) -> String {
    let mut command = tool("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]).arg(key);
    succeed(command.args(["-subj", &format!("/CN={host}"), "-addext", &format!("subjectAltName=DNS:{host}")]))
}

/// The same made here, which takes a hundredth of the time.
pub fn request_made_here(host: &str) -> String {
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let names = SubjectAltName(vec![GeneralName::DnsName(Ia5String::new(host).unwrap())]).to_der().unwrap();
    let extension = Extension { extn_id: SubjectAltName::OID, critical: false, extn_value: OctetString::new(names).unwrap() };
    let mut attributes = SetOfVec::new();
    attributes.insert(Attribute::try_from(ExtensionReq(vec![extension])).unwrap()).unwrap();
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_str(&format!("CN={host}")).unwrap(),
        public_key: spki::SubjectPublicKeyInfoOwned::from_der(key.public_key()).unwrap(),
        attributes,
    };
    let signature = BitString::from_bytes(&key.sign(&info.to_der().unwrap()).unwrap()).unwrap();
    let algorithm = spki::AlgorithmIdentifierOwned::from_der(key.signature_algorithm().identifier()).unwrap();
    let der = CertReq { info, algorithm, signature }.to_der().unwrap();
    der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, &der).unwrap()
}

pub fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles")
}

pub fn operators_text() -> String {
    OPERATORS
        .iter()
        .map(|(name, roles)| format!("[[operator]]\nname = \"{name}\"\nroles = [{roles}]\nkey_file = \"{name}.pub.pem\"\n"))
        .collect()
}

pub fn public_pem(key: &SoftwareKey) -> String {
    der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, key.public_key()).unwrap()
}
