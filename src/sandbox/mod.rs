//! A model that speaks OpenAI's and Anthropic's dialects, and the part of Langfuse that langspan uses, both on loopback,
//! with web pages for the traces: a way to try everything without a key or a network, and the double that the tests run
//! against.
//!
//! It is independent: nothing here uses the rest of the crate but the leaves `json` and `sort`; the crate talks to it over
//! HTTP like to any other server.

mod auth;
mod datasets;
mod experiments;
mod growing_file;
mod guard;
mod hex;
mod ingest;
mod media;
mod model;
mod observation;
mod page;
mod prices;
mod prompts;
mod reading;
mod response;
mod routes;
mod scores;
mod server;
mod store;
mod time;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

pub use store::StoreSize;
use store::TraceStore;

/// The default port.
pub const PORT: u16 = 4390;
/// The one project, and its id in every URL.
pub const PROJECT_ID: &str = "sandbox";
/// The public half of the one key pair.
pub const PUBLIC_KEY: &str = "pk-lf-sandbox";
/// The secret half; as in Langfuse, it alone decides about access.
pub const SECRET_KEY: &str = "sk-lf-sandbox";
/// The largest body of a request, in bytes; it also bounds the decompressed form.
const MOST_BODY: usize = 128 << 20;

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

/// Serves on `listener` until the future is dropped. The store counts as served from the call on, before the first poll.
pub fn serve(listener: TcpListener, config: Config) -> impl Future<Output = io::Result<()>> + Send {
    let served = TraceStore::new(config.store.clone()).serve();
    // Small writes over kept connections would otherwise wait for the other side's delayed
    // acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    async move {
        let _served = served;
        axum::serve(listener, server::router(config)).await
    }
}

/// The size of the store in `folder`.
///
/// # Errors
/// If the folder cannot be read.
pub fn store_size(folder: &Path) -> io::Result<StoreSize> {
    TraceStore::new(folder.to_owned()).size()
}

/// Whether a sandbox serves the store in `folder`, in any process.
///
/// # Errors
/// If the folder cannot be written.
pub fn is_served(folder: &Path) -> io::Result<bool> {
    let reserved = TraceStore::new(folder.to_owned()).reserve()?;
    Ok(reserved.is_none())
}

/// Deletes all traces in `folder`, with their media and scores. Returns false, and deletes nothing, while a sandbox serves the store.
///
/// # Errors
/// If a file cannot be deleted.
pub fn clear(folder: &Path) -> io::Result<bool> {
    let store = TraceStore::new(folder.to_owned());
    let Some(_reserved) = store.reserve()? else {
        return Ok(false);
    };
    store.clear()?;
    Ok(true)
}
