# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_langspan_global_optspecs
    string join \n h/help V/version
end

function __fish_langspan_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_langspan_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_langspan_using_subcommand
    set -l cmd (__fish_langspan_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c langspan -n "__fish_langspan_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_needs_command" -s V -l version -d 'Print version'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "chat" -d 'Ask for one chat completion inside a trace'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "replay" -d 'Send a recorded JSON request, or emit a recording again'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "batch" -d 'Ask for many chat completions, one a line, each inside a trace of its own'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "check" -d 'Prove, stage by stage, that settings, endpoint, keys, export and read-back work'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "show" -d 'Read a trace back and draw it'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "resend" -d 'Deliver the spans that wait in the outbox'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "sandbox" -d 'Serve a chat model and a Langfuse stand-in on this machine'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s u -l user -d 'The user that the call is for [env: LANGSPAN_USER]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s S -l session -d 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s t -l tag -d 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s n -l name -d 'The trace\'s name [default: chat-completion]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l metadata -d 'Metadata of the trace; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l environment -d 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l release -d 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-version -d 'The version of what is traced' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-seed -d 'Derive the trace id from SEED: the same seed is the same trace' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-id -d 'The trace id, 32 hexadecimal digits' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l traceparent -d 'Continue a trace: a W3C traceparent' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s m -l model -d 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l openai-base-url -d 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s H -l header -d 'A header for the model endpoint; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s s -l system -d 'The system message' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l temperature -d 'Sampling temperature' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l max-tokens -d 'The most tokens that the answer may have' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s p -l param -d 'Any field of the request body: a string, or JSON after `:=`; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l schema -d 'A file with the JSON Schema that the answer must fit' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l image -d 'Attach an image to the user message: a file, or a URL; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l file -d 'Attach a file to the user message: text, PDF, audio …; may be repeated' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l retries -d 'Further attempts after the first [default: 2; of batch: 5]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l timeout -d 'Time for all attempts and the whole answer, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l wait -d 'How long --verify waits, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l sample -d 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l capture -d 'The content to trace and record: full, truncate=N (characters of each text) or none' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l redact -d 'Leave what matches out of what is traced and recorded; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l record -d 'Append the exchange to FILE, as replay reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-stdin -d 'Ignore stdin'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l public -d 'Let anyone with the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l join -d 'Continue the trace of the TRACEPARENT variable'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l stream -d 'Stream the answer [default: when stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l best-effort -d 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-outbox -d 'Do not keep what cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l dry-run -d 'Show request, spans and destination; open no connection'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l sandbox -d 'Use the embedded model and Langfuse stand-in: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s u -l user -d 'The user that the call is for [env: LANGSPAN_USER]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s S -l session -d 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s t -l tag -d 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s n -l name -d 'The trace\'s name [default: chat-completion]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l metadata -d 'Metadata of the trace; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l environment -d 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l release -d 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-version -d 'The version of what is traced' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-seed -d 'Derive the trace id from SEED: the same seed is the same trace' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-id -d 'The trace id, 32 hexadecimal digits' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l traceparent -d 'Continue a trace: a W3C traceparent' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s m -l model -d 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l openai-base-url -d 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s H -l header -d 'A header for the model endpoint; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s s -l system -d 'The system message' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l temperature -d 'Sampling temperature' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l max-tokens -d 'The most tokens that the answer may have' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s p -l param -d 'Any field of the request body: a string, or JSON after `:=`; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l schema -d 'A file with the JSON Schema that the answer must fit' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l image -d 'Attach an image to the user message: a file, or a URL; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l file -d 'Attach a file to the user message: text, PDF, audio …; may be repeated' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l retries -d 'Further attempts after the first [default: 2; of batch: 5]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l timeout -d 'Time for all attempts and the whole answer, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l wait -d 'How long --verify waits, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l sample -d 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l capture -d 'The content to trace and record: full, truncate=N (characters of each text) or none' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l redact -d 'Leave what matches out of what is traced and recorded; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l record -d 'Append the exchange to FILE, as replay reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l send -d 'Call the model for recordings too'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l public -d 'Let anyone with the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l join -d 'Continue the trace of the TRACEPARENT variable'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l stream -d 'Stream the answer [default: when stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l best-effort -d 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-outbox -d 'Do not keep what cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l dry-run -d 'Show request, spans and destination; open no connection'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l sandbox -d 'Use the embedded model and Langfuse stand-in: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s O -l out -d 'Write the answers to FILE instead of stdout' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s j -l concurrency -d 'How many calls are under way at once' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l rpm -d 'At most this many requests a minute' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l limit -d 'Use only the first N lines' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l shard -d 'Only the K-th of N shares of the lines; auto/N or auto take K from the job runner' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-errors -d 'Stop early when this many lines or traces have failed' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l allow-errors -d 'How many lines may fail, or how many of a hundred, for exit code 0' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l run -d 'The run\'s name: its session, and what its trace ids derive from [default: file and start time]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l summary -d 'Write the summary to FILE as JSON' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s u -l user -d 'The user that the call is for [env: LANGSPAN_USER]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s S -l session -d 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s t -l tag -d 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s n -l name -d 'The trace\'s name [default: chat-completion]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l metadata -d 'Metadata of the trace; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l environment -d 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l release -d 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-version -d 'The version of what is traced' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-seed -d 'Derive the trace id from SEED: the same seed is the same trace' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-id -d 'The trace id, 32 hexadecimal digits' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l traceparent -d 'Continue a trace: a W3C traceparent' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s m -l model -d 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l openai-base-url -d 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s H -l header -d 'A header for the model endpoint; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s s -l system -d 'The system message' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l temperature -d 'Sampling temperature' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-tokens -d 'The most tokens that the answer may have' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s p -l param -d 'Any field of the request body: a string, or JSON after `:=`; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l schema -d 'A file with the JSON Schema that the answer must fit' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l image -d 'Attach an image to the user message: a file, or a URL; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l file -d 'Attach a file to the user message: text, PDF, audio …; may be repeated' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l retries -d 'Further attempts after the first [default: 2; of batch: 5]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l timeout -d 'Time for all attempts and the whole answer, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l wait -d 'How long --verify waits, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l sample -d 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l capture -d 'The content to trace and record: full, truncate=N (characters of each text) or none' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l redact -d 'Leave what matches out of what is traced and recorded; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l record -d 'Append the exchange to FILE, as replay reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l overwrite -d 'Write over an output file that holds something'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l resume -d 'Continue an earlier run: ask only for what --out does not hold yet'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l retry-errors -d 'Ask again for the lines that failed'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ordered -d 'Write the answers in the order of the lines'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l strict -d 'Check every line before anything is sent'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l public -d 'Let anyone with the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l join -d 'Continue the trace of the TRACEPARENT variable'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l stream -d 'Stream the answer [default: when stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l best-effort -d 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-outbox -d 'Do not keep what cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l dry-run -d 'Show request, spans and destination; open no connection'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l sandbox -d 'Use the embedded model and Langfuse stand-in: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l wait -d 'How long to wait until the trace can be read, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l timeout -d 'Time for everything, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l wait-for-server -d 'Wait this long for a server that is still starting, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l junit -d 'Write the stages to FILE as JUnit XML' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -s u -l user -d 'The user that the call is for [env: LANGSPAN_USER]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -s S -l session -d 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -s t -l tag -d 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -s n -l name -d 'The trace\'s name [default: chat-completion]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l metadata -d 'Metadata of the trace; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l environment -d 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l release -d 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-version -d 'The version of what is traced' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-seed -d 'Derive the trace id from SEED: the same seed is the same trace' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-id -d 'The trace id, 32 hexadecimal digits' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l traceparent -d 'Continue a trace: a W3C traceparent' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -s m -l model -d 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l openai-base-url -d 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -s H -l header -d 'A header for the model endpoint; may be repeated' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand check" -l with-model -d 'Call the model as well: a real completion'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l no-write -d 'Stop after the keys: send no trace'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l no-region-probe -d 'Do not ask the other regions of Langfuse Cloud whether a refused key is theirs'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l sandbox -d 'Use the embedded model and Langfuse stand-in: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l public -d 'Let anyone with the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l join -d 'Continue the trace of the TRACEPARENT variable'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand show" -l wait -d 'How long to wait until the trace can be read, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand show" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand show" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand show" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand show" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand show" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand show" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand show" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l older-than -d 'Only what has waited longer: 90s, 15m, 12h, 7d' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l langfuse-base-url -d 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l ui-url -d 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l ca-file -d 'Trust the certificate authorities in FILE too' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l env-file -d 'Read settings from FILE; variables of the environment win' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l export-timeout -d 'Time for one export request with its retries, in seconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s o -l output -d 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]' -r
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l list -d 'Only list what waits'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l discard -d 'Delete what waits instead of delivering it'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l yes -d 'Do not ask before deleting'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l json -d 'The same as -o json'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s q -l quiet -d 'No notes, hints and warnings; errors are still said'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s v -l verbose -d 'Show the requests, secrets removed; may be repeated'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l port -d 'The port to listen on; 0 takes any free one' -r
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l delay -d 'How long the model thinks, in milliseconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l langfuse -d 'The Langfuse version whose API is served' -r -f -a "v3\t''
v4\t''"
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l visible-after -d 'How long a trace stays unreadable after it was accepted, in milliseconds' -r
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l clear -d 'Delete all stored traces and media, and exit'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l yes -d 'Do not ask before deleting'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -s q -l quiet -d 'Print nothing but errors'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand completions" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "chat" -d 'Ask for one chat completion inside a trace'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "replay" -d 'Send a recorded JSON request, or emit a recording again'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "batch" -d 'Ask for many chat completions, one a line, each inside a trace of its own'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "check" -d 'Prove, stage by stage, that settings, endpoint, keys, export and read-back work'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "show" -d 'Read a trace back and draw it'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "resend" -d 'Deliver the spans that wait in the outbox'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "sandbox" -d 'Serve a chat model and a Langfuse stand-in on this machine'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c langspan -n "__fish_langspan_using_subcommand help; and not __fish_seen_subcommand_from chat replay batch check show resend sandbox completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
