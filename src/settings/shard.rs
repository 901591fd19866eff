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

/// The variables of a job runner: those of index and count, and how it numbers its jobs.
struct Runner {
    index: &'static str,
    count: Option<&'static str>,
    numbers: Numbers,
}

/// How a job runner numbers its jobs.
#[derive(Clone, Copy)]
enum Numbers {
    /// One after the other, from this index on.
    From(u64),
    /// The first index and the step between two are variables.
    Stepped {
        first: &'static str,
        step: &'static str,
    },
}

const KUBERNETES: Runner = Runner {
    index: "JOB_COMPLETION_INDEX",
    count: None,
    numbers: Numbers::From(0),
};
const SLURM: Runner = Runner {
    index: "SLURM_ARRAY_TASK_ID",
    count: Some("SLURM_ARRAY_TASK_COUNT"),
    numbers: Numbers::Stepped {
        first: "SLURM_ARRAY_TASK_MIN",
        step: "SLURM_ARRAY_TASK_STEP",
    },
};
const GITLAB: Runner = Runner {
    index: "CI_NODE_INDEX",
    count: Some("CI_NODE_TOTAL"),
    numbers: Numbers::From(1),
};
const BUILDKITE: Runner = Runner {
    index: "BUILDKITE_PARALLEL_JOB",
    count: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
    numbers: Numbers::From(0),
};

/// The job runners that tell index and count. Slurm comes first: `sbatch` hands the variables of a CI job that submits
/// an array down to its tasks.
const RUNNERS: [Runner; 3] = [SLURM, GITLAB, BUILDKITE];

/// The variables of every job runner.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let runners = [KUBERNETES].into_iter().chain(RUNNERS);
    runners.flat_map(|runner| {
        let (first, step) = match runner.numbers {
            Numbers::From(_) => (None, None),
            Numbers::Stepped { first, step } => (Some(first), Some(step)),
        };
        [Some(runner.index), runner.count, first, step]
            .into_iter()
            .flatten()
    })
}

impl Shard {
    /// Whether the line of this number, from 1 on, is of this share.
    pub fn holds(self, line: u64) -> bool {
        (line - 1) % self.count == self.index - 1
    }

    /// The number of its lines from `first` to `last`.
    pub fn count_in(self, first: u64, last: u64) -> u64 {
        let up_to = |line: u64| {
            let beyond = line.checked_sub(self.index);
            beyond.map_or(0, |beyond| beyond / self.count + 1)
        };
        up_to(last).saturating_sub(up_to(first.saturating_sub(1)))
    }

    /// Reads `K/N`.
    pub fn parse(text: &str) -> Option<Self> {
        let (index, count) = text.split_once('/')?;
        let (index, count): (u64, u64) = (index.parse().ok()?, count.parse().ok()?);
        (1..=count)
            .contains(&index)
            .then_some(Self { index, count })
    }

    /// # Errors
    /// When no job runner sets the variables that `auto` needs, or their values are impossible.
    pub fn resolve(wanted: cli::ShardArg, sources: &Sources) -> Result<Self, Failure> {
        match wanted {
            cli::ShardArg::Of { index, count } => Ok(Self { index, count }),
            cli::ShardArg::Auto { count } => match number(KUBERNETES.index, sources)? {
                Some(index) => Self::of(&KUBERNETES, index, count, sources),
                None => Err(Failure::config(format!(
                    "--shard auto/{count}: {} is not set",
                    KUBERNETES.index
                ))
                .hint(
                    "it is set in a Kubernetes Job of completionMode Indexed; otherwise use --shard K/N",
                )),
            },
            cli::ShardArg::AllAuto => {
                for runner in &RUNNERS {
                    let index = number(runner.index, sources)?;
                    let count = runner.count.map(|name| number(name, sources));
                    if let (Some(index), Some(count)) = (index, count.transpose()?.flatten()) {
                        return Self::of(runner, index, count, sources);
                    }
                }
                Err(Failure::config(
                    "--shard auto: none of these are set: Slurm's SLURM_ARRAY_TASK_ID and \
                     SLURM_ARRAY_TASK_COUNT, GitLab's CI_NODE_INDEX and CI_NODE_TOTAL, Buildkite's \
                     BUILDKITE_PARALLEL_JOB and BUILDKITE_PARALLEL_JOB_COUNT",
                )
                .hint("start it as a job array or with `parallel`, or use --shard K/N"))
            }
        }
    }

    fn of(runner: &Runner, index: u64, count: u64, sources: &Sources) -> Result<Self, Failure> {
        let place = match runner.numbers {
            Numbers::From(first) => index.checked_sub(first),
            Numbers::Stepped { first, step } => {
                let (first, step) = (needed(first, sources)?, needed(step, sources)?);
                let beyond = index.checked_sub(first);
                beyond
                    .filter(|beyond| step > 0 && beyond % step == 0)
                    .map(|beyond| beyond / step)
            }
        };
        match place.filter(|place| *place < count) {
            Some(place) => Ok(Self {
                index: place + 1,
                count,
            }),
            None => Err(impossible(runner, index, count)),
        }
    }
}

fn impossible(runner: &Runner, index: u64, count: u64) -> Failure {
    let name = runner.index;
    match runner.numbers {
        Numbers::From(_) => Failure::config(format!(
            "--shard: {name} is {index}, but there are only {count} shards"
        ))
        .hint("the number of shards must equal the number of jobs"),
        Numbers::Stepped { first, step } => Failure::config(format!(
            "--shard: {name} is {index}, which {first} and {step} do not reach in {count} steps"
        ))
        .hint("give the array equal steps, as in --array=1-8, or use --shard K/N"),
    }
}

/// The number in a variable that must be set.
fn needed(name: &str, sources: &Sources) -> Result<u64, Failure> {
    number(name, sources)?.ok_or_else(|| {
        Failure::config(format!("--shard auto: {name} is not set"))
            .hint("use --shard K/N, which needs no variable")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_share_are_counted_as_they_are_held() {
        for (index, count) in [(1, 1), (1, 3), (2, 3), (3, 3), (5, 7)] {
            let shard = Shard { index, count };
            for first in 1..20 {
                for last in 0..20 {
                    let held = (first..=last).filter(|line| shard.holds(*line)).count();
                    assert_eq!(
                        shard.count_in(first, last),
                        held as u64,
                        "{shard} {first} {last}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_written_share_is_read_back() {
        let shard = Shard { index: 2, count: 3 };
        assert_eq!(Shard::parse(&shard.to_string()), Some(shard));
        for wrong in ["", "1", "0/3", "4/3", "a/3", "1/0", "1/2/3"] {
            assert_eq!(Shard::parse(wrong), None, "{wrong}");
        }
    }
}
