//! `kakunin order run`: holds an order against its approvals, notes in the log that it is begun, carries it out, and notes what came of it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use tracing::warn;

use super::show::Standing;
use super::turn::Turn;
use super::{allowed, ceremony, files, issue, keys, operators};
use crate::commands::output::Output;
use crate::commands::{ConfigFile, setup};
use crate::config::Config;
use crate::issuance::control::Refusal;
use crate::issuance::order::{Task, WorkOrder};
use crate::pki::Timestamp;
use crate::registry::sqlite::SqliteRegistry;
use crate::registry::work::{NewWork, WorkEvent, WorkId, WorkRegistry, WorkState};

/// Run an approved order; run again, it goes on where it was interrupted, until it expires
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin order run batch.toml --config kakunin.toml\n\nAn order that has ended is not run again.")]
pub(super) struct Run {
    /// The order
    order: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

/// An order that is being carried out.
pub(super) struct Job<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: Arc<SqliteRegistry>,
    pub(super) order: &'a WorkOrder,
    pub(super) work: WorkId,
    /// Details of the steps that were done before.
    pub(super) steps_done: Vec<String>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) event: WorkEvent,
    /// In words.
    pub(super) did: String,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let standing = Standing::read(&self.order, &config.issuing.operators, Timestamp::now())?;
        let registry = setup::open_work_registry(&config)?;
        let id = &standing.order.id;
        let _turn = Turn::take(&config.registry.sqlite, id)?;
        let is_batch = standing.order.task.batch_profile().is_some();
        let _batch = is_batch.then(|| Turn::take_for_batch(&config.registry.sqlite, id)).transpose()?;
        let state = begin(registry.as_ref(), &config, &standing)?;
        let job = Job { config: &config, registry: registry.clone(), order: &standing.order, work: state.id, steps_done: state.steps };
        let result = match &standing.order.task {
            Task::Issue(task) => issue::run(&job, task),
            Task::IssueWithKeys(task) => keys::run(&job, task),
            Task::Ceremony(steps) => ceremony::run(&job, steps),
            Task::Operators(new) => new_operators(&job, new),
        };
        match result {
            Ok(done) => {
                job.note(done.event, &json!({ "did": done.did }))?;
                let mut output = Output::new();
                output.line(format!("order {}: {}", standing.order.id, done.did))?;
                Ok(output.finish()?)
            }
            Err(failure) => {
                let why = format!("{failure:#}");
                // Where the registry itself is what failed, nothing can be noted in it.
                if let Err(unnoted) = job.note(WorkEvent::Failed, &json!({ "why": why })) {
                    warn!("the work log: {unnoted:#}");
                }
                Err(failure.context(format!("order {}: interrupted; run it again, and it goes on where it was", standing.order.id)))
            }
        }
    }
}

impl Job<'_> {
    /// Notes something in the log.
    pub(super) fn note(&self, event: WorkEvent, detail: &serde_json::Value) -> Result<()> {
        note(self.registry.as_ref(), &self.order.id, event, detail)
    }
}

fn note(registry: &dyn WorkRegistry, order: &str, event: WorkEvent, detail: &serde_json::Value) -> Result<()> {
    registry.append_work(&NewWork { order, event, at: Timestamp::now(), detail: &detail.to_string() })?;
    Ok(())
}

/// Begins an order that is approved, or takes up one that was interrupted: its approvals were judged, and noted, when it was begun, and hold until it expires or
/// other operators are in force.
fn begin(registry: &SqliteRegistry, config: &Config, standing: &Standing) -> Result<WorkState> {
    let order = &standing.order;
    if let Some(state) = registry.work(&order.id)?.filter(|state| state.end.is_none() && is_same(state, order)) {
        let objections = resumption_objections(registry, config, order, &state)?;
        if !objections.is_empty() {
            note(registry, &order.id, WorkEvent::Refused, &json!({ "objections": objections }))?;
            bail!("order {}: not taken up again:\n  {}", order.id, objections.join("\n  "));
        }
        note(registry, &order.id, WorkEvent::Resumed, &json!({}))?;
        return Ok(state);
    }
    let objections = standing.objections(registry, config)?;
    if !objections.is_empty() {
        let detail = json!({ "fingerprint": order.fingerprint, "requester": order.requester, "objections": objections });
        note(registry, &order.id, WorkEvent::Refused, &detail)?;
        bail!("order {}: refused:\n  {}", order.id, objections.join("\n  "));
    }
    let (request, accepted) = (&standing.judgement.request, &standing.judgement.accepted);
    let counted = |name: &str| request.iter().chain(accepted).find(|signed| name.ends_with(&format!(".{}.approval", signed.operator)));
    let texts: Vec<&str> = standing.approvals.iter().filter(|file| counted(&file.name).is_some()).map(|file| file.text.as_str()).collect();
    let detail = json!({
        "kind": order.class(),
        "fingerprint": order.fingerprint,
        "requester": order.requester,
        "operators": standing.operators.fingerprint(),
        "request": request,
        "approvals": accepted,
        "signed": texts,
        "order": standing.text,
    });
    note(registry, &order.id, WorkEvent::Begun, &detail)?;
    match registry.work(&order.id)? {
        Some(state) => Ok(state),
        None => bail!("order {}: it was begun, and is not in the log", order.id),
    }
}

/// Everything that stands against an interrupted order's going on.
fn resumption_objections(registry: &SqliteRegistry, config: &Config, order: &WorkOrder, state: &WorkState) -> Result<Vec<String>> {
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

/// What was noted when the order was begun.
fn noted(state: &WorkState) -> serde_json::Value {
    serde_json::from_str(&state.begun).unwrap_or_default()
}

/// Whether it is the very order that was begun.
fn is_same(state: &WorkState, order: &WorkOrder) -> bool {
    noted(state)["fingerprint"] == json!(order.fingerprint)
}

fn new_operators(job: &Job<'_>, new: &crate::issuance::order::NewOperators) -> Result<Done> {
    let found = files::operators(&new.file)?;
    if found.fingerprint() != new.fingerprint {
        bail!("operators {}: found {}, wanted {}: it is not what was approved", new.file.display(), found.fingerprint(), new.fingerprint);
    }
    operators::put_in_force(job.registry.as_ref(), &job.order.id, &found, Timestamp::now())?;
    let did = format!("{} is in force: name it as [issuing] operators", new.file.display());
    Ok(Done { event: WorkEvent::Done, did })
}
