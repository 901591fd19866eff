//! What `--dry-run` shows in place of doing it: the request, the spans, the destination, and where each setting
//! came from.

use opentelemetry::Value as Attribute;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::columns::plain;
use super::report::SCHEMA_VERSION;
use crate::model::Request;
use crate::settings::Shown;
use crate::trace::{Privacy, media};

/// One document that would be sent or emitted.
#[derive(Debug, Serialize)]
pub struct DryRun<'a> {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    /// Always true: it distinguishes this document from that of a run.
    #[serde(rename = "dry_run")]
    is_plan: bool,
    /// None when the model would not be called.
    request: Option<Planned<'a>>,
    /// None when there is nothing to trace.
    trace: Option<PlannedTrace>,
    settings: Vec<Setting>,
}

#[derive(Debug, Serialize)]
struct Planned<'a> {
    method: &'static str,
    url: String,
    body: &'a Request,
}

#[derive(Debug, Serialize)]
struct PlannedTrace {
    id: String,
    /// None when tracing is off or has no destination.
    endpoint: Option<String>,
    /// How many passages were redacted.
    redactions: usize,
    spans: Vec<Span>,
}

#[derive(Debug, Serialize)]
struct Span {
    name: String,
    kind: &'static str,
    attributes: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    origin: String,
}

impl<'a> DryRun<'a> {
    /// `request` is the URL and the body that the model would be asked with; the number beside the spans counts what
    /// was redacted.
    pub fn new(
        command: &'static str,
        request: Option<(String, &'a Request)>,
        (spans, redactions): (&[SpanData], usize),
        endpoint: Option<String>,
        (settings, privacy): (&[Shown], &Privacy),
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ok: true,
            command,
            is_plan: true,
            request: request.map(|(url, body)| Planned {
                method: "POST",
                url,
                body,
            }),
            trace: Some(PlannedTrace {
                id: spans
                    .first()
                    .map_or_else(String::new, |span| span.span_context.trace_id().to_string()),
                endpoint,
                redactions,
                spans: spans.iter().map(Span::new).collect(),
            }),
            settings: Setting::list(settings, privacy),
        }
    }

    /// Nothing would be sent or emitted.
    pub fn nothing(command: &'static str, (settings, privacy): (&[Shown], &Privacy)) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ok: true,
            command,
            is_plan: true,
            request: None,
            trace: None,
            settings: Setting::list(settings, privacy),
        }
    }

    /// The same for people.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        match &self.request {
            Some(request) => {
                lines.push(format!("request: {} {}", request.method, request.url));
                let fields = request.body.fields();
                lines.extend(fields.map(|(name, value)| format!("  {name}: {}", one_line(value))));
            }
            None => lines.push("request: none, a recording is emitted again".to_owned()),
        }
        lines.extend(self.trace.iter().flat_map(PlannedTrace::to_lines));
        lines.push("settings:".to_owned());
        let width = self
            .settings
            .iter()
            .map(|setting| setting.name.len())
            .max()
            .unwrap_or(0);
        for Setting {
            name,
            value,
            origin,
        } in &self.settings
        {
            lines.push(format!("  {name:width$}  {value}  ({origin})"));
        }
        // Prompts and metadata may hold terminal controls, and line ends would break the outline.
        lines.iter().map(|line| plain(line) + "\n").collect()
    }
}

impl PlannedTrace {
    fn to_lines(&self) -> Vec<String> {
        let endpoint = self.endpoint.as_deref().unwrap_or("nowhere");
        let mut lines = vec![format!("trace: {} to {endpoint}", self.id)];
        if self.redactions > 0 {
            lines.push(format!("  redacted: {} passage(s)", self.redactions));
        }
        for (depth, span) in self.spans.iter().enumerate() {
            let indent = "  ".repeat(depth + 1);
            lines.push(format!("{indent}{} ({})", span.name, span.kind));
            for (key, value) in &span.attributes {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                lines.push(format!("{indent}  {key} = {value}"));
            }
        }
        lines
    }
}

impl Setting {
    /// The settings as they may be shown.
    fn list(settings: &[Shown], privacy: &Privacy) -> Vec<Self> {
        let settings = settings.iter().map(|shown| Self {
            name: shown.name,
            value: privacy.redact(&shown.value).into_owned(),
            origin: shown.origin.to_string(),
        });
        settings.collect()
    }
}

impl Span {
    fn new(span: &SpanData) -> Self {
        let attributes = span
            .attributes
            .iter()
            .map(|attribute| (attribute.key.to_string(), json(&attribute.value)));
        Self {
            name: span.name.to_string(),
            kind: if span.span_kind == SpanKind::Client {
                "CLIENT"
            } else {
                "INTERNAL"
            },
            attributes: attributes.collect(),
        }
    }
}

fn json(value: &Attribute) -> Value {
    match value {
        Attribute::Bool(value) => (*value).into(),
        Attribute::I64(value) => (*value).into(),
        Attribute::F64(value) => (*value).into(),
        Attribute::Array(opentelemetry::Array::String(values)) => values
            .iter()
            .map(|value| Value::from(value.as_str()))
            .collect(),
        other => other.as_str().into_owned().into(),
    }
}

/// A JSON text without the line ends between its tokens, and with type and size in the place of base64 content.
fn one_line(value: &RawValue) -> String {
    media::with_placeholders(value.get())
        .split(['\n', '\r'])
        .map(str::trim)
        .collect()
}
