"""A host with an on-demand model beside the resident one: two instances with their own settings, and one again when it is no longer wanted."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from deployed import Run, asked, groups, on, plain, until, wanted_models, with_models
from testinfra.host import Host

NAME, RESIDENT = "late", "gemma-3-270m"
SETTINGS = "/opt/localai/config/localai"
IDLE_SECONDS = 15


@pytest.fixture(scope="module")
def host() -> Host:
    """The server that gets the on-demand model; no gateway, so that the edge asks it over the network."""
    return on(groups()["localai_server"][-1])


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What makes a run want the lab's model a second time, on demand, on one server."""
    known = wanted_models()
    late = {**known[0], "name": NAME, "aliases": [], "context": 1024, "slots": 1, "residency": "on_demand", "hosts": [groups()["localai_server"][-1]]}
    return with_models(tmp_path_factory.mktemp("residency"), [*known, late], localai_idle_timeout=IDLE_SECONDS)


@pytest.fixture(scope="module")
def lately(playbook: Callable[..., Run], arguments: list[str], host: Host) -> Iterator[None]:
    """The site with the on-demand model; the last test takes it away, and a run after that has nothing left to do."""
    run = playbook("site", *arguments)
    assert run.code == 0, run.output[-4000:]
    yield
    run = playbook("site")
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]


def containers(host: Host) -> set[str]:
    return set(host.check_output("docker ps --all --filter label=com.docker.compose.project=localai --format '{{.Names}}'").split())


def files(host: Host) -> set[str]:
    """Settings files; a revision's digest is shown as `*`."""
    return {plain(path.removeprefix(f"{SETTINGS}/")) for path in host.check_output("find %s -type f", SETTINGS).splitlines()}


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}


def loaded(host: Host, container: str) -> list[str]:
    return [plain(model["id"]) for model in asked(host, container, "/system")[1]["loaded_models"]]


def test_each_instance_has_its_own_models(lately: None, host: Host) -> None:
    assert containers(host) == {"localai", "localai-ondemand"}
    assert files(host) == {*(f"localai/{name}.yaml" for name in (RESIDENT, f"{RESIDENT}.*", "gpt-3.5-turbo", "gpt-4")),
                           f"localai-ondemand/{NAME}.yaml", f"localai-ondemand/{NAME}.*.yaml"}
    names = {name: {plain(model["id"]) for model in asked(host, name, "/v1/models")[1]["data"]} for name in containers(host)}
    assert names == {"localai": {RESIDENT, f"{RESIDENT}.*", "gpt-3.5-turbo", "gpt-4"}, "localai-ondemand": {NAME, f"{NAME}.*"}}
    assert asked(host, "localai", "/v1/chat/completions", chat(NAME))[0] == 404
    assert asked(host, "localai-ondemand", "/v1/chat/completions", chat(RESIDENT))[0] == 404


def test_other_servers_keep_one_instance(lately: None) -> None:
    assert {name: containers(on(name)) for name in groups()["localai_server"][:-1]} == {name: {"localai"} for name in groups()["localai_server"][:-1]}


def test_a_second_run_changes_nothing(lately: None, playbook: Callable[..., Run], arguments: list[str]) -> None:
    run = playbook("site", *arguments)
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]


def test_it_answers_through_the_edge_and_all_is_as_planned(lately: None, playbook: Callable[..., Run], arguments: list[str], tmp_path: Path) -> None:
    run = playbook("verify", *arguments, "-e", f"common_verdict_path={tmp_path}/verdict.json")
    assert run.code == 0, run.output[-4000:]
    checks = json.loads((tmp_path / "verdict.json").read_text())["verdict"]["checks"]
    assert {check["name"] for check in checks if check["target"] == NAME} == {"chat", "stream"}
    assert next(check["got"] for check in checks if (check["instance"], check["name"]) == ("localai-ondemand", "max_active")) == "1"


def test_an_idle_model_leaves_the_memory_and_comes_back(lately: None, host: Host) -> None:
    assert asked(host, "localai-ondemand", "/v1/chat/completions", chat(NAME))[0] == 200
    assert asked(host, "localai", "/v1/chat/completions", chat(RESIDENT))[0] == 200
    assert loaded(host, "localai-ondemand") == [f"{NAME}.*"]
    until(lambda: not loaded(host, "localai-ondemand"), IDLE_SECONDS + 60)
    assert loaded(host, "localai") == [f"{RESIDENT}.*"]
    assert asked(host, "localai-ondemand", "/v1/chat/completions", chat(NAME))[0] == 200


def test_without_it_the_host_has_one_instance_again(lately: None, playbook: Callable[..., Run], host: Host) -> None:
    run = playbook("site")
    assert run.code == 0, run.output[-4000:]
    assert containers(host) == {"localai"}
    assert {name.partition("/")[0] for name in files(host)} == {"localai"}
    assert host.check_output("ls %s", SETTINGS) == "localai"
