#!/usr/bin/env bash
# Validates the Job of `langspan help cluster` against the schemas of Kubernetes, and runs its command as each of its pods
# would, against `langspan sandbox`. The head of tests/servers.sh says what may be set.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

packages="$third_party/kubernetes"
needs "$packages/bin/kubernetes-validate"
build
prepare

settings=("PYTHONPATH=$packages")
validate() { ask "$packages/bin/kubernetes-validate" --strict --quiet "$1"; }

awk '/^```yaml$/ { inside = 1; next } /^```$/ { inside = 0 } inside' src/cli/help/cluster.md |
  awk '/^apiVersion:/ { inside = 1 } /^receivers:/ { inside = 0 } inside' >"$work/job.yaml"

about="the Job"
verdict "it is there" "$(grep -q '^kind: Job$' "$work/job.yaml" || cat "$work/job.yaml")"
verdict "it is valid" "$(validate "$work/job.yaml")"

about="a Job with a mistake"
for mistake in 's/completionMode:/completionModus:/' 's/completions: 8/completions: eight/' 's/mountPath:/path:/'; do
  sed "$mistake" "$work/job.yaml" >"$work/wrong.yaml"
  verdict "$mistake is found" "$([[ -n $(validate "$work/wrong.yaml") ]] || echo "it is not")"
done

# What the pods run, and how many there are. Their volume is a folder here, and there is no collector.
mapfile -t job < <(ask - "$work/job.yaml" <<'PYTHON'
import sys, yaml
job = yaml.safe_load(open(sys.argv[1]))["spec"]
print(job["completions"])
container = job["template"]["spec"]["containers"][0]
assert container["command"] == ["sh", "-c"], container
print(" ".join(container["args"]))
PYTHON
)
pods="${job[0]}"
data="$work/data"
mkdir "$data" "$work/bin"
ln -s "$langspan" "$work/bin/langspan"
command="${job[1]//\/data/$data}"
command="${command// --otlp-endpoint http:\/\/otel-collector:4318/}"
read -r sandbox_port < <(free_ports 1)
sandbox="http://127.0.0.1:$sandbox_port"
start "$sandbox_port" XDG_STATE_HOME="$work/sandbox" "$langspan" sandbox --port "$sandbox_port"
settings=("PATH=$work/bin:$PATH" "OPENAI_BASE_URL=$sandbox/v1" "LANGFUSE_BASE_URL=$sandbox"
  LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
"$python" tests/cluster.py input 100 >"$data/questions.jsonl"
outs=()
for ((index = 0; index < pods; index++)); do
  about="pod $index"
  code=0
  "${clean[@]}" "${settings[@]}" "JOB_COMPLETION_INDEX=$index" sh -c "$command" \
    >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  expect_code 0
  outs+=("$data/answers-$index.jsonl")
done

about="their outputs, merged"
run merge "${outs[@]}" --out "$data/answers.jsonl" --verify
expect_code 0
verdict "each line once, in order" "$(ask tests/cluster.py lines "$data/answers.jsonl" 100)"
verdict "each trace once, in one session" "$(ask tests/cluster.py traces "$sandbox" 100 night-1)"

closing
