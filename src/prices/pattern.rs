//! Regular expressions as Postgres reads them (`MODEL ~ matchPattern`), translated for [`regex_lite`].
//!
//! Not supported, and refused: look-around, back references and basic regular expressions. `\d`, `\w`, `\s` and case
//! are those of ASCII.

use std::iter::Peekable;
use std::str::Chars;

use regex_lite::{Regex, RegexBuilder, escape};

/// Compiles a pattern.
///
/// # Errors
/// Why it cannot be used, in a few words.
pub fn postgres_regex(pattern: &str) -> Result<Regex, String> {
    let options = Options::split(pattern)?;
    let body = if options.is_literal {
        escape(options.rest)
    } else {
        translate(options.rest)?
    };
    RegexBuilder::new(&body)
        .case_insensitive(options.ignores_case)
        .ignore_whitespace(options.is_expanded)
        .dot_matches_new_line(!options.stops_at_newline)
        .multi_line(options.has_line_anchors)
        .build()
        .map_err(|error| error.to_string())
}

/// What may stand before a pattern: a director such as `***=`, and options such as `(?i)`.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of PostgreSQL"
)]
struct Options<'a> {
    rest: &'a str,
    ignores_case: bool,
    is_expanded: bool,
    is_literal: bool,
    stops_at_newline: bool,
    has_line_anchors: bool,
}

impl<'a> Options<'a> {
    fn split(pattern: &'a str) -> Result<Self, String> {
        let mut options = Self::default();
        if let Some(rest) = pattern.strip_prefix("***=") {
            (options.rest, options.is_literal) = (rest, true);
            return Ok(options);
        }
        options.rest = pattern.strip_prefix("***:").unwrap_or(pattern);
        let embedded = options.rest.strip_prefix("(?");
        let Some((letters, rest)) = embedded.and_then(|rest| rest.split_once(')')) else {
            return Ok(options);
        };
        if letters.is_empty() || !letters.chars().all(|c| c.is_ascii_lowercase()) {
            return Ok(options);
        }
        options.rest = rest;
        letters.chars().try_for_each(|letter| options.set(letter))?;
        Ok(options)
    }

    /// The last of two contradicting letters counts.
    fn set(&mut self, letter: char) -> Result<(), String> {
        match letter {
            'i' => self.ignores_case = true,
            'c' => self.ignores_case = false,
            'x' => self.is_expanded = true,
            't' => self.is_expanded = false,
            'q' => self.is_literal = true,
            'e' => {}
            's' => (self.stops_at_newline, self.has_line_anchors) = (false, false),
            'n' | 'm' => (self.stops_at_newline, self.has_line_anchors) = (true, true),
            'p' => (self.stops_at_newline, self.has_line_anchors) = (true, false),
            'w' => (self.stops_at_newline, self.has_line_anchors) = (false, true),
            other => return Err(format!("the option `{other}`")),
        }
        Ok(())
    }
}

/// The same expression in the syntax of [`regex_lite`].
fn translate(pattern: &str) -> Result<String, String> {
    let pattern = pattern.replace("[[:<:]]", r"\m").replace("[[:>:]]", r"\M");
    let mut translated = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => translated.push_str(&escaped(chars.next())?),
            '[' => bracket(&mut chars, &mut translated)?,
            c => translated.push(c),
        }
    }
    Ok(translated)
}

/// A bracket expression after its `[`. Characters that have a meaning there only for [`regex_lite`] are escaped.
fn bracket(chars: &mut Peekable<Chars<'_>>, translated: &mut String) -> Result<(), String> {
    translated.push('[');
    translated.extend(chars.next_if_eq(&'^'));
    if chars.next_if_eq(&']').is_some() {
        translated.push_str(r"\]");
    }
    while let Some(c) = chars.next() {
        match c {
            '[' if chars.peek() == Some(&':') => {
                translated.push('[');
                for c in chars.by_ref() {
                    translated.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '\\' => translated.push_str(&escaped(chars.next())?),
            '[' | '&' | '~' => translated.extend(['\\', c]),
            ']' => {
                translated.push(c);
                return Ok(());
            }
            c => translated.push(c),
        }
    }
    Err("brackets that do not close".to_owned())
}

/// The character after a backslash.
fn escaped(c: Option<char>) -> Result<String, String> {
    Ok(match c {
        None => return Err("a backslash at the end".to_owned()),
        Some('1'..='9') => return Err("back references".to_owned()),
        Some('m') => r"\b{start}".to_owned(),
        Some('M') => r"\b{end}".to_owned(),
        Some('y') => r"\b".to_owned(),
        Some('Y') => r"\B".to_owned(),
        Some('Z') => r"\z".to_owned(),
        Some('B') => r"\\".to_owned(),
        Some('b') => r"\x08".to_owned(),
        Some('e') => r"\x1b".to_owned(),
        Some('0') => r"\x00".to_owned(),
        Some(c) if c.is_ascii_alphanumeric() => format!("\\{c}"),
        Some(c) if c.is_ascii_punctuation() && c != '<' && c != '>' => format!("\\{c}"),
        Some(c) => c.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_postgres() {
        for (pattern, matching, other) in [
            ("gpt", "my-gpt-4", "GPT"),
            ("(?i)^gpt$", "GPT", "gpt-4"),
            ("(?ic)^gpt$", "gpt", "GPT"),
            (r"^gpt-\d{4}$", "gpt-0613", "gpt-061"),
            (r"(?i)^(openai\/)?(gpt-4\.1)$", "OpenAI/gpt-4.1", "gpt-4x1"),
            ("***=a.b", "xa.bx", "axb"),
            ("(?q)a.b", "a.b", "axb"),
            ("(?x) a b # both\n", "ab", "a b"),
            (r"\mgpt\M", "a gpt", "agpt"),
            ("[[:<:]]gpt", "a gpt", "agpt"),
            (r"\ygpt\y", "a gpt b", "gpts"),
            (r"^\<a\>$", "<a>", "a"),
            ("^[]a]+$", "]a", "b"),
            ("^[[a]$", "[", "b"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^[[:digit:]_]+$", "1_2", "a"),
            (r"^[\w.]+$", "a.b", "a-b"),
            ("^a.b$", "a\nb", "ab"),
            ("(?n)^b$", "a\nb", "ab"),
            ("^(a|b)?c$", "ac", "dc"),
        ] {
            let regex = postgres_regex(pattern).unwrap();
            assert!(regex.is_match(matching), "{pattern} and {matching}");
            assert!(!regex.is_match(other), "{pattern} and {other}");
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in ["(?!gpt)a", r"(a)\1", "(?b)a", "[a", "(a", r"a\"] {
            assert!(postgres_regex(pattern).is_err(), "{pattern}");
        }
    }
}
