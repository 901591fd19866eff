//! The attribute keys of spans, grouped by the convention that defines them.

/// Keys that Langfuse maps (<https://langfuse.com/integrations/native/opentelemetry>).
pub mod langfuse {
    pub const USER_ID: &str = "langfuse.user.id";
    pub const SESSION_ID: &str = "langfuse.session.id";
    pub const TAGS: &str = "langfuse.tags";
    pub const TRACE_NAME: &str = "langfuse.trace.name";
    pub const TRACE_PUBLIC: &str = "langfuse.trace.public";
    pub const TRACE_METADATA: &str = "langfuse.trace.metadata";
    pub const VERSION: &str = "langfuse.version";
    /// On the resource.
    pub const ENVIRONMENT: &str = "langfuse.environment";
    /// On the resource.
    pub const RELEASE: &str = "langfuse.release";
    pub const EXPERIMENT_ID: &str = "langfuse.experiment.id";
    pub const EXPERIMENT_NAME: &str = "langfuse.experiment.name";
    pub const EXPERIMENT_DESCRIPTION: &str = "langfuse.experiment.description";
    pub const EXPERIMENT_DATASET_ID: &str = "langfuse.experiment.dataset.id";
    pub const EXPERIMENT_METADATA: &str = "langfuse.experiment.metadata";
    pub const EXPERIMENT_ITEM_ID: &str = "langfuse.experiment.item.id";
    pub const EXPERIMENT_ITEM_VERSION: &str = "langfuse.experiment.item.version";
    pub const EXPERIMENT_ITEM_METADATA: &str = "langfuse.experiment.item.metadata";
    pub const EXPERIMENT_ITEM_EXPECTED_OUTPUT: &str = "langfuse.experiment.item.expected_output";
    /// The id of the span that stands for the item: without it, the item is not counted.
    pub const EXPERIMENT_ITEM_ROOT: &str = "langfuse.experiment.item.root_observation_id";
    /// Marks the root span of this program when its parent is remote.
    pub const IS_APP_ROOT: &str = "langfuse.internal.is_app_root";

    pub const OBSERVATION_TYPE: &str = "langfuse.observation.type";
    pub const OBSERVATION_INPUT: &str = "langfuse.observation.input";
    pub const OBSERVATION_OUTPUT: &str = "langfuse.observation.output";
    /// Only if there were several.
    pub const OBSERVATION_METADATA_ATTEMPTS: &str = "langfuse.observation.metadata.attempts";
    /// JSON array: the HTTP status of each attempt in order, null without a response. Only with several attempts.
    pub const OBSERVATION_METADATA_ATTEMPT_STATUSES: &str =
        "langfuse.observation.metadata.attempt_statuses";
    /// JSON array: milliseconds waited before each further attempt.
    pub const OBSERVATION_METADATA_ATTEMPT_WAITS: &str =
        "langfuse.observation.metadata.attempt_waits_ms";
    /// The reason of a single choice, or a JSON array of the reasons of several.
    pub const OBSERVATION_METADATA_FINISH_REASON: &str =
        "langfuse.observation.metadata.finish_reason";
    /// Part of the output in the usage. Not sent if zero.
    pub const OBSERVATION_METADATA_REASONING_TOKENS: &str =
        "langfuse.observation.metadata.reasoning_tokens";
    pub const OBSERVATION_METADATA_RESPONSE_ID: &str = "langfuse.observation.metadata.response_id";
    /// `HOST:PORT` of the model endpoint.
    pub const OBSERVATION_METADATA_SERVER: &str = "langfuse.observation.metadata.server";
    /// Read on generations only, and only together with the version.
    pub const PROMPT_NAME: &str = "langfuse.observation.prompt.name";
    pub const PROMPT_VERSION: &str = "langfuse.observation.prompt.version";
    pub const MODEL_NAME: &str = "langfuse.observation.model.name";
    pub const MODEL_PARAMETERS: &str = "langfuse.observation.model.parameters";
    pub const USAGE_DETAILS: &str = "langfuse.observation.usage_details";
    pub const COST_DETAILS: &str = "langfuse.observation.cost_details";
    pub const COMPLETION_START_TIME: &str = "langfuse.observation.completion_start_time";
}

/// Keys of the OpenTelemetry conventions, GenAI and general.
pub mod otel {
    pub const SERVICE_NAME: &str = "service.name";
    pub const SERVER_ADDRESS: &str = "server.address";
    pub const SERVER_PORT: &str = "server.port";
    pub const USER_ID: &str = "user.id";
    pub const SESSION_ID: &str = "session.id";

    pub const ERROR_TYPE: &str = "error.type";

    pub const OPERATION_NAME: &str = "gen_ai.operation.name";
    pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
    /// The session.
    pub const CONVERSATION_ID: &str = "gen_ai.conversation.id";
    pub const OUTPUT_TYPE: &str = "gen_ai.output.type";
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    pub const REQUEST_CHOICE_COUNT: &str = "gen_ai.request.choice.count";
    pub const REQUEST_ENCODING_FORMATS: &str = "gen_ai.request.encoding_formats";
    pub const REQUEST_FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
    pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    pub const REQUEST_PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
    pub const REQUEST_SEED: &str = "gen_ai.request.seed";
    pub const REQUEST_STOP_SEQUENCES: &str = "gen_ai.request.stop_sequences";
    /// Sent only if it is true.
    pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
    pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
    pub const REQUEST_TOP_K: &str = "gen_ai.request.top_k";
    pub const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
    pub const RESPONSE_ID: &str = "gen_ai.response.id";
    pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
    pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Seconds from the first request to the first chunk of a stream.
    pub const RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    pub const USAGE_CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
    pub const USAGE_CACHE_WRITE: &str = "gen_ai.usage.cache_write.input_tokens";
    pub const USAGE_REASONING: &str = "gen_ai.usage.reasoning.output_tokens";
    /// The number of dimensions that the request asks for.
    pub const EMBEDDINGS_DIMENSION_COUNT: &str = "gen_ai.embeddings.dimension.count";
    pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
    pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
    /// Instructions outside of the messages.
    pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
    pub const TOOL_DEFINITIONS: &str = "gen_ai.tool.definitions";
}

/// Keys of the OpenInference conventions, which Langfuse also reads.
pub mod openinference {
    pub const INPUT_VALUE: &str = "input.value";
    pub const OUTPUT_VALUE: &str = "output.value";
}
