"""Which server the contract is checked against.

    pytest tests/contract/localai --base-url URL --admin-key KEY [--model NAME] [--alias NAME]
    pytest tests/contract/localai [--image IMAGE --backend-image IMAGE --model-file PATH]

With a URL, the plain HTTP checks run against that server. Without one they run in hardened containers of the given images, of those that
LAB_LOCALAI_IMAGE and LAB_LOCALAI_BACKEND_IMAGE name, of the real LocalAI where the engine has it, or of the lab's stand-in; then the checks of
the container itself run too.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Iterator

import docker
import pytest

from tests.contract.localai.client import Client
from tests.contract.localai.server import ALIAS, CHAT, KEY, Images, Server, extract

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the contract."""
    group = parser.getgroup("localai", "the LocalAI contract")
    group.addoption("--base-url", default="", help="a running server, such as http://127.0.0.1:8080")
    group.addoption("--admin-key", default="", help="one of its API keys")
    group.addoption("--model", default="", help="a chat model of that server (default: the first one that answers a chat)")
    group.addoption("--alias", default="", help="an alias of that model (default: found by /api/aliases)")
    group.addoption("--image", default="", help="server image of the engine on this machine")
    group.addoption("--backend-image", default="", help="llama.cpp backend image of the engine on this machine")
    group.addoption("--model-file", default="", help="a small GGUF file (default: the lab's model)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs an engine, or a URL instead."""
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The images under test; the checks that use it are skipped with a URL, or without an engine."""
    if pytestconfig.getoption("--base-url"):
        pytest.skip("needs containers of its own: run without --base-url")
    from tests.lab import engine

    client = engine.connect()
    if client is None:
        pytest.skip("no Docker engine answers: give --base-url URL --admin-key KEY, or start the lab with `python -m tests.lab up`")
    server, backend = _image_names(pytestconfig, client)
    extracted = extract(client, backend, Path(tmp_path_factory.mktemp("backend")))
    return Images(server, backend, _weights(pytestconfig), client, extracted)


def _image_names(config: pytest.Config, client: docker.DockerClient) -> tuple[str, str]:
    from tests.lab import registry

    sources = registry.sources(client, os.environ, print)
    server = config.getoption("--image") or sources.get("LAB_LOCALAI_IMAGE", "")
    backend = config.getoption("--backend-image") or sources.get("LAB_LOCALAI_BACKEND_IMAGE", "")
    if server and backend:
        return server, backend
    from tests.lab.images import Builder
    from tests.lab.instance import STATE
    from tests.lab.localai.recipes import BACKEND, SERVER
    from tests.lab.progress import Progress

    made = Builder(client, STATE, Progress(quiet=True)).ensure([SERVER, BACKEND])
    return server or made[SERVER.name], backend or made[BACKEND.name]


def _weights(config: pytest.Config) -> Path:
    if config.getoption("--model-file"):
        return Path(config.getoption("--model-file"))
    from tests.lab.model import ensure_model

    return ensure_model()


@pytest.fixture
def server(images: Images) -> Iterator[Callable[..., Server]]:
    """Makes servers (not started) and removes them at the end of the test."""
    made: list[Server] = []

    def make(**settings: object) -> Server:
        made.append(Server(images, **settings).__enter__())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """(base URL, key) of the server that the plain checks share."""
    if pytestconfig.getoption("--base-url"):
        yield pytestconfig.getoption("--base-url").rstrip("/"), pytestconfig.getoption("--admin-key")
        return
    with Server(request.getfixturevalue("images")) as own:
        own.started()
        yield own.base_url, KEY


@pytest.fixture(scope="session")
def admin(target: tuple[str, str]) -> Client:
    """A client with the key."""
    client = Client(*target)
    client.wait()
    return client


@pytest.fixture(scope="session")
def anyone(target: tuple[str, str]) -> Client:
    """A client without a key; skipped on a server that asks for none."""
    if not target[1]:
        pytest.skip("the server was named without --admin-key")
    return Client(target[0])


@pytest.fixture(scope="session")
def alias(pytestconfig: pytest.Config, admin: Client) -> str:
    """An alias; skipped on a server without one."""
    if pytestconfig.getoption("--alias"):
        return str(pytestconfig.getoption("--alias"))
    if not pytestconfig.getoption("--base-url"):
        return ALIAS
    found = [item["name"] for item in admin.get("/api/aliases").json if item["target"] in admin.listed()]
    return found[0] if found else pytest.skip("the server has no alias: name one with --alias")


@pytest.fixture(scope="session")
def model(pytestconfig: pytest.Config, admin: Client) -> str:
    """A chat model that is no alias."""
    if pytestconfig.getoption("--model"):
        return str(pytestconfig.getoption("--model"))
    if not pytestconfig.getoption("--base-url"):
        return CHAT
    names = admin.listed() - {item["name"] for item in admin.get("/api/aliases").json}
    for name in sorted(names):
        if admin.chat(name, max_tokens=1).status == 200:
            return name
    return str(pytest.skip("no model of the server answers a chat: name one with --model"))
