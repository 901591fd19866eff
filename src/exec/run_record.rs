//! What the options say of a run, as its journal keeps it.

use std::path::Path;

use jiff::Timestamp;

use crate::app::clients;
use crate::cli::ExecArgs;
use crate::exec::identity::Identity;
use crate::exec::journal::RunRecord;
use crate::exec::process;
use crate::settings::Settings;
use crate::trace::privacy::spans::{Fate, Holds};
use crate::trace::{Privacy, TraceContext, ids};

/// What the options say of a run.
pub fn record(options: &ExecArgs, settings: &Settings) -> RunRecord {
    let trace = settings.trace.of_call();
    let named: Option<TraceContext> = settings.trace.named.as_ref().map(|found| found.value);
    let program = options.command.first().cloned().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or(&program);
    let redacted = |text: &str, holds| match settings.privacy.attribute(text, holds).0 {
        Fate::Kept => text.to_owned(),
        Fate::Changed(text) => text,
        Fate::Dropped => String::new(),
    };
    let name = redacted(&name.to_string_lossy(), Holds::Other);
    let whole = redacted(&process::command_line(&options.command), Holds::Content);
    let first = options.command.get(..1).unwrap_or_default();
    let alone = || redacted(&process::command_line(first), Holds::Other);
    let command_line = Some(whole)
        .filter(|line| !line.is_empty())
        .unwrap_or_else(alone);
    let privacy = &settings.privacy;
    let settings = &settings.trace;
    let resource = clients::resource(settings);
    RunRecord {
        trace_id: named.map(|context| context.trace_id.to_string()),
        own_trace_id: ids::random().to_string(),
        remote_parent: named
            .and_then(|context| context.remote_parent)
            .map(|parent| parent.to_string()),
        span_id: ids::random_span().to_string(),
        start_time: Timestamp::now(),
        name: trace.name.unwrap_or(name),
        command_line,
        identity: Identity {
            user: trace.user,
            session: trace.session,
            tags: trace.tags,
        },
        metadata: metadata(trace.metadata, privacy),
        version: trace.version,
        is_public: trace.public,
        environment: settings.environment.clone(),
        release: settings.release.clone(),
        resource: resource
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    }
}

/// The metadata of the options, and how much of the content is kept.
fn metadata(mut given: Vec<(String, String)>, privacy: &Privacy) -> Vec<(String, String)> {
    if let Some(level) = privacy.capture_metadata() {
        given.retain(|(key, _)| *key != level.0);
        given.push(level);
    }
    given
}
