"""One model on eight hosts: bytes that leave the Hub, and the time against one host, on links that are capped alike.

Each host is a network namespace of its own, whose link carries RATE bytes a second in each direction (tc), with a store of its own. The hosts run
the product's modules, asked what its engine decides. Nothing but the links is imitated.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

from ansible_collections.localai.fleet.plugins.module_utils._distribution import distribute, peers
from ansible_collections.localai.fleet.plugins.module_utils._fetch import sha256_of

from tests.bench.tables import show

HOSTS, SIZE, RATE = 8, 96 << 20, 8_000_000
HUB, PORT, SHARE_PORT = "10.199.7.1", 8080, 8710
ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.load(sys.stdin)):
    importlib.import_module(f"ansible_collections.localai.fleet.plugins.modules.{sys.argv[1]}").main()
"""


def ip(*words: str) -> None:
    """One ip command."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name: str, *words: str) -> list[str]:
    """A command line that runs in a namespace."""
    return ["ip", "netns", "exec", f"fleet-{name}", *words]


def address(name: str) -> str:
    """Of a host `h1`, `h2` ..."""
    return f"10.199.7.{10 + int(name[1:])}"


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """A network namespace, gone at the end."""
    ip("netns", "add", f"fleet-{name}")
    try:
        ip("-n", f"fleet-{name}", "link", "set", "lo", "up")
        yield
    finally:
        ip("netns", "del", f"fleet-{name}")


@contextmanager
def network(names: list[str]) -> Iterator[None]:
    """A switch that the Hub sits at, and a host at each of its ports; both ends of a host's link send RATE at most."""
    with ExitStack() as stack:
        stack.enter_context(namespace("hub"))
        hub = ("-n", "fleet-hub")
        ip(*hub, "link", "add", "switch", "type", "bridge")
        ip(*hub, "address", "add", f"{HUB}/24", "dev", "switch")
        ip(*hub, "link", "set", "switch", "up")
        for name in names:
            stack.enter_context(namespace(name))
            ip("link", "add", f"fleet-{name}", "netns", "fleet-hub", "type", "veth", "peer", "name", "eth0", "netns", f"fleet-{name}")
            ip(*hub, "link", "set", f"fleet-{name}", "master", "switch", "up")
            ip("-n", f"fleet-{name}", "address", "add", f"{address(name)}/24", "dev", "eth0")
            ip("-n", f"fleet-{name}", "link", "set", "eth0", "up")
            for place, device in (("hub", f"fleet-{name}"), (name, "eth0")):
                tbf = ["tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{RATE * 8}bit", "burst", "64kb", "latency", "100ms"]
                subprocess.run(inside(place, *tbf), check=True, capture_output=True)
        yield


@contextmanager
def hub(root: Path) -> Iterator[Callable[[], int]]:
    """The lab's Hub at the switch; yields what tells the bytes of files that it has sent."""
    command = inside("hub", sys.executable, str(ROOT / "tests" / "lab" / "hub.py"), "--root", str(root), "--host", HUB, "--port", str(PORT))
    ask = f"import urllib.request; print(urllib.request.urlopen('http://{HUB}:{PORT}/__requests__', timeout=5).read().decode())"

    def log() -> "list[dict[str, Any]] | None":
        done = subprocess.run(inside("hub", sys.executable, "-c", ask), capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while log() is None:
            time.sleep(0.1)
        try:
            yield lambda: sum(entry["bytes"] for entry in log() or [])
        finally:
            process.terminate()


def start(host: str, module: str, args: dict[str, Any]) -> "subprocess.Popen[str]":
    """A module of the product on a host."""
    given = {**args, "_ansible_check_mode": False, "_ansible_diff": False, "_ansible_remote_tmp": "/tmp"}
    process = subprocess.Popen(
        inside(host, sys.executable, "-c", MODULE, module), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd="/", env={**os.environ, "PYTHONPATH": str(ROOT / ".ansible" / "collections")})
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    return process


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a module printed."""
    text = process.stdout.read()
    process.wait(timeout=600)
    told = json.loads(text[text.index("{"):])
    if told.get("failed"):
        raise SystemExit(told["msg"])
    return told


def tree(line: list[str], sha256: str, size: int) -> dict[str, Any]:
    """What `distribute` would say if every host served two others."""
    above = {host: line[(place - 1) // 2] for place, host in enumerate(line) if place}
    return {host: {"peers": {sha256: [{"host": above[host], "waits": True}]} if host in above else {},
                   "offers": [{"sha256": sha256, "size": size, "coming": True}]} for host in line}


def deploy(names: list[str], shares: dict[str, Any], file: dict[str, Any], stores: Path) -> float:
    """The blob onto every host at once; seconds. The services are up before the clock starts, as the role has it."""
    services = {
        host: result(start(host, "blob_share", {"dest_dir": str(stores / host), "blobs": shares[host]["offers"], "address": address(host), "port": SHARE_PORT}))
        for host in names if shares[host]["offers"]
    }
    began = time.monotonic()
    running = [start(host, "gguf_file", {**file, "dest_dir": str(stores / host), "reserve_bytes": 0,
                                         "peers": peers(shares[host]["peers"].get(file["sha256"], []), services)}) for host in names]
    for process in running:
        result(process)
    took = time.monotonic() - began
    for host, service in services.items():
        result(start(host, "blob_share", {"state": "stopped", **{key: service[key] for key in ("address", "port", "secret")}}))
    return took


def run() -> None:
    """One host, then eight in each way."""
    names = [f"h{number}" for number in range(1, HOSTS + 1)]
    with tempfile.TemporaryDirectory() as place, network(names):
        folder = Path(place) / "hub" / "acme" / "Bench-GGUF"
        folder.mkdir(parents=True)
        model = folder / "bench-Q4_K_M.gguf"
        model.write_bytes(os.urandom(SIZE))
        file = {"name": "bench", "sha256": sha256_of(model), "size": SIZE, "url": f"http://{HUB}:{PORT}/acme/Bench-GGUF/resolve/main/{model.name}"}

        def decided(mode: str, hosts: list[str]) -> dict[str, Any]:
            return distribute({host: {"mode": mode, "site": "bench", "files": [file], "found": []} for host in hosts})["hosts"]

        ways = [("one host", names[:1], decided("seed", names[:1])), ("direct", names, decided("direct", names)),
                ("seed", names, decided("seed", names)), ("seed, if hosts formed a tree of two", names, tree(names, file["sha256"], SIZE))]
        rows, one = [["", "HOSTS", "FROM THE HUB", "SECONDS", "AGAINST ONE HOST"]], 0.0
        for number, (title, hosts, shares) in enumerate(ways):
            with hub(Path(place) / "hub") as sent:
                took = deploy(hosts, shares, file, Path(place) / f"stores{number}")
                one = one or took
                rows.append([title, str(len(hosts)), f"{sent() / SIZE:.2f} x the model", f"{took:.1f}", f"{took / one:.2f}"])
        show(f"One model of {SIZE >> 20} MiB, every link {RATE / 1e6:.0f} MB/s in each direction", rows)
