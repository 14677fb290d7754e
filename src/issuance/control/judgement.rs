//! Whether an order has the approvals that it needs, and whether who is to have asked for it has.

use std::collections::BTreeSet;
use std::fmt;

use super::approval::{Approval, ApprovalError, MAX_VALIDITY};
use super::operators::{Operators, Role};
use super::policy::{OrderClass, Requirement};
use crate::issuance::order::shown;
use crate::pki::{Fingerprint, Timestamp};

/// What is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// SHA-256 of the order file.
    pub order: Fingerprint,
    /// What kind of order it is.
    pub class: OrderClass,
    /// Who asks for it.
    pub requester: &'a str,
    /// From when to when it may be run.
    pub valid: (Timestamp, Timestamp),
    /// Who may approve.
    pub operators: &'a Operators,
    /// The present time.
    pub now: Timestamp,
}

/// An approval that counts, or the requester's own signature.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Accepted {
    /// The name of its file.
    #[serde(skip)]
    pub file: String,
    /// Who gave it.
    pub operator: String,
    /// The roles for which it counts; the requester's: all that they have.
    pub roles: BTreeSet<Role>,
    /// When it was given.
    pub at: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// An approval that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedApproval {
    /// The name of the file.
    pub file: String,
    /// Why.
    pub why: Refusal,
}

/// Why an approval, or an order whoever approved it, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error(transparent)]
    Unreadable(#[from] ApprovalError),
    #[error("it is for another order: found {found}, wanted {wanted}; a changed octet makes another order")]
    OtherOrder { found: Fingerprint, wanted: Fingerprint },
    #[error("it was given under another file of operators: found {found}, wanted {wanted}")]
    OtherOperators { found: Fingerprint, wanted: Fingerprint },
    #[error("'{0}' is not an operator")]
    UnknownOperator(String),
    #[error("the signature is not made with the key of '{0}'")]
    Signature(String),
    #[error("it is dated {at}, in the future (it is {now})")]
    FutureDated { at: Timestamp, now: Timestamp },
    #[error("it expired at {expires} (it is {now})")]
    Expired { expires: Timestamp, now: Timestamp },
    #[error("it is good from {at} to {expires}: wanted at most {} days", MAX_VALIDITY.as_secs() / 86_400)]
    TooLong { at: Timestamp, expires: Timestamp },
    #[error("it was given at {at}, before the order was made ({created})")]
    BeforeOrder { at: Timestamp, created: Timestamp },
    #[error("'{operator}' has the roles {found}, and approvals of such an order are given by {wanted}")]
    Role { operator: String, found: String, wanted: String },
    #[error("'{0}' has approved already: wanted distinct people")]
    Twice(String),
    #[error("the requester '{0}' is not an operator")]
    UnknownRequester(String),
    #[error("the requester '{0}' is an auditor, who asks for nothing (S1.6)")]
    RequesterAudits(String),
    #[error("the order is good from {from} to {to}, and it is {now}")]
    NotNow { from: Timestamp, to: Timestamp, now: Timestamp },
}

/// What there is, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the order needs.
    pub requirement: Requirement,
    /// Who is to have asked for it.
    pub requester: String,
    /// The requester's own signature: that they have asked for it. It is needed, and counts among no approvals (S4.8).
    pub request: Option<Accepted>,
    /// Approvals that count, by name.
    pub accepted: Vec<Accepted>,
    /// Approvals that do not.
    pub refused: Vec<RefusedApproval>,
    /// Why nobody's approval would do.
    pub against: Vec<Refusal>,
}

impl Judgement {
    /// How many approvals are missing.
    pub fn missing(&self) -> usize {
        self.requirement.count.saturating_sub(self.accepted.len())
    }

    /// Whether the order may be run.
    pub fn is_approved(&self) -> bool {
        self.missing() == 0 && self.request.is_some() && self.against.is_empty()
    }

    /// Everything that stands against it, a line each.
    pub fn objections(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|refused| format!("{}: refused: {}", refused.file, refused.why));
        let against = self.against.iter().map(Refusal::to_string);
        let (missing, Requirement { count, roles }) = (self.missing(), &self.requirement);
        let wanted = format!("{missing} of {count} approvals are missing: wanted people with one of the roles {}", names(roles));
        let unsigned = self.request.is_none().then(|| {
            let requester: String = self.requester.chars().take(64).collect();
            format!("the request is not signed: wanted the signature of '{requester}', who is to have asked for it, as kakunin order approve makes it")
        });
        let all = refused.chain(against).chain(unsigned).chain((missing > 0).then_some(wanted));
        // Names of files, and what is in them, are anybody's: none of it may look like another line, or be read by a terminal.
        all.map(|line| shown::visible(&line)).collect()
    }
}

