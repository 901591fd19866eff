//! The patterns of `--redact`.

use regex_lite::Regex;

/// Compiles a pattern. Rejects patterns that would not do what their author expects.
pub(super) fn compile(pattern: &str) -> Result<Regex, (String, &'static str)> {
    let regex = Regex::new(pattern).map_err(|error| {
        (
            format!("`{pattern}` is not a valid regular expression: {error}"),
            r"use the syntax of Rust's regex-lite: \d, \w, \s and \b are ASCII only, and \p{…} is not supported",
        )
    })?;
    // `x*` matches between any two letters, and an unset variable gives a pattern that matches everywhere.
    if regex.find_iter("a a\n").any(|found| found.is_empty()) || regex.is_match("") {
        return Err((
            format!("`{pattern}` matches the empty string"),
            "use + instead of *; to remove all content, use --capture none",
        ));
    }
    if ignores_case(pattern) && pattern.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return Err((
            format!("`{pattern}` ignores case, which works for ASCII letters only"),
            "list both cases: [äÄ]",
        ));
    }
    Ok(regex)
}

/// Whether a pattern sets the flag `i` anywhere.
fn ignores_case(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, start)| {
        let flags = pattern[at + start.len()..].chars();
        let mut flags = flags.take_while(char::is_ascii_alphabetic);
        !pattern[..at].ends_with('\\') && flags.any(|flag| flag == 'i')
    })
}
