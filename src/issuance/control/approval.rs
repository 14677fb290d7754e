//! An approval: an operator's detached signature over the exact octets of an order.
//!
//! What is signed names the operator, the order by its hash, the file of operators by its hash, and the time that the approval is good for. It begins with
//! words that nothing else begins with that is signed here or elsewhere, so a signature made for something else is no approval.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use super::operators::Operator;
use crate::pki::{Fingerprint, Timestamp};
use crate::token::{SigningKey, TokenError};

/// The greatest approval file that is read.
pub const MAX_APPROVAL_BYTES: u64 = 16 << 10;
/// No approval is good for longer.
pub const MAX_VALIDITY: Duration = Duration::from_secs(30 * 86_400);

const DOMAIN: &str = "kakunin: approval of a work order, version 1\n";

/// What an operator signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who approves.
    pub operator: String,
    /// SHA-256 of the order file.
    pub order: Fingerprint,
    /// [`super::Operators::fingerprint`] of the file of operators that it was given under.
    pub operators: Fingerprint,
    /// When it was given.
    pub at: Timestamp,
    /// From when on it is good no more; at most [`MAX_VALIDITY`] later.
    pub expires: Timestamp,
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What was signed.
    pub statement: Statement,
    /// By the operator's key, with the key's own algorithm.
    pub signature: Vec<u8>,
}

/// A file that is no approval, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an approval: {0}")]
pub struct ApprovalError(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    operator: String,
    order: Fingerprint,
    operators: Fingerprint,
    at: Timestamp,
    expires: Timestamp,
    signature: String,
}

impl Statement {
    /// The octets that are signed.
    fn message(&self) -> Vec<u8> {
        format!("{DOMAIN}{self}").into_bytes()
    }
}

impl std::fmt::Display for Statement {
    /// As it stands in the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Statement { operator, order, operators, at, expires } = self;
        write!(f, "operator = \"{operator}\"\norder = \"{order}\"\noperators = \"{operators}\"\nat = \"{at}\"\nexpires = \"{expires}\"\n")
    }
}

impl Approval {
    /// Signs a statement with the operator's private key.
    pub fn sign(statement: Statement, key: &dyn SigningKey) -> Result<Approval, TokenError> {
        let signature = key.sign(&statement.message())?;
        Ok(Approval { statement, signature })
    }

    /// The content of its file.
    pub fn to_toml(&self) -> String {
        let mut hex = String::with_capacity(2 * self.signature.len());
        self.signature.iter().for_each(|octet| {
            let _ = write!(hex, "{octet:02x}");
        });
        format!("{}signature = \"{hex}\"\n", self.statement)
    }

    /// Reads a file. Says nothing of whether the signature is right.
    pub fn parse(text: &str) -> Result<Approval, ApprovalError> {
        let file: File = toml::from_str(text).map_err(|e| ApprovalError(e.to_string().trim_end().to_owned()))?;
        let File { operator, order, operators, at, expires, signature } = file;
        let octet = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let octets: Option<Vec<u8>> = signature.as_bytes().chunks(2).map(octet).collect();
        let signature = octets.filter(|octets| !octets.is_empty() && signature.len().is_multiple_of(2));
        let signature = signature.ok_or_else(|| ApprovalError("signature: wanted pairs of hexadecimal digits".to_owned()))?;
        Ok(Approval { statement: Statement { operator, order, operators, at, expires }, signature })
    }

    /// Whether it is this operator's.
    pub(super) fn is_by(&self, operator: &Operator) -> bool {
        operator.has_signed(&self.statement.message(), &self.signature)
    }
}
