//! Scenarios: loads that have a name, in TOML files, each in a small form and in a full one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::shape::Shape;
use crate::targets::read_bounded;
use crate::units::Span;

/// Octets of a file at most.
const MAX_BYTES: u64 = 64 << 10;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub title: String,
    /// What it stands for, in a few sentences.
    pub about: String,
    /// What both forms have in common: the options of `run`, by their names.
    #[serde(default)]
    pub load: Shape,
    /// What is different in the small form, which takes less than a minute.
    pub small: Shape,
    /// What is different in the full form.
    pub full: Shape,
    /// Every certificate is revoked during the load.
    pub incident: Option<Incident>,
}

/// A mass revocation under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Incident {
    /// How long after the start of the load the certificates are revoked.
    pub revoke_after: Span,
    /// The load goes on for so long after all answers say so.
    pub calm: Span,
}

/// Which of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Form {
    Small,
    Full,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What TOML does not allow, names that are none of an option, and values out of their bounds, with the place.
    pub fn read(path: &Path) -> Result<Scenario> {
        let octets = read_bounded(path, MAX_BYTES)?;
        let text = String::from_utf8(octets).with_context(|| format!("{}: wanted text", path.display()))?;
        let scenario: Scenario = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for form in [Form::Small, Form::Full] {
            let settings = scenario.shape(form).settle().map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?;
            if let Some(incident) = scenario.incident {
                ensure!(
                    incident.revoke_after.0 < settings.duration,
                    "{}: incident.revoke-after: wanted less than the duration",
                    path.display()
                );
            }
        }
        Ok(scenario)
    }

    /// What a form of it says about the load.
    pub fn shape(&self, form: Form) -> Shape {
        let own = if form == Form::Small { &self.small } else { &self.full };
        own.clone().over(self.load.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Scenario> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Scenario::read(file.path())
    }

    #[test]
    fn a_form_hides_what_both_have_in_common() {
        let text = "title = 'T'\nabout = 'A'\n[load]\nrate = '10'\nconnections = 4\n[small]\n[full]\nrate = '20..30'\n";
        let scenario = read(text).unwrap();
        assert_eq!(scenario.shape(Form::Small).rate.map(|rate| rate.to_string()).as_deref(), Some("10"));
        let full = scenario.shape(Form::Full);
        assert_eq!((full.rate.map(|rate| rate.to_string()).as_deref(), full.connections), (Some("20..30"), Some(4)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let message =
            |load: &str| format!("{:#}", read(&format!("title = 'T'\nabout = 'A'\n[load]\n{load}\n[small]\n[full]\n")).unwrap_err());
        assert!(message("rat = '10'").contains("rat"), "{}", message("rat = '10'"));
        assert!(message("rate = 'fast'").contains("found 'fast'"));
        assert!(message("connections = 0").contains("connections: found 0"));
        assert!(message("mix = 'put=1'").contains("found 'put=1'"));
        assert!(format!("{:#}", read("title = 'T'").unwrap_err()).contains("about"));
    }

    #[test]
    fn every_scenario_that_comes_with_the_program_is_valid_and_short_in_its_small_form() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 7);
        for file in files {
            let settings = Scenario::read(&file).unwrap().shape(Form::Small).settle().unwrap();
            assert!((settings.duration + settings.timeout).as_secs() < 60, "{}", file.display());
        }
    }
}
