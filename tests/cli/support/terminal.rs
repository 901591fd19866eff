//! A terminal of a given size, and what a call writes to it.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use nix::pty::{Winsize, openpty};

use super::harness::Langspan;

/// What a call wrote to a terminal.
#[derive(Debug)]
pub struct Screen {
    pub code: Option<i32>,
    /// With `\n` as the line end.
    pub text: String,
}

/// Runs `call` with stdout, and with stderr too if `with_stderr`, on a terminal of this size.
pub fn on_a_terminal(call: &Langspan, columns: u16, rows: u16, with_stderr: bool) -> Screen {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(&size, None).unwrap();
    let stderr = if with_stderr {
        Stdio::from(terminal.slave.try_clone().unwrap())
    } else {
        Stdio::null()
    };
    let mut command = call.command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(terminal.slave)
        .stderr(stderr)
        .spawn()
        .unwrap();
    // It holds the terminal open as well.
    drop(command);
    let mut screen = File::from(terminal.master);
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    // A terminal that its last writer has left ends in an error.
    while let Ok(count @ 1..) = screen.read(&mut piece) {
        shown.extend(&piece[..count]);
    }
    Screen {
        code: child.wait().unwrap().code(),
        text: String::from_utf8(shown).unwrap().replace("\r\n", "\n"),
    }
}
