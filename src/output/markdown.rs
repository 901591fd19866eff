//! Text within Markdown that CI services show.

/// The text as a cell of a table: on one line, and without markup of its own.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace(['\n', '\r'], " ")
        .replace('<', "&lt;")
}
