"""No secret in output at -vvv --diff, in facts, in a process list, or in a file that others can read: neither those that a run makes nor those it is given."""
from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from deployed import Run, groups, on

FOLDER = "/opt/localai/secrets"
SAMPLE = "while sleep 0.05; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; done > /run/cmdlines"


def kept() -> dict[str, str]:
    """Every secret that lies on the primary gateway, by its file."""
    host = on(groups()["localai_gateway"][0])
    found = {}
    for path in host.check_output("find %s -type f", FOLDER).splitlines():
        text = host.check_output("cat %s", path)
        if "CERTIFICATE" not in text:
            found[path] = max(text.splitlines(), key=len).split("=", 1)[-1].strip().strip('"')
    return found


@dataclass
class Loud:
    """A run at -vvv --diff: what it printed, the facts it cached, the command lines on servers and controller, what it wrote beside the inventory."""

    run: Run
    secrets: dict[str, str]
    told: dict[str, str] = field(default_factory=dict)

    def leaks(self) -> list[tuple[str, str]]:
        """(secret, place) for each secret that is found where it must not be."""
        return [(name, place) for name, value in self.secrets.items() for place, text in self.told.items() if value in text]


@contextmanager
def sampled(place: dict[str, str]) -> Iterator[None]:
    """Collects the command lines of the servers and of this machine while something runs."""
    hosts = [on(name) for name in groups()["localai_server"]]
    seen: set[str] = set()
    stop = threading.Event()
    here = threading.Thread(target=lambda: look(seen, stop))
    for host in hosts:
        host.check_output("sh -c %s >/dev/null 2>&1 & echo $! > /run/sampler", SAMPLE)
    here.start()
    try:
        yield
    finally:
        stop.set()
        here.join()
        for host in hosts:
            host.run("kill $(cat /run/sampler)")
    place["processes of the controller"] = "\n".join(seen)
    for host in hosts:
        place[f"processes of {host.backend.host}"] = host.check_output("cat /run/cmdlines; rm -f /run/cmdlines /run/sampler")


def look(seen: set[str], stop: threading.Event) -> None:
    """Adds every command line of this machine to `seen` until `stop` is set."""
    while not stop.wait(0.05):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                pass  # it ended


