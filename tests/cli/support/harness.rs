//! Runs the built binary as a user would, in an environment of its own; and HTTP servers with scripted answers.
//!
//! After every run the harness looks for each secret of the environment in everything that the run wrote: stdout,
//! stderr, and every file below its home.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use crate::support::schema::assert_fits;
use crate::support::stand_in::Sandbox;

/// The path for exports.
pub const TRACES: &str = "/api/public/otel/v1/traces";
/// The path for scores.
pub const SCORES: &str = "/api/public/scores";
/// The path for reads of a current Langfuse.
pub const OBSERVATIONS: &str = "/api/public/v2/observations";

/// A call of `langspan` that is being prepared. Clones share their home.
#[derive(Clone, Debug)]
pub struct Langspan {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    stdin: Option<Vec<u8>>,
    home: Rc<TempDir>,
}

/// The result of a call.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    home: Rc<TempDir>,
}

impl Langspan {
    /// A call with nothing in its environment but a home folder, which is removed with the last clone.
    pub fn new(arguments: &[&str]) -> Self {
        let home = Rc::new(TempDir::new().unwrap());
        Self {
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]),
            stdin: None,
            home,
        }
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// With model and Langfuse of a running sandbox.
    pub fn at(self, sandbox: &Sandbox) -> Self {
        self.model_at(&format!("{}/v1", sandbox.url()))
            .langfuse_at(sandbox.url())
    }

    pub fn model_at(self, url: &str) -> Self {
        self.env("OPENAI_BASE_URL", url)
    }

    /// With this Langfuse and a key pair that the sandbox accepts.
    pub fn langfuse_at(self, url: &str) -> Self {
        self.env("LANGFUSE_BASE_URL", url)
            .env("LANGFUSE_PUBLIC_KEY", "pk-lf-sandbox")
            .env("LANGFUSE_SECRET_KEY", "sk-lf-sandbox")
    }

    /// With this on stdin, instead of `/dev/null`.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// In the home of an earlier call, with its outbox.
    pub fn after(mut self, earlier: &Ended) -> Self {
        self.home = Rc::clone(&earlier.home);
        self.environment
            .insert("HOME".to_owned(), self.home.path().display().to_string());
        self
    }

    /// In the home of another call.
    pub fn beside(mut self, other: &Self) -> Self {
        self.home = Rc::clone(&other.home);
        self.environment
            .insert("HOME".to_owned(), self.home.path().display().to_string());
        self
    }

    /// The home, which is also the working folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file in the home; returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The command, for a test that runs it itself.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_langspan"));
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.home.path());
        command
    }

    /// Starts it with all three streams piped.
    pub fn spawn(&self) -> Child {
        self.command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the call to its end.
    pub fn run(&self) -> Ended {
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let writer = self.stdin.clone().map(|bytes| {
            let mut pipe = child.stdin.take().unwrap();
            // The program may end without reading all of it.
            thread::spawn(move || pipe.write_all(&bytes))
        });
        let output = child.wait_with_output().unwrap();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        self.ended(&output)
    }

    /// Runs it where no file can be larger than `blocks` of 512 bytes. That fails like a full disk, after a file was opened.
    pub fn run_with_file_limit(&self, blocks: u32) -> Ended {
        let langspan = self.command();
        let variables = langspan.get_envs();
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")])
            .arg(langspan.get_program())
            .args(langspan.get_args())
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))))
            .current_dir(self.home())
            .output()
            .unwrap();
        self.ended(&output)
    }

    /// The result from `output`, searched for secrets.
    pub fn ended(&self, output: &Output) -> Ended {
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            home: Rc::clone(&self.home),
        };
        for secret in self.secrets() {
            for (place, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
                assert!(
                    !text.contains(&secret),
                    "{place} shows the secret {secret}: {text}"
                );
            }
            // Another call may have removed a file since it was listed. A FIFO would be waited for.
            let mut files = files_below(&self.home.path().join(".local"));
            files.retain(|file| file.is_file());
            for file in files {
                let text =
                    String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into_owned();
                assert!(
                    !text.contains(&secret),
                    "{} holds the secret {secret}",
                    file.display()
                );
            }
        }
        ended
    }

    /// The secrets of the environment, which must never be shown.
    fn secrets(&self) -> Vec<String> {
        let is_secret = |name: &str| {
            (name.ends_with("_KEY") && name != "LANGFUSE_PUBLIC_KEY" && !name.contains("CLIENT"))
                || name.ends_with("_HEADERS")
        };
        let values = self
            .environment
            .iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value);
        let words = values.flat_map(|value| value.split([',', '=', ' ']).map(str::to_owned));
        words
            .filter(|word| word.len() > 10 && word != "Authorization")
            .collect()
    }
}

