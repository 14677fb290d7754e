//! The file of operators: names, roles and public keys, and which approvals an order needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use der::Decode;
use serde::{Deserialize, Serialize};

use super::policy::{OrderClass, Requirement};
use crate::pki::certificate::{key_algorithm_of_spki, key_identity};
use crate::pki::{Fingerprint, SignatureAlgorithm};

/// The greatest file of operators that is read.
pub const MAX_OPERATORS_BYTES: u64 = 1 << 20;
const MAX_OPERATORS: usize = 1000;
const MAX_NAME: usize = 64;

/// What somebody is trusted with. The five of S1.6, and those that S2.3 adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Role {
    ServiceManager,
    OperationsManager,
    SystemAdministrator,
    CaManager,
    CaAdministrator,
    RaManager,
    RaOperator,
    /// Vets requests (S2.3).
    RaClerk,
    /// Reads what the others did, and does nothing else.
    LogAuditor,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Unique; 1 to 64 of a–z, 0–9, `-`, `_` and `.`.
    pub name: String,
    /// At least one.
    pub roles: BTreeSet<Role>,
    /// DER SubjectPublicKeyInfo, of another key than every other operator's.
    pub public_key: Vec<u8>,
}

impl Operator {
    /// Whether a signature over `message` is this operator's.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = key_algorithm_of_spki(&self.public_key).map(|key| key.default_signature());
        algorithm.is_some_and(|algorithm: SignatureAlgorithm| algorithm.verify(&self.public_key, message, signature))
    }
}

/// A file of operators that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorsError {
    /// Not TOML, or not of the expected shape.
    #[error("{0}")]
    Parse(String),
    /// A field that is out of bounds.
    #[error("{place}: found {found}, wanted {wanted}")]
    Field {
        /// Whose, and which.
        place: String,
        /// What is there.
        found: String,
        /// What may be there.
        wanted: String,
    },
}

/// Everybody, and what their approvals are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operators {
    by_name: BTreeMap<String, Operator>,
    requirements: BTreeMap<OrderClass, Requirement>,
    fingerprint: Fingerprint,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "operator")]
    operators: Vec<Entry>,
    #[serde(default)]
    approvals: BTreeMap<OrderClass, Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    roles: BTreeSet<Role>,
    /// PEM, or the name of a file that holds it.
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_file: Option<String>,
}

impl Operators {
    /// Reads a file. `read_key` is asked for the content of each `key_file`.
    pub fn parse(text: &str, read_key: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Operators, OperatorsError> {
        let file: File = toml::from_str(text).map_err(|e| OperatorsError::Parse(e.to_string()))?;
        if file.operators.is_empty() || file.operators.len() > MAX_OPERATORS {
            return Err(field("operator", file.operators.len(), format!("1 to {MAX_OPERATORS} of them")));
        }
        let mut requirements: BTreeMap<_, _> = OrderClass::ALL.map(|class| (class, class.default_requirement())).into();
        for (class, wanted) in file.approvals {
            requirements.insert(class, class.tightened(wanted)?);
        }
        let (mut by_name, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for entry in file.operators {
            let operator = operator(entry, read_key)?;
            refuse_double(&by_name, &mut keys, &operator)?;
            by_name.insert(operator.name.clone(), operator);
        }
        let mut parts: Vec<&[u8]> = vec![b"kakunin: operators", text.as_bytes()];
        parts.extend(by_name.values().map(|operator| operator.public_key.as_slice()));
        Ok(Operators { fingerprint: Fingerprint::of_parts(&parts), by_name, requirements })
    }

    /// Names this file with the keys that it refers to: a change of anything in it is another one.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The operator of that name.
    pub fn get(&self, name: &str) -> Option<&Operator> {
        self.by_name.get(name)
    }

    /// Everybody, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Operator> {
        self.by_name.values()
    }

    /// Why nobody could ever put another file in force, if that is so: there are too few to ask for it and to approve it.
    pub fn lockout(&self) -> Option<OperatorsError> {
        let Requirement { count, roles } = self.requirement(OrderClass::Operators);
        let may_approve = |operator: &&Operator| !operator.roles.is_disjoint(roles);
        let may_ask = |asks: &Operator| !asks.roles.contains(&Role::LogAuditor);
        let others = |asks: &Operator| self.iter().filter(may_approve).filter(|other| other.name != asks.name).count();
        let most = self.iter().filter(|asks| may_ask(asks)).map(others).max().unwrap_or(0);
        let roles = roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ");
        let wanted = format!("at least {count} with one of the roles {roles}: nobody could put another file in force any more (S1.6)");
        (most < *count).then(|| field("operator", format!("{most} beside whoever asks"), wanted))
    }

    /// Which approvals an order needs.
    pub fn requirement(&self, class: OrderClass) -> &Requirement {
        // Every class was put there when the file was read.
        &self.requirements[&class]
    }
}

pub(super) fn field(place: impl Into<String>, found: impl fmt::Display, wanted: impl Into<String>) -> OperatorsError {
    OperatorsError::Field { place: place.into(), found: found.to_string().chars().take(200).collect(), wanted: wanted.into() }
}

fn operator(entry: Entry, read_key: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Operator, OperatorsError> {
    let Entry { name, roles, key, key_file } = entry;
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) || name.starts_with('.') {
        return Err(field("operator.name", format!("'{name}'"), format!("1 to {MAX_NAME} of a-z, 0-9, -, _ and .")));
    }
    let place = |part: &str| format!("operator '{name}', {part}");
    if roles.is_empty() {
        return Err(field(place("roles"), "none", "at least one"));
    }
    if roles.contains(&Role::LogAuditor) && roles.len() > 1 {
        return Err(field(place("roles"), "log-auditor and others", "log-auditor alone: who audits does nothing else (S1.6)"));
    }
    let (from, pem) = match (key, key_file) {
        (Some(pem), None) => ("key".to_owned(), pem.into_bytes()),
        (None, Some(file)) => {
            let pem = read_key(&file).map_err(|why| field(place("key_file"), format!("'{file}': {why}"), "a readable file"))?;
            (format!("key_file '{file}'"), pem)
        }
        _ => return Err(field(place("key"), "both or neither of key and key_file", "one of them")),
    };
    let public_key = public_key(&pem).ok_or_else(|| {
        field(place(&from), "something else", "'-----BEGIN PUBLIC KEY-----' with a key of RSA 2048/3072/4096, ECDSA P-256/P-384 or Ed25519")
    })?;
    Ok(Operator { name, roles, public_key })
}

fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let start = text.find("-----BEGIN PUBLIC KEY-----")?;
    let (_, der) = der::pem::decode_vec(text[start..].trim_end().as_bytes()).ok()?;
    // The whole of it, and nothing else: one key has one encoding.
    spki::SubjectPublicKeyInfoRef::from_der(&der).ok()?;
    key_algorithm_of_spki(&der).map(|_| der)
}

/// Two names for one person, or two for one key, would make one person two. `keys` are those of the operators before.
fn refuse_double(
    known: &BTreeMap<String, Operator>,
    keys: &mut BTreeMap<Fingerprint, String>,
    operator: &Operator,
) -> Result<(), OperatorsError> {
    if known.contains_key(&operator.name) {
        return Err(field("operator.name", format!("'{}' twice", operator.name), "each name once"));
    }
    match keys.insert(key_identity(&operator.public_key), operator.name.clone()) {
        Some(other) => {
            Err(field(format!("operator '{}', key", operator.name), format!("the key of '{other}'"), "a key of one's own (S1.5)"))
        }
        None => Ok(()),
    }
}
