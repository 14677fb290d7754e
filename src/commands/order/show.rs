//! `kakunin order show` and `check`: what an order would do, and which approvals are there and missing. Changes nothing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::files;
use super::standing::Standing;
use crate::commands::output::Output;
use crate::commands::{ConfigFile, setup};
use crate::config::Config;
use crate::issuance::order::{CaSource, Inputs, NewCertificate, OnRejection, Step, Task, WorkOrder};
use crate::issuance::profile::{Choices, Period, Profile};
use crate::pki::Timestamp;

/// Show what an order would do, and which approvals it has
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin order show batch.toml --operators operators.toml")]
pub(super) struct Show {
    /// The order
    order: PathBuf,
    /// The file of operators
    #[arg(long, value_name = "FILE")]
    operators: PathBuf,
}

/// Say whether an order could be run now: approvals, operators in force, files that it is bound to
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin order check batch.toml --config kakunin.toml\n\nThe exit code is 0 where it could be run.")]
pub(super) struct Check {
    /// The order
    order: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

fn print(standing: &Standing, output: &mut Output) -> std::io::Result<()> {
    let WorkOrder { id, requester, created, expires, fingerprint, .. } = &standing.order;
    output.line(format!("order {id} ({}), {fingerprint}", standing.order.class().name()))?;
    output.line(format!("  asked for by {requester}, to be run from {created} to {expires}"))?;
    lines(&standing.order.task).into_iter().try_for_each(|line| output.line(format!("  {line}")))?;
    if let Some(request) = &standing.judgement.request {
        output.line(format!("  signed by {requester} at {}, good until {}", request.at, request.expires))?;
    }
    for accepted in &standing.judgement.accepted {
        output.line(format!("  approved by {} at {}, good until {}", accepted.operator, accepted.at, accepted.expires))?;
    }
    standing.judgement.objections().into_iter().try_for_each(|line| output.line(format!("  {line}")))
}

/// What it would do.
fn lines(task: &Task) -> Vec<String> {
    match task {
        Task::Issue(issue) => {
            let inputs =
                issue.inputs.directory.iter().chain(&issue.inputs.lines).map(|path| path.display().to_string()).collect::<String>();
            vec![format!(
                "issues by '{}', as {}, for {inputs}, into {}{}",
                issue.issuer,
                issue.profile.file.display(),
                issue.output.display(),
                issuing_text(issue.valid_for, issue.renewal, issue.on_rejection)
            )]
        }
        Task::IssueWithKeys(issue) => {
            let inputs = issue.inputs.lines.iter().map(|path| path.display().to_string()).collect::<String>();
            let (output, profile) = (issue.output.display(), issue.profile.file.display());
            let (algorithm, issuer, validity) =
                (issue.key_algorithm, &issue.issuer, issuing_text(issue.valid_for, false, issue.on_rejection));
            vec![format!("makes {algorithm} keys for {inputs}, certified by '{issuer}', as {profile}, into {output}{validity}")]
        }
        Task::Ceremony(steps) => steps.iter().enumerate().map(|(index, step)| format!("{}. {}", index + 1, step_text(step))).collect(),
        Task::Operators(operators) => vec![format!("puts {} in force ({})", operators.file.display(), operators.fingerprint)],
    }
}

fn issuing_text(valid_for: Option<Period>, renewal: bool, on_rejection: OnRejection) -> String {
    let validity = valid_for.map(|period| format!("; each is valid for {period} from its issuance")).unwrap_or_default();
    let renews = if renewal { "; as renewals: whoever has a certificate, or its key, may get another one" } else { "" };
    let rejection = match on_rejection {
        OnRejection::GoOn => "what is rejected is left out",
        OnRejection::Stop => "stops at the first that is rejected",
    };
    format!("{validity}{renews}; {rejection}")
}

/// What a step says beside its profile.
fn choices_text(Choices { path_length, key_usage, .. }: &Choices<'_>, renewal: bool) -> String {
    let length = path_length.map(|length| format!(", path length {length}")).unwrap_or_default();
    let usage: String = key_usage.iter().map(|usage| format!(", {}", usage.name())).collect();
    let renews = if renewal { "; it may have another one already" } else { "" };
    format!("{length}{usage}{renews}")
}

fn new_text(does: &str, new: &NewCertificate, renewal: bool) -> String {
    let (key, profile, file) = (&new.key.label, new.profile.file.display(), new.certificate.display());
    format!("{does} with key '{key}', as {profile}, into {file}{}", choices_text(&new.choices(), renewal))
}

/// A step in words.
pub(super) fn step_text(step: &Step) -> String {
    match step {
        Step::GenerateKey { key, algorithm } => format!("makes an {algorithm} key '{}' on token '{}'", key.label, key.token),
        Step::SelfSigned { new } => new_text(&format!("self-signs {}", new.subject), new, false),
        Step::Certify { issuer, new, renewal } => new_text(&format!("certifies {} by '{issuer}'", new.subject), new, *renewal),
        Step::CrossCertify(new) => {
            let (request, profile, file) = (new.request.file.display(), new.profile.file.display(), new.certificate.display());
            let choices = choices_text(&new.choices(), new.renewal);
            format!("cross-certifies {request} by '{}', as {profile}, into {file}{choices}", new.issuer)
        }
        Step::LinkCertificates { old, new, old_with_new, new_with_old } => {
            let (first, second) = (old_with_new.profile.file.display(), new_with_old.profile.file.display());
            format!("links {} and {}, as {first} and {second}", old.certificate.display(), new.certificate.display())
        }
        Step::RunOff(named) => format!("has '{}' issue nothing any more", named.issuer),
        Step::Close(named) => format!("ends '{}'", named.issuer),
        Step::RevokeAll { issuer, reason } => format!("revokes every certificate of '{issuer}' ({reason})"),
        Step::DestroyKey { key } => format!("destroys the key '{}' on token '{}'", key.label, key.token),
    }
}

impl Show {
    pub(super) fn run(self) -> Result<()> {
        let standing = Standing::read(&self.order, &self.operators, Timestamp::now())?;
        let mut output = Output::new();
        print(&standing, &mut output).and_then(|()| output.finish()).context("standard output")
    }
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let standing = Standing::read(&self.order, &config.issuing.operators, Timestamp::now())?;
        let mut output = Output::new();
        print(&standing, &mut output).context("standard output")?;
        let registry = setup::open_work_registry_read_only(&config)?;
        let (begun, mut objections) = standing.look(registry.as_ref(), &config)?;
        if begun.is_some() {
            output.line("  was begun before and has not ended: run again, it goes on where it was").context("standard output")?;
        }
        output.finish().context("standard output")?;
        objections.extend(check_files(&standing.order.task, &config).err().map(|failure| format!("{failure:#}")));
        if objections.is_empty() { Ok(()) } else { bail!("order {}:\n  {}", standing.order.id, objections.join("\n  ")) }
    }
}

