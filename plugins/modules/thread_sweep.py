#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure with how many threads a host's engine is fastest."""
from __future__ import annotations

DOCUMENTATION = r"""
module: thread_sweep
short_description: Measure with how many threads a host's engine is fastest
version_added: 0.1.0
description:
  - Runs the deployed LocalAI and its deployed backend once more, in a container of its own, and lets it generate text with several
    numbers of threads in turns. What is deployed goes on running beside it, so its load is part of the measurement.
  - The container is as hardened as the deployed one, publishes no port, has a random key, and is removed at the end,
    as is what a killed run left behind.
  - In check mode nothing is run and nothing is measured.
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  image:
    description: The deployed image of LocalAI by digest.
    type: str
    required: true
  backend:
    description: The folder of the deployed backend.
    type: path
    required: true
  like:
    description: Name of the deployed container, whose user, environment, mounts and network are taken.
    type: str
    default: localai
  candidates:
    description: What to try, the slowest first.
    type: list
    elements: dict
    required: true
    suboptions:
      threads:
        description: Number of threads.
        type: int
        required: true
      settings:
        description: The model's settings with so many threads, as LocalAI reads them.
        type: str
        required: true
  folder:
    description: A folder for what the container reads. It is made and removed.
    type: path
    default: /opt/localai/run/tuning
  loaded:
    description: How many of the candidates may be in memory at once.
    type: int
    default: 1
  cpus:
    description: CPU limit of the container in cores.
    type: float
    required: true
  cpuset:
    description: CPUs to pin it to. Empty pins it nowhere.
    type: str
    default: ""
  memory_limit:
    description: Memory limit of the container in bytes.
    type: int
    required: true
  tmp_size:
    description: Size of the container's C(/tmp) in bytes.
    type: int
    default: 134217728
  seconds:
    description: Time for all of it, from the start of the container to the last answer.
    type: float
    default: 60
  port:
    description: Port of LocalAI in the container.
    type: int
    default: 8080
  root:
    description: Read the host's counters below this directory.
    type: path
    default: /
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Measure
  localai.fleet.thread_sweep:
    image: quay.io/go-skynet/local-ai@sha256:1111111111111111111111111111111111111111111111111111111111111111
    backend: /opt/localai/backends/2222222222222222222222222222222222222222222222222222222222222222
    candidates:
      - {threads: 1, settings: "{{ lookup('file', 'one.yaml') }}"}
      - {threads: 2, settings: "{{ lookup('file', 'two.yaml') }}"}
    cpus: 2
    memory_limit: 1073741824
  register: swept
"""

RETURN = r"""
threads:
  description: The fewest threads within 1 % of the fastest; V(null) in check mode.
  returned: success
  type: int
  sample: 2
measured:
  description: One entry for each number of threads. Speeds are tokens per second of decoding, C(throttled) is a share of quota periods.
  returned: success
  type: list
  elements: dict
  sample: [{threads: 1, tokens_per_second: 52.4, lowest: 51.9, highest: 53.0, turns: 6, throttled: 0.0}]
load_before:
  description: The host's load average of one minute before the container was started.
  returned: success
  type: float
  sample: 0.4
text:
  description: The measurement as lines, and what makes it doubtful.
  returned: success
  type: list
  elements: str
"""

import json
import os
import secrets
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Iterator

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._cgroup import Tree, chain, pairs
from ..module_utils._errors import FleetError
from ..module_utils._glue import fail
from ..module_utils._server import Server
from ..module_utils._sweep import Turn, World, best, remarks, served, summary, sweep, table

NAME = "localai-tuning"
SECRET_NAMES = ("API_KEY", "LOCALAI_API_KEY")
DROPPED = (*SECRET_NAMES, "LOCALAI_THREADS", "LOCALAI_MAX_ACTIVE_BACKENDS")
"""Of the deployed environment: keys, and what the sweep sets by itself."""
BACKEND = "/var/lib/local-ai/backends/llama-cpp"
OWN_MOUNTS = ("/models", "/data", BACKEND)
LOG_CHARACTERS = 600
PROMPT = "Count from one to one hundred in words."


