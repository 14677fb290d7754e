//! `kakunin-loadtest run`: a load as the options say.

use anyhow::Result;
use clap::Args;

use super::outcome::Outcome;
use super::service::Service;
use crate::search::Objective;
use crate::shape::Shape;

/// Load a service as the options say, and say what came of it
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin list --config kakunin-demo/kakunin.toml --issuer issuing > certificates.jsonl\n         \
    kakunin-loadtest run http://127.0.0.1:2560 --issuer kakunin-demo/issuing.pem --serials certificates.jsonl --rate 2000\n\n\
    It fails where an answer that was checked is wrong or is none of OCSP, where a request failed (of --find-max: where no rate met the objective), where \
    nothing was answered at all, and where it was ended early.")]
pub(super) struct Run {
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    shape: Shape,
    /// Search the highest rate that meets this objective, such as 'p99<5ms,errors=0'; each step lasts --duration, and --rate is the first
    #[arg(long, value_name = "OBJECTIVE")]
    find_max: Option<Objective>,
    #[command(flatten)]
    outcome: Outcome,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        self.outcome.prepare()?;
        let mut measurement = self.service.measurement(&self.shape, self.outcome.title.clone(), self.outcome.server_pid)?;
        let mut progress = self.outcome.progress(&measurement.settings);
        let record = match &self.find_max {
            None => measurement.run(&mut |second| progress.tell(second))?,
            Some(objective) => measurement.search(objective, &mut |rate, second| progress.tell_step(rate, second))?,
        };
        drop(progress);
        self.outcome.tell(&record)
    }
}
