//! Durations in the configuration: `7d`, `3d 12h`, `90m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Of a field that may be missing.
pub(super) mod optional {
    use super::{Deserializer, Duration};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|e| de::Error::custom(format!("'{text}' is not a duration such as 7d or 3d 12h: {e}")))
}
