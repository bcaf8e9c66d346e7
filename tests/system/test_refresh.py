"""Newer files of the model in the Hub: proposed, reviewed, tried, judged, served, taken back; and bad ones that no name ever points to.

Clients ask for gpt-4 through the edge all the time, and none of their requests fails. `make refresh` runs all of it, `make test` what is not
marked as long.
"""
from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml
from clients import Clients
from deployed import INVENTORY, STATE, Edge, Run, asked, edge_of, groups, hub, kill, on, started, until, wanted_models, with_models
from testinfra.host import Host

from tests.lab.model import REPOSITORY
from tests.lab.variants import publish

MODEL, NAMES = "gemma-3-270m", ("gemma-3-270m", "gpt-4", "gpt-3.5-turbo")
LOCK = INVENTORY.with_name("fleet.lock.yml")
PROPOSAL, PREVIOUS = LOCK.with_name("fleet.lock.proposal.yml"), LOCK.with_name("fleet.lock.previous.yml")
JOURNAL = "/opt/localai/state/refresh.json"
# A base model of 270 million parameters knows little; what it knows it must not lose.
PROMPTS = [
    {"name": "capital", "prompt": "The capital of France is", "contains": ["Paris"], "max_tokens": 24},
    {"name": "story", "prompt": "Tell a story of a lighthouse.", "script": "latin", "max_tokens": 40},
    {"name": "numbers", "prompt": "Count: one, two, three, four,", "contains": ["five", "5"], "max_tokens": 24},
]


def arguments(**more: Any) -> tuple[str, str]:
    return "-e", json.dumps({"refresh_prompts": PROMPTS, "refresh_default_prompts": False, "refresh_lost_share": 0.34, "refresh_speed_share": 0.55, **more})


APPLY = arguments(refresh_apply=True)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Edge:
    return edge_of(groups()["localai_gateway"][0], tmp_path_factory.mktemp("edge"))


@pytest.fixture(scope="module")
def hosts() -> dict[str, Host]:
    """The servers, each with its model loaded, as one that is in use has it."""
    found = {name: on(name) for name in groups()["localai_server"]}
    question = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
    assert [asked(host, "localai", "/v1/chat/completions", question)[0] for host in found.values()] == [200] * len(found)
    return found


@pytest.fixture(scope="module", autouse=True)
def as_it_was(playbook: Callable[..., Run]) -> Iterator[None]:
    """The Hub has the model itself again at the end, and the servers run it."""
    lock = LOCK.read_bytes()
    yield
    publish(STATE / "hub", "")
    LOCK.write_bytes(lock)
    for path in (PROPOSAL, PREVIOUS):
        path.unlink(missing_ok=True)
    run = playbook("site")
    assert run.code == 0, run.output[-4000:]


def pointed(host: Host) -> dict[str, str]:
    """What LocalAI's names point to."""
    return {entry["name"]: entry["target"] for entry in asked(host, "localai", "/api/aliases")[1]}


def state(host: Host) -> dict[str, Any]:
    """All of a server that a refresh may touch."""
    return {
        "names": pointed(host), "listed": sorted(model["id"] for model in asked(host, "localai", "/v1/models")[1]["data"]),
        "loaded": [model["id"] for model in asked(host, "localai", "/system")[1]["loaded_models"]],
        "container": host.check_output("docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.HostConfig.Memory}}' localai"),
        "settings": host.check_output("ls /opt/localai/config/localai/localai"), "plan": host.check_output("cat /opt/localai/state/plan.json"),
        "journal": host.file(JOURNAL).exists,
    }


def states(hosts: dict[str, Host]) -> dict[str, dict[str, Any]]:
    return {name: state(host) for name, host in hosts.items()}


def locked() -> str:
    return yaml.safe_load(LOCK.read_text())["models"][MODEL]["files"][0]["sha256"]


def blobs(host: Host) -> set[str]:
    return {name.removesuffix(".gguf") for name in host.check_output("ls /opt/localai/models/gguf").split()}


def hub_has(newer: bool) -> None:
    """Let the Hub have what is locked, or another good file."""
    for variant in ("", "same", "plain"):
        if (sha256(publish(STATE / "hub", variant).read_bytes()).hexdigest() != locked()) == newer:
            return
    raise AssertionError("the lock has another file than these")


@pytest.fixture
def proposed(playbook: Callable[..., Run]) -> Run:
    """A run that proposes another good file."""
    hub_has(newer=True)
    run = playbook("refresh_models", *arguments())
    assert run.code == 0 and PROPOSAL.exists(), run.output[-4000:]
    return run