impl Ended {
    /// Asserts the exit code; a failure shows the whole result.
    #[track_caller]
    pub fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn stdout(&self, text: &str) -> &Self {
        assert_eq!(self.stdout, text, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn stderr_has(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "stderr lacks {text:?}: {self:#?}"
        );
        self
    }

    #[track_caller]
    pub fn stderr_lacks(&self, text: &str) -> &Self {
        assert!(
            !self.stderr.contains(text),
            "stderr has {text:?}: {self:#?}"
        );
        self
    }

    /// Stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout);
        let document = document.unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        assert_fits(&document);
        document
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The default folder of the outbox.
    pub fn outbox(&self) -> PathBuf {
        self.home.path().join(".local/state/langspan/outbox")
    }

    /// The names of the files in the outbox, sorted.
    pub fn outbox_files(&self) -> Vec<String> {
        let names = files_below(&self.outbox());
        names
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    /// The kept export requests.
    pub fn kept(&self) -> Vec<Value> {
        let files = files_below(&self.outbox());
        let kept = files.iter().filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        });
        kept.flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
    }

    /// The trace id in the `trace:` line of stderr.
    #[track_caller]
    pub fn trace_id(&self) -> String {
        let line = self
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("trace: "));
        let line = line.unwrap_or_else(|| panic!("no trace line: {self:#?}"));
        line.rsplit('/').next().unwrap().to_owned()
    }
}

/// Every file below a folder, sorted; empty if there is no folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = found
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    files.sort();
    files
}

/// A request as a scripted server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a scripted server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, content type, body.
    Answer(u16, &'static str, String),
    /// The same with further headers.
    With(u16, Vec<(&'static str, String)>, String),
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, then nothing more; the connection stays open until the client closes it.
    Stall(Vec<u8>),
    /// No answer; the connection stays open until the client closes it.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// Over TLS, a fatal alert in place of an answer.
    Alert,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, "application/json", body.to_string())
    }

    /// A whole SSE body.
    pub fn events(events: &[&str]) -> Self {
        let body = events.join("\n\ndata: ");
        let body = format!("data: {body}\n\n");
        Self::Answer(200, "text/event-stream", body)
    }
}

/// An HTTP server on loopback with scripted answers, which keeps its requests.
#[derive(Debug)]
pub struct Scripted {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

/// The requests to a scripted server, and their number for each path.
#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Request>,
    counts: HashMap<String, usize>,
}

impl Seen {
    /// Remembers a request; returns how many of the same path came before.
    fn add(&mut self, request: &Request) -> usize {
        self.requests.push(request.clone());
        let count = self.counts.entry(request.path.clone()).or_default();
        *count += 1;
        *count - 1
    }
}

impl Scripted {
    /// `reply` answers every request; its second argument is the number of earlier requests to the same path.
    pub fn start(reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("http://127.0.0.1", Some, reply)
    }

