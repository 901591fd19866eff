//! Text fitted to the columns of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with a space in place of each control character. For text that others wrote: it could clear the screen or
/// forge lines.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The beginning of the text that fits into `columns`, with `…` for the rest.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let (kept, _) = split(text, columns.saturating_sub(1));
    format!("{kept}…")
}

/// The text with spaces behind it, `columns` wide.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// Breaks a line at spaces so that each part fits into `columns`, and a longer word wherever it must. Control
/// characters are left out.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let space = usize::from(!line.is_empty());
            if line.width() + space + word.width() <= columns {
                line.extend([&" "[..space], word]);
                break;
            }
            if line.is_empty() {
                // At least one character, so that every line makes progress.
                let one = word.chars().next().map_or(0, char::len_utf8);
                let at = split(word, columns).0.len().max(one);
                let (first, rest) = word.split_at(at);
                line.push_str(first);
                word = rest;
                if word.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    lines
}

/// The beginning of a text that fits into `columns`, and the rest.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut width = 0;
    for (index, c) in text.char_indices() {
        width += c.width().unwrap_or(0);
        if width > columns {
            return text.split_at(index);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_with_its_mark() {
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcde", 4), "abc…");
        // Each of these is two columns wide.
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("日本語", 1), "…");
    }

    #[test]
    fn lines_break_at_spaces_and_within_long_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        // Narrower than a character.
        assert_eq!(wrap("日本", 1), ["日", "本"]);
    }
}
