//! Commands, and what one run of them took.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};

/// The argument that makes the bench binary run a command and print its peak memory.
pub const PEAK_ARGUMENT: &str = "--peak";

/// What is measured: a command in an environment of its own.
#[derive(Clone, Debug)]
pub struct Task {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
    stdin: Option<PathBuf>,
}

/// One run of a task.
#[derive(Clone, Debug)]
pub struct Run {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// When the process was gone, in nanoseconds since 1970.
    pub ended: u128,
}

/// Nanoseconds since 1970: a clock that the processes of a machine share.
pub fn nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

impl Task {
    /// `home` is all that the command knows of the machine's user.
    pub fn new(program: &str, arguments: &[&str], home: &Path) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            folder: home.to_owned(),
            stdin: None,
        }
        .env("PATH", path)
        .env("HOME", home)
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_str().unwrap().to_owned();
        self.environment.push((name.to_owned(), value));
        self
    }

    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string);
        self.arguments.extend(arguments);
        self
    }

    /// With this file on stdin.
    #[must_use]
    pub fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    /// From start to exit.
    pub fn run(&self) -> Run {
        self.read(|_| {})
    }

    /// The same; `reader` is given stdout as it comes.
    pub fn read(&self, mut reader: impl FnMut(&[u8])) -> Run {
        let mut command = self.command();
        command.stdout(Stdio::piped());
        let cpu = children_cpu();
        let start = Instant::now();
        let mut process = command.spawn().unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let mut buffer = [0; 4096];
        loop {
            match stdout.read(&mut buffer).unwrap() {
                0 => break,
                length => reader(&buffer[..length]),
            }
        }
        let status = process.wait().unwrap();
        let (wall, ended) = (start.elapsed(), nanos());
        assert!(status.success(), "{status}: {self:?}");
        Run {
            wall,
            cpu: children_cpu().saturating_sub(cpu),
            ended,
        }
    }

    /// What is printed on stdout and stderr.
    pub fn output(&self) -> (String, String) {
        let output = self.command().stderr(Stdio::piped()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{self:?}: {stderr}");
        (stdout, stderr)
    }

    /// Peak memory in MiB, found by a process that has only this child: the kernel keeps the highest of all children.
    pub fn peak_mebibytes(&self) -> f64 {
        let bench = std::env::current_exe().unwrap();
        let mut task = Self {
            program: bench.to_str().unwrap().to_owned(),
            arguments: vec![PEAK_ARGUMENT.to_owned(), self.program.clone()],
            environment: self.environment.clone(),
            folder: self.folder.clone(),
            stdin: self.stdin.clone(),
        };
        task.arguments.extend(self.arguments.iter().cloned());
        let kibibytes: f64 = task.output().0.trim().parse().unwrap();
        kibibytes / 1024.0
    }

    /// Started by a shell that becomes the command, as a script starts it.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\"", &self.program])
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(match &self.stdin {
                Some(file) => File::open(file).unwrap().into(),
                None => Stdio::null(),
            })
            .stderr(Stdio::null());
        command
    }
}

/// The other end of [`Task::peak`].
pub fn print_peak(command: &[String]) {
    let status = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}: {command:?}");
    let kibibytes = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("{kibibytes}");
}

/// The CPU time of all children that have ended.
pub fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |seconds: i64, micros: i64| {
        Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs())
    };
    let (user, system) = (usage.user_time(), usage.system_time());
    micros(user.tv_sec(), user.tv_usec()) + micros(system.tv_sec(), system.tv_usec())
}

/// Runs the tasks in turn, A B C A B C …; the runs of each task. Each runs twice in a row and the second run counts,
/// so that none pays for the cold caches that a longer one before it leaves.
pub fn in_turn(rounds: usize, tasks: &[Task]) -> Vec<Vec<Run>> {
    let mut runs = vec![Vec::new(); tasks.len()];
    for _ in 0..rounds {
        for (runs, task) in runs.iter_mut().zip(tasks) {
            task.run();
            runs.push(task.run());
        }
    }
    runs
}