def argument_spec() -> dict[str, dict[str, Any]]:
    candidate = {"threads": {"type": "int", "required": True}, "settings": {"type": "str", "required": True}}
    return {
        "image": {"type": "str", "required": True},
        "backend": {"type": "path", "required": True},
        "like": {"type": "str", "default": "localai"},
        "candidates": {"type": "list", "elements": "dict", "required": True, "options": candidate},
        "folder": {"type": "path", "default": "/opt/localai/run/tuning"},
        "loaded": {"type": "int", "default": 1},
        "cpus": {"type": "float", "required": True},
        "cpuset": {"type": "str", "default": ""},
        "memory_limit": {"type": "int", "required": True},
        "tmp_size": {"type": "int", "default": 128 << 20},
        "seconds": {"type": "float", "default": 60},
        "port": {"type": "int", "default": 8080},
        "root": {"type": "path", "default": "/"},
    }


def docker(module: AnsibleModule, what: str, *argv: str) -> str:
    """Standard output of a command of the engine that must succeed."""
    code, out, err = module.run_command([module.get_bin_path("docker", required=True), *argv])
    if code != 0:
        raise FleetError(what, NAME, (err or out).strip(), "Look at the host's Docker engine.")
    return out


def inspect(module: AnsibleModule, name: str, do: str = "") -> dict[str, Any]:
    """What the engine knows of a running container."""
    code, out, _err = module.run_command([module.get_bin_path("docker", required=True), "inspect", "--type", "container", name])
    found = json.loads(out or "[]") if code == 0 else []
    if not found or not found[0]["State"].get("Running"):
        raise FleetError("The container does not run", name, do=do)
    return found[0]


def environment(like: dict[str, Any], key: str) -> str:
    """The deployed environment as a file for the engine, with a key of its own."""
    entries = [entry for entry in like["Config"].get("Env") or [] if entry.partition("=")[0] not in DROPPED and "\n" not in entry]
    return "".join(f"{entry}\n" for entry in (*entries, f"LOCALAI_API_KEY={key}"))


