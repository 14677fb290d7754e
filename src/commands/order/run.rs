//! `kakunin order run`: holds an order against its approvals, notes in the log that it is begun, carries it out, and notes what came of it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use tracing::warn;

use super::standing::Standing;
use super::turn::Turn;
use super::{ceremony, files, issue, keys, operators};
use crate::commands::output::Output;
use crate::commands::{ConfigFile, setup};
use crate::config::Config;
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
    let (interrupted, objections) = standing.look(registry, config)?;
    if !objections.is_empty() {
        let detail = json!({ "fingerprint": order.fingerprint, "requester": order.requester, "objections": objections });
        note(registry, &order.id, WorkEvent::Refused, &detail)?;
        let refused = if interrupted.is_some() { "not taken up again" } else { "refused" };
        bail!("order {}: {refused}:\n  {}", order.id, objections.join("\n  "));
    }
    if let Some(state) = interrupted {
        note(registry, &order.id, WorkEvent::Resumed, &json!({ "run_by": run_by() }))?;
        return Ok(state);
    }
    let (request, accepted) = (&standing.judgement.request, &standing.judgement.accepted);
    let counted = |name: &str| request.iter().chain(accepted).any(|signed| signed.file == name);
    let texts: Vec<&str> = standing.approvals.iter().filter(|file| counted(&file.name)).map(|file| file.text.as_str()).collect();
    let detail = json!({
        "kind": order.class(),
        "fingerprint": order.fingerprint,
        "requester": order.requester,
        "run_by": run_by(),
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

/// Who runs the program, as the system knows him: user id and host (S1.7).
fn run_by() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", rustix::process::getuid().as_raw())
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
