#!/usr/bin/env bash
# Langfuse's own Python SDK as a client of `langspan sandbox`: it checks the keys, reads the traces of `langspan chat`, and
# sends traces of its own, which `langspan show` reads. The stand-in is right only if the real client can use it. The
# SDK's latest release is the client of a Langfuse v4, its release 3 of a v3.
# The head of tests/servers.sh lists the variables.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

sdk_v4="$third_party/langfuse"
sdk_v3="$third_party/langfuse-v3"
needs "$sdk_v4/langfuse" "$sdk_v3/langfuse"
build
prepare

## What is expected

# succeed ARGUMENT...: langspan does.
succeed() {
  run "$@"
  verdict "langspan $1 exits with 0" "$(same 0 "$code")"
}

# sdk COMMAND ARGUMENT...: prints the output of tests/langfuse_sdk.py.
sdk() { ask tests/langfuse_sdk.py "$@"; }

# expect WHAT COMMAND ARGUMENT...: the SDK finds no difference.
expect() { verdict "$1" "$(sdk "${@:2}")"; }

## Start

# sandbox VERSION: starts one of this version; sets $url and $settings, and the SDK that is used.
sandbox() {
  local port sdk="sdk_$1"
  port="$(free_ports 1)"
  url="http://127.0.0.1:$port"
  start "$port" "XDG_STATE_HOME=$work/$1" "$langspan" sandbox --port "$port" --langfuse "$1"
  keys=("LANGFUSE_BASE_URL=$url" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox "PYTHONPATH=${!sdk}")
  settings=("${keys[@]}" "OPENAI_BASE_URL=$url/v1")
}

sandbox v4

## What the SDK asks of a server

about="the sandbox"
expect "auth_check()" keys
expect "health" health 4
expect "projects" projects
expect "models and prices" models
expect "observations of an unknown trace" unknown </dev/null
expect "a query that is refused" invalid
expect "a metrics query that is refused" invalid_metrics

about="the sandbox, with another secret key"
settings=("${keys[@]}" LANGFUSE_SECRET_KEY=sk-lf-another)
expect "auth_check() says so" refused_keys
settings=("${keys[@]}" "OPENAI_BASE_URL=$url/v1")

## What langspan sent, read by the SDK

about="chat"
succeed chat -u ada -S morning -t one -t two -n greeting --metadata team=blue --environment staging --release r1 \
  --trace-version v1 --temperature 0.5 Hello
expect "get_trace_url()" url "$trace" "$url/project/sandbox/traces/$trace"
expect "rows" rows "$trace" <<'JSON'
{"both": {"trace_id": "*", "project_id": "sandbox", "user_id": "ada", "session_id": "morning", "tags": ["one", "two"],
   "trace_name": "greeting", "environment": "staging", "release": "r1", "version": "v1", "level": "DEFAULT",
   "metadata": {"team": "blue"}, "public": false, "bookmarked": false},
 "SPAN": {"name": "greeting", "parent_observation_id": null, "is_root_observation": true, "input": "Hello", "output": "*"},
 "GENERATION": {"name": "chat gpt-4o-mini", "is_root_observation": false, "model": "*", "model_parameters": {"temperature": 0.5},
   "input": [{"role": "user", "content": "Hello"}], "output": {"role": "assistant", "content": "*"},
   "usage_details": {"input": "*", "output": "*", "total": "*"}, "time_to_first_token": null, "completion_start_time": null}}
JSON
expect "queries" queries "$trace" ada morning

about="chat, streamed"
succeed chat --stream Hello
expect "rows" rows "$trace" <<'JSON'
{"both": {"level": "DEFAULT", "environment": "default"},
 "GENERATION": {"time_to_first_token": "*", "completion_start_time": "*", "usage_details": {"total": "*"}}}
JSON

about="chat --trace-seed"
succeed chat --trace-seed "order 4711 — é" Hello
expect "create_trace_id()" seed "order 4711 — é" "$trace"

about="a session"
succeed chat -S evening Hello
first="$trace"
succeed chat -S evening Hello again
expect "metrics, and its observations" session evening "$first" "$trace"
expect "metrics of none" session night

about="chat --image"
printf '\x89PNG\r\n\x1a\n a picture' >"$work/picture.png"
succeed chat --image "$work/picture.png" "What is this?"
expect "its picture" media "$trace" "$work/picture.png"

about="prompts"
expect "created, read and filled" prompts
succeed chat --prompt sdk/made --var who=Ada --verify
succeed chat --no-stdin --prompt sdk/chat --var who=Ada --var 'history:=[]' Hello

