//! The identity of a trace: user, session, tags, name, metadata, and its id where an option names one.

mod values;

use crate::cli;
use crate::failure::Failure;
use crate::settings::ci;
use crate::settings::otel;
use crate::settings::shown::{Notes, Shown};
use crate::settings::sources::{Origin, Rank, Sourced, Sources, empty_flag, parse_found};
use crate::trace::recording::RecordedTrace;
use crate::trace::{self, Recording, TraceContext, ids};

use values::{check_environment, refuse_key, values};
pub use values::{refuse_keys, warning_of_length};

/// The attributes of a resource that name an environment.
const ENVIRONMENT_ATTRIBUTES: [&str; 3] = [
    "langfuse.environment",
    "deployment.environment.name",
    "deployment.environment",
];
/// The trace side of the settings.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    user: Option<Sourced<String>>,
    session: Option<Sourced<String>>,
    tags: Sourced<Vec<String>>,
    name: Option<String>,
    metadata: Vec<(String, String)>,
    version: Option<String>,
    public: bool,
    /// The one trace that was named, and the option that did.
    pub named: Option<Sourced<TraceContext>>,
    pub environment: Option<String>,
    has_environment_flag: bool,
    pub release: Option<String>,
    /// `OTEL_SERVICE_NAME`, which wins over a name among the resource's attributes.
    pub service: Option<String>,
    pub resource: Vec<(String, String)>,
}

impl TraceSettings {
    /// # Errors
    /// If a value is malformed, or is a key.
    pub fn resolve(
        options: &cli::TraceArgs,
        sources: &Sources,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let user = sources.flag_or("--user", options.user.as_deref(), &["LANGSPAN_USER"])?;
        let session = sources.flag_or(
            "--session",
            options.session.as_deref(),
            &["LANGSPAN_SESSION"],
        )?;
        let environment = sources.flag_or(
            "--environment",
            options.environment.as_deref(),
            &["LANGFUSE_TRACING_ENVIRONMENT"],
        )?;
        let release = sources.flag_or(
            "--release",
            options.release.as_deref(),
            &ci::RELEASE_VARIABLES,
        )?;
        if let Some(environment) = &environment {
            check_environment(environment, notes)?;
        }
        let tags = tags(options, sources)?;
        notes.shown.extend(Self::shown(
            &[
                ("user", &user),
                ("session", &session),
                ("environment", &environment),
                ("release", &release),
            ],
            &tags,
        ));
        let public = sources.switch("--public", options.public, &[])?;
        let public = public.filter(|public| public.value);
        if let Some(public) = &public {
            let warning = format!(
                "{}: anyone with the link can read this trace",
                public.origin
            );
            notes.warnings.push(warning);
        }
        let text = |given: &Option<String>, key| {
            let found = || sources.setting(key, &[]).map(|found| found.value);
            given.clone().or_else(found)
        };
        let trace = Self {
            user,
            session,
            tags,
            name: text(&options.name, "name"),
            metadata: metadata(options, sources, notes)?,
            version: text(&options.trace_version, "trace_version"),
            public: public.is_some(),
            named: named(options, sources)?,
            has_environment_flag: options.environment.is_some(),
            environment: environment.map(|found| found.value),
            release: release.map(|found| found.value),
            service: sources.get("OTEL_SERVICE_NAME").map(|found| found.value),
            resource: otel::resource_attributes(sources),
        };
        trace.check(options, notes)?;
        Ok(trace)
    }