fn names(roles: &BTreeSet<Role>) -> impl fmt::Display {
    roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ")
}

/// Judges an order by the approvals that were found, each with the name of its file. The same files in another order are judged the same.
pub fn judge(case: &Case<'_>, approvals: &[(String, Result<Approval, ApprovalError>)]) -> Judgement {
    let requirement = case.operators.requirement(case.class).clone();
    let mut sorted: Vec<_> = approvals.iter().collect();
    sorted.sort_by_key(|(file, _)| file);
    let (mut accepted, mut refused): (Vec<Accepted>, Vec<RefusedApproval>) = (Vec::new(), Vec::new());
    let mut request: Option<Accepted> = None;
    for (file, approval) in sorted {
        let known = |name: &str| accepted.iter().chain(&request).any(|accepted| accepted.operator == name);
        let found =
            approval.as_ref().map_err(|e| Refusal::from(e.clone())).and_then(|approval| case.accept(file, approval, &requirement, &known));
        match found {
            Ok(signed) if signed.operator == case.requester => request = Some(signed),
            Ok(approval) => accepted.push(approval),
            Err(why) => refused.push(RefusedApproval { file: file.clone(), why }),
        }
    }
    accepted.sort_by(|a, b| a.operator.cmp(&b.operator));
    Judgement { requirement, requester: case.requester.to_owned(), request, accepted, refused, against: case.against() }
}

impl Case<'_> {
    fn against(&self) -> Vec<Refusal> {
        let (from, to) = self.valid;
        let requester = match self.operators.get(self.requester) {
            None => Some(Refusal::UnknownRequester(self.requester.to_owned())),
            Some(operator) if operator.roles.contains(&Role::LogAuditor) => Some(Refusal::RequesterAudits(self.requester.to_owned())),
            Some(_) => None,
        };
        let time = (self.now < from || to <= self.now).then_some(Refusal::NotNow { from, to, now: self.now });
        requester.into_iter().chain(time).collect()
    }

    fn accept(&self, file: &str, approval: &Approval, wanted: &Requirement, known: &dyn Fn(&str) -> bool) -> Result<Accepted, Refusal> {
        let Approval { statement, .. } = approval;
        let name = &statement.operator;
        let operator = self.operators.get(name).ok_or_else(|| Refusal::UnknownOperator(name.chars().take(64).collect()))?;
        if statement.operators != self.operators.fingerprint() {
            return Err(Refusal::OtherOperators { found: statement.operators, wanted: self.operators.fingerprint() });
        }
        if statement.order != self.order {
            return Err(Refusal::OtherOrder { found: statement.order, wanted: self.order });
        }
        if !approval.is_by(operator) {
            return Err(Refusal::Signature(name.clone()));
        }
        self.check_time(approval)?;
        let is_request = name == self.requester;
        let roles: BTreeSet<Role> = operator.roles.iter().filter(|role| is_request || wanted.roles.contains(role)).copied().collect();
        if roles.is_empty() {
            let (found, wanted) = (names(&operator.roles).to_string(), names(&wanted.roles).to_string());
            return Err(Refusal::Role { operator: name.clone(), found, wanted });
        }
        if known(name) {
            return Err(Refusal::Twice(name.clone()));
        }
        Ok(Accepted { file: file.to_owned(), operator: name.clone(), roles, at: statement.at, expires: statement.expires })
    }

    fn check_time(&self, approval: &Approval) -> Result<(), Refusal> {
        let (at, expires, now) = (approval.statement.at, approval.statement.expires, self.now);
        match () {
            () if at > now => Err(Refusal::FutureDated { at, now }),
            () if expires <= now => Err(Refusal::Expired { expires, now }),
            () if expires.since(at) > MAX_VALIDITY => Err(Refusal::TooLong { at, expires }),
            () if at < self.valid.0 => Err(Refusal::BeforeOrder { at, created: self.valid.0 }),
            () => Ok(()),
        }
    }
}
