#!/usr/bin/env bash
# curl in a shell script: one call, streamed if an argument is given.
set -euo pipefail
if [[ $# -gt 0 ]]; then stream=true; else stream=false; fi
curl --silent --show-error --fail --no-buffer "$OPENAI_BASE_URL/chat/completions" \
  --header "Authorization: Bearer $OPENAI_API_KEY" --header "Content-Type: application/json" \
  --data '{"model": "gpt-4o-mini", "stream": '"$stream"', "messages": [{"role": "user", "content": "Say hi"}]}'
