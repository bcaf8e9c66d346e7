"""Memory planned against what llama.cpp says and what the kernel counts, on shape files.

Runs the engine of the lab's backend image as LocalAI runs it, reads its own buffer lines, and the process's RssAnon after it is ready
and after a prompt as long as the context (one a slot, all at once, where slots have caches of their own; a short one in each other slot
where they share one, as a slot that has answered keeps a list of all tokens). Shapes have few layers and
short contexts (see `tests/bench/shapes.py`): formulas are per layer and per cell, two slow cores are not. Nothing is asserted.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

import yaml
from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, Header, read_header
from ansible_collections.localai.fleet.plugins.module_utils._memory import MIB, Memory, Settings, estimate

from tests.bench import ROOT
from tests.bench.shapes import SHAPES, ShapeFile, build
from tests.bench.tables import show
from tests.lab.localai.recipes import BACKEND

PORT = 18_791
THREADS = 2
VARIABLES = yaml.safe_load((ROOT / "roles" / "localai" / "vars" / "main.yml").read_text(encoding="utf-8"))["__localai_environment"]
TRIMMED = {name: value for name, value in VARIABLES.items() if name.startswith("MALLOC_")}
"""What role localai says to the C library in its containers."""
BUFFERS = {"KV": "cache", "RS": "state", "compute": "compute", "output": "output"}
LINE = re.compile(r"(\S+)\s+(KV|RS|compute|output|model) buffer size =\s+([0-9.]+) MiB")
TERMS = ("cache", "state", "compute", "output", "repack", "loaded", "anonymous")


def engine() -> Path:
    """The backend image's files on this machine; the lab must have built the image (`python -m tests.lab up`)."""
    target = ROOT / ".cache" / "lab" / f"engine-{BACKEND.tag.rpartition(':')[2]}"
    if not (target / "run.sh").exists():
        container = subprocess.run(["docker", "create", BACKEND.tag], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        try:
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as scratch:
                archive = Path(scratch) / "engine.tar"
                subprocess.run(["docker", "export", "--output", str(archive), container], timeout=120, check=True)
                subprocess.run(["tar", "-xf", str(archive), "-C", str(target)], timeout=120, check=True)
        finally:
            subprocess.run(["docker", "rm", container], capture_output=True, timeout=60, check=True)
    return target


def isa() -> tuple[str, ...]:
    """Instruction sets of this processor, as a host's capacity names them."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    found = {"sse42": "sse4_2", "avx": "avx", "avx2": "avx2", "avx512": "avx512f", "amx": "amx_int8"}
    return tuple(name for name, flag in found.items() if flag in flags)


def command(home: Path, model: Path, settings: Settings) -> list[str]:
    """The engine with the options that LocalAI sets and those that the plan writes."""
    words = [str(home / "lib/ld.so"), "--library-path", str(home / "lib"), str(home / "llama-cpp-cpu-all"), "--model", model, "--host", "127.0.0.1",
             "--port", PORT, "--threads", THREADS, "--threads-batch", THREADS, "--ctx-size", settings.context, "--parallel", settings.slots,
             "--batch-size", settings.batch, "--ubatch-size", settings.ubatch, "--cache-type-k", settings.type_k, "--cache-type-v", settings.type_v,
             "--flash-attn", "on" if settings.flash_attention else "off", "--kv-unified" if settings.unified else "--no-kv-unified",
             "--cache-ram", settings.prompt_cache // MIB, "--ctx-checkpoints", settings.checkpoints, "--no-ui", "--log-verbosity", 4]
    words += ["--embeddings"] if settings.embeddings else []
    words += [] if settings.mmap else ["--load-mode", "none"]
    words += ["--swa-full"] if settings.swa_full else []
    return [str(word) for word in words]


def rss_anon(process: int) -> int:
    """Anonymous resident bytes of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def ask(path: str, body: Any = None) -> Any:
    """One request to the engine."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=400) as answer:
        return json.load(answer)


def await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises `RuntimeError` with the end of the log when the engine does not come up."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            ask("/health")
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-6:]))


def measure(home: Path, model: Path, settings: Settings) -> dict[str, int]:
    """Bytes by term: the engine's buffer lines, `loaded` and `anonymous` from the kernel."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            environment = {**os.environ, "LC_ALL": "C", **(TRIMMED if settings.trimmed else {})}
            process = subprocess.Popen(command(home, model, settings), stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            await_ready(process, log)
            found = {"loaded": rss_anon(process.pid)}
            streams = 1 if settings.unified else settings.slots
            prompt = [300 + number % 200 for number in range(settings.context // streams - 4)]
            path, word = ("/embeddings", "content") if settings.embeddings else ("/completion", "prompt")
            with ThreadPoolExecutor(streams) as prompts:
                list(prompts.map(lambda slot: ask(path, {word: prompt, "n_predict": 2, "id_slot": slot}), range(streams)))
            for slot in range(streams, settings.slots):
                ask(path, {word: prompt[:9], "n_predict": 2, "id_slot": slot})
            found["anonymous"] = rss_anon(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)
        return {**lines(log.read_text(encoding="utf-8", errors="replace")), **found}


def lines(log: str) -> dict[str, int]:
    """The engine's own sizes, bytes to a hundredth of a MiB."""
    found = dict.fromkeys(("cache", "state", "compute", "output", "repack", "weights"), 0)
    for place, kind, size in LINE.findall(log):
        name = BUFFERS.get(kind) or {"CPU_REPACK": "repack", "AMX": "repack", "CPU": "weights"}.get(place)
        if name:
            found[name] += int(float(size) * MIB)
    return found


def predicted(memory: Memory) -> dict[str, int]:
    """The plan's terms by the names of `measure`."""
    return {"cache": memory.kv_full + memory.kv_window, "state": memory.state, "compute": memory.compute, "output": memory.output, "repack": memory.repack,
            "loaded": memory.anonymous, "anonymous": memory.anonymous}


def settings_of(shape: ShapeFile) -> Settings:
    """Short contexts; what a row of the table changes."""
    return replace(Settings(context=640, trimmed=True, isa=isa()), **shape.settings)


def rows(names: Sequence[str], report: Callable[[str], None] = print) -> Iterator[tuple[str, Header, Settings, dict[str, int]]]:
    """Each shape, measured one after the other."""
    home = engine()
    with tempfile.TemporaryDirectory() as scratch:
        for name in names or SHAPES:
            path = build(SHAPES[name], Path(scratch) / f"{name}.gguf")
            header, settings = read_header(FileSource(str(path)), exact=True), settings_of(SHAPES[name])
            try:
                yield name, header, settings, measure(home, path, settings)
            except (RuntimeError, OSError) as error:
                report(f"{name}: {error}")
            finally:
                path.unlink()


def table(names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Rows of text: shape, term, predicted, measured, ratio."""
    yield ["SHAPE", "TERM", "PREDICTED", "MEASURED", "PREDICTED / MEASURED"]
    for name, header, settings, measured in rows(names):
        plan = predicted(estimate(header, settings))
        for term in TERMS:
            if plan[term] or measured[term]:
                ratio = f"{plan[term] / measured[term]:.4f}" if measured[term] else "-"
                yield [name, term, f"{plan[term] / MIB:.2f}", f"{measured[term] / MIB:.2f}", ratio]


def deployed() -> list[list[str]]:
    """Anonymous and file-backed memory of running containers against the plan, from the last verdict of the demo."""
    verdict = ROOT / ".lab" / "demo" / "verdict.json"
    found = [["HOST", "PLANNED", "MEASURED", "MEASURED / PLANNED"]]
    if verdict.exists():
        for row in json.loads(verdict.read_text(encoding="utf-8"))["verdict"]["measured"]:
            held = row["memory_anonymous"] + row["memory_file"]
            found.append([row["host"], f"{row['memory_planned']:,}", f"{held:,}", f"{held / row['memory_planned']:.2f}"])
    return found


def run() -> None:
    """Shape files first, one process after the other; then what `make demo` left."""
    show("Memory of shape files, MiB (few layers, a context and a prompt of 640 tokens; `anonymous` after the prompt)", table(()))
    show("Memory of running containers after a short probe (the plan holds a full prompt cache), bytes; empty before `make demo`", deployed())
