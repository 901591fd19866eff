//! An OpenAI-compatible chat model and the part of Langfuse that langspan uses, both on loopback,
//! with a web page of the traces: a place to try everything without a key or a network, and the
//! double that the tests run against.
//!
//! It stands for itself: nothing here knows the rest of the crate, which meets it over HTTP like
//! any other server.

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

/// The port that links to the page of a trace name.
pub const PORT: u16 = 4390;
/// The one project, and its id in every URL.
pub const PROJECT_ID: &str = "sandbox";
/// The public half of the one key pair.
pub const PUBLIC_KEY: &str = "pk-lf-sandbox";
/// The secret half, which alone decides about access, as at Langfuse.
pub const SECRET_KEY: &str = "sk-lf-sandbox";

/// The Langfuse generation to stand for: their read interfaces exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LangfuseVersion {
    /// Reads through `/api/public/v2/observations` only.
    V4,
    /// Reads through `/api/public/traces/{id}` only.
    V3,
}

/// How the sandbox behaves, and where it keeps its traces.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long the model thinks before the first byte of its answer.
    pub model_delay: Duration,
    /// Which Langfuse to stand for.
    pub langfuse: LangfuseVersion,
    /// How long an accepted observation stays invisible to the read interfaces.
    pub visible_after: Duration,
    /// The folder of the traces; made when the first one arrives.
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
