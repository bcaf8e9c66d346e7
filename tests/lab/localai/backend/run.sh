#!/usr/bin/env bash
# Starts one engine process: run.sh --addr HOST:PORT [arguments of llama-server].
# The loader of the image is used, so that the engine runs in an image of another release, and so that ggml looks for
# its CPU variants in lib/: it searches the directory of the running executable, and that is the loader.
set -euo pipefail

HERE=$(dirname "$(realpath "$0")")
cd /

BINARY=llama-cpp-cpu-all
RPC=()
if [ -n "${LLAMACPP_GRPC_SERVERS:-}" ] && [ -e "$HERE/llama-cpp-grpc" ]; then
  BINARY=llama-cpp-grpc
  RPC=(--rpc "$LLAMACPP_GRPC_SERVERS")
fi

if [ "${1:-}" != "--addr" ] || [[ "${2:-}" != *:* ]]; then
  echo "usage: run.sh --addr HOST:PORT [arguments]" >&2
  exit 2
fi
ADDRESS=$2
shift 2

exec "$HERE/lib/ld.so" --library-path "$HERE/lib" "$HERE/$BINARY" \
  --host "${ADDRESS%:*}" --port "${ADDRESS##*:}" "${RPC[@]}" "$@"
