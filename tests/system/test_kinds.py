"""Models of every kind on one server, asked through the edge: embeddings, rerank, a model in several files, and one that reads images."""
from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from deployed import STATE, Edge, Run, edge_of, groups, on, plain, wanted_models, with_models
from testinfra.host import Host

from tests.contract.localai.test_revisions import picture, shown
from tests.lab import model as lab_model
from tests.lab import tiny

HUB = STATE / "hub"
SETTINGS = "/opt/localai/config/localai/localai"
SEES = "seer"


@pytest.fixture(scope="module")
def host() -> Host:
    """The server that gets them all."""
    return on(groups()["localai_server"][-1])


@pytest.fixture(scope="module")
def repositories() -> Iterator[None]:
    """Small models on the instance's Hub, with weights from a fixed sequence; the lab's model again, with a projector beside it."""
    owner = HUB / "tiny"
    for name, makes in (("embedding", tiny.embedding), ("reranker", tiny.reranker)):
        (owner / name).mkdir(parents=True, exist_ok=True)
        makes(owner / name / f"{name}-F32.gguf")
    (owner / "parts").mkdir(exist_ok=True)
    tiny.split(owner / "parts")
    (owner / "seer").mkdir(exist_ok=True)
    tiny.projector(owner / "seer" / "mmproj-seer-F32.gguf")
    known = HUB / lab_model.REPOSITORY / lab_model.FILE
    if not (owner / "seer" / "seer-Q4_K_M.gguf").exists():
        os.link(known, owner / "seer" / "seer-Q4_K_M.gguf")
    for folder in owner.iterdir():
        (folder / "repo.json").write_text(json.dumps({"license": "mit"}))
    yield
    shutil.rmtree(owner)


@pytest.fixture(scope="module")
def served(repositories: None, playbook: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The site with one model of each kind on one server; afterwards it is as it was."""
    folder, last = tmp_path_factory.mktemp("kinds"), groups()["localai_server"][-1]
    small = {"context": 512, "slots": 1, "hosts": [last]}
    chat = {name: text for name, text in wanted_models()[0].items() if name in ("template", "stopwords")}
    arguments = with_models(folder, [
        *wanted_models(),
        {"name": "embedder", "source": "hf://tiny/embedding", "file": "embedding-F32.gguf", "quant": "F32", **small},
        {"name": "ranker", "source": "hf://tiny/reranker", "file": "reranker-F32.gguf", "quant": "F32", **small},
        {"name": "parts", "source": "hf://tiny/parts", "file": "tiny-00001-of-00002.gguf", "quant": "F32", **small},
        {"name": SEES, "source": "hf://tiny/seer", "vision": True, **chat, **small, "context": 1024},
    ])
    run = playbook("site", *arguments)
    assert run.code == 0, run.output[-4000:]
    yield arguments
    run = playbook("site")
    assert run.code == 0, run.output[-4000:]
    assert not on(last).file(f"{SETTINGS}/split").exists


@pytest.fixture(scope="module")
def edge(served: list[str], tmp_path_factory: pytest.TempPathFactory) -> Edge:
    return edge_of(groups()["localai_gateway"][0], tmp_path_factory.mktemp("edge"))


def answer(edge: Edge, path: str, body: Any) -> tuple[int, Any]:
    found, text = edge.ask("POST", path, body)
    return found.status, json.loads(text)


@pytest.mark.parametrize("name", ["embedder", "parts"])
def test_embeddings(edge: Edge, name: str) -> None:
    status, found = answer(edge, "/v1/embeddings", {"model": name, "input": "hello"})
    assert (status, found["model"], len(found["data"][0]["embedding"])) == (200, name, tiny.EMBEDDING)


def test_rerank(edge: Edge) -> None:
    status, found = answer(edge, "/v1/rerank", {"model": "ranker", "query": "hello", "documents": ["abc", "hello you"]})
    assert (status, {result["index"] for result in found["results"]}) == (200, {0, 1})


def test_an_image_as_data_is_read(edge: Edge) -> None:
    status, found = answer(edge, "/v1/chat/completions", shown(SEES, picture()))
    assert status == 200, found
    plain_text = answer(edge, "/v1/chat/completions", {"model": SEES, "max_tokens": 4, "messages": [{"role": "user", "content": "What is this?"}]})[1]
    assert found["usage"]["prompt_tokens"] > plain_text["usage"]["prompt_tokens"]


def test_what_would_not_be_seen_is_refused(edge: Edge) -> None:
    assert answer(edge, "/v1/chat/completions", shown(SEES, "https://example.com/x.png"))[0] == 400
    assert answer(edge, "/v1/chat/completions", shown(wanted_models()[0]["name"], picture()))[0] == 400


def test_parts_are_found_by_links(served: list[str], host: Host) -> None:
    names = host.check_output(f"ls {SETTINGS}/split/*").split()
    assert names == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]


def test_all_is_as_planned_and_a_second_run_changes_nothing(served: list[str], playbook: Callable[..., Run], host: Host, tmp_path: Path) -> None:
    run = playbook("verify", *served, "-e", f"common_verdict_path={tmp_path}/verdict.json")
    assert run.code == 0, run.output[-4000:]
    run = playbook("site", *served)
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]
    revisions = re.findall(r"^.+\.[0-9a-f]{8}\.yaml$", host.check_output("ls %s", SETTINGS), re.MULTILINE)
    assert {plain(name) for name in revisions} == {
        f"{name}.*.yaml" for name in (wanted_models()[0]["name"], "embedder", "parts", "ranker", SEES)}