about="scores"
succeed chat --expect Hello --score tone=kind Hello
expect "read" read_scores "$trace" <<'JSON'
{"contains": ["BOOLEAN", true, null, "observation"], "tone": ["CATEGORICAL", "kind", null, "observation"]}
JSON
expect "a list of them is refused" score_list "$trace"

about="datasets and experiments of the SDK"
expect "datasets and items" datasets
expect "an experiment" run_experiment
expect "a query that is refused" refused_experiment

about="batch --dataset"
succeed batch --dataset sdk/sums --prompt answer --experiment "by langspan, once" --experiment-description "Two sums" \
  --match-expected contains --out "$work/sums.jsonl" --verify
expect "read" read_experiment "by langspan, once" <<'JSON'
{"experiment": {"name": "by langspan, once", "description": "Two sums", "item_count": 2, "dataset_id": "*",
   "metadata": {"model": "gpt-4o-mini", "prompt": "*"}, "scores": [{"name": "expected", "value": 1}]},
 "items": {
   "sum-0": {"level": "DEFAULT", "environment": "experiment", "input": "~0", "output": "~0", "expected_output": "0",
     "experiment_item_version": "*", "experiment_item_metadata": {"n": "0"}, "scores": {"expected": true}},
   "sum-1": {"input": "~1 + 1", "output": "~1 + 1", "expected_output": "1", "scores": {"expected": true}}}}
JSON

about="check"
succeed check -o json
expect "rows" rows "$trace" <<'JSON'
{"both": {"user_id": "langspan-check", "session_id": "langspan-check", "tags": ["langspan-check"],
   "trace_name": "langspan-check", "environment": "langspan-check"},
 "SPAN": {"input": "*", "output": "*"}, "GENERATION": {"input": "*", "output": "*"}}
JSON

## What the SDK sent, read by langspan

about="a program that uses the SDK"
trace="$(sdk export)"
verdict "its trace is sent" "$([[ $trace =~ ^[0-9a-f]{32}$ ]] || echo "$trace")"
succeed show -o json "$trace"
expect "langspan show" shown <"$work/stdout"

about="media that the SDK uploads"
expect "it is there" media_upload

about="the SDK's generated export"
expect "its answer is read, and its span" generated_export 0123456789abcdef0123456789abcdef
succeed show 0123456789abcdef0123456789abcdef
verdict "langspan show" "$(grep -qF 'by hand' "$work/stdout" || cat "$work/stdout")"

## The same of an older server, by the SDK of its time

sandbox v3

about="the sandbox of v3"
expect "auth_check()" keys
expect "health" health 3
expect "an unknown trace" legacy_unknown

about="chat at v3"
succeed chat --stream -u ada -S morning -t two -t one -n greeting --metadata team=blue Hello
expect "get_trace_url()" url "$trace" "$url/project/sandbox/traces/$trace"
expect "trace" legacy_trace "$trace" <<'JSON'
{"name": "greeting", "userId": "ada", "sessionId": "morning", "tags": ["one", "two"], "environment": "default",
 "input": "Hello", "output": "*", "metadata": {"team": "blue"}, "totalCost": 0, "scores": [],
 "observations": {
   "SPAN": {"name": "greeting", "parentObservationId": null, "level": "DEFAULT"},
   "GENERATION": {"name": "chat gpt-4o-mini", "parentObservationId": "*", "model": "*", "completionStartTime": "*",
     "input": [{"role": "user", "content": "Hello"}], "output": {"role": "assistant", "content": "*"},
     "usageDetails": {"input": "*", "output": "*", "total": "*"}}}}
JSON

about="a session at v3"
succeed chat -S evening Hello
first="$trace"
succeed chat -S evening Hello again
expect "metrics, and its traces" legacy_session evening "$first" "$trace"

about="a score that the SDK of v3 creates"
succeed chat Hello
expect "it stands with the trace" create_score "$trace"
succeed show "$trace"
verdict "langspan show" "$(grep -qF 'sdk  0.5  by the SDK' "$work/stdout" || cat "$work/stdout")"

about="media that the SDK of v3 uploads"
expect "it is there" media_upload

about="a program that uses the SDK of v3"
trace="$(sdk export)"
verdict "its trace is sent" "$([[ $trace =~ ^[0-9a-f]{32}$ ]] || echo "$trace")"
succeed show -o json "$trace"
expect "langspan show" shown <"$work/stdout"

closing
