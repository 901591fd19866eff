//! What `langspan exec` costs: starting a child, a proxied call, a chunk of a stream, each beside the same without it; and
//! the memory of a long run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::commands;
use crate::machine;
use crate::process::PEAK_ARGUMENT;

/// The argument that makes the bench binary the child that calls the model.
pub const CALLS_ARGUMENT: &str = "--exec-calls";
/// The argument that makes the bench binary the child that tells when it has started.
pub const STARTED_ARGUMENT: &str = "--exec-started";
/// The argument that makes the bench binary the child of a long run.
pub const LONG_ARGUMENT: &str = "--exec-long";

const CALLS: usize = 400;
const STREAMS: usize = 20;
const CHUNKS: usize = 50;
/// A long run: this many exports of so many spans each, and calls.
const EXPORTS: usize = 100;
const SPANS: usize = 100;
const LONG_CALLS: usize = 1000;

/// Prints the figures beside their goals.
pub fn measure(rounds: usize) {
    let server = serve();
    let home = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let through = |arguments: &[&str]| {
        let mut command = Command::new(commands::binary());
        command
            .args(["exec", "-q", "--", own])
            .args(arguments)
            .env("HOME", home.path())
            .env("OPENAI_BASE_URL", format!("{server}/v1"))
            .env("LANGFUSE_BASE_URL", &server)
            .env("LANGFUSE_PUBLIC_KEY", "pk-lf-bench")
            .env("LANGFUSE_SECRET_KEY", "sk-lf-bench");
        command
    };
    let bare = || {
        let mut command = Command::new(own);
        command.arg(STARTED_ARGUMENT);
        command
    };
    let (mut direct, mut wrapped) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        direct.push(start_of(bare()));
        wrapped.push(start_of(through(&[STARTED_ARGUMENT])));
    }
    let (direct, wrapped) = (median(direct), median(wrapped));
    println!(
        "exec: a child starts after {wrapped:.2} ms, bare {direct:.2} ms: {:.2} ms more (goal 5)",
        wrapped - direct
    );
    let output = through(&[CALLS_ARGUMENT, &server]).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let peak = peak_of(&through(&[LONG_ARGUMENT]));
    println!(
        "exec: {} spans and {LONG_CALLS} calls of one child take {peak:.1} MiB at most (goal 64)",
        EXPORTS * SPANS
    );
    println!("exec: load {}, {}", machine::load(), machine::describe());
}

/// The peak memory of a command, in mebibytes, found by a process that has only this child.
fn peak_of(command: &Command) -> f64 {
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone
        .arg(PEAK_ARGUMENT)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        alone.env(name, value.unwrap());
    }
    let output = alone.output().unwrap();
    let kibibytes: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    kibibytes / 1024.0
}

/// The child of a long run: it exports spans, and asks the model.
pub fn run_long() {
    let traces = std::env::var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").unwrap();
    let mut exporter = Connection::open(&traces);
    let text = "x".repeat(1000);
    for export in 0..EXPORTS {
        let spans: Vec<String> = (0..SPANS)
            .map(|place| span(export * SPANS + place, &text))
            .collect();
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            spans.join(",")
        );
        exporter.post(&body);
        exporter.read();
    }
    let mut model = Connection::open_chat(&std::env::var("OPENAI_BASE_URL").unwrap());
    for _ in 0..LONG_CALLS {
        model.ask(false);
    }
}

fn span(number: usize, text: &str) -> String {
    let (id, end) = (number + 1, now());
    format!(
        r#"{{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"{id:016x}","name":"s","startTimeUnixNano":"{}","endTimeUnixNano":"{end}","attributes":[{{"key":"input.value","value":{{"stringValue":"{text}"}}}},{{"key":"output.value","value":{{"stringValue":"{text}"}}}}]}}"#,
        end - 1_000_000
    )
}

/// How long after its command was started a child runs, in milliseconds.
fn start_of(mut command: Command) -> f64 {
    let before = now();
    let output = command.output().unwrap();
    let started: u128 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    (started - before) as f64 / 1e6
}

