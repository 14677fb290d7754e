//! What the configuration allows an order, and what is there already. Looked at before an order is begun, and again when it is taken up. Changes nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::issue::IssuerLinks;
use super::{claim, files};
use crate::commands::reasons::Reasons;
use crate::commands::setup;
use crate::config::Config;
use crate::issuance::order::{Bound, Task, WorkOrder};
use crate::issuance::profile::{Choices, Period, Profile};
use crate::pki::{RevocationReason, Timestamp};

/// Everything that stands against an order in the configuration and where it writes.
pub(super) fn objections(config: &Config, order: &WorkOrder) -> Result<Vec<String>> {
    let mut objections = Vec::new();
    for (issuer, profile, choices) in order.task.issued_by() {
        objections.extend(profile_objection(config, issuer, profile)?);
        objections.extend(issuance_objection(config, issuer, profile, &choices));
        objections.extend(validity_objection(config, issuer, profile, order.task.valid_for()));
    }
    if let Some(profile) = order.task.batch_profile() {
        objections.extend(super::issue::batch_profile(profile).err().map(|failure| format!("{failure:#}")));
    }
    objections.extend(overlaps(&order.task));
    objections.extend(order.task.outputs().into_iter().filter_map(|directory| claim::objection(directory, order)));
    if let Task::Operators(new) = &order.task {
        // What cannot be read is objected to elsewhere.
        let lockout = files::operators(&new.file).ok().and_then(|operators| operators.lockout());
        objections.extend(lockout.map(|lockout| format!("operators {}: {lockout}", new.file.display())));
    }
    for (issuer, reason) in order.task.revoked() {
        objections.extend(reason_objection(config, issuer, reason));
    }
    Ok(objections)
}

/// Places of a batch that are in one another, by whichever name: what an order writes is no input of it, and passphrases are handed over apart from keys (S4.9).
pub(super) fn overlaps(task: &Task) -> Vec<String> {
    let outputs = ["output", "passphrases"].into_iter().zip(task.outputs());
    let places: Vec<_> = task.inputs().into_iter().map(|inputs| ("inputs", inputs)).chain(outputs).collect();
    let mut overlaps = Vec::new();
    for (index, (other, place)) in places.iter().enumerate() {
        for (name, found) in &places[index + 1..] {
            let (one, two) = (real(place), real(found));
            if one.starts_with(&two) || two.starts_with(&one) {
                let (found, place) = (found.display(), place.display());
                overlaps
                    .push(format!("{name}: found {found}, wanted a directory apart from {other} ({place}), neither in it nor around it"));
            }
        }
    }
    overlaps
}

/// An absolute path as it is without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            real.pop();
        } else {
            real.push(part);
            real = fs::canonicalize(&real).unwrap_or(real);
        }
    }
    real
}

/// A profile that is not among those of `[issuer.issuance]`, where these are set: held against them by content, whatever its file is called.
pub(super) fn profile_objection(config: &Config, issuer: &str, profile: &Bound) -> Result<Option<String>> {
    let Some(allowed) = config.issuer(issuer).map(|issuer| &issuer.issuance.profiles).filter(|allowed| !allowed.is_empty()) else {
        return Ok(None);
    };
    let mut wanted = Vec::with_capacity(allowed.len());
    for name in allowed {
        let found = Profile::fingerprint(name).with_context(|| format!("issuer '{issuer}': issuance.profiles"))?;
        if found == profile.sha256 {
            return Ok(None);
        }
        wanted.push(format!("{name} ({found})"));
    }
    let (file, found) = (profile.file.display(), profile.sha256);
    Ok(Some(format!("issuer '{issuer}': found the profile {file} ({found}), wanted one of its issuance.profiles: {}", wanted.join(", "))))
}

/// What the issuer could not put its name to, whatever is asked for: another kind of signature than the profile wants, choices that it does not leave open. What
/// cannot be read is objected to elsewhere; a CA's certificate may be one that the order itself makes.
fn issuance_objection(config: &Config, name: &str, bound: &Bound, choices: &Choices<'_>) -> Option<String> {
    let issuer = config.issuer(name)?;
    let (profile, ca) = (super::issue::profile(bound).ok()?, setup::read_certificate(&issuer.certificate).ok()?);
    let key = ca.key_algorithm().ok()?;
    // A profile without any signature of the key's is told of with what the key makes.
    let signature = profile.signature_for(key, issuer.key.as_ref().and_then(setup::wanted_signature)).unwrap_or(key.default_signature());
    let links = IssuerLinks::unpartitioned(config, name, &issuer.publication(), &profile);
    let checked = profile.check_issuance(&ca, signature, &Choices { links: links.links(&profile), ..*choices });
    checked.err().map(|failure| format!("issuer '{name}', profile {}: {failure}", bound.file.display()))
}

/// A reason that the issuer's revocations cannot be published with. An issuer whose certificate cannot be read yet may be one that the order itself makes.
pub(super) fn reason_objection(config: &Config, issuer: &str, reason: RevocationReason) -> Option<String> {
    let objection = Reasons::of(config.issuer(issuer)?).ok()?.objection(Some(reason), false)?;
    Some(format!("revoke-all, reason: {objection}"))
}

/// A validity from now on that the profile does not allow, or that ends after the issuer. A profile or an issuer that cannot be read is objected to elsewhere.
fn validity_objection(config: &Config, name: &str, bound: &Bound, valid_for: Option<Period>) -> Option<String> {
    let profile = super::issue::profile(bound).ok()?;
    let end = setup::read_certificate(&config.issuer(name)?.certificate).ok()?.not_after;
    let failure = super::issue::validity(&profile, end, valid_for, Timestamp::now()).err()?;
    Some(format!("issuer '{name}', profile {}: {failure}", bound.file.display()))
}
