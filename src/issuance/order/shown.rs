//! What an order may be written in: it is shown to those who approve it, so every character of it is one that they see.

use std::ops::RangeInclusive;

use super::{OrderError, field};

/// Beside control characters, what leaves no trace on a screen or changes how other text is seen (Unicode 16): category Cf, line and paragraph separators, what
/// is ignored by default (DerivedCoreProperties), and the Braille pattern without dots.
const HIDDEN: [RangeInclusive<char>; 26] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Refuses text that cannot be seen, or that changes how other text is seen, in the name and the value of a field.
pub(super) fn check(name: &str, value: &toml::Value) -> Result<(), OrderError> {
    check_text(name)?;
    match value {
        toml::Value::String(text) => check_text(text),
        toml::Value::Array(values) => values.iter().try_for_each(|value| check("", value)),
        toml::Value::Table(table) => table.iter().try_for_each(|(name, value)| check(name, value)),
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), OrderError> {
    let Some(hidden) = text.chars().find(|c| is_hidden(*c)) else { return Ok(()) };
    Err(field("order", format!("the character U+{:04X} in '{}'", u32::from(hidden), visible(text)), "text that can be seen"))
}

/// The text with every character to be seen.
pub(in crate::issuance) fn visible(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control() || (!c.is_ascii() && HIDDEN.iter().any(|range| range.contains(&c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_8_what_is_shown_for_approval_has_no_character_that_is_not_seen() {
        let text = |text: String| toml::Value::String(text);
        for seen in ["Example\u{3000}K.K.", "確認", "a'b\"c", "ﾊﾝｶｸ", "e\u{301}"] {
            assert_eq!(check("field", &text(seen.to_owned())), Ok(()), "{seen}");
        }
        let hidden = "\n\u{1b}\u{85}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180e}\u{200b}\u{2028}\u{202e}\u{2066}\u{2800}\u{3164}\u{fe0f}\
                      \u{feff}\u{ffa0}\u{fff9}\u{1d173}\u{e0041}\u{e0100}";
        for hidden in hidden.chars() {
            let said = check("field", &text(format!("out{hidden}"))).unwrap_err().to_string();
            let found =
                format!("order: found the character U+{:04X} in 'out\\u{{{:x}}}', wanted text", u32::from(hidden), u32::from(hidden));
            assert!(said.starts_with(&found), "{said:?}");
            let nested = toml::Value::Array(vec![toml::Value::Table([(format!("a{hidden}"), text("b".to_owned()))].into_iter().collect())]);
            assert!(check("field", &nested).is_err(), "{said}");
        }
    }
}
