"""hf_gguf_info against the lab's hub."""
from __future__ import annotations

import time

import hub_repository
import hub_shop
import pytest
from fleets import host
from ansible_collections.localai.fleet.plugins.module_utils import _hub_client, _tuning

from tests.lab import hub as lab

NAME = hub_repository.NAME


@pytest.fixture
def server(tmp_path):
    with lab.running(hub_repository.make(tmp_path)) as running:
        yield running


def test_quartet(run_module, server):
    args = {"repository": NAME, "endpoint": server.url}
    first = run_module("hf_gguf_info", args, check=True)
    assert first == run_module("hf_gguf_info", args)
    assert first == run_module("hf_gguf_info", args, check=True) == run_module("hf_gguf_info", args)
    assert not first["changed"]


def test_what_is_returned(run_module, server, tmp_path):
    found = run_module("hf_gguf_info", {"repository": NAME, "endpoint": server.url})
    file = found["files"][0]
    assert file["path"] == "tiny-Q4_K_M.gguf" and file["size"] == found["size"] == (tmp_path / NAME / file["path"]).stat().st_size
    assert file["url"] == f"{server.url}/{NAME}/resolve/{found['commit']}/tiny-Q4_K_M.gguf" and len(file["sha256"]) == 64
    assert (found["license"], found["gated"], found["private"], found["base_models"]) == ("mit", "", False, ["acme/Tiny"])
    assert found["quants"] == ["Q4_K_M", "Q8_0"] and found["header"]["architecture"] == "llama" and found["header"]["tensors"]
    assert 0 < found["bytes_read"] < 2 * found["size"]


