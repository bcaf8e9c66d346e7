"""Several gateways, and a server without a model: the same site by another inventory, and the way back."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from deployed import Run, edge_of, groups, on

ANSWER = {"model": "gpt-4", "max_tokens": 4, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def wider(tmp_path: Path) -> tuple[str, ...]:
    """Arguments: every server is a gateway, and the model stays on the first."""
    servers = groups()["localai_server"]
    overlay = tmp_path / "gateways.yml"
    overlay.write_text(yaml.safe_dump({"localai": {"children": {"localai_gateway": {"hosts": dict.fromkeys(servers)}}}}), encoding="utf-8")
    wanted = [{**model, "hosts": servers[:1]} for model in groups()["variables"][servers[0]]["models_wanted"]]
    return "-i", str(overlay), "-e", json.dumps({"models_wanted": wanted})


def ask(name: str, scratch: Path) -> Any:
    answer, body = edge_of(name, scratch).ask("POST", "/v1/chat/completions", ANSWER)
    return answer.status, json.loads(body)


def test_a_second_gateway_on_a_server_without_a_model(playbook: Callable[..., Run], wider: tuple[str, ...], tmp_path: Path) -> None:
    first, *others = groups()["localai_server"]
    try:
        run = playbook("site", *wider)
        assert run.code == 0, run.output[-4000:]
        again = playbook("site", *wider)
        assert (again.code, again.changed) == (0, 0), again.output[-4000:]
        verdict = playbook("verify", *wider)
        assert verdict.code == 0, verdict.output[-4000:]
        for name in (first, *others):
            status, told = ask(name, tmp_path)
            assert (status, told.get("model")) == (200, "gpt-4"), (name, told)
        for name in others:
            assert on(name).check_output("docker ps -a --format '{{.Names}}'").split() == ["proxy"]
            assert not on(name).run("ls /opt/localai/secrets/authority/ca.key /opt/localai/secrets/consumers/default.key").stdout
    finally:
        for name in others:
            gone = playbook("remove", *wider, "--tags", "proxy", "--limit", name)
            assert gone.code == 0, gone.output[-4000:]
        back = playbook("site")
    assert back.code == 0, back.output[-4000:]
    for name in others:
        assert on(name).check_output("docker ps --format '{{.Names}}'").split() == ["localai"]
    assert ask(first, tmp_path)[0] == 200
