"""One instance of the lab: its names, addresses, options and places on disk. Pure, apart from its own options file."""
from __future__ import annotations

import ipaddress
import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator

from .recipe import HERE, PREFIX, LabError

ROOT = HERE.parents[1]
STATE = ROOT / ".lab"
CACHE = ROOT / ".cache" / "lab"
LABEL = f"{PREFIX}.instance"
SUBNETS = {"demo": "172.30.80.0/24", "test": "172.30.81.0/24"}
REGISTRY, HUB, FIRST_HOST = 5, 6, 11
MOST_HOSTS = 40
GIB = 1 << 30


@dataclass(frozen=True)
class Options:
    """What `up` can be told, kept in instance.json so that the next `up` needs no option.

    `memory` (bytes), `cpus` (cores, 0: no quota) and `suites` (Debian releases) are given to the servers in turn.
    """

    subnet: str
    hosts: int = 2
    memory: tuple[int, ...] = (3 * GIB,)
    cpus: tuple[float, ...] = (0.0, 1.5)
    suites: tuple[str, ...] = ("trixie", "bookworm")


@dataclass(frozen=True)
class Host:
    """One lab server."""

    name: str
    address: str
    memory: int
    cpus: float
    suite: str = "trixie"


@dataclass(frozen=True)
class Instance:
    """Names and addresses follow from the name and the options."""

    name: str
    options: Options
    state: Path = STATE

    @property
    def root(self) -> Path:
        return self.state / self.name

    @property
    def network(self) -> str:
        return f"{PREFIX}-{self.name}"

    @property
    def registry(self) -> str:
        return f"{self.address(REGISTRY)}:5000"

    @property
    def hub(self) -> str:
        return f"https://{self.address(HUB)}"

    @property
    def ca(self) -> Path:
        return self.root / "ca.crt"

    @property
    def ssh_key(self) -> Path:
        return self.root / "ssh_key"

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.root / "inventory" / "hosts.yml"

    def container(self, part: str) -> str:
        return f"{PREFIX}-{self.name}-{part}"

    def address(self, number: int) -> str:
        return str(ipaddress.ip_network(self.options.subnet)[number])

    def hosts(self) -> Iterator[Host]:
        options = self.options
        for index in range(options.hosts):
            memory, cpus, suite = (turn[index % len(turn)] for turn in (options.memory, options.cpus, options.suites))
            yield Host(f"lab{index + 1}", self.address(FIRST_HOST + index), memory, cpus, suite)

    def save(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        write(self.root / "instance.json", json.dumps(asdict(self.options), indent=2, sort_keys=True) + "\n")

    @property
    def connections(self) -> Path:
        """Sockets of Ansible's SSH connections; of the instance, so that none leads to a server that is gone."""
        return self.root / "cp"

    def forget_connections(self) -> None:
        shutil.rmtree(self.connections, ignore_errors=True)

    def forget(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def load(name: str, state: Path = STATE, **given: object) -> Instance:
    """The instance `name` with the options it was made with, those in `given` (None: not given) on top.

    Raises `LabError` for a name, a subnet or a number that cannot be.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}", name):
        raise LabError(f"The instance name {name!r} cannot be used: give lower-case letters, digits and dashes, 21 at most.")
    options = {**_saved(state / name / "instance.json"), **{key: value for key, value in given.items() if value is not None}}
    options.setdefault("subnet", SUBNETS.get(name))
    if options["subnet"] is None:
        raise LabError(f"The instance {name} has no subnet yet: give one that nothing on this machine uses, as --subnet 172.30.90.0/24.")
    made = Options(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})  # type: ignore[arg-type]
    _check(made)
    return Instance(name, made, state)


def known(state: Path = STATE) -> list[str]:
    """Names of the instances that exist on disk."""
    return sorted(path.parent.name for path in state.glob("*/instance.json"))


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    """Write when the content differs; whole or not at all. True when it was written."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=mode)
    fresh.chmod(mode)
    fresh.write_text(text)
    fresh.replace(path)
    return True


def _saved(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise LabError(f"{path} is damaged ({error}): remove the instance with `down` and make it again.") from error


def _check(options: Options) -> None:
    try:
        network = ipaddress.ip_network(options.subnet)
    except ValueError as error:
        raise LabError(f"The subnet {options.subnet!r} is not one ({error}): give it as 172.30.90.0/24.") from error
    if network.version != 4 or network.num_addresses < 64:
        raise LabError(f"The subnet {options.subnet} is too small or not IPv4: give one of /26 or larger.")
    if not 1 <= options.hosts <= min(MOST_HOSTS, network.num_addresses - FIRST_HOST - 2):
        raise LabError(f"The lab cannot have {options.hosts} servers in {options.subnet}: give 1 to {MOST_HOSTS}.")
    if not options.memory or min(options.memory) < GIB // 4 or not options.cpus or min(options.cpus) < 0:
        raise LabError("A lab server needs at least 256 MiB of memory and a CPU quota of 0 (none) or more: correct --memory and --cpus.")
