#!/usr/bin/env bash
# Makes .venv from requirements/dev.txt, and the link that makes the checkout resolvable as localai.fleet.
set -euo pipefail
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed (PYTHON=$python): got $("$python" --version 2>&1). Set PYTHON to a newer one." >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "The module venv of $python is missing: installing python3-venv."
  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
fi
missing=()
command -v git >/dev/null || missing+=(git)
command -v ssh >/dev/null || missing+=(openssh-client)
if ! [ -x "$(PATH="$PATH:/usr/sbin" command -v sshd)" ]; then
  missing+=(openssh-server)
  # Tests run an sshd of their own on the loopback; the package would open this machine to the network.
  ! command -v systemctl >/dev/null || systemctl mask --quiet ssh.service ssh.socket
fi
command -v openssl >/dev/null || missing+=(openssl)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "Installing ${missing[*]}."
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
echo "Python environment: .venv (about a minute the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
mkdir -p .ansible/collections/ansible_collections/localai
ln -sfn "$PWD" .ansible/collections/ansible_collections/localai/fleet
touch .venv/.ready
