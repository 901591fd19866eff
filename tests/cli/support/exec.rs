//! A child of `langspan exec` whose part the test plays: a shell that writes its environment down and waits, while the
//! test sends what a program would send.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, wait_until};

/// A trace id of the child.
pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// Another one.
pub const OTHER_TRACE: &str = "1af7651916cd43dd8448eb211c80319c";

/// A run whose child waits.
#[derive(Debug)]
pub struct Session {
    call: Langspan,
    process: Child,
    environment: BTreeMap<String, String>,
}

/// What the listener answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// All headers, in lower case.
    pub head: String,
    pub body: String,
}

/// The command that waits until [`Session::finish`], and ends with `code`.
fn waiting(code: i32) -> Vec<String> {
    let script = format!(
        "env >env.tmp; mv env.tmp env; while [ ! -e go ]; do sleep 0.01; done; exit {code}"
    );
    ["--", "sh", "-c", &script].map(str::to_owned).into()
}

impl Session {
    /// Starts `call`, which has no command yet.
    pub fn start(call: Langspan) -> Self {
        Self::start_ending(call, 0)
    }

    /// The same with a child that ends with `code`.
    pub fn start_ending(call: Langspan, code: i32) -> Self {
        Self::start_by(call, code, Langspan::spawn)
    }

    /// The same where no file grows beyond `kibibytes`, which acts as a full disk does.
    pub fn start_limited(call: Langspan, kibibytes: u32) -> Self {
        Self::start_limited_ending(call, kibibytes, 0)
    }

    /// The same with a child that ends with `code`.
    pub fn start_limited_ending(call: Langspan, kibibytes: u32, code: i32) -> Self {
        Self::start_by(call, code, |call| {
            let inner = call.command();
            let mut limited = Command::new("sh");
            // The unit of the limit is half a kibibyte.
            let script = format!("ulimit -f {}; exec \"$@\"", kibibytes * 2);
            limited
                .args(["-c", &script, "sh"])
                .arg(inner.get_program())
                .args(inner.get_args())
                .env_clear()
                .current_dir(call.home());
            for (name, value) in inner.get_envs() {
                limited.env(name, value.unwrap_or_default());
            }
            let piped = Stdio::piped;
            limited
                .stdin(piped())
                .stdout(piped())
                .stderr(piped())
                .spawn()
                .unwrap()
        })
    }

    fn start_by(call: Langspan, code: i32, start: impl FnOnce(&Langspan) -> Child) -> Self {
        let call = waiting(code).iter().fold(call, |call, word| call.arg(word));
        let process = start(&call);
        let place = call.home().join("env");
        wait_until("the child has started", || place.exists());
        let text = fs::read_to_string(place).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            environment: environment.collect(),
            call,
            process,
        }
    }

    /// A variable of the child.
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        self.environment
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not set: {:#?}", self.environment))
    }

    pub fn has_variable(&self, name: &str) -> bool {
        self.environment.contains_key(name)
    }

    /// The process of langspan.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn home(&self) -> &Path {
        self.call.home()
    }

    /// Sends spans as OTLP/JSON; they must be taken.
    #[track_caller]
    pub fn send(&self, spans: &[Value]) {
        let answer = self.export(&request("test", spans));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub fn export(&self, request: &Value) -> Answer {
        let url = self.variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let body = request.to_string();
        exchange(
            "POST",
            url,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    }

    /// Asks the model through the proxy.
    pub fn ask(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let url = format!("{}/chat/completions", self.variable("OPENAI_BASE_URL"));
        exchange("POST", &url, headers, body.to_string().as_bytes())
    }

    /// Whether langspan has not ended.
    pub fn is_running(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.id()));
        status.is_ok_and(|status| !status.contains(") Z "))
    }

    /// Lets the child end, and waits for langspan.
    pub fn finish(self) -> Ended {
        fs::write(self.home().join("go"), "").unwrap();
        self.wait()
    }

    /// Waits for langspan, whose child ends by itself.
    pub fn wait(self) -> Ended {
        let output = self.process.wait_with_output().unwrap();
        self.call.ended(&output)
    }

    /// Kills langspan at once; the child goes after it.
    pub fn kill(mut self) -> Langspan {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::write(self.home().join("go"), "").unwrap();
        self.call
    }
}

/// One request on a connection of its own, headers as they are given.
pub fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = open(method, url, headers, body);
    let mut bytes = Vec::new();
    // A connection that was cut ends the answer as well.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body: unchunked(&head.to_lowercase(), body),
    }
}

/// Sends a request, and leaves the answer to be read.
pub fn open(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let rest = url.strip_prefix("http://").unwrap();
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut stream = TcpStream::connect(place).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn unchunked(head: &str, body: &str) -> String {
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

/// A span as SDKs write it. `attributes` are texts, numbers or lists of texts.
pub fn span(trace: &str, id: u64, parent: Option<u64>, name: &str, attributes: &Value) -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let mut span = json!({
        "traceId": trace, "spanId": format!("{id:016x}"), "name": name, "kind": 1,
        "startTimeUnixNano": (now - 60_000_000_000).to_string(), "endTimeUnixNano": (now + 60_000_000_000).to_string(),
        "attributes": attributes.as_object().unwrap().iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect::<Vec<_>>(),
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    span
}

fn any(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Array(items) => {
            json!({"arrayValue": {"values": items.iter().map(any).collect::<Vec<_>>()}})
        }
        other => json!({"doubleValue": other}),
    }
}

/// An export request of spans of one scope.
pub fn request(scope: &str, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]})
}

/// The row of a name.
#[track_caller]
pub fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    let mut found = rows.iter().filter(|row| row["name"] == name);
    let row = found.next();
    assert!(found.next().is_none(), "{name} is there twice: {rows:#?}");
    row.unwrap_or_else(|| panic!("{name} is not there: {rows:#?}"))
}

/// The files of an outbox with this ending.
pub fn outbox_files(home: &Path, ending: &str) -> Vec<PathBuf> {
    let files = crate::support::harness::files_below(&home.join(".local/state/langspan/outbox"));
    let named = files
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(ending));
    named.collect()
}
