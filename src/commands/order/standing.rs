//! Everything that decides whether an order is run, or goes on.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::files::{self, ApprovalFile};
use super::{allowed, claim, operators};
use crate::config::Config;
use crate::issuance::control::{Case, Judgement, Operators, Refusal, judge};
use crate::issuance::order::{Task, WorkOrder};
use crate::pki::Timestamp;
use crate::registry::work::{WorkRegistry, WorkState};

/// Everything that decides whether an order is run.
pub(super) struct Standing {
    pub(super) order: WorkOrder,
    pub(super) text: String,
    pub(super) operators: Operators,
    pub(super) approvals: Vec<ApprovalFile>,
    pub(super) judgement: Judgement,
}

impl Standing {
    pub(super) fn read(path: &Path, operators: &Path, now: Timestamp) -> Result<Standing> {
        let (text, order) = files::order(path)?;
        let operators = files::operators(operators)?;
        let approvals = files::approvals(path)?;
        let found: Vec<_> = approvals.iter().map(|file| (file.name.clone(), file.content.clone())).collect();
        let case = Case {
            order: order.fingerprint,
            class: order.class(),
            requester: &order.requester,
            valid: (order.created, order.expires),
            operators: &operators,
            now,
        };
        let judgement = judge(&case, &found);
        Ok(Standing { order, text, operators, approvals, judgement })
    }

    /// Everything that stands against its being run, and how far it has come where it was interrupted: its approvals were judged, and noted, when it was begun,
    /// and hold until it expires or other operators are in force.
    pub(super) fn look(&self, registry: &dyn WorkRegistry, config: &Config) -> Result<(Option<WorkState>, Vec<String>)> {
        match registry.work(&self.order.id)? {
            Some(state) if state.end.is_none() && is_same(&state, &self.order) => {
                let objections = self.resumption_objections(registry, config, &state)?;
                Ok((Some(state), objections))
            }
            known => Ok((None, self.objections(registry, config, known)?)),
        }
    }

    /// Everything that stands against its being begun; `known` is what was begun under its id before.
    fn objections(&self, registry: &dyn WorkRegistry, config: &Config, known: Option<WorkState>) -> Result<Vec<String>> {
        let mut objections = if self.judgement.is_approved() { Vec::new() } else { self.judgement.objections() };
        let found = self.operators.fingerprint();
        match operators::in_force(registry)? {
            Some(known) if known == found => {}
            Some(known) => objections.push(format!("the file of operators: found {found}, but {known} is in force")),
            None => objections.push("no file of operators is in force: begin with kakunin order operators".to_owned()),
        }
        match known.map(|state| state.end) {
            Some(Some((end, at))) => objections.push(format!("the order '{}' was run before: it ended at {at} ({end:?})", self.order.id)),
            Some(None) => objections.push(format!("another order with the id '{}' was begun before", self.order.id)),
            None => objections.extend(self.order.task.outputs().into_iter().filter_map(|output| claim::forgotten(output, &self.order))),
        }
        objections.extend(allowed::objections(config, &self.order)?);
        Ok(objections)
    }

    /// Everything that stands against an interrupted order's going on.
    fn resumption_objections(&self, registry: &dyn WorkRegistry, config: &Config, state: &WorkState) -> Result<Vec<String>> {
        let order = &self.order;
        let mut objections = allowed::objections(config, order)?;
        let now = Timestamp::now();
        if order.expires <= now {
            objections.push(Refusal::NotNow { from: order.created, to: order.expires, now }.to_string());
        }
        let known = operators::in_force(registry)?;
        let approved_under = &noted(state)["operators"];
        // An order that was interrupted when its own file was in force, and before it was noted that it had ended.
        let is_its_own = matches!(&order.task, Task::Operators(new) if known == Some(new.fingerprint));
        if json!(known) != *approved_under && !is_its_own {
            let known = known.map(|known| known.to_string()).unwrap_or_default();
            objections.push(format!(
                "it was approved under the operators {}, but {known} is in force: wanted another order, approved by those who are",
                approved_under.as_str().unwrap_or_default()
            ));
        }
        Ok(objections)
    }
}

/// What was noted when the order was begun.
fn noted(state: &WorkState) -> serde_json::Value {
    serde_json::from_str(&state.begun).unwrap_or_default()
}

/// Whether it is the very order that was begun.
fn is_same(state: &WorkState, order: &WorkOrder) -> bool {
    noted(state)["fingerprint"] == json!(order.fingerprint)
}
