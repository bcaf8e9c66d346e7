"""Run one named step, say how long it took, keep its exit code: `step.py NAME -- COMMAND…`. What failed is said once more at the end."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import time

# pytest's own summary lines, also inside the quoted output of a play; Ansible's failed tasks with their message; its refusals to start.
FAILURE = re.compile(
    r'\b(?:FAILED|ERROR) tests/[^\n"\\]+'
    r"|fatal: \[[^]]+\]"
    r"|(?<=\n)\s+msg: [^\n]+(?:\n {8,}[^\n]+)*"
    r"|(?<=\n)\[?ERROR[!\]:][^\n]+")
LINES, LETTERS = 20, 300
COLUMNS = 200


def failures(output: str) -> list[str]:
    """What failed by the output of a step, each once, in order; at most 20 lines of 300 letters."""
    told: list[str] = []
    for found in (" ".join(text.split()) for text in FAILURE.findall(output)):
        if found.startswith("msg: "):
            if told and told[-1].startswith("fatal: ") and " msg: " not in told[-1]:
                told[-1] += f" {found}"
        elif found not in told:
            told.append(found)
    return [line[:LETTERS] for line in told][-LINES:]


def main(argv: list[str]) -> int:
    """Exit code of the command; the time in seconds goes to standard output."""
    split = argv.index("--")
    name, command = " ".join(argv[:split]), argv[split + 1:]
    print(f"==> {name}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": str(COLUMNS)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    output = []
    for line in process.stdout or ():
        print(line, end="", flush=True)
        output.append(line)
    code = process.wait()
    if code:
        print("\n".join(failures("".join(output))), flush=True)
    print(f"<== {name}: {'ok' if code == 0 else f'FAILED (exit {code})'} in {time.monotonic() - start:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
