"""Every input that the fuzzer started from, kept or found, without the fuzzer."""
from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.mutate import fields, mutated
from tests.fuzz.seeds import headers, seeds
from tests.fuzz.target import LIMITS, check

HERE = Path(__file__).resolve().parents[2] / "fuzz"
FILES = sorted(path for folder in ("corpus", "found") for path in (HERE / folder).glob("*"))


def held(data: bytes) -> None:
    """One input, its memory and its time."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        check(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMITS.total_bytes
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("data", seeds())
def test_a_seed(data: bytes) -> None:
    held(data)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_kept_or_found_input(path: Path) -> None:
    held(path.read_bytes())


def test_the_mutator_knows_the_fields_of_a_header() -> None:
    places, items = fields(headers()[1])
    assert len(items) == 13 + 5 and len(places) > 60


def test_mutated_inputs_hold_too() -> None:
    made = [mutated(data, 4096, seed, lambda data, most: data[::-1]) for seed in range(6) for data in seeds()]
    assert len(set(made)) > len(seeds())
    for data in made:
        check(data)
