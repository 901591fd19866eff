//! `langspan models`: which models the endpoint has.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::signals::SignalListener;
use crate::app::{clients, setup};
use crate::cli;
use crate::console::{Console, OutputFormat};
use crate::failure::{Failure, Kind, Verdict};
use crate::http::{CONNECT_TIMEOUT, Proxies, TlsFiles};
use crate::model::models::{self, ModelList};
use crate::output::Printer;
use crate::settings::{self, ModelSettings, Notes, Sources};

/// # Errors
/// If the models cannot be listed.
pub async fn run(
    options: &cli::ModelsArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let endpoint = cli::EndpointArgs {
        model: None,
        api: None,
        anthropic_base_url: None,
        openai_base_url: options.openai_base_url.clone(),
        headers: options.headers.clone(),
    };
    let mut notes = Notes::default();
    let model = ModelSettings::resolve(&endpoint, sources, None, &mut notes)?;
    setup::announce(&mut notes, console);
    model.check_key()?;
    let http = client(options, sources)?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let list = tokio::select! {
        list = list(options, &model, &http, console) => list?,
        signal = interrupt.wait() => {
            let failure = Failure::new(Kind::Interrupted(signal), "interrupted");
            return Err(failure.hint("run it again"));
        }
    };
    print(&list, options.filter.as_deref(), form, console)
}

fn client(options: &cli::ModelsArgs, sources: &Sources) -> Result<reqwest::Client, Failure> {
    let ca_file = || Some(PathBuf::from(sources.setting("ca_file", &[])?.value));
    let ca_file = options.ca_file.clone().or_else(ca_file);
    let tls = TlsFiles {
        ca_files: ca_file.into_iter().collect(),
        ..TlsFiles::default()
    };
    clients::client(&tls, Proxies::FromEnvironment, CONNECT_TIMEOUT * 2)
}

async fn list(
    options: &cli::ModelsArgs,
    model: &ModelSettings,
    http: &reqwest::Client,
    console: &Console,
) -> Result<ModelList, Failure> {
    let timeout = Duration::from_secs_f64(options.timeout);
    match models::list(http, &model.endpoint, timeout, console).await {
        Err(error) if error.status == Some(404) => {
            let hint = error.hint.clone();
            let hint = models::with_proposal(hint, http, &model.endpoint, console).await;
            Err(Failure::from(error).hint(hint))
        }
        listed => Ok(listed?),
    }
}

fn print(
    list: &ModelList,
    filter: Option<&str>,
    form: OutputFormat,
    console: &Console,
) -> Result<Verdict, Failure> {
    let mut printer = Printer::new(form);
    if form == OutputFormat::Json {
        printer.text(&format!("{}\n", list.body.trim_end()));
    } else {
        let filter = filter.unwrap_or_default().to_lowercase();
        let is_wanted = |id: &&String| id.to_lowercase().contains(&filter);
        let lines = list.ids.iter().filter(is_wanted);
        let lines: Vec<String> = lines.map(|id| format!("{id}\n")).collect();
        printer.text(&lines.concat());
        if lines.is_empty() {
            console.note("no model matches");
        }
    }
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}
