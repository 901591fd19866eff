//! `langspan score`: sets scores on a trace that is there.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::judge::given;
use crate::app::langfuse_server::LangfuseServer;
use crate::app::score_sender::{self, not_accepted};
use crate::app::signals::SignalListener;
use crate::app::trace_reader::{DEFAULT_WAIT, TraceReader};
use crate::app::trace_reference::trace_id;
use crate::cli::{self, ScoreTypeArg};
use crate::console::{Console, OutputFormat, counted};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::scores::ScoredSpan;
use crate::langfuse::trace_rows::TraceQuery;
use crate::langfuse::{Row, Score, ScoreValue};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Sources};
use crate::trace::ids;

/// The time for all requests that set scores.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// # Errors
/// If an option is wrong, or a setting is missing or malformed.
pub async fn run(
    options: &cli::ScoreArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let wait = settings::wait(&options.wait, DEFAULT_WAIT, sources)?;
    let scores = scores(options)?;
    let lacking = "a plain OTLP backend has no scores";
    let server = LangfuseServer::open(&options.destination, sources, console, lacking)?;
    let trace_id = trace_id(&options.trace, &server.destination)?;
    let setter = Setter {
        reader: server.reader(),
        trace_id: &trace_id,
        wait,
        is_verified: options.verify,
    };
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let set = tokio::select! {
        set = setter.set(&scores) => set,
        signal = interrupt.wait() => {
            let failure = Failure::new(Kind::Interrupted(signal), "interrupted while the scores were set");
            Err(failure.hint("run it again: a score that is set twice replaces itself"))
        }
    };
    Ok(tell(
        &trace_id,
        set,
        options.verify,
        Printer::new(form),
        console,
    ))
}

/// The scores that the options describe.
fn scores(options: &cli::ScoreArgs) -> Result<Vec<Score>, Failure> {
    let mut scores: Vec<Score> = Vec::new();
    for pair in &options.scores {
        let mut score = given(pair)?;
        if let Some(kind) = options.kind {
            score.value = typed(pair, kind)?;
        }
        if scores.iter().any(|known| known.name == score.name) {
            return Err(
                Failure::usage(format!("the score `{}` is given twice", score.name))
                    .hint("a trace has one score of each name"),
            );
        }
        score.comment.clone_from(&options.comment);
        scores.push(score);
    }
    Ok(scores)
}

/// The value as one of this type.
fn typed((name, text): &(String, String), kind: ScoreTypeArg) -> Result<ScoreValue, Failure> {
    let wrong = |expected: &str| {
        Failure::usage(format!(
            "the score `{name}` is `{text}`: expected {expected}"
        ))
        .hint("give another value, or another --type")
    };
    match (kind, ScoreValue::of_text(text)) {
        (ScoreTypeArg::Categorical, _) => Ok(ScoreValue::Categorical(text.clone())),
        (ScoreTypeArg::Numeric, value @ ScoreValue::Numeric(_))
        | (ScoreTypeArg::Boolean, value @ ScoreValue::Boolean(_)) => Ok(value),
        (ScoreTypeArg::Boolean, _) if text == "1" || text == "0" => {
            Ok(ScoreValue::Boolean(text == "1"))
        }
        (ScoreTypeArg::Numeric, _) => Err(wrong("a number")),
        (ScoreTypeArg::Boolean, _) => Err(wrong("true, false, 1 or 0")),
    }
}

/// Sets scores on one trace.
struct Setter<'a> {
    reader: TraceReader<'a>,
    trace_id: &'a str,
    wait: Duration,
    is_verified: bool,
}

impl Setter<'_> {
    /// Returns the bodies of the scores that were accepted.
    async fn set(&self, scores: &[Score]) -> Result<Vec<Value>, Failure> {
        let rows = self.rows().await?;
        let root = rows.iter().find(|row| row.is_root());
        let root = root.or_else(|| rows.iter().find(|row| row.parent().is_none()));
        let environment = root.and_then(|root| root.text("environment"));
        let subject = ScoredSpan {
            trace_id: ids::parse_trace_id(self.trace_id).map_err(Failure::usage)?,
            span_id: root.and_then(|root| ids::parse_span_id(root.id())),
            environment: environment.filter(|environment| *environment != "default"),
        };
        let bodies: Vec<Value> = scores.iter().map(|score| score.body(subject)).collect();
        score_sender::one_by_one(self.reader.api, &bodies, Instant::now() + SEND_TIMEOUT)
            .await
            .map_err(|refused| {
                let count = refused.bodies.len() as u64;
                not_accepted(count, &refused, Some("run it again to set them".to_owned()))
            })?;
        if self.is_verified {
            let deadline = Instant::now() + self.wait;
            score_sender::verify(self.reader.api, self.trace_id, &bodies, deadline).await?;
        }
        Ok(bodies)
    }

    /// The rows of the trace, once there are any.
    async fn rows(&self) -> Result<Vec<Row>, Failure> {
        let query = TraceQuery {
            trace_id: self.trace_id.to_owned(),
            window: None,
            with_metadata: false,
        };
        let has_root = |rows: &[Row]| {
            rows.iter()
                .any(|row| row.is_root() || row.parent().is_none())
        };
        self.reader.rows(&query, self.wait, has_root).await
    }
}

/// Prints what was set, or the reason why it was not.
fn tell(
    trace_id: &str,
    set: Result<Vec<Value>, Failure>,
    is_verified: bool,
    mut printer: Printer,
    console: &Console,
) -> Verdict {
    if printer.form() == OutputFormat::Json {
        let error = set.as_ref().err();
        printer.document(&json!({
            "schema_version": SCHEMA_VERSION,
            "ok": error.is_none(),
            "command": "score",
            "trace": {"id": trace_id},
            "scores": set.as_deref().unwrap_or_default(),
            "verified": is_verified.then_some(error.is_none()),
            "error": error.map(|failure| ErrorReport::new(failure, console)),
        }));
    } else if let Ok(bodies) = &set {
        let what = if is_verified {
            "can be read"
        } else {
            "accepted"
        };
        console.note(&format!("{} {what}", counted(bodies.len() as u64, "score")));
    }
    let mut verdict = Verdict::default();
    for failure in [set.err(), printer.take_failure()].into_iter().flatten() {
        console.error(&failure);
        verdict.add(failure.kind);
    }
    verdict
}
