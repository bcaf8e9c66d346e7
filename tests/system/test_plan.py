"""plan.yml against the deployed site: it prints, writes its page, answers questions, and changes no host."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest
from deployed import INVENTORY, Run, groups, hub, on

LOCK = INVENTORY.with_name("fleet.lock.yml")
SERVERS = groups().get("localai_server", []) if INVENTORY.exists() else []
MODEL = "gemma-3-270m"


def deployed() -> list[str]:
    """What each server says of its deployment: every file of its state, and its containers with their start."""
    command = "sha256sum /opt/localai/state/*; docker ps --no-trunc --format '{{.ID}} {{.Names}}'"
    return [on(name).check_output(command) for name in SERVERS]


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """No question changes a host, the lock, or what lies beside it."""
    before = deployed(), LOCK.read_bytes(), sorted(path.name for path in LOCK.parent.iterdir())
    yield
    assert (deployed(), LOCK.read_bytes(), sorted(path.name for path in LOCK.parent.iterdir())) == before


@pytest.fixture
def plan(playbook, tmp_path: Path) -> Any:
    """`plan(variables, **environment) -> Run`, with the files in the test's own folder."""

    def run(variables: Any = None, *more: str, **environment: str) -> Run:
        given = {"common_plan_path": str(tmp_path / "fleet.plan"), **(variables or {})}
        done = playbook("plan", "-e", json.dumps(given), *more, **environment)
        assert done.changed == 0, done.output[-4000:]
        return done

    return run


def lasting(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without the one warning that tells what other programs ask for at the moment."""
    return {**plan, "warnings": [item for item in plan["warnings"] if not item["message"].startswith("Other programs ask for")]}


def test_the_plan_is_printed_and_written_and_is_what_is_deployed(plan, tmp_path: Path) -> None:
    run = plan()
    assert run.code == 0, run.output[-4000:]
    assert "deployed: the same as this plan" in run.told and f"page: {tmp_path}/fleet.plan.html" in run.told
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(written) == {"fleet.plan.json", "fleet.plan.html"}
    first = json.loads(written["fleet.plan.json"])
    hosts = first["hosts"]
    assert sorted(hosts) == sorted(SERVERS)
    for name in SERVERS:
        state = json.loads(on(name).check_output("cat /opt/localai/state/plan.json"))
        assert hosts[name]["instances"] == state["instances"]
        assert name.encode() in written["fleet.plan.html"]
    assert plan().code == 0
    again = json.loads((tmp_path / "fleet.plan.json").read_text(encoding="utf-8"))
    assert lasting(again) == lasting(first)
    if again["warnings"] == first["warnings"]:
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_check_mode_writes_no_file(plan, tmp_path: Path) -> None:
    assert plan(None, "--check").code == 0 and not list(tmp_path.iterdir())


def test_what_if_there_were_more_hosts_and_another_context(plan, tmp_path: Path) -> None:
    run = plan({"context": 8192, "model": MODEL, "add_hosts": f"2x{SERVERS[0]}", "remove_hosts": SERVERS[1:]})
    assert run.code == 0, run.output[-4000:]
    for part in (f"What if: {MODEL} with context 8192; 2 more servers like {SERVERS[0]} (new1, new2); without", "no host and no lock was changed",
                 "context 4096 → 8192", f"deployed: {MODEL} starts on new1, new2"):
        assert part in run.told, run.output[-4000:]
    hosts = json.loads((tmp_path / "fleet.plan.what-if.json").read_text(encoding="utf-8"))["hosts"]
    assert sorted(hosts) == sorted([SERVERS[0], "new1", "new2"]) and not (tmp_path / "fleet.plan.json").exists()


def test_what_if_a_host_of_a_file_came(plan, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    known.write_text(json.dumps({"big1": {**capacity(plan, tmp_path), "memory_total_bytes": 64 << 30}}), encoding="utf-8")
    run = plan({"add_hosts": str(known)})
    assert run.code == 0 and f"servers of {known} (big1)" in run.told, run.output[-4000:]


def capacity(plan, folder: Path) -> dict[str, Any]:
    """A server's capacity as a fact cache keeps it."""
    assert plan(ANSIBLE_CACHE_PLUGIN="jsonfile", ANSIBLE_CACHE_PLUGIN_CONNECTION=str(folder / "facts")).code == 0
    cached = next(path for path in (folder / "facts").iterdir() if path.name.endswith(SERVERS[0]))
    found = json.loads(cached.read_text(encoding="utf-8"))
    return json.loads(found["__payload__"])["localai_capacity"] if "__payload__" in found else found["localai_capacity"]


def test_what_does_not_fit_is_an_answer_to_a_what_if(plan) -> None:
    run = plan({"context": 1_048_576, "slots": 64})
    assert run.code == 0 and "refused:" in run.told and "It would fit with" in run.told, run.output[-4000:]


def test_another_model_is_resolved_without_writing_the_lock(plan) -> None:
    wanted = groups()["variables"][SERVERS[0]]["models_wanted"][0]
    run = plan({"model": "second", "source": wanted["source"], "quant": wanted["quant"], "replicas": 1})
    assert run.code == 0 and "What if: second too, with source" in run.told and "second starts on" in run.told, run.output[-4000:]


def test_a_model_is_explained(plan) -> None:
    run = plan({"explain": "gpt-4"})
    text = run.told
    assert run.code == 0, run.output[-4000:]
    for part in ("kv_window = ", "anonymous = ", "cells * ", "memory_limit = ", "memory_planned + ", "usable cores = ", "budget = ", "LOCALAI_THREADS = ",
                 "CPU limit of the container = ", "expected tokens a second"):
        assert part in text, part


def test_an_unknown_model_to_explain_names_the_nearest(plan) -> None:
    run = plan({"explain": "gema-3-270m"})
    assert run.code != 0 and f"The nearest wanted one is {MODEL}." in run.told


def test_offline_hosts_are_planned_from_the_fact_cache(plan, tmp_path: Path) -> None:
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts")}
    assert plan(**cache).code == 0
    hub("/__requests__", method="DELETE")
    for variables in ({"offline": True, "ansible_port": 1}, {"ansible_port": 1}):
        run = plan(variables, **cache)
        assert run.code == 0, run.output[-4000:]
        assert f"known from the fact cache: {', '.join(SERVERS)}, read" in run.told and "deployed: the same as this plan" in run.told
    assert hub("/__requests__") == []


def test_an_offline_host_that_is_not_known_is_a_sentence(plan) -> None:
    for variables in ({"offline": True}, {"ansible_port": 1}):
        run = plan(variables)
        assert run.code != 0 and f"needs the capacity of every server (localai_server): got nothing from {', '.join(SERVERS)}" in run.told


def test_a_deployment_takes_no_questions_and_nothing_from_a_cache(playbook, plan, tmp_path: Path) -> None:
    run = playbook("site", "-e", "context=8192")
    assert run.code != 0 and run.changed == 0 and "only the playbook plan answers questions" in run.told
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts")}
    assert plan(**cache).code == 0
    run = playbook("site", "--limit", SERVERS[0], **cache)
    assert run.code != 0 and run.changed == 0 and f"got nothing from {', '.join(SERVERS[1:])}" in run.told
