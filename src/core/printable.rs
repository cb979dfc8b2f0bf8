//! Text for a terminal or a plain log: nothing in it can move the cursor, change colours, reorder or hide characters.
//!
//! For showing only. It never changes what is stored, compared or published.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes every character that a terminal would act on or a reader could not see as `\u{..}`: C0 (line feed and tab too, so that
/// one value stays on one line), DEL, C1, bidirectional controls, invisible and formatting characters, and the backslash of a
/// text that looks like such an escape already, so that the escaping can be told from the text.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let needs = |(at, character): (usize, char)| is_unsafe(character) || (character == '\\' && text[at..].starts_with("\\u{"));
    if !text.char_indices().any(needs) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for (at, character) in text.char_indices() {
        if needs((at, character)) {
            write!(shown, "\\u{{{:x}}}", character as u32).expect("a String takes everything");
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Characters that act on a terminal or deceive a reader.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        // Zero width, direction marks, line and paragraph separators, embeddings and overrides, word joiner and invisible operators.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Private use: a font may show anything.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_inert_and_ordinary_text_is_untouched() {
        // The inputs of hostile-input.md, "Terminal escapes" and "UTF-8 / Unicode".
        for (given, shown) in [
            ("\x1b]0;pwn\x07", "\\u{1b}]0;pwn\\u{7}"),
            ("\x1b[2J\x1b[H all clear", "\\u{1b}[2J\\u{1b}[H all clear"),
            ("\x1b]52;c;ZXZpbA==\x07", "\\u{1b}]52;c;ZXZpbA==\\u{7}"),
            ("\x1b]8;;http://e\x1b\\x\x1b]8;;\x1b\\", "\\u{1b}]8;;http://e\\u{1b}\\x\\u{1b}]8;;\\u{1b}\\"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\rb\x08c\nd\te\x7f", "a\\u{d}b\\u{8}c\\u{a}d\\u{9}e\\u{7f}"),
            ("user\u{202e}gpj.exe", "user\\u{202e}gpj.exe"),
            ("admin\0", "admin\\u{0}"),
            ("a\u{200b}b\u{feff}c\u{e0041}", "a\\u{200b}b\\u{feff}c\\u{e0041}"),
            ("literal \\u{1b}", "literal \\u{5c}u{1b}"),
            ("back\\slash", "back\\slash"),
            ("b\u{fc}ro \u{0430}dmin \u{6771}\u{4eac}", "b\u{fc}ro \u{0430}dmin \u{6771}\u{4eac}"),
            ("", ""),
        ] {
            assert_eq!(printable(given), shown, "{given:?}");
            assert!(!printable(given).chars().any(is_unsafe), "{given:?}");
            assert_eq!(printable(given) == given, matches!(printable(given), Cow::Borrowed(_)));
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_unsafe_is_left_and_two_texts_never_look_the_same(left in ".{0,12}", right in ".{0,12}") {
            proptest::prop_assert!(!printable(&left).chars().any(is_unsafe));
            proptest::prop_assert_eq!(left == right, printable(&left) == printable(&right));
        }
    }
}
