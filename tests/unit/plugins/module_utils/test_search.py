"""The search: what the list judges, what the files judge, what is asked of the Hub."""
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import hub_repository
import hub_shop
import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._hub import HubUnavailable
from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
from ansible_collections.localai.fleet.plugins.module_utils._listing import Listing
from ansible_collections.localai.fleet.plugins.module_utils._search import Policy, groups, parse_count, parse_size, refusal, search

from tests.lab import hub as lab

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)


@pytest.fixture
def server(tmp_path):
    with lab.running(tmp_path) as running:
        yield running


def found(server, cache="", **policy):
    hub = Hub(HubOptions(server.url, patience=0, cache=str(cache)))
    return search(hub, Policy.from_dict(policy), now=NOW)


def reasons(result):
    return {item.file or item.repository: item.reason for item in result.refused}


def test_a_candidate_says_what_it_is(server, tmp_path):
    hub_shop.add(tmp_path, "bartowski/Tiny-1B-Instruct-GGUF", **hub_shop.based_on("acme/Tiny-1B-Instruct", language=["de"]))
    hub_repository.add_gguf(tmp_path, "mmproj-F16.gguf", "bartowski/Tiny-1B-Instruct-GGUF", general__type="mmproj")
    (tmp_path / "bartowski/Tiny-1B-Instruct-GGUF/imatrix.dat").write_bytes(b"x")
    result = found(server)
    one = result.candidates[0]
    assert (one.name, one.source, one.quant, one.base_model) == (
        "tiny-1b-instruct", "hf://bartowski/Tiny-1B-Instruct-GGUF", "Q4_K_M", "acme/Tiny-1B-Instruct")
    assert (one.license, one.gated, one.languages, one.created) == ("apache-2.0", "", ("de", "en"), "2026-10-01")
    assert one.categories == ("chat", "tools", "vision") and one.projector.path == "mmproj-F16.gguf" and one.header.tensors
    assert reasons(result) == {"mmproj-F16.gguf": "It is a projector, no model.", "imatrix.dat": "It is an importance matrix, no model."}
    assert one.as_dict()["size"] == one.size == one.header.file_size and "header" not in one.as_dict() and len(one.commit) == 40


def test_fifty_repositories_cost_a_page_and_a_call_for_each_that_is_read(server, tmp_path):
    for number in range(50):
        hub_shop.add(tmp_path, f"owner{number}/Model-{number}B-GGUF", trendingScore=number)
    result = found(server, count=7)
    calls = server.log.calls()
    assert len(result.candidates) == 7 and len(result.refused) == 43
    assert (calls["list"], calls["repository"], calls["api"]) == (1, 7, 0) and dict(result.calls) == {"list": 1, "repository": 7, "header": 7}
    assert [one.repository for one in result.candidates] == [f"owner{number}/Model-{number}B-GGUF" for number in range(49, 42, -1)]
    assert "7 that rank above it were enough" in reasons(result)["owner3/Model-3B-GGUF"]


def test_headers_are_read_once(server, tmp_path):
    hub = tmp_path / "hub"
    hub_shop.add(tmp_path, "acme/Tiny-GGUF")
    first = found(server, cache=hub)
    server.log.clear()
    again = found(server, cache=hub)
    assert again.candidates == tuple(replace(one, header=again.candidates[0].header) for one in first.candidates)
    assert again.candidates[0].header == first.candidates[0].header
    assert server.log.calls() == {"list": 1, "repository": 1, "api": 0, "range": 0, "cdn": 0} and again.calls["header"] == 0


def test_re_uploads_are_one_and_the_best_publisher_stays(server, tmp_path):
    base = hub_shop.based_on("acme/Tiny-1B")
    for owner, likes in (("robot", 9000), ("mradermacher", 5), ("bartowski", 3)):
        hub_shop.add(tmp_path, f"{owner}/Tiny-1B-GGUF", likes=likes, **base)
    hub_shop.add(tmp_path, "acme/Other-GGUF", trendingScore=1)
    result = found(server)
    assert [one.repository for one in result.candidates] == ["bartowski/Tiny-1B-GGUF", "acme/Other-GGUF"]
    assert reasons(result)["robot/Tiny-1B-GGUF"] == "It is a re-upload of acme/Tiny-1B, of which bartowski/Tiny-1B-GGUF is taken."
    assert server.log.calls()["repository"] == 2
    assert [one.repository for one in found(server, publishers=["robot"]).candidates] == ["robot/Tiny-1B-GGUF"]


def test_where_the_best_publisher_fails_the_next_one_steps_up(server, tmp_path):
    base = hub_shop.based_on("acme/Tiny-1B")
    hub_shop.add(tmp_path, "bartowski/Tiny-1B-GGUF", body={"general__type": "adapter"}, **base)
    hub_shop.add(tmp_path, "robot/Tiny-1B-GGUF", **base)
    result = found(server)
    assert [one.repository for one in result.candidates] == ["robot/Tiny-1B-GGUF"]
    assert "adapter of the architecture llama" in reasons(result)["bartowski/Tiny-1B-GGUF"]
