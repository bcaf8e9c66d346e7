"""What the parts share: time taken and tables."""
from __future__ import annotations

import time
from typing import Any, Callable, Iterable, Sequence

from tests.lab.demo import table


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the seconds it took, the best of three."""
    best, result = float("inf"), None
    for _turn in range(3):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return result, best


def show(title: str, rows: Iterable[Sequence[str]]) -> None:
    """One table with its title."""
    print(f"\n{title}\n\n{table([list(row) for row in rows])}", flush=True)
