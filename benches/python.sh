#!/usr/bin/env bash
# Installs what `cargo bench` compares langspan with, each into an environment of its own below cargo's target folder:
# Langfuse's Python SDK, and what Langfuse's OpenTelemetry cookbook uses (mlflow; some 700 MB).
#
#   benches/python.sh            both
#   benches/python.sh langfuse   one of them (langfuse, cookbook)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${CARGO_TARGET_DIR:-target}/python"

install() {
  local name=$1
  shift
  [[ -x $python/$name/bin/python ]] || python3 -m venv "$python/$name"
  "$python/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
}

[[ $# -gt 0 ]] || set -- langfuse cookbook
for name in "$@"; do
  case $name in
    langfuse) install langfuse langfuse openai ;;
    cookbook) install cookbook 'mlflow>=3' openai opentelemetry-sdk opentelemetry-exporter-otlp-proto-http ;;
    *) echo "unknown: $name" >&2; exit 2 ;;
  esac
done
