"""No secret in output at -vvv --diff, in facts, in a process list, or in a file that others can read."""
from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from deployed import Run, groups, on

FOLDER = "/opt/localai/secrets"
SAMPLE = "while sleep 0.05; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; done > /run/cmdlines"


def secrets() -> dict[str, str]:
    """Every secret that the deployment made, by its file."""
    host = on(groups()["localai_gateway"][0])
    files = host.check_output("find %s -type f", FOLDER).splitlines()
    found = {}
    for path in files:
        text = host.check_output("cat %s", path)
        if "CERTIFICATE" not in text:
            found[path] = max(text.splitlines(), key=len).split("=", 1)[-1].strip().strip('"')
    return found


@pytest.fixture(scope="module")
def loud(playbook: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str, str]:
    """A run of the whole site at -vvv --diff that has work to do: its output, the facts it cached, what `ps` saw on the servers."""
    cache = tmp_path_factory.mktemp("facts")
    hosts = [on(name) for name in groups()["localai_server"]]
    for host in hosts:
        host.check_output("rm -rf /opt/localai/compose; sh -c %s >/dev/null 2>&1 & echo $! > /run/sampler", SAMPLE)
    try:
        run = playbook("site", "-vvv", "--diff", ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile", ANSIBLE_CACHE_PLUGIN_CONNECTION=str(cache))
    finally:
        for host in hosts:
            host.run("kill $(cat /run/sampler)")
    seen = "".join(host.check_output("cat /run/cmdlines") for host in hosts)
    for host in hosts:
        host.run("rm -f /run/cmdlines /run/sampler")
    facts = "".join(path.read_text(encoding="utf-8") for path in Path(cache).iterdir())
    return run, facts, seen


def test_the_run_had_work_to_do(loud: tuple[Run, str, str]) -> None:
    run, facts, seen = loud
    assert run.code == 0, run.output[-4000:]
    assert run.changed > 0
    assert "localai_capacity" in facts
    assert "docker" in seen


def test_there_are_secrets_to_look_for() -> None:
    found = secrets()
    assert len(found) >= 3  # the internal key, a consumer's key, the CA's key
    assert all(len(value) >= 32 for value in found.values())


def test_no_secret_in_the_output(loud: tuple[Run, str, str]) -> None:
    assert not [path for path, value in secrets().items() if value in loud[0].output]


def test_no_secret_in_the_facts(loud: tuple[Run, str, str]) -> None:
    assert not [path for path, value in secrets().items() if value in loud[1]]


def test_no_secret_in_a_process_list(loud: tuple[Run, str, str]) -> None:
    assert not [path for path, value in secrets().items() if value in loud[2]]


@pytest.mark.parametrize("name", groups().get("localai_server", []))
def test_no_secret_in_a_file_that_others_can_read(name: str) -> None:
    host = on(name)
    for path, value in secrets().items():
        # Only files that others can reach: -path of a folder closed to others is pruned.
        assert not readable(host, value), path


def readable(host, value: str) -> list[str]:
    """Files of up to 1 MiB that others can reach and read and that hold the value; a planted one proves that they would be found."""
    host.check_output("umask 022; printf %%s %s > /run/planted", value)
    hits = host.run(
        "find / /run /tmp -xdev \\( -path /proc -o -path /sys -o -type d ! -perm -o+x \\) -prune -o -type f -perm -o+r -size -1048576c -print0 "
        "| xargs -0 grep -lF -- %s 2>/dev/null", value).stdout.split()
    host.check_output("rm /run/planted")
    assert "/run/planted" in hits
    return sorted(set(hits) - {"/run/planted"})


def test_the_folder_of_secrets_is_closed(gateway) -> None:
    assert gateway.file(FOLDER).mode == 0o700
    modes = gateway.check_output("find %s -type f -printf '%%m %%p\\n'", FOLDER).splitlines()
    assert not [line for line in modes if line.split()[0] not in {"400", "600"}]
