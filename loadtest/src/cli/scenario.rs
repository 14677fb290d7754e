//! `kakunin-loadtest scenario`: a load that a file describes.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::outcome::Outcome;
use super::service::Service;
use crate::incident::Drill;
use crate::scenario::{Form, Scenario as File};
use crate::shape::Shape;

/// Load a service as a scenario says
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin-loadtest scenario loadtest/scenarios/steady-day.toml --small http://127.0.0.1:2560 \\\n             \
    --issuer kakunin-demo/issuing.pem --serials certificates.jsonl"
)]
pub(super) struct Scenario {
    /// The scenario: see loadtest/scenarios/
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// In its small form, which takes less than a minute
    #[arg(long)]
    small: bool,
    /// What revokes all certificates of the issuer, for a scenario with an incident: run by sh
    #[arg(long, value_name = "COMMAND")]
    revoke_command: Option<String>,
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    outcome: Outcome,
}

impl Scenario {
    pub(super) fn run(self) -> Result<()> {
        self.outcome.prepare()?;
        let file = File::read(&self.file)?;
        let form = if self.small { Form::Small } else { Form::Full };
        let shape = self.shape.over(file.shape(form));
        let title = self.outcome.title.clone().unwrap_or_else(|| file.title.clone());
        let mut measurement = self.service.measurement(&shape, Some(title), self.outcome.server_pid)?;
        let mut progress = self.outcome.progress(&measurement.settings);
        let told = &mut |second: &_| progress.tell(second);
        let record = match (file.incident, &self.revoke_command) {
            (None, None) => measurement.run(told)?,
            (None, Some(_)) => anyhow::bail!("--revoke-command: {} has no incident", self.file.display()),
            (Some(incident), command) => {
                let command = command.as_deref().with_context(|| format!("{}: wanted --revoke-command", self.file.display()))?;
                ensure!(incident.revoke_after.0 < measurement.settings.duration, "--duration: wanted more than incident.revoke-after");
                // Any certificate may be answered good or revoked while it lasts.
                measurement.targets.statuses_change();
                let drill = Drill { incident, command, endpoint: &measurement.endpoint, targets: &measurement.targets };
                measurement.run_beside(Some(&|clock, halt| drill.run(clock, halt)), told)?
            }
        };
        drop(progress);
        self.outcome.tell(&record)
    }
}
