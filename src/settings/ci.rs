//! What a CI job knows of itself: commit, branch, job URL and actor of the common services.

use super::sources::Sources;

/// The variables of one CI service.
struct Service {
    name: &'static str,
    /// Set by this service only.
    marker: &'static str,
    commit: &'static str,
    branch: &'static str,
    job_url: Option<&'static str>,
    actor: &'static str,
}

const SERVICES: [Service; 4] = [
    Service {
        name: "github-actions",
        marker: "GITHUB_ACTIONS",
        commit: "GITHUB_SHA",
        branch: "GITHUB_REF_NAME",
        job_url: None,
        actor: "GITHUB_ACTOR",
    },
    Service {
        name: "gitlab-ci",
        marker: "GITLAB_CI",
        commit: "CI_COMMIT_SHA",
        branch: "CI_COMMIT_REF_NAME",
        job_url: Some("CI_JOB_URL"),
        actor: "GITLAB_USER_LOGIN",
    },
    Service {
        name: "buildkite",
        marker: "BUILDKITE",
        commit: "BUILDKITE_COMMIT",
        branch: "BUILDKITE_BRANCH",
        job_url: Some("BUILDKITE_BUILD_URL"),
        actor: "BUILDKITE_BUILD_CREATOR",
    },
    Service {
        name: "circleci",
        marker: "CIRCLECI",
        commit: "CIRCLE_SHA1",
        branch: "CIRCLE_BRANCH",
        job_url: Some("CIRCLE_BUILD_URL"),
        actor: "CIRCLE_USERNAME",
    },
];

/// The variables that name CI jobs, and releases by their commits.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let jobs = SERVICES.iter().flat_map(|service| {
        let job_url = service.job_url.unwrap_or("GITHUB_SERVER_URL");
        [
            service.marker,
            service.commit,
            service.branch,
            job_url,
            service.actor,
        ]
    });
    let others = ["GITHUB_REPOSITORY", "GITHUB_RUN_ID"];
    jobs.chain(others).chain(RELEASE_VARIABLES)
}

/// The commit variables that the Langfuse SDK takes for a release, in its order.
pub const RELEASE_VARIABLES: [&str; 11] = [
    "LANGFUSE_RELEASE",
    "RENDER_GIT_COMMIT",
    "CI_COMMIT_SHA",
    "CIRCLE_SHA1",
    "SOURCE_VERSION",
    "TRAVIS_COMMIT",
    "GIT_COMMIT",
    "GITHUB_SHA",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "DRONE_COMMIT_SHA",
];

/// The facts of the CI job as metadata; empty outside a known service.
pub fn metadata(sources: &Sources) -> Vec<(String, String)> {
    let Some(service) = SERVICES
        .iter()
        .find(|service| sources.get(service.marker).is_some())
    else {
        return Vec::new();
    };
    let value = |name: &str| sources.get(name).map(|found| found.value);
    let job_url = match service.job_url {
        Some(name) => value(name),
        None => github_run_url(sources),
    };
    let facts = [
        ("ci", Some(service.name.to_owned())),
        ("commit", value(service.commit)),
        ("branch", value(service.branch)),
        ("job_url", job_url),
        ("actor", value(service.actor)),
    ];
    facts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// GitHub names the parts of a run's URL, not the whole.
fn github_run_url(sources: &Sources) -> Option<String> {
    let server = sources.get("GITHUB_SERVER_URL")?.value;
    let repository = sources.get("GITHUB_REPOSITORY")?.value;
    let run = sources.get("GITHUB_RUN_ID")?.value;
    Some(format!("{server}/{repository}/actions/runs/{run}"))
}
