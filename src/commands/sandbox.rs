//! `langspan sandbox`: serves the embedded model and the Langfuse stand-in until it is stopped, or clears their store.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::app::confirm::is_confirmed;
use crate::app::embedded_sandbox::{listen, store};
use crate::app::signals::SignalListener;
use crate::cli::{self, LangfuseVersionArg};
use crate::console::{Console, OutputFormat};
use crate::failure::{Failure, Verdict};
use crate::output::Printer;
use crate::sandbox::{self, Config, LangfuseVersion, StoreSize};
use crate::settings::Sources;

/// # Errors
/// If the port is in use, or the traces cannot be stored; with `--clear`, if they cannot be deleted.
pub async fn run(
    options: &cli::SandboxArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let store = store(sources)?;
    if options.clear {
        let done = clear(options, &store, console)?;
        if !options.quiet {
            print(&done);
        }
    } else {
        serve(options, &store).await?;
    }
    Ok(Verdict::default())
}

async fn serve(options: &cli::SandboxArgs, store: &Path) -> Result<(), Failure> {
    let config = Config {
        model_delay: Duration::from_millis(options.delay),
        langfuse: match options.langfuse {
            LangfuseVersionArg::V3 => LangfuseVersion::V3,
            LangfuseVersionArg::V4 => LangfuseVersion::V4,
        },
        visible_after: Duration::from_millis(options.visible_after),
        store: store.to_owned(),
    };
    let listener = listen(options.port).await?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let serving = sandbox::serve(listener, config);
    if !options.quiet {
        print(&greeting(address.port(), store, size(store)?));
    }
    tokio::select! {
        served = serving => served.map_err(anyhow::Error::from)?,
        // The usual way to stop a server, so not a failure.
        _ = interrupt.wait() => {}
    }
    Ok(())
}

/// Deletes the traces once this is confirmed; returns a sentence about it.
fn clear(options: &cli::SandboxArgs, store: &Path, console: &Console) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::unwritable(store.display(), &error);
    let served = || {
        let message = format!("a sandbox is serving {}: cannot clear it", store.display());
        Failure::file(message).hint("stop the sandbox first")
    };
    let size = size(store)?;
    let place = store.display();
    if size == StoreSize::default() {
        return Ok(format!("{place} has no traces\n"));
    }
    if sandbox::is_served(store).map_err(failed)? {
        return Err(served());
    }
    let deed = format!("Delete {} in {place} permanently", words(size));
    if !options.yes && !is_confirmed("--clear", &deed, console)? {
        return Ok("nothing was deleted\n".to_owned());
    }
    if sandbox::clear(store).map_err(failed)? {
        Ok(format!("deleted {} in {place}\n", words(size)))
    } else {
        Err(served())
    }
}

fn size(store: &Path) -> Result<StoreSize, Failure> {
    sandbox::store_size(store).map_err(|error| Failure::unreadable(store.display(), &error))
}

fn print(text: &str) {
    Printer::new(OutputFormat::Text).text(text);
}

fn greeting(port: u16, store: &Path, size: StoreSize) -> String {
    format!(
        "langspan sandbox: http://127.0.0.1:{port}\n\
         A chat model and a Langfuse, both stand-ins. Store: {} ({})\n\
         \n\
         export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1\n\
         export ANTHROPIC_BASE_URL=http://127.0.0.1:{port}\n\
         export LANGFUSE_BASE_URL=http://127.0.0.1:{port}\n\
         export LANGFUSE_PUBLIC_KEY={}\n\
         export LANGFUSE_SECRET_KEY={}\n\
         \n\
         Then: langspan chat \"Hello\". Stop it with Ctrl-C.\n",
        store.display(),
        words(size),
        sandbox::PUBLIC_KEY,
        sandbox::SECRET_KEY,
    )
}

/// "12 traces, 3.4 MB".
fn words(size: StoreSize) -> String {
    let traces = match size.traces {
        1 => "1 trace".to_owned(),
        count => format!("{count} traces"),
    };
    format!("{traces}, {}", bytes(size.bytes))
}

fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let unit = UNITS.into_iter().find(|(size, _)| count >= *size);
    unit.map_or(format!("{count} bytes"), |(size, name)| {
        format!("{}.{} {name}", count / size, count % size * 10 / size)
    })
}
