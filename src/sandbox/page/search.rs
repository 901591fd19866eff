//! The search on the list of traces: a form that a browser sends with GET, and what it matches.

use maud::{Markup, html};

use super::{traces_path, url_encoded};
use crate::sandbox::observation::Observation;

/// The text that each field has to contain; case is ignored, and an empty field matches everything.
#[derive(Debug, Default)]
pub struct Search {
    user: String,
    session: String,
    tag: String,
    text: String,
}

impl Search {
    /// From the parameters of a page's URL; others are ignored.
    pub fn read(parameters: Vec<(String, String)>) -> Self {
        let mut search = Self::default();
        for (name, value) in parameters {
            let field = match name.as_str() {
                "user" => &mut search.user,
                "session" => &mut search.session,
                "tag" => &mut search.tag,
                "text" => &mut search.text,
                _ => continue,
            };
            value.trim().clone_into(field);
        }
        search
    }

    pub fn is_empty(&self) -> bool {
        self.fields().iter().all(|(_, _, value)| value.is_empty())
    }

    /// Whether a trace matches; its spans may meet the fields together.
    pub fn matches(&self, trace: &[Observation]) -> bool {
        let any = |value: &str, texts: fn(&Observation) -> Vec<&str>| {
            let value = value.to_lowercase();
            value.is_empty()
                || trace
                    .iter()
                    .flat_map(texts)
                    .any(|text| text.to_lowercase().contains(&value))
        };
        any(&self.user, |row| vec![&row.user_id])
            && any(&self.session, |row| vec![&row.session_id])
            && any(&self.tag, |row| {
                row.tags.iter().map(String::as_str).collect()
            })
            && any(&self.text, searched)
    }

    pub fn form(&self) -> Markup {
        html! {
            form.search method="get" action=(traces_path()) role="search" {
                @for (name, label, value) in self.fields() {
                    label { span { (label) } input type="search" name=(name) value=(value); }
                }
                div.buttons {
                    button type="submit" { "Search" }
                    @if !self.is_empty() { a href=(traces_path()) { "Reset" } }
                }
            }
        }
    }

    fn fields(&self) -> [(&'static str, &'static str, &str); 4] {
        [
            ("text", "Text", &self.text),
            ("user", "User", &self.user),
            ("session", "Session", &self.session),
            ("tag", "Tag", &self.tag),
        ]
    }
}

/// The list of the traces with this value in a field of the search.
pub fn path(field: &str, value: &str) -> String {
    format!("{}?{field}={}", traces_path(), url_encoded(value))
}

/// The texts of an observation that `text` can find.
fn searched(row: &Observation) -> Vec<&str> {
    let optional = [&row.trace_name, &row.input, &row.output];
    let plain = [
        &row.name,
        &row.trace_id,
        &row.id,
        &row.model,
        &row.status_message,
    ];
    let optional = optional.into_iter().flatten();
    optional.chain(plain).map(String::as_str).collect()
}
