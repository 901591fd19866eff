
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'langspan' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'langspan'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'langspan' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('chat', 'chat', [CompletionResultType]::ParameterValue, 'Ask for one chat completion inside a trace')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Send a recorded JSON request, or emit a recording again')
            [CompletionResult]::new('batch', 'batch', [CompletionResultType]::ParameterValue, 'Ask for many chat completions, one a line, each inside a trace of its own')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Prove, stage by stage, that settings, endpoint, keys, export and read-back work')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Read a trace back and draw it')
            [CompletionResult]::new('resend', 'resend', [CompletionResultType]::ParameterValue, 'Deliver the spans that wait in the outbox')
            [CompletionResult]::new('sandbox', 'sandbox', [CompletionResultType]::ParameterValue, 'Serve a chat model and a Langfuse stand-in on this machine')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'langspan;chat' {
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--metadata', '--metadata', [CompletionResultType]::ParameterName, 'Metadata of the trace; may be repeated')
            [CompletionResult]::new('--environment', '--environment', [CompletionResultType]::ParameterName, 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]')
            [CompletionResult]::new('--trace-version', '--trace-version', [CompletionResultType]::ParameterName, 'The version of what is traced')
            [CompletionResult]::new('--trace-seed', '--trace-seed', [CompletionResultType]::ParameterName, 'Derive the trace id from SEED: the same seed is the same trace')
            [CompletionResult]::new('--trace-id', '--trace-id', [CompletionResultType]::ParameterName, 'The trace id, 32 hexadecimal digits')
            [CompletionResult]::new('--traceparent', '--traceparent', [CompletionResultType]::ParameterName, 'Continue a trace: a W3C traceparent')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--openai-base-url', '--openai-base-url', [CompletionResultType]::ParameterName, 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--system', '--system', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--temperature', '--temperature', [CompletionResultType]::ParameterName, 'Sampling temperature')
            [CompletionResult]::new('--max-tokens', '--max-tokens', [CompletionResultType]::ParameterName, 'The most tokens that the answer may have')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--param', '--param', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--schema', '--schema', [CompletionResultType]::ParameterName, 'A file with the JSON Schema that the answer must fit')
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'Attach an image to the user message: a file, or a URL; may be repeated')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'Attach a file to the user message: text, PDF, audio …; may be repeated')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Further attempts after the first [default: 2; of batch: 5]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time for all attempts and the whole answer, in seconds')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long --verify waits, in seconds')
            [CompletionResult]::new('--export-timeout', '--export-timeout', [CompletionResultType]::ParameterName, 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]')
            [CompletionResult]::new('--sample', '--sample', [CompletionResultType]::ParameterName, 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]')
            [CompletionResult]::new('--capture', '--capture', [CompletionResultType]::ParameterName, 'The content to trace and record: full, truncate=N (characters of each text) or none')
            [CompletionResult]::new('--redact', '--redact', [CompletionResultType]::ParameterName, 'Leave what matches out of what is traced and recorded; may be repeated')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--record', '--record', [CompletionResultType]::ParameterName, 'Append the exchange to FILE, as replay reads it')
            [CompletionResult]::new('--no-stdin', '--no-stdin', [CompletionResultType]::ParameterName, 'Ignore stdin')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Let anyone with the link read the trace')
            [CompletionResult]::new('--join', '--join', [CompletionResultType]::ParameterName, 'Continue the trace of the TRACEPARENT variable')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'Add commit, branch, job URL and actor of the CI job as metadata')
            [CompletionResult]::new('--stream', '--stream', [CompletionResultType]::ParameterName, 'Stream the answer [default: when stdout is a terminal]')
            [CompletionResult]::new('--no-stream', '--no-stream', [CompletionResultType]::ParameterName, 'Wait for the whole answer')
            [CompletionResult]::new('--verify', '--verify', [CompletionResultType]::ParameterName, 'Wait until the trace can be read [env: LANGSPAN_VERIFY]')
            [CompletionResult]::new('--best-effort', '--best-effort', [CompletionResultType]::ParameterName, 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]')
            [CompletionResult]::new('--no-outbox', '--no-outbox', [CompletionResultType]::ParameterName, 'Do not keep what cannot be delivered')
            [CompletionResult]::new('--no-media', '--no-media', [CompletionResultType]::ParameterName, 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Show request, spans and destination; open no connection')
            [CompletionResult]::new('--sandbox', '--sandbox', [CompletionResultType]::ParameterName, 'Use the embedded model and Langfuse stand-in: no key, no network')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'langspan;replay' {
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--metadata', '--metadata', [CompletionResultType]::ParameterName, 'Metadata of the trace; may be repeated')
            [CompletionResult]::new('--environment', '--environment', [CompletionResultType]::ParameterName, 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]')
            [CompletionResult]::new('--trace-version', '--trace-version', [CompletionResultType]::ParameterName, 'The version of what is traced')
            [CompletionResult]::new('--trace-seed', '--trace-seed', [CompletionResultType]::ParameterName, 'Derive the trace id from SEED: the same seed is the same trace')
            [CompletionResult]::new('--trace-id', '--trace-id', [CompletionResultType]::ParameterName, 'The trace id, 32 hexadecimal digits')
            [CompletionResult]::new('--traceparent', '--traceparent', [CompletionResultType]::ParameterName, 'Continue a trace: a W3C traceparent')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--openai-base-url', '--openai-base-url', [CompletionResultType]::ParameterName, 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--system', '--system', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--temperature', '--temperature', [CompletionResultType]::ParameterName, 'Sampling temperature')
            [CompletionResult]::new('--max-tokens', '--max-tokens', [CompletionResultType]::ParameterName, 'The most tokens that the answer may have')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--param', '--param', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--schema', '--schema', [CompletionResultType]::ParameterName, 'A file with the JSON Schema that the answer must fit')
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'Attach an image to the user message: a file, or a URL; may be repeated')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'Attach a file to the user message: text, PDF, audio …; may be repeated')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Further attempts after the first [default: 2; of batch: 5]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time for all attempts and the whole answer, in seconds')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long --verify waits, in seconds')
            [CompletionResult]::new('--export-timeout', '--export-timeout', [CompletionResultType]::ParameterName, 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]')
            [CompletionResult]::new('--sample', '--sample', [CompletionResultType]::ParameterName, 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]')
            [CompletionResult]::new('--capture', '--capture', [CompletionResultType]::ParameterName, 'The content to trace and record: full, truncate=N (characters of each text) or none')
            [CompletionResult]::new('--redact', '--redact', [CompletionResultType]::ParameterName, 'Leave what matches out of what is traced and recorded; may be repeated')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--record', '--record', [CompletionResultType]::ParameterName, 'Append the exchange to FILE, as replay reads it')
            [CompletionResult]::new('--send', '--send', [CompletionResultType]::ParameterName, 'Call the model for recordings too')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Let anyone with the link read the trace')
            [CompletionResult]::new('--join', '--join', [CompletionResultType]::ParameterName, 'Continue the trace of the TRACEPARENT variable')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'Add commit, branch, job URL and actor of the CI job as metadata')
            [CompletionResult]::new('--stream', '--stream', [CompletionResultType]::ParameterName, 'Stream the answer [default: when stdout is a terminal]')
            [CompletionResult]::new('--no-stream', '--no-stream', [CompletionResultType]::ParameterName, 'Wait for the whole answer')
            [CompletionResult]::new('--verify', '--verify', [CompletionResultType]::ParameterName, 'Wait until the trace can be read [env: LANGSPAN_VERIFY]')
            [CompletionResult]::new('--best-effort', '--best-effort', [CompletionResultType]::ParameterName, 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]')
            [CompletionResult]::new('--no-outbox', '--no-outbox', [CompletionResultType]::ParameterName, 'Do not keep what cannot be delivered')
            [CompletionResult]::new('--no-media', '--no-media', [CompletionResultType]::ParameterName, 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Show request, spans and destination; open no connection')
            [CompletionResult]::new('--sandbox', '--sandbox', [CompletionResultType]::ParameterName, 'Use the embedded model and Langfuse stand-in: no key, no network')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'langspan;batch' {
            [CompletionResult]::new('-O', '-O ', [CompletionResultType]::ParameterName, 'Write the answers to FILE instead of stdout')
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Write the answers to FILE instead of stdout')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'How many calls are under way at once')
            [CompletionResult]::new('--concurrency', '--concurrency', [CompletionResultType]::ParameterName, 'How many calls are under way at once')
            [CompletionResult]::new('--rpm', '--rpm', [CompletionResultType]::ParameterName, 'At most this many requests a minute')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'Use only the first N lines')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Only the K-th of N shares of the lines; auto/N or auto take K from the job runner')
            [CompletionResult]::new('--max-errors', '--max-errors', [CompletionResultType]::ParameterName, 'Stop early when this many lines or traces have failed')
            [CompletionResult]::new('--allow-errors', '--allow-errors', [CompletionResultType]::ParameterName, 'How many lines may fail, or how many of a hundred, for exit code 0')
            [CompletionResult]::new('--run', '--run', [CompletionResultType]::ParameterName, 'The run''s name: its session, and what its trace ids derive from [default: file and start time]')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Write the summary to FILE as JSON')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--metadata', '--metadata', [CompletionResultType]::ParameterName, 'Metadata of the trace; may be repeated')
            [CompletionResult]::new('--environment', '--environment', [CompletionResultType]::ParameterName, 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]')
            [CompletionResult]::new('--trace-version', '--trace-version', [CompletionResultType]::ParameterName, 'The version of what is traced')
            [CompletionResult]::new('--trace-seed', '--trace-seed', [CompletionResultType]::ParameterName, 'Derive the trace id from SEED: the same seed is the same trace')
            [CompletionResult]::new('--trace-id', '--trace-id', [CompletionResultType]::ParameterName, 'The trace id, 32 hexadecimal digits')
            [CompletionResult]::new('--traceparent', '--traceparent', [CompletionResultType]::ParameterName, 'Continue a trace: a W3C traceparent')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--openai-base-url', '--openai-base-url', [CompletionResultType]::ParameterName, 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--system', '--system', [CompletionResultType]::ParameterName, 'The system message')
            [CompletionResult]::new('--temperature', '--temperature', [CompletionResultType]::ParameterName, 'Sampling temperature')
            [CompletionResult]::new('--max-tokens', '--max-tokens', [CompletionResultType]::ParameterName, 'The most tokens that the answer may have')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--param', '--param', [CompletionResultType]::ParameterName, 'Any field of the request body: a string, or JSON after `:=`; may be repeated')
            [CompletionResult]::new('--schema', '--schema', [CompletionResultType]::ParameterName, 'A file with the JSON Schema that the answer must fit')
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'Attach an image to the user message: a file, or a URL; may be repeated')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'Attach a file to the user message: text, PDF, audio …; may be repeated')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Further attempts after the first [default: 2; of batch: 5]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time for all attempts and the whole answer, in seconds')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long --verify waits, in seconds')
            [CompletionResult]::new('--export-timeout', '--export-timeout', [CompletionResultType]::ParameterName, 'Time for one export request with its retries, in seconds [default: 10; of batch: 30]')
            [CompletionResult]::new('--sample', '--sample', [CompletionResultType]::ParameterName, 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]')
            [CompletionResult]::new('--capture', '--capture', [CompletionResultType]::ParameterName, 'The content to trace and record: full, truncate=N (characters of each text) or none')
            [CompletionResult]::new('--redact', '--redact', [CompletionResultType]::ParameterName, 'Leave what matches out of what is traced and recorded; may be repeated')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--record', '--record', [CompletionResultType]::ParameterName, 'Append the exchange to FILE, as replay reads it')
            [CompletionResult]::new('--overwrite', '--overwrite', [CompletionResultType]::ParameterName, 'Write over an output file that holds something')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'Continue an earlier run: ask only for what --out does not hold yet')
            [CompletionResult]::new('--retry-errors', '--retry-errors', [CompletionResultType]::ParameterName, 'Ask again for the lines that failed')
            [CompletionResult]::new('--ordered', '--ordered', [CompletionResultType]::ParameterName, 'Write the answers in the order of the lines')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Check every line before anything is sent')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Let anyone with the link read the trace')
            [CompletionResult]::new('--join', '--join', [CompletionResultType]::ParameterName, 'Continue the trace of the TRACEPARENT variable')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'Add commit, branch, job URL and actor of the CI job as metadata')
            [CompletionResult]::new('--stream', '--stream', [CompletionResultType]::ParameterName, 'Stream the answer [default: when stdout is a terminal]')
            [CompletionResult]::new('--no-stream', '--no-stream', [CompletionResultType]::ParameterName, 'Wait for the whole answer')
            [CompletionResult]::new('--verify', '--verify', [CompletionResultType]::ParameterName, 'Wait until the trace can be read [env: LANGSPAN_VERIFY]')
            [CompletionResult]::new('--best-effort', '--best-effort', [CompletionResultType]::ParameterName, 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]')
            [CompletionResult]::new('--no-outbox', '--no-outbox', [CompletionResultType]::ParameterName, 'Do not keep what cannot be delivered')
            [CompletionResult]::new('--no-media', '--no-media', [CompletionResultType]::ParameterName, 'Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Show request, spans and destination; open no connection')
            [CompletionResult]::new('--sandbox', '--sandbox', [CompletionResultType]::ParameterName, 'Use the embedded model and Langfuse stand-in: no key, no network')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'langspan;check' {
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long to wait until the trace can be read, in seconds')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time for everything, in seconds')
            [CompletionResult]::new('--wait-for-server', '--wait-for-server', [CompletionResultType]::ParameterName, 'Wait this long for a server that is still starting, in seconds')
            [CompletionResult]::new('--junit', '--junit', [CompletionResultType]::ParameterName, 'Write the stages to FILE as JUnit XML')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user that the call is for [env: LANGSPAN_USER]')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The trace''s name [default: chat-completion]')
            [CompletionResult]::new('--metadata', '--metadata', [CompletionResultType]::ParameterName, 'Metadata of the trace; may be repeated')
            [CompletionResult]::new('--environment', '--environment', [CompletionResultType]::ParameterName, 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]')
            [CompletionResult]::new('--trace-version', '--trace-version', [CompletionResultType]::ParameterName, 'The version of what is traced')
            [CompletionResult]::new('--trace-seed', '--trace-seed', [CompletionResultType]::ParameterName, 'Derive the trace id from SEED: the same seed is the same trace')
            [CompletionResult]::new('--trace-id', '--trace-id', [CompletionResultType]::ParameterName, 'The trace id, 32 hexadecimal digits')
            [CompletionResult]::new('--traceparent', '--traceparent', [CompletionResultType]::ParameterName, 'Continue a trace: a W3C traceparent')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]')
            [CompletionResult]::new('--openai-base-url', '--openai-base-url', [CompletionResultType]::ParameterName, 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header for the model endpoint; may be repeated')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--with-model', '--with-model', [CompletionResultType]::ParameterName, 'Call the model as well: a real completion')
            [CompletionResult]::new('--no-write', '--no-write', [CompletionResultType]::ParameterName, 'Stop after the keys: send no trace')
            [CompletionResult]::new('--no-region-probe', '--no-region-probe', [CompletionResultType]::ParameterName, 'Do not ask the other regions of Langfuse Cloud whether a refused key is theirs')
            [CompletionResult]::new('--sandbox', '--sandbox', [CompletionResultType]::ParameterName, 'Use the embedded model and Langfuse stand-in: no key, no network')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Let anyone with the link read the trace')
            [CompletionResult]::new('--join', '--join', [CompletionResultType]::ParameterName, 'Continue the trace of the TRACEPARENT variable')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'Add commit, branch, job URL and actor of the CI job as metadata')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'langspan;show' {
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long to wait until the trace can be read, in seconds')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'langspan;resend' {
            [CompletionResult]::new('--older-than', '--older-than', [CompletionResultType]::ParameterName, 'Only what has waited longer: 90s, 15m, 12h, 7d')
            [CompletionResult]::new('--langfuse-base-url', '--langfuse-base-url', [CompletionResultType]::ParameterName, 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]')
            [CompletionResult]::new('--otlp-endpoint', '--otlp-endpoint', [CompletionResultType]::ParameterName, 'Send the spans to an OpenTelemetry collector instead')
            [CompletionResult]::new('--ui-url', '--ui-url', [CompletionResultType]::ParameterName, 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in FILE too')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read settings from FILE; variables of the environment win')
            [CompletionResult]::new('--export-timeout', '--export-timeout', [CompletionResultType]::ParameterName, 'Time for one export request with its retries, in seconds')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'Only list what waits')
            [CompletionResult]::new('--discard', '--discard', [CompletionResultType]::ParameterName, 'Delete what waits instead of delivering it')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do not ask before deleting')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No notes, hints and warnings; errors are still said')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show the requests, secrets removed; may be repeated')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'langspan;sandbox' {
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'The port to listen on; 0 takes any free one')
            [CompletionResult]::new('--delay', '--delay', [CompletionResultType]::ParameterName, 'How long the model thinks, in milliseconds')
            [CompletionResult]::new('--langfuse', '--langfuse', [CompletionResultType]::ParameterName, 'The Langfuse version whose API is served')
            [CompletionResult]::new('--visible-after', '--visible-after', [CompletionResultType]::ParameterName, 'How long a trace stays unreadable after it was accepted, in milliseconds')
            [CompletionResult]::new('--clear', '--clear', [CompletionResultType]::ParameterName, 'Delete all stored traces and media, and exit')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do not ask before deleting')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'langspan;completions' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'langspan;help' {
            [CompletionResult]::new('chat', 'chat', [CompletionResultType]::ParameterValue, 'Ask for one chat completion inside a trace')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Send a recorded JSON request, or emit a recording again')
            [CompletionResult]::new('batch', 'batch', [CompletionResultType]::ParameterValue, 'Ask for many chat completions, one a line, each inside a trace of its own')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Prove, stage by stage, that settings, endpoint, keys, export and read-back work')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Read a trace back and draw it')
            [CompletionResult]::new('resend', 'resend', [CompletionResultType]::ParameterValue, 'Deliver the spans that wait in the outbox')
            [CompletionResult]::new('sandbox', 'sandbox', [CompletionResultType]::ParameterValue, 'Serve a chat model and a Langfuse stand-in on this machine')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'langspan;help;chat' {
            break
        }
        'langspan;help;replay' {
            break
        }
        'langspan;help;batch' {
            break
        }
        'langspan;help;check' {
            break
        }
        'langspan;help;show' {
            break
        }
        'langspan;help;resend' {
            break
        }
        'langspan;help;sandbox' {
            break
        }
        'langspan;help;completions' {
            break
        }
        'langspan;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
