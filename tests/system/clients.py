"""Clients that ask the edge all the time."""
from __future__ import annotations

import threading
import time
from typing import Callable, Sequence

from deployed import Edge


class Clients:
    """One client a name, each asking again and again until the end; the first asks for streams. `failed` are the answers that were none."""

    def __init__(self, edge: Edge, names: Sequence[str], meanwhile: "Callable[[], object] | None" = None) -> None:
        self.edge, self.names, self.answers, self.failed = edge, names, 0, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name, number == 0)) for number, name in enumerate(names)]
        self._threads += [threading.Thread(target=self._look, args=(meanwhile,))] if meanwhile else []

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        self.some_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def some_more(self, seconds: float = 120) -> None:
        """Wait for two more answers a client."""
        goal, end = self.answers + 2 * len(self.names), time.monotonic() + seconds
        while self.answers < goal:
            assert time.monotonic() < end, f"{self.answers} answers, {goal} wanted"
            time.sleep(0.05)

    def _look(self, meanwhile: "Callable[[], object]") -> None:
        while not self._stop.wait(0.5):
            try:
                meanwhile()
            except Exception as error:  # told with the failed answers, a thread's own error is lost
                self.failed.append(repr(error))

    def _ask(self, name: str, stream: bool) -> None:
        body = {"model": name, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        while not self._stop.is_set():
            try:
                answer, text = self.edge.ask("POST", "/v1/chat/completions", body)
                good = answer.status == 200 and b'"error"' not in text and (b"[DONE]" in text or not stream)
                self.failed += [] if good else [f"{name}: {answer.status} {text[:300]!r}"]
            except OSError as error:
                self.failed.append(f"{name}: {error!r} after {self.answers} answers")
            self.answers += 1
