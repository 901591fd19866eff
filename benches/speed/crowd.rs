//! The model and the Langfuse of a batch, in a process of its own: the bench binary started again.
//!
//! One thread serves any number of connections at little cost, since what it takes is missing to the command that is
//! measured. Steered by lines of JSON: a script in, what was seen since the last one out.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::process::nanos;
use crate::stand_in::{COMPLETION, PROJECTS, read_line};

/// The argument that makes the bench binary a crowd's stand-in.
pub const ARGUMENT: &str = "--crowd";

/// How the stand-in behaves from now on.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// Before the model answers.
    pub model_delay: Duration,
    /// Before an export is answered.
    pub export_delay: Duration,
    /// Every third export is answered 503.
    pub is_shaky: bool,
    /// The text of an answer, in bytes; 0 for the answer of `stand_in`.
    pub answer_bytes: usize,
}

/// What happened under a script. Times are nanoseconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub chats: u64,
    /// When the first request came.
    pub began: u128,
    /// When the first answer went out.
    pub answered_first: u128,
    /// When the last answer went out.
    pub answered: u128,
    pub exports: u64,
    /// Spans of accepted exports.
    pub spans: u64,
    /// Those of them with an id of their own.
    pub distinct_spans: u64,
}

/// A running stand-in; it ends when this value is dropped.
#[derive(Debug)]
pub struct Crowd {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Crowd {
    pub fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let port = read_line(&mut answers);
        Self {
            process,
            orders,
            answers,
            port,
        }
    }

    /// Changes the script; says what was seen under the last one.
    pub fn follow(&mut self, script: Script) -> Seen {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{}", serde_json::to_string(&script).unwrap()).unwrap();
        read_line(&mut self.answers)
    }

    /// Where model and Langfuse are.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.process.wait();
    }
}

#[derive(Default)]
struct State {
    script: Script,
    /// What the model answers.
    completion: String,
    seen: Seen,
    ids: HashSet<u64>,
}

/// The stand-in itself: serves until stdin ends.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let state = Rc::new(RefCell::new(State::default()));
        let accepting = Rc::clone(&state);
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let state = Rc::clone(&accepting);
                // A client that leaves in the middle is no matter of the stand-in's.
                spawn_local(async move { drop(converse(stream, &state).await) });
            }
        });
        obey(&state).await;
    });
}

/// Takes orders until there are no more.
async fn obey(state: &RefCell<State>) {
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        let mut state = state.borrow_mut();
        state.script = serde_json::from_str(&order).unwrap();
        state.completion = match state.script.answer_bytes {
            0 => ok(COMPLETION),
            length => ok(&completion(length)),
        };
        let mut seen = std::mem::take(&mut state.seen);
        seen.distinct_spans = std::mem::take(&mut state.ids).len() as u64;
        println!("{}", serde_json::to_string(&seen).unwrap());
    }
}

/// Answers request after request.
async fn converse(stream: TcpStream, state: &RefCell<State>) -> io::Result<()> {
    let mut stream = tokio::io::BufReader::with_capacity(16 << 10, stream);
    let mut head = Vec::new();
    let mut body = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await? == 0 {
                return Ok(());
            }
        }
        body.resize(content_length(&head), 0);
        stream.read_exact(&mut body).await?;
        let answer = answer(&head, &body, state).await;
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let value = line.map(|line| str::from_utf8(&line[NAME.len()..]).unwrap());
    value.map_or(0, |value| value.trim().parse().unwrap())
}

async fn answer(head: &[u8], body: &[u8], state: &RefCell<State>) -> String {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let script = state.borrow().script;
    if path.ends_with(b"/chat/completions") {
        let now = nanos();
        {
            let seen = &mut state.borrow_mut().seen;
            if seen.chats == 0 {
                seen.began = now;
            }
            seen.chats += 1;
        }
        if !script.model_delay.is_zero() {
            sleep(script.model_delay).await;
        }
        let now = nanos();
        let state = &mut *state.borrow_mut();
        if state.seen.answered_first == 0 {
            state.seen.answered_first = now;
        }
        state.seen.answered = now;
        state.completion.clone()
    } else if path.ends_with(b"/v1/traces") {
        if !script.export_delay.is_zero() {
            sleep(script.export_delay).await;
        }
        let state = &mut *state.borrow_mut();
        state.seen.exports += 1;
        if script.is_shaky && state.seen.exports.is_multiple_of(3) {
            return "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned();
        }
        for id in span_ids(body) {
            state.seen.spans += 1;
            state.ids.insert(id);
        }
        ok("{}")
    } else if path.starts_with(b"/api/public/models") {
        ok(PRICES)
    } else {
        ok(PROJECTS)
    }
}

/// The price of the model that answers, below that of another.
const PRICES: &str = r#"{"data":[{"modelName":"gpt-4o","matchPattern":"(?i)^(gpt-4o)$","isLangfuseManaged":true,"prices":{"input":{"price":0.0000025},"output":{"price":0.00001}}},{"modelName":"gpt-4o-mini","matchPattern":"(?i)^(gpt-4o-mini(-2024-07-18)?)$","isLangfuseManaged":true,"prices":{"input":{"price":0.00000015},"input_cached_tokens":{"price":0.000000075},"output":{"price":0.0000006}}}],"meta":{"totalPages":1}}"#;

/// The answer of `stand_in` with a text of this length.
fn completion(length: usize) -> String {
    const SHORT: &str = "A trace shows what a call cost, how long it took, and why it went wrong.";
    let sentence = "A trace shows what a \"call\" cost, how long it took, and why.\\n";
    let text: String = sentence.chars().cycle().take(length).collect();
    // Not in the middle of an escape.
    let text = text.trim_end_matches('\\');
    COMPLETION.replace(SHORT, &text.replace('"', "\\\""))
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The ids of the spans of an `ExportTraceServiceRequest`, found without decoding the rest.
fn span_ids(request: &[u8]) -> impl Iterator<Item = u64> {
    const RESOURCE_SPANS: u64 = 1;
    const SCOPE_SPANS: u64 = 2;
    const SPANS: u64 = 2;
    const SPAN_ID: u64 = 2;
    fields(request, RESOURCE_SPANS)
        .flat_map(|resource| fields(resource, SCOPE_SPANS))
        .flat_map(|scope| fields(scope, SPANS))
        .flat_map(|span| fields(span, SPAN_ID))
        .map(|id| u64::from_be_bytes(id.try_into().unwrap()))
}

/// The fields of bytes with this number of a protobuf message.
fn fields(mut message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !message.is_empty() {
            let tag = varint(&mut message);
            let length = match tag & 7 {
                0 => {
                    varint(&mut message);
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => usize::try_from(varint(&mut message)).unwrap(),
            };
            let (field, rest) = message.split_at(length);
            message = rest;
            if tag & 7 == 2 && tag >> 3 == wanted {
                return Some(field);
            }
        }
        None
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// The other side of a comparison: the same requests, 64 at once, and nothing else.
pub fn bare(path: &Path, url: &str) {
    use std::io::BufRead;

    use futures_util::StreamExt;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The client wants one, although nothing is encrypted here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let lines = BufReader::new(std::fs::File::open(path).unwrap()).lines();
        let calls = lines.map(|line| {
            let call = client
                .post(url)
                .header("content-type", "application/json")
                .header("authorization", "Bearer sk-bench")
                .body(line.unwrap());
            async move { call.send().await.unwrap().bytes().await.unwrap() }
        });
        let mut calls = futures_util::stream::iter(calls).buffer_unordered(64);
        while calls.next().await.is_some() {}
    });
}
