//! What each stage of `check` asks the server, and how it reads the answer.

use opentelemetry_sdk::trace::SpanData;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::app::clients::Clients;
use crate::app::hints;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::http::url::{self, shown};
use crate::http::{CONNECT_TIMEOUT, FailedPhase, TransportError, proxy};
use crate::langfuse::base::REGIONS;
use crate::langfuse::{Api, Base};
use crate::output::{DeliveryState, TraceReport};
use crate::settings::origin::Origin;
use crate::settings::{Destination, Settings};

/// How a stage ended: its finding with a line of detail, or the failure.
pub type StageOutcome<T> = Result<(T, String), Failure>;

/// The destination that is checked, and the clients to do it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub settings: &'a Settings,
    pub clients: &'a Clients,
    pub destination: &'a Destination,
    pub console: &'a Console,
}

/// Whether a connection opens where the spans will be sent.
pub async fn connect(target: &Target<'_>) -> StageOutcome<()> {
    let url = &target.destination.target.url;
    let opened = if url.scheme() == "https" || proxy::of(url).is_some() {
        // TLS and proxies are the client's business: any answer, and none after the connection, will do.
        let langfuse = target
            .destination
            .langfuse
            .as_ref()
            .filter(|_| !target.destination.is_collector);
        let asked = langfuse.map_or_else(
            || url::origin(url),
            |langfuse| langfuse.base.below("/api/public/health"),
        );
        let answer = target.clients.http.get(asked).send().await;
        let error = answer.err().map(TransportError::from);
        error
            .filter(|error| error.phase == FailedPhase::Connect)
            .map_or(Ok(()), Err)
    } else {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(80);
        match timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(TransportError::unconnected(error.to_string())),
            Err(_) => Err(TransportError::unconnected("no answer in time".to_owned())),
        }
    };
    match opened {
        Ok(()) => Ok(((), place(url))),
        Err(error) => Err(unreachable(target, &error)),
    }
}

/// Whether a healthy Langfuse does, and of which version.
pub async fn health(target: &Target<'_>, api: &Api) -> StageOutcome<String> {
    match api.health().await {
        Ok(version) => {
            let detail = format!("Langfuse {version}");
            Ok((version, detail))
        }
        Err(error) => {
            let setting = hints::setting(&target.settings.notes, api.base());
            let hint = match error.status {
                Some(500..) => {
                    format!("check that {setting} is the URL of a Langfuse; its log may say more")
                }
                _ => hints::of_api_error(&error, &setting),
            };
            Err(Failure::new(Kind::Delivery, error.message)
                .status(error.status)
                .hint(hint))
        }
    }
}

/// Which project the keys belong to.
pub async fn auth(target: &Target<'_>, api: &Api, probe_regions: bool) -> StageOutcome<String> {
    let error = match api.project().await {
        Ok(project) => {
            let detail = format!("project {} ({})", project.name, project.id);
            return Ok((project.id, detail));
        }
        Err(error) => error,
    };
    let kind = if error.is_refusal() {
        Kind::Config
    } else {
        Kind::Delivery
    };
    let setting = hints::setting(&target.settings.notes, api.base());
    let hint = match error.status {
        Some(401) => region_of_keys(target, probe_regions).await.unwrap_or_else(|| {
            format!(
                "check the key pair ({}); a server that has just started may not know it for five minutes",
                origins(target.settings)
            )
        }),
        Some(403) => hints::PROJECT_KEYS.to_owned(),
        Some(200..300) => format!(
            "check {setting} and the key pair ({}): is it the URL of a Langfuse, and do the keys belong to a project?",
            origins(target.settings)
        ),
        _ => hints::of_api_error(&error, &setting),
    };
    let is_passing = error.is_passing();
    Err(Failure::new(kind, error.message)
        .status(error.status)
        .retryable(is_passing)
        .hint(hint))
}

/// Which region of Langfuse Cloud knows the keys that this one refused.
async fn region_of_keys(target: &Target<'_>, probe_regions: bool) -> Option<String> {
    let langfuse = target.destination.langfuse.as_ref()?;
    let is_region = REGIONS
        .iter()
        .any(|(_, host)| *host == langfuse.base.host());
    if !is_region || !probe_regions {
        return None;
    }
    let mut answers = Vec::new();
    for (region, host) in REGIONS
        .iter()
        .filter(|(_, host)| *host != langfuse.base.host())
    {
        let base = Base::parse(&format!("https://{host}")).ok()?;
        let api = Api::new(
            target.clients.http.clone(),
            base.clone(),
            &langfuse.keys,
            target.console.clone(),
        );
        match api.project().await {
            Ok(_) => {
                return Some(format!(
                    "the keys are of the region {region}: set LANGFUSE_BASE_URL={base}"
                ));
            }
            Err(error) if error.is_refusal() => {
                answers.push(format!("{region} does not know them"));
            }
            Err(_) => answers.push(format!("{region} did not answer")),
        }
    }
    Some(format!(
        "check the keys; the other regions were asked: {}",
        answers.join(", ")
    ))
}

/// Whether the spans are accepted; fills `report` with the endpoint's answer.
pub async fn export(
    target: &Target<'_>,
    spans: Vec<SpanData>,
    report: &mut TraceReport,
) -> StageOutcome<()> {
    let Target {
        clients,
        destination,
        settings,
        ..
    } = target;
    let budget = settings.delivery.export_timeout;
    let Some(exporter) = &clients.exporter else {
        return Err(anyhow::anyhow!("there is no exporter").into());
    };
    let export = exporter.store(spans);
    let deadline = Instant::now() + budget;
    let no_cancel = Notify::new();
    let outcome = exporter.send(export, deadline, &no_cancel).await.outcome;
    report.status = outcome.status();
    if !outcome.is_accepted() {
        return Err(Failure::new(
            Kind::Delivery,
            format!("{}: {}", shown(&destination.target.url), outcome.describe()),
        )
        .status(outcome.status())
        .hints([hints::of_outcome(&outcome, destination)]));
    }
    report.delivery = DeliveryState::Accepted;
    let by = if destination.is_collector {
        "accepted by the collector"
    } else {
        "accepted"
    };
    Ok(((), format!("{by}, {} spans", report.spans)))
}

fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn unreachable(target: &Target<'_>, error: &TransportError) -> Failure {
    let hint = error.hint().unwrap_or_else(|| {
        format!(
            "check {}: is it right, and reachable from here?",
            chosen_by(target)
        )
    });
    Failure::new(
        Kind::Delivery,
        format!(
            "no connection to {}: {}",
            place(&target.destination.target.url),
            error.message
        ),
    )
    .hint(hint)
}

/// The setting that chose where the spans go.
fn chosen_by(target: &Target<'_>) -> String {
    let shown = &target.settings.notes.shown;
    let find = |name: &str| shown.iter().find(|shown| shown.name == name);
    find("collector")
        .or_else(|| find("destination"))
        .map_or_else(
            || "the destination".to_owned(),
            |shown| match shown.origin {
                Origin::Default => format!(
                    "{} (the default; LANGFUSE_BASE_URL names another server)",
                    shown.value
                ),
                _ => format!("{} ({})", shown.origin, shown.value),
            },
        )
}

/// Where the keys came from.
fn origins(settings: &Settings) -> String {
    let wanted = ["public key", "secret key"];
    let shown = settings
        .notes
        .shown
        .iter()
        .filter(|shown| wanted.contains(&shown.name));
    let mut origins: Vec<String> = shown.map(|shown| shown.origin.to_string()).collect();
    origins.dedup();
    origins.join(", ")
}
