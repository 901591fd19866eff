#!/usr/bin/env bash
# Runs langspan among servers that nobody here wrote: aimock is the model, and rotel the collector that passes the spans
# on to `langspan sandbox`, where they are read back. What stand-ins of our own would forgive, these do not.
# The head of tests/servers.sh says what may be set.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

rotel="$third_party/rotel/rotel/rotel-agent"
needs "$third_party/aimock/node_modules/.bin/llmock" "$rotel"
build
prepare

# collector HTTP_PORT GRPC_PORT PATH: hands on to the sandbox what it takes at that path.
collector() {
  start "$1" "$rotel" start --pid-file "$work/$1.pid" --log-file "$work/$1.agent.log" \
    --otlp-http-endpoint "127.0.0.1:$1" --otlp-grpc-endpoint "127.0.0.1:$2" --otlp-receiver-traces-http-path "$3" \
    --otlp-receiver-metrics-disabled --otlp-receiver-logs-disabled \
    --exporter otlp --otlp-exporter-protocol http --otlp-exporter-retry-initial-backoff 200ms \
    --otlp-exporter-traces-endpoint "$sandbox/api/public/otel/v1/traces" \
    --otlp-exporter-metrics-endpoint "$sandbox/none" --otlp-exporter-logs-endpoint "$sandbox/none" \
    --otlp-exporter-custom-headers "Authorization=Basic $basic,x-langfuse-ingestion-version=4"
}

# expect_rows TRACE_ID, JSON on stdin: waits until the rows in the sandbox, and the requests at the model, are as expected.
expect_rows() { verdict "rows of the trace" "$(ask tests/third_party.py rows "$sandbox" "$model" "$model_key" "$1")"; }

# expect_request FILE: the model got just these bytes as the latest request's body.
expect_request() { verdict "request as it was written" "$(ask tests/third_party.py request "$model" "$model_key" "$1")"; }

## Start

outbox="$work/home/.local/state/langspan/outbox"
mkdir "$work/fixtures"
read -r model_port sandbox_port other_port http_a grpc_a http_b grpc_b < <(free_ports 7)
model="http://127.0.0.1:$model_port"
sandbox="http://127.0.0.1:$sandbox_port"
model_key="sk-aimock-third-party"
basic="$(printf 'pk-lf-sandbox:sk-lf-sandbox' | base64 -w0)"
call='[{"id": "*", "type": "function", "index": null, "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}]'
tools='[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]'

