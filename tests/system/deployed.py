"""A deployed lab instance: its hosts by SSH, the product's playbooks against it, the hub's switches, interrupting a run."""
from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import testinfra
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab" / os.environ.get("LAB_INSTANCE", "test")
INVENTORY = STATE / "inventory" / "hosts.yml"
BIN = Path(sys.executable).parent


@cache
def groups() -> dict[str, Any]:
    """Hosts of each group of the instance's inventory, and under `variables` those of each host."""
    done = subprocess.run([BIN / "ansible-inventory", "-i", INVENTORY, "--list"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = json.loads(done.stdout)
    hosts = {name: group["hosts"] for name, group in listed.items() if "hosts" in group}
    return {**hosts, "variables": listed["_meta"]["hostvars"]}


class _Unsafe(str):
    """A text that Ansible must not template, as the inventory has it."""


class _Loader(yaml.SafeLoader):
    pass


class _Dumper(yaml.SafeDumper):
    pass


_Loader.add_constructor("!unsafe", lambda loader, node: _Unsafe(node.value))
_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", text, style='"'))


def wanted_models() -> list[dict[str, Any]]:
    """The `models_wanted` of the instance."""
    return list(yaml.load((INVENTORY.parent / "group_vars" / "localai.yml").read_text(), Loader=_Loader)["models_wanted"])  # a SafeLoader


def with_models(folder: Path, models: Sequence[Mapping[str, Any]], **more: Any) -> list[str]:
    """Arguments that make a run want these models instead, and have these variables."""
    path = folder / "wanted.yml"
    path.write_text(yaml.dump({"models_wanted": [dict(model) for model in models], **more}, Dumper=_Dumper))
    return ["-e", f"@{path}"]


def asked(host: Host, container: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and answer of an instance, asked inside its container with the admin key that it has itself."""
    data = f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'" if body else ""
    script = f'curl -s -w "\\n%{{http_code}}" -H "Authorization: Bearer $LOCALAI_API_KEY" {data} http://127.0.0.1:8080{path}'
    text, _newline, status = host.check_output("docker exec %s sh -c %s", container, script).rpartition("\n")
    return int(status), json.loads(text)


def plain(name: str) -> str:
    """The name of a revision, or of its file, without its digest."""
    return re.sub(r"\.[0-9a-f]{8}(?=$|\.yaml$)", ".*", name)


def on(name: str) -> Host:
    """A server of the lab as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))


@dataclass(frozen=True)
class Run:
    """What a playbook run left: exit code, everything it printed, and the recap."""

    code: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Tasks that changed something, all hosts together."""
        return sum(host["changed"] for host in self.recap.values())

    @property
    def told(self) -> str:
        """What it printed in one line, as Ansible breaks sentences and doubles the quotes in them."""
        return " ".join(self.output.replace("''", "'").split())


def recap_of(output: str) -> dict[str, dict[str, int]]:
    """Counters of the PLAY RECAP by host."""
    lines = output.split("PLAY RECAP", 1)[-1].splitlines()[1:]
    found = {}
    for line in lines:
        name, counters = line.partition(":")[::2]
        if "ok=" in counters:
            found[name.strip()] = {key: int(value) for key, value in (word.split("=") for word in counters.split())}
    return found


def command(name: str, *more: str) -> list[str]:
    """The command line of one of the product's playbooks against the instance."""
    return [str(BIN / "ansible-playbook"), "-i", str(INVENTORY), f"playbooks/{name}.yml", *more]


def environment(**more: str) -> dict[str, str]:
    """The environment of a run: the checkout's own configuration."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true", **more}


def hub(path: str, body: Any = None, method: str = "") -> Any:
    """Ask the lab's hub: `GET /__requests__`, `DELETE /__requests__`, `PUT /__switch__`."""
    address = groups()["variables"][groups()["localai_server"][0]]["models_hub_endpoint"]
    request = urllib.request.Request(
        address + path, data=None if body is None else json.dumps(body).encode(),
        method=method or ("GET" if body is None else "PUT"), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=STATE / "ca.crt")) as answer:
        return json.loads(answer.read() or b"null")


def until(true: Callable[[], Any], seconds: float = 90) -> Any:
    """The first truthy value, polled; AssertionError when none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"nothing came within {seconds} seconds")


@contextmanager
def started(name: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A playbook run in a process group of its own; what is left of it is killed at the end."""
    with subprocess.Popen(
        command(name, *more), cwd=ROOT, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of the run and of everything it started on the controller."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=20)


class Edge:
    """Asks the edge at the gateway's address by its public name."""

    def __init__(self, address: str, name: str, authority: Path, key: str) -> None:
        self.address, self.name, self.key = address, name, key
        self.context = ssl.create_default_context(cafile=str(authority))

    def ask(self, method: str, path: str, body: Any = None, key: "str | None" = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        """The answer and its whole body; `key` "" sends none."""
        key = self.key if key is None else key
        sent = {"Host": self.name, **({"Authorization": f"Bearer {key}"} if key else {}), **headers}
        connection = HTTPSConnection(self.name, 443, timeout=120, context=self.context)
        connection.sock = self.context.wrap_socket(socket.create_connection((self.address, 443), 20), server_hostname=self.name)
        connection.sock.settimeout(120)  # a model that loads on a busy machine takes its time
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {**sent, "Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()


def edge_of(name: str, scratch: Path) -> Edge:
    """The edge on the gateway `name`, asked with the default consumer's key; its authority and key lie on the primary gateway."""
    primary, known = on(groups()["localai_gateway"][0]), groups()["variables"][name]
    authority = scratch / f"{name}.crt"
    authority.write_text(primary.check_output("cat /opt/localai/config/proxy/ca.crt") + "\n", encoding="utf-8")
    key = primary.check_output("cat /opt/localai/secrets/consumers/default.key").strip()
    return Edge(known["ansible_host"], known["proxy_domain"], authority, key)
