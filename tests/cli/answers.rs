//! Recorded answers of real endpoints and the spans that follow from them: one folder of `tests/answers` for each. The
//! name of a folder begins with its dialect, unless that is chat completions, and then has the endpoint.
//!
//! `request.json` is the request (without it, a greeting), `body.json` the answer (`body.429.json`: with that status),
//! `stream.sse` the same answer streamed, and `spans.txt` the spans: all attributes at Langfuse, those of the general
//! conventions at a plain OTLP backend. Both forms of an answer give the same spans. `LANGSPAN_UPDATE=1 cargo test
//! answers` rewrites `spans.txt`: review it then.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted};
use crate::support::otlp::{attribute, attributes, traces_at};

const COMPLETION_START: &str = "langfuse.observation.completion_start_time";
const REQUEST_STREAM: &str = "gen_ai.request.stream";
const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
const GREETING: &str =
    r#"{"model": "some-model", "messages": [{"role": "user", "content": "Hello"}]}"#;

/// The beginnings of the names of folders with answers of another dialect than chat completions.
const DIALECTS: [&str; 3] = ["responses-", "messages-", "embeddings-"];

/// The environment that leads to an endpoint, by the first words of a folder's name, or those after the dialect.
const ENDPOINTS: [(&str, &[(&str, &str)]); 16] = [
    (
        "messages-anthropic-",
        &[
            ("ANTHROPIC_BASE_URL", "http://api.anthropic.com"),
            ("ANTHROPIC_API_KEY", "sk-ant-0123456789"),
        ],
    ),
    (
        "messages-deepseek-",
        &[("ANTHROPIC_BASE_URL", "http://api.deepseek.com/anthropic")],
    ),
    (
        "messages-ollama-",
        &[("ANTHROPIC_BASE_URL", "http://ollama.internal:11434")],
    ),
    (
        "openai-",
        &[
            ("OPENAI_BASE_URL", "http://api.openai.com/v1"),
            ("OPENAI_API_KEY", "sk-0123456789ab"),
        ],
    ),
    (
        "azure-classic-",
        &[
            (
                "AZURE_OPENAI_ENDPOINT",
                "http://my-resource.openai.azure.com",
            ),
            ("AZURE_OPENAI_API_KEY", "azure-0123456789"),
            ("OPENAI_API_VERSION", "2024-10-21"),
        ],
    ),
    (
        "azure-v1-",
        &[
            (
                "AZURE_OPENAI_ENDPOINT",
                "http://my-resource.openai.azure.com",
            ),
            ("AZURE_OPENAI_API_KEY", "azure-0123456789"),
        ],
    ),
    (
        "ollama-",
        &[("OPENAI_BASE_URL", "http://ollama.internal:11434/v1")],
    ),
    (
        "vllm-",
        &[("OPENAI_BASE_URL", "http://vllm.internal:8000/v1")],
    ),
    (
        "openrouter-",
        &[("OPENAI_BASE_URL", "http://openrouter.ai/api/v1")],
    ),
    (
        "groq-",
        &[("OPENAI_BASE_URL", "http://api.groq.com/openai/v1")],
    ),
    (
        "deepseek-",
        &[("OPENAI_BASE_URL", "http://api.deepseek.com")],
    ),
    (
        "litellm-",
        &[("OPENAI_BASE_URL", "http://litellm.internal:4000")],
    ),
    (
        "mistral-",
        &[("OPENAI_BASE_URL", "http://api.mistral.ai/v1")],
    ),
    (
        "anthropic-",
        &[("OPENAI_BASE_URL", "http://api.anthropic.com/v1/")],
    ),
    (
        "gemini-",
        &[(
            "OPENAI_BASE_URL",
            "http://generativelanguage.googleapis.com/v1beta/openai/",
        )],
    ),
    ("other-", &[("OPENAI_BASE_URL", "http://[fd00::1]:8080/v1")]),
];

/// One folder.
struct Case {
    folder: PathBuf,
    name: String,
}

/// One way in which an endpoint may answer.
struct Way {
    name: &'static str,
    /// Whether `spans.txt` is written from it.
    is_first: bool,
    is_asked_to_stream: bool,
    does_stream: bool,
    reply: Reply,
}

