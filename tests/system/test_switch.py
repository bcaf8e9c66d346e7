"""A change of a model's settings while clients ask: the new revision is loaded beside the old one, and no request fails."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from clients import Clients
from deployed import Run, asked, edge_of, groups, on, wanted_models, with_models
from testinfra.host import Host

MODEL, SETTINGS = "gemma-3-270m", "/opt/localai/config/localai/localai"
NAMES = (MODEL, "gpt-4", "gpt-3.5-turbo")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What makes a run want the same model with other words, so that no limit and no container changes."""
    return with_models(tmp_path_factory.mktemp("switch"), [{**model, "stopwords": ["\nuser:", "\nassistant:", "\nsystem:"]} for model in wanted_models()])


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    yield {name: on(name) for name in groups()["localai_server"]}


def started(host: Host) -> str:
    return host.check_output("docker inspect --format '{{.Id}} {{.State.StartedAt}}' localai")


def revision(host: Host) -> str:
    """What the model's name points to, as LocalAI knows it."""
    aliases = {entry["name"]: entry["target"] for entry in asked(host, "localai", "/api/aliases")[1]}
    assert {aliases[name] for name in NAMES} == {aliases[MODEL]}
    return aliases[MODEL]


def test_no_request_fails_and_nothing_restarts(playbook: Callable[..., Run], changed: list[str], hosts: dict[str, Host], tmp_path: Path) -> None:
    edge = edge_of(groups()["localai_gateway"][0], tmp_path)
    before = {name: started(host) for name, host in hosts.items()}
    served = []
    for arguments in (changed, []):  # there and back
        with Clients(edge, NAMES) as clients:
            run = playbook("site", *arguments, "--tags", "localai")
        assert run.code == 0, run.output[-4000:]
        assert clients.failed == []
        assert clients.answers > 10
        served.append({name: nothing_but_one_revision(host) for name, host in hosts.items()})
    assert all(served[0][name] != served[1][name] for name in hosts)
    assert {name: started(host) for name, host in hosts.items()} == before


def nothing_but_one_revision(host: Host) -> str:
    """The revision that the names point to: LocalAI lists and has loaded no other, and the folder holds no other."""
    found = revision(host)
    assert sorted(model["id"] for model in asked(host, "localai", "/v1/models")[1]["data"]) == sorted((*NAMES, found))
    assert [model["id"] for model in asked(host, "localai", "/system")[1]["loaded_models"]] == [found]
    assert set(host.check_output("ls %s", SETTINGS).split()) == {"gguf", *(f"{name}.yaml" for name in (*NAMES, found))}
    return found


def test_a_second_run_changes_nothing(playbook: Callable[..., Run]) -> None:
    run = playbook("site")
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]


def test_a_revision_comes_and_goes_beside_what_is_served(hosts: dict[str, Host]) -> None:
    host = hosts[groups()["localai_server"][-1]]
    served, container = revision(host), started(host)
    beside = f"{MODEL}.00000000"
    content = host.check_output("cat %s/%s.yaml", SETTINGS, served).replace(served, beside) + "\n"
    arguments = {"name": beside, "content": f"{{% raw %}}{content}{{% endraw %}}", "path": SETTINGS, "records": "/opt/localai/state/instances.json",
                 "api_key": host.check_output("docker exec localai printenv LOCALAI_API_KEY")}
    asked(host, "localai", "/v1/chat/completions", {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]})
    done = [module(host, "localai_model", arguments, check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in done] == [True, True, False, False], done
    assert done[1]["engine"]["rss_anonymous_bytes"] > 10 << 20
    models = {model["revision"]: model for model in module(host, "localai_info", {"names": ["localai"]})["instances"][0]["models"]}
    assert {name: (model["names"], model["loaded"]) for name, model in models.items()} == {served: (sorted(NAMES), True), beside: ([], True)}
    assert done[1]["engine"]["pid"] in {process["pid"] for process in module(host, "localai_info", {"names": ["localai"]})["instances"][0]["processes"]}
    body = {"model": beside, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    assert asked(host, "localai", "/v1/chat/completions", body)[1]["model"] == beside
    gone = [module(host, "localai_model", {**arguments, "state": "absent"}, check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in gone] == [True, True, False, False], gone
    assert (nothing_but_one_revision(host), started(host)) == (served, container)


def module(host: Host, name: str, arguments: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """The result of one of the collection's modules on the host."""
    return dict(host.ansible(f"localai.fleet.{name}", json.dumps(arguments), check=check))


def test_settings_that_do_not_load_move_nothing(playbook: Callable[..., Run], changed: list[str], hosts: dict[str, Host], tmp_path: Path) -> None:
    edge = edge_of(groups()["localai_gateway"][0], tmp_path)
    before = {name: (started(host), revision(host), host.check_output("ls %s", SETTINGS)) for name, host in hosts.items()}
    blob = "/opt/localai/models/gguf/*.gguf"
    for host in hosts.values():
        host.check_output(f"chmod 0600 {blob}")  # an engine that runs has it open, a new one cannot read it
    try:
        with Clients(edge, NAMES) as clients:
            run = playbook("site", *changed, "--tags", "localai")
    finally:
        for host in hosts.values():
            host.check_output(f"chmod 0644 {blob}")
    assert run.code != 0
    assert "The names point to the old settings as before" in run.output, run.output[-4000:]
    assert clients.failed == []
    assert {name: (started(host), revision(host), host.check_output("ls %s", SETTINGS)) for name, host in hosts.items()} == before
    run = playbook("site")
    assert run.code == 0, run.output[-4000:]
