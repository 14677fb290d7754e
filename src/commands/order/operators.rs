//! `kakunin order operators`: puts the first file of operators in force. Every later one is put in force by an order that those before have approved.

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::files;
use crate::commands::output::Output;
use crate::commands::{ConfigFile, setup};
use crate::issuance::control::Operators;
use crate::pki::{Fingerprint, Timestamp};
use crate::registry::work::{NewWork, WorkEvent, WorkRegistry};

/// Put the first file of operators in force, and create the registry where there is none
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin order operators --config kakunin.toml\n\nThe file is the configuration's [issuing] operators. Another one is put in force by an \
    order of kind 'operators'."
)]
pub(super) struct PutInForce {
    #[command(flatten)]
    config: ConfigFile,
}

/// What the log says of a file of operators.
#[derive(Serialize, Deserialize)]
pub(super) struct InForce {
    pub(super) fingerprint: Fingerprint,
    operators: Vec<String>,
}

impl InForce {
    pub(super) fn of(operators: &Operators) -> InForce {
        InForce { fingerprint: operators.fingerprint(), operators: operators.iter().map(|operator| operator.name.clone()).collect() }
    }
}

/// The hash of the file that is in force.
pub(super) fn in_force(registry: &dyn WorkRegistry) -> Result<Option<Fingerprint>> {
    let detail = registry.operators_in_force()?;
    Ok(detail.map(|detail| serde_json::from_str::<InForce>(&detail)).transpose()?.map(|found| found.fingerprint))
}

/// Notes that a file is in force from now on.
pub(super) fn put_in_force(registry: &dyn WorkRegistry, order: &str, operators: &Operators, at: Timestamp) -> Result<()> {
    let detail = serde_json::to_string(&InForce::of(operators))?;
    registry.append_work(&NewWork { order, event: WorkEvent::Operators, at, detail: &detail })?;
    Ok(())
}

impl PutInForce {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let operators = files::operators(&config.issuing.operators)?;
        if let Some(lockout) = operators.lockout() {
            bail!("operators {}: {lockout}", config.issuing.operators.display());
        }
        let registry = setup::open_or_create_work_registry(&config)?;
        let found = operators.fingerprint();
        match in_force(registry.as_ref())? {
            Some(known) if known == found => {}
            Some(known) => bail!(
                "operators {}: found {found}, but {known} is in force: wanted an order of kind 'operators', approved by those who are",
                config.issuing.operators.display()
            ),
            None => put_in_force(registry.as_ref(), "operators", &operators, Timestamp::now())?,
        }
        let mut output = Output::new();
        output.line(format!("in force: {} operators, {found}", operators.iter().count()))?;
        Ok(output.finish()?)
    }
}
