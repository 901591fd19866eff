//! Forward proxies that the environment names: they are used except for excluded hosts, and see no key in what
//! they tunnel.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::certificates::{Authority, Flaw};
use crate::support::harness::{
    Langspan, Reply, Request, Scripted, TRACES, completion, dead_url, read_request,
};
use crate::support::memory::Memory;
use crate::support::untouched::Untouched;

/// A forward proxy on loopback: plain requests in their absolute form, and tunnels.
struct Proxy {
    url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    fn start() -> Self {
        Self::routing(|authority| Ok(authority.to_owned()))
    }

    /// One that answers everything with this status.
    fn refusing(status: u16) -> Self {
        Self::routing(move |_| Err(status))
    }

    /// One that reaches a host and port at the address that `route` gives, or answers a status.
    fn routing(route: impl Fn(&str) -> Result<String, u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (known, route) = (Arc::clone(&seen), Arc::new(route));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (known, route) = (Arc::clone(&known), Arc::clone(&route));
                thread::spawn(move || pass_on(&stream, &known, &*route));
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// What was asked for, in the words of the request line.
    fn asked(&self) -> Vec<String> {
        let seen = self.seen();
        seen.iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

fn pass_on(
    client: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    route: &impl Fn(&str) -> Result<String, u16>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut client = client;
    while let Some(request) = read_request(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let is_tunnel = request.method == "CONNECT";
        let rest = request
            .path
            .strip_prefix("http://")
            .unwrap_or(&request.path);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = match route(authority) {
            Ok(address) => address,
            Err(status) => {
                let words = "proxy-authenticate: Basic realm=\"p\"\r\ncontent-length: 0";
                return write!(
                    client,
                    "HTTP/1.1 {status} No\r\n{words}\r\nconnection: close\r\n\r\n"
                );
            }
        };
        let mut server = TcpStream::connect(address)?;
        if is_tunnel {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut up, &mut down);
                down.shutdown(Shutdown::Write)
            });
            io::copy(&mut server, &mut client)?;
            return client.shutdown(Shutdown::Both);
        }
        write!(server, "{} /{path} HTTP/1.1\r\n", request.method)?;
        for (name, value) in &request.headers {
            if !name.starts_with("proxy-") {
                write!(server, "{name}: {value}\r\n")?;
            }
        }
        server.write_all(b"\r\n")?;
        server.write_all(&request.body)?;
        server.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        client.write_all(&answer)?;
    }
    Ok(())
}

fn host(url: &str) -> &str {
    url.split("://").nth(1).unwrap()
}

/// At a Langfuse on another machine, which would be sent compressed spans.
fn remote(call: Langspan) -> Langspan {
    call.langfuse_at(LANGFUSE)
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
}

const MODEL: &str = "http://model.example";
const LANGFUSE: &str = "http://langfuse.example";

/// A chat at a Langfuse of which only the ids are kept.
struct Servers {
    model: Scripted,
    langfuse: Scripted,
}

impl Servers {
    fn start() -> Self {
        let memory = Memory::default();
        let langfuse = Scripted::start(move |request, _| memory.answer(request));
        let model = Scripted::model("hi");
        Self { model, langfuse }
    }

    /// A chat with these servers, which are on this machine.
    fn chat(&self) -> Langspan {
        Langspan::new(&["chat", "--no-stdin", "Hello"])
            .model_at(self.model.url())
            .langfuse_at(self.langfuse.url())
    }

    /// A chat with these servers under names that only [`proxy`](Self::proxy) knows.
    fn remote_chat(&self) -> Langspan {
        remote(self.chat().model_at(MODEL))
    }

    fn proxy(&self) -> Proxy {
        let (model, langfuse) = (self.model.url(), self.langfuse.url());
        let (model, langfuse) = (host(model).to_owned(), host(langfuse).to_owned());
        Proxy::routing(move |authority| match authority {
            "model.example" => Ok(model.clone()),
            "langfuse.example" => Ok(langfuse.clone()),
            _ => Err(502),
        })
    }
}

