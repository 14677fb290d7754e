//! How what comes from outside gets into a page: as text, never as markup or script.

use std::fmt::{self, Display, Formatter, Write};

/// The longest text from outside that a page takes over, in characters, unless it says otherwise.
pub(crate) const LONGEST_TEXT: usize = 400;

/// Text from outside, escaped for HTML content and for quoted attributes, and cut at [`LONGEST_TEXT`].
pub(crate) fn text(content: &str) -> Text<'_> {
    Text { content, longest: LONGEST_TEXT }
}

/// The same with another bound.
pub(crate) fn long_text(content: &str, longest: usize) -> Text<'_> {
    Text { content, longest }
}

/// Escaped text.
pub(crate) struct Text<'a> {
    content: &'a str,
    longest: usize,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut characters = self.content.chars();
        for character in characters.by_ref().take(self.longest) {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '`' => f.write_str("&#96;")?,
                '\n' | '\t' => f.write_char(character)?,
                '\r' => {}
                other if is_invisible(other) => write!(f, "{}", other.escape_unicode())?,
                other => f.write_char(other)?,
            }
        }
        match characters.count() {
            0 => Ok(()),
            left => write!(f, "… ({left} more characters)"),
        }
    }
}

/// Controls, and what turns the direction of writing or hides itself: shown by their numbers, so that nothing reads as what it is not.
fn is_invisible(character: char) -> bool {
    let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    character.is_control() || hides
}

/// JSON that may stand in a `script` element: nothing in it ends the element or begins a comment.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(text("<b a='\"`&\">").to_string(), "&lt;b a=&#39;&quot;&#96;&amp;&quot;&gt;");
        assert_eq!(text("a\u{0}\r\n\u{202e}b").to_string(), "a\\u{0}\n\\u{202e}b");
        assert_eq!(long_text("abcdef", 2).to_string(), "ab… (4 more characters)");
    }

    #[test]
    fn json_cannot_end_its_script() {
        assert_eq!(json(&"</script><!--&"), r#""\u003c/script\u003e\u003c!--\u0026""#);
    }

    proptest! {
        #[test]
        fn no_text_has_markup_or_ends_an_attribute(content in ".*") {
            let shown = text(&content).to_string();
            let dangerous = ['<', '>', '"', '\'', '`', '\u{0}', '\u{202e}'];
            prop_assert!(!shown.contains(dangerous));
        }

        #[test]
        fn json_is_the_same_value(content in ".*") {
            let shown = json(&content);
            let dangerous = ['<', '>', '&'];
            prop_assert!(!shown.contains(dangerous));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), content);
        }
    }
}
