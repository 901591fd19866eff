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
complete -c langspan -n "__fish_langspan_needs_command" -f -a "chat" -d 'Run one chat completion inside a trace'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "replay" -d 'Send recorded JSON requests, or emit recordings again'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "batch" -d 'Run every line of a JSONL file, each inside its own trace'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "merge" -d 'Join the outputs of a batch\'s shards into one'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "compare" -d 'Compare two runs of the same items'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "exec" -d 'Run any program inside one trace, with all its model calls'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "check" -d 'Test settings, keys, export and read-back, stage by stage'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "show" -d 'Read a trace back and draw it'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "prompt" -d 'Print a prompt that Langfuse manages, or list them'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "score" -d 'Set scores on a trace'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "resend" -d 'Deliver the spans and scores that wait in the outbox'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "models" -d 'List the models of the model endpoint'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "config" -d 'Show the settings in force, or write a settings file'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "sandbox" -d 'Serve a stand-in for model and Langfuse on this machine'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c langspan -n "__fish_langspan_needs_command" -f -a "help" -d 'Show a help topic, or the help of a command'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l messages -d 'Messages that precede the prompt: a JSON array in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l thread -d 'Continue the conversation in FILE; prompt and answer are added to it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''
raw\t''
url\t''"
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l record -d 'Append the exchange to FILE; `replay` reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s u -l user -d 'User of the trace [env: LANGSPAN_USER]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s S -l session -d 'Session that groups traces [env: LANGSPAN_SESSION]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s t -l tag -d 'Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s n -l name -d 'Name of the trace [default: chat-completion]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l environment -d 'Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s m -l model -d 'Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l api -d 'Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]' -r -f -a "chat\t''
responses\t''
messages\t''
embeddings\t''"
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l anthropic-base-url -d 'Endpoint of --api messages [env: ANTHROPIC_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s s -l system -d 'System message' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l system-file -d 'System message, from a file' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l temperature -d 'Sampling temperature' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l max-tokens -d 'Maximum number of tokens in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s p -l param -d 'Field of the request body: KEY=TEXT or KEY:=JSON; @FILE as the value reads a file (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l schema -d 'Require an answer that fits the JSON Schema in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l image -d 'Attach an image, from a file or a URL (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l file -d 'Attach a file: text, PDF, audio … (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l retries -d 'Further attempts after a failed one [default: 2]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l timeout -d 'Time for all attempts and the whole answer, in seconds [default: 600]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l sample -d 'Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l capture -d 'Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]' -r -f -a "full\t''
none\t''
truncate=\t''"
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l redact -d 'Redact text matching REGEX from traces and recordings (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l prompt -d 'Use a prompt of Langfuse; the label is `production` unless another one is given' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l var -d 'Fill a variable: KEY=TEXT, KEY=@FILE, or KEY:=JSON for a placeholder (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l vars -d 'Fill variables from a JSON object in FILE; --var overrides them' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l expect -d 'Expect the answer to contain TEXT, else exit 9 (repeatable, as the next three)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l expect-regex -d 'Expect a match of REGEX in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l expect-not -d 'Expect the answer not to contain TEXT' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l expect-not-regex -d 'Expect no match of REGEX in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l max-latency -d 'Expect an answer within MS milliseconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l max-call-cost -d 'Expect the call to cost at most USD, by the price table of the project' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l score -d 'Add a score to the trace: a number, true, false or a word (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-stdin -d 'Ignore stdin'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l cost -d 'Print the cost, by the price table of the project'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l dry-run -d 'Show request, spans and destination; send nothing'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l stream -d 'Stream the answer [default: if stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l best-effort -d 'Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-outbox -d 'Do not keep spans that cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l no-prompt-cache -d 'Do not use the kept copy when Langfuse cannot be reached'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -l expect-json -d 'Expect the answer to be JSON'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l from -d 'Repeat the request of a Langfuse trace (id or URL)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l from-session -d 'Repeat the requests of a session\'s generations, in order' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l limit -d 'Use only the first N generations of the session' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l batch-input -d 'Input file of a provider\'s Batch API: each request becomes a trace with its output, without a model call' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l batch-output -d 'Output or error file of the same batch' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l batch-object -d 'The batch as the provider\'s API returns it, for its id and times' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l record -d 'Append the exchange to FILE; `replay` reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s u -l user -d 'User of the trace [env: LANGSPAN_USER]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s S -l session -d 'Session that groups traces [env: LANGSPAN_SESSION]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s n -l name -d 'Name of the trace [default: chat-completion]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l environment -d 'Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s m -l model -d 'Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l api -d 'Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]' -r -f -a "chat\t''
responses\t''
messages\t''
embeddings\t''"
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l anthropic-base-url -d 'Endpoint of --api messages [env: ANTHROPIC_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s s -l system -d 'System message' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l system-file -d 'System message, from a file' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l temperature -d 'Sampling temperature' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l max-tokens -d 'Maximum number of tokens in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s p -l param -d 'Field of the request body: KEY=TEXT or KEY:=JSON; @FILE as the value reads a file (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l schema -d 'Require an answer that fits the JSON Schema in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l image -d 'Attach an image, from a file or a URL (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l file -d 'Attach a file: text, PDF, audio … (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l retries -d 'Further attempts after a failed one [default: 2]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l timeout -d 'Time for all attempts and the whole answer, in seconds [default: 600]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l sample -d 'Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l capture -d 'Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]' -r -f -a "full\t''
none\t''
truncate=\t''"
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l redact -d 'Redact text matching REGEX from traces and recordings (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s t -l tag -d 'Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''
raw\t''
url\t''"
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l send -d 'Call the model for recordings too'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l again -d 'Emit recordings even if Langfuse has their traces already'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l cost -d 'Print the cost, by the price table of the project'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l dry-run -d 'Show request, spans and destination; send nothing'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l stream -d 'Stream the answer [default: if stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l best-effort -d 'Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-outbox -d 'Do not keep spans that cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s O -l out -d 'Write the answers to FILE instead of stdout' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s j -l concurrency -d 'Maximum number of calls at once' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l rpm -d 'Maximum number of requests per minute' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l tpm -d 'Maximum number of tokens per minute' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l give-up -d 'Stop early when the model endpoint has been down for SECS seconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l limit -d 'Process only the first N lines of the input, counted before --shard' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l shard -d 'Process only shard K of N; `auto` reads K and N from the CI or job runner, `auto/N` only K' -r -f -a "auto\t''
auto/\t''"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-errors -d 'Stop early after N failed lines or traces' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-cost -d 'Stop early when the run has cost USD or more' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l allow-errors -d 'Exit 0 if no more than N lines (or P%) failed' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l run -d 'Name of the run: its session, and the seed of its trace ids [default: that of --experiment, else from file, start time and a random part]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l summary -d 'Write the summary to FILE as JSON' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l match-expected -d 'How to compare an answer with the `expected` of its line [default: contains], or with the expected output of its dataset item [default: not at all]' -r -f -a "exact\t''
contains\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l allow-misses -d 'Exit 0 if no more than N lines (or P%) missed an expectation' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l record -d 'Append the exchange to FILE; `replay` reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s n -l name -d 'Name of the trace [default: chat-completion]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l environment -d 'Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s m -l model -d 'Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l api -d 'Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]' -r -f -a "chat\t''
responses\t''
messages\t''
embeddings\t''"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l anthropic-base-url -d 'Endpoint of --api messages [env: ANTHROPIC_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s s -l system -d 'System message' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l system-file -d 'System message, from a file' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l temperature -d 'Sampling temperature' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-tokens -d 'Maximum number of tokens in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s p -l param -d 'Field of the request body: KEY=TEXT or KEY:=JSON; @FILE as the value reads a file (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l schema -d 'Require an answer that fits the JSON Schema in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l image -d 'Attach an image, from a file or a URL (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l file -d 'Attach a file: text, PDF, audio … (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l timeout -d 'Time for all attempts and the whole answer, in seconds [default: 600]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l sample -d 'Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l capture -d 'Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]' -r -f -a "full\t''
none\t''
truncate=\t''"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l redact -d 'Redact text matching REGEX from traces and recordings (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l dataset -d 'Use the items of a Langfuse dataset as the lines' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l experiment -d 'Make an experiment of the lines; the name is also that of the run [default with --dataset: the name of the run]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l experiment-description -d 'What the experiment is about' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l prompt -d 'Use a prompt of Langfuse; the label is `production` unless another one is given' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l var -d 'Fill a variable: KEY=TEXT, KEY=@FILE, or KEY:=JSON for a placeholder (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l vars -d 'Fill variables from a JSON object in FILE; --var overrides them' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l expect -d 'Expect the answer to contain TEXT, else exit 9 (repeatable, as the next three)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l expect-regex -d 'Expect a match of REGEX in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l expect-not -d 'Expect the answer not to contain TEXT' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l expect-not-regex -d 'Expect no match of REGEX in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-latency -d 'Expect an answer within MS milliseconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l max-call-cost -d 'Expect the call to cost at most USD, by the price table of the project' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l score -d 'Add a score to the trace: a number, true, false or a word (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l retries -d 'Further attempts after a failed one [default: 5]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 30]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s u -l user -d 'User of the trace [env: LANGSPAN_USER]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s t -l tag -d 'Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s S -l session -d 'Session that groups traces [env: LANGSPAN_SESSION]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l overwrite -d 'Overwrite a non-empty output file'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l resume -d 'Continue an earlier run: only ask for what --out lacks'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l retry-errors -d 'Ask again for the lines that failed'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ordered -d 'Write the answers in the order of the lines'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l strict -d 'Validate every line before anything is sent'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l dry-run -d 'Show request, spans and destination; send nothing'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l stream -d 'Stream the answer [default: if stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l best-effort -d 'Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-outbox -d 'Do not keep spans that cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l again -d 'Add to an experiment that already has items; an item that runs again is counted twice'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l no-prompt-cache -d 'Do not use the kept copy when Langfuse cannot be reached'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -l expect-json -d 'Expect the answer to be JSON'
complete -c langspan -n "__fish_langspan_using_subcommand batch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -s O -l out -d 'Write the lines of all outputs to FILE, in the order of the input' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l summary -d 'Write the totals of the run to FILE as JSON' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand merge" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l overwrite -d 'Replace an existing file'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l partial -d 'Merge even if shards or lines are missing, occur twice or do not fit'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l verify -d 'Count the run\'s traces and spans in Langfuse'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l score-experiment -d 'Set the means of the expectations as scores of the experiment: a shard knows only its own items'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand merge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l allow-regressions -d 'Exit 0 if no more than N items (or P%) regressed' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l junit -d 'Write the items to FILE as JUnit XML' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand compare" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l wait -d 'Time to wait until an experiment can be read, in seconds [default: 15]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand compare" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand compare" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand compare" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l grace -d 'Time for requests under way when the command has ended, in seconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l report -d 'Write a report of the run to FILE as JSON' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s u -l user -d 'User of the trace [env: LANGSPAN_USER]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s S -l session -d 'Session that groups traces [env: LANGSPAN_SESSION]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s t -l tag -d 'Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l environment -d 'Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l sample -d 'Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l capture -d 'Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]' -r -f -a "full\t''
none\t''
truncate=\t''"
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l redact -d 'Redact text matching REGEX from traces and recordings (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s n -l name -d 'Name of the trace and of the command\'s span [default: the command\'s file name]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l expect-calls -d 'Exit with 9 if the run had no generation'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l no-proxy -d 'Leave the model endpoints of the command alone'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l no-receiver -d 'Leave the telemetry of the command alone'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l stream-usage -d 'Ask for the token counts of streams; the command does not see them'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l dry-run -d 'Show the variables that the command would get; start nothing'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l best-effort -d 'Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l no-outbox -d 'Do not keep spans that cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s v -l verbose -d 'Show the requests of the delivery, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l junit -d 'Write the stages to FILE as JUnit XML' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -l timeout -d 'Time for the whole check, in seconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l wait-for-server -d 'Wait up to SECS for a server that is starting' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -s m -l model -d 'Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l api -d 'Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]' -r -f -a "chat\t''
responses\t''
messages\t''
embeddings\t''"
complete -c langspan -n "__fish_langspan_using_subcommand check" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l anthropic-base-url -d 'Endpoint of --api messages [env: ANTHROPIC_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand check" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand check" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand check" -s u -l user -d 'User of the trace [default: langspan-check]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -s S -l session -d 'Session of the trace [default: langspan-check]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -s t -l tag -d 'Tag (repeatable) [default: langspan-check]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -s n -l name -d 'Name of the trace [default: langspan-check]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l environment -d 'Environment, of [a-z0-9-_] [default: langspan-check]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand check" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l with-model -d 'Also run a real completion'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l no-write -d 'Stop after the keys; send no trace'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l no-region-probe -d 'Do not look up a refused key in the other regions of Langfuse Cloud'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand check" -l ci -d 'Always on: add commit, branch, job URL and actor of the CI job'
complete -c langspan -n "__fish_langspan_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand show" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand show" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand show" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand show" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand show" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand show" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand show" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand show" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 15]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand show" -l full -d 'Show the texts of generations in full'
complete -c langspan -n "__fish_langspan_using_subcommand show" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand score" -l comment -d 'Comment on each score' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -l type -d 'Type of the values [default: by the value]' -r -f -a "numeric\t''
categorical\t''
boolean\t''"
complete -c langspan -n "__fish_langspan_using_subcommand score" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand score" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand score" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand score" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand score" -l wait -d 'Time to wait until the trace, and with --verify its scores, can be read, in seconds [default: 15]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -l verify -d 'Wait until the scores can be read'
complete -c langspan -n "__fish_langspan_using_subcommand score" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand score" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand score" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand score" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l older-than -d 'Only entries that have waited longer, as in 90s, 15m, 12h or 7d' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l export-timeout -d 'Time for one export request with its retries, in seconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l list -d 'List what waits; send nothing'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l discard -d 'Delete what waits instead of sending it'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l again -d 'Also send spans that may have arrived already: a second copy doubles their cost'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l yes -d 'Do not ask before deleting'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand resend" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand models" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand models" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand models" -l timeout -d 'Time for the answer, in seconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand models" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand models" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand models" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand models" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand models" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand models" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand models" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand models" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l record -d 'Append the exchange to FILE; `replay` reads it' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s u -l user -d 'User of the trace [env: LANGSPAN_USER]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s S -l session -d 'Session that groups traces [env: LANGSPAN_SESSION]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s t -l tag -d 'Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s n -l name -d 'Name of the trace [default: chat-completion]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l metadata -d 'Metadata of the trace (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l environment -d 'Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l release -d 'Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l trace-version -d 'Version of the traced application (langfuse.version)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l trace-seed -d 'Derive the trace id from SEED; the same seed gives the same trace' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l trace-id -d 'Trace id, 32 hexadecimal digits' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l traceparent -d 'Continue the trace of a W3C traceparent' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s m -l model -d 'Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l api -d 'Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]' -r -f -a "chat\t''
responses\t''
messages\t''
embeddings\t''"
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l openai-base-url -d 'OpenAI-compatible endpoint [env: OPENAI_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l anthropic-base-url -d 'Endpoint of --api messages [env: ANTHROPIC_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s H -l header -d 'HTTP header for the model endpoint (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s s -l system -d 'System message' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l system-file -d 'System message, from a file' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l temperature -d 'Sampling temperature' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l max-tokens -d 'Maximum number of tokens in the answer' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s p -l param -d 'Field of the request body: KEY=TEXT or KEY:=JSON; @FILE as the value reads a file (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l schema -d 'Require an answer that fits the JSON Schema in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l image -d 'Attach an image, from a file or a URL (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l file -d 'Attach a file: text, PDF, audio … (repeatable)' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l retries -d 'Further attempts after a failed one [default: 2]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l timeout -d 'Time for all attempts and the whole answer, in seconds [default: 600]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l langfuse-base-url -d 'Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l otlp-endpoint -d 'Send the spans to an OpenTelemetry collector instead' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l ui-url -d 'Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l ca-file -d 'Also trust the certificate authorities in FILE' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l env-file -d 'Read variables from FILE; environment variables take precedence' -r -F
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l profile -d 'Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]' -r -f -a "(langspan config profiles 2>/dev/null)"
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l wait -d 'Time to wait until the trace can be read, in seconds [default: 60]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l export-timeout -d 'Time for one export request with its retries, in seconds [default: 10]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l sample -d 'Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l capture -d 'Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]' -r -f -a "full\t''
none\t''
truncate=\t''"
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l redact -d 'Redact text matching REGEX from traces and recordings (repeatable)' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s o -l output -d 'Output format' -r -f -a "text\t''
json\t''"
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l sandbox -d 'Use the embedded model and Langfuse: no key, no network'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l json -d 'Short for -o json'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s q -l quiet -d 'Suppress notes, hints and warnings; errors are still printed'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s v -l verbose -d 'Show the requests, with secrets removed (repeatable)'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l dry-run -d 'Show request, spans and destination; send nothing'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l public -d 'Let anyone who has the link read the trace'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l join -d 'Continue the trace of the variable TRACEPARENT'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l ci -d 'Add commit, branch, job URL and actor of the CI job as metadata'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l stream -d 'Stream the answer [default: if stdout is a terminal]'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l no-stream -d 'Wait for the whole answer'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l verify -d 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l best-effort -d 'Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l no-outbox -d 'Do not keep spans that cannot be delivered'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -l no-media -d 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -f -a "path" -d 'Print the path of the settings file'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -f -a "profiles" -d 'Print the names of the profiles'
complete -c langspan -n "__fish_langspan_using_subcommand config; and not __fish_seen_subcommand_from path profiles init" -f -a "init" -d 'Ask for URLs, keys and model, test them, and write the settings file'
complete -c langspan -n "__fish_langspan_using_subcommand config; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand config; and __fish_seen_subcommand_from profiles" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand config; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l port -d 'Port to listen on; 0 takes any free one' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l delay -d 'Delay of the model\'s answer, in milliseconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l langfuse -d 'Langfuse version to imitate' -r -f -a "v3\t''
v4\t''"
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l visible-after -d 'Time until an accepted trace can be read, in milliseconds' -r -f
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l clear -d 'Delete all stored traces and media, then exit'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -l yes -d 'Do not ask before deleting'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -s q -l quiet -d 'Print nothing but errors'
complete -c langspan -n "__fish_langspan_using_subcommand sandbox" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c langspan -n "__fish_langspan_using_subcommand chat" -f
complete -c langspan -n "__fish_langspan_using_subcommand show" -f
complete -c langspan -n "__fish_langspan_using_subcommand prompt" -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -f
complete -c langspan -n "__fish_langspan_using_subcommand score" -f
complete -c langspan -n "__fish_langspan_using_subcommand models" -f
complete -c langspan -n "__fish_langspan_using_subcommand completions" -f -a "bash zsh fish powershell elvish"
complete -c langspan -n "__fish_langspan_using_subcommand help" -f -a "chat replay batch merge compare exec check show prompt score resend models config sandbox completions help ci cluster conversations destinations dialects environment exit-codes expectations experiments failures import mapping privacy prompts scores json"
