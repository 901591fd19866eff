//! Keys of the settings file stay with their host.

use super::{Servers, call};
use crate::support::export::Export;
use crate::support::harness::{Scripted, TRACES};
use crate::support::untouched::Untouched;

#[test]
fn a_key_pair_does_not_follow_another_url() {
    let (servers, other) = (Servers::start(), Untouched::start());
    let chat = |settings: &str| call(&["chat", "Hello"], settings);
    let settings = servers.settings();
    for call in [
        chat(&settings).arg("--langfuse-base-url").arg(other.url()),
        chat(&settings).env("LANGFUSE_BASE_URL", other.url()),
        chat(&settings).env("LANGFUSE_HOST", other.url()),
        chat(&settings).env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("{}/api/public/otel", other.url()),
        ),
        chat(&settings).env("OTEL_EXPORTER_OTLP_ENDPOINT", other.url()),
        chat(&format!("[profile.a]\n{settings}"))
            .arg("--profile")
            .arg("a")
            .arg("--langfuse-base-url")
            .arg(other.url()),
    ] {
        let ended = call.run();
        ended.code(3).stdout("").stderr_lacks("0123456789");
        assert!(ended.stderr.contains("config.toml:"), "{ended:#?}");
        assert!(ended.stderr.contains(other.url()), "{ended:#?}");
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
    }
    assert!(servers.model.requests().is_empty());
    other.assert_untouched();
}

#[test]
fn keys_outside_profiles_do_not_follow_the_url_of_a_profile() {
    let other = Untouched::start();
    let servers = Servers::start();
    let settings = format!(
        "{}[profile.a]\nlangfuse_base_url = '{}'\n",
        servers.settings(),
        other.url()
    );
    let ended = call(&["chat", "--profile", "a", "Hello"], &settings).run();
    ended.code(3).stderr_has("are not sent to another server");
    ended.stderr_has("add keys to the table of the URL");
    let settings = format!(
        "langfuse_base_url = '{}'\nopenai_base_url = '{}'\n[profile.a]\npublic_key = 'pk-lf-1'\nsecret_key = 'sk-lf-1'\n",
        other.url(),
        other.url()
    );
    let ended = call(&["chat", "--profile", "a", "Hello"], &settings).run();
    ended
        .code(3)
        .stderr_has("no langfuse_base_url in the same table");
    other.assert_untouched();
}

#[test]
fn without_any_url_keys_are_for_the_default_servers() {
    let settings = "public_key = 'pk-lf-1'\nsecret_key = 'sk-lf-1'\nopenai_api_key = 'sk-1'\n";
    let ended = call(&["chat", "--dry-run", "Hello"], settings).run();
    ended.code(0);
    assert!(
        ended.stdout.contains("https://cloud.langfuse.com/"),
        "{ended:#?}"
    );
    let ended = call(&["chat", "--dry-run", "Hello"], settings)
        .env("LANGFUSE_BASE_URL", "https://us.cloud.langfuse.com")
        .run();
    ended
        .code(3)
        .stderr_has("are for https://cloud.langfuse.com");
    let ended = call(&["chat", "--dry-run", "Hello"], settings)
        .env("LANGFUSE_BASE_URL", "cloud.langfuse.com")
        .run();
    ended.code(0);
}

#[test]
fn a_variable_with_the_same_host_may_use_the_keys() {
    let servers = Servers::start();
    let call = call(&["chat", "Hello"], &servers.settings());
    let path = format!("{}/project/p/traces", servers.langfuse.url());
    call.env("LANGFUSE_BASE_URL", &path).run().code(0);
    Export::only(&servers.langfuse, TRACES);
}

#[test]
fn keys_of_variables_are_used_where_the_variables_say() {
    let servers = Servers::start();
    let other = Scripted::langfuse(|_, _| {
        crate::support::harness::Reply::json(200, &serde_json::json!({}))
    });
    let call = call(&["chat", "Hello"], &servers.settings()).langfuse_at(other.url());
    call.run().code(0);
    let export = &other.exports()[0];
    assert!(export.header("authorization").starts_with("Basic "));
    assert!(servers.langfuse.exports().is_empty());
}

#[test]
fn a_model_key_does_not_follow_another_url() {
    let (servers, other) = (Servers::start(), Untouched::start());
    let settings = format!("{}openai_api_key = 'sk-0123456789'\n", servers.settings());
    let header = format!(
        "{}header = {{X-Api-Key = 'sk-0123456789'}}\n",
        servers.settings()
    );
    for settings in [&settings, &header] {
        let chat = || call(&["chat", "Hello"], settings);
        for call in [
            chat().arg("--openai-base-url").arg(other.url()),
            chat().env("OPENAI_BASE_URL", other.url()),
        ] {
            let ended = call.run();
            ended.code(3).stdout("").stderr_lacks("0123456789");
            ended
                .stderr_has("is not sent there")
                .stderr_has("--profile");
        }
    }
    other.assert_untouched();
    let model = Scripted::model("hi");
    let with_key = call(&["chat", "Hello"], &settings)
        .env("OPENAI_BASE_URL", model.url())
        .env("OPENAI_API_KEY", "sk-of-environment");
    with_key.run().code(0);
    assert_eq!(
        model.requests()[0].header("authorization"),
        "Bearer sk-of-environment"
    );
}

#[test]
fn a_profile_with_an_endpoint_of_its_own_gets_no_key_of_the_others() {
    let (servers, local) = (Servers::start(), Scripted::model("hi"));
    let settings = format!(
        "{}openai_api_key = 'sk-0123456789'\nheader = {{X-Api-Key = 'sk-0123456789', X-Title = 't'}}\n[profile.local]\nopenai_base_url = '{}'\n",
        servers.settings(),
        local.url()
    );
    call(&["chat", "--profile", "local", "Hello"], &settings)
        .run()
        .code(0);
    let request = &local.requests()[0];
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.header("x-api-key"), "");
    assert_eq!(request.header("x-title"), "t");
}

#[test]
fn half_a_pair_in_a_table_is_refused() {
    let settings =
        "langfuse_base_url = 'http://127.0.0.1:9'\nopenai_base_url = 'http://127.0.0.1:9'\n";
    for (line, missing) in [
        (
            "public_key = 'pk-lf-1'",
            "lacks secret_key_file or secret_key_command",
        ),
        ("secret_key = 'sk-lf-1'", "lacks public_key"),
    ] {
        let ended = call(&["chat", "Hello"], &format!("{settings}{line}\n")).run();
        ended.code(3).stderr_has(missing);
    }
}
