#!/usr/bin/env bash
# Runs langspan among the heavy servers that nobody here wrote: the LiteLLM proxy is a model endpoint whose calls are
# traced into `langspan sandbox`; MLflow's tracking server and Arize Phoenix are plain OTLP backends, from which the
# traces are read back through their own APIs. aimock answers for the models.
#
#   tests/heavy_backends.sh
#
# No part of .ci/run, because the three take 2.5 GB below target/third-party and minutes to install (the first run does
# so). It ends with a count of what passed and failed; a server that cannot be installed is SKIPPED.
# All of them run in a network namespace where only loopback is up, since some listen on every interface: that takes
# `unshare` and `ip`, and root or user namespaces. Everything ends with the script.
# The head of tests/servers.sh says what may be set.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
source tests/install.sh

if [[ ${1:-} != isolated ]]; then
  isolated=(unshare --net)
  ((EUID == 0)) || isolated+=(--map-root-user)
  if ! "${isolated[@]}" ip link set lo up; then
    echo "SKIPPED $0: there can be no network namespace here"
    exit 0
  fi
  mkdir -p "$third_party"
  install_aimock || {
    echo "SKIPPED $0: aimock, the model of all of it, cannot be installed here"
    exit 0
  }
  for server in litellm mlflow phoenix; do
    "install_$server" || echo "SKIPPED $server: it cannot be installed here"
  done
  build
  LANGSPAN="$langspan" exec "${isolated[@]}" tests/heavy_backends.sh isolated
fi

ip link set lo up
build
prepare

installed() { [[ -e $third_party/$1/.installed ]]; }

# serve FOLDER PORT PATH [NAME=VALUE]... PROGRAM ARGUMENT...: starts a Python program of that folder, which says at that
# path that it is well.
serve() {
  local folder="$third_party/$1" port=$2 health="http://127.0.0.1:$2$3" variables=()
  about="$1"
  shift 3
  while [[ $1 == *=* ]]; do
    variables+=("$1")
    shift
  done
  start "$port" "PYTHONPATH=$folder" "${variables[@]}" "$python" "$folder/bin/$1" "${@:2}"
  verdict "is up" "$(ask tests/heavy_backends.py up "$health")"
}

# expect_rows, JSON on stdin: the sandbox has the two rows of the trace.
expect_rows() { verdict "rows of the trace" "$(ask tests/heavy_backends.py rows "$sandbox" "$trace")"; }

# expect_read, JSON on stdin: the backend reads the trace as the form of tests/heavy_backends.py says.
expect_read() { verdict "trace as it is read back" "$(ask tests/heavy_backends.py read_by "$backend" "$url" "$trace")"; }

# expect_part: stdout has the beginning of the answer that aimock cuts; leaves it in $part.
expect_part() {
  part="$(cat "$work/stdout")"
  verdict "stdout has the part that came" "$([[ -n $part && $part == "The first words"* ]] || echo "got: $part")"
}

read -r sandbox_port litellm_port aimock_port mlflow_port phoenix_port grpc_port < <(free_ports 6)
who=(-u ada -S morning -t one -t two)
tools='[{"type":"function","function":{"name":"get_weather","description":"Looks out","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]'

called='[{"type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}]'
aimock="http://127.0.0.1:$aimock_port"

## LiteLLM, a gateway to models

