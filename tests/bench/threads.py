"""Decode speed at the planned threads against a full sweep, on a real engine under CPU limits.

Each row is a container that stands for a host: its capacity is read inside it, the plan is made from that, and engines with every number of
threads run in a container with the limit of the plan, one request at a time, in turn (1 2 3 1 2 3), so that noise hits all of them alike.
Planned is twice: as a host is without a measurement, and with one, for which an earlier sweep of the row stands.
"""
from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import docker
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._sweep import Turn, best, summary
from ansible_collections.localai.fleet.plugins.module_utils._threads import Threads, default_reserve, plan_threads, proposed_reserve
from docker.errors import APIError
from docker.models.containers import Container

from tests.bench import ROOT
from tests.bench.tables import show
from tests.lab.engine import ensure_engine
from tests.lab.images import Builder
from tests.lab.instance import STATE
from tests.lab.localai.recipes import BACKEND, SERVER
from tests.lab.model import ensure_model
from tests.lab.progress import Progress

ROUNDS = 5
TOKENS = 40
FIRST_TOKENS = 8
HOPELESS = 0.5  # of the best first answer
ROW_SECONDS = 600
PROMPT = "The history of computing begins with"
BACKEND_FILES = ("/lib", "/run.sh", "/llama-cpp-cpu-all")
LOAD_SECONDS = 120
START_SECONDS = 180
READ = ("import json, sys; sys.path.insert(0, '/collection'); from plugins.module_utils._capacity import read_capacity; "
        "print(json.dumps(read_capacity('/').as_dict()))")


@dataclass(frozen=True)
class Row:
    """A host to stand for: the options of its container, and whether another program keeps a core busy."""

    quota: str
    options: dict[str, Any]
    neighbour: bool = False


ROWS = (*(Row(f"{quota:g}", {"nano_cpus": int(quota * 1e9)}) for quota in (0.5, 1.0, 1.5, 2.0)),
        Row("none", {}), Row("one CPU allowed", {"cpuset_cpus": "0"}), Row("none", {}, neighbour=True))


@dataclass(frozen=True)
class Lab:
    """What every row needs: the engine's client, an image with Python, the backend's directory and the model."""

    client: docker.DockerClient
    image: str
    backend: Path
    model: Path


@contextmanager
def container(lab: Lab, **options: Any) -> Iterator[Container]:
    """A running container on the machine's network, gone afterwards; also when this process is killed, a little later."""
    entrypoint = ["timeout", str(ROW_SECONDS), *options.pop("entrypoint")]
    made = lab.client.containers.run(lab.image, detach=True, auto_remove=True, network_mode="host", entrypoint=entrypoint, **options)
    try:
        yield made
    finally:
        with suppress(APIError):
            made.kill()


def capacity_of(lab: Lab, row: Row) -> Capacity:
    """What a host with the limits of the row tells of itself."""
    plugins = {str(ROOT / "plugins"): {"bind": "/collection/plugins", "mode": "ro"}}
    with container(lab, entrypoint=["sleep"], command=["infinity"], volumes=plugins, **row.options) as made:
        failed, out = made.exec_run(["python3", "-c", READ])
    if failed:
        raise RuntimeError(f"The capacity of a host with {row.options} could not be read: {out.decode()}")
    return Capacity.from_dict(json.loads(out))


def planned(lab: Lab, row: Row) -> Callable[[Optional[int]], Threads]:
    """Plans of the row's host by what was measured. With a neighbour: once the load average tells of it, with what the capacity proposes to reserve."""
    end = time.monotonic() + LOAD_SECONDS
    capacity = capacity_of(lab, row)
    while row.neighbour and proposed_reserve(capacity) == default_reserve(capacity) and time.monotonic() < end:
        time.sleep(2)
        capacity = capacity_of(lab, row)
    return partial(plan_threads, capacity, (1.0,), proposed_reserve(capacity) if row.neighbour else None)