/// The child that tells when it has started.
pub fn print_start() {
    println!("{}", now());
}

/// The child that calls the model, directly and through the proxy in turn, and prints the medians.
pub fn call(server: &str) {
    let proxied = std::env::var("OPENAI_BASE_URL").unwrap();
    let urls = [format!("{server}/v1"), proxied];
    let mut connections: Vec<Connection> =
        urls.iter().map(|url| Connection::open_chat(url)).collect();
    let (mut calls, mut chunks) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..CALLS {
        for (connection, times) in connections.iter_mut().zip(&mut calls) {
            let before = Instant::now();
            connection.ask(false);
            times.push(before.elapsed().as_secs_f64() * 1e3);
        }
    }
    for _ in 0..STREAMS {
        for (connection, times) in connections.iter_mut().zip(&mut chunks) {
            times.extend(connection.ask(true));
        }
    }
    for (what, [direct, proxied], goal) in [("call", calls, 1.0), ("chunk", chunks, 0.2)] {
        let (direct, proxied) = (median(direct), median(proxied));
        println!(
            "exec: a {what} takes {proxied:.3} ms through the proxy, {direct:.3} ms directly: {:.3} ms more (goal {goal})",
            proxied - direct
        );
    }
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
    place: String,
    path: String,
}

impl Connection {
    fn open(url: &str) -> Self {
        let (place, path) = url
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let stream = TcpStream::connect(place).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            place: place.to_owned(),
            path: format!("/{path}"),
        }
    }

    fn open_chat(url: &str) -> Self {
        Self::open(&format!("{url}/chat/completions"))
    }

    fn post(&mut self, body: &str) {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.path,
            self.place,
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
    }

    /// Reads the head of an answer; returns the length of its body.
    fn head(&mut self) -> usize {
        let mut length = 0;
        loop {
            let line = self.line();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if line.is_empty() {
                return length;
            }
        }
    }

    /// Reads a whole answer.
    fn read(&mut self) {
        let mut body = vec![0; self.head()];
        self.stream.read_exact(&mut body).unwrap();
    }

    /// One call; of a stream, how long each chunk was under way, in milliseconds.
    fn ask(&mut self, stream: bool) -> Vec<f64> {
        let body = format!(
            r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
        );
        self.post(&body);
        if !stream {
            self.read();
            return Vec::new();
        }
        self.head();
        let mut delays = Vec::new();
        loop {
            let line = self.line();
            if let Some(sent) = line.split("\"sent\":").nth(1) {
                let sent: u128 = sent.split('}').next().unwrap().parse().unwrap();
                delays.push(now().saturating_sub(sent) as f64 / 1e6);
            }
            if line == "0" {
                self.line();
                return delays;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_lowercase()
    }
}

/// A model, and a Langfuse that takes everything.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut stream = BufReader::new(stream);
                while answer(&mut stream).is_some() {}
            });
        }
    });
    url
}

fn answer(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
        if first.is_empty() {
            first = line;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let is_stream = String::from_utf8_lossy(&body).contains("\"stream\":true");
    let out = stream.get_mut();
    if is_stream {
        return stream_answer(out);
    }
    let body = if first.contains("chat") {
        r#"{"id":"c","model":"m","choices":[{"message":{"role":"assistant","content":"Hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#
    } else {
        r#"{"data":[{"id":"p","name":"p"}]}"#
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    out.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes())
        .ok()
}

fn stream_answer(out: &mut TcpStream) -> Option<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .ok()?;
    let mut send = |data: &str| {
        let event = format!("data: {data}\n\n");
        out.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .ok()
    };
    for _ in 0..CHUNKS {
        thread::sleep(Duration::from_millis(2));
        send(&format!(
            r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{{"content":"x"}}}}],"sent":{}}}"#,
            now()
        ))?;
    }
    send("[DONE]")?;
    out.write_all(b"0\r\n\r\n").ok()
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
