//! The loopback listener: accepts connections and routes requests. Every path begins with the token of the run, since
//! other users of the machine can reach the port.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::exec::answer;
use crate::exec::busy::{Busy, Underway};
use crate::exec::pass_through::PassThrough;
use crate::exec::proxy::{ModelProxy, Upstream};
use crate::exec::receiver;
use crate::exec::recorder::Recorder;
use crate::model::dialect::{self, Vendor};

/// The time in which requests that were sent before the child ended become visible here.
const SETTLING: Duration = Duration::from_millis(1);

/// What answers requests.
#[derive(Debug)]
pub struct Service {
    pub token: String,
    pub recorder: Arc<Recorder>,
    pub proxy: ModelProxy,
    pub openai: Option<Upstream>,
    pub azure: Option<Upstream>,
    pub anthropic: Option<Upstream>,
    /// Whether telemetry is received.
    pub receives: bool,
    pub pass_through: PassThrough,
    pub busy: Busy,
}

/// A listener that serves.
#[derive(Debug)]
pub struct Serving {
    /// Ends the grace.
    cut: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    busy: Busy,
}

/// Opens an unused port.
///
/// # Errors
/// If there is none.
pub async fn bind() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

/// Serves until it is told to stop.
pub fn serve(listener: TcpListener, service: Service) -> Serving {
    let (stop, stopped) = oneshot::channel();
    let busy = service.busy.clone();
    let task = tokio::spawn(accept(listener, Arc::new(service), stopped));
    Serving {
        cut: Arc::default(),
        stop,
        task,
        busy,
    }
}

impl Serving {
    /// What ends the grace when it is notified.
    pub fn cutter(&self) -> Arc<Notify> {
        Arc::clone(&self.cut)
    }

    /// Waits for requests under way, at most `grace`, and serves what arrives meanwhile; then refuses connections and
    /// cuts off what is left.
    pub async fn finish(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        loop {
            // Twice, since a request may first have to be read off its connection.
            sleep(SETTLING).await;
            sleep(SETTLING).await;
            let is_cut = tokio::select! {
                idle = timeout_at(deadline, self.busy.idle()) => idle.is_err(),
                () = self.cut.notified() => true,
            };
            if is_cut || self.busy.is_idle() {
                break;
            }
        }
        // The task is gone only if it panicked.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&service)));
                }
                // Too many open files, for instance: closing connections may help.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    service.recorder.close();
    // Calls that are cut off here are recorded as far as they came.
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, service: Arc<Service>) {
    // Small writes would wait for the other side's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move {
            let underway = service.busy.begin();
            Ok::<_, std::convert::Infallible>(service.answer(request, underway).await)
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // What breaks a connection concerns its client, which sees it.
    let _ = connection.await;
}

impl Service {
    async fn answer(&self, request: Request<Incoming>, underway: Underway) -> Response<Body> {
        let path = request.uri().path();
        let Some(path) = self.below_token(path).map(str::to_owned) else {
            return answer::status(StatusCode::NOT_FOUND);
        };
        let is_post = request.method() == Method::POST;
        for (prefix, upstream, vendor) in [
            ("/openai/v1", &self.openai, Vendor::OpenAi),
            ("/azure", &self.azure, Vendor::OpenAi),
            ("/anthropic", &self.anthropic, Vendor::Anthropic),
        ] {
            if let Some(rest) = below(&path, prefix) {
                let Some(upstream) = upstream else { break };
                let api = dialect::of_path(&path);
                let api = api.filter(|api| is_post && api.vendor() == vendor);
                return self
                    .proxy
                    .forward(upstream, rest, api, request, underway)
                    .await;
            }
        }
        if !self.receives {
            return answer::status(StatusCode::NOT_FOUND);
        }
        if path.ends_with("/v1/metrics") || path.ends_with("/v1/logs") {
            self.recorder
                .note_once("the command sends metrics or logs: they are dropped");
            return receiver::accepted(request.headers());
        }
        if path.ends_with("/v1/traces") || below(&path, "/api/public/otel").is_some() {
            return receiver::receive(&self.recorder, request).await;
        }
        self.pass_through
            .forward(&self.recorder, &path, request, underway)
            .await
    }

    /// The path behind the token.
    fn below_token<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.strip_prefix('/')?;
        let end = path.find('/').unwrap_or(path.len());
        let (token, rest) = path.split_at(end);
        is_equal(token.as_bytes(), self.token.as_bytes()).then_some(rest)
    }
}

/// The path behind `prefix`.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Compares in a time that does not tell where the first difference is.
fn is_equal(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(wanted)
        .fold(0, |differences, (left, right)| differences | (left ^ right));
    std::hint::black_box(differences) == 0 && given.len() == wanted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_equal_or_not() {
        assert!(is_equal(b"abc", b"abc"));
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!is_equal(other, b"abc"));
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(below("/openai/v1/models", "/openai/v1"), Some("/models"));
        assert_eq!(below("/openai/v1", "/openai/v1"), Some(""));
        assert_eq!(below("/openai/v11", "/openai/v1"), None);
    }
}
