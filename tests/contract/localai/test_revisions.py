"""What the collection's way to change a running server stands on: names that point to revisions, and the kinds of models that it serves.

Small models with random weights are made for it (tests/lab/tiny.py): real files of their kinds, whose answers mean nothing.
"""
from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.contract.localai.client import Client
from tests.contract.localai.server import ALIAS, CHAT, Server, model_yaml
from tests.lab import tiny

Make = Callable[..., Server]
OLD, NEW = f"{CHAT}.0a1b2c3d", f"{CHAT}.9f8e7d6c"


def point(server: Server, target: str, *names: str) -> None:
    for name in names or (CHAT, ALIAS):
        server.write(f"{name}.yaml", json.dumps({"name": name, "alias": target}))


@pytest.fixture
def one(server: Make) -> Server:
    """A server whose names point to one revision."""
    made = server()
    made.write(f"{OLD}.yaml", model_yaml(OLD, made.images.blob))
    point(made, OLD)
    return made.started()


def put(server: Server, file: Path) -> str:
    """The file as a blob of the server; its place below the models directory."""
    name = f"gguf/{hashlib.sha256(file.read_bytes()).hexdigest()}.gguf"
    (server.root / "models" / name).write_bytes(file.read_bytes())
    return name


def settings(name: str, weights: str, **more: Any) -> str:
    return json.dumps({"name": name, "backend": "llama-cpp", "context_size": 512, "threads": 1, "parameters": {"model": weights, "batch": 512}, **more})


def aliases(client: Client) -> dict[str, str]:
    return {item["name"]: item["target"] for item in client.get("/api/aliases").json}


# -- names and revisions -----------------------------------------------------------------------------------------------


def test_every_route_follows_a_name_in_one_hop(one: Server) -> None:
    for name in (CHAT, ALIAS):
        assert one.client.chat(name).json["model"] == name
        assert one.client.complete(name).json["model"] == name
        assert one.client.post("/v1/tokenize", {"model": name, "content": "The sky"}).json["tokens"]
        assert one.client.post("/v1/messages", {"model": name, "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]}).json["model"] == name
        assert one.client.post("/v1/responses", {"model": name, "max_output_tokens": 2, "input": "Hello"}).json["model"] == name
    assert one.client.loaded() == {OLD}


def test_a_revision_is_loaded_before_anything_names_it(one: Server) -> None:
    """Loading reads a file that came after the last reading, and changes nothing for the names."""
    assert one.client.chat(CHAT).status == 200
    one.write(f"{NEW}.yaml", model_yaml(NEW, one.images.blob))
    point(one, NEW)
    answer = one.client.post("/backend/load", {"model": NEW})
    assert (answer.status, answer.json["loaded"]) == (200, [NEW])
    assert one.client.loaded() == {OLD, NEW}
    assert (aliases(one.client), NEW in one.client.listed()) == ({CHAT: OLD, ALIAS: OLD}, True)
    assert one.client.chat(NEW).json["model"] == NEW


def test_a_name_has_nothing_of_its_own_to_load(one: Server) -> None:
    assert one.client.post("/backend/load", {"model": ALIAS}).status == 500
    assert one.client.loaded() == set()


def test_a_revision_that_does_not_load_says_why(one: Server) -> None:
    (one.root / "models" / "gguf" / "bad.gguf").write_bytes(b"no model")
    one.write(f"{NEW}.yaml", model_yaml(NEW, "gguf/bad.gguf"))
    answer = one.client.post("/backend/load", {"model": NEW})
    assert answer.status == 500
    assert "failed to load model" in answer.json["message"]
    assert one.client.chat(CHAT).status == 200


def test_a_running_answer_ends_on_the_old_revision_and_the_next_one_is_of_the_new(one: Server) -> None:
    assert one.client.chat(CHAT).status == 200
    one.write(f"{NEW}.yaml", model_yaml(NEW, one.images.blob))
    assert one.client.post("/backend/load", {"model": NEW}).status == 200
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 200, "ignore_eos": True, "stream": True}
    lines = one.client.lines("/v1/chat/completions", body)
    first = next(line for line in lines if "content" in line)
    point(one, NEW)
    assert one.client.post("/models/reload", None).status == 200
    assert aliases(one.client) == {CHAT: NEW, ALIAS: NEW}
    stopped: list[int] = []
    stopping = threading.Thread(target=lambda: stopped.append(one.client.post("/backend/shutdown", {"model": OLD}).status))
    stopping.start()
    assert one.client.chat(CHAT).status == 200
    rest = [line for line in lines if line]
    stopping.join()
    assert (bool(first), rest[-1], stopped) == (True, "data: [DONE]", [200])
    assert one.client.loaded() == {NEW}


def test_a_request_that_comes_while_a_model_stops_waits_and_is_answered(one: Server) -> None:
    assert one.client.chat(CHAT).status == 200
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100, "ignore_eos": True, "stream": True}
    lines = one.client.lines("/v1/chat/completions", body)
    next(line for line in lines if "content" in line)
    late: list[int] = []
    stopping = threading.Thread(target=one.client.post, args=("/backend/shutdown", {"model": OLD}))
    asking = threading.Thread(target=lambda: late.append(one.client.chat(CHAT).status))
    stopping.start()
    time.sleep(0.2)
    asking.start()
    assert [line for line in lines if line][-1] == "data: [DONE]"
    stopping.join()
    asking.join()
    assert late == [200]


