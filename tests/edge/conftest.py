"""One edge for the tests that only ask it; tests that change or break something start their own."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Iterator

import docker
import pytest
from docker.models.images import Image
from docker.models.networks import Network

from tests.edge import harness
from tests.lab import registry


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    engine = docker.from_env()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def image(client: docker.DockerClient) -> Image:
    return client.images.get(registry.image("nginx", os.environ))


@pytest.fixture(scope="session")
def network(client: docker.DockerClient) -> Iterator[Network]:
    made = client.networks.create(f"edge-test-{os.getpid()}")
    yield made
    made.remove()


@pytest.fixture(scope="session")
def start(client, image, network, tmp_path_factory) -> Iterator[Callable[..., harness.Edge]]:
    """Start an edge: `start(upstreams, **variables)`; it is removed at the end of the session."""
    started: list[harness.Edge] = []

    def begin(upstreams: dict[str, list[str]], **changes: Any) -> harness.Edge:
        folder: Path = tmp_path_factory.mktemp("edge")
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)
        values = harness.variables(upstreams, **changes)
        edge = harness.start(client, image, network, folder, values, f"edge-test-{os.getpid()}-{len(started)}")
        edge.folder, edge.values = folder, values
        started.append(edge)
        return edge

    yield begin
    for edge in started:
        edge.container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def _upstream(network) -> Iterator[harness.Upstream]:
    server = harness.Upstream(harness.gateway(network))
    yield server
    server.close()


@pytest.fixture
def upstream(_upstream: harness.Upstream) -> harness.Upstream:
    """The shared upstream, with nothing seen yet and its plain answer."""
    _upstream.seen.clear()
    _upstream.answer = harness._answer
    return _upstream


@pytest.fixture(scope="session")
def shared(start, _upstream) -> harness.Edge:
    return start({"": [_upstream.address]})


@pytest.fixture
def edge(shared: harness.Edge, upstream: harness.Upstream) -> harness.Edge:
    """The shared edge in front of the shared upstream."""
    return shared
