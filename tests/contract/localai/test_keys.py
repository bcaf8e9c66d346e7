"""Who gets in: places of the key, paths without one, and what comes before the check."""
from __future__ import annotations

import base64
from typing import Callable

import pytest

from tests.contract.localai.client import Client

CLOSED = [
    "/metrics", "/v1/models", "/models", "/version", "/system", "/api/aliases", "/backend/monitor", "/models/available", "/backends", "/api/p2p",
    "/api/tags", "/api/version", "/no/such/path",
]
CLOSED_POST = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/models/apply", "/models/reload", "/backend/shutdown", "/backend/load"]
OPEN = ["/readyz", "/healthz", "/.well-known/localai.json", "/api/instructions", "/api/auth/status", "/api/branding"]
FORMS: dict[str, Callable[[str], dict[str, str]]] = {
    "bearer": lambda key: {"Authorization": f"Bearer {key}"},
    "bare": lambda key: {"Authorization": key},
    "x-api-key": lambda key: {"x-api-key": key},
    "xi-api-key": lambda key: {"xi-api-key": key},
    "cookie": lambda key: {"Cookie": f"token={key}"},
}
REFUSED: dict[str, Callable[[str], dict[str, str]]] = {
    "nothing": lambda key: {},
    "lower case": lambda key: {"Authorization": f"bearer {key}"},
    "basic": lambda key: {"Authorization": "Basic " + base64.b64encode(f"user:{key}".encode()).decode()},
    "another key": lambda key: {"Authorization": "Bearer not-the-key"},
    "longer": lambda key: {"Authorization": f"Bearer {key}x"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_taken(anyone: Client, target: tuple[str, str], form: str) -> None:
    assert anyone.get("/v1/models", FORMS[form](target[1])).status == 200


@pytest.mark.parametrize("form", REFUSED)
def test_without_a_right_key_it_is_401(anyone: Client, target: tuple[str, str], form: str) -> None:
    answer = anyone.get("/v1/models", REFUSED[form](target[1]))
    assert answer.status == 401
    assert answer.error == (401, "An authentication key is required", "invalid_request_error")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", CLOSED)
def test_a_path_needs_a_key(anyone: Client, path: str) -> None:
    assert anyone.get(path).status == 401


@pytest.mark.parametrize("path", CLOSED_POST)
def test_a_post_needs_a_key(anyone: Client, path: str) -> None:
    assert anyone.post(path, {"model": "x"}).status == 401


@pytest.mark.parametrize("path", OPEN)
def test_a_path_needs_no_key(anyone: Client, path: str) -> None:
    assert anyone.get(path).status == 200


@pytest.mark.parametrize("path", ["/static/x", "/login", "/explorer"])
def test_an_open_prefix_asks_for_no_key(anyone: Client, path: str) -> None:
    """404 without a page there; a build with another web page may have one."""
    assert anyone.get(path).status in (200, 301, 302, 307, 404)


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/v1/models"])
def test_head_is_401_without_a_key_and_405_with_one(anyone: Client, admin: Client, path: str) -> None:
    assert anyone.request("HEAD", path).status == 401
    assert admin.request("HEAD", path).status == 405


def test_head_of_the_root_is_405(anyone: Client) -> None:
    assert anyone.request("HEAD", "/").status == 405


def test_options_needs_a_key(anyone: Client) -> None:
    assert anyone.request("OPTIONS", "/v1/chat/completions").status == 401


def test_an_unknown_path_is_404_with_a_key(admin: Client) -> None:
    answer = admin.get("/no/such/path")
    assert answer.status == 404
    assert answer.error == (404, "Resource not found", "")


def test_a_wrong_method_is_405_and_says_which(admin: Client) -> None:
    answer = admin.post("/v1/models", {})
    assert answer.status == 405
    assert answer.error == (405, "code=405, message=Method Not Allowed", "")
    assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "GET"}


def test_a_body_above_the_limit_is_413_before_the_key_is_checked(anyone: Client) -> None:
    answer = anyone.post("/v1/chat/completions", b"x" * 17_000_000, {"Content-Type": "application/json"})
    assert answer.status == 413
    assert answer.error == (413, "code=413, message=Request Entity Too Large", "")


@pytest.mark.parametrize(
    ("path", "prefix", "without_key", "with_key"),
    [
        ("/readyz/v1/models", "/readyz", 401, 200),
        ("/v1/readyz", "/v1", 200, 200),
        ("/readyz/v1/models", "", 401, 404),
    ],
)
def test_a_forwarded_prefix_is_cut_before_routing(anyone: Client, admin: Client, path: str, prefix: str, without_key: int, with_key: int) -> None:
    """Why the edge must remove that header."""
    headers = {"X-Forwarded-Prefix": prefix}
    assert anyone.get(path, headers).status == without_key
    assert admin.get(path, headers).status == with_key


def test_dots_in_a_path_lead_nowhere(admin: Client) -> None:
    assert admin.get("/swagger/../v1/models").status == 404
