//! `langspan sandbox`: serves the embedded model and the Langfuse stand-in until it is stopped.

use std::time::Duration;

use crate::app::embedded_sandbox::{listen, store};
use crate::app::signals::SignalListener;
use crate::cli::{self, LangfuseVersionArg};
use crate::console::OutputFormat;
use crate::failure::{Failure, Verdict};
use crate::output::Printer;
use crate::sandbox::{self, Config, LangfuseVersion};
use crate::settings::Sources;

/// # Errors
/// If the port is in use, or the traces cannot be stored.
pub async fn run(options: &cli::SandboxArgs, sources: &Sources) -> Result<Verdict, Failure> {
    let config = Config {
        model_delay: Duration::from_millis(options.delay),
        langfuse: match options.langfuse {
            LangfuseVersionArg::V3 => LangfuseVersion::V3,
            LangfuseVersionArg::V4 => LangfuseVersion::V4,
        },
        visible_after: Duration::from_millis(options.visible_after),
        store: store(sources)?,
    };
    let listener = listen(options.port).await?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    if !options.quiet {
        Printer::new(OutputFormat::Text).text(&greeting(address.port(), &config));
    }
    tokio::select! {
        served = sandbox::serve(listener, config) => served.map_err(anyhow::Error::from)?,
        // The usual way to stop a server, so not a failure.
        _ = interrupt.wait() => {}
    }
    Ok(Verdict::default())
}

fn greeting(port: u16, config: &Config) -> String {
    format!(
        "langspan sandbox: http://127.0.0.1:{port}\n\
         A chat model and a Langfuse, both stand-ins; traces lie in {}\n\
         \n\
         export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1\n\
         export LANGFUSE_BASE_URL=http://127.0.0.1:{port}\n\
         export LANGFUSE_PUBLIC_KEY={}\n\
         export LANGFUSE_SECRET_KEY={}\n\
         \n\
         Then: langspan chat \"Hello\". Stop it with Ctrl-C.\n",
        config.store.display(),
        sandbox::PUBLIC_KEY,
        sandbox::SECRET_KEY,
    )
}
