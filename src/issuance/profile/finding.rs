//! What a profile has to say against a request, or the rules against a profile.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// To be known.
    Notice,
    /// Against a recommendation, or soon against a rule.
    Warning,
    /// Against a rule.
    Error,
}

/// One thing found: which rule, where, what is there and what may be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is. What a profile refuses is always an error.
    pub level: Level,
    /// A rule id (`P4`), a section (`BR 6.3.2`), or the profile's own setting that was not kept (`subject.characters`).
    pub rule: &'static str,
    /// The part of the request or of the profile.
    pub field: String,
    /// What it holds; at most 200 characters of it.
    pub found: String,
    /// What it may hold.
    pub wanted: String,
}

impl Finding {
    /// An error.
    pub(super) fn error(rule: &'static str, field: impl Into<String>, found: impl fmt::Display, wanted: impl Into<String>) -> Finding {
        // What came from outside is shown only up to a length.
        let found = found.to_string().chars().take(200).collect();
        Finding { level: Level::Error, rule, field: field.into(), found, wanted: wanted.into() }
    }

    /// The same, less grave.
    pub(super) fn at(self, level: Level) -> Finding {
        Finding { level, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {} ({})", self.field, self.found, self.wanted, self.rule)
    }
}

impl std::error::Error for Finding {}

impl Level {
    /// `error`, `warning` or `notice`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