impl Case {
    fn all() -> Vec<Self> {
        let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
        let mut folders: Vec<PathBuf> = fs::read_dir(answers)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        folders.sort();
        let named = folders.into_iter().map(|folder| Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder,
        });
        named.collect()
    }

    /// The dialect that a call must name, because its body does not show it.
    fn api(&self) -> Option<&'static str> {
        let named = DIALECTS
            .iter()
            .find(|start| self.name.starts_with(**start))?;
        named.strip_suffix('-').filter(|name| *name != "responses")
    }

    /// The words of the name after the dialect.
    fn endpoint(&self) -> &str {
        let dialect = DIALECTS
            .iter()
            .find_map(|start| self.name.strip_prefix(*start));
        dialect.unwrap_or(&self.name)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }

    /// The whole answer, asked for or in place of a stream; the stream, cut into small pieces, with both line ends.
    fn ways(&self) -> Vec<Way> {
        let mut ways = Vec::new();
        if let Some(reply) = self.body() {
            let asked = [("whole", false), ("whole, not streamed", true)];
            // Nobody can ask for a stream of embeddings.
            let count = if self.api() == Some("embeddings") {
                1
            } else {
                2
            };
            for (name, is_asked_to_stream) in asked.into_iter().take(count) {
                ways.push(Way {
                    name,
                    is_first: ways.is_empty(),
                    is_asked_to_stream,
                    does_stream: false,
                    reply: reply.clone(),
                });
            }
        }
        if let Some(stream) = self.read("stream.sse") {
            let lines = stream.replace('\n', "\r\n");
            for (name, text, length) in [("streamed", &stream, 7), ("byte by byte", &lines, 1)] {
                ways.push(Way {
                    name,
                    is_first: ways.is_empty(),
                    is_asked_to_stream: true,
                    does_stream: true,
                    reply: in_pieces(text.as_bytes(), length),
                });
            }
        }
        assert!(!ways.is_empty(), "{} holds no answer", self.name);
        ways
    }

    fn body(&self) -> Option<Reply> {
        let files = fs::read_dir(&self.folder).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let name = names.find(|name| name.starts_with("body."))?;
        let status = name.split('.').nth(1).unwrap().parse().unwrap_or(200);
        let content_type = match name.split('.').next_back() {
            Some("html") => "text/html",
            _ => "application/json",
        };
        Some(Reply::Answer(
            status,
            content_type,
            self.read(&name).unwrap(),
        ))
    }

    /// A call that reaches its endpoint, whatever its name, at `model`.
    fn call(&self, model: &Scripted, way: &Way) -> Langspan {
        let call = Langspan::new(&["replay", "request.json", "--retries", "0"]);
        call.file(
            "request.json",
            self.read("request.json").as_deref().unwrap_or(GREETING),
        );
        let call = if way.is_asked_to_stream {
            call.arg("--stream")
        } else {
            call
        };
        let call = match self.api() {
            Some(api) => call.arg("--api").arg(api),
            None => call,
        };
        let names = [self.name.as_str(), self.endpoint()];
        let known = ENDPOINTS
            .iter()
            .find(|(words, _)| names.iter().any(|name| name.starts_with(words)));
        let (_, environment) = known.unwrap_or_else(|| panic!("{}: whose is it?", self.name));
        environment
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value))
            .env("HTTP_PROXY", model.url())
            .env("NO_PROXY", "127.0.0.1")
    }

    /// What is seen of an answer that comes in this way.
    fn describe(&self, way: &Way) -> String {
        let model = Scripted::always(way.reply.clone());
        let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
        let ended = self.call(&model, way).langfuse_at(langfuse.url()).run();
        let traces = traces_at(&langfuse);
        let [trace] = traces.as_slice() else {
            panic!("{}, {}: {ended:#?}", self.name, way.name);
        };
        let start = attribute(&trace.generation, COMPLETION_START);
        let is_partly_there = attribute(&trace.generation, "langfuse.observation.output").is_some();
        assert_eq!(
            start.is_some(),
            way.does_stream && is_partly_there,
            "{}, {}: {COMPLETION_START}",
            self.name,
            way.name
        );

        let collector = Scripted::always(Reply::json(200, &json!({})));
        let endpoint = format!("{}/v1/traces", collector.url());
        let call = self.call(&model, way);
        call.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint)
            .run();
        let plain = traces_at(&collector).remove(0).generation;

        for (key, is_expected) in [
            (REQUEST_STREAM, way.is_asked_to_stream),
            (FIRST_CHUNK, start.is_some()),
        ] {
            let found = attribute(&plain, key);
            assert_eq!(
                found.is_some(),
                is_expected,
                "{}, {}: {key}",
                self.name,
                way.name
            );
        }

        let asked = model.requests().remove(0);
        let mut description = format!("asked at {}\n", asked.path);
        describe_end(&mut description, &ended);
        for span in trace.spans() {
            describe_span(&mut description, span, |_| true);
        }
        description.push_str("\nfor a plain OTLP backend, by the conventions of OpenTelemetry:\n");
        describe_span(&mut description, &plain, is_convention);
        description
    }
}

