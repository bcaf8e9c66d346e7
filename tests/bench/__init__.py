"""Measurements: `python -m tests.bench [part ...]`. They print tables and assert nothing about time. A part is a module here with `run()`."""
from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "unit")]

importlib.import_module("conftest")  # makes the checkout importable as a collection