cat >"$work/fixtures/fixtures.json" <<'JSON'
{"fixtures": [
  {"match": {"userMessage": "plain"},
   "response": {"content": "Hi from aimock", "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}}},
  {"match": {"userMessage": "long"},
   "response": {"content": "Spans are accepted\nbefore the process ends — é, 日本, 🚀.",
                "usage": {"prompt_tokens": 3, "completion_tokens": 21, "total_tokens": 24}}},
  {"match": {"toolName": "get_weather"},
   "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Paris"}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}}},
  {"match": {"userMessage": "flaky", "sequenceIndex": 0},
   "response": {"error": {"message": "Overloaded", "type": "server_error"}, "status": 503}},
  {"match": {"userMessage": "flaky", "sequenceIndex": 1}, "response": {"content": "Second try"}},
  {"match": {"userMessage": "cut"},
   "response": {"content": "The first words, and then never the rest of it."}, "truncateAfterChunks": 4},
  {"match": {"userMessage": "rate"},
   "response": {"error": {"message": "Slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}, "status": 429}},
  {"match": {"userMessage": "quota"},
   "response": {"error": {"message": "No credit", "type": "insufficient_quota", "code": "insufficient_quota"}, "status": 429}}
]}
JSON
long='Spans are accepted
before the process ends — é, 日本, 🚀.'

start "$sandbox_port" XDG_STATE_HOME="$work/sandbox" "$langspan" sandbox --port "$sandbox_port"
start "$other_port" XDG_STATE_HOME="$work/other" "$langspan" sandbox --port "$other_port"
start_aimock "$model_port" "$model_key" "$work/fixtures"
collector "$http_a" "$grpc_a" /api/public/otel/v1/traces
collector_a="${servers[-1]}"
collector "$http_b" "$grpc_b" /v1/traces

with_model=("OPENAI_BASE_URL=$model/v1" "OPENAI_API_KEY=$model_key")
with_langfuse=("LANGFUSE_BASE_URL=$sandbox" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
through_collector=(--otlp-endpoint "http://127.0.0.1:$http_a/api/public/otel/v1/traces")
who=(-u ada -S morning -t one -t two)

## A Langfuse behind a collector

settings=("${with_model[@]}" "${with_langfuse[@]}")

about="chat"
run chat "${through_collector[@]}" "${who[@]}" -n greeting --metadata team=blue -s "Be brief." --temperature 0.2 plain
expect_code 0
expect_stdout $'Hi from aimock\n'
expect_stderr "trace: $sandbox/project/sandbox/traces/${traces[0]}"
expect_stderr "collector"
expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "DEFAULT", "metadata": {"team": "blue"}},
 "SPAN": {"name": "greeting", "input": "plain", "output": "Hi from aimock"},
 "GENERATION": {"name": "chat gpt-4o-mini", "model": "gpt-4o-mini", "modelParameters": {"temperature": 0.2},
   "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "plain"}],
   "output": {"role": "assistant", "content": "Hi from aimock"},
   "usageDetails": {"input": 12, "output": 5, "total": 17}, "timeToFirstToken": null}}
JSON

about="chat, streamed"
run chat "${through_collector[@]}" "${who[@]}" --stream long
expect_code 0
expect_stdout "$long"$'\n'
expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "DEFAULT"},
 "SPAN": {"name": "chat-completion", "input": "long", "output": "Spans are accepted\nbefore the process ends — é, 日本, 🚀."},
 "GENERATION": {"model": "gpt-4o-mini", "input": [{"role": "user", "content": "long"}],
   "output": {"role": "assistant", "content": "Spans are accepted\nbefore the process ends — é, 日本, 🚀."},
   "usageDetails": {"input": 3, "output": 21, "total": 24}, "timeToFirstToken": "*"}}
JSON

for form in --no-stream --stream; do
  about="chat with tool calls, $form"
  run chat "${through_collector[@]}" "${who[@]}" "$form" -p tools:="$tools" "What is the weather?"
  expect_code 0
  expect_json <<<"$call"
  expect_rows "${traces[0]}" <<JSON
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "DEFAULT"},
 "SPAN": {"input": "What is the weather?", "output": $call},
 "GENERATION": {"input": {"tools": $tools, "messages": [{"role": "user", "content": "What is the weather?"}]},
   "output": {"role": "assistant", "content": null, "tool_calls": $call},
   "usageDetails": {"input": 9, "output": 7, "total": 16}}}
JSON
done

about="chat -o json --verify"
run chat "${through_collector[@]}" --stream -o json --verify plain
expect_code 0
expect_json <<JSON
{"schema_version": 1, "ok": true, "command": "chat", "error": null,
 "response": {"text": "Hi from aimock", "model": "gpt-4o-mini", "id": "*", "finish_reason": "stop", "tool_calls": [],
   "usage": {"input": 12, "output": 5, "total": 17}, "time_to_first_token_ms": "*", "attempts": 1},
 "trace": {"url": "$sandbox/project/sandbox/traces/${traces[0]}", "spans": 2, "delivery": "accepted", "status": 200,
   "endpoint": "http://127.0.0.1:$http_a/api/public/otel/v1/traces", "verified": true}}
JSON

about="chat -o url"
run chat "${through_collector[@]}" -o url plain
expect_code 0
expect_stdout "$sandbox/project/sandbox/traces/${traces[0]}"$'\n'

about="chat --verify at a Langfuse that the collector does not feed"
settings=("${with_model[@]}" "${with_langfuse[@]}" "LANGFUSE_BASE_URL=http://127.0.0.1:$other_port")
run chat "${through_collector[@]}" --verify --wait 1 plain
expect_code 7
expect_stdout $'Hi from aimock\n'
expect_rows "${traces[0]}" <<<'{"both": {"level": "DEFAULT"}}'

