"""A step that failed says at its end what failed, wherever it stood in the output."""
from __future__ import annotations

import subprocess
import sys

from tests.tools.step import LETTERS, LINES, failures

PLAY = """\
TASK [Say] ****
ok: [lab1] =>
    msg: all is well
TASK [Look] ****
\x1b[31mfatal: [lab1]: FAILED! =>\x1b[0m
    changed: false
    msg: non-zero return code
    stdout: |-
        FAILED tests/system/test_a.py::test_b[lab1] - AssertionError: assert 1 == 2
        FAILED tests/system/test_a.py::test_b[lab1] - AssertionError: assert 1 == 2
fatal: [lab2]: UNREACHABLE! =>
    msg: >-
        Failed to connect
        to the host
"""


def test_pytest_and_ansible() -> None:
    assert failures(PLAY) == [
        "fatal: [lab1] msg: non-zero return code",
        "FAILED tests/system/test_a.py::test_b[lab1] - AssertionError: assert 1 == 2",
        "fatal: [lab2] msg: >- Failed to connect to the host"]
    assert failures("ok\n[ERROR]: no such inventory\n") == ["[ERROR]: no such inventory"]


def test_bounded() -> None:
    lines = failures("".join(f"FAILED tests/a.py::test_{number} - {'x' * 999}\n" for number in range(99)))
    assert len(lines) == LINES and {len(line) for line in lines} == {LETTERS}
    assert lines[-1].startswith("FAILED tests/a.py::test_98")


def test_exit_code_and_last_lines() -> None:
    script = "print('FAILED tests/x.py::test_y - boom'); print('more'); raise SystemExit(3)"
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.step", "a", "step", "--", sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 3
    head, *middle, failed, verdict = done.stdout.splitlines()
    assert head == "==> a step" and middle == ["FAILED tests/x.py::test_y - boom", "more"] and failed == middle[0]
    assert verdict.startswith("<== a step: FAILED (exit 3) in ")
