//! The environment of the child: which variables steer its exporters and its model calls to the listener.
//!
//! A pure function of the inherited environment. What each variable does to which program was measured; where the child
//! silences itself, that is left alone and named.

use crate::exec::baggage::baggage;
use crate::exec::identity::Identity;

/// Where the endpoints of the child are, and who it is.
#[derive(Clone, Debug)]
pub struct ChildSettings {
    /// The listener with its token: `http://127.0.0.1:PORT/TOKEN`.
    pub root: String,
    pub token: String,
    pub traceparent: String,
    pub identity: Identity,
    /// Whether telemetry goes to the listener.
    pub receives: bool,
    /// Whether model calls go to the listener.
    pub proxies: bool,
    /// The model endpoint and the Langfuse inside this process, in place of all others.
    pub sandbox: Option<String>,
    /// What links to the trace begin with; `None` if there is no page of it.
    pub links: Option<String>,
}

/// The public half of the key pair of a child that has none of its own.
pub const STAND_IN_PUBLIC: &str = "pk-lf-langspan-exec";
/// The secret half.
pub const STAND_IN_SECRET: &str = "sk-lf-langspan-exec";
/// The key of a model endpoint that needs none.
const STAND_IN_MODEL_KEY: &str = "langspan-sandbox";

const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";

/// What changes in the environment, and where the proxy sends what arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order in which they are shown.
    pub set: Vec<(&'static str, String)>,
    pub unset: Vec<&'static str>,
    /// The model endpoints behind `/openai/v1`, `/azure` and `/anthropic`.
    pub openai: Option<String>,
    pub azure: Option<String>,
    pub anthropic: Option<String>,
    /// Variables by which the child silences itself, with their values.
    pub silenced: Vec<String>,
    /// Whether the child has a key pair of Langfuse of its own.
    pub has_keys: bool,
}

/// Looks a variable up in the inherited environment; an empty one counts as unset.
struct Inherited<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Inherited<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Plans the environment of a child.
pub fn plan(plan: &ChildSettings, inherited: &dyn Fn(&str) -> Option<String>) -> Changes {
    let inherited = Inherited(inherited);
    let mut changes = Changes::default();
    if plan.receives {
        telemetry(plan, &inherited, &mut changes);
    }
    if plan.proxies {
        models(plan, &inherited, &mut changes);
    }
    changes.set.push(("TRACEPARENT", plan.traceparent.clone()));
    if let Some(baggage) = baggage(&plan.identity, inherited.get("BAGGAGE").as_deref()) {
        changes.set.push(("BAGGAGE", baggage));
    }
    if plan.receives || plan.proxies {
        no_proxy(&inherited, &mut changes);
    }
    changes
}