def loudly(playbook: Callable[..., Run], scratch: Path, given: dict[str, Any], *more: str) -> Loud:
    """Run the site so; `given` is handed over in a file, as a vault would be."""
    told: dict[str, str] = {}
    variables = scratch / "given.json"
    variables.touch(mode=0o600)
    variables.write_text(json.dumps(given), encoding="utf-8")
    with sampled(told):
        run = playbook("site", "-vvv", "--diff", "-e", f"@{variables}", *more,
                       ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile", ANSIBLE_CACHE_PLUGIN_CONNECTION=str(scratch / "facts"))
    variables.unlink()
    told["output"] = run.output
    told["facts"] = "".join(path.read_text(encoding="utf-8") for path in sorted((scratch / "facts").iterdir()))
    told["files of the controller"] = "".join(path.read_text(encoding="utf-8") for path in sorted(scratch.glob("*.yml")))
    return Loud(run, kept(), told)


@pytest.fixture(scope="module")
def given() -> dict[str, str]:
    """Secrets as a user's vault has them; the first four are of the first run, the last is of the second."""
    return {
        "registry": secrets.token_hex(16), "hub": f"hf_{secrets.token_hex(16)}", "consumer": f"sk-{secrets.token_hex(20)}",
        "account": "lab", "admin": secrets.token_hex(24),
    }


@pytest.fixture(scope="module")
def made(playbook: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory, given: dict[str, str]) -> Loud:
    """A run that makes every secret anew and is given the others: a consumer's key, an account of the registry, a token of the Hub."""
    scratch = tmp_path_factory.mktemp("made")
    for name in groups()["localai_server"]:
        # The folders of secrets stay: running containers have them mounted.
        on(name).check_output("rm -rf /opt/localai/compose; if [ -d %s ]; then find %s -type f -delete; fi", FOLDER, FOLDER)
    loud = loudly(playbook, scratch, {
        "common_lock_path": str(scratch / "fleet.lock.yml"), "common_registry_username": given["account"],
        "common_registry_password": given["registry"], "models_hub_token": given["hub"],
        "proxy_consumers": [{"name": "default"}, {"name": "given", "key": given["consumer"]}],
    })
    loud.secrets.update({name: given[name] for name in ("registry", "hub", "consumer")})
    return loud


@pytest.fixture(scope="module")
def handed(playbook: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory, made: Loud, given: dict[str, str]) -> Loud:
    """A run that is given LocalAI's internal key; the consumer that the run before was given goes."""
    loud = loudly(playbook, tmp_path_factory.mktemp("handed"), {"common_localai_admin_key": given["admin"]}, "--tags", "localai,proxy")
    loud.secrets["admin"] = given["admin"]
    return loud


def test_the_runs_had_work_to_do(made: Loud, handed: Loud) -> None:
    for loud in (made, handed):
        assert loud.run.code == 0, loud.run.output[-4000:]
        assert loud.run.changed > 0
        assert "localai_capacity" in loud.told["facts"]
        assert all("ansible" in text or "docker" in text for place, text in loud.told.items() if place.startswith("processes"))
    assert "gemma" in made.told["files of the controller"]


def test_the_secrets_are_new_and_used(made: Loud, handed: Loud, given: dict[str, str]) -> None:
    """The internal key, a consumer's key and the authority's key were made; the given ones are the ones in use."""
    assert len([path for path in made.secrets if path.startswith(FOLDER)]) >= 3
    assert all(len(value) >= 32 for value in {**made.secrets, **handed.secrets}.values())
    assert made.secrets[f"{FOLDER}/consumers/given.key"] == given["consumer"]
    assert handed.secrets[f"{FOLDER}/localai_admin.key"] == given["admin"] != made.secrets[f"{FOLDER}/localai_admin.key"]
    environment = on(groups()["localai_server"][0]).check_output("docker inspect -f '{{json .Config.Env}}' localai")
    assert f"LOCALAI_API_KEY={given['admin']}" in json.loads(environment)


def test_no_secret_is_told(made: Loud, handed: Loud) -> None:
    assert (made.leaks(), handed.leaks()) == ([], [])


def test_a_told_secret_would_be_found(made: Loud) -> None:
    """What proves the search: a value that must be in each of the places is found in each."""
    places = {place: place.partition(" of ")[0] for place in made.told}
    common = {"output": "PLAY RECAP", "facts": "localai_capacity", "processes": "python", "files": "sha256"}
    assert not [place for place, kind in places.items() if common[kind] not in made.told[place]]


@pytest.mark.parametrize("name", groups().get("localai_server", []))
def test_no_secret_in_a_file_that_others_can_read(made: Loud, handed: Loud, name: str) -> None:
    assert readable(on(name), [*made.secrets.values(), *handed.secrets.values()]) == []


def readable(host, values: list[str]) -> list[str]:
    """Files of up to 1 MiB that others can reach and read and that hold a value; planted ones prove that each would be found."""
    host.check_output("umask 077; printf '%%s\\n' %s > /run/wanted", "\n".join(sorted(set(values))))
    host.check_output("umask 022; mkdir /run/planted; split -l 1 /run/wanted /run/planted/")
    try:
        hits = host.run(
            "find / /run /tmp -xdev \\( -path /proc -o -path /sys -o -type d ! -perm -o+x \\) -prune -o -type f -perm -o+r -size -1048576c -print0 "
            "| xargs -0 grep -lFf /run/wanted 2>/dev/null").stdout.split()
        planted = host.check_output("ls -d /run/planted/*").split()
    finally:
        host.check_output("rm -rf /run/wanted /run/planted")
    assert len(planted) == len(set(values)) and set(planted) <= set(hits)
    return sorted(set(hits) - set(planted))


def test_the_folder_of_secrets_is_closed(gateway) -> None:
    assert gateway.file(FOLDER).mode == 0o700
    modes = gateway.check_output("find %s -type f -printf '%%m %%p\\n'", FOLDER).splitlines()
    assert not [line for line in modes if line.split()[0] not in {"400", "600"}]
