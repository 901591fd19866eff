//! Which shard of a batch this machine processes, by option or by the job runner's variables.

use std::fmt;

use super::sources::Sources;
use crate::cli;
use crate::failure::Failure;

/// One of `count` shares; `index` begins at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: u64,
    pub count: u64,
}

/// The variables of a job runner with index and count, and its first index.
struct Runner {
    index: &'static str,
    count: Option<&'static str>,
    first: u64,
}

const KUBERNETES: Runner = Runner {
    index: "JOB_COMPLETION_INDEX",
    count: None,
    first: 0,
};
const GITLAB: Runner = Runner {
    index: "CI_NODE_INDEX",
    count: Some("CI_NODE_TOTAL"),
    first: 1,
};
const BUILDKITE: Runner = Runner {
    index: "BUILDKITE_PARALLEL_JOB",
    count: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
    first: 0,
};

/// The variables of every job runner.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let runners = [KUBERNETES, GITLAB, BUILDKITE];
    runners
        .into_iter()
        .flat_map(|runner| [Some(runner.index), runner.count].into_iter().flatten())
}

impl Shard {
    /// Whether the line of this number, from 1 on, is of this share.
    pub fn holds(self, line: u64) -> bool {
        (line - 1) % self.count == self.index - 1
    }

    /// # Errors
    /// When no job runner sets the variables that `auto` needs, or their values are impossible.
    pub fn resolve(wanted: cli::ShardArg, sources: &Sources) -> Result<Self, Failure> {
        match wanted {
            cli::ShardArg::Of { index, count } => Ok(Self { index, count }),
            cli::ShardArg::Auto { count } => match number(KUBERNETES.index, sources)? {
                Some(index) => Self::of(&KUBERNETES, index, count),
                None => Err(Failure::config(format!(
                    "--shard auto/{count}: {} is not set",
                    KUBERNETES.index
                ))
                .hint(
                    "it is set in a Kubernetes Job of completionMode Indexed; otherwise use --shard K/N",
                )),
            },
            cli::ShardArg::AllAuto => {
                for runner in [&GITLAB, &BUILDKITE] {
                    let index = number(runner.index, sources)?;
                    let count = runner.count.map(|name| number(name, sources));
                    if let (Some(index), Some(count)) = (index, count.transpose()?.flatten()) {
                        return Self::of(runner, index, count);
                    }
                }
                Err(Failure::config(
                    "--shard auto: neither GitLab's CI_NODE_INDEX and CI_NODE_TOTAL nor Buildkite's \
                     BUILDKITE_PARALLEL_JOB and BUILDKITE_PARALLEL_JOB_COUNT are set",
                )
                .hint("set `parallel` in the job, or use --shard K/N"))
            }
        }
    }

    fn of(runner: &Runner, index: u64, count: u64) -> Result<Self, Failure> {
        let shard = Self {
            index: (index + 1).saturating_sub(runner.first),
            count,
        };
        if (1..=count).contains(&shard.index) {
            return Ok(shard);
        }
        Err(Failure::config(format!(
            "--shard: {} is {index}, but there are only {count} shards",
            runner.index
        ))
        .hint("the number of shares must be that of the jobs"))
    }
}

fn number(name: &str, sources: &Sources) -> Result<Option<u64>, Failure> {
    let Some(found) = sources.get(name) else {
        return Ok(None);
    };
    let number = found.value.trim().parse().map_err(|_| {
        Failure::config(format!(
            "{}: `{}` is not a number",
            found.origin, found.value
        ))
        .hint("use --shard K/N, which needs no variable")
    })?;
    Ok(Some(number))
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}
