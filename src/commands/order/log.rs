//! `kakunin order log`: what was ordered, approved, by whom, and what came of it.

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::commands::output::Output;
use crate::commands::{ConfigFile, setup};
use crate::pki::{Fingerprint, Timestamp};
use crate::registry::work::{ChainCheck, WorkEntry, WorkEvent, WorkRegistry};

/// List the work log, and hold it against its chain of hashes
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin order log --config kakunin.toml --json | jq 'select(.event==\"refused\")'\n\n\
    Note the hash that it ends with in your own records: whoever rewrites the log cannot give it the same one.")]
pub(super) struct Log {
    #[command(flatten)]
    config: ConfigFile,
    /// Only entries of this order (the chain is checked over all)
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    order: &'a str,
    event: WorkEvent,
    at: Timestamp,
    detail: Value,
    chain: Fingerprint,
}

impl Log {
    pub(super) fn run(self) -> Result<()> {
        let registry = setup::open_work_registry_read_only(&self.config.load()?)?;
        let (mut check, mut tampered) = (ChainCheck::default(), Ok(()));
        let (mut output, mut written) = (Output::new(), Ok(()));
        let ever = registry.visit_work(&mut |entry| {
            if tampered.is_ok() {
                tampered = check.entry(&entry);
            }
            if written.is_ok() && self.order.as_ref().is_none_or(|order| *order == entry.order) {
                written = self.line(&mut output, &entry);
            }
        })?;
        written.context("standard output")?;
        let (length, head) = match tampered.and_then(|()| check.finish(ever)) {
            Ok(found) => found,
            Err(tampered) => {
                output.finish().context("standard output")?;
                return Err(tampered.into());
            }
        };
        if !self.json {
            output.line(format!("{length} entries, unbroken; the newest is {head}"))?;
        }
        output.finish().context("standard output")
    }

    fn line(&self, output: &mut Output, entry: &WorkEntry) -> std::io::Result<()> {
        let WorkEntry { sequence, order, event, at, detail, chain } = entry;
        let detail = serde_json::from_str(detail).unwrap_or_else(|_| Value::String(detail.clone()));
        if self.json {
            return output.json(&Line { sequence: *sequence, order, event: *event, at: *at, detail, chain: *chain });
        }
        let event = serde_json::to_value(event)?;
        output.line(format!("{sequence} {at} {order} {}{}", event.as_str().unwrap_or_default(), summary(&detail)))
    }
}

/// The parts of a detail that people look for first.
fn summary(detail: &Value) -> String {
    let approvals = detail["approvals"].as_array().into_iter().flatten().filter_map(|approval| approval["operator"].as_str());
    let approvals: Vec<&str> = approvals.collect();
    let text = |name: &str| detail[name].as_str().map(|value| format!(", {value}"));
    let mut said = text("kind").unwrap_or_default();
    said += &detail["requester"].as_str().map(|requester| format!(", for {requester}")).unwrap_or_default();
    if !approvals.is_empty() {
        said += &format!(", approved by {}", approvals.join(" and "));
    }
    said += &detail["run_by"].as_str().map(|who| format!(", run by {who}")).unwrap_or_default();
    said += &["did", "why"].into_iter().filter_map(text).collect::<String>();
    if let Some(objections) = detail["objections"].as_array() {
        let texts: Vec<&str> = objections.iter().filter_map(Value::as_str).collect();
        said += &format!(", {}", texts.join("; "));
    }
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
