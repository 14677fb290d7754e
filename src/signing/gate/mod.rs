//! The gate: what was signed is read again, by decoders that share no code with our encoders (`der`, `x509-cert`, `x509-ocsp`), and held against the rules
//! of `RULES.md` before it is published. What breaks a rule is not published, what was published before stays, and an alarm names the rule.
//!
//! The lints are pure functions of an artefact's octets and a context that says what is wanted of it. They stand in tables, one row a lint: the rule's id,
//! what it says, and the function. A test breaks every single row on purpose, and sees that this rule and no other is found.
//!
//! [`sampling`] says which responses are looked at when they are signed. `kakunin verify` ([`crate::signing::verify`]) holds everything that is published
//! against the same tables, and against the registry.
//!
//! # Where each rule is enforced
//!
//! | rule | enforced by |
//! |---|---|
//! | O1 | gate: what is published is a successful basic response; error answers are constants, tested in `pki::ocsp_response` |
//! | O2 – O8 | gate; O5's octets are asked for by the responder, O7's certificate is checked when the key is opened, and its beginning by the gate |
//! | O9 | responder: no record, no answer; gate, `verify`: nothing published for a certificate that was not issued |
//! | O10 | configuration check: not under the BR; `live::check`, the gate of answers about certificates that were never issued |
//! | O11 | responder (`pki::ocsp_request`); the gate lets no pre-produced response have one (O8) |
//! | O12 | responder (`get_path`, `route`) |
//! | O13 | responder (`headers`); gate: producedAt is thisUpdate, and not in the future |
//! | O14, O15 | gate |
//! | O16 | worker (new certificates at once); `verify`: a certificate without a response |
//! | T1, T2 | configuration check; schedule; gate; `verify`: signed anew in time |
//! | T3, T4 | schedule; gate; `verify` |
//! | T5, T6 | configuration check; schedule; gate; `verify`: issued anew in time, a CRL for every scope |
//! | C1 – C5 | gate; C2 in the registry too (compare and swap); `verify`: numbers over time, partition membership (C4) |
//! | C6 | registry (`visit_revoked`); gate: what was to be on the CRL is; `verify`: what left too soon |
//! | C7 | responder: the list of partitions, for the CCADB; it is not signed, and its URLs are C4's |
//! | C8 | gate, where not every certificate says where OCSP is answered (`crl.aia_ocsp`) |
//! | C9 | gate: status and entries are the registry's; `verify`: for every certificate, over OCSP and CRL |
//! | C10 | gate: one CRL in DER; responder: its media type |
//! | P1 | gate, when a responder's key is opened; `verify`; issuance makes them so |
//! | P2 | gate, with every CRL; `verify` |
//! | P3 | issuance (random serials), registry (never twice); gate, on certificates at hand and CRL entries |
//! | P4 | gate, on certificates at hand |
//! | P5 | no ML-DSA key is supported: the gate refuses any algorithm but the key's own (O15, C1) |
//! | L1 | LDAP publication, not here |

mod certificate_lints;
mod crl;
mod crl_check;
mod crl_lints;
mod entry_lints;
mod facts;
mod programme;
mod response;
mod response_lints;
mod revoked_set;
pub mod sampling;
mod scope_lints;
mod shape;

use std::fmt::Display;

use crate::pki::SignatureAlgorithm;

pub use certificate_lints::{check_ca_certificate, check_responder_certificate};
pub use crl::{Coverage, CrlContext, Listed, MeantCrl, NumberedCrl, signature_algorithm};
pub use crl_check::{EarlyLook, check_crl, check_crl_and_visit};
pub use facts::{FactsError, IssuerFacts, SignerFacts};
pub use programme::{Profile, Programme};
pub use response::{CertificateTruth, PreviousResponse, ResponseContext};
pub use revoked_set::RevokedSet;

use response::Response;

/// What a finding shows of the value found.
const MAX_FOUND_CHARACTERS: usize = 300;

