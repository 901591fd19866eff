//! Langfuse Cloud on loopback: a proxy that takes `CONNECT` to any host and answers in that host's name, with a
//! certificate of its own.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::support::harness::{Langspan, read_request};

/// What the proxy was asked: a tunnel to a host, or within one a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub host: String,
    /// `CONNECT` for a tunnel.
    pub method: String,
    /// The port, for a tunnel.
    pub path: String,
    pub has_keys: bool,
}

/// The status and the body of an answer.
pub type Answer = (u16, Value);

/// Answers by host and path.
type Script = dyn Fn(&str, &str) -> Option<Answer> + Send + Sync;

/// Every host of the internet, as far as a call knows.
#[derive(Debug)]
pub struct Cloud {
    url: String,
    certificate: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Cloud {
    /// Answers requests by host and path; `None` refuses the tunnel to that host.
    pub fn start(answer: impl Fn(&str, &str) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let hosts = [
            "cloud.langfuse.com",
            "*.cloud.langfuse.com",
            "*.example.org",
        ];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(hosts.map(str::to_owned)).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let cloud = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            certificate: cert.pem(),
            asked: Arc::clone(&asked),
        };
        let proxy = Arc::new(Proxy {
            config: Arc::new(config),
            answer: Box::new(answer),
            asked,
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let proxy = Arc::clone(&proxy);
                thread::spawn(move || proxy.serve(&stream));
            }
        });
        cloud
    }

    /// The call, for which this is the internet.
    pub fn around(&self, call: Langspan) -> Langspan {
        call.file("cloud.pem", &self.certificate);
        let call = call.arg("--ca-file").arg("cloud.pem");
        call.env("HTTPS_PROXY", &self.url)
            .env("HTTP_PROXY", &self.url)
            .env("NO_PROXY", "127.0.0.1")
    }

    /// As PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The hosts that tunnels were dug to, sorted.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<_> = self.asked().into_iter().map(|asked| asked.host).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

struct Proxy {
    config: Arc<ServerConfig>,
    answer: Box<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    fn note(&self, host: &str, method: &str, path: &str, has_keys: bool) {
        self.asked.lock().unwrap().push(Asked {
            host: host.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            has_keys,
        });
    }

    fn serve(&self, mut stream: &TcpStream) {
        let Some(request) = read_request(&mut BufReader::new(stream)) else {
            return;
        };
        if request.method != "CONNECT" {
            // A request without encryption, which must not happen, is noted.
            let has_keys = !request.header("authorization").is_empty();
            self.note(
                request.header("host"),
                &request.method,
                &request.path,
                has_keys,
            );
            return;
        }
        let Some((host, port)) = request.path.split_once(':') else {
            return;
        };
        self.note(
            host,
            "CONNECT",
            port,
            !request.header("authorization").is_empty(),
        );
        if (self.answer)(host, "").is_none() {
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let connection = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut tunnel = BufReader::new(StreamOwned::new(connection, stream));
        while let Some(request) = read_request(&mut tunnel) {
            let has_keys = !request.header("authorization").is_empty();
            self.note(host, &request.method, &request.path, has_keys);
            let Some((status, body)) = (self.answer)(host, &request.path) else {
                return;
            };
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if tunnel.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
