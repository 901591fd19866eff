//! `langspan prompt`: prints a prompt that Langfuse manages, or lists all.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::app::langfuse_server::LangfuseServer;
use crate::app::managed_prompt::{unlisted, unread};
use crate::app::signals::SignalListener;
use crate::cli;
use crate::console::{Console, OutputFormat};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::prompts::PromptContent;
use crate::langfuse::{Api, ManagedPrompt, PromptReference};
use crate::output::columns::plain;
use crate::output::{Printer, SCHEMA_VERSION};
use crate::settings::{self, Sources};

/// # Errors
/// If the prompts cannot be read.
pub async fn run(
    options: &cli::PromptArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let lacking = "a plain OTLP backend has no prompts";
    let server = LangfuseServer::open(&options.destination, sources, console, lacking)?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let mut printer = Printer::new(form);
    let text = tokio::select! {
        text = text(&server.api, options.reference.as_ref(), form, console) => text?,
        signal = interrupt.wait() => {
            return Err(Failure::new(Kind::Interrupted(signal), "interrupted").hint("run it again"));
        }
    };
    printer.text(&text);
    printer.take_failure().map_or(Ok(Verdict::default()), Err)
}

/// What is printed.
async fn text(
    api: &Api,
    reference: Option<&PromptReference>,
    form: OutputFormat,
    console: &Console,
) -> Result<String, Failure> {
    let Some(reference) = reference else {
        let prompts = api.prompts().await.map_err(|error| unlisted(&error))?;
        if form == OutputFormat::Json {
            let document = json!({"schema_version": SCHEMA_VERSION, "ok": true, "command": "prompt", "prompts": prompts, "error": null});
            return Ok(format!("{document}\n"));
        }
        if prompts.is_empty() {
            console.note("there are no prompts");
        }
        return Ok(list(&prompts));
    };
    let asked = api.prompt(reference).await;
    let document = asked.map_err(|error| unread(&error, reference))?;
    if form == OutputFormat::Json {
        let document = json!({"schema_version": SCHEMA_VERSION, "ok": true, "command": "prompt", "prompt": document, "error": null});
        return Ok(format!("{document}\n"));
    }
    let prompt = ManagedPrompt::of_document(&document).ok_or_else(|| {
        Failure::input(format!(
            "the prompt {reference} is of a type that is not known"
        ))
        .hint("-o json prints it as the server gives it")
    })?;
    let labels = joined(&document["labels"]);
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!(" ({labels})")
    };
    console.note(&format!(
        "{}, version {}{labels}",
        prompt.name, prompt.version
    ));
    Ok(match prompt.content {
        PromptContent::Text(text) => format!("{}\n", text.trim_end_matches(['\r', '\n'])),
        PromptContent::Chat(parts) => {
            let parts: Vec<String> = parts.iter().map(part).collect();
            format!("{}\n", parts.join("\n\n"))
        }
    })
}

/// The name of each prompt, its type, versions and labels, in columns.
fn list(prompts: &[Value]) -> String {
    // A long name must not push every row to the right.
    const WIDEST: usize = 40;
    let rows = prompts.iter().map(|prompt| {
        [
            plain(prompt["name"].as_str().unwrap_or_default()),
            plain(prompt["type"].as_str().unwrap_or("text")),
            format!("versions: {}", joined(&prompt["versions"])),
            plain(&format!("labels: {}", joined(&prompt["labels"]))),
        ]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].width());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), 0];
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            format!("{cell}{pad}")
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  "))
    });
    lines.collect()
}

/// A message or placeholder of a chat prompt.
fn part(part: &Value) -> String {
    if part["type"] == "placeholder" {
        return format!("[messages: {}]", part["name"].as_str().unwrap_or_default());
    }
    let content = match &part["content"] {
        Value::String(text) => text.clone(),
        content => content.to_string(),
    };
    format!("{}: {content}", part["role"].as_str().unwrap_or_default())
}

fn joined(list: &Value) -> String {
    let items = list.as_array().into_iter().flatten();
    let texts = items.map(|item| {
        item.as_str()
            .map_or_else(|| item.to_string(), str::to_owned)
    });
    texts.collect::<Vec<_>>().join(", ")
}
