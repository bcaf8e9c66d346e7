"""`make bench`: all parts, or those that are named."""
from __future__ import annotations

import argparse
import importlib

PARTS = ("headers", "capacity", "planning", "memory", "projectors", "distribution", "threads")


def main() -> int:
    """Exit code 0: nothing is asserted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measurements as tables.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}; all when none is named")
    chosen = parser.parse_args().parts or PARTS
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]}, known: {', '.join(PARTS)}")
    for part in chosen:
        importlib.import_module(f"tests.bench.{part}").run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