## A model that fails

about="a wrong key"
settings=("${with_langfuse[@]}" "OPENAI_BASE_URL=$model/v1" OPENAI_API_KEY=sk-somebody-else)
run chat "${through_collector[@]}" "${who[@]}" plain
expect_code 4
expect_stdout ""
expect_stderr "401"
expect_stderr "Invalid API key"
expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "ERROR", "statusMessage": "~Invalid API key"},
 "SPAN": {"input": "plain", "output": null},
 "GENERATION": {"model": "gpt-4o-mini", "input": [{"role": "user", "content": "plain"}], "output": null,
   "usageDetails": {"input": 0, "output": 0, "total": 0}}, "calls": 0}
JSON
settings=("${with_model[@]}" "${with_langfuse[@]}")

about="503, then an answer"
run chat "${through_collector[@]}" "${who[@]}" -o json flaky
expect_code 0
expect_json <<<'{"ok": true, "response": {"text": "Second try", "attempts": 2}, "trace": {"delivery": "accepted"}}'
expect_rows "${traces[0]}" <<'JSON'
{"both": {"level": "DEFAULT"}, "GENERATION": {"output": {"content": "Second try"}, "metadata": {"attempts": 2}}, "calls": 2}
JSON

about="a stream that is cut"
run chat "${through_collector[@]}" "${who[@]}" --stream cut
expect_code 4
partial="$(cat "$work/stdout")"
verdict "stdout has the part that came" "$([[ -n $partial && "The first words, and then" == "$partial"* ]] || echo "got: $partial")"
expect_rows "${traces[0]}" <<JSON
{"both": {"userId": "ada", "level": "ERROR", "statusMessage": "*"}, "SPAN": {"input": "cut", "output": "$partial"},
 "GENERATION": {"output": {"role": "assistant", "content": "$partial"}, "timeToFirstToken": "*",
   "usageDetails": {"input": 0, "output": 0, "total": 0}}}
JSON

about="429 every time"
run chat "${through_collector[@]}" "${who[@]}" -o json rate
expect_code 4
expect_json <<'JSON'
{"ok": false, "error": {"kind": "model", "message": "~Slow down", "hint": "*", "status": 429, "retryable": true, "exit_code": 4},
 "trace": {"id": "*", "url": "*", "delivery": "accepted"}}
JSON
expect_rows "${traces[0]}" <<'JSON'
{"both": {"level": "ERROR", "statusMessage": "~Slow down"}, "GENERATION": {"metadata": {"attempts": 3}}, "calls": 3}
JSON

about="429 for want of credit, which no retry heals"
run chat "${through_collector[@]}" "${who[@]}" quota
expect_code 4
expect_stderr "No credit"
expect_rows "${traces[0]}" <<<'{"both": {"level": "ERROR"}, "calls": 1}'

for fault in malformed disconnect drop; do
  about="a model with the fault $fault"
  run chat "${through_collector[@]}" "${who[@]}" --retries 0 -H "x-aimock-chaos-$fault: 1" plain
  expect_code 4
  expect_stdout ""
  expect_rows "${traces[0]}" <<<'{"both": {"userId": "ada", "level": "ERROR", "statusMessage": "*"}}'
done

about="a model slower than --timeout"
run chat "${through_collector[@]}" "${who[@]}" --timeout 0.5 -H "x-aimock-chaos-latency: 3000" plain
expect_code 4
expect_rows "${traces[0]}" <<<'{"both": {"userId": "ada", "level": "ERROR", "statusMessage": "*"}, "calls": "*"}'

## Replay

