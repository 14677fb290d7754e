//! Which approvals which orders need: safe defaults, which a file of operators may tighten and never loosen.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::operators::{OperatorsError, Role, field};

/// Orders that need the same approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderClass {
    /// Certificates for keys that applicants have made.
    Issue,
    /// Certificates with keys that are made for applicants.
    IssueWithKeys,
    /// Whatever concerns a CA: its keys, its certificates, its end.
    Ceremony,
    /// Another file of operators.
    Operators,
}

/// Approvals that an order needs, beside the request, which its requester signs: each by another person than the requester and the others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// How many.
    pub count: usize,
    /// Who may give them: whoever has one of these roles.
    pub roles: BTreeSet<Role>,
}

impl OrderClass {
    /// Every class.
    pub const ALL: [OrderClass; 4] = [OrderClass::Issue, OrderClass::IssueWithKeys, OrderClass::Ceremony, OrderClass::Operators];

    /// Approvals that are needed where the file does not say more. Whatever concerns keys needs two (S1.5).
    pub fn default_requirement(self) -> Requirement {
        use Role as R;
        let (count, roles): (usize, &[Role]) = match self {
            OrderClass::Issue => (1, &[R::ServiceManager, R::RaManager, R::RaOperator]),
            OrderClass::IssueWithKeys => (2, &[R::ServiceManager, R::RaManager, R::RaOperator]),
            OrderClass::Ceremony => (2, &[R::ServiceManager, R::OperationsManager, R::CaManager, R::CaAdministrator]),
            OrderClass::Operators => (2, &[R::ServiceManager, R::OperationsManager, R::CaManager]),
        };
        Requirement { count, roles: roles.iter().copied().collect() }
    }

    /// What a file asks for, where that is no less than the default.
    pub(super) fn tightened(self, wanted: Requirement) -> Result<Requirement, OperatorsError> {
        let Requirement { count, roles } = self.default_requirement();
        let place = |part: &str| format!("approvals.{}.{part}", self.name());
        if wanted.count < count || wanted.count > 16 {
            return Err(field(place("count"), wanted.count, format!("{count} to 16: a file may ask for more, never for less (S1.5)")));
        }
        if wanted.roles.is_empty() || !wanted.roles.is_subset(&roles) {
            let list = |roles: &BTreeSet<Role>| roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ");
            return Err(field(
                place("roles"),
                list(&wanted.roles),
                format!("some of {}: a file may allow fewer, never others", list(&roles)),
            ));
        }
        Ok(wanted)
    }

    /// As it stands in files.
    pub fn name(self) -> &'static str {
        match self {
            OrderClass::Issue => "issue",
            OrderClass::IssueWithKeys => "issue-with-keys",
            OrderClass::Ceremony => "ceremony",
            OrderClass::Operators => "operators",
        }
    }
}