through_litellm() {
  cat >"$work/litellm.yaml" <<YAML
model_list:
  - {model_name: plain, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_response: "Hello from LiteLLM — é, 日本, 🚀"}}
  - {model_name: rate, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.RateLimitError"}}
  - {model_name: broken, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.InternalServerError"}}
  - {model_name: long, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.ContextWindowExceededError"}}
  - {model_name: slow, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_timeout: true, timeout: 1}}
  - {model_name: late, litellm_params: {model: openai/gpt-4o-mini, api_key: none, mock_response: "Late", mock_delay: 5}}
  - model_name: tools
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: none
      mock_tool_calls: [{id: call_1, type: function, function: {name: get_weather, arguments: '{"city":"Paris"}'}}]
  - {model_name: behind, litellm_params: {model: openai/gpt-4o-mini, api_key: sk-aimock, api_base: "$aimock/v1", max_retries: 0}}
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings: {master_key: sk-litellm}
YAML
  sandbox="http://127.0.0.1:$sandbox_port"
  start "$sandbox_port" "XDG_STATE_HOME=$work/sandbox" "$langspan" sandbox --port "$sandbox_port"
  serve litellm "$litellm_port" /health/liveliness LITELLM_LOCAL_MODEL_COST_MAP=True litellm --config "$work/litellm.yaml" \
    --host 127.0.0.1 --port "$litellm_port"
  local langfuse=("LANGFUSE_BASE_URL=$sandbox" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
  local litellm=("OPENAI_BASE_URL=http://127.0.0.1:$litellm_port/v1" OPENAI_API_KEY=sk-litellm)
  local text="Hello from LiteLLM — é, 日本, 🚀"
  settings=("${langfuse[@]}" "${litellm[@]}")

  about="LiteLLM, chat"
  run chat "${who[@]}" -s "Be brief." --temperature 0.2 -m plain Hello
  expect_code 0
  expect_stdout "$text"$'\n'
  expect_rows <<JSON
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "DEFAULT"},
 "SPAN": {"name": "chat-completion", "input": "Hello", "output": "$text"},
 "GENERATION": {"name": "chat plain", "model": "plain", "modelParameters": {"temperature": 0.2},
   "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
   "output": {"role": "assistant", "content": "$text"}, "usageDetails": {"input": 10, "output": 20, "total": 30},
   "timeToFirstToken": null, "metadata": {"attempts": 1, "attributes.server.address": "127.0.0.1",
     "attributes.server.port": $litellm_port, "attributes.gen_ai.response.finish_reasons": ["stop"]}}}
JSON

  # Its last chunk has usage and cost beside choices.
  about="LiteLLM, chat streamed"
  run chat "${who[@]}" --stream -m plain Hello
  expect_code 0
  expect_stdout "$text"$'\n'
  expect_rows <<JSON
{"both": {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "level": "DEFAULT"},
 "SPAN": {"input": "Hello", "output": "$text"},
 "GENERATION": {"model": "plain", "output": {"role": "assistant", "content": "$text"}, "timeToFirstToken": "*",
   "usageDetails": {"input": 8, "output": 12, "total": 20}, "costDetails": {"total": 0.0000084},
   "metadata": {"attributes.gen_ai.response.finish_reasons": ["stop"]}}}
JSON

  about="LiteLLM, chat with tool calls"
  run chat "${who[@]}" -o json -m tools -p tools:="$tools" "What is the weather?"
  expect_code 0
  expect_json <<JSON
{"ok": true, "response": {"model": "tools", "tool_calls": $called, "usage": {"input": 10, "output": 20, "total": 30}}}
JSON
  expect_rows <<JSON
{"SPAN": {"input": "What is the weather?"},
 "GENERATION": {"input": {"tools": $tools, "messages": [{"role": "user", "content": "What is the weather?"}]},
   "output": {"role": "assistant", "content": "*", "tool_calls": $called}}}
JSON

  # Its own mock streams no tool calls.
  for form in --no-stream --stream; do
    about="LiteLLM before aimock, chat with tool calls, $form"
    run chat "${who[@]}" "$form" -o json -m behind -p tools:="$tools" weather
    expect_code 0
    expect_json <<JSON
{"ok": true, "response": {"finish_reason": "tool_calls", "tool_calls": $called, "usage": {"input": 9, "output": 7, "total": 16}}}
JSON
    expect_rows <<JSON
{"both": {"userId": "ada", "level": "DEFAULT"}, "SPAN": {"input": "weather", "output": $called},
 "GENERATION": {"output": {"role": "assistant", "content": null, "tool_calls": $called},
   "usageDetails": {"input": 9, "output": 7, "total": 16}}}
JSON
  done

  about="LiteLLM before aimock, a stream that is cut"
  run chat "${who[@]}" --stream -m behind cut
  expect_code 4
  expect_part
  expect_rows <<JSON
{"both": {"level": "ERROR", "statusMessage": "*"}, "SPAN": {"input": "cut", "output": "$part"},
 "GENERATION": {"output": {"role": "assistant", "content": "$part"}}}
JSON

  # MODEL STATUS RETRYABLE ATTEMPTS WORDS; the error's code is a string.
  while read -r model status retryable attempts words; do
    for form in --no-stream --stream; do
      about="LiteLLM, an error $status, $form"
      run chat "${who[@]}" "$form" --retries 1 -o json -m "$model" Hello
      expect_code 4
      expect_json <<JSON
{"ok": false, "error": {"kind": "model", "message": "~$words", "status": $status, "retryable": $retryable, "exit_code": 4},
 "trace": {"delivery": "accepted"}}
JSON
      expect_rows <<JSON
{"both": {"userId": "ada", "level": "ERROR", "statusMessage": "~$words"}, "SPAN": {"input": "Hello", "output": null},
 "GENERATION": {"model": "$model", "output": null, "usageDetails": {"input": 0, "output": 0, "total": 0},
   "metadata": {"attempts": $attempts}}}
JSON
    done
  done <<'TABLE'
rate 429 true 2 mock rate limit error
broken 500 true 2 mock internal server error
long 400 false 1 context window exceeded
slow 408 true 2 Timeout
unknown 400 false 1 unknown
TABLE

  about="LiteLLM, a model later than --timeout"
  run chat "${who[@]}" --timeout 1 -m late Hello
  expect_code 4
  expect_stdout ""
  expect_rows <<<'{"both": {"userId": "ada", "level": "ERROR", "statusMessage": "*"}}'

  about="LiteLLM, a wrong key, which it calls a bad request"
  settings=("${langfuse[@]}" "${litellm[@]}" OPENAI_API_KEY=sk-somebody-else)
  run chat "${who[@]}" -m plain Hello
  expect_code 4
  expect_stdout ""
  expect_stderr "400"
  expect_stderr "No connected db."
  expect_rows <<<'{"both": {"level": "ERROR", "statusMessage": "~No connected db."}, "GENERATION": {"metadata": {"attempts": 1}}}'
  settings=("${langfuse[@]}" "${litellm[@]}")

  about="LiteLLM, replay of a body with fields of its own"
  printf '%s' '{"messages":[{"content":"plain","role":"user"}],"metadata":{"tags":["a"]},"max_tokens":7,"model":"plain"}' >"$work/body.json"
  run replay "${who[@]}" "$work/body.json"
  expect_code 0
  expect_stdout "$text"$'\n'
  expect_rows <<<'{"GENERATION": {"model": "plain", "modelParameters": {"max_tokens": 7}, "usageDetails": {"total": 30}}}'

  # Not in the body: a header says it.
  about="LiteLLM, what the call cost"
  run chat -m plain Hello
  expect_rows <<<'{"GENERATION": {"costDetails": {"total": 0.0000135}}}'
}

