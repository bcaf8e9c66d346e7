"""Readiness, names, and what every answer carries."""
from __future__ import annotations

import pytest

from tests.contract.localai.client import Client, send


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/readyz/"])
def test_health_is_an_empty_200_without_a_key(anyone: Client, path: str) -> None:
    answer = anyone.get(path)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_models_are_listed_with_id_and_object_only(admin: Client, model: str, alias: str, path: str) -> None:
    answer = admin.get(path)
    assert answer.status == 200
    assert answer.json["object"] == "list"
    assert all(set(item) == {"id", "object"} and item["object"] == "model" for item in answer.json["data"])
    assert {model, alias} <= {item["id"] for item in answer.json["data"]}
    assert not [item for item in answer.json["data"] if item["id"].endswith("gguf")], "the folder of the blobs is no model"


def test_the_version_is_a_4_9(admin: Client) -> None:
    assert admin.get("/version").json["version"].startswith("v4.9.")


def test_aliases_name_their_targets(admin: Client, alias: str) -> None:
    found = {item["name"]: item["target"] for item in admin.get("/api/aliases").json}
    assert found[alias] in admin.listed()


def test_the_system_lists_loaded_models(admin: Client, model: str) -> None:
    assert admin.chat(model).status == 200
    found = admin.get("/system").json
    assert {"id": model, "backend": "llama-cpp"} in found["loaded_models"]
    assert "llama-cpp" in found["backends"]


def test_every_answer_carries_the_security_headers(admin: Client) -> None:
    headers = admin.get("/v1/models").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "content-security-policy" in headers


def test_an_error_is_json_that_ends_with_a_newline(admin: Client) -> None:
    answer = admin.get("/no/such/path")
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.endswith(b"}\n")


def test_a_connection_serves_several_requests(admin: Client) -> None:
    connection = admin.connect()
    try:
        for dummy in range(3):
            send(connection, "GET", "/v1/models", None, admin.all_headers(None, None))
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (200, True)
    finally:
        connection.close()