    /// The same over TLS, under the name `localhost`. A broken handshake is not a request.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let wrap = move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(StreamOwned::new(session, stream))
        };
        Self::listen("https://localhost", wrap, reply)
    }

    fn listen<S: Connection>(
        origin: &str,
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{origin}:{}", listener.local_addr().unwrap().port());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (known, script) = (Arc::clone(&seen), Arc::new((wrap, reply)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (known, script) = (Arc::clone(&known), Arc::clone(&script));
                thread::spawn(move || {
                    let (wrap, reply) = &*script;
                    wrap(stream).map(|stream| serve(stream, &known, reply))
                });
            }
        });
        Self { url, seen }
    }

    /// Always the same answer.
    pub fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone())
    }

    /// A chat model that answers `text`.
    pub fn model(text: &str) -> Self {
        Self::always(Reply::json(200, &completion(text)))
    }

    /// A Langfuse with one project; `traces` answers exports.
    pub fn langfuse(traces: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |request, count| match request.path.as_str() {
            "/api/public/projects" => Reply::json(
                200,
                &serde_json::json!({"data": [{"id": "p1", "name": "P"}]}),
            ),
            TRACES => traces(request, count),
            _ => Reply::Answer(404, "text/html", "<html></html>".to_owned()),
        })
    }

    /// `sandbox`, except that `traces` answers exports; [`forward`] passes them on to it.
    pub fn before(
        sandbox: &Arc<Sandbox>,
        traces: impl Fn(&Sandbox, &Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        // The server's threads outlive the test; the sandbox must not.
        let sandbox = Arc::downgrade(sandbox);
        Self::start(move |request, count| match sandbox.upgrade() {
            None => Reply::Close,
            Some(sandbox) if request.path == TRACES => traces(&sandbox, request, count),
            Some(sandbox) => forward(&sandbox, request),
        })
    }

    /// `sandbox`, except for requests that `script` answers; its second argument is the number of earlier requests to
    /// the same path.
    pub fn in_front_of(
        sandbox: &Arc<Sandbox>,
        script: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        // The server's threads outlive the test; the sandbox must not.
        let sandbox = Arc::downgrade(sandbox);
        Self::start(move |request, count| {
            script(request, count).unwrap_or_else(|| match sandbox.upgrade() {
                Some(sandbox) => forward(&sandbox, request),
                None => Reply::Close,
            })
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().requests.len()
    }

    /// The export requests.
    pub fn exports(&self) -> Vec<Request> {
        self.requests_to(TRACES)
    }

    /// The requests to a path.
    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        self.requests()
            .into_iter()
            .filter(|request| request.path.split('?').next() == Some(path))
            .collect()
    }
}

/// A `chat.completion` body that answers `text`.
pub fn completion(text: &str) -> Value {
    serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 23, "completion_tokens": 35, "total_tokens": 58,
                  "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 5}}
    })
}

/// Passes a request on to a sandbox, with the sandbox's keys; returns its answer.
pub fn forward(sandbox: &Sandbox, request: &Request) -> Reply {
    let answer = if request.method == "GET" {
        sandbox.get(&request.path)
    } else {
        let headers: Vec<(&str, &str)> = ["content-type", "content-encoding"]
            .into_iter()
            .map(|name| (name, request.header(name)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let authorization = sandbox.authorization();
        let headers = [&[("authorization", authorization.as_str())], &headers[..]].concat();
        sandbox.send(
            &request.method,
            &request.path,
            &headers,
            request.body.clone(),
        )
    };
    Reply::Answer(answer.status, "application/json", answer.body)
}

/// A port of loopback without a listener, which no other test gets.
pub fn dead_url() -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Bound and not listening for as long as the tests run.
    std::mem::forget(socket);
    format!("http://{address}")
}

/// A connection that a scripted server answers on, with or without TLS.
trait Connection: Read + Write + 'static {
    fn socket(&self) -> &TcpStream;

    /// Sends a fatal alert. Without TLS there is none.
    fn alert(&mut self) {}
}

impl Connection for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Connection for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }

    fn alert(&mut self) {
        // A record that cannot be decrypted makes the server send one.
        let mut record: &[u8] = &[[23, 3, 3, 0, 32].as_slice(), &[0; 32]].concat();
        self.conn.read_tls(&mut record).unwrap();
        assert!(self.conn.process_new_packets().is_err());
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.sock).unwrap();
        }
    }
}

fn serve(stream: impl Connection, seen: &Mutex<Seen>, reply: &impl Fn(&Request, usize) -> Reply) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let count = seen.lock().unwrap().add(&request);
        let (status, headers, body) = match reply(&request, count) {
            Reply::Answer(status, content_type, body) => (
                status,
                vec![("content-type", content_type.to_owned())],
                body,
            ),
            Reply::With(status, headers, body) => (status, headers, body),
            Reply::Bytes(bytes) => {
                let _ = reader.get_mut().write_all(&bytes);
                return;
            }
            Reply::Stall(bytes) => {
                let _ = reader.get_mut().write_all(&bytes);
                let _ = reader.read(&mut [0]);
                return;
            }
            Reply::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
            Reply::Close => return,
            Reply::Alert => {
                reader.get_mut().alert();
                return;
            }
            Reply::Reset => {
                // Closing with nothing left to linger for resets the connection.
                let _ = SockRef::from(reader.get_ref().socket()).set_linger(Some(Duration::ZERO));
                return;
            }
        };
        let mut head = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.extend([name, ": ", &value, "\r\n"]);
        }
        let answer = format!("{head}\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request of a connection; `None` when the client has closed it.
pub fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

/// Waits until `is_so`, for at most half a minute.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}