## MLflow and Phoenix, plain OTLP backends

# read_back BACKEND URL KIND SETTING...: every shape of answer, as the backend understands it, to which the
# call of a model is a span of that kind.
read_back() {
  local kind=$3
  backend=$1 url=$2
  settings=("OPENAI_BASE_URL=$aimock/v1" OPENAI_API_KEY=sk-aimock
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=$url/v1/traces" "${@:4}")
  local common='"spans": 2, "user": "ada", "session": "morning", "tags": ["one", "two"]'
  local generation="\"name\": \"chat gpt-4o-mini\", \"kind\": \"$kind\", \"model\": \"gpt-4o-mini\", \"provider\": \"openai\""
  local asked='"tools": [], "messages": [{"role": "system", "text": "Be brief.", "calls": []}, {"role": "user", "text"'

  # What it still has to load may take longer than an export usually may.
  about="$backend, the first export"
  settings+=(OTEL_EXPORTER_OTLP_TIMEOUT=120000)
  run chat "${who[@]}" --export-timeout 120 plain
  expect_code 0

  for form in --no-stream --stream; do
    about="$backend, chat, $form"
    run chat "${who[@]}" "$form" -n greeting -s "Be brief." --temperature 0.2 plain
    expect_code 0
    expect_stdout "$text"$'\n'
    expect_stderr "trace: $trace"
    expect_read <<JSON
{$common, "name": "greeting", "input": "plain", "output": "$text", "failed": null,
 "generation": {$generation, "failed": null, $asked: "plain", "calls": []}],
   "answers": [{"role": "assistant", "text": "$text", "calls": []}], "finish_reasons": ["stop"],
   "tokens": {"input": 12, "output": 5, "total": 17, "cached": null}}}
JSON

    about="$backend, chat with tool calls, $form"
    run chat "${who[@]}" "$form" -s "Be brief." -p tools:="$tools" weather
    expect_code 0
    expect_read <<JSON
{$common, "input": "weather", "output": [{"type": "function", "function": {"name": "get_weather"}}],
 "generation": {$generation, "tools": ["get_weather"], "finish_reasons": ["tool_call"],
   "answers": [{"role": "assistant", "text": "", "calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}],
   "tokens": {"input": 9, "output": 7, "total": 16, "cached": null}}}
JSON

    about="$backend, a call that fails, $form"
    run chat "${who[@]}" "$form" -s "Be brief." quota
    expect_code 4
    expect_stdout ""
    expect_read <<JSON
{$common, "name": "chat-completion", "input": "quota", "output": null, "failed": "~No credit",
 "generation": {$generation, "failed": "~No credit", $asked: "quota", "calls": []}], "answers": [], "tokens": null}}
JSON
  done

  about="$backend, a stream that is cut"
  run chat "${who[@]}" --stream cut
  expect_code 4
  expect_part
  expect_read <<JSON
{$common, "input": "cut", "output": "$part", "failed": "*",
 "generation": {$generation, "failed": "*", "answers": [{"role": "assistant", "text": "$part"}], "tokens": null}}
