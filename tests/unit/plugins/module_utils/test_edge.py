"""The tables of the edge: what is open to whom, and what is refused before anything is written."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _edge
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def route(name: str, model: str = "", kind: str = "chat", upstreams: tuple[str, ...] = ("10.0.0.1:8080",)) -> dict:
    return {"name": name, "model": model or name, "kind": kind, "upstreams": list(upstreams)}


ROUTES = [route("m"), route("gpt-4", "m"), route("e", kind="embedding", upstreams=("localai:8080",))]


def test_tables() -> None:
    tables = _edge.tables(ROUTES, [{"name": "a", "models": [], "sha256": "1"}, {"name": "b", "models": ["m"], "sha256": "2"},
                                   {"name": "c", "models": ["gpt-4"], "sha256": "3"}])
    assert {name: entry["kind"] for name, entry in tables["models"].items()} == {"e": "embedding", "gpt-4": "chat", "m": "chat"}
    assert not any(model["images"] for model in tables["models"].values())
    assert tables["models"]["m"]["upstream"] == tables["models"]["gpt-4"]["upstream"] != tables["models"]["e"]["upstream"]
    assert {"1": None, "2": ["gpt-4", "m"], "3": ["gpt-4"]} == {key: entry["models"] for key, entry in tables["consumers"].items()}
    assert sorted((server["address"], server["resolve"]) for group in tables["upstreams"] for server in group["servers"]) == [
        ("10.0.0.1:8080", False), ("localai:8080", True)]


def test_a_group_keeps_its_name_while_its_members_stay() -> None:
    one = _edge.tables([route("m", upstreams=("b:1", "a:1", "b:1"))], [])["upstreams"]
    assert one == _edge.tables([route("other", upstreams=("a:1", "b:1"))], [])["upstreams"]
    assert [server["address"] for server in one[0]["servers"]] == ["a:1", "b:1"]


def test_no_route_is_open_to_a_kind_that_was_not_seen_to_answer_it() -> None:
    assert "chat" not in _edge.ROUTES["/v1/embeddings"] + _edge.ROUTES["/v1/rerank"]
    assert {kind for kinds in _edge.ROUTES.values() for kind in kinds} == set(_edge.KINDS)


def test_a_consumer_without_a_key_yet_is_checked_and_left_out() -> None:
    assert _edge.tables(ROUTES, [{"name": "a"}])["consumers"] == {}


@pytest.mark.parametrize(("routes", "consumers", "words"), [
    ([route("x/y")], [], ("served name", "'x/y'")),
    ([route("m"), route("m")], [], ("two routes", "m")),
    ([route("m", kind="image")], [], ("kind", "'image'", "rerank")),
    ([route("m", upstreams=())], [], ("no instance", "m")),
    ([route("m", upstreams=("host",))], [], ("HOST:PORT", "'host'")),
    ([route("m", upstreams=("host:99999",))], [], ("HOST:PORT",)),
    ([route("m", upstreams=("host:80;drop",))], [], ("HOST:PORT",)),
    ([route("m", upstreams=("a b:80",))], [], ("HOST:PORT",)),
    (ROUTES, [{"name": "A b"}], ("consumer's name", "'A b'")),
    (ROUTES, [{"name": "a"}, {"name": "a"}], ("named twice", "a")),
    (ROUTES, [{"name": "a", "models": ["x", "m"]}], ("not served", "x", "Served are e, gpt-4, m")),
    (ROUTES, [{"name": "a", "sha256": "1"}, {"name": "b", "sha256": "1"}], ("same key", "a and b")),
])
def test_bad_input_is_a_sentence(routes, consumers, words) -> None:
    with pytest.raises(FleetError) as error:
        _edge.tables(routes, consumers)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("address", ["10.0.0.1:1", "[fd00::1]:8080", "localai-0:8080", "ai1.example.com:65535"])
def test_addresses_that_work(address) -> None:
    assert _edge.tables([route("m", upstreams=(address,))], [])["upstreams"][0]["servers"][0]["address"] == address


def test_names() -> None:
    names = _edge.certificate_names("AI.example.com", ["10.0.0.1", "ai.example.com", "fd00::1"])
    assert [name["san"] for name in names] == ["DNS:ai.example.com", "IP:10.0.0.1", "IP:fd00::1"]


@pytest.mark.parametrize("name", ["", "a b", "*.example.com", "-a.example", "a..b", "1.2.3", "x;y", "a" * 64 + ".b"])
def test_what_is_no_name(name) -> None:
    with pytest.raises(FleetError, match="proxy_domain"):
        _edge.certificate_names(name, [])


@pytest.mark.parametrize(("alternatives", "covered"), [
    (["DNS:ai.example.com", "IP:10.0.0.1"], True), (["DNS:*.example.com", "IP Address:10.0.0.1"], True), (["DNS:ai.example.com"], False),
    (["DNS:*.com", "IP:10.0.0.1"], False), ([], False), (["DNS:*.0.0.1", "DNS:ai.example.com"], False),
])
def test_what_a_certificate_covers(alternatives, covered) -> None:
    assert _edge.covers(alternatives, _edge.certificate_names("ai.example.com", ["10.0.0.1"])) is covered