/// A broken rule of `RULES.md`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{rule} ({what}): found {found}, wanted {wanted}")]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What the rule says.
    pub what: &'static str,
    /// What is there.
    pub found: String,
    /// What is wanted instead.
    pub wanted: String,
}

impl Finding {
    pub(in crate::signing) fn new(rule: &'static str, what: &'static str, difference: Difference) -> Finding {
        Finding { rule, what, found: shortened(difference.found), wanted: difference.wanted }
    }
}

/// What was signed breaks rules, and is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{artefact}: {}", .findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; "))]
pub struct Refusal {
    /// What it is.
    pub artefact: String,
    /// Every rule that it breaks; at least one.
    pub findings: Vec<Finding>,
}

impl Refusal {
    /// Lets an artefact without findings pass.
    pub fn unless_clean(findings: Vec<Finding>, artefact: impl FnOnce() -> String) -> Result<(), Refusal> {
        if findings.is_empty() { Ok(()) } else { Err(Refusal { artefact: artefact(), findings }) }
    }
}

/// The refusal where a token returns something that is no signature.
pub fn unusable_signature(algorithm: SignatureAlgorithm) -> Refusal {
    let difference = Difference { found: "something else".to_owned(), wanted: format!("a {algorithm} signature value") };
    let finding = Finding::new("O15", "the token returns a signature", difference);
    Refusal { artefact: "OCSP response".to_owned(), findings: vec![finding] }
}

/// Reads an OCSP response again and holds it against every rule for responses.
pub fn check_response(der: &[u8], context: &ResponseContext<'_>) -> Vec<Finding> {
    let response = match Response::read(der) {
        Ok(response) => response,
        Err(finding) => return vec![finding],
    };
    response_lints::RESPONSE_LINTS.iter().filter_map(|lint| lint.finding((lint.check)(&response, context))).collect()
}

/// A row of a table of lints.
#[derive(Clone, Copy, Debug)]
struct Lint<F> {
    /// The rule's id.
    rule: &'static str,
    /// What it says.
    what: &'static str,
    /// Holds an artefact against it.
    check: F,
}

impl<F> Lint<F> {
    fn finding(&self, verdict: Verdict) -> Option<Finding> {
        verdict.map(|difference| Finding::new(self.rule, self.what, difference))
    }
}

/// What a rule finds; `None` where it is kept, or does not apply.
type Verdict = Option<Difference>;

/// The value found and the value wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signing) struct Difference {
    pub(in crate::signing) found: String,
    pub(in crate::signing) wanted: String,
}

/// A rule that is broken.
fn differs(found: impl Display, wanted: impl Display) -> Verdict {
    Some(Difference { found: found.to_string(), wanted: wanted.to_string() })
}

/// A rule that is kept where `holds`.
#[inline]
fn expect(holds: bool, found: impl FnOnce() -> String, wanted: impl FnOnce() -> String) -> Verdict {
    if holds { None } else { Some(Difference { found: found(), wanted: wanted() }) }
}

/// A rule that wants certain octets. Long ones are shown from where they begin to differ.
fn same_octets(found: &[u8], wanted: &[u8]) -> Verdict {
    if found == wanted {
        return None;
    }
    let same = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    match found.len().max(wanted.len()) {
        0..=32 => differs(hex(found), hex(wanted)),
        _ => differs(format!("from octet {same} on {}", hex(&found[same..])), hex(&wanted[same..])),
    }
}

/// A value that was found, as far as people read it: it may be as long as what it was found in.
fn shortened(mut found: String) -> String {
    if let Some((end, _)) = found.char_indices().nth(MAX_FOUND_CHARACTERS) {
        found.truncate(end);
        found.push('…');
    }
    found
}

/// Octets for people: hexadecimal, the first 32 of them.
fn hex(octets: &[u8]) -> String {
    let shown: String = octets.iter().take(32).map(|octet| format!("{octet:02x}")).collect();
    match octets.len() {
        0 => "nothing".to_owned(),
        1..=32 => shown,
        more => format!("{shown}… ({more} octets)"),
    }
}

#[cfg(test)]
mod tests;
