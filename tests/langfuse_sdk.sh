#!/usr/bin/env bash
# Langfuse's own Python SDK as a client of `langspan sandbox`: it tries the keys, reads back the traces that `langspan
# chat` made, and sends traces of its own, which `langspan show` reads back. A stand-in that the real client cannot read
# would be a wrong one. The SDK's latest release reads a Langfuse v4, its third one a v3.
#
#   LANGSPAN     the binary under test                    (default: what `cargo build` makes)
#   THIRD_PARTY  the folder where .ci/run puts both       (default: third-party in cargo's target folder)
#
# Needs python3. Everything listens on loopback, and ends with the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-target}"
third_party="$(realpath -m "${THIRD_PARTY:-$target/third-party}")"
sdk_v4="$third_party/langfuse"
sdk_v3="$third_party/langfuse-v3"
# The interpreter itself: a wrapper may look for it below the real HOME.
python="$(python3 -c 'import sys; print(sys.executable)')"
for sdk in "$sdk_v4" "$sdk_v3"; do
  if [[ ! -d $sdk/langfuse ]]; then
    echo "SKIPPED tests/langfuse_sdk.sh: there is no SDK in $sdk (.ci/run installs it)"
    exit 0
  fi
done
[[ -n ${LANGSPAN:-} ]] || cargo build --quiet
langspan="$(realpath "${LANGSPAN:-$target/debug/langspan}")"

work="$(mktemp -d)"
mkdir "$work/home"
# With nothing of this machine's proxies, certificates and keys.
clean=(env -i "PATH=$PATH" "HOME=$work/home" NO_COLOR=1)
servers=()
passed=0
failed=0
about=""

finish() {
  for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

## What is expected

# run ARGUMENT...: leaves $code, stdout and stderr in files, and the trace id that was printed in $trace.
run() {
  code=0
  "${clean[@]}" "${settings[@]}" "$langspan" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  trace="$(cat "$work/stderr" "$work/stdout" | grep -oE '\b[0-9a-f]{32}\b' | head -n1 || echo no-trace-id)"
  verdict "langspan $1 exits with 0" "$([[ $code -eq 0 ]] || echo "exit code $code")"
}

# verdict WHAT DIFFERENCE: no difference is a pass.
verdict() {
  if [[ -z $2 ]]; then
    passed=$((passed + 1))
    echo "ok      $about: $1"
  else
    failed=$((failed + 1))
    echo "FAILED  $about: $1"
    printf '%s\n' "$2" "stderr was:" "$(cat "$work/stderr")" | sed 's/^/          /'
  fi
}

# sdk COMMAND ARGUMENT...: what tests/langfuse_sdk.py prints; what goes wrong in it is a difference too.
sdk() {
  "${clean[@]}" "${settings[@]}" "PYTHONPATH=$sdk" PYTHONDONTWRITEBYTECODE=1 "$python" tests/langfuse_sdk.py "$@" 2>&1
}

# expect WHAT COMMAND ARGUMENT...: the SDK finds no difference.
expect() { verdict "$1" "$(sdk "${@:2}" || echo "it ended with exit code $?")"; }

## Start

# start VERSION: a sandbox of that generation; sets $url and $settings, and the SDK that is asked.
start() {
  local log="$work/$1.log"
  "${clean[@]}" "XDG_STATE_HOME=$work/$1" "$langspan" sandbox --port 0 --langfuse "$1" >"$log" 2>&1 </dev/null &
  servers+=($!)
  for _ in {1..300}; do
    url="$(sed -n 's/^langspan sandbox: //p' "$log")"
    [[ -z $url ]] || break
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  if [[ -z $url ]]; then
    echo "FAILED to start a sandbox of $1"
    cat "$log"
    exit 1
  fi
  keys=("LANGFUSE_BASE_URL=$url" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
  settings=("${keys[@]}" "OPENAI_BASE_URL=$url/v1")
  local of_version="sdk_$1"
  sdk="${!of_version}"
  : >"$work/stderr"
}

start v4

## What the SDK asks of a server

about="the sandbox"
expect "auth_check()" keys
expect "health" health 4
expect "projects" projects
expect "observations of an unknown trace" unknown </dev/null
expect "a query that is refused" invalid
expect "a metrics query that is refused" invalid_metrics

about="the sandbox, with another secret key"
settings=("${keys[@]}" LANGFUSE_SECRET_KEY=sk-lf-another)
expect "auth_check() says so" refused_keys
settings=("${keys[@]}" "OPENAI_BASE_URL=$url/v1")

## What langspan sent, read by the SDK

about="chat"
run chat -u ada -S morning -t one -t two -n greeting --metadata team=blue --environment staging --release r1 \
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
run chat --stream Hello
expect "rows" rows "$trace" <<'JSON'
{"both": {"level": "DEFAULT", "environment": "default"},
 "GENERATION": {"time_to_first_token": "*", "completion_start_time": "*", "usage_details": {"total": "*"}}}
JSON

about="chat --trace-seed"
run chat --trace-seed "order 4711 — é" Hello
expect "create_trace_id()" seed "order 4711 — é" "$trace"

about="a session"
run chat -S evening Hello
first="$trace"
run chat -S evening Hello again
expect "metrics, and its observations" session evening "$first" "$trace"
expect "metrics of none" session night

about="chat --image"
printf '\x89PNG\r\n\x1a\n a picture' >"$work/picture.png"
run chat --image "$work/picture.png" "What is this?"
expect "its picture" media "$trace" "$work/picture.png"

about="check"
run check -o json
expect "rows" rows "$trace" <<'JSON'
{"both": {"user_id": "langspan-check", "session_id": "langspan-check", "tags": ["langspan-check"],
   "trace_name": "langspan-check", "environment": "langspan-check"},
 "SPAN": {"input": "*", "output": "*"}, "GENERATION": {"input": "*", "output": "*"}}
JSON

## What the SDK sent, read by langspan

about="a program that uses the SDK"
trace="$(sdk export || true)"
verdict "its trace is sent" "$([[ $trace =~ ^[0-9a-f]{32}$ ]] || echo "$trace")"
run show -o json "$trace"
expect "langspan show" shown <"$work/stdout"

about="media that the SDK uploads"
expect "it is there" media_upload

about="the SDK's generated export"
expect "its answer is read, and its span" generated_export 0123456789abcdef0123456789abcdef
run show 0123456789abcdef0123456789abcdef
verdict "langspan show" "$(grep -qF 'by hand' "$work/stdout" || cat "$work/stdout")"

## The same of an older server, by the SDK of its time

start v3

about="the sandbox of v3"
expect "auth_check()" keys
expect "health" health 3
expect "an unknown trace" legacy_unknown

about="chat at v3"
run chat --stream -u ada -S morning -t two -t one -n greeting --metadata team=blue Hello
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
run chat -S evening Hello
first="$trace"
run chat -S evening Hello again
expect "metrics, and its traces" legacy_session evening "$first" "$trace"

about="media that the SDK of v3 uploads"
expect "it is there" media_upload

about="a program that uses the SDK of v3"
trace="$(sdk export || true)"
verdict "its trace is sent" "$([[ $trace =~ ^[0-9a-f]{32}$ ]] || echo "$trace")"
run show -o json "$trace"
expect "langspan show" shown <"$work/stdout"

echo
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
