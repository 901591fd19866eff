//! The stages of `check` as people, programs and CI services read them.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::junit::{CaseOutcome, SuiteTotals, TestSuite};
use super::markdown::cell;
use super::report::TraceReport;

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    pub name: &'static str,
    pub status: Status,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was found, or why it failed or did not run.
    pub detail: String,
    /// What to do about a failure.
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Failed,
    Skipped,
}

/// The document of `check -o json`.
#[derive(Debug, Serialize)]
pub struct CheckReport<'a> {
    pub schema_version: u32,
    pub ok: bool,
    pub command: &'static str,
    pub stages: &'a [Stage],
    pub trace: Option<&'a TraceReport>,
}

/// Where the detail of a stage begins.
const TEXT_COLUMN: usize = 29;
/// The same on a narrow terminal.
const NARROW_INDENT: usize = 4;

/// Lines of at most `columns`; a word that is longer is not cut, since it may be a URL.
fn filled(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Stage {
    /// A line for people; the remedy of a failure on a second one. Where they are longer than `columns`, they go on below
    /// their beginning.
    pub fn to_text(&self, columns: usize) -> String {
        let Self {
            name,
            status,
            ms,
            detail,
            hint,
        } = self;
        let time = match status {
            Status::Skipped => String::new(),
            _ => format!("{ms} ms"),
        };
        let mut text = format!("{:8}{name:10}{time:>9}", status.name());
        // Where little room is left, the details are below.
        let indent = if columns < 2 * TEXT_COLUMN {
            text.truncate(text.trim_end().len());
            text.push('\n');
            NARROW_INDENT
        } else {
            text.push_str("  ");
            TEXT_COLUMN
        };
        let texts = [Some(detail), hint.as_ref()].into_iter().flatten();
        let lines = texts.flat_map(|text| filled(text, columns.saturating_sub(indent)));
        for (index, line) in lines.enumerate() {
            if index > 0 || indent < TEXT_COLUMN {
                text.push_str(&" ".repeat(indent));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// A workflow command of GitHub Actions, for a failed stage.
    pub fn to_annotation(&self) -> String {
        let hint = self
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!(" — {hint}"));
        // The characters that end a command or a property (GitHub's toolkit escapes the same).
        let text = format!("{}{hint}", self.detail)
            .replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        format!("::error title=langspan check: {}::{text}", self.name)
    }
}

/// A Markdown table, as a step summary shows it.
pub fn to_markdown(stages: &[Stage]) -> String {
    let mut table = String::from(
        "### langspan check\n\n| stage | status | ms | detail |\n|---|---|---:|---|\n",
    );
    for stage in stages {
        let hint = stage
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!(" — {hint}"));
        let detail = cell(&format!("{}{hint}", stage.detail));
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {detail} |",
            stage.name,
            stage.status.name(),
            stage.ms
        );
    }
    table.push('\n');
    table
}

/// Writes a JUnit report with a test case a stage.
///
/// # Errors
/// When it cannot be written.
pub fn write_junit(stages: &[Stage], sink: impl io::Write) -> io::Result<()> {
    let count = |status| stages.iter().filter(|stage| stage.status == status).count() as u64;
    let totals = SuiteTotals {
        tests: stages.len() as u64,
        failures: count(Status::Failed),
        errors: 0,
        skipped: count(Status::Skipped),
        ms: stages.iter().map(|stage| stage.ms).sum(),
    };
    let mut suite = TestSuite::begin(sink, "check", totals)?;
    for stage in stages {
        let outcome = match stage.status {
            Status::Ok => CaseOutcome::Passed(&stage.detail),
            Status::Skipped => CaseOutcome::Skipped(&stage.detail),
            Status::Failed => CaseOutcome::Failed {
                message: &stage.detail,
                text: stage.hint.as_deref().unwrap_or_default(),
            },
        };
        suite.case(stage.name, stage.ms, outcome)?;
    }
    suite.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Stage {
        Stage {
            name: "auth",
            status: Status::Failed,
            ms: 1234,
            detail: "401: \"no\" <b> | 100%".to_owned(),
            hint: Some("set it".to_owned()),
        }
    }

    #[test]
    fn junit_escapes_what_servers_say() {
        let mut xml = Vec::new();
        write_junit(&[failed()], &mut xml).unwrap();
        let xml = String::from_utf8(xml).unwrap();
        assert!(xml.contains("failures=\"1\""), "{xml}");
        assert!(
            xml.contains(
                "<failure message=\"401: &quot;no&quot; &lt;b&gt; | 100%\">set it</failure>"
            ),
            "{xml}"
        );
        assert!(xml.contains("time=\"1.234\""), "{xml}");
    }

    #[test]
    fn a_stage_is_filled_into_the_columns() {
        let stage = Stage {
            detail: "one two three".to_owned(),
            ..failed()
        };
        let start = "failed  auth        1234 ms";
        let indent = " ".repeat(TEXT_COLUMN);
        for (columns, text) in [
            (
                usize::MAX,
                format!("{start}  one two three\n{indent}set it\n"),
            ),
            (58, format!("{start}  one two three\n{indent}set it\n")),
            (20, format!("{start}\n    one two three\n    set it\n")),
            (12, format!("{start}\n    one two\n    three\n    set it\n")),
        ] {
            assert_eq!(stage.to_text(columns), text, "{columns}");
        }
        assert_eq!(
            filled("a http://host/path b", 8),
            ["a", "http://host/path", "b"]
        );
    }

    #[test]
    fn annotations_and_tables_stay_on_their_line() {
        assert_eq!(
            failed().to_annotation(),
            "::error title=langspan check: auth::401: \"no\" <b> | 100%25 — set it"
        );
        assert!(
            to_markdown(&[failed()])
                .contains("| auth | failed | 1234 | 401: \"no\" &lt;b> \\| 100% — set it |")
        );
    }
}
