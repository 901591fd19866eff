//! The environment and the release that Langfuse stores for a resource: it changes names and never refuses them.

use opentelemetry::{Key, Value};
use opentelemetry_sdk::Resource;

use crate::trace::attributes::langfuse;

/// The attributes that name the environment, the stronger one first.
const ENVIRONMENT: [&str; 3] = [
    langfuse::ENVIRONMENT,
    "deployment.environment.name",
    "deployment.environment",
];
/// The environment of spans without one, or with a name that Langfuse does not take.
const DEFAULT: &str = "default";
/// Longer names are cut, in characters.
const LONGEST: usize = 40;

/// An environment as Langfuse stores it: without the reserved prefix `langfuse`, which it strips. `None` if nothing is
/// left: that is stored as `default`.
pub fn stored_environment(environment: &str) -> Option<&str> {
    let mut rest = environment;
    while let Some(stripped) = rest.strip_prefix("langfuse") {
        rest = stripped.trim_start_matches(['-', '_']);
    }
    (!rest.is_empty()).then_some(rest)
}

/// The environment that Langfuse stores for spans of `resource`.
pub fn environment_of(resource: &Resource) -> String {
    let sent = ENVIRONMENT.iter().find_map(|key| text(resource, key));
    let sent = sent.unwrap_or_default().to_lowercase();
    let name = stored_environment(&sent).unwrap_or_default();
    let name: String = name.chars().take(LONGEST).collect();
    let is_taken = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(is_taken) {
        DEFAULT.to_owned()
    } else {
        name
    }
}

/// The release that Langfuse stores for spans of `resource`.
pub fn release_of(resource: &Resource) -> Option<String> {
    text(resource, langfuse::RELEASE)
}

fn text(resource: &Resource, key: &'static str) -> Option<String> {
    let value: Value = resource.get(&Key::from_static_str(key))?;
    Some(value.as_str().into_owned())
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;

    fn environment(attributes: &[(&'static str, &'static str)]) -> String {
        let attributes = attributes
            .iter()
            .map(|(key, value)| KeyValue::new(*key, *value));
        let resource = Resource::builder_empty().with_attributes(attributes);
        environment_of(&resource.build())
    }

    #[test]
    fn an_environment_is_named_as_the_server_stores_it() {
        for (key, sent, stored) in [
            ("langfuse.environment", "staging", "staging"),
            ("langfuse.environment", "langfuse-x", "x"),
            ("deployment.environment.name", "Staging", "staging"),
            ("deployment.environment", "eu_1", "eu_1"),
            ("deployment.environment", "Prod EU", "default"),
            ("deployment.environment", "langfuse", "default"),
            ("service.name", "staging", "default"),
        ] {
            assert_eq!(environment(&[(key, sent)]), stored, "{key}={sent}");
        }
        assert_eq!(
            environment(&[
                ("deployment.environment", "c"),
                ("deployment.environment.name", "b"),
                ("langfuse.environment", "a"),
            ]),
            "a"
        );
    }
}
