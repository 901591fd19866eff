//! The model and the Langfuse that the commands talk to, in a process of its own: the bench binary started again.
//!
//! Four listeners (model and Langfuse, plain and TLS), each with threads that wait in `accept`, so that no thread is
//! started while a command is measured. Steered by lines of JSON: a script in, what was seen since the last one out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::process::nanos;

/// The argument that makes the bench binary a stand-in.
pub const ARGUMENT: &str = "--stand-in";

/// Connections that one listener serves at once.
const THREADS: usize = 16;

/// How the stand-in behaves from now on.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// Before the model answers.
    pub model_delay: Duration,
    /// Before an export is answered.
    pub export_delay: Duration,
    /// Between the chunks of a streamed answer.
    pub chunk_gap: Duration,
    pub chunks: usize,
}

/// What happened under a script.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub connections: BTreeMap<Host, usize>,
    pub chats: usize,
    pub exports: usize,
    /// When the last byte of the last answer of the model was written, in nanoseconds since 1970.
    pub answered: u128,
    /// How long the last export was really kept waiting: a sleep is never as short as it was asked to be.
    pub export_took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Host {
    Model,
    Langfuse,
}

/// Where the stand-in listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ports {
    model: u16,
    langfuse: u16,
    tls_model: u16,
    tls_langfuse: u16,
}

/// A running stand-in; it ends when this value is dropped.
#[derive(Debug)]
pub struct StandIn {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: PathBuf,
    ports: Ports,
}

impl StandIn {
    pub fn start(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let ports = read_line(&mut answers);
        Self {
            process,
            orders,
            answers,
            dir: dir.to_owned(),
            ports,
        }
    }

    /// Changes the script; says what was seen under the last one.
    pub fn follow(&mut self, script: Script) -> Seen {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{}", serde_json::to_string(&script).unwrap()).unwrap();
        read_line(&mut self.answers)
    }

    pub fn model(&self, tls: bool) -> String {
        let (scheme, port) = if tls {
            ("https", self.ports.tls_model)
        } else {
            ("http", self.ports.model)
        };
        format!("{scheme}://127.0.0.1:{port}/v1")
    }

    pub fn langfuse(&self, tls: bool) -> String {
        let (scheme, port) = if tls {
            ("https", self.ports.tls_langfuse)
        } else {
            ("http", self.ports.langfuse)
        };
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// The authority that signed the stand-in's certificate.
    pub fn authority(&self) -> PathBuf {
        authority(&self.dir)
    }

    /// The body of the last export, as it came.
    pub fn export_body(&self) -> PathBuf {
        export_body(&self.dir)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.process.wait();
    }
}

fn authority(dir: &Path) -> PathBuf {
    dir.join("authority.pem")
}

fn export_body(dir: &Path) -> PathBuf {
    dir.join("export.bin")
}

pub fn read_line<T: for<'de> Deserialize<'de>>(from: &mut impl BufRead) -> T {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

struct State {
    dir: PathBuf,
    now: Mutex<(Script, Seen)>,
}

/// The stand-in itself: serves until stdin ends.
pub fn serve(dir: &Path) {
    let state = Arc::new(State {
        dir: dir.to_owned(),
        now: Mutex::default(),
    });
    let tls = Arc::new(certify(dir));
    let ports = Ports {
        model: listen(Host::Model, None, &state),
        langfuse: listen(Host::Langfuse, None, &state),
        tls_model: listen(Host::Model, Some(&tls), &state),
        tls_langfuse: listen(Host::Langfuse, Some(&tls), &state),
    };
    println!("{}", serde_json::to_string(&ports).unwrap());
    for line in io::stdin().lines() {
        let script = serde_json::from_str(&line.unwrap()).unwrap();
        let (_, seen) =
            std::mem::replace(&mut *state.now.lock().unwrap(), (script, Seen::default()));
        println!("{}", serde_json::to_string(&seen).unwrap());
    }
}

/// Makes an authority and a certificate for 127.0.0.1.
fn certify(dir: &Path) -> ServerConfig {
    let mut params = CertificateParams::default();
    // OpenSSL takes a certificate whose subject is its issuer's for one that signed itself.
    let name = "langspan bench authority";
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(authority(dir), issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap()
}

fn listen(host: Host, tls: Option<&Arc<ServerConfig>>, state: &Arc<State>) -> u16 {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    for _ in 0..THREADS {
        let (listener, tls, state) = (Arc::clone(&listener), tls.cloned(), Arc::clone(state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                let mut now = state.now.lock().unwrap();
                *now.1.connections.entry(host).or_default() += 1;
                drop(now);
                // A client that leaves in the middle is no matter of the stand-in's.
                let _ = match &tls {
                    None => converse(stream, &state),
                    Some(tls) => secure(stream, tls).and_then(|stream| converse(stream, &state)),
                };
            }
        });
    }
    port
}

fn secure(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Answers request after request.
fn converse(stream: impl Read + Write, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = read_request(&mut stream)? {
        let script = state.now.lock().unwrap().0;
        let out = stream.get_mut();
        if path.ends_with("/chat/completions") {
            thread::sleep(script.model_delay);
            let mut answered = nanos();
            let is_stream = body.windows(13).any(|part| part == b"\"stream\":true");
            if is_stream {
                chunks(out, script)?;
                answered = nanos();
            } else {
                answer(out, "application/json", COMPLETION)?;
            }
            let mut now = state.now.lock().unwrap();
            now.1.answered = answered;
            now.1.chats += 1;
        } else if path.ends_with("/v1/traces") {
            let arrived = Instant::now();
            thread::sleep(script.export_delay);
            let took = arrived.elapsed();
            answer(out, "application/json", "{}")?;
            let mut now = state.now.lock().unwrap();
            now.1.exports += 1;
            now.1.export_took = took;
            drop(now);
            fs::write(export_body(&state.dir), body)?;
        } else {
            answer(out, "application/json", PROJECTS)?;
        }
    }
    Ok(())
}

/// The path and the body of the next request; none when the client has left.
fn read_request(stream: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((path, body)))
}

fn answer(out: &mut impl Write, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    out.write_all(format!("{head}{body}").as_bytes())?;
    out.flush()
}

/// A streamed answer, each word of which is the time when it was sent.
fn chunks(out: &mut impl Write, script: Script) -> io::Result<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    for _ in 0..script.chunks {
        thread::sleep(script.chunk_gap);
        let delta = format!(r#"{{"content":"{} "}}"#, nanos());
        chunk(out, &event(&delta, "null"))?;
    }
    chunk(out, &event("{}", "\"stop\""))?;
    chunk(out, "data: [DONE]\n\n")?;
    chunk(out, "")
}

fn event(delta: &str, finish_reason: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}]}}\n\n"
    )
}

fn chunk(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
    out.flush()
}

pub const PROJECTS: &str = r#"{"data":[{"id":"bench","name":"bench","organization":{"id":"o","name":"o"},"metadata":{}}]}"#;

pub const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"A trace shows what a call cost, how long it took, and why it went wrong.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":23,"completion_tokens":35,"total_tokens":58,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":0}},"service_tier":"default"}"#;
