//! The sandbox as a test double: the built binary's own, on a port of its own, with a folder of
//! its own, gone with the value.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;

/// Every group of fields of the v2 observations.
pub const ALL_FIELDS: &str = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context";

/// A running `langspan sandbox`.
#[derive(Debug)]
pub struct Sandbox {
    url: String,
    agent: ureq::Agent,
    process: Child,
    // Kept open, or what the process prints later would kill it.
    _stdout: BufReader<ChildStdout>,
    state: Option<TempDir>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub location: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Sandbox {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let state = TempDir::new().unwrap();
        let mut started = Self::start_in(state.path(), arguments);
        started.state = Some(state);
        started
    }

    /// On a folder that another sandbox may use as well.
    pub fn start_in(state: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_langspan"))
            .args(["sandbox", "--port", "0"])
            .args(arguments)
            .env_clear()
            .env("XDG_STATE_HOME", state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("langspan sandbox: ");
        let url = url
            .unwrap_or_else(|| panic!("the first line names no URL: {line:?}"))
            .to_owned();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            // A server that answers before it has read the body closes the connection behind it.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        Self {
            url,
            agent,
            process,
            _stdout: stdout,
            state: None,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    #[expect(
        clippy::unused_self,
        reason = "the keys belong to a sandbox, even if all have the same"
    )]
    pub fn public_key(&self) -> &'static str {
        "pk-lf-sandbox"
    }

    #[expect(
        clippy::unused_self,
        reason = "the keys belong to a sandbox, even if all have the same"
    )]
    pub fn secret_key(&self) -> &'static str {
        "sk-lf-sandbox"
    }

    /// The `Authorization` header that the sandbox's keys make.
    pub fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.public_key(), self.secret_key());
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// With the right keys.
    pub fn get(&self, path: &str) -> Answer {
        self.send(
            "GET",
            path,
            &[("authorization", &self.authorization())],
            Vec::new(),
        )
    }

    /// With the right keys.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let authorization = self.authorization();
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        self.send("POST", path, &headers, body.into())
    }

    /// With exactly these headers.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let mut response = if matches!(method, "GET" | "DELETE") {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        }
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let header = |name| {
            let value = response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Answer {
            status: response.status().as_u16(),
            content_type: header("content-type"),
            location: header("location"),
            body: response.body_mut().read_to_string().unwrap(),
        }
    }

    /// The bytes and the headers of a page or a file, asked for as a browser does.
    pub fn fetch(&self, path: &str) -> (http::HeaderMap, Vec<u8>) {
        let mut response = self
            .agent
            .get(format!("{}{path}", self.url))
            .call()
            .unwrap();
        let bytes = response.body_mut().read_to_vec().unwrap();
        (response.headers().clone(), bytes)
    }

    /// What the v2 interface knows of a trace, with all fields, newest first.
    pub fn observations(&self, trace_id: &str) -> Vec<Value> {
        let path = format!(
            "/api/public/v2/observations?traceId={trace_id}&fields={ALL_FIELDS}&limit=1000"
        );
        match self.get(&path).json()["data"].take() {
            Value::Array(rows) => rows,
            other => panic!("no rows: {other}"),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
