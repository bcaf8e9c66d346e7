"""What the playbook hands from plan and lock to the roles."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._handover import addresses, listen_address, model_files, routes, served

SHA_A, SHA_B = "a" * 64, "b" * 64


def model(name: str, aliases: tuple[str, ...] = (), kind: str = "chat") -> dict:
    return {"name": name, "aliases": list(aliases), "kind": kind}


def plan(**hosts: list[dict]) -> dict:
    return {"hosts": {name: {"instances": [{"name": "localai", "models": models}] if models else []} for name, models in hosts.items()}}


LOCK = {"models": {
    "small": {"repository": "o/r", "commit": "c" * 40, "files": [{"path": "dir/a b.gguf", "size": 3, "sha256": SHA_A, "url": None}]},
    "twin": {"repository": "o/r", "commit": "c" * 40, "files": [{"path": "dir/a b.gguf", "size": 3, "sha256": SHA_A, "url": None}]},
    "direct": {"repository": None, "commit": None, "files": [{"path": "x.gguf", "size": 5, "sha256": SHA_B, "url": "https://files.example.com/x.gguf"}]},
}}


def test_a_file_of_the_hub_is_addressed_by_commit() -> None:
    assert model_files(plan(a=[model("small")]), LOCK, "a", "https://hub.example.com/") == [{
        "name": "small", "sha256": SHA_A, "size": 3,
        "url": f"https://hub.example.com/o/r/resolve/{'c' * 40}/dir/a%20b.gguf",
    }]


def test_a_file_shared_by_two_models_is_held_once() -> None:
    files = model_files(plan(a=[model("small"), model("twin"), model("direct")]), LOCK, "a", "https://hub.example.com")
    assert [(f["name"], f["url"]) for f in files][1:] == [("direct", "https://files.example.com/x.gguf")]


def test_shards_come_in_order_and_the_projector_last() -> None:
    parts = [{"path": f"m-0000{part}-of-00002.gguf", "size": part, "sha256": f"{part}" * 64, "url": None} for part in (1, 2)]
    projector = {"path": "mmproj-F16.gguf", "size": 9, "sha256": SHA_B, "url": None}
    lock = {"models": {"small": {**LOCK["models"]["small"], "files": parts, "projector": projector}}}
    files = model_files(plan(a=[model("small")]), lock, "a", "https://hub.example.com")
    assert [(f["sha256"], f["size"], f["url"].rpartition("/")[2]) for f in files] == [
        ("1" * 64, 1, "m-00001-of-00002.gguf"), ("2" * 64, 2, "m-00002-of-00002.gguf"), (SHA_B, 9, "mmproj-F16.gguf")]


@pytest.mark.parametrize("host", ["idle", "unknown"])
def test_a_host_without_models_holds_nothing(host: str) -> None:
    assert model_files(plan(a=[model("small")], idle=[]), LOCK, host, "https://hub.example.com") == []


def test_a_plan_of_another_lock_is_refused() -> None:
    with pytest.raises(FleetError, match="The plan names a model that the lock lacks .host a.: got other"):
        model_files(plan(a=[model("other")]), LOCK, "a", "https://hub.example.com")


@pytest.mark.parametrize("gateways, address", [(["a"], ""), (["a", "b"], "192.0.2.1"), (["b"], "192.0.2.1"), ([], "")])
def test_a_server_publishes_for_other_gateways_only(gateways: list[str], address: str) -> None:
    assert listen_address("a", gateways, {"a": "192.0.2.1", "b": "192.0.2.2"}) == address


@pytest.mark.parametrize("known, address", [
    ({"ansible_host": "192.0.2.1"}, "192.0.2.1"),
    ({"ansible_host": "ai1.example.com", "ansible_facts": {"default_ipv4": {"address": "192.0.2.9"}}}, "192.0.2.9"),
    ({"ansible_host": "127.0.0.1", "ansible_facts": {"default_ipv4": {"address": "192.0.2.9"}}}, "192.0.2.9"),
    ({"ansible_host": "ai1.example.com", "ansible_facts": {"default_ipv4": {}}}, ""),
    ({}, ""),
])
def test_the_address_of_a_server(known: dict, address: str) -> None:
    assert addresses({"a": known}, ["a"]) == {"a": address}


def test_a_host_named_by_its_address_needs_nothing_else() -> None:
    assert addresses({"192.0.2.7": {}}, ["192.0.2.7"]) == {"192.0.2.7": "192.0.2.7"}


def test_further_instances_take_the_next_ports() -> None:
    two = {"hosts": {"b": {"instances": [{"name": f"localai-{n}", "models": [model("small")]} for n in (0, 1)]}}}
    assert routes(two, "a", {"b": "192.0.2.2"}, 8080)[0]["upstreams"] == ["192.0.2.2:8080", "192.0.2.2:8081"]
    assert routes(two, "b", {}, 8080)[0]["upstreams"] == ["localai-0:8080", "localai-1:8080"]


def test_an_alias_is_a_route_of_its_own() -> None:
    both = [model("small", ("gpt-4",))]
    assert routes(plan(a=both, b=both), "a", {"b": "192.0.2.2"}, 8080) == [
        {"name": "gpt-4", "model": "small", "kind": "chat", "images": False, "upstreams": ["localai:8080", "192.0.2.2:8080"]},
        {"name": "small", "model": "small", "kind": "chat", "images": False, "upstreams": ["localai:8080", "192.0.2.2:8080"]},
    ]


def test_a_model_with_a_projector_reads_images() -> None:
    both = [model("small"), {**model("seer"), "projector": "p" * 64}]
    assert {route["name"]: route["images"] for route in routes(plan(a=both), "a", {}, 8080)} == {"small": False, "seer": True}


def test_a_name_is_asked_once_for_each_instance_that_holds_it() -> None:
    node = [model("small", ("gpt-4",))]
    instances = [{"name": "localai-node0", "models": node}, {"name": "localai-node1", "models": node},
                 {"name": "localai-ondemand", "models": [model("e", kind="embedding")]}]
    assert served({"hosts": {"a": {"instances": instances}, "b": {"instances": [{"name": "localai", "models": [model("small")]}]}}}) == [
        {"name": "e", "kind": "embedding", "aliases": [], "times": 1},
        {"name": "small", "kind": "chat", "aliases": ["gpt-4"], "times": 3},
    ]


def test_an_ipv6_address_gets_brackets() -> None:
    assert routes(plan(b=[model("small")]), "a", {"b": "2001:db8::2"}, 9000)[0]["upstreams"] == ["[2001:db8::2]:9000"]


@pytest.mark.parametrize("addresses, got", [({}, "none"), ({"b": "server.example.com"}, "server.example.com")])
def test_a_server_without_an_address_is_named(addresses: dict, got: str) -> None:
    with pytest.raises(FleetError, match=f"host b.: got {got}. Set ansible_host"):
        routes(plan(b=[model("small")]), "a", addresses, 8080)
