"""What a person sees while the lab works: whole lines with the time since the start, and a table of phases at the end."""
from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterator, TextIO


class Progress:
    """Prints lines; safe to use from several threads. Times are seconds."""

    def __init__(self, out: TextIO = sys.stdout, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self.phases: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        if self._quiet:
            return
        with self._lock:
            print(f"[{time.monotonic() - self._start:6.1f} s] {text}", file=self._out, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.phases.append((name, time.monotonic() - begin))

    def summary(self) -> str:
        """One line: every phase and the total."""
        parts = [f"{name} {seconds:.1f} s" for name, seconds in self.phases]
        return f"{', '.join(parts)}; together {time.monotonic() - self._start:.1f} s"
