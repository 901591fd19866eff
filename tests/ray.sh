#!/usr/bin/env bash
# Runs the program of `langspan help cluster` on Ray, on this machine: 4 shards over 2,000 lines against
# `langspan sandbox`, as tasks with retries. The worker of one task is killed with SIGKILL in the middle of its lines. Then
# each line must be there once, each trace once, in one session, and `langspan merge` must have joined the outputs.
#
# Run it by hand: it installs Ray from PyPI into the folder of third-party packages. The head of tests/servers.sh says
# what may be set. LINES_TOTAL and DELAY (of the model, in ms) may be set too.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
source tests/install.sh

lines_total="${LINES_TOTAL:-2000}"
delay="${DELAY:-1500}"
shards=4
# The shard whose worker is killed.
victim=2

mkdir -p "$third_party"
if ! command -v setpriv >/dev/null || ! install_ray; then
  echo "SKIPPED $0: it needs setpriv, and Ray from PyPI"
  exit 0
fi
build
prepare
say() { printf '\n== %s\n' "$*"; }

## The program of the topic, with the names and numbers of this test

read -r sandbox_port < <(free_ports 1)
sandbox="http://127.0.0.1:$sandbox_port"
# Ray's sockets lie in its folder, and their paths must be short.
shared="$work/shared"
mkdir "$shared" "$work/bin" "$work/ray"
ln -s "$langspan" "$work/bin/langspan"
# adapted FROM TO: replaces what must be in the program.
adapted() {
  grep -qF -- "$1" "$work/night.py" || { echo "FAILED: help/cluster.md lacks: $1"; exit 1; }
  "$python" -c 'import sys; path, old, new = sys.argv[1:]; text = open(path).read(); open(path, "w").write(text.replace(old, new))' \
    "$work/night.py" "$1" "$2"
}
awk '/^```python$/ { inside = 1; next } /^```$/ { inside = 0 } inside' src/cli/help/cluster.md >"$work/night.py"
echo "$(wc -l <"$work/night.py") lines of Python"
adapted 'SHARDS = 8' "SHARDS = $shards"
adapted '"/shared/night-1"' "\"$shared\""
adapted 'ray.init()' "ray.init(num_cpus=$shards, include_dashboard=False, _node_ip_address='127.0.0.1', _temp_dir='$work/ray')"
cat "$work/night.py"

say "langspan sandbox and Ray"
start "$sandbox_port" XDG_STATE_HOME="$work/sandbox" "$langspan" sandbox --port "$sandbox_port" --delay "$delay"
settings=("PATH=$work/bin:$PATH" "PYTHONPATH=$third_party/ray" RAY_USAGE_STATS_ENABLED=0
  "OPENAI_BASE_URL=$sandbox/v1" "LANGFUSE_BASE_URL=$sandbox"
  LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
"$python" tests/cluster.py input "$lines_total" >"$shared/questions.jsonl"
set -m
"${clean[@]}" "${settings[@]}" "$python" "$work/night.py" >"$work/stdout" 2>"$work/stderr" </dev/null &
set +m
program=$!
servers+=("$program")

## A worker is killed

written() { wc -l 2>/dev/null <"$shared/answers-$1.jsonl" || echo 0; }

# running SHARD: the process that works on it.
running() {
  local command
  for command in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' 2>/dev/null <"$command" | grep -qE "^langspan batch $shared/.* --shard $1/$shards "; then
      command="${command#/proc/}"
      echo "${command%/cmdline}"
    fi
  done
}

share=$((lines_total / shards))
for _ in {1..1800}; do
  if [[ $(written $victim) -ge $((share / 8)) ]] || ! kill -0 "$program" 2>/dev/null; then break; fi
  sleep 0.1
done
about="the killed worker"
batch="$(running $victim)"
worker="$(awk '/^PPid:/ { print $2 }' "/proc/$batch/status")"
say "kill -KILL $worker ($(tr -s "\0 " " " <"/proc/$worker/cmdline")), after $(written $victim) of its $share lines"
kill -KILL "$worker"
for _ in {1..100}; do [[ -d /proc/$batch ]] || break; sleep 0.05; done
killed_at="$(written $victim)"
verdict "langspan ended with it" "$([[ ! -d /proc/$batch ]] || echo "process $batch is there")"
verdict "it was in the middle of its lines" "$([[ $killed_at -gt 0 && $killed_at -lt $share ]] || echo "$killed_at of $share")"

## The result

code=0
wait "$program" || code=$?
say "what the program said"
cat "$work/stdout" "$work/stderr"
wc -l "$shared"/answers-[0-9].jsonl "$shared/answers.jsonl"
about="the program"
expect_code 0
expect_stderr "merged $lines_total lines of $shards outputs"
expect_stderr "traces: $lines_total accepted, $lines_total readable"
verdict "the shard was started twice" "$(same 2 "$(grep -c '"started"' "$shared/answers-$victim.jsonl.acks")")"
verdict "each line once, in order" "$(ask tests/cluster.py lines "$shared/answers.jsonl" "$lines_total")"
verdict "each trace once, in one session" "$(ask tests/cluster.py traces "$sandbox" "$lines_total" night-1)"

closing