/// A Langfuse over TLS, and a chat that trusts it and reaches its model without a proxy.
fn secure_chat() -> (Langspan, Scripted, Scripted) {
    let (authority, memory) = (Authority::new(), Memory::default());
    let config = authority.server(Flaw::None).serving();
    let langfuse = Scripted::start_tls(config, move |request, _| memory.answer(request));
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    let file = call.file("authority.pem", &authority.pem);
    let call = call.arg("--ca-file").arg(file.to_str().unwrap());
    (call, model, langfuse)
}

#[test]
fn plain_requests_go_through_the_proxy() {
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let servers = Servers::start();
        let proxy = servers.proxy();
        // A proxy without a scheme speaks HTTP.
        let ended = servers.remote_chat().env(variable, host(&proxy.url)).run();
        ended.code(0).stdout("hi\n");
        let asked = proxy.asked();
        for url in [
            format!("POST {MODEL}/chat/completions"),
            format!("POST {LANGFUSE}{TRACES}"),
        ] {
            assert!(
                asked.contains(&url),
                "{variable}: {url} is not in {asked:#?}"
            );
        }
        assert_eq!(servers.langfuse.exports().len(), 1);
    }
}

#[test]
fn secure_requests_are_tunnelled_and_the_proxy_sees_no_key() {
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let (call, _model, langfuse) = secure_chat();
        let proxy = Proxy::start();
        let ended = call.env(variable, &proxy.url).run();
        ended.code(0).stdout("hi\n");
        assert_eq!(langfuse.exports().len(), 1);
        let expected = format!("CONNECT {}", host(langfuse.url()));
        let asked = proxy.asked();
        assert!(
            !asked.is_empty() && asked.iter().all(|line| *line == expected),
            "{asked:?}"
        );
        for request in proxy.seen() {
            let shown = format!("{request:?}");
            let basic = STANDARD.encode("pk-lf-sandbox:sk-lf-sandbox");
            for key in [
                "pk-lf-sandbox",
                "sk-lf-sandbox",
                basic.as_str(),
                "authorization",
            ] {
                assert!(!shown.contains(key), "{key}: {shown}");
            }
        }
    }
}

#[test]
fn a_resend_uses_the_proxy() {
    let servers = Servers::start();
    let proxy = servers.proxy();
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let earlier = servers.chat().langfuse_at(refusing.url()).run();
    earlier.code(5);
    let resent = remote(Langspan::new(&["resend"]))
        .after(&earlier)
        .env("HTTP_PROXY", &proxy.url)
        .run();
    resent.code(0);
    assert_eq!(proxy.asked(), [format!("POST {LANGFUSE}{TRACES}")]);
}

#[test]
fn plain_requests_to_this_machine_use_no_proxy() {
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (servers, proxy) = (Servers::start(), Untouched::start());
        let call = servers.chat().arg("--verify").arg("--wait").arg("0.1");
        // Its rows are bare ids, so that the read-back fails: only the connections matter.
        call.env(variable, proxy.url()).run().stdout("hi\n");
        assert_eq!(servers.langfuse.exports().len(), 1, "{variable}");
        proxy.assert_untouched();
    }
}

#[test]
fn hosts_that_need_no_proxy_are_reached_without_it() {
    for (variable, hosts) in [
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("no_proxy", "example.org, 127.0.0.1, localhost"),
        ("NO_PROXY", "127.0.0.0/8,localhost"),
        ("NO_PROXY", "*"),
    ] {
        let (servers, proxy) = (Servers::start(), Untouched::start());
        let (secure, _model, _langfuse) = secure_chat();
        for call in [servers.chat(), secure] {
            let call = call
                .env("HTTP_PROXY", proxy.url())
                .env("HTTPS_PROXY", proxy.url());
            let ended = call.env(variable, hosts).run();
            assert_eq!(ended.code, Some(0), "{variable}={hosts}: {ended:#?}");
        }
        proxy.assert_untouched();
    }
}

