//! `kakunin order approve`: an operator signs an order, to approve it or, as its requester, to say that it is theirs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::files;
use crate::commands::durable_file;
use crate::commands::output::Output;
use crate::issuance::control::{Approval, Statement};
use crate::pki::Timestamp;
use crate::token::Key;
use crate::token::pkcs11::{KeyRequest, Pin, Pkcs11Token};
use crate::token::software::SoftwareKey;

/// Approve an order with an operator's key
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("where").required(true).args(["key", "module"]),
    after_help = "Example: kakunin order approve batch.toml --operators operators.toml --operator sato --key sato.key.pem\n\
    Example: kakunin order approve batch.toml --operators operators.toml --operator sato \\\n           \
    --module /usr/lib/opensc-pkcs11.so --token 'Sato' --label signing --pin-file pin\n\n\
    Read the order first: `kakunin order show`. The approval is written beside it, as ORDER.NAME.approval. The signature of who asks for the order\n\
    is needed too, and made in the same way; it counts among no approvals."
)]
pub(super) struct Approve {
    /// The order
    order: PathBuf,
    /// The file of operators
    #[arg(long, value_name = "FILE")]
    operators: PathBuf,
    /// Who approves
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// The operator's private key: PKCS#8, mode 0600
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Or a PKCS#11 module
    #[arg(long, value_name = "FILE", requires_all = ["token", "label", "pin_file"])]
    module: Option<PathBuf>,
    /// Label of the token
    #[arg(long, value_name = "LABEL", requires = "module")]
    token: Option<String>,
    /// Label of the key on it
    #[arg(long, value_name = "LABEL", requires = "module")]
    label: Option<String>,
    /// A file with the PIN, mode 0600
    #[arg(long, value_name = "FILE", requires = "module")]
    pin_file: Option<PathBuf>,
    /// How long the approval is good, at most 30d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = humantime::parse_duration)]
    valid: Duration,
}

impl Approve {
    pub(super) fn run(self) -> Result<()> {
        let (_, order) = files::order(&self.order)?;
        let operators = files::operators(&self.operators)?;
        let Some(operator) = operators.get(&self.operator) else {
            let known: Vec<&str> = operators.iter().map(|operator| operator.name.as_str()).collect();
            bail!("--operator: found '{}', wanted one of {}", self.operator, known.join(", "));
        };
        let longest = crate::issuance::control::MAX_VALIDITY;
        if self.valid.as_secs() == 0 || self.valid > longest {
            bail!("--valid: found {}, wanted 1s to {}", humantime::format_duration(self.valid), humantime::format_duration(longest));
        }
        let key = self.open_key().context("the operator's key")?;
        if key.public_key() != operator.public_key {
            bail!("the operator's key: found another than that of '{}' in {}", self.operator, self.operators.display());
        }
        let at = Timestamp::now();
        let expires = at.saturating_add(self.valid);
        let (order_hash, operators) = (order.fingerprint, operators.fingerprint());
        let statement = Statement { operator: self.operator.clone(), order: order_hash, operators, at, expires };
        let approval = Approval::sign(statement, key.as_ref())?;
        let path = files::approval_path(&self.order, &self.operator);
        durable_file::write(&path, approval.to_toml().as_bytes())?;
        let mut output = Output::new();
        let done = if self.operator == order.requester { "asked for" } else { "approved" };
        output.line(format!("{done} order {} ({order_hash}) until {expires}: {}", order.id, path.display()))?;
        Ok(output.finish()?)
    }

    fn open_key(&self) -> Result<Key> {
        if let Some(file) = &self.key {
            return Ok(Arc::new(SoftwareKey::open(file, None)?));
        }
        // The arguments come together.
        let (Some(module), Some(token), Some(pin)) = (&self.module, &self.token, &self.pin_file) else { bail!("wanted --key or --module") };
        let token = Pkcs11Token::open(module, token, Pin::from_file(pin)?, 1)?;
        let request = KeyRequest { label: self.label.clone(), ..KeyRequest::default() };
        Ok(Arc::new(token.key(&request)?))
    }
}
