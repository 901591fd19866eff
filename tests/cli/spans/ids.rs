//! Trace and span ids, and trace context.

use opentelemetry_proto::tonic::trace::v1::Span;
use sha2::{Digest as _, Sha256};

use super::assert_table;
use crate::support::otlp::{Servers, Trace, attribute, hex, traces_at};

/// The first 8 bytes of SHA-256(`TRACE_ID/START_NANOS/which`), where the start is that of the generation.
fn span_id(generation: &Span, which: &str) -> String {
    let text = format!(
        "{}/{}/{which}",
        hex(&generation.trace_id),
        generation.start_time_unix_nano
    );
    hex(&Sha256::digest(text.as_bytes())[..8])
}

#[test]
fn span_ids_derive_from_the_trace_id_and_the_start_of_the_generation() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "--trace-seed", "my-seed", "Hello"])
        .run()
        .code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    // The first 16 bytes of SHA-256("my-seed").
    assert_eq!(hex(&parent.trace_id), "e47b450a58ba3f9ba4a36ec20b7f7c18");
    assert_eq!(parent.trace_id, generation.trace_id);
    assert!(parent.start_time_unix_nano + 1_000_000 <= generation.start_time_unix_nano);
    assert_eq!(hex(&parent.span_id), span_id(&generation, "parent"));
    assert_eq!(hex(&generation.span_id), span_id(&generation, "generation"));
    assert_eq!(generation.parent_span_id, parent.span_id);
    assert!(parent.parent_span_id.is_empty());
}

#[test]
fn two_runs_are_two_traces() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Hello"]);
    call.run();
    call.run();
    let traces = traces_at(&servers.langfuse);
    assert_ne!(traces[0].id(), traces[1].id());
    assert_ne!(traces[0].parent.span_id, traces[1].parent.span_id);
}

#[test]
fn the_model_gets_the_traceparent_of_the_generation() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    let span = servers.trace().generation;
    assert_eq!(
        servers.asked()[0].header("traceparent"),
        format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
    );
}

#[test]
fn under_a_remote_parent_our_span_is_marked_as_application_root() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = servers.call(&["chat", "--traceparent", remote, "Hello"]);
    call.run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(hex(&parent.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&parent.parent_span_id), "b7ad6b7169203331");
    assert_table(
        &parent,
        &servers.model,
        "chat-completion SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.internal.is_app_root = (bool) true
        langfuse.observation.type = span
        langfuse.trace.name = chat-completion
        output.value = hi",
    );
    assert_eq!(
        attribute(&generation, "langfuse.internal.is_app_root"),
        None
    );
}

#[test]
fn the_model_of_a_joined_trace_gets_our_span() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = servers.call(&["chat", "--join", "Hello"]);
    call.env("TRACEPARENT", remote).run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(generation.parent_span_id, parent.span_id);
    assert_eq!(
        servers.asked()[0].header("traceparent"),
        format!(
            "00-0af7651916cd43dd8448eb211c80319c-{}-01",
            hex(&generation.span_id)
        )
    );
}

#[test]
fn a_traceparent_of_the_environment_is_followed_only_when_asked() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (arguments, joins) in [
        (&["chat", "Hello"][..], false),
        (&["chat", "--join", "Hello"], true),
    ] {
        servers
            .call(arguments)
            .env("TRACEPARENT", remote)
            .run()
            .code(0);
        let trace = traces_at(&servers.langfuse).pop().unwrap();
        assert_eq!(
            trace.id() == "0af7651916cd43dd8448eb211c80319c",
            joins,
            "{arguments:?}"
        );
    }
}