def write(module: AnsibleModule, like: dict[str, Any], key: str) -> None:
    """The folder with the settings of the models and the environment, which nobody but root can read."""
    folder = module.params["folder"]
    os.makedirs(os.path.join(folder, "models", "gguf"))
    os.chmod(folder, 0o700)  # nobody passes but the engine, which binds what is below as root
    os.chmod(os.path.join(folder, "models"), 0o755)
    for one in module.params["candidates"]:
        path = os.path.join(folder, "models", served(one["threads"]) + ".yaml")
        with open(path, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(one["settings"])
    with os.fdopen(os.open(os.path.join(folder, "env"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(environment(like, key))


def arguments(params: dict[str, Any], like: dict[str, Any]) -> list[str]:
    """The command line of the container: hardened as the deployed one, no port, its own models."""
    binds = {mount["Destination"]: mount["Source"] for mount in like.get("Mounts") or [] if mount["Type"] == "bind"}
    mounts = [(source, target) for target, source in sorted(binds.items()) if target not in OWN_MOUNTS]
    mounts += [(os.path.join(params["folder"], "models"), "/models"), (params["backend"], BACKEND)]
    host, folder = like["HostConfig"], params["folder"]
    return [
        "run", "--detach", "--name", NAME, "--user", like["Config"]["User"], "--init", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges:true", "--pids-limit", str(host.get("PidsLimit") or 1024), "--restart", "no", "--no-healthcheck",
        "--cpus", f"{params['cpus']:g}", *(["--cpuset-cpus", params["cpuset"]] if params["cpuset"] else []),
        "--memory", str(params["memory_limit"]), "--memory-swap", str(params["memory_limit"]),
        "--tmpfs", f"/tmp:size={params['tmp_size']},mode=1777,noexec,nosuid,nodev", "--tmpfs", "/data:size=16m,mode=1777,noexec,nosuid,nodev",
        "--log-opt", "max-size=10m", "--env-file", os.path.join(folder, "env"), "--network", min(like["NetworkSettings"]["Networks"]),
        *(word for source, target in mounts for word in ("--mount", f"type=bind,source={source},target={target},readonly")),
        params["image"],
    ]


def remove(module: AnsibleModule) -> None:
    """The container and its folder, of this run or of one that was killed."""
    module.run_command([module.get_bin_path("docker", required=True), "rm", "--force", "--volumes", NAME])
    shutil.rmtree(module.params["folder"], ignore_errors=True)


def last_words(module: AnsibleModule) -> str:
    """The end of the container's log, which is gone with it; the only prompt in it is ours."""
    _code, out, err = module.run_command([module.get_bin_path("docker", required=True), "logs", "--tail", "5", NAME])
    return f"Its log ended with: {' | '.join((out + err).split(chr(10)))[-LOG_CHARACTERS:].strip(' |') or 'nothing'}"


def interrupted(number: int, _frame: object) -> None:
    """A signal as an exception, so that what was started is removed."""
    raise SystemExit(128 + number)


class Bench(Server):
    """The running container: LocalAI and its counters. No request outlasts `end`."""

    headers = {"Extra-Usage": "true"}

    def __init__(self, module: AnsibleModule, key: str, end: float) -> None:
        found = inspect(module, NAME)
        networks = found["NetworkSettings"]["Networks"].values()
        super().__init__(NAME, next((network["IPAddress"] for network in networks if network.get("IPAddress")), ""), module.params["port"], key)
        self.advice, self.end, self.tree = "", end, Tree(module.params["root"])
        self.levels = [level.path for level in chain(self.tree, "cpu", str(found["State"]["Pid"]))]

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 0.0) -> tuple[int, Any]:
        """Status and JSON of one request; FleetError without an answer."""
        return super().ask(method, path, body, timeout or max(1.0, self.end - time.monotonic()))

    def periods(self) -> list[tuple[int, int]]:
        """Quota periods and throttled ones of every level above the engine, the host's own limit included."""
        stats = [pairs(self.tree.read(f"{path}/cpu.stat")) for path in self.levels]
        return [(stat.get("nr_periods", 0), stat.get("nr_throttled", 0)) for stat in stats]

    def turn(self, threads: int, tokens: int) -> Turn:
        """Generate so many tokens; the speed is the engine's own timing of the decoding."""
        before = self.periods()
        body = {"model": served(threads), "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "messages": [{"role": "user", "content": PROMPT}]}
        status, data = self.ask("POST", "/v1/chat/completions", body)
        usage = data.get("usage") if isinstance(data, dict) else None
        count, milliseconds = ((usage or {}).get(name) or 0 for name in ("completion_tokens", "timing_token_generation"))
        if status != 200 or count <= 0 or milliseconds <= 0:
            said = ((data.get("error") or {}).get("message") if isinstance(data, dict) else None) or f"{count} tokens in {milliseconds} ms"
            raise FleetError("LocalAI gave no measurable answer", f"{threads} threads", f"{status}: {str(said)[:200]}")
        shares = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(before, self.periods()) if b[0] > a[0]]
        return Turn(threads, 1000 * count / milliseconds, max(shares, default=0.0))

    def unload(self, threads: int) -> None:
        """Stop the engine process of one number of threads."""
        self.ask("POST", "/backend/shutdown", {"model": served(threads)})


@contextmanager
def running(module: AnsibleModule, end: float) -> Iterator[Bench]:
    """The container, ready; removed whatever happens."""
    like, key = inspect(module, module.params["like"], "It is to be measured like this one: deploy it with localai.fleet.site."), secrets.token_hex(24)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupted)
    remove(module)
    try:
        write(module, like, key)
        docker(module, "The container could not be started", *arguments(module.params, like))
        server = Bench(module, key, end)
        server.await_ready(end - time.monotonic())
        yield server
    except FleetError as error:
        raise FleetError(error.what, error.where, error.got, error.do or last_words(module)) from error
    finally:
        remove(module)


def measure(module: AnsibleModule) -> list[Turn]:
    """All turns; the time begins with the container."""
    end = time.monotonic() + module.params["seconds"]
    with running(module, end) as server:
        world = World(turn=server.turn, unload=server.unload, clock=time.monotonic)
        return sweep([one["threads"] for one in module.params["candidates"]], max(1, module.params["loaded"]), end - time.monotonic(), world)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    load, turns = os.getloadavg()[0], []
    try:
        if not module.check_mode:
            turns = measure(module)
    except FleetError as error:
        fail(module, error)
    except OSError as error:
        fail(module, FleetError("The sweep's folder could not be written", module.params["folder"], str(error)))
    measured = summary(turns)
    threads = best(measured) if turns else None
    text = table(measured, threads) + remarks(measured, threads, load, len(os.sched_getaffinity(0))) if turns else []
    module.exit_json(changed=False, threads=threads, measured=[asdict(one) for one in measured], load_before=round(load, 2), text=text)


if __name__ == "__main__":
    main()