def test_environment_names_the_endpoint_and_the_token(run_module, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    monkeypatch.setenv("HF_TOKEN", "hf_secretword")
    server.switches.set({"redirect_host": True})
    result = run_module("hf_gguf_info", {"repository": NAME, "quant": "q8_0"})
    assert result["files"][0]["path"] == "tiny-Q8_0.gguf" and "secretword" not in str(result)
    assert all(entry["authorization"] for entry in server.log.as_list() if "/__cdn__/" not in entry["path"])
    assert not any(entry["authorization"] for entry in server.log.as_list() if "/__cdn__/" in entry["path"])


@pytest.mark.parametrize("change, words", [
    ({"quant": "Q6_K"}, ("no Q6_K", "Q4_K_M, Q8_0")),
    ({"file": "x.gguf"}, ("no such file", "tiny-Q4_K_M.gguf")),
    ({"repository": "acme/None"}, ("does not exist",)),
    ({"revision": "v9"}, ("no such revision",)),
    ({"ca_path": "/nonexistent/ca.pem"}, ("CA file", "/nonexistent/ca.pem")),
])
def test_failures_are_sentences(run_module, server, change, words):
    result = run_module("hf_gguf_info", {"repository": NAME, "endpoint": server.url, "token": "hf_secretword", **change})
    assert result["failed"] and result["failure"]["what"]
    for word in words:
        assert word in result["msg"]
    assert "secretword" not in str(result)


def test_without_the_client(run_module, monkeypatch):
    def missing():
        raise _hub_client.ClientMissing("huggingface_hub") from ImportError("no module")

    monkeypatch.setattr(_hub_client, "_load", missing)
    result = run_module("hf_gguf_info", {"repository": NAME})
    assert result["failed"] and "huggingface_hub" in result["msg"] and "Python" in result["msg"]


# search and presets


def test_quartet_of_a_search(run_module, tmp_path, server):
    hub_shop.add(tmp_path, "bartowski/Other-2B-Instruct-GGUF")
    args = {"search": {"category": "chat"}, "endpoint": server.url, "cache_path": str(tmp_path / ".cache"),
            "capacities": {"ai1": host(memory=8 << 30).as_dict()}}
    first = run_module("hf_gguf_info", args, check=True)
    assert not first["changed"] and first["calls"] == {"list": 1, "repository": 1, "header": 1}
    for check in (False, True, False):
        again = run_module("hf_gguf_info", args, check=check)
        assert {**again, "calls": first["calls"]} == first and again["calls"]["header"] == 0
    assert [item["name"] for item in first["candidates"]] == ["other-2b-instruct"] and first["candidates"][0]["plan"]["hosts"]["ai1"]["threads"] == 7
    assert {item["repository"]: item["reason"] for item in first["refused"]}[NAME].startswith("It is for vision, not for chat")
    assert "other-2b-instruct" in first["text"][1]


def test_fifty_candidates_cost_a_list_page_and_a_call_for_each_that_is_read(run_module, tmp_path, server):
    for number in range(50):
        hub_shop.add(tmp_path, f"owner{number}/Model-{number}B-GGUF", trendingScore=number + 10)
    server.log.clear()
    result = run_module("hf_gguf_info", {"search": {"count": 10}, "endpoint": server.url, "cache_path": str(tmp_path / ".cache")})
    calls = server.log.calls()
    assert len(result["candidates"]) == 10 and (calls["list"], calls["repository"], calls["api"]) == (1, 10, 0)
    server.log.clear()
    run_module("hf_gguf_info", {"search": {"count": 10}, "endpoint": server.url, "cache_path": str(tmp_path / ".cache")})
    assert server.log.calls() == {"list": 1, "repository": 10, "api": 0, "range": 0, "cdn": 0} and len(server.log.as_list()) == 11


def test_reserved_cores_of_a_command_line_are_numbers(run_module, tmp_path, server):
    hub_shop.add(tmp_path, "bartowski/Llama-3.2-1B-Instruct-GGUF")
    args = {"presets": ["llama-3.2-1b-instruct"], "endpoint": server.url, "capacities": {"ai1": host(memory=8 << 30).as_dict()}}
    assert run_module("hf_gguf_info", {**args, "reserved_cores": {"ai1": "3"}})["candidates"][0]["plan"]["hosts"]["ai1"]["threads"] == 5


def test_presets_beside_what_is_locked(run_module, tmp_path, server):
    hub_shop.add(tmp_path, "bartowski/Llama-3.2-1B-Instruct-GGUF")
    wanted = [{"name": "tiny", "source": f"hf://{NAME}", "aliases": ["gpt-4"]}]
    lock = run_module("fleet_lock", {"path": str(tmp_path / "fleet.lock.yml"), "wanted": wanted, "hub_endpoint": server.url})["lock"]
    args = {"presets": ["llama-3.2-1b-instruct"], "endpoint": server.url, "beside": wanted, "lock": lock, "options": {"slots": 2}}
    alone = run_module("hf_gguf_info", {**args, "beside": [], "capacities": {"ai1": host(memory=8 << 30).as_dict()}})["candidates"][0]["plan"]["hosts"]["ai1"]
    both = run_module("hf_gguf_info", {**args, "capacities": {"ai1": host(memory=8 << 30).as_dict()}})["candidates"][0]["plan"]["hosts"]["ai1"]
    assert (alone["threads"], alone["slots"]) == (7, 2) and both["threads"] < 7 and both["memory_limit"] > alone["memory_limit"]


@pytest.mark.parametrize("args, words", [
    ({}, "repository, search, presets"), ({"repository": NAME, "search": {}}, "mutually exclusive"),
    ({"search": {"sort": "best"}}, "value of sort must be one of"),
    ({"search": {"max_size": "big"}}, "size is not one"), ({"presets": ["phi-3"]}, "no such preset"),
    ({"presets": ["phi-2"], "capacities": {"ai1": {}}}, "another version (capacities.ai1.schema)"),
    ({"presets": ["phi-2"], "capacities": {"ai1": {**host().as_dict(), "cores": 3}}}, "wrong form (capacities.ai1.cores): got 3"),
    ({"presets": ["phi-2"], "capacities": {"ai1": host().as_dict()}, "reserved_cores": {"ai1": "two"}}, "whole number is wanted (reserved_cores.ai1): got two"),
])
def test_what_cannot_be_meant(run_module, server, args, words):
    result = run_module("hf_gguf_info", {"endpoint": server.url, "token": "hf_secretword", **args})
    assert result["failed"] and words in result["msg"] and "secretword" not in str(result)


def test_the_token_is_in_no_file_and_no_result(run_module, tmp_path, server):
    result = run_module("hf_gguf_info", {"search": {}, "endpoint": server.url, "token": "hf_secretword", "cache_path": str(tmp_path / ".cache")})
    assert "secretword" not in str(result) and list((tmp_path / ".cache").rglob("*.json"))
    assert not any("secretword" in path.read_text() for path in (tmp_path / ".cache").rglob("*.json"))


def test_a_measurement_of_a_host_tells_the_speed(run_module, tmp_path, server):
    digest = hub_shop.add(tmp_path, "bartowski/Llama-3.2-1B-Instruct-GGUF") and hub_repository.add_gguf(
        tmp_path, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", "bartowski/Llama-3.2-1B-Instruct-GGUF")
    images = {key: {"name": "x/y", "version": "v1", "platform": "multi", "digest": f"sha256:{sign * 64}"} for key,
              sign in (("localai", "1"), ("llama_cpp", "2"))}
    tuned = host(memory=8 << 30)
    engine = _tuning.engine_digest(*(f"@{images[key]['digest']}" for key in ("localai", "llama_cpp")))
    fact = _tuning.fact(3, {3: 31.5, 4: 30.0}, {"name": "m", "sha256": digest}, tuned, engine, "ai1", time.time())
    args = {"presets": ["llama-3.2-1b-instruct"], "endpoint": server.url, "lock": {"schema": 1, "images": images, "models": {}}}
    plan = run_module("hf_gguf_info", {**args, "capacities": {"ai1": {**tuned.as_dict(), "tuning": fact}}})["candidates"][0]["plan"]["hosts"]["ai1"]
    assert (plan["threads"], plan["expected_tokens_per_second"]) == (3, 31.5)
