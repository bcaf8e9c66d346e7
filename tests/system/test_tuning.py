"""tune.yml: one measurement a class, kept, used by the plan, ignored where it is foreign; nothing of it stays behind."""
from __future__ import annotations

import json
import re
from typing import Any, Iterator, NamedTuple

import pytest
from deployed import Run, groups, kill, on, started, until
from testinfra.host import Host

FACT = "/opt/localai/state/tuning.json"
# One server after the other: they share this machine's cores.
SHORT = ("-e", "tuning_seconds=45", "--forks", "1")
FORCED = ("-e", "tuning_force=true")
LOOK = "docker inspect -f '{{.State.Status}}' localai-tuning"


def fact(host: Host) -> dict[str, Any]:
    return json.loads(host.check_output("cat %s", FACT))


def started_at(host: Host) -> str:
    return host.check_output("docker inspect -f '{{.State.StartedAt}}' localai")


class Tuned(NamedTuple):
    """The container that a killed run left, the run after it and the next one, and whether what is deployed was left alone."""

    left: dict[str, Any]
    first: Run
    second: Run
    untouched: bool


@pytest.fixture(scope="module")
def tuned(playbook) -> Iterator[Tuned]:
    names = groups()["localai_server"]
    servers = [on(name) for name in names]
    before = [started_at(host) for host in servers]
    try:
        with started("tune", "--limit", names[0], *FORCED) as killed:
            until(lambda: servers[0].run(LOOK).stdout.strip() == "running")
            kill(killed)
            assert servers[0].run("pkill -9 -fx '/usr/bin/python3[0-9.]*'").rc == 0  # the module; LocalAI's own processes have arguments
        left = json.loads(servers[0].check_output("docker inspect localai-tuning"))[0]
        runs = playbook("tune", *SHORT, *FORCED), playbook("tune", *SHORT)
        yield Tuned(left, *runs, before == [started_at(host) for host in servers])
    finally:
        playbook("remove", "--tags", "tuning")  # what comes after must not suffer


def test_what_measures_is_as_hardened_as_what_is_deployed(tuned) -> None:
    deployed = json.loads(on(groups()["localai_server"][0]).check_output("docker inspect localai"))[0]
    same = ("ReadonlyRootfs", "Privileged", "CapAdd", "CapDrop", "SecurityOpt", "PidsLimit", "Init", "NanoCpus")
    assert {name: tuned.left["HostConfig"][name] for name in same} == {name: deployed["HostConfig"][name] for name in same}
    assert tuned.left["HostConfig"]["Memory"] == tuned.left["HostConfig"]["MemorySwap"] > 0
    assert not tuned.left["HostConfig"]["PortBindings"]
    assert not [mount for mount in tuned.left["Mounts"] if mount["RW"] or mount["Type"] == "volume"]
    assert (tuned.left["Config"]["User"], tuned.left["Config"]["Image"]) == (deployed["Config"]["User"], deployed["Config"]["Image"])
    keys = [{entry for entry in found["Config"]["Env"] if entry.startswith("LOCALAI_API_KEY=")} for found in (tuned.left, deployed)]
    assert len(keys[0]) == len(keys[1]) == 1 and keys[0] != keys[1]


def test_every_server_keeps_the_measurement_of_its_class(tuned, server: Host) -> None:
    assert tuned.first.code == 0, tuned.first.output[-4000:]
    assert tuned.untouched
    found = fact(server)
    speeds = {int(threads): speed for threads, speed in found["tokens_per_second"].items()}
    assert speeds[found["threads"]] >= 0.97 * max(speeds.values())
    assert set(speeds) >= {1, 2} and min(speeds.values()) > 0
    assert (server.file(FACT).user, server.file(FACT).mode) == ("root", 0o644)
    assert tuned.first.output.count("<- best") == len(groups()["localai_server"]), "the lab's servers have different quotas: each is its own class"


def test_nothing_of_a_measurement_stays(tuned, server: Host) -> None:
    assert server.run(LOOK).rc != 0
    assert not server.file("/opt/localai/run/tuning").exists


def test_the_next_run_keeps_it(tuned) -> None:
    assert (tuned.second.code, tuned.second.changed) == (0, 0), tuned.second.output[-4000:]
    assert tuned.second.told.count("keep. It has") == len(groups()["localai_server"])


def test_a_forced_run_is_predicted(tuned, playbook) -> None:
    run = playbook("tune", "--check", "-e", "tuning_force=true")
    assert (run.code, run.changed) == (0, len(groups()["localai_server"])), run.output[-4000:]


def test_the_plan_uses_it_and_ignores_a_foreign_one(tuned, playbook) -> None:
    name = groups()["localai_server"][0]
    host, kept = on(name), fact(on(groups()["localai_server"][0]))
    try:
        write(host, {**kept, "threads": 1})
        run = playbook("plan")
        assert f"{name}: threads measured on" in run.told, run.output
        write(host, {**kept, "threads": 1, "fingerprint": {**kept["fingerprint"], "usable_cores": 64}})
        foreign = playbook("plan")
        assert "are ignored: usable cores: 64 then, 2 now. Run localai.fleet.tune again." in foreign.told, foreign.output
        assert threads(run, name) == 1 < threads(foreign, name) == 2
    finally:
        write(host, kept)


def threads(run: Run, name: str) -> int:
    """The threads of a host's model in the plan's table."""
    row = re.search(rf"\b{name} +(?:\S+ +)?gemma-3-270m +(\d+) ", run.output)
    assert row, run.output
    return int(row.group(1))


def write(host: Host, content: dict[str, Any]) -> None:
    host.check_output("printf %%s %s > %s", json.dumps(content), FACT)


def test_removing_it_takes_the_fact_away(tuned, playbook) -> None:
    kept = {name: fact(on(name)) for name in groups()["localai_server"]}
    run = playbook("remove", "--tags", "tuning")
    assert run.code == 0, run.output
    left = [name for name in kept if on(name).file(FACT).exists]
    for name, content in kept.items():
        write(on(name), content)
    assert not left