    /// The settings that have more than one source, for `--dry-run`.
    fn shown(
        values: &[(&'static str, &Option<Sourced<String>>)],
        tags: &Sourced<Vec<String>>,
    ) -> Vec<Shown> {
        let found = values
            .iter()
            .filter_map(|(name, found)| Some((*name, found.as_ref()?)));
        let mut shown: Vec<Shown> = found
            .map(|(name, found)| Shown::new(name, &found.value, found.origin.clone()))
            .collect();
        if !tags.value.is_empty() {
            shown.push(Shown::new(
                "tags",
                tags.value.join(", "),
                tags.origin.clone(),
            ));
        }
        shown
    }

    /// Sets the canary's identity, which a filter can exclude, where no option gives another; adds the CI's facts.
    pub fn be_canary(&mut self, sources: &Sources) {
        const CANARY: &str = "langspan-check";
        let is_flag =
            |found: &Option<Sourced<String>>| found.as_ref().is_some_and(Sourced::is_flag);
        let canary = || Some(Sourced::new(CANARY.to_owned(), Origin::Default));
        if !is_flag(&self.user) {
            self.user = canary();
        }
        if !is_flag(&self.session) {
            self.session = canary();
        }
        if !self.tags.is_flag() {
            self.tags = Sourced::new(vec![CANARY.to_owned()], Origin::Default);
        }
        if !self.has_environment_flag {
            self.environment = Some(CANARY.to_owned());
        }
        self.name.get_or_insert_with(|| CANARY.to_owned());
        for (key, value) in ci::metadata(sources) {
            if self.metadata.iter().all(|(known, _)| *known != key) {
                self.metadata.push((key, value));
            }
        }
    }

    /// Sets the environment, unless an option or a variable gives one.
    pub(super) fn default_environment(&mut self, environment: &str) {
        let has_attribute = self
            .resource
            .iter()
            .any(|(key, _)| ENVIRONMENT_ATTRIBUTES.contains(&key.as_str()));
        if self.environment.is_none() && !has_attribute {
            self.environment = Some(environment.to_owned());
        }
    }

    /// The session that an option names.
    pub fn given_session(&self) -> Option<&str> {
        let session = self.session.as_ref()?;
        session.is_flag().then_some(session.value.as_str())
    }

    /// Puts calls into the session of a conversation.
    pub fn join_session(&mut self, session: &str) {
        self.session = Some(Sourced::new(session.to_owned(), Origin::Flag("--thread")));
    }

    /// What a call belongs to.
    pub fn of_call(&self) -> trace::Trace {
        trace::Trace {
            name: self.name.clone(),
            user: self.user.clone().map(|found| found.value),
            session: self.session.clone().map(|found| found.value),
            tags: self.tags.value.clone(),
            metadata: self.metadata.clone(),
            version: self.version.clone(),
            public: self.public,
            prompt: None,
            item: None,
        }
    }

    /// What a recording belongs to: an option before the recording, the recording before a variable.
    pub fn of_recording(&self, recording: &Recording) -> trace::Trace {
        self.of_recorded(&recording.trace)
    }

    /// The same of the trace of a recording alone.
    pub fn of_recorded(&self, recorded: &RecordedTrace) -> trace::Trace {
        let pick = |found: &Option<Sourced<String>>, recorded: &Option<String>| match found {
            Some(found) if found.is_flag() || recorded.is_none() => Some(found.value.clone()),
            _ => recorded.clone(),
        };
        let mut metadata = recorded.metadata();
        metadata.retain(|(key, _)| self.metadata.iter().all(|(given, _)| given != key));
        metadata.extend(self.metadata.clone());
        trace::Trace {
            // A recording always names its trace; the default name was not given by an option.
            name: self.name.clone().or_else(|| {
                recorded
                    .name
                    .clone()
                    .filter(|name| name != trace::DEFAULT_NAME)
            }),
            user: pick(&self.user, &recorded.user),
            session: pick(&self.session, &recorded.session),
            tags: if self.tags.is_flag() || recorded.tags.is_empty() {
                self.tags.value.clone()
            } else {
                recorded.tags.clone()
            },
            metadata,
            version: self.version.clone(),
            public: self.public,
            prompt: recorded.prompt.clone(),
            item: None,
        }
    }

    /// Values that are keys are refused, long ones are noticed.
    fn check(&self, options: &cli::TraceArgs, notes: &mut Notes) -> Result<(), Failure> {
        let call = self.of_call();
        let others = [
            ("environment", self.environment.as_ref()),
            ("release", self.release.as_ref()),
            ("trace seed", options.trace_seed.as_ref()),
        ];
        let others = others
            .into_iter()
            .filter_map(|(what, value)| Some((what, value?.as_str())));
        for (what, value) in values(&call).chain(others) {
            refuse_key(what, value)?;
            notes.warnings.extend(warning_of_length(what, value));
        }
        Ok(())
    }
}

fn tags(options: &cli::TraceArgs, sources: &Sources) -> Result<Sourced<Vec<String>>, Failure> {
    if options.tags.iter().any(String::is_empty) {
        return Err(empty_flag("--tag"));
    }
    if !options.tags.is_empty() {
        return Ok(Sourced::new(options.tags.clone(), Origin::Flag("--tag")));
    }
    let split = |text: String| {
        text.split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let found = Rank::ALL.into_iter().find_map(|rank| {
        let listed = sources.entry(rank, "tag");
        let listed = listed.map(|entry| entry.map(|entry| entry.texts.clone()));
        listed.or_else(|| Some(sources.variable(rank, "LANGSPAN_TAGS")?.map(split)))
    });
    Ok(found.unwrap_or_else(|| Sourced::new(Vec::new(), Origin::Default)))
}

/// The metadata of the CI, the settings file and the options; of one key the strongest value.
fn metadata(
    options: &cli::TraceArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<Vec<(String, String)>, Failure> {
    let mut metadata: Vec<(String, String)> = Vec::new();
    let ci = sources.switch("--ci", options.ci, &[])?;
    if ci.is_some_and(|ci| ci.value) {
        metadata = ci::metadata(sources);
        if metadata.is_empty() {
            notes.warnings.push(
                "--ci: no GitHub Actions, GitLab CI, Buildkite or CircleCI job was recognised"
                    .to_owned(),
            );
        }
    }
    let weakest_first = Rank::ALL.into_iter().rev();
    let mut found = Vec::new();
    for entry in weakest_first.filter_map(|rank| sources.entry(rank, "metadata")) {
        for text in &entry.value.texts {
            let text = Sourced::new(text.clone(), entry.origin.clone());
            found.push(parse_found(&text, cli::pair)?);
        }
    }
    for (key, value) in found.iter().chain(&options.metadata) {
        metadata.retain(|(known, _)| known != key);
        metadata.push((key.clone(), value.clone()));
    }
    Ok(metadata)
}

fn named(
    options: &cli::TraceArgs,
    sources: &Sources,
) -> Result<Option<Sourced<TraceContext>>, Failure> {
    let continued = |text: &str| {
        TraceContext::from_traceparent(text).map_err(|error| {
            Failure::usage(error)
                .hint("as in 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        })
    };
    if let Some(seed) = &options.trace_seed {
        if seed.is_empty() {
            return Err(empty_flag("--trace-seed"));
        }
        return Ok(Some(Sourced::new(
            TraceContext::root(ids::from_seed(seed)),
            Origin::Flag("--trace-seed"),
        )));
    }
    if let Some(id) = &options.trace_id {
        let id = ids::parse_trace_id(id).map_err(|error| {
            Failure::usage(format!("--trace-id: {error}"))
                .hint("--trace-seed derives an id from any text")
        })?;
        return Ok(Some(Sourced::new(
            TraceContext::root(id),
            Origin::Flag("--trace-id"),
        )));
    }
    if let Some(text) = &options.traceparent {
        return Ok(Some(Sourced::new(
            continued(text)?,
            Origin::Flag("--traceparent"),
        )));
    }
    if options.join {
        let found = sources.get("TRACEPARENT").ok_or_else(|| {
            Failure::usage("--join: TRACEPARENT is not set").hint("omit --join to begin a trace")
        })?;
        return Ok(Some(Sourced::new(
            continued(&found.value)?,
            Origin::Flag("--join"),
        )));
    }
    Ok(None)
}
