#!/usr/bin/env bash
# Runs langspan in each dialect against a model that nobody here wrote, aimock, whole and streamed, with
# `langspan sandbox` as the Langfuse. The head of tests/servers.sh lists the variables.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

needs "$third_party/aimock/node_modules/.bin/llmock"
build
prepare

# expect_rows TRACE_ID, JSON on stdin: waits until the rows in the sandbox, and the requests at the model, are as expected.
expect_rows() { verdict "rows of the trace" "$(ask tests/third_party.py rows "$sandbox" "$model" "$model_key" "$1")"; }

## Start

mkdir "$work/fixtures"
read -r model_port sandbox_port < <(free_ports 2)
model="http://127.0.0.1:$model_port"
sandbox="http://127.0.0.1:$sandbox_port"
model_key="sk-aimock-dialects"

cat >"$work/fixtures/fixtures.json" <<'JSON'
{"fixtures": [
  {"match": {"userMessage": "plain"},
   "response": {"content": "Hi — é, 日本, 🚀.", "usage": {"input_tokens": 12, "output_tokens": 5, "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}}},
  {"match": {"userMessage": "think"}, "response": {"content": "Four.", "reasoning": "Two and two."}},
  {"match": {"userMessage": "limit"}, "response": {"content": "Once upon", "finishReason": "length"}},
  {"match": {"toolName": "get_weather"},
   "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}},
  {"match": {"userMessage": "busy", "sequenceIndex": 0},
   "response": {"error": {"message": "Overloaded", "type": "overloaded_error"}, "status": 529}},
  {"match": {"userMessage": "busy", "sequenceIndex": 1}, "response": {"content": "Second try"}},
  {"match": {"userMessage": "cut"},
   "response": {"content": "The first words, and then never the rest of it."}, "truncateAfterChunks": 7},
  {"match": {"inputText": "embed"}, "response": {"embedding": [0.1, 0.2, 0.3]}}
]}
JSON

start "$sandbox_port" XDG_STATE_HOME="$work/sandbox" "$langspan" sandbox --port "$sandbox_port"
start_aimock "$model_port" "$model_key" "$work/fixtures"

settings=("OPENAI_BASE_URL=$model/v1" "OPENAI_API_KEY=$model_key" "ANTHROPIC_BASE_URL=$model" "ANTHROPIC_API_KEY=$model_key"
  "LANGFUSE_BASE_URL=$sandbox" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
who=(-u ada -S morning -t one)
rows_of_ada='"both": {"userId": "ada", "sessionId": "morning", "tags": ["one"], "level": "DEFAULT"}'

# outputs API TEXT [THOUGHTS]: the output of a trace that came in this dialect.
outputs() {
  local thoughts="${3:-}"
  case "$1" in
    chat) echo "{\"role\": \"assistant\", \"content\": \"$2\"}" ;;
    responses)
      [[ -z $thoughts ]] || thoughts="{\"type\": \"reasoning\", \"summary\": [{\"text\": \"$thoughts\"}]},"
      echo "[$thoughts {\"type\": \"message\", \"content\": [{\"type\": \"output_text\", \"text\": \"$2\"}]}]"
      ;;
    messages)
      [[ -z $thoughts ]] || thoughts="{\"type\": \"thinking\", \"thinking\": \"$thoughts\"},"
      echo "{\"role\": \"assistant\", \"content\": [$thoughts {\"type\": \"text\", \"text\": \"$2\"}]}"
      ;;
  esac
}

## A call in each dialect

tool_fields='"parameters":{"type":"object","properties":{"city":{"type":"string"}}}'
declare -A paths=([chat]=/v1/chat/completions [responses]=/v1/responses [messages]=/v1/messages)
declare -A reasons=([chat]=stop [responses]=completed [messages]=end_turn)
declare -A limits=([chat]=length [responses]=incomplete [messages]=max_tokens)
declare -A tools=(
  [chat]='[{"type":"function","function":{"name":"get_weather",'"$tool_fields"'}}]'
  [responses]='[{"type":"function","name":"get_weather",'"$tool_fields"'}]'
  [messages]='[{"name":"get_weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}]'
)
call='[{"id": "*", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}]'

for api in chat responses messages; do
  for form in --no-stream --stream; do
    first_token=null
    [[ $form == --no-stream ]] || first_token='"*"'

    about="$api, $form"
    run chat --api "$api" -m some-model "${who[@]}" "$form" -s "Be brief." plain
    expect_code 0
    expect_stdout $'Hi — é, 日本, 🚀.\n'
    expect_rows "$trace" <<JSON
{$rows_of_ada, "SPAN": {"name": "chat-completion", "input": "plain", "output": "Hi — é, 日本, 🚀."},
 "GENERATION": {"name": "chat some-model", "model": "some-model", "timeToFirstToken": $first_token,
   "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "plain"}],
   "output": $(outputs "$api" "Hi — é, 日本, 🚀."), "usageDetails": {"input": 12, "output": 5, "total": 17},
   "metadata": {"finish_reason": "${reasons[$api]}"}}}
JSON

    about="$api with a tool call, $form"
    run chat --api "$api" -m some-model "${who[@]}" "$form" -p tools:="${tools[$api]}" "What is the weather?"
    expect_code 0
    expect_json <<<"$call"
    expect_rows "$trace" <<<"{$rows_of_ada, \"SPAN\": {\"input\": \"What is the weather?\", \"output\": $call}, \"GENERATION\": {\"model\": \"some-model\"}}"

    about="$api at the token limit, $form"
    run chat --api "$api" -m some-model "$form" limit
    expect_code 0
    expect_stdout $'Once upon\n'
    expect_stderr "warning"
    expect_rows "$trace" <<<"{\"GENERATION\": {\"metadata\": {\"finish_reason\": \"${limits[$api]}\"}}}"
  done

  about="$api, a stream that is cut"
  run chat --api "$api" -m some-model "${who[@]}" --stream cut
  expect_code 4
  partial="$(cat "$work/stdout")"
  verdict "stdout has the part that came" "$([[ -n $partial && "The first words, and then never the rest of it." == "$partial"?* ]] || echo "got: $partial")"
  expect_rows "$trace" <<<"{\"both\": {\"level\": \"ERROR\"}, \"SPAN\": {\"output\": \"$partial\"}, \"GENERATION\": {\"output\": $(outputs "$api" "$partial")}}"
done

for api in responses messages; do
  for form in --no-stream --stream; do
    about="$api with thoughts, $form"
    run chat --api "$api" -m some-model "$form" think
    expect_code 0
    expect_stdout $'Four.\n'
    expect_rows "$trace" <<<"{\"SPAN\": {\"output\": \"Four.\"}, \"GENERATION\": {\"output\": $(outputs "$api" Four. "Two and two.")}}"
  done
done

about="messages, 529, then an answer"
run chat --api messages -m some-model busy
expect_code 0
expect_stdout $'Second try\n'
expect_rows "$trace" <<<'{"both": {"level": "DEFAULT"}, "GENERATION": {"metadata": {"attempts": 2}}, "calls": 2}'

## Bodies, which name their dialect by an option, a URL or their shape

printf '{"model": "some-model", "input": "embed"}' >"$work/embed.json"
about="replay of a body for embeddings"
run replay --api embeddings "${who[@]}" "$work/embed.json"
expect_code 0
expect_json <<<'{"object": "list", "data": [{"embedding": [0.1, 0.2, 0.3]}]}'
expect_rows "$trace" <<JSON
{$rows_of_ada, "SPAN": {"input": "embed"},
 "EMBEDDING": {"name": "embeddings some-model", "model": "some-model", "input": "embed", "output": {"dimensions": 3, "count": 1}}}
JSON

about="replay of a body for embeddings that nobody names so"
run replay "$work/embed.json"
expect_code 4
expect_stderr "--api embeddings"

about="replay of a body of Responses"
printf '{"model": "some-model", "input": [{"role": "user", "content": "plain"}], "stream": true}' >"$work/input.json"
run replay "${who[@]}" "$work/input.json"
expect_code 0
expect_stdout $'Hi — é, 日本, 🚀.\n'
expect_rows "$trace" <<<"{$rows_of_ada, \"GENERATION\": {\"output\": $(outputs responses "Hi — é, 日本, 🚀.")}}"

## A batch of all dialects, killed and resumed

lines=200
for ((n = 0; n < lines; n++)); do
  case $((n % 4)) in
    0) echo "{\"custom_id\":\"c-$n\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"plain\"}]}}" ;;
    1) echo "{\"custom_id\":\"r-$n\",\"method\":\"POST\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\",\"input\":\"plain\",\"stream\":true}}" ;;
    2) echo "{\"custom_id\":\"m-$n\",\"method\":\"POST\",\"url\":\"/v1/messages\",\"body\":{\"model\":\"m\",\"max_tokens\":99,\"messages\":[{\"role\":\"user\",\"content\":\"plain\"}]}}" ;;
    3) echo "{\"custom_id\":\"e-$n\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"m\",\"input\":\"embed\"}}" ;;
  esac
