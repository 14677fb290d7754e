//! How things are asked, and about what: kinds of requests and classes of certificates, with weights.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::NoTargets;
use super::popularity::Pool;
use super::question::{Expected, Questions};
use crate::units::{BadValue, from_strings, weights};

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    OcspGet,
    OcspPost,
    Crl,
    /// With If-None-Match of the CRL that was there before the load.
    CrlConditional,
    /// A part of it.
    CrlRange,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Kind; 5] = [Kind::OcspGet, Kind::OcspPost, Kind::Crl, Kind::CrlConditional, Kind::CrlRange];

    /// Whether it is a question by OCSP.
    pub fn is_ocsp(self) -> bool {
        matches!(self, Kind::OcspGet | Kind::OcspPost)
    }

    /// The name in a record.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::OcspGet => "ocsp-get",
            Kind::OcspPost => "ocsp-post",
            Kind::Crl => "crl",
            Kind::CrlConditional => "crl-conditional",
            Kind::CrlRange => "crl-range",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().trim_start_matches("ocsp-"))
    }
}

/// Weights of kinds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mix(BTreeMap<Kind, u32>);

impl Mix {
    /// One kind alone.
    pub fn only(kind: Kind) -> Mix {
        Mix(BTreeMap::from([(kind, 1)]))
    }

    /// The kinds that are asked.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.keys().copied()
    }

    /// The weight of a kind.
    pub fn weight(&self, kind: Kind) -> u32 {
        self.0.get(&kind).copied().unwrap_or(0)
    }
}

impl FromStr for Mix {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Mix, BadValue> {
        weights(text, &Kind::ALL.map(|kind| (kind.name().trim_start_matches("ocsp-"), kind))).map(Mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(kind, weight)| format!("{kind}={weight}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// What a certificate asked about is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Class {
    /// Any of the file.
    Issued,
    Good,
    Revoked,
    /// A serial that nobody has issued.
    Unknown,
    /// Not an OCSP request at all.
    Malformed,
}

const CLASSES: [(&str, Class); 5] = [
    ("issued", Class::Issued),
    ("good", Class::Good),
    ("revoked", Class::Revoked),
    ("unknown", Class::Unknown),
    ("malformed", Class::Malformed),
];

/// Weights of classes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ask(BTreeMap<Class, u32>);

impl Default for Ask {
    fn default() -> Ask {
        Ask(BTreeMap::from([(Class::Issued, 1)]))
    }
}

impl Ask {
    /// Whether a class is asked about.
    pub fn includes(&self, class: Class) -> bool {
        self.0.contains_key(&class)
    }

    /// Whether any class is one of certificates that somebody has issued.
    pub fn is_of_issued(&self) -> bool {
        [Class::Issued, Class::Good, Class::Revoked].into_iter().any(|class| self.includes(class))
    }

    /// The questions of each class, with its weight.
    pub(super) fn pools(&self, questions: &Questions) -> Result<Vec<(u32, Pool)>, NoTargets> {
        let pool = |(class, weight): (&Class, &u32)| {
            let belongs = |index: &u32| class.holds(questions.expected(*index));
            let pool = Pool::new((0..questions.len()).filter(belongs));
            let name = CLASSES.iter().find(|(_, known)| known == class).map_or("", |(name, _)| name);
            let why = match class {
                Class::Good | Class::Revoked => {
                    "wanted --serials with at least one such, each with its status (the output of kakunin list)"
                }
                Class::Issued => "wanted --serials with at least one",
                Class::Unknown | Class::Malformed => "wanted --issuer, since ready-made requests are sent as they are",
            };
            pool.map(|pool| (*weight, pool)).ok_or_else(|| NoTargets(format!("--ask: found {name}, {why}")))
        };
        self.0.iter().map(pool).collect()
    }
}

impl Class {
    fn holds(self, expected: Expected) -> bool {
        match self {
            Class::Issued => matches!(expected, Expected::Good | Expected::Revoked | Expected::Issued | Expected::Anything),
            Class::Good => expected == Expected::Good,
            Class::Revoked => expected == Expected::Revoked,
            Class::Unknown => expected == Expected::NeverIssued,
            Class::Malformed => expected == Expected::Malformed,
        }
    }
}

impl FromStr for Ask {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Ask, BadValue> {
        weights(text, &CLASSES).map(Ask)
    }
}

from_strings!(Mix, Ask);