/// Whether the key belongs to the general conventions, which Langfuse does not get. Those that tell a stream from a whole
/// answer are compared apart.
fn is_convention(key: &str) -> bool {
    ["gen_ai.", "server.", "error."]
        .iter()
        .any(|prefix| key.starts_with(prefix))
        && ![REQUEST_STREAM, FIRST_CHUNK].contains(&key)
}

fn describe_end(description: &mut String, ended: &Ended) {
    writeln!(description, "exit code {}", ended.code.unwrap()).unwrap();
    for line in ended.stdout.lines() {
        writeln!(description, "stdout: {line}").unwrap();
    }
}

/// Name, kind and status, then the attributes, sorted.
fn describe_span(description: &mut String, span: &Span, is_listed: impl Fn(&str) -> bool) {
    let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_");
    writeln!(description, "\n{} ({kind})", span.name).unwrap();
    let status = span.status.as_ref();
    if let Some(status) = status.filter(|status| status.code() == StatusCode::Error) {
        writeln!(description, "  status: error: {}", status.message).unwrap();
    }
    for (key, value) in attributes(&span.attributes) {
        if is_listed(&key) && key != COMPLETION_START {
            let value = sorted(&key, value);
            writeln!(description, "  {key} = {}", value.replace('\n', "\n    ")).unwrap();
        }
    }
}

/// Of the answer's message the order of fields is the endpoint's affair, and may differ in a stream.
fn sorted(key: &str, value: String) -> String {
    if !key.contains("output") || key == "output.value" {
        return value;
    }
    serde_json::from_str(&value).map_or(value, |mut json: Value| {
        json.sort_all_objects();
        json.to_string()
    })
}

/// A stream of events as the chunks of an HTTP body, each of `length` bytes: lines and letters are cut.
fn in_pieces(events: &[u8], length: usize) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for piece in events.chunks(length) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend([piece, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    Reply::Bytes(bytes)
}

/// The lines that only one of two texts has.
fn differences(expected: &str, found: &str) -> String {
    let only_in = |text: &str, other: &str, sign: &str| {
        let lines = text
            .lines()
            .filter(|line| !other.lines().any(|l| l == *line));
        lines.fold(String::new(), |description, line| {
            format!("{description}  {sign} {line}\n")
        })
    };
    only_in(expected, found, "-") + &only_in(found, expected, "+")
}

#[test]
fn every_answer_gives_its_spans_whichever_way_it_comes() {
    let cases = Case::all();
    assert!(cases.len() > 40, "only {} answers", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let mut expected = case.read("spans.txt").unwrap_or_default();
        for way in case.ways() {
            let description = case.describe(&way);
            if std::env::var_os("LANGSPAN_UPDATE").is_some() && way.is_first {
                fs::write(case.folder.join("spans.txt"), &description).unwrap();
                expected.clone_from(&description);
            }
            if description != expected {
                let differences = differences(&expected, &description);
                writeln!(wrong, "{}, {}:\n{differences}", case.name, way.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "spans.txt says otherwise:\n{wrong}");
}
