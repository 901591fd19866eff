#!/usr/bin/env bash
# OpenAI's and Anthropic's own Python SDKs as clients of the model in `langspan sandbox`: their types check every answer,
# whole and streamed, in all four dialects. The head of tests/servers.sh lists the variables.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

sdks="$third_party/model-sdks"
needs "$sdks/openai" "$sdks/anthropic"
build
prepare

port="$(free_ports 1)"
start "$port" "XDG_STATE_HOME=$work/sandbox" "$langspan" sandbox --port "$port"
settings=("PYTHONPATH=$sdks")

# One process for all calls, because loading the SDKs takes longer than the calls. Each line is a call, a tab and what is
# wrong with its answer.
about="the sandbox's model"
answers="$(ask tests/model_sdks.py "http://127.0.0.1:$port")"
while IFS=$'\t' read -r call difference; do
  verdict "$call" "$difference"
done <<<"$answers"
verdict "all calls were made" "$(grep -q '^the end' <<<"$answers" || echo "$answers")"

closing