printf '%s' '{"messages":[{"content":"plain","role":"user"}],"temperature":1.50,"zz_unknown":{"b":[1e2,null],"a":"é"},"max_tokens":7,"model":"gpt-4o-2024-08-06"}' >"$work/body.json"
about="replay of a body"
run replay "${through_collector[@]}" "${who[@]}" "$work/body.json"
expect_code 0
expect_stdout $'Hi from aimock\n'
expect_request "$work/body.json"
expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"]}, "SPAN": {"input": "plain", "output": "Hi from aimock"},
 "GENERATION": {"model": "gpt-4o-2024-08-06", "modelParameters": {"temperature": 1.5, "max_tokens": 7},
   "input": [{"role": "user", "content": "plain"}], "usageDetails": {"input": 12, "output": 5, "total": 17}}}
JSON

printf '%s' '{"stream":true,"model":"gpt-4o","messages":[{"role":"user","content":"long"}],"stream_options":{"include_usage":true}}' >"$work/streamed.json"
about="replay of an OpenAI Batch line that streams"
printf '{"custom_id":"one","method":"POST","url":"/v1/chat/completions","body":%s}\n' "$(cat "$work/streamed.json")" >"$work/line.jsonl"
run replay "${through_collector[@]}" "${who[@]}" "$work/line.jsonl"
expect_code 0
expect_stdout "$long"$'\n'
expect_request "$work/streamed.json"
expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"]}, "SPAN": {"input": "long"},
 "GENERATION": {"model": "gpt-4o", "usageDetails": {"input": 3, "output": 21, "total": 24}, "timeToFirstToken": "*"}}
JSON

about="replay of JSONL, a body and a Batch line"
{ cat "$work/body.json" && echo && cat "$work/line.jsonl"; } >"$work/both.jsonl"
run replay "${through_collector[@]}" -S two-lines "$work/both.jsonl"
expect_code 0
expect_rows "${traces[0]}" <<<'{"both": {"sessionId": "two-lines"}, "SPAN": {"input": "plain"}}'
expect_rows "${traces[1]}" <<<'{"both": {"sessionId": "two-lines"}, "SPAN": {"input": "long"}}'

about="chat --record"
run chat "${through_collector[@]}" "${who[@]}" --stream --record "$work/recording.jsonl" long
expect_code 0
verdict "file mode" "$(same 600 "$(stat -c %a "$work/recording.jsonl")")"
expect_rows "${traces[0]}" <<<'{"both": {"userId": "ada"}}'
recorded="${traces[0]}"
ids="$(ask tests/third_party.py ids "$sandbox" "$recorded")"

about="replay of that recording"
run replay "${through_collector[@]}" -u grace "$work/recording.jsonl"
expect_code 0
expect_stdout "$long"$'\n'
verdict "the recorded trace" "$(same "$recorded" "${traces[0]}")"
# The option wins over the recording: so the new rows can be told from the first ones.
expect_rows "$recorded" <<'JSON'
{"both": {"userId": "grace", "sessionId": "morning", "tags": ["one", "two"]},
 "SPAN": {"input": "long", "output": "Spans are accepted\nbefore the process ends — é, 日本, 🚀."},
 "GENERATION": {"model": "gpt-4o-mini", "usageDetails": {"input": 3, "output": 21, "total": 24}, "timeToFirstToken": "*"},
 "calls": 1}
JSON
verdict "ids and times as before" "$(same "$ids" "$(ask tests/third_party.py ids "$sandbox" "$recorded")")"

about="replay of a recording from elsewhere"
cat >"$work/elsewhere.json" <<'JSON'
{"request": {"model": "m", "messages": [{"role": "user", "content": "Then?"}]}, "response": null,
 "error": {"kind": "model", "message": "it gave up", "status": 500},
 "start_time": "2026-01-02T03:04:05.678901234+02:00", "end_time": "2026-01-02T03:04:06.5+02:00",
 "trace": {"id": "0123456789abcdef0123456789abcdef", "user": "eve", "session": "then", "tags": ["old"]}}
JSON
run replay "${through_collector[@]}" "$work/elsewhere.json"
expect_rows 0123456789abcdef0123456789abcdef <<'JSON'
{"both": {"userId": "eve", "sessionId": "then", "tags": ["old"], "level": "ERROR", "statusMessage": "it gave up",
   "endTime": "2026-01-02T01:04:06.500Z"},
 "SPAN": {"startTime": "2026-01-02T01:04:05.677Z"}, "GENERATION": {"startTime": "2026-01-02T01:04:05.678Z"}, "calls": 0}
