//! What clap has to say: help and version on stdout, a wrong command line as one line of cause and one of remedy.

use clap::error::ErrorKind;

use crate::console::Console;
use crate::console::OutputFormat;
use crate::failure::{Failure, Verdict};
use crate::output::Printer;

/// Says why the command line names nothing to do.
pub fn say(error: &clap::Error) -> Verdict {
    let console = Console::new(false, 0);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let mut printer = Printer::new(OutputFormat::Text);
            printer.text(&error.render().to_string());
            printer
                .take_failure()
                .map_or_else(Verdict::default, |failure| {
                    console.error(&failure);
                    failure.kind.into()
                })
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            console.note(error.render().to_string().trim_end());
            failure(error).kind.into()
        }
        _ => {
            let failure = failure(error);
            console.error(&failure);
            failure.kind.into()
        }
    }
}

/// Clap's paragraphs as a cause and a remedy: the first says what is wrong, one that begins with `tip:` what to do.
fn failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let cause = paragraphs.next().unwrap_or_default();
    let cause = cause.strip_prefix("error: ").unwrap_or(cause);
    let tip =
        paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: ").map(str::to_owned));
    let verb = std::env::args_os()
        .nth(1)
        .and_then(|verb| verb.into_string().ok())
        .filter(|verb| !verb.starts_with('-'));
    let help = verb.map_or_else(
        || "langspan --help".to_owned(),
        |verb| format!("langspan {verb} --help"),
    );
    Failure::usage(cause).hint(tip.unwrap_or_else(|| format!("see {help}")))
}