JSON

  about="$backend, a conversation with an image and the result of a tool"
  run replay "${who[@]}" --no-stream "$work/conversation.json"
  expect_code 0
  expect_read <<JSON
{$common, "input": "plain",
 "generation": {$generation, "messages": [
   {"role": "user", "text": "What is this?", "calls": [], "images": ["https://images.example/cat.png"]},
   {"role": "assistant", "text": "", "calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
   {"role": "tool", "text": "sunny", "calls": []},
   {"role": "user", "text": "plain", "calls": []}]}}
JSON

  about="$backend, a recording with cached and reasoning tokens"
  run replay "${who[@]}" "$work/recording.json"
  expect_code 0
  expect_read <<JSON
{$common, "input": "plain", "output": "An answer",
 "generation": {$generation, "answers": [{"role": "assistant"}], "tokens": {"input": 12, "output": 9, "total": 21, "cached": 4}}}
JSON

  about="$backend, compressed"
  settings+=(OTEL_EXPORTER_OTLP_COMPRESSION=gzip)
  run chat "${who[@]}" plain
  expect_code 0
  expect_read <<<"{$common, \"input\": \"plain\", \"output\": \"$text\"}"

  about="$backend, --verify"
  run chat --verify plain
  expect_code 3
  expect_stdout ""
}

start_model() {
  text="Hi from aimock — é, 日本, 🚀"
  mkdir "$work/fixtures"
  cat >"$work/fixtures/fixtures.json" <<JSON
{"fixtures": [
  {"match": {"userMessage": "plain"}, "response": {"content": "$text", "usage":
    {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}}},
  {"match": {"toolName": "get_weather"},
   "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Paris"}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}}},
  {"match": {"userMessage": "cut"},
   "response": {"content": "The first words, and then never the rest of it."}, "truncateAfterChunks": 4},
  {"match": {"userMessage": "quota"},
   "response": {"error": {"message": "No credit", "type": "insufficient_quota", "code": "insufficient_quota"}, "status": 429}}
]}
JSON
  cat >"$work/conversation.json" <<'JSON'
{"model": "gpt-4o-mini", "messages": [
  {"role": "user", "content": [{"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}]},
  {"role": "assistant", "content": null, "tool_calls":
    [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}]},
  {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
  {"role": "user", "content": "plain"}]}
JSON
  cat >"$work/recording.json" <<'JSON'
{"request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "plain"}]}, "error": null,
 "response": {"model": "gpt-4o-mini", "choices": [{"index": 0, "finish_reason": "stop",
     "message": {"role": "assistant", "content": "An answer", "reasoning_content": "I think"}}],
   "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21,
     "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}}},
 "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z"}
JSON
  start_aimock "$aimock_port" sk-aimock "$work/fixtures"
}

into_mlflow() {
  local mlflow="http://127.0.0.1:$mlflow_port" experiment=OTEL_EXPORTER_OTLP_HEADERS=x-mlflow-experiment-id
  serve mlflow "$mlflow_port" "/api/2.0/mlflow/experiments/get?experiment_id=0" mlflow server --host 127.0.0.1 --port "$mlflow_port" --workers 1 \
    --backend-store-uri "sqlite:///$work/mlflow.db" --artifacts-destination "$work/artifacts"
  read_back mlflow "$mlflow" CHAT_MODEL "$experiment=0"

  about="mlflow, an experiment that is not there"
  settings+=("$experiment=4711")
  run chat "${who[@]}" plain
  expect_code 5
  expect_stdout "$text"$'\n'
  expect_stderr "404"
  expect_stderr "langspan resend"

  about="mlflow, resend to the right one"
  settings+=("$experiment=0")
  run resend
  expect_code 0
  expect_read <<<'{"user": "ada", "session": "morning", "input": "plain"}'
}

into_phoenix() {
  local phoenix="http://127.0.0.1:$phoenix_port"
  serve phoenix "$phoenix_port" /healthz "PHOENIX_WORKING_DIR=$work/phoenix" PHOENIX_HOST=127.0.0.1 "PHOENIX_PORT=$phoenix_port" \
    "PHOENIX_GRPC_PORT=$grpc_port" PHOENIX_TELEMETRY_ENABLED=false phoenix serve
  read_back phoenix "$phoenix" LLM

  about="phoenix, JSON, which it does not take"
  settings+=(OTEL_EXPORTER_OTLP_PROTOCOL=http/json)
  run chat --no-outbox plain
  expect_code 5
  expect_stdout "$text"$'\n'
  expect_stderr "415"
}

## In turn

start_model
if installed mlflow; then into_mlflow; fi
if installed phoenix; then into_phoenix; fi
if installed litellm; then through_litellm; fi

closing
