#!/usr/bin/env bash
# ansible-test sanity on a real copy of what git knows (a link is not accepted), with its own HOME for its caches.
set -euo pipefail
cd "$(dirname "$0")/../.."

work="$PWD/.cache/sanity"
tree="$work/ansible_collections/localai/fleet"
cache="$work/home/.ansible/test/cache"
rm -rf "$work/ansible_collections"
mkdir -p "$tree" "$cache"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  [ ! -e "$file" ] || printf '%s\0' "$file"
done | tar --null -T - -cf - | tar -xf - -C "$tree"

# ansible-test installs pip from a mirror that may be out of reach; this file in its cache is the documented way round.
# PIP_CONFIG_FILE must not leak out of ensurepip, or pip loses its CA setting: hence the separate processes.
cat > "$cache/get_pip_24_2.py" <<'PY'
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip", "--upgrade"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "pip==24.2"])
PY
# ansible-test strips PIP_* and SSL_* variables; what pip needs of them goes into a config file of that HOME.
mkdir -p "$work/home/.config/pip"
.venv/bin/python -m pip config list 2>/dev/null | sed -nE "s/^(:env:|global)\.(cert|index-url|trusted-host|timeout)='(.*)'$/\2 = \3/p" \
  | sort -u | { echo '[global]'; cat; } > "$work/home/.config/pip/pip.conf"

cd "$tree"
git init -q && git add -A
HOME="$work/home" ansible-test sanity --local --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" --color no "$@"