def counts(cores: int, plan: Threads) -> list[int]:
    """1 to cores + 2 on small machines, some of them on large ones, and the planned number."""
    sweep = range(1, cores + 3) if cores <= 8 else (1, 2, cores // 4, cores // 2, cores - 1, cores, cores + 2)
    return sorted({*sweep, plan.server})


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _port in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@contextmanager
def engines(lab: Lab, threads: Sequence[int], **limits: Any) -> Iterator[dict[int, int]]:
    """One container with an engine for each number of threads: threads → port."""
    ports = dict(zip(threads, free_ports(len(threads))))
    starts = [f"/backend/run.sh --addr 127.0.0.1:{port} -m /model.gguf -c 512 -np 1 --no-warmup -t {count} -tb {count} &" for count, port in ports.items()]
    volumes = {str(lab.backend): {"bind": "/backend", "mode": "ro"}, str(lab.model): {"bind": "/model.gguf", "mode": "ro"}}
    with container(lab, entrypoint=["bash", "-c"], command=[" ".join([*starts, "wait"])], volumes=volumes, **limits) as made:
        for port in ports.values():
            _await(made, port)
        yield ports


def _await(made: Container, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise RuntimeError(f"an engine does not answer: {made.logs(tail=5).decode()}") from None
            time.sleep(0.2)


def decode(port: int, tokens: int) -> float:
    """Tokens per second of one answer, as the engine tells them."""
    body = {"prompt": PROMPT, "n_predict": tokens, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return float(json.load(answer)["timings"]["predicted_per_second"])


def sweep(ports: dict[int, int], planned_threads: int) -> list[Turn]:
    """Answers by threads. What a short answer shows to be hopeless is not measured further: it would take most of the time."""
    for port in ports.values():
        decode(port, 2)  # reads the model into memory
    first = {count: decode(port, FIRST_TOKENS) for count, port in ports.items()}
    going = [count for count in ports if count == planned_threads or first[count] > HOPELESS * max(first.values())]
    measured = [Turn(count, decode(ports[count], TOKENS), 0.0) for _turn in range(ROUNDS) for count in going]
    return [*measured, *(Turn(count, first[count], 0.0) for count in ports if count not in going)]


def measure(lab: Lab, row: Row) -> list[str]:
    """One row of the table."""
    with ExitStack() as stack:
        if row.neighbour:
            stack.enter_context(container(lab, entrypoint=["python3", "-c"], command=["while True: pass"]))
        plans = planned(lab, row)
        plan = plans(None)
        cores = os.cpu_count() or 1
        limits = {**row.options, "nano_cpus": int(plan.cpus * 1e9), **({"cpuset_cpus": plan.cpuset} if plan.cpuset else {})}
        ports = stack.enter_context(engines(lab, counts(cores, plan), **limits))
        tuned = plans(best(summary(sweep(ports, plan.server)))).server
        medians = {one.threads: one.tokens_per_second for one in summary(sweep(ports, plan.server))}
    fastest = max(medians, key=lambda count: medians[count])
    told = " ".join(f"{count}:{speed:.1f}" for count, speed in medians.items())
    chosen = [text for count in (plan.server, tuned) for text in (str(count), f"{medians[count]:.1f}", f"{medians[count] / medians[fastest]:.3f}")]
    return [row.quota, "one busy core" if row.neighbour else "none", f"{plan.cpus:g}", *chosen, str(fastest), f"{medians[fastest]:.1f}", told]


@contextmanager
def laboratory() -> Iterator[Lab]:
    """The lab's images and model, the backend's files in a directory of their own."""
    progress = Progress(quiet=True)
    client = ensure_engine(STATE / "dockerd.log", progress.say)
    tags = Builder(client, STATE, progress).ensure([SERVER, BACKEND])
    with tempfile.TemporaryDirectory(prefix="bench-backend-") as place:
        copy_backend(client, tags[BACKEND.name], place)
        yield Lab(client, tags[SERVER.name], Path(place), ensure_model())


def copy_backend(client: docker.DockerClient, image: str, place: str) -> None:
    """The backend's files into `place` and nowhere else: asked for by name, since the archive of "/" has absolute names."""
    made = client.containers.create(image)
    try:
        for path in BACKEND_FILES:
            chunks, _facts = made.get_archive(path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12 has none
                archive.extractall(place)
    finally:
        made.remove()


def run() -> None:
    """All rows; about seven minutes on two cores."""
    rows = [["QUOTA", "NEIGHBOUR", "CPU LIMIT", "PLANNED", "TOKENS/S", "RATIO", "TUNED", "TOKENS/S", "RATIO", "BEST", "TOKENS/S", "THREADS:TOKENS/S"]]
    with laboratory() as lab:
        rows += [measure(lab, row) for row in ROWS]
    show(f"Decode speed at the planned threads, median of {ROUNDS} answers of {TOKENS} tokens", rows)