JSON

## A collector that is down

about="no collector"
kill "$collector_a"
wait "$collector_a" || true
run chat "${through_collector[@]}" "${who[@]}" --trace-id 11112222333344445555666677778888 --export-timeout 1 plain
expect_code 5
expect_stdout $'Hi from aimock\n'
expect_stderr "langspan resend"
verdict "one entry in the outbox" "$(same 1 "$(find "$outbox" -name '*.jsonl' | wc -l)")"

about="resend when it is back"
collector "$http_a" "$grpc_a" /api/public/otel/v1/traces
run resend "${through_collector[@]}"
expect_code 0
expect_rows 11112222333344445555666677778888 <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"]}, "SPAN": {"input": "plain", "output": "Hi from aimock"}}
JSON
verdict "the outbox is empty" "$(find "$outbox" -type f 2>&1)"

## A plain OTLP backend

with_otlp=("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$http_b")

for wire in http/protobuf,none http/protobuf,gzip http/json,none http/json,gzip; do
  about="plain OTLP, $wire"
  settings=("${with_model[@]}" "${with_otlp[@]}" "OTEL_EXPORTER_OTLP_PROTOCOL=${wire%,*}" "OTEL_EXPORTER_OTLP_COMPRESSION=${wire#*,}")
  run chat "${who[@]}" --stream plain
  expect_code 0
  expect_stdout $'Hi from aimock\n'
  expect_stderr "trace: ${traces[0]}"
  expect_rows "${traces[0]}" <<'JSON'
{"both": {"userId": "ada", "sessionId": "morning", "level": "DEFAULT",
   "metadata": {"attributes.user.id": "ada", "attributes.session.id": "morning"}},
 "GENERATION": {"model": "gpt-4o-mini", "usageDetails": {"input": 12, "output": 5, "total": 17},
   "metadata": {"attributes.gen_ai.usage.input_tokens": 12, "attributes.gen_ai.usage.output_tokens": 5},
   "input": [{"role": "user", "parts": [{"type": "text", "content": "plain"}]}],
   "output": [{"role": "assistant", "parts": [{"type": "text", "content": "Hi from aimock"}], "finish_reason": "stop"}]}}
JSON
done

settings=("${with_model[@]}" "${with_otlp[@]}")

about="plain OTLP, a call that fails"
run chat "${who[@]}" quota
expect_code 4
expect_rows "${traces[0]}" <<<'{"both": {"level": "ERROR", "statusMessage": "~No credit"}}'

about="plain OTLP -o url"
run chat -o url plain
expect_code 0
expect_stdout ""
expect_stderr "warning"

about="plain OTLP -o json"
run chat -o json plain
expect_code 0
expect_json <<<"{\"ok\": true, \"trace\": {\"url\": null, \"delivery\": \"accepted\", \"endpoint\": \"http://127.0.0.1:$http_b/v1/traces\"}}"

about="plain OTLP --verify"
run chat --verify plain
expect_code 3
expect_stdout ""

about="plain OTLP, grpc"
settings+=(OTEL_EXPORTER_OTLP_PROTOCOL=grpc)
run chat plain
expect_code 3
expect_stdout ""

about="plain OTLP, a path that the collector does not know"
settings=("${with_model[@]}" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:$http_b/elsewhere")
run chat --no-outbox plain
expect_code 5
expect_stdout $'Hi from aimock\n'
expect_stderr "404"

## The cookbook's variables, at a collector that answers for a Langfuse but knows no project

about="a Langfuse without a project look-up"
settings=("${with_model[@]}" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:$http_a/api/public/otel/v1/traces"
  "OTEL_EXPORTER_OTLP_TRACES_HEADERS=Authorization=Basic%20$basic" OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf)
run chat "${who[@]}" plain
expect_code 0
expect_stderr "trace: http://127.0.0.1:$http_a/trace/${traces[0]}"
expect_stderr "warning"
expect_rows "${traces[0]}" <<<'{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"]}}'

closing
