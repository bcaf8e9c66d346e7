#!/usr/bin/env bash
# Like the entry of the image that this one stands in for: says what the CPU can do, then becomes the server (PID 1 gets the signals).
set -e
cd /

echo "CPU info:"
grep -m1 -e "^model name" /proc/cpuinfo || true
for feature in avx avx2 avx512f; do
  if grep -q -m1 -w "$feature" /proc/cpuinfo; then
    echo "CPU:    $feature found"
  else
    echo "CPU: no $feature found"
  fi
done

exec ./local-ai "$@"