done >"$work/mixed.jsonl"
batch=(batch -j 4 -S mixed --run mixed -O "$work/answers.jsonl" "$work/mixed.jsonl")

about="a batch of all dialects"
"${clean[@]}" "${settings[@]}" "$langspan" "${batch[@]}" --resume >"$work/stdout" 2>"$work/stderr" </dev/null &
killed=$!
answered() { cat "$work/answers.jsonl" 2>/dev/null | wc -l; }
for ((tries = 0; tries < 600; tries++)); do
  (($(answered) < 40)) || break
  sleep 0.02
done
kill -KILL "$killed" 2>/dev/null || true
{ wait "$killed"; } 2>/dev/null || true
before="$(answered)"
verdict "some were answered before the kill ($before)" "$(((before >= 40 && before < lines)) || echo "$before of $lines")"
run "${batch[@]}" --resume
expect_code 0
verdict "every line is answered once" "$(same "$lines" "$("$python" -c '
import json, sys
answers = [json.loads(line) for line in open(sys.argv[1])]
assert all(answer["response"]["status_code"] == 200 for answer in answers)
print(len({answer["custom_id"] for answer in answers}) if len(answers) == len({a["custom_id"] for a in answers}) else answers)' "$work/answers.jsonl")")"
verdict "every line has its trace" "$(ask tests/third_party.py session "$sandbox" mixed <<<'{"GENERATION": 150, "EMBEDDING": 50}')"

closing
