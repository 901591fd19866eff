# What the scripts share that run langspan among servers which nobody here wrote: where things lie, servers that end
# with the script, and verdicts. They source it, and stand in the repository's root afterwards.
#
#   LANGSPAN     the binary under test            (default: what `cargo build` makes)
#   THIRD_PARTY  the folder of those servers      (default: third-party in cargo's target folder)
#
# Needs python3, for JSON, HTTP and free ports. Everything listens on loopback.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-target}"
third_party="$(realpath -m "${THIRD_PARTY:-$target/third-party}")"
# The interpreter itself: a wrapper may look for it below the real HOME.
python="$(python3 -c 'import sys; print(sys.executable)')"

# needs FILE...: a script that lacks one of them has nothing to do.
needs() {
  for file in "$@"; do
    if [[ ! -e $file ]]; then
      echo "SKIPPED $0: there is no $file (.ci/run installs it)"
      exit 0
    fi
  done
}

# build: makes the binary under test, unless one is given.
build() {
  [[ -n ${LANGSPAN:-} ]] || cargo build --quiet
  langspan="$(realpath "${LANGSPAN:-$target/debug/langspan}")"
}

# prepare: a folder that goes with the script, and an environment with nothing of this machine's proxies, certificates
# and keys.
prepare() {
  work="$(mktemp -d)"
  mkdir "$work/home"
  clean=(env -i "PATH=$PATH" "HOME=$work/home" NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1)
  : >"$work/stderr"
  trap finish EXIT
  trap 'exit 130' INT TERM
}

# Ends the servers with all that they started; who does not go in ten seconds is killed.
finish() {
  signal_servers TERM
  for _ in {1..100}; do
    [[ -n $(jobs -pr) ]] || break
    sleep 0.1
  done
  signal_servers KILL
  # The shell would say which ones were killed.
  { wait; } 2>/dev/null
  rm -rf "$work"
}

signal_servers() {
  for server in "${servers[@]}"; do kill -s "$1" -- "-$server" 2>/dev/null || true; done
}

## Servers

servers=()

free_ports() {
  "$python" -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(socket.getsockname()[1] for socket in held))' "$1"
}

# start PORT [NAME=VALUE]... COMMAND...: returns once the port takes connections, which may take two minutes.
start() {
  local port=$1 log="$work/$1.log"
  shift
  # Job control gives it a process group of its own.
  set -m
  "${clean[@]}" "$@" >"$log" 2>&1 </dev/null &
  set +m
  servers+=($!)
  for _ in {1..1200}; do
    if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "FAILED to start on port $port: $*"
  cat "$log"
  exit 1
}

start_aimock() {
  start "$1" "AIMOCK_API_KEYS=$2" "$third_party/aimock/node_modules/.bin/llmock" -h 127.0.0.1 -p "$1" -f "$3" -l 5 -c 8
}

## What is expected

settings=()
passed=0
failed=0
about=""

# run ARGUMENT...: leaves $code, stdout and stderr in files, and the trace ids that were printed in $traces, the
# first of them in $trace.
run() {
  code=0
  "${clean[@]}" "${settings[@]}" "$langspan" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  mapfile -t traces < <(cat "$work/stderr" "$work/stdout" | grep -oE '\b[0-9a-f]{32}\b' | awk '!seen[$0]++')
  traces+=(no-trace-id no-trace-id)
  trace="${traces[0]}"
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

same() { [[ $1 == "$2" ]] || printf 'expected: %s\ngot:      %s\n' "$1" "$2"; }

expect_code() { verdict "exit code $1" "$(same "$1" "$code")"; }

# The dot keeps the newlines at the end.
expect_stdout() { verdict "stdout" "$(same "$(printf '%s.' "$1")" "$(cat "$work/stdout" && printf .)")"; }

expect_stderr() { verdict "stderr says: $1" "$(grep -qF -- "$1" "$work/stderr" || echo "it does not")"; }

# ask SCRIPT ARGUMENT...: what the Python script prints; what goes wrong in it is a difference too.
ask() {
  "${clean[@]}" "${settings[@]}" "$python" "$@" 2>&1 || echo "it ended with exit code $?"
}

# expect_json, JSON on stdin: stdout has at least that.
expect_json() { verdict "stdout as JSON" "$(ask tests/difference.py "$work/stdout")"; }

# closing: the count, as the script's last line and exit code.
closing() {
  echo
  echo "$passed passed, $failed failed"
  [[ $failed -eq 0 ]]
}
