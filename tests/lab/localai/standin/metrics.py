"""The Prometheus text of /metrics: the series that LocalAI has, filled from the requests served."""
from __future__ import annotations

import os
import threading
import time
import uuid
from collections import defaultdict

from . import VERSION

_BOUNDS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
_SCOPE = 'otel_scope_name="github.com/mudler/LocalAI",otel_scope_schema_url="",otel_scope_version=""'


class Metrics:
    """Counters of one server. `user` is the random local id that LocalAI makes up without a user database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._requests: dict[tuple[str, str], int] = defaultdict(int)
        self._tokens: dict[tuple[str, str], int] = defaultdict(int)
        self._unrecorded: dict[tuple[str, str], int] = defaultdict(int)
        self._user = str(uuid.uuid4())
        self._start = time.time()

    def call(self, method: str, path: str, seconds: float) -> None:
        """One HTTP request; `path` is the pattern of its route, "" when none matched."""
        with self._lock:
            self._calls[method, path].append(seconds)

    def usage(self, endpoint: str, model: str, prompt: int, completion: int) -> None:
        """One answered inference; an answer without counts is only noted as such."""
        with self._lock:
            self._requests[endpoint, model] += 1
            if prompt or completion:
                self._tokens["prompt", model] += prompt
                self._tokens["completion", model] += completion

    def failed(self, endpoint: str) -> None:
        """One inference without an answer."""
        with self._lock:
            self._unrecorded[endpoint, "error"] += 1

    def text(self) -> str:
        """All series."""
        with self._lock:
            lines = self._call_lines()
            lines += self._counter("localai_billed_requests_total", ("endpoint", "served_model"), self._requests)
            lines += self._counter("localai_tokens_total", ("kind", "served_model"), self._tokens)
            unrecorded = [(f'endpoint="{e}",{_SCOPE},reason="{r}"', n) for (e, r), n in self._unrecorded.items()]
            lines += _series("localai_usage_unrecorded_total", "counter", unrecorded)
        lines += _series("target_info", "gauge", [(f'service_name="unknown_service:local-ai",service_version="{VERSION}"', 1)])
        lines += _series("go_info", "gauge", [('version="none"', 1)])
        lines += _series("process_start_time_seconds", "gauge", [("", self._start)])
        lines += _series("process_resident_memory_bytes", "gauge", [("", _resident())])
        return "\n".join(lines) + "\n"

    def _counter(self, name: str, labels: tuple[str, str], values: dict[tuple[str, str], int]) -> list[str]:
        rows = [(f'{labels[0]}="{a}",{_SCOPE},{labels[1]}="{b}",user="{self._user}"', count) for (a, b), count in values.items()]
        return _series(name, "counter", rows)

    def _call_lines(self) -> list[str]:
        if not self._calls:
            return []
        lines = ["# HELP api_call api calls", "# TYPE api_call histogram"]
        for (method, path), seconds in sorted(self._calls.items()):
            labels = f'method="{method}",{_SCOPE},path="{path}"'
            for bound in _BOUNDS:
                lines.append(f'api_call_bucket{{{labels},le="{bound}"}} {sum(1 for value in seconds if value <= bound)}')
            lines.append(f'api_call_bucket{{{labels},le="+Inf"}} {len(seconds)}')
            lines += [f"api_call_sum{{{labels}}} {sum(seconds)}", f"api_call_count{{{labels}}} {len(seconds)}"]
        return lines


def _series(name: str, kind: str, rows: list[tuple[str, float]]) -> list[str]:
    if not rows:
        return []
    return [f"# HELP {name} {name}", f"# TYPE {name} {kind}", *(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in rows)]


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
