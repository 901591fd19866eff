//! The stages of `check` as people, programs and CI services read them.

use std::fmt::Write;

use serde::Serialize;

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
    /// A line for people; the remedy of a failure on a second one.
    pub fn to_text(&self) -> String {
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
        let line = format!("{:8}{name:10}{time:>9}  {detail}", status.name());
        let hint = hint
            .as_ref()
            .map_or_else(String::new, |hint| format!("{:29}{hint}\n", ""));
        format!("{}\n{hint}", line.trim_end())
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
    let cell = |text: &str| {
        text.replace('|', "\\|")
            .replace(['\n', '\r'], " ")
            .replace('<', "&lt;")
    };
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

/// A JUnit report with a test case a stage.
pub fn to_junit(stages: &[Stage]) -> String {
    let count = |status| stages.iter().filter(|stage| stage.status == status).count();
    let total: u64 = stages.iter().map(|stage| stage.ms).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "<testsuite name=\"langspan check\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
        stages.len(),
        count(Status::Failed),
        count(Status::Skipped),
        seconds(total),
    );
    for stage in stages {
        let detail = escape(&stage.detail);
        let inner = match stage.status {
            Status::Ok => format!("<system-out>{detail}</system-out>"),
            Status::Skipped => format!("<skipped message=\"{detail}\"/>"),
            Status::Failed => {
                let hint = escape(stage.hint.as_deref().unwrap_or_default());
                format!("<failure message=\"{detail}\">{hint}</failure>")
            }
        };
        let time = seconds(stage.ms);
        let _ = writeln!(
            xml,
            "  <testcase classname=\"langspan.check\" name=\"{}\" time=\"{time}\">{inner}</testcase>",
            stage.name
        );
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// Text escaped for XML, attributes included, without the characters that XML 1.0 forbids, even escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if is_allowed_in_xml(c) => escaped.push(c),
            _ => {}
        }
    }
    escaped
}

/// Without the control characters that XML 1.0 allows but discourages.
fn is_allowed_in_xml(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
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
        let xml = to_junit(&[failed()]);
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
