//! An OpenAI-compatible chat model and the part of Langfuse that langspan uses, both on loopback,
//! with web pages for the traces: a way to try everything without a key or a network, and the
//! double that the tests run against.
//!
//! It is independent: nothing here uses the rest of the crate, which talks to it over HTTP like to any other server.

mod auth;
mod hex;
mod ingest;
mod media;
mod model;
mod observation;
mod page;
mod reading;
mod response;
mod server;
mod store;
mod time;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// The default port.
pub const PORT: u16 = 4390;
/// The one project, and its id in every URL.
pub const PROJECT_ID: &str = "sandbox";
/// The public half of the one key pair.
pub const PUBLIC_KEY: &str = "pk-lf-sandbox";
/// The secret half; as in Langfuse, it alone decides about access.
pub const SECRET_KEY: &str = "sk-lf-sandbox";

/// The emulated Langfuse version: each has read interfaces that the other lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LangfuseVersion {
    /// Reads through `/api/public/v2/observations` only.
    V4,
    /// Reads through `/api/public/traces/{id}` only.
    V3,
}

/// How the sandbox behaves, and where it stores its traces.
#[derive(Debug, Clone)]
pub struct Config {
    /// The time before the first byte of the model's answer.
    pub model_delay: Duration,
    /// The emulated Langfuse version.
    pub langfuse: LangfuseVersion,
    /// How long an accepted observation stays invisible to the read interfaces.
    pub visible_after: Duration,
    /// The folder of the traces, created when the first one arrives.
    pub store: PathBuf,
}

/// Serves on `listener` until the future is dropped.
pub async fn serve(listener: TcpListener, config: Config) -> io::Result<()> {
    // Small writes over kept connections would otherwise wait for the other side's delayed
    // acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, server::router(config)).await
}
