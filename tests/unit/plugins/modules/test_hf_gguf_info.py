"""hf_gguf_info against the lab's hub."""
from __future__ import annotations

import hub_repository
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _hub_client

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