fn telemetry(plan: &ChildSettings, inherited: &Inherited<'_>, changes: &mut Changes) {
    let root = &plan.root;
    let had_endpoint = inherited.has("OTEL_EXPORTER_OTLP_ENDPOINT")
        || inherited.has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let headers = format!("x-langspan-run={}", plan.token);
    let mut set = |name, value: &str| changes.set.push((name, value.to_owned()));
    set("OTEL_EXPORTER_OTLP_ENDPOINT", root);
    set(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        &format!("{root}/v1/traces"),
    );
    set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
    set("OTEL_EXPORTER_OTLP_HEADERS", &headers);
    set("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &headers);
    set("OTEL_TRACES_EXPORTER", "otlp");
    set("OTEL_METRICS_EXPORTER", "none");
    set("OTEL_LOGS_EXPORTER", "none");
    if !inherited.has("OTEL_BSP_SCHEDULE_DELAY") {
        set("OTEL_BSP_SCHEDULE_DELAY", "100");
    }
    if !inherited.has("LANGFUSE_FLUSH_AT") {
        set("LANGFUSE_FLUSH_AT", "1");
    }
    set("TRACELOOP_BASE_URL", root);
    if !inherited.has("MLFLOW_ENABLE_OTEL_GENAI_SEMCONV") {
        set("MLFLOW_ENABLE_OTEL_GENAI_SEMCONV", "true");
    }
    // With an endpoint MLflow no longer writes to its own store, which the child relied on if it had none.
    if !had_endpoint && !inherited.has("MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT") {
        set("MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT", "true");
    }
    for name in ["LANGFUSE_BASE_URL", "LANGFUSE_HOST", "LANGFUSE_BASEURL"] {
        set(name, root);
    }
    // Links of a langspan in the command would lead to the listener, which ends with the run.
    if let Some(links) = &plan.links {
        set("LANGSPAN_UI_URL", links);
    }
    changes.has_keys = inherited.has("LANGFUSE_PUBLIC_KEY")
        && inherited.has("LANGFUSE_SECRET_KEY")
        && plan.sandbox.is_none();
    if !changes.has_keys {
        set("LANGFUSE_PUBLIC_KEY", STAND_IN_PUBLIC);
        set("LANGFUSE_SECRET_KEY", STAND_IN_SECRET);
    }
    // They concern the endpoint that is replaced.
    let of_old_endpoint = [
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    ];
    changes
        .unset
        .extend(of_old_endpoint.iter().filter(|name| inherited.has(name)));
    changes.silenced = silenced(inherited);
}

/// The variables by which a child silences its own telemetry.
fn silenced(inherited: &Inherited<'_>) -> Vec<String> {
    let is = |name: &str, wanted: &[&str]| {
        let value = inherited.get(name)?;
        let is_wanted = wanted.contains(&value.trim().to_ascii_lowercase().as_str());
        is_wanted.then(|| format!("{name}={value}"))
    };
    [
        is("OTEL_SDK_DISABLED", &["true"]),
        is(
            "OTEL_TRACES_SAMPLER",
            &["always_off", "parentbased_always_off"],
        ),
        is("LANGFUSE_TRACING_ENABLED", &["false", "0"]),
        is("LANGFUSE_SAMPLE_RATE", &["0", "0.0"]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn models(plan: &ChildSettings, inherited: &Inherited<'_>, changes: &mut Changes) {
    let root = &plan.root;
    let sandbox = plan.sandbox.as_deref();
    let openai = inherited
        .get("OPENAI_BASE_URL")
        .or_else(|| inherited.get("OPENAI_API_BASE"));
    let azure = inherited.get("AZURE_OPENAI_ENDPOINT");
    // The JavaScript SDK prefers OPENAI_BASE_URL for Azure too, and would send an Azure program to OpenAI.
    if openai.is_some() || azure.is_none() {
        let embedded = sandbox.map(|sandbox| format!("{sandbox}/v1"));
        changes.openai = Some(embedded.or(openai).unwrap_or_else(|| OPENAI.to_owned()));
        let url = format!("{root}/openai/v1");
        changes.set.push(("OPENAI_BASE_URL", url.clone()));
        changes.set.push(("OPENAI_API_BASE", url));
    }
    if let Some(azure) = azure {
        changes.azure = Some(sandbox.map_or(azure, str::to_owned));
        changes
            .set
            .push(("AZURE_OPENAI_ENDPOINT", format!("{root}/azure")));
    }
    let anthropic = inherited.get("ANTHROPIC_BASE_URL");
    let anthropic = anthropic.unwrap_or_else(|| ANTHROPIC.to_owned());
    changes.anthropic = Some(sandbox.map_or(anthropic, str::to_owned));
    changes
        .set
        .push(("ANTHROPIC_BASE_URL", format!("{root}/anthropic")));
    if sandbox.is_some() {
        for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
            if !inherited.has(name) {
                changes.set.push((name, STAND_IN_MODEL_KEY.to_owned()));
            }
        }
    }
}

/// The listener is on loopback, which no proxy reaches.
fn no_proxy(inherited: &Inherited<'_>, changes: &mut Changes) {
    for (name, other) in [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")] {
        let old = inherited.get(name).or_else(|| inherited.get(other));
        let value = match old {
            Some(old) if old.trim() == "*" => old,
            Some(old) => format!("{old},127.0.0.1,localhost"),
            None => "127.0.0.1,localhost".to_owned(),
        };
        changes.set.push((name, value));
    }
}

impl Changes {
    /// The variables as `--dry-run` shows them.
    pub fn shown(&self) -> String {
        let set = self
            .set
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"));
        let unset = self.unset.iter().map(|name| format!("unset {name}\n"));
        set.chain(unset).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ROOT: &str = "http://127.0.0.1:1/t";

    impl Changes {
        /// The variables by name.
        fn map(&self) -> BTreeMap<&'static str, &str> {
            self.set
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect()
        }
    }

    fn planned(inherited: &[(&str, &str)], change: impl FnOnce(&mut ChildSettings)) -> Changes {
        let mut options = ChildSettings {
            root: ROOT.to_owned(),
            token: "t".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
            identity: Identity::default(),
            receives: true,
            proxies: true,
            sandbox: None,
            links: None,
        };
        change(&mut options);
        let inherited: BTreeMap<String, String> = inherited
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        plan(&options, &|name| inherited.get(name).cloned())
    }

    #[test]
    fn an_empty_environment_is_steered_to_the_listener() {
        let changes = planned(&[], |_| {});
        let set = changes.map();
        assert_eq!(
            set["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
            "http://127.0.0.1:1/t/v1/traces"
        );
        assert_eq!(set["OPENAI_BASE_URL"], "http://127.0.0.1:1/t/openai/v1");
        assert_eq!(set["LANGFUSE_PUBLIC_KEY"], STAND_IN_PUBLIC);
        assert_eq!(set["MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT"], "true");
        assert_eq!(set["NO_PROXY"], "127.0.0.1,localhost");
        assert_eq!(changes.openai.as_deref(), Some(OPENAI));
        assert_eq!(changes.anthropic.as_deref(), Some(ANTHROPIC));
        assert!(!set.contains_key("AZURE_OPENAI_ENDPOINT") && !set.contains_key("BAGGAGE"));
        assert!(!set.contains_key("OPENAI_API_KEY"));
    }

    #[test]
    fn what_was_meant_for_another_backend_is_replaced() {
        let changes = planned(
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic x"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/x"),
                ("HTTP_PROXY", "http://proxy"),
                ("no_proxy", "intern"),
                ("OTEL_BSP_SCHEDULE_DELAY", "7"),
                ("OPENAI_API_BASE", "http://models/v1"),
            ],
            |_| {},
        );
        let set = changes.map();
        assert_eq!(set["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
        assert_eq!(set["OTEL_EXPORTER_OTLP_HEADERS"], "x-langspan-run=t");
        assert_eq!(changes.unset, ["OTEL_EXPORTER_OTLP_CERTIFICATE"]);
        assert_eq!(set["NO_PROXY"], "intern,127.0.0.1,localhost");
        assert_eq!(changes.openai.as_deref(), Some("http://models/v1"));
        for absent in [
            "OTEL_BSP_SCHEDULE_DELAY",
            "MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT",
        ] {
            assert!(!set.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn an_azure_program_is_not_sent_to_openai() {
        let azure = ("AZURE_OPENAI_ENDPOINT", "https://x.openai.azure.com");
        let changes = planned(&[azure], |_| {});
        assert_eq!(
            changes.map()["AZURE_OPENAI_ENDPOINT"],
            "http://127.0.0.1:1/t/azure"
        );
        assert_eq!(changes.azure.as_deref(), Some("https://x.openai.azure.com"));
        assert!(changes.openai.is_none() && !changes.map().contains_key("OPENAI_BASE_URL"));
        let both = planned(&[azure, ("OPENAI_BASE_URL", "http://m/v1")], |_| {});
        assert_eq!(both.openai.as_deref(), Some("http://m/v1"));
    }

    #[test]
    fn a_child_with_a_whole_key_pair_keeps_it() {
        let public = ("LANGFUSE_PUBLIC_KEY", "pk-lf-1");
        let both = planned(&[public, ("LANGFUSE_SECRET_KEY", "sk-lf-1")], |_| {});
        assert!(both.has_keys && !both.map().contains_key("LANGFUSE_PUBLIC_KEY"));
        let half = planned(&[public], |_| {});
        assert!(!half.has_keys);
        assert_eq!(half.map()["LANGFUSE_PUBLIC_KEY"], STAND_IN_PUBLIC);
    }

    #[test]
    fn user_and_session_travel_as_baggage() {
        let changes = planned(&[("BAGGAGE", "a=1, langfuse.user.id=x")], |plan| {
            plan.identity.user = Some("ada l".to_owned());
            plan.identity.session = Some("s".to_owned());
        });
        assert_eq!(
            changes.map()["BAGGAGE"],
            "a=1,langfuse.user.id=ada%20l,langfuse.session.id=s"
        );
    }

    #[test]
    fn options_leave_one_side_alone() {
        let changes = planned(&[], |plan| plan.receives = false);
        assert!(!changes.map().contains_key("LANGFUSE_BASE_URL"));
        assert!(changes.map().contains_key("OPENAI_BASE_URL"));
        let changes = planned(&[], |plan| plan.proxies = false);
        assert!(!changes.map().contains_key("OPENAI_BASE_URL") && changes.openai.is_none());
    }

    #[test]
    fn the_sandbox_replaces_every_endpoint_and_lends_keys() {
        let changes = planned(&[("OPENAI_BASE_URL", "http://m/v1")], |plan| {
            plan.sandbox = Some("http://127.0.0.1:2".to_owned());
        });
        assert_eq!(changes.openai.as_deref(), Some("http://127.0.0.1:2/v1"));
        assert_eq!(changes.anthropic.as_deref(), Some("http://127.0.0.1:2"));
        assert!(changes.map().contains_key("ANTHROPIC_API_KEY"));
    }

    #[test]
    fn switches_that_silence_the_child_are_named() {
        let changes = planned(
            &[
                ("OTEL_SDK_DISABLED", "true"),
                ("LANGFUSE_SAMPLE_RATE", "0.5"),
            ],
            |_| {},
        );
        assert_eq!(changes.silenced, ["OTEL_SDK_DISABLED=true"]);
    }
}
