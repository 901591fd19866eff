//! The sandbox's port and folder on this machine, for a sandbox with a process of its own and for one inside a call.

use std::fs::DirBuilder;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::failure::{Failure, Kind};
use crate::sandbox::{self, Config, LangfuseVersion};
use crate::settings::{self, Sources};

/// Starts a sandbox inside this process; returns its port.
///
/// # Errors
/// If its traces cannot be stored.
pub async fn start(sources: &Sources) -> Result<u16, Failure> {
    let config = Config {
        model_delay: Duration::ZERO,
        langfuse: LangfuseVersion::V4,
        visible_after: Duration::ZERO,
        store: store(sources)?,
    };
    let listener = listen(0).await?;
    let port = listener.local_addr().map_err(anyhow::Error::from)?.port();
    // It ends with the runtime. If it fails, requests to it fail, which is reported there.
    tokio::spawn(sandbox::serve(listener, config));
    Ok(port)
}

/// The folder of the sandbox's traces, created if it does not exist.
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor `HOME` is set, or the folder cannot be written.
pub fn store(sources: &Sources) -> Result<PathBuf, Failure> {
    let state = settings::state_dir(sources).map_err(|error| {
        Failure::config(format!("no folder for the sandbox's traces: {error}"))
            .hint("set XDG_STATE_HOME to a folder")
    })?;
    let store = state.join("sandbox");
    let probed = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&store)
        .and_then(|()| tempfile::tempfile_in(&store));
    probed.map_err(|error| {
        let dir = store.display();
        Failure::file(format!(
            "cannot store the sandbox's traces in {dir}: {error}"
        ))
        .hint("set XDG_STATE_HOME to a writable folder")
    })?;
    Ok(store)
}

/// Listens on loopback only.
///
/// # Errors
/// If the port is in use.
pub async fn listen(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| {
            Failure::new(
                Kind::Internal,
                format!("the sandbox cannot listen on 127.0.0.1:{port}: {error}"),
            )
            .hint("is a sandbox running already? --port N uses another port")
        })
}