/// Whether everything that an order is bound to is there and is what was approved. The profile of a batch is looked at elsewhere.
fn check_files(task: &Task, config: &Config) -> Result<()> {
    let issuer = |name: &str| config.issuer(name).map(drop).with_context(|| format!("no [[issuer]] named '{name}'"));
    let profile = |bound: &crate::issuance::order::Bound| -> Result<()> {
        Profile::from_toml(&bound.file.display().to_string(), &files::bound(bound)?).map(drop).map_err(Into::into)
    };
    match task {
        Task::Issue(issue) => {
            issuer(&issue.issuer)?;
            Inputs::open(&issue.inputs)?;
        }
        Task::IssueWithKeys(issue) => {
            issuer(&issue.issuer)?;
            Inputs::open(&issue.inputs)?;
        }
        Task::Ceremony(steps) => {
            steps.iter().flat_map(Step::profiles).try_for_each(profile)?;
            let mut sources = steps.iter().flat_map(Step::sources).filter_map(CaSource::bound);
            sources.try_for_each(|bound| files::bound(&bound).map(drop))?;
        }
        Task::Operators(operators) => {
            let found = files::operators(&operators.file)?.fingerprint();
            if found != operators.fingerprint {
                bail!("operators {}: found {found}, wanted {}, as the order says", operators.file.display(), operators.fingerprint);
            }
        }
    }
    Ok(())
}
