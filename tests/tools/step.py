"""Run one named step, say how long it took, keep its exit code: `step.py NAME -- COMMAND…`."""
from __future__ import annotations

import subprocess
import sys
import time


def main(argv: list[str]) -> int:
    """Exit code of the command; the time in seconds goes to standard output."""
    split = argv.index("--")
    name, command = " ".join(argv[:split]), argv[split + 1:]
    print(f"==> {name}", flush=True)
    start = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    print(f"<== {name}: {'ok' if code == 0 else f'FAILED (exit {code})'} in {time.monotonic() - start:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