#[test]
fn proxy_credentials_are_sent() {
    let servers = Servers::start();
    let (plain, tunnel) = (servers.proxy(), Proxy::start());
    let (secure, _model, langfuse) = secure_chat();
    let with_password = |proxy: &Proxy| proxy.url.replace("://", "://anna:pass-word-1@");
    for call in [servers.remote_chat(), secure] {
        let call = call
            .env("HTTP_PROXY", &with_password(&plain))
            .env("HTTPS_PROXY", &with_password(&tunnel));
        let ended = call.arg("-vvv").run();
        ended.code(0).stderr_lacks("pass-word-1");
        let basic = STANDARD.encode("anna:pass-word-1");
        ended.stderr_lacks(&basic);
    }
    let expected = format!("Basic {}", STANDARD.encode("anna:pass-word-1"));
    let seen = [plain.seen(), tunnel.seen()];
    assert!(seen.iter().all(|seen| !seen.is_empty()));
    for request in seen.concat() {
        assert_eq!(
            request.header("proxy-authorization"),
            expected,
            "{request:?}"
        );
    }
    for request in [servers.langfuse.requests(), langfuse.requests()].concat() {
        assert_eq!(request.header("proxy-authorization"), "", "{request:?}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named_and_the_spans_wait() {
    for status in [407, 502] {
        let servers = Servers::start();
        let (secure, _model, langfuse) = secure_chat();
        let proxy = Proxy::refusing(status);
        let number = status.to_string();
        let plain = servers.chat().langfuse_at("http://langfuse.example:3000");
        for (call, words) in [
            (
                plain,
                [("error:", number.as_str()), ("hint:", "HTTP_PROXY")],
            ),
            // Of a tunnel it is the proxy that has answered.
            (
                secure,
                [("error:", "HTTPS_PROXY"), ("hint:", "HTTPS_PROXY")],
            ),
        ] {
            let ended = call
                .env("HTTP_PROXY", &proxy.url)
                .env("HTTPS_PROXY", &proxy.url)
                // The model is reached without it.
                .env("NO_PROXY", "127.0.0.1")
                .arg("--export-timeout")
                .arg("1")
                .run();
            ended.code(5).stdout("hi\n");
            for (label, word) in words {
                let mut lines = ended.stderr.lines();
                let line = lines.find(|line| line.starts_with(label)).unwrap();
                assert!(
                    line.contains(word),
                    "{status}: {word:?} is not said: {ended:#?}"
                );
            }
            assert_eq!(ended.kept().len(), 1);
        }
        assert!(langfuse.requests().is_empty());
    }
}

#[test]
fn a_proxy_that_answers_in_place_of_the_model_is_named() {
    for status in [407, 502] {
        let (servers, proxy) = (Servers::start(), Proxy::refusing(status));
        let call = servers.chat().model_at(MODEL).arg("--retries").arg("0");
        let ended = call.env("HTTP_PROXY", &proxy.url).run();
        ended
            .code(4)
            .stderr_has(&status.to_string())
            .stderr_has(&proxy.url)
            .stderr_has("HTTP_PROXY");
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_the_cause() {
    let dead = dead_url();
    for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
        let (call, _model, langfuse) = secure_chat();
        let call = call.env(variable, &dead.replace("://", "://anna:pass-word-1@"));
        let ended = call.arg("--export-timeout").arg("1").run();
        ended.code(5).stdout("hi\n").stderr_lacks("pass-word-1");
        ended
            .stderr_has(&format!("the proxy {dead} ({variable}) failed"))
            .stderr_has(&format!("hint: check {variable}"));
        assert!(langfuse.requests().is_empty());
    }
    let servers = Servers::start();
    let call = servers.chat().model_at(MODEL).env("HTTP_PROXY", &dead);
    let ended = call.arg("--retries").arg("0").run();
    ended
        .code(4)
        .stderr_has(&format!("the proxy {dead} (HTTP_PROXY) failed"));
}

#[test]
fn a_variable_that_names_no_usable_proxy_is_an_error() {
    for (variable, value, words) in [
        ("HTTP_PROXY", "socks5://proxy.example:1080", "socks5"),
        ("https_proxy", "ftp://proxy.example", "ftp"),
        ("ALL_PROXY", "http://", "not the URL of a proxy"),
        ("HTTPS_PROXY", "anna:pass-word-1@", "not the URL of a proxy"),
    ] {
        let servers = Servers::start();
        let id = "2de564082ca19a9b24fd35f84866aae6";
        for command in [
            &["chat", "--no-stdin", "Hello"][..],
            &["chat", "--no-stdin", "--dry-run", "Hello"],
            &["check"],
            &["show", id],
        ] {
            let call = Langspan::new(command)
                .model_at(servers.model.url())
                .langfuse_at(servers.langfuse.url())
                .env(variable, value);
            let ended = call.run();
            ended.code(3).stderr_lacks("pass-word-1");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(&format!("{variable}: ")), "{ended:#?}");
            assert!(said.contains(words), "{ended:#?}");
        }
        assert_eq!(servers.model.count() + servers.langfuse.count(), 0);
        // Where no proxy is used, it does not matter.
        let call = servers.chat().env(variable, value);
        call.env("NO_PROXY", "*").run().code(0);
    }
}

#[test]
fn the_proxy_in_force_is_listed() {
    let proxy = Proxy::refusing(502);
    let with_password = proxy.url.replace("://", "://anna:pass-word-1@");
    let listed = format!("{}  (HTTP_PROXY)", proxy.url);
    let call = Servers::start().remote_chat().arg("--dry-run");
    let ended = call.env("HTTP_PROXY", &with_password).run();
    ended.code(0).stderr_lacks("pass-word-1");
    for name in ["  model proxy ", "  proxy "] {
        let line = ended.stdout.lines().find(|line| line.starts_with(name));
        assert!(line.unwrap().ends_with(&listed), "{ended:#?}");
    }
    assert!(!ended.stdout.contains("pass-word-1"), "{ended:#?}");
    let check = Langspan::new(&["check"]).langfuse_at(LANGFUSE);
    let ended = check.env("HTTP_PROXY", &with_password).run();
    let through = format!("through {} (HTTP_PROXY)", proxy.url);
    assert!(ended.stdout.contains(&through), "{ended:#?}");
    assert!(!ended.stdout.contains("pass-word-1"), "{ended:#?}");
    // What no proxy is used for is not listed.
    let call = Servers::start().chat().arg("--dry-run");
    let ended = call.env("HTTP_PROXY", &with_password).run();
    assert!(!ended.stdout.contains("HTTP_PROXY"), "{ended:#?}");
}

#[test]
fn the_sandbox_needs_no_proxy() {
    let proxy = Untouched::start();
    let call = Langspan::new(&["chat", "--sandbox", "--verify", "--no-stdin", "Hello"]);
    let call = call
        .env("HTTP_PROXY", proxy.url())
        .env("HTTPS_PROXY", proxy.url());
    call.env("ALL_PROXY", proxy.url()).run().code(0);
    proxy.assert_untouched();
}

#[test]
fn a_key_refused_by_one_cloud_region_may_belong_to_another() {
    let authority = Authority::new();
    let config = authority.server_named("cloud.langfuse.com").serving();
    let cloud = Scripted::start_tls(config, |_, _| {
        Reply::json(401, &json!({"message": "Invalid credentials."}))
    });
    let address = host(cloud.url()).replace("localhost", "127.0.0.1");
    let proxy = Proxy::routing(move |_| Ok(address.clone()));
    let model = Scripted::start(|_, _| Reply::json(200, &completion("hi")));
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at("https://cloud.langfuse.com")
        .env("HTTPS_PROXY", &proxy.url);
    let file = call.file("authority.pem", &authority.pem);
    let ended = call.arg("--ca-file").arg(file.to_str().unwrap()).run();
    ended
        .code(5)
        .stderr_has("401")
        .stderr_has("https://us.cloud.langfuse.com")
        .stderr_has("https://jp.cloud.langfuse.com")
        .stderr_has("https://hipaa.cloud.langfuse.com");
    let asked = proxy.asked();
    assert!(
        asked
            .iter()
            .all(|line| line == "CONNECT cloud.langfuse.com:443"),
        "asking the others is the business of check: {asked:?}"
    );
}
