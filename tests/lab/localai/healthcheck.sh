#!/usr/bin/env bash
# Health of the server: /readyz on the port of LOCALAI_ADDRESS (its host part is ignored), or HEALTHCHECK_ENDPOINT.
set -euo pipefail

ADDRESS=${LOCALAI_ADDRESS:-${ADDRESS:-:8080}}
exec curl -f -s -o /dev/null -m 10 "${HEALTHCHECK_ENDPOINT:-http://localhost:${ADDRESS##*:}/readyz}"
