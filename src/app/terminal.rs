//! Questions to the person at the terminal, on stderr, with the answer on stdin.

use std::io::{self, IsTerminal};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

use crate::app::signals::SignalListener;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Whether there is a person to ask.
pub fn is_there() -> bool {
    io::stdin().is_terminal()
}

/// Asks a question, and reads one line. A signal ends the wait, with the terminal as it was.
///
/// # Errors
/// If the input ends, cannot be read, or a signal came.
pub async fn ask(
    question: &str,
    console: &Console,
    interrupt: &mut SignalListener,
) -> Result<String, Failure> {
    console.ask(question);
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // After a signal, it is not waited for any more.
        let _ = sender.send(read.map(|count| (count > 0).then_some(line)));
    });
    let read = tokio::select! {
        read = receiver => read,
        signal = interrupt.wait() => {
            let failure = Failure::new(Kind::Interrupted(signal), "interrupted");
            return Err(failure.hint("nothing was written"));
        }
    };
    let read = read.unwrap_or(Ok(None));
    let line = read.map_err(|error| Failure::unreadable("stdin", &error))?;
    line.map(|line| line.trim().to_owned()).ok_or_else(|| {
        Failure::usage("the input ended before the last question")
            .hint("run it again; nothing was written")
    })
}

/// The same, without showing what is typed.
///
/// # Errors
/// As of [`ask`].
pub async fn ask_hidden(
    question: &str,
    console: &Console,
    interrupt: &mut SignalListener,
) -> Result<String, Failure> {
    let echo = EchoOff::begin();
    let answer = ask(question, console, interrupt).await;
    drop(echo);
    // The line end that was typed was not shown either.
    console.ask("\n");
    answer
}

/// A terminal that does not show what is typed, until this is dropped.
struct EchoOff(Option<Termios>);

impl EchoOff {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let set = tcsetattr(io::stdin(), OptionalActions::Flush, &hidden);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that refuses this cannot be restored in another way.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
