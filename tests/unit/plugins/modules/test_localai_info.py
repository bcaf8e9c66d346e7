"""Running instances, by a docker command that answers as told."""
from __future__ import annotations

import json

import pytest

ID = "ab12" * 16
CONTAINER = {
    "Id": ID, "Name": "/localai", "Image": "sha256:2", "State": {"Running": True, "Pid": 42},
    "Config": {"Image": "local-ai:v4.9.0", "Env": ["LOCALAI_API_KEY=hunter2", "LOCALAI_THREADS=2"]},
    "HostConfig": {"Memory": 1000, "NanoCpus": 2000000000},
}
IMAGE = {"Id": "sha256:2", "RepoDigests": ["quay.io/go-skynet/local-ai@sha256:" + "3" * 64]}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """docker(container, image, words): put a docker command in the path that prints these."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()

    def put(container="[]", image="[]", words=""):
        for name, text in (("container", container), ("image", image), ("words", words)):
            (tmp_path / name).write_text(text)
        script = tmp_path / "bin" / "docker"
        script.write_text(f"#!/bin/sh\ncat {tmp_path}/$1; cat {tmp_path}/words >&2; [ ! -s {tmp_path}/words ]\n")
        script.chmod(0o755)
        return {"root": str(tmp_path), "names": ["localai"]}

    return put


def test_quartet(run_module, docker):
    args = docker(json.dumps([CONTAINER]), json.dumps([IMAGE]))
    results = [run_module("localai_info", args, check=check) for check in (True, False, True, False)]
    assert all(result == results[0] and result["changed"] is False for result in results)
    assert (results[0]["missing"], results[0]["reason"]) == ([], "")
    [instance] = results[0]["instances"]
    assert (instance["name"], instance["cpus"], instance["memory_limit"], instance["threads_env"]) == ("localai", 2.0, 1000, 2)
    assert instance["image_digest"] == "sha256:" + "3" * 64
    assert "hunter2" not in json.dumps(results)


def test_without_docker(run_module, tmp_path, monkeypatch):
    monkeypatch.setattr("ansible.module_utils.basic.get_bin_path", _absent)
    result = run_module("localai_info", {})
    assert (result["instances"], result["missing"]) == ([], ["localai"]) and "not installed" in result["reason"]


def _absent(*args, **kwargs):
    raise ValueError("no such command")


@pytest.mark.parametrize(
    "words, reason",
    [
        ("Error: No such container: localai", ""),
        ("Error response from daemon: No such container: localai", ""),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Docker does not answer: Cannot connect"),
    ],
)
def test_nothing_found(run_module, docker, words, reason):
    result = run_module("localai_info", docker(words=words))
    assert (result["instances"], result["missing"]) == ([], ["localai"])
    assert result["reason"].startswith(reason) and bool(result["reason"]) == bool(reason)


def test_no_names(run_module, docker):
    assert run_module("localai_info", {**docker(), "names": []})["instances"] == []


def test_an_answer_that_is_no_json(run_module, docker):
    assert run_module("localai_info", docker(container="oops"))["instances"] == []
