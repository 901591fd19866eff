//! The command that continues a run, as a shell reads it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

/// What the command says itself, where it is wanted.
const SAID_ANEW: [&str; 3] = ["--resume", "--overwrite", "--retry-errors"];

/// The command of the words `given`, with `--resume` and `further` options and `without` others; every word passes
/// `scrub` before it is quoted, since a quoted secret is no longer recognised.
pub fn command(
    given: impl IntoIterator<Item = OsString>,
    further: &[&str],
    without: &[&str],
    scrub: impl Fn(&str) -> String,
) -> String {
    let given: Vec<OsString> = given.into_iter().collect();
    // What follows `--` is no option.
    let end = given.iter().position(|word| word == "--");
    let (options, rest) = given.split_at(end.unwrap_or(given.len()));
    let is_kept = |word: &&OsString| {
        let word = word.to_str().unwrap_or_default();
        !SAID_ANEW.contains(&word) && !without.contains(&word)
    };
    let scrubbed = |word: &OsString| {
        let shown = word.to_string_lossy();
        let scrubbed = scrub(&shown);
        if scrubbed == shown {
            quoted(word)
        } else {
            quoted(OsStr::new(&scrubbed))
        }
    };
    let mut words = vec![env!("CARGO_PKG_NAME").to_owned()];
    words.extend(options.iter().filter(is_kept).map(scrubbed));
    let added = ["--resume"].iter().chain(further);
    words.extend(added.map(|word| (*word).to_owned()));
    words.extend(rest.iter().map(scrubbed));
    words.join(" ")
}

/// A word as a shell reads it, on one line.
fn quoted(word: &OsStr) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match word.to_str() {
        Some(word) if !word.is_empty() && word.chars().all(is_plain) => word.to_owned(),
        Some(word) if !word.contains(char::is_control) => {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
        _ => escaped(word.as_encoded_bytes()),
    }
}

/// A word as bash, ksh and zsh read it, and every shell of POSIX 2024: whatever is no character, or would end the line
/// or reach the terminal, as a code.
fn escaped(word: &[u8]) -> String {
    let mut text = String::from("$'");
    // Three digits: whatever follows is not read as one more.
    let codes = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\{byte:03o}");
        }
    };
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' | '\'' => text.extend(['\\', c]),
                c if c.is_control() => codes(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => text.push(c),
            }
        }
        codes(&mut text, chunk.invalid());
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[&str], further: &[&str], without: &[&str]) -> String {
        let scrub = |word: &str| word.replace("it's secret", "[redacted]");
        command(given.iter().map(OsString::from), further, without, scrub)
    }

    #[test]
    fn a_command_says_resume_once_and_before_what_is_no_option() {
        assert_eq!(
            of(
                &[
                    "batch",
                    "--overwrite",
                    "-O",
                    "a b",
                    "--resume",
                    "--",
                    "--resume"
                ],
                &["--retry-errors"],
                &[]
            ),
            "langspan batch -O 'a b' --resume --retry-errors -- --resume"
        );
        assert_eq!(
            of(&["batch", "in", "--no-outbox"], &[], &["--no-outbox"]),
            "langspan batch in --resume"
        );
    }

    #[test]
    fn a_secret_is_taken_out_before_its_word_is_quoted() {
        assert_eq!(
            of(&["-H", "x: it's secret"], &[], &[]),
            "langspan -H 'x: [redacted]' --resume"
        );
    }

    #[test]
    fn a_word_stays_on_its_line_and_whole() {
        assert_eq!(quoted(OsStr::new("")), "''");
        assert_eq!(quoted(OsStr::new("it's  é")), r"'it'\''s  é'");
        assert_eq!(
            quoted(OsStr::new("it's\n\\ \u{1b}[\u{9b}é")),
            r"$'it\'s\n\\ \033[\302\233é'"
        );
        assert_eq!(escaped(b"a\xff7'"), r"$'a\3777\''");
    }
}