def test_what_is_forgotten_is_gone_and_no_file_with_it(one: Server) -> None:
    """The models directory is read-only for the server and the settings are gone before: it has nothing to delete."""
    one.write(f"{NEW}.yaml", model_yaml(NEW, one.images.blob))
    point(one, NEW)
    one.client.post("/models/reload", None)
    (one.root / "models" / f"{OLD}.yaml").unlink()
    (one.root / "models" / f"{ALIAS}.yaml").unlink()
    for name in (OLD, ALIAS):
        assert one.client.post(f"/models/delete/{name}", {}).status == 200
    assert one.client.listed() == {CHAT, NEW}
    assert one.client.chat(ALIAS).status == 404
    assert one.client.chat(CHAT).status == 200
    assert (one.root / "models" / one.images.blob).exists()


# -- kinds of models ---------------------------------------------------------------------------------------------------


def test_embeddings_of_a_model_that_makes_them(server: Make, tmp_path: Path) -> None:
    one = server()
    one.write(f"{NEW}.yaml", settings(NEW, put(one, tiny.embedding(tmp_path / "e.gguf")), embeddings=True, known_usecases=["embeddings"]))
    point(one, NEW)
    one.started()
    first, same, other = (one.client.post("/v1/embeddings", {"model": CHAT, "input": text}).json for text in ("hello", "hello", "good bye"))
    vectors = [found["data"][0]["embedding"] for found in (first, same, other)]
    assert (first["model"], len(vectors[0])) == (CHAT, tiny.EMBEDDING)
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    assert vectors[0] != pytest.approx(vectors[2], abs=1e-3)


def test_a_file_that_names_no_pooling_needs_the_option(server: Make, tmp_path: Path) -> None:
    one = server()
    weights = put(one, tiny.embedding(tmp_path / "e.gguf", pooling=None))
    one.write(f"{OLD}.yaml", settings(OLD, weights, embeddings=True))
    one.write(f"{NEW}.yaml", settings(NEW, weights, embeddings=True, options=["pooling_type:mean"]))
    one.started()
    assert one.client.post("/v1/embeddings", {"model": OLD, "input": "hello"}).status == 400
    assert len(one.client.post("/v1/embeddings", {"model": NEW, "input": "hello"}).json["data"][0]["embedding"]) == tiny.EMBEDDING


def test_rerank_of_a_model_that_does_it(server: Make, tmp_path: Path) -> None:
    one = server()
    one.write(f"{NEW}.yaml", settings(NEW, put(one, tiny.reranker(tmp_path / "r.gguf")), reranking=True, known_usecases=["rerank"]))
    point(one, NEW)
    one.started()
    found = one.client.post("/v1/rerank", {"model": CHAT, "query": "hello", "documents": ["abc", "hello you", "x"], "top_n": 2}).json
    assert (found["model"], len(found["results"])) == (CHAT, 2)
    assert {result["document"]["text"] for result in found["results"]} <= {"abc", "hello you", "x"}
    assert all(isinstance(result["relevance_score"], float) for result in found["results"])


def test_a_model_in_several_files_is_found_by_links(server: Make, tmp_path: Path) -> None:
    one = server()
    blobs = [put(one, part) for part in tiny.split(tmp_path)]
    folder = one.root / "models" / "split" / "set"
    folder.mkdir(parents=True)
    for number, blob in enumerate(blobs, 1):
        os.symlink(f"../../{blob}", folder / f"model-{number:05d}-of-{len(blobs):05d}.gguf")
    one.write(f"{NEW}.yaml", settings(NEW, f"split/set/model-00001-of-{len(blobs):05d}.gguf", embeddings=True))
    point(one, NEW)
    one.started()
    assert one.client.listed() == {CHAT, ALIAS, NEW}
    answer = one.client.post("/v1/embeddings", {"model": CHAT, "input": "hello"})
    assert (answer.status, len(answer.json["data"][0]["embedding"])) == (200, tiny.EMBEDDING)


def picture(size: int = 8) -> str:
    """A PNG as a data: URL."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(20 * column % 256 for column in range(3 * size)) for _row in range(size))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(whole).decode()}"


def shown(name: str, url: str) -> dict[str, Any]:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": name, "max_tokens": 4, "messages": [{"role": "user", "content": content}]}


def test_a_model_with_a_projector_reads_an_image(server: Make, tmp_path: Path) -> None:
    one = server()
    more = {"mmproj": put(one, tiny.projector(tmp_path / "p.gguf")), "known_usecases": ["chat", "completion", "vision"]}
    one.write(f"{NEW}.yaml", model_yaml(NEW, one.images.blob, **more, options=["parallel:1", "cache_ram:16", "n_ctx_checkpoints:1", "image_max_tokens:256"]))
    point(one, NEW)
    one.started()
    answer = one.client.post("/v1/chat/completions", shown(CHAT, picture()))
    assert answer.status == 200, answer.body
    plain = one.client.chat(CHAT, "What is this?").json["usage"]["prompt_tokens"]
    assert answer.json["usage"]["prompt_tokens"] > plain, "the image is in the prompt"


def test_a_model_without_one_refuses_an_image_and_lives_on(server: Make) -> None:
    one = server().started()
    assert one.client.post("/v1/chat/completions", shown(CHAT, picture())).status == 500
    assert one.client.chat(CHAT).status == 200


def test_an_image_that_cannot_be_fetched_is_left_out_without_a_word(server: Make) -> None:
    """Why the edge refuses addresses of images: the model would answer without having seen one."""
    one = server().started()
    assert one.client.post("/v1/chat/completions", shown(CHAT, "http://127.0.0.1/x.png")).status == 200
