
use builtin;
use str;

set edit:completion:arg-completer[langspan] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'langspan'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'langspan'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand chat 'Ask for one chat completion inside a trace'
            cand replay 'Send a recorded JSON request, or emit a recording again'
            cand resend 'Deliver the spans that wait in the outbox'
            cand sandbox 'Serve a chat model and a Langfuse stand-in on this machine'
            cand completions 'Print the completion script of a shell'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'langspan;chat'= {
            cand -u 'The user that the call is for [env: LANGSPAN_USER]'
            cand --user 'The user that the call is for [env: LANGSPAN_USER]'
            cand -S 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]'
            cand --session 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]'
            cand -t 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]'
            cand --tag 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]'
            cand -n 'The trace''s name [default: chat-completion]'
            cand --name 'The trace''s name [default: chat-completion]'
            cand --metadata 'Metadata of the trace; may be repeated'
            cand --environment 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]'
            cand --release 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]'
            cand --trace-version 'The version of what is traced'
            cand --trace-seed 'Derive the trace id from SEED: the same seed is the same trace'
            cand --trace-id 'The trace id, 32 hexadecimal digits'
            cand --traceparent 'Continue a trace: a W3C traceparent'
            cand -m 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]'
            cand --model 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]'
            cand -s 'The system message'
            cand --system 'The system message'
            cand --temperature 'Sampling temperature'
            cand --max-tokens 'The most tokens that the answer may have'
            cand -p 'Any field of the request body: a string, or JSON after `:=`; may be repeated'
            cand --param 'Any field of the request body: a string, or JSON after `:=`; may be repeated'
            cand --schema 'A file with the JSON Schema that the answer must fit'
            cand --openai-base-url 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]'
            cand -H 'A header for the model endpoint; may be repeated'
            cand --header 'A header for the model endpoint; may be repeated'
            cand --retries 'Further attempts after the first'
            cand --timeout 'Time for all attempts and the whole answer, in seconds'
            cand --langfuse-base-url 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]'
            cand --otlp-endpoint 'Send the spans to an OpenTelemetry collector instead'
            cand --ui-url 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]'
            cand --ca-file 'Trust the certificate authorities in FILE too'
            cand --env-file 'Read settings from FILE; variables of the environment win'
            cand --wait 'How long --verify waits, in seconds'
            cand --export-timeout 'Time for one export request with its retries, in seconds'
            cand --sample 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]'
            cand -o 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --output 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --record 'Append the exchange to FILE, as replay reads it'
            cand --no-stdin 'Ignore stdin'
            cand --public 'Let anyone with the link read the trace'
            cand --join 'Continue the trace of the TRACEPARENT variable'
            cand --ci 'Add commit, branch, job URL and actor of the CI job as metadata'
            cand --stream 'Stream the answer [default: when stdout is a terminal]'
            cand --no-stream 'Wait for the whole answer'
            cand --verify 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
            cand --best-effort 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]'
            cand --no-outbox 'Do not keep what cannot be delivered'
            cand --json 'The same as -o json'
            cand -q 'No notes, hints and warnings; errors are still said'
            cand --quiet 'No notes, hints and warnings; errors are still said'
            cand -v 'Show the requests, secrets removed; may be repeated'
            cand --verbose 'Show the requests, secrets removed; may be repeated'
            cand --dry-run 'Show request, spans and destination; open no connection'
            cand --sandbox 'Use the embedded model and Langfuse stand-in: no key, no network'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'langspan;replay'= {
            cand -u 'The user that the call is for [env: LANGSPAN_USER]'
            cand --user 'The user that the call is for [env: LANGSPAN_USER]'
            cand -S 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]'
            cand --session 'The session that groups traces; carries no history [env: LANGSPAN_SESSION]'
            cand -t 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]'
            cand --tag 'A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]'
            cand -n 'The trace''s name [default: chat-completion]'
            cand --name 'The trace''s name [default: chat-completion]'
            cand --metadata 'Metadata of the trace; may be repeated'
            cand --environment 'The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]'
            cand --release 'The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]'
            cand --trace-version 'The version of what is traced'
            cand --trace-seed 'Derive the trace id from SEED: the same seed is the same trace'
            cand --trace-id 'The trace id, 32 hexadecimal digits'
            cand --traceparent 'Continue a trace: a W3C traceparent'
            cand -m 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]'
            cand --model 'The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]'
            cand -s 'The system message'
            cand --system 'The system message'
            cand --temperature 'Sampling temperature'
            cand --max-tokens 'The most tokens that the answer may have'
            cand -p 'Any field of the request body: a string, or JSON after `:=`; may be repeated'
            cand --param 'Any field of the request body: a string, or JSON after `:=`; may be repeated'
            cand --schema 'A file with the JSON Schema that the answer must fit'
            cand --openai-base-url 'The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]'
            cand -H 'A header for the model endpoint; may be repeated'
            cand --header 'A header for the model endpoint; may be repeated'
            cand --retries 'Further attempts after the first'
            cand --timeout 'Time for all attempts and the whole answer, in seconds'
            cand --langfuse-base-url 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]'
            cand --otlp-endpoint 'Send the spans to an OpenTelemetry collector instead'
            cand --ui-url 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]'
            cand --ca-file 'Trust the certificate authorities in FILE too'
            cand --env-file 'Read settings from FILE; variables of the environment win'
            cand --wait 'How long --verify waits, in seconds'
            cand --export-timeout 'Time for one export request with its retries, in seconds'
            cand --sample 'Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]'
            cand -o 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --output 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --record 'Append the exchange to FILE, as replay reads it'
            cand --send 'Call the model for recordings too'
            cand --public 'Let anyone with the link read the trace'
            cand --join 'Continue the trace of the TRACEPARENT variable'
            cand --ci 'Add commit, branch, job URL and actor of the CI job as metadata'
            cand --stream 'Stream the answer [default: when stdout is a terminal]'
            cand --no-stream 'Wait for the whole answer'
            cand --verify 'Wait until the trace can be read [env: LANGSPAN_VERIFY]'
            cand --best-effort 'Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]'
            cand --no-outbox 'Do not keep what cannot be delivered'
            cand --json 'The same as -o json'
            cand -q 'No notes, hints and warnings; errors are still said'
            cand --quiet 'No notes, hints and warnings; errors are still said'
            cand -v 'Show the requests, secrets removed; may be repeated'
            cand --verbose 'Show the requests, secrets removed; may be repeated'
            cand --dry-run 'Show request, spans and destination; open no connection'
            cand --sandbox 'Use the embedded model and Langfuse stand-in: no key, no network'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'langspan;resend'= {
            cand --older-than 'Only what has waited longer: 90s, 15m, 12h, 7d'
            cand --langfuse-base-url 'The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]'
            cand --otlp-endpoint 'Send the spans to an OpenTelemetry collector instead'
            cand --ui-url 'The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]'
            cand --ca-file 'Trust the certificate authorities in FILE too'
            cand --env-file 'Read settings from FILE; variables of the environment win'
            cand --export-timeout 'Time for one export request with its retries, in seconds'
            cand -o 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --output 'What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]'
            cand --list 'Only list what waits'
            cand --discard 'Delete what waits instead of delivering it'
            cand --yes 'Do not ask before deleting'
            cand --json 'The same as -o json'
            cand -q 'No notes, hints and warnings; errors are still said'
            cand --quiet 'No notes, hints and warnings; errors are still said'
            cand -v 'Show the requests, secrets removed; may be repeated'
            cand --verbose 'Show the requests, secrets removed; may be repeated'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'langspan;sandbox'= {
            cand --port 'The port to listen on; 0 takes any free one'
            cand --delay 'How long the model thinks, in milliseconds'
            cand --langfuse 'The Langfuse version whose API is served'
            cand --visible-after 'How long a trace stays unreadable after it was accepted, in milliseconds'
            cand -q 'Print nothing but errors'
            cand --quiet 'Print nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'langspan;completions'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'langspan;help'= {
            cand chat 'Ask for one chat completion inside a trace'
            cand replay 'Send a recorded JSON request, or emit a recording again'
            cand resend 'Deliver the spans that wait in the outbox'
            cand sandbox 'Serve a chat model and a Langfuse stand-in on this machine'
            cand completions 'Print the completion script of a shell'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'langspan;help;chat'= {
        }
        &'langspan;help;replay'= {
        }
        &'langspan;help;resend'= {
        }
        &'langspan;help;sandbox'= {
        }
        &'langspan;help;completions'= {
        }
        &'langspan;help;help'= {
        }
    ]
    $completions[$command]
}