def test_nothing_newer_costs_one_call_a_model(playbook: Callable[..., Run], hosts: dict[str, Host]) -> None:
    hub_has(newer=False)
    hub("/__requests__", method="DELETE")
    run = playbook("refresh_models", *arguments())
    assert run.code == 0 and "nothing to refresh" in run.output, run.output[-3000:]
    asked_for = hub("/__requests__")
    assert [entry["path"].split("?")[0] for entry in asked_for] == [f"/api/models/{REPOSITORY}"], "one call a model, and it has one"
    assert not {entry["client"] for entry in asked_for} & {groups()["variables"][name]["ansible_host"] for name in hosts}, "none from a server"
    assert not PROPOSAL.exists()


def test_the_reviewed_proposal_is_applied_taken_back_and_applied_again(
    playbook: Callable[..., Run], hosts: dict[str, Host], edge: Edge, proposed: Run,
) -> None:
    before, lock, old = states(hosts), LOCK.read_bytes(), locked()
    assert f"model {MODEL}: " in proposed.output and "when it is reviewed, go on with -e refresh_apply=true" in proposed.told
    assert "lab1: gemma-3-270m beside the old one, first" in proposed.output
    again = playbook("refresh_models", *arguments())
    assert (again.code, again.changed) == (0, 0), again.output[-3000:]
    moved_lock_is_refused(playbook)
    assert LOCK.read_bytes() == lock and states(hosts) == before, "nothing is changed yet"
    hub("/__requests__", method="DELETE")
    with Clients(edge, NAMES) as clients:
        run = playbook("refresh_models", *APPLY)
        clients.some_more()
        assert run.code == 0, run.output[-4000:]
        assert [entry["path"] for entry in hub("/__requests__") if "/api/models" in entry["path"]] == [], "exactly the reviewed proposal"
        new = locked()
        assert new != old and PREVIOUS.read_bytes() == lock and not PROPOSAL.exists()
        now = states(hosts)
        site = playbook("site")
        assert (site.code, site.changed) == (0, 0), site.output[-4000:]
        back = playbook("rollback_models", *arguments())
        clients.some_more()
        assert back.code == 0, back.output[-4000:]
        assert locked() == old and states(hosts) == before
        forward = playbook("rollback_models", *arguments())
        clients.some_more()
    assert forward.code == 0, forward.output[-4000:]
    assert clients.failed == [] and clients.answers > 10
    assert locked() == new and states(hosts) == now
    for name, host in hosts.items():
        assert now[name]["container"] == before[name]["container"], "no container is made anew, the limit is back"
        assert set(now[name]["names"]) == set(NAMES) and len(set(now[name]["names"].values())) == 1
        assert not set(now[name]["names"].values()) & set(before[name]["names"].values())
        assert now[name]["loaded"] == [now[name]["names"][MODEL]] and not now[name]["journal"]
        assert {old, new} <= blobs(host)
    verdict = playbook("verify")
    assert verdict.code == 0, verdict.output[-4000:]


def moved_lock_is_refused(playbook: Callable[..., Run]) -> None:
    lock = LOCK.read_text()
    LOCK.write_text(lock + "# moved\n")
    try:
        run = playbook("refresh_models", *APPLY)
    finally:
        LOCK.write_text(lock)
    assert run.code != 0 and "The lock moved since the proposal was made" in run.told, run.output[-3000:]


@pytest.mark.parametrize("variant, more, reason", [
    ("gibberish", {}, "properties that the old model's answers hold are lost"),
    pytest.param("slow", {}, "too slow: ", marks=pytest.mark.long),
    pytest.param(None, {"refresh_memory_share": 0.2}, "too big: its process holds", marks=pytest.mark.long),
    pytest.param("big", {}, "The plan cannot place gemma-3-270m as asked", marks=pytest.mark.long),
], ids=["gibberish", "slow", "too big", "no place"])
def test_a_bad_model_never_gets_a_name(
    playbook: Callable[..., Run], hosts: dict[str, Host], edge: Edge, variant: "str | None", more: dict[str, Any], reason: str,
) -> None:
    before, lock = states(hosts), LOCK.read_bytes()
    if variant:
        publish(STATE / "hub", variant)
    else:
        hub_has(newer=True)
    seen: set[str] = set()
    with Clients(edge, NAMES, meanwhile=lambda: seen.update(*(pointed(host).values() for host in hosts.values()))) as clients:
        run = playbook("refresh_models", *arguments(refresh_apply=True, **more))
        clients.some_more()
    assert run.code != 0 and reason in run.told, run.output[-4000:]
    assert clients.failed == [] and clients.answers > 3
    assert states(hosts) == before
    assert seen == {target for part in before.values() for target in part["names"].values()}
    assert LOCK.read_bytes() == lock
    listed = json.loads(edge.ask("GET", "/v1/models")[1])["data"]
    assert {model["id"] for model in listed} == set(NAMES)
    site = playbook("site")
    assert (site.code, site.changed) == (0, 0), site.output[-4000:]


