#!/usr/bin/env bash
# The image of the Dockerfile, without Docker: a bare Debian root gets the same files, and langspan runs there. Needs
# root, debootstrap, openssl, python3 and a built binary: tests/bare_root.sh [BINARY].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(realpath "${1:-target/release/langspan}")
work=$(mktemp -d)
root=$work/root
started=()

finish() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
inside() { chroot "$root" /usr/bin/env -i HOME=/home/langspan PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

say "a bare Debian root"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
debootstrap --variant=minbase stable "$root" "${mirror%/}" >"$work/debootstrap.log" 2>&1 || {
  tail -n 5 "$work/debootstrap.log"
  exit 1
}
cat "$root/etc/debian_version"

say "the files of the Dockerfile's last stage"
sed '0,/^FROM debian/d' Dockerfile | while read -r instruction rest; do
  case $instruction in
    COPY)
      read -r -a words <<<"${rest/--from=build \/out\/bin\/langspan/$binary}"
      target=$root${words[-1]}
      case $target in */) mkdir -p "$target" ;; *) mkdir -p "$(dirname "$target")" ;; esac
      # A pattern of the Dockerfile is one of the shell.
      cp -v ${words[*]:0:${#words[@]}-1} "$target" | tail -n 1
      ;;
    RUN) inside sh -c "$rest" ;;
  esac
done

say "what the binary needs"
inside ldd /usr/local/bin/langspan
echo "certificates in the system's store: $(inside sh -c "ls /etc/ssl/certs 2>/dev/null | wc -l")"

say "langspan check --sandbox"
inside langspan check --sandbox

say "langspan chat --sandbox"
inside langspan chat --sandbox --no-stdin -u ada "Why trace LLM calls?"

say "a call over TLS"
XDG_STATE_HOME=$work/state "$binary" sandbox --port 0 >"$work/sandbox" &
started+=($!)
until grep -q LANGFUSE_BASE_URL "$work/sandbox"; do sleep 0.1; done
plain=$(sed -nE 's/^export LANGFUSE_BASE_URL=.*:([0-9]+).*/\1/p' "$work/sandbox")
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=a private authority" -addext "subjectAltName=IP:127.0.0.1" \
  -keyout "$work/key.pem" -out "$work/ca.pem" 2>/dev/null
python3 tests/tls_front.py "$work/ca.pem" "$work/key.pem" "$plain" >"$work/front" &
started+=($!)
until [ -s "$work/front" ]; do sleep 0.1; done
secure=https://127.0.0.1:$(cat "$work/front")
cp "$work/ca.pem" "$root/ca.pem"
over_tls() {
  inside OPENAI_BASE_URL="$secure/v1" LANGFUSE_BASE_URL="$secure" LANGFUSE_PUBLIC_KEY=pk-lf-sandbox \
    LANGFUSE_SECRET_KEY=sk-lf-sandbox "$@"
}
over_tls langspan chat --no-stdin --verify --ca-file /ca.pem "Hello"
code=0
over_tls langspan chat --no-stdin --retries 0 "Hello" || code=$?
if [ "$code" -ne 5 ]; then
  echo "FAILED: an untrusted certificate gave exit code $code, not 5"
  exit 1
fi

printf '\nbare root: 4 passed, 0 failed\n'
