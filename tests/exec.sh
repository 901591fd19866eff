#!/usr/bin/env bash
# Programs that nobody here wrote, run through `langspan exec`: each plain and streamed, against the model of `langspan
# sandbox` (or aimock, where another API is spoken), and its rows compared with what is right. MLflow, Langfuse's Python
# SDK, openai and curl; with --all further ones, for which npm is needed too.
# The head of tests/servers.sh says what may be set.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

all="${1:-}"
programs="$third_party/exec"
mkdir -p "$programs"
build
prepare

## Installing

# venv NAME REQUIREMENT...: a virtual environment of its own; fails where it cannot be made.
venv() {
  local folder="$programs/$1" log="$programs/$1.log"
  [[ -e $folder/.installed ]] && return
  rm -rf "$folder"
  if "$python" -m venv "$folder" >"$log" 2>&1 && "$folder/bin/pip" install --quiet --disable-pip-version-check "${@:2}" >>"$log" 2>&1; then
    touch "$folder/.installed"
  else
    skipped "$1"
  fi
}

# modules NAME PACKAGE...: a folder with packages of npm.
modules() {
  local folder="$programs/$1" log="$programs/$1.log"
  [[ -e $folder/.installed ]] && return
  rm -rf "$folder"
  if npm install --prefix "$folder" --no-audit --no-fund --loglevel=error "${@:2}" >"$log" 2>&1; then
    touch "$folder/.installed"
  else
    skipped "$1"
  fi
}

skipped() {
  echo "SKIPPED $1: it cannot be installed here, see $programs/$1.log"
  return 1
}

## Running

table=()

# through NAME MODE CALLS MODEL COMMAND...: runs a program, and compares its rows.
through() {
  local name=$1 mode=$2 calls=$3 model=$4 filled
  about="$name, $mode"
  run exec -v "${identity[@]}" -- "${@:5}"
  expect_code 0
  verdict "rows" "$(ask tests/exec/rows.py "$url" "$trace" "$model" "$calls" "$mode" "${wanted[@]}")"
  filled="$(sed -n 's/^filled in from the model calls: //p' "$work/stderr")"
  table+=("$name|$mode|$calls|$(sed -n 's/.*, \([0-9]*\) generations\{0,1\},.*/\1/p' "$work/stderr")|${filled:-nothing}")
}

# both NAME MODEL COMMAND...: plain and streamed.
both() {
  through "$1" plain 1 "$2" "${@:3}"
  through "$1" stream 1 "$2" "${@:3}" stream
}

port="$(free_ports 1)"
url="http://127.0.0.1:$port"
start "$port" "XDG_STATE_HOME=$work/state" "$langspan" sandbox --port "$port"
settings=("LANGFUSE_BASE_URL=$url" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox
  "OPENAI_BASE_URL=$url/v1" OPENAI_API_KEY=sk-test PYTHONWARNINGS=ignore)
identity=(-u ada -S nightly -t ci)
wanted=(ada nightly ci)

both curl gpt-4o-mini bash tests/exec/curl.sh
if venv openai openai==3.57.0; then
  both openai gpt-4o-mini "$programs/openai/bin/python" tests/exec/openai_plain.py
fi
if venv langfuse langfuse==5.0.4 openai==3.57.0; then
  both langfuse-python gpt-4o-mini "$programs/langfuse/bin/python" tests/exec/langfuse_sdk.py
fi
if venv mlflow mlflow==3.17.2 openai==3.57.0 opentelemetry-exporter-otlp-proto-http; then
  settings+=("MLFLOW_TRACKING_URI=sqlite:///$work/mlflow.db" MLFLOW_ENABLE_ASYNC_LOGGING=false)
  both mlflow gpt-4o-mini "$programs/mlflow/bin/python" tests/exec/mlflow_autolog.py
  # The cookbook names its own user, session and tags; without options they are those of every row.
  identity=()
  wanted=(user-123 123456789 staging demo)
  through mlflow-cookbook plain 2 gpt-4o-mini "$programs/mlflow/bin/python" tests/exec/mlflow_cookbook.py
  identity=(-u ada -S nightly -t ci)
  wanted=(ada nightly ci)
fi

if [[ $all == --all ]]; then
  if venv openinference openinference-instrumentation-openai==0.1.66 openai==3.57.0 opentelemetry-sdk opentelemetry-exporter-otlp-proto-http; then
    both openinference gpt-4o-mini "$programs/openinference/bin/python" tests/exec/openinference_openai.py
  fi
  if venv openllmetry opentelemetry-instrumentation-openai==0.62.4 openai==2.54.0 opentelemetry-sdk opentelemetry-exporter-otlp-proto-http; then
    both openllmetry gpt-4o-mini "$programs/openllmetry/bin/python" tests/exec/openllmetry.py
  fi
  if venv litellm litellm==1.110.2 opentelemetry-sdk opentelemetry-exporter-otlp-proto-http; then
    settings+=(LITELLM_LOCAL_MODEL_COST_MAP=True)
    both litellm gpt-4o-mini "$programs/litellm/bin/python" tests/exec/litellm_otel.py
  fi
  if venv llm llm==0.36; then
    through llm plain 1 gpt-4o-mini "$programs/llm/bin/llm" prompt --no-stream -m gpt-4o-mini "Say hi"
    through llm stream 1 gpt-4o-mini "$programs/llm/bin/llm" prompt -m gpt-4o-mini "Say hi"
  fi
  if modules langfuse-js @langfuse/openai@5.11.1 @langfuse/otel@5.11.1 @opentelemetry/sdk-node openai@6.49.0; then
    cp tests/exec/langfuse_sdk.mjs "$programs/langfuse-js/"
    both langfuse-js gpt-4o-mini node "$programs/langfuse-js/langfuse_sdk.mjs"
  fi
  if modules ai-sdk ai@6.0.326 @ai-sdk/openai @opentelemetry/sdk-node @opentelemetry/exporter-trace-otlp-proto; then
    cp tests/exec/ai_sdk.mjs "$programs/ai-sdk/"
    both ai-sdk gpt-4o-mini node "$programs/ai-sdk/ai_sdk.mjs"
  fi
  if [[ -x $third_party/aimock/node_modules/.bin/llmock ]] && venv anthropic anthropic==2.14.0; then
    port="$(free_ports 1)"
    echo '{"fixtures": [{"match": {"userMessage": "Say hi"}, "response": {"content": "Hi, and welcome.", "usage": {"prompt_tokens": 12, "completion_tokens": 17, "input_tokens": 12, "output_tokens": 17, "total_tokens": 29}}}]}' >"$work/fixtures.json"
    start_aimock "$port" sk-test "$work/fixtures.json"
    settings+=("ANTHROPIC_BASE_URL=http://127.0.0.1:$port" ANTHROPIC_API_KEY=sk-test)
    both anthropic claude-sonnet-4-5 "$programs/anthropic/bin/python" tests/exec/anthropic_plain.py
  else
    echo "SKIPPED anthropic: there is no aimock, or it cannot be installed here"
  fi
fi

printf '\n%s\n' "program|mode|calls|generations|filled in" "${table[@]}" | column -t -s '|' || printf '%s\n' "${table[@]}"
closing
