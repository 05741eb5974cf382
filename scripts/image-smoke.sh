#!/usr/bin/env bash
# Runs an image read-only, without capabilities and as its own user: a simulated engine and a router before it, then asks
# for health and for a completion. Usage: image-smoke.sh IMAGE
set -euo pipefail
image=${1:?usage: image-smoke.sh IMAGE}
name=lmstack-smoke-$$

# (called by the trap)
# shellcheck disable=SC2317
cleanup() {
  docker rm --force "$name-router" "$name-engine" >/dev/null 2>&1 || true
  docker network rm "$name" >/dev/null 2>&1 || true
}
trap cleanup EXIT

run() {
  local part=$1
  shift
  docker run --detach --name "$name-$part" --network "$name" --read-only --cap-drop ALL \
    --security-opt no-new-privileges "${publish[@]}" "$image" "$@" >/dev/null
}

user=$(docker image inspect --format '{{.Config.User}}' "$image")
case "$user" in
  '' | root | root:* | 0 | 0:*) echo "the image runs as root" >&2; exit 1 ;;
esac

# `kvaware` and the tokenizers need packages that an installation may leave out
docker run --rm --read-only --entrypoint node "$image" --input-type=module --eval \
  "for (const name of ['zeromq', '@msgpack/msgpack', '@huggingface/jinja', '@huggingface/tokenizers']) await import(name)"

docker network create "$name" >/dev/null
publish=()
run engine engine --host 0.0.0.0 --port 8000
publish=(--publish 127.0.0.1:0:8000)
run router router --port 8000 --static-backends "http://$name-engine:8000"
url=http://$(docker port "$name-router" 8000/tcp)

body='{"model": "facebook/opt-125m", "prompt": "Write a simple poem: ", "max_tokens": 5}'
for _ in $(seq 60); do
  if curl --silent --fail "$url/health" &&
    curl --silent --fail "$url/v1/completions" --header 'content-type: application/json' --data "$body"; then
    echo
    # it must also stop when it is told to
    docker stop --time 30 "$name-router" >/dev/null
    [ "$(docker inspect --format '{{.State.ExitCode}}' "$name-router")" = 0 ] || { echo "exit code is not 0" >&2; exit 1; }
    exit 0
  fi
  sleep 0.5
done
echo "no answer within 30 s" >&2
docker logs "$name-router" >&2
docker logs "$name-engine" >&2
exit 1