@pytest.mark.long
def test_a_larger_model_takes_the_old_ones_place_on_drained_hosts(playbook: Callable[..., Run], hosts: dict[str, Host], edge: Edge) -> None:
    """The gate is told to take a slower one. Containers are made anew for it and for the way back, one host at a time."""
    before, lock = states(hosts), LOCK.read_bytes()
    publish(STATE / "hub", "slow")
    with Clients(edge, NAMES) as clients:
        run = playbook("refresh_models", *arguments(refresh_apply=True, refresh_speed_share=0.01))
        clients.some_more()
        assert run.code == 0 and "drained at the edge for it" in run.told, run.output[-4000:]
        there = states(hosts)
        site = playbook("site")
        assert (site.code, site.changed) == (0, 0), site.output[-4000:]
        back = playbook("rollback_models", *arguments())
        clients.some_more()
    assert back.code == 0, back.output[-4000:]
    assert clients.failed == [] and LOCK.read_bytes() == lock
    for name, host in hosts.items():
        assert not set(there[name]["names"].values()) & set(before[name]["names"].values())
        assert there[name]["loaded"] == [there[name]["names"][MODEL]] and not there[name]["journal"]
        now, limits = state(host), [int(part["container"].split()[-1]) for part in (before[name], there[name])]
        assert limits[1] > limits[0]
        assert {**now, "container": ""} == {**before[name], "container": ""} and int(now["container"].split()[-1]) == limits[0]


@pytest.mark.long
def test_a_wrong_template_never_gets_a_name(
    playbook: Callable[..., Run], hosts: dict[str, Host], edge: Edge, tmp_path: Path,
) -> None:
    """The template is the file's own here, so that another file brings another one."""
    bare = with_models(tmp_path, [{key: value for key, value in model.items() if key not in ("template", "stopwords")} for model in wanted_models()])
    publish(STATE / "hub", "plain")
    for run in (playbook("refresh_models", *bare, *APPLY), playbook("site", *bare)):
        assert run.code == 0, run.output[-4000:]
    before, lock = states(hosts), LOCK.read_bytes()
    publish(STATE / "hub", "template")
    with Clients(edge, NAMES) as clients:
        run = playbook("refresh_models", *bare, *APPLY)
    assert run.code != 0 and "tokens of a chat template are in the answers" in run.told, run.output[-4000:]
    assert clients.failed == []
    assert states(hosts) == before
    assert LOCK.read_bytes() == lock
    site = playbook("site")
    assert site.code == 0, site.output[-4000:]


@pytest.mark.long
def test_a_killed_refresh_is_put_back_by_the_next_run(playbook: Callable[..., Run], hosts: dict[str, Host], edge: Edge) -> None:
    before, lock = states(hosts), LOCK.read_bytes()
    hub_has(newer=True)
    first = hosts[groups()["localai_server"][0]]
    with Clients(edge, NAMES) as clients:
        with started("refresh_models", *APPLY) as process:
            until(lambda: len(asked(first, "localai", "/system")[1]["loaded_models"]) > 1, 240)
            kill(process)
        assert state(first)["journal"] and state(first)["container"] != before[groups()["localai_server"][0]]["container"]
        run = playbook("refresh_models", *arguments())
        clients.some_more()
    assert run.code == 0 and "a refresh was interrupted" in run.told, run.output[-4000:]
    assert clients.failed == []
    assert states(hosts) == before
    assert LOCK.read_bytes() == lock


def test_only_what_nothing_needs_is_reclaimed(playbook: Callable[..., Run], hosts: dict[str, Host]) -> None:
    kept = {yaml.safe_load(path.read_text())["models"][MODEL]["files"][0]["sha256"] for path in (LOCK, PREVIOUS, PROPOSAL) if path.exists()}
    for host in hosts.values():
        host.check_output("echo unneeded > /opt/localai/models/gguf/%s.gguf", sha256(b"unneeded\n").hexdigest())
    before = {name: blobs(host) for name, host in hosts.items()}
    assert all(found - kept for found in before.values())
    report = playbook("refresh_models", "--tags", "reclaim", "-e", json.dumps({"refresh_keep_days": 0}))
    assert (report.code, report.changed) == (0, 0), report.output[-3000:]
    assert "nothing needs it" in report.output and "stays: the lock has it for gemma-3-270m" in report.output
    assert {name: blobs(host) for name, host in hosts.items()} == before
    run = playbook("refresh_models", "--tags", "reclaim", "-e", json.dumps({"refresh_keep_days": 0, "refresh_reclaim": True}))
    assert run.code == 0, run.output[-3000:]
    assert {name: blobs(host) for name, host in hosts.items()} == {name: found & kept for name, found in before.items()}
