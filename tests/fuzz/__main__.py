"""`make fuzz RUNS=1000000`: runs the fuzzer in a process of its own and tells what it did.

A finding is written to tests/fuzz/found/, where it stays: the unit tests replay it. New inputs that reach new code go to .cache/fuzz;
`--keep` merges them into tests/fuzz/corpus/, the smallest set that reaches everything.
"""
from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]
CORPUS, FOUND, SCRATCH = ROOT / "tests" / "fuzz" / "corpus", ROOT / "tests" / "fuzz" / "found", ROOT / ".cache" / "fuzz"
LONGEST, MEMORY = 5, 64
"""Seconds and MiB that one input may take."""


def child(arguments: list[str]) -> None:
    """The fuzzer itself; ends the process."""
    import atheris  # pylint: disable=import-error,import-outside-toplevel  # only here: the tests do without it

    with atheris.instrument_imports(include=["plugins.module_utils"]):
        from tests.fuzz import target  # pylint: disable=import-outside-toplevel
    from tests.fuzz.mutate import mutated  # pylint: disable=import-outside-toplevel

    def one(data: bytes) -> None:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        target.check(data)
        assert time.monotonic() - began < LONGEST, "too slow"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY << 10, "too much memory"

    itself = f"{sys.executable} -m tests.fuzz --child"  # a merge starts further processes by this line
    atheris.Setup([itself, *arguments], one, custom_mutator=lambda data, most, seed: mutated(bytes(data), most, seed, atheris.Mutate))
    atheris.Fuzz()


def run(runs: int, seed: int) -> tuple[int, str]:
    """Exit code and the last lines of a run."""
    from tests.fuzz.seeds import seeds  # pylint: disable=import-outside-toplevel

    SCRATCH.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    for number, data in enumerate(seeds()):
        (SCRATCH / f"seed-{number:03}").write_bytes(data)
    command = [f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1", "-len_control=20",
               f"-artifact_prefix={FOUND}/", str(SCRATCH), str(CORPUS), str(FOUND)]
    process = subprocess.Popen([sys.executable, "-m", "tests.fuzz", "--child", *command], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines: list[str] = []
    for line in process.stdout or ():
        lines = [*lines[-400:], line]
        if re.match(r"#\d+\s+(pulse|INITED)", line):
            print(line, end="", flush=True)
    code = process.wait()
    for found in FOUND.iterdir():
        found.rename(found.with_suffix(".bin"))
    return code, "".join(lines)


def keep() -> None:
    """The smallest corpus that reaches what all inputs so far reach."""
    fresh = SCRATCH.with_name("fuzz-merged")
    fresh.mkdir(parents=True, exist_ok=True)
    for old in fresh.iterdir():
        old.unlink()
    command = ["-merge=1", str(fresh), str(CORPUS), str(SCRATCH)]
    subprocess.run([sys.executable, "-m", "tests.fuzz", "--child", *command], cwd=ROOT, check=True, stderr=subprocess.DEVNULL, timeout=3_600)
    if not any(fresh.iterdir()):
        raise SystemExit("The merge kept nothing: the corpus stays as it is.")
    for old in CORPUS.iterdir():
        old.unlink()
    for new in fresh.iterdir():
        new.rename(CORPUS / f"{new.name[:16]}.bin")


def main() -> int:
    """Exit code 0 when nothing was found."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing of the GGUF reader.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs to run (default 1000000)")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer's chance")
    parser.add_argument("--keep", action="store_true", help="merge what was reached into tests/fuzz/corpus afterwards")
    options = parser.parse_args()
    CORPUS.mkdir(exist_ok=True)
    began = time.monotonic()
    code, text = run(options.runs, options.seed)
    told = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
    corpus = sum(1 for path in SCRATCH.iterdir()), sum(1 for path in CORPUS.iterdir()), sum(1 for path in FOUND.iterdir())
    if code:
        print(text[-6_000:])
    reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\S+)", text)[-1:] or [("?", "?", "?")]
    print(f"executions {told.get('number_of_executed_units', '?')}, seconds {time.monotonic() - began:.0f}, peak memory {told.get('peak_rss_mb', '?')} MiB, "
          f"edges {reached[0][0]}, features {reached[0][1]}, corpus in memory {reached[0][2]}, "
          f"files: {corpus[0]} scratch, {corpus[1]} corpus, {corpus[2]} found; exit code {code}")
    if options.keep and not code:
        keep()
        print(f"corpus: {sum(1 for path in CORPUS.iterdir())} files, {sum(path.stat().st_size for path in CORPUS.iterdir())} bytes")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
