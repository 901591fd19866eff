//! The command that continues a run, quoted for a shell.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

/// Options that are removed from the given command line; the command adds those that it needs.
const REPLACED_OPTIONS: [&str; 3] = ["--resume", "--overwrite", "--retry-errors"];

/// The command line `given` with `--resume`, the options `further` added and the options `without` removed. `scrub`
/// hides secrets; it sees every word before quoting, since a quoted secret would not be recognised.
pub fn command(
    given: impl IntoIterator<Item = OsString>,
    further: &[&str],
    without: &[&str],
    scrub: impl Fn(&str) -> String,
) -> String {
    let given: Vec<OsString> = given.into_iter().collect();
    // Words after `--` are not options.
    let end = given.iter().position(|word| word == "--");
    let (options, rest) = given.split_at(end.unwrap_or(given.len()));
    let is_kept = |word: &&OsString| {
        let word = word.to_str().unwrap_or_default();
        !REPLACED_OPTIONS.contains(&word) && !without.contains(&word)
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

/// A word quoted for a POSIX shell, on one line.
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

/// A word in `$'…'`, which bash, ksh, zsh and POSIX.1-2024 shells read. Control characters and invalid UTF-8 are
/// escaped, so that they neither end the line nor reach the terminal.
fn escaped(word: &[u8]) -> String {
    let mut text = String::from("$'");
    // Always three digits, so that a digit that follows is not read as part of the code.
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
    fn resume_is_added_once_and_before_the_double_dash() {
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
    fn a_secret_is_hidden_before_its_word_is_quoted() {
        assert_eq!(
            of(&["-H", "x: it's secret"], &[], &[]),
            "langspan -H 'x: [redacted]' --resume"
        );
    }

    #[test]
    fn a_quoted_word_stays_on_one_line() {
        assert_eq!(quoted(OsStr::new("")), "''");
        assert_eq!(quoted(OsStr::new("it's  é")), r"'it'\''s  é'");
        assert_eq!(
            quoted(OsStr::new("it's\n\\ \u{1b}[\u{9b}é")),
            r"$'it\'s\n\\ \033[\302\233é'"
        );
        assert_eq!(escaped(b"a\xff7'"), r"$'a\3777\''");
    }
}
