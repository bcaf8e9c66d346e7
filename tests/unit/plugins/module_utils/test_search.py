"""The search: what the list judges, what the files judge, what is asked of the Hub."""
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import hub_repository
import hub_shop
import pytest
from fleets import host
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
    assert "kind adapter" in reasons(result)["bartowski/Tiny-1B-GGUF"]


def listed(**facts):
    return Listing(**{"repository": "acme/Tiny-1B-Instruct-GGUF", "license": "mit", "paths": ("t-Q4_K_M.gguf",),
                      "created": datetime(2026, 10, 1, tzinfo=timezone.utc),
                      "tags": ("conversational",), "languages": ("en",), "architecture": "llama", "parameters": 10 ** 9, "parsed_bytes": 8 * 10 ** 8, **facts})


@pytest.mark.parametrize("facts, policy, words", [
    ({}, {}, ""),
    ({"private": True}, {}, "It is private"), ({"private": True}, {"publishers": ["acme"]}, ""), ({"disabled": True}, {}, "disabled"),
    ({"gated": "manual"}, {}, "asked for (manual)"), ({"gated": "auto"}, {"gated": True}, ""),
    ({"repository": "unsl0th/X-GGUF"}, {}, "unsl0th looks like unsloth"), ({"repository": "unsl0th/X-GGUF"}, {"publishers": ["unsl0th"]}, ""),
    ({}, {"publishers": ["Qwen"]}, "none of the allowed publishers"), ({}, {"publishers": ["ACME"]}, ""),
    ({}, {"licenses": ["MIT"]}, ""), ({}, {"licenses": ["apache-2.0"]}, "mit is none of the allowed"), ({}, {"licenses_denied": ["mit"]}, "mit is denied"),
    ({"license": None}, {}, ""), ({"license": None}, {"license_unknown": "refuse"}, "no known license"),
    ({"license": "other"}, {"license_unknown": "refuse"}, "no known license"), ({"license": None}, {"licenses": ["mit"]}, ""),
    ({}, {"max_age_days": 31}, ""), ({}, {"max_age_days": 30}, "31 days old, and at most 30"), ({}, {"min_age_days": 32}, "at least 32"),
    ({"created": None}, {"max_age_days": 30}, "does not say when"), ({"created": None}, {}, ""),
    ({"pipeline": "text-to-speech"}, {}, "made for text-to-speech"), ({"architecture": "whisper"}, {}, "cannot run its architecture whisper"),
    ({"architecture": "clip"}, {}, "cannot run its architecture clip"), ({"architecture": "dream"}, {}, "cannot run"), ({"architecture": None}, {}, ""),
    ({"repository": "a/Mistral-DRAFT-0.5B-GGUF"}, {}, "a draft"), ({"repository": "a/Qwen3-4B-DFlash-GGUF"}, {}, "a draft"),
    ({"repository": "a/gemma-4-GGUF"}, {}, "claims gemma, its file is of the architecture llama"), ({"repository": "a/Phi-4-GGUF"}, {}, ""),
    ({"repository": "a/R1-Distill-Qwen-14B-GGUF", "architecture": "qwen2"}, {}, ""),
    ({}, {"category": "chat"}, ""), ({}, {"category": "code"}, "for chat, not for code"),
    ({"tags": (), "repository": "a/b-GGUF"}, {"category": "chat"}, "no known purpose"),
    ({}, {"language": "EN"}, ""), ({}, {"language": "de"}, "states en, not de"), ({"languages": ()}, {"language": "de"}, "no language"),
    ({"paths": ()}, {}, ""), ({"paths": ("README.md",)}, {}, "no GGUF file"), ({"paths": ("mmproj-F16.gguf",)}, {}, "only projectors"),
    ({"paths": ("mtp-x-Q4_K_M.gguf", "x.imatrix.gguf")}, {}, "only drafts and importance matrices"),
    ({"paths": ("t-Q8_0.gguf",)}, {}, "no Q4_K_M: it has Q8_0"), ({"paths": ("t.gguf",)}, {}, "no quant in its names (t.gguf)"),
    ({"paths": ("t-UD-Q4_K_M.gguf",)}, {}, ""), ({"paths": ("t.i1-Q4_K_M.gguf",)}, {}, ""), ({}, {"quant": "UD-Q4_K_M"}, "it has Q4_K_M"),
    ({"parameters": 10 ** 159}, {}, "absurd"), ({"parameters": 10 ** 13}, {}, "claims 1e+04B parameters in 763 MiB, which is absurd"),
    ({"parameters": 0}, {}, "absurd"),
    ({}, {"max_parameters": "1B"}, ""), ({}, {"max_parameters": "999M"}, "1B parameters, and at most 999M"), ({}, {"min_parameters": "2B"}, "at least 2B"),
    ({"parameters": None}, {"max_parameters": "500M"}, "1B parameters"), ({"parameters": None, "repository": "a/b-GGUF"}, {"max_parameters": "500M"}, ""),
    ({"parameters": 70 * 10 ** 9, "parsed_bytes": None}, {"max_size": "4 GiB"}, "far larger than 4.0 GiB"), ({}, {"max_size": "600 MB"}, ""),
])
def test_what_the_list_judges(facts, policy, words):
    reason = refusal(listed(**facts), Policy.from_dict(policy), NOW)
    assert (words in reason and reason.endswith(".")) if words else reason == ""


@pytest.mark.parametrize("policy, body, words", [
    ({"max_size": "100K"}, {}, "Its Q4_K_M has 1 MiB, and at most 1 MiB are asked for"),
    ({"min_size": "1G"}, {}, "at least 1.0 GiB"),
    ({}, {"general__type": "adapter"}, "kind adapter and the architecture llama"),
    ({"licenses_denied": ["gpl-3.0"]}, {"general__license": "gpl-3.0"}, "gpl-3.0 is denied"),
])
def test_what_the_files_judge(server, tmp_path, policy, body, words):
    hub_shop.add(tmp_path, "acme/Tiny-1B-GGUF", body=body, license=None, tags=["gguf"])
    result = found(server, **policy)
    assert result.candidates == () and words in reasons(result)["acme/Tiny-1B-GGUF"]


def test_a_header_that_is_none_is_a_refusal_and_the_search_goes_on(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Broken-1B-GGUF", trendingScore=9)
    (tmp_path / "acme/Broken-1B-GGUF/Broken-1B-Q4_K_M.gguf").write_bytes(b"GGUF" + b"\xff" * 60)
    hub_shop.add(tmp_path, "acme/Sound-1B-GGUF")
    result = found(server)
    assert [one.name for one in result.candidates] == ["sound-1b"] and "GGUF" in reasons(result)["acme/Broken-1B-GGUF"]


def test_a_gated_repository_that_may_not_be_read_is_a_refusal(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Gated-1B-GGUF", gated="manual")
    assert "is gated" in reasons(found(server, gated=True))["acme/Gated-1B-GGUF"]
    result = search(Hub(HubOptions(server.url, token="hf_secretword", patience=0)), Policy.from_dict({"gated": True}), now=NOW)
    assert result.candidates[0].gated == "manual" and "secretword" not in str(result)


def test_notes_for_who_chooses(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Tiny-1B-GGUF", body={"general__file_type": 7, "general__license": "llama2"})
    assert found(server).candidates[0].notes == (
        "The name says Q4_K_M, the file's header says Q8_0.", "The repository states the license apache-2.0, the file llama2.")


def test_what_fits_on_no_host_is_refused_and_the_rest_carries_its_plan(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Tiny-1B-GGUF")
    hub_shop.add(tmp_path, "acme/Giant-70B-GGUF", trendingScore=9, gguf={"total": 70 * 10 ** 9, "architecture": "llama"})
    hub_shop.add(tmp_path, "acme/Hungry-1B-GGUF", trendingScore=8, body={"llama__block_count": 3})
    hub = Hub(HubOptions(server.url, patience=0))
    result = search(hub, Policy.from_dict({"text": "acme"}), {"ai1": host(memory=8 << 30)}, now=NOW)
    plan = {one.name: one.plan for one in result.candidates}["tiny-1b"]["hosts"]["ai1"]
    assert plan["threads"] == 7 and plan["memory"]["anonymous"] > 0 and plan["memory_limit"] > plan["memory"]["anonymous"] and plan["context"] == 4096
    assert "far larger than 8.0 GiB" in reasons(result)["acme/Giant-70B-GGUF"]
    small = search(hub, Policy.from_dict({"text": "tiny"}), {"ai1": host(memory=600 << 20)}, now=NOW)
    assert small.candidates == () and "It fits on no host" in reasons(small)["acme/Tiny-1B-GGUF"] and "short" in reasons(small)["acme/Tiny-1B-GGUF"]


def test_a_search_for_vision_wants_it(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Seeing-1B-GGUF", pipeline_tag="image-text-to-text")
    hub_repository.add_gguf(tmp_path, "mmproj-F16.gguf", "acme/Seeing-1B-GGUF", general__type="mmproj")
    assert found(server, category="vision").candidates[0].wanted["vision"] is True
    assert "vision" not in found(server, category="chat").candidates[0].wanted


def test_a_search_for_vision_plans_with_the_projector_s_header(server, tmp_path):
    sizes = {"projector_type": "gemma3", **{f"vision.{name}": size for name, size in (
        ("embedding_length", 64), ("feed_forward_length", 128), ("image_size", 64), ("patch_size", 8))}}
    hub_shop.add(tmp_path, "acme/Seeing-1B-GGUF", pipeline_tag="image-text-to-text")
    hub_repository.add_projector(tmp_path, "mmproj-F16.gguf", "acme/Seeing-1B-GGUF", **{f"clip.{name}": size for name, size in sizes.items()})
    result = search(Hub(HubOptions(server.url, patience=0)), Policy.from_dict({"text": "acme", "category": "vision"}), {"ai1": host(memory=8 << 30)}, now=NOW)
    assert 0 < result.candidates[0].plan["hosts"]["ai1"]["memory"]["projector"] < 200 << 20


@pytest.mark.parametrize("switch, words", [
    ({"rate_limit": {"match": "/api/models?"}}, ("limits how often", "its list of models")), ({"error_503": True}, ("HTTP 503",)),
    ({"rate_limit": {"match": "acme/Tiny"}}, ("limits how often", "acme/Tiny-GGUF"))])
def test_a_hub_that_cannot_be_asked_ends_the_search(server, tmp_path, switch, words):
    hub_shop.add(tmp_path, "acme/Tiny-GGUF")
    server.switches.set(switch)
    with pytest.raises(HubUnavailable) as error:
        found(server)
    for word in words:
        assert word in str(error.value)


def test_groups_are_by_model_and_the_maker_comes_first():
    items = [listed(repository=f"{owner}/Qwen3-4B-GGUF", base_models=("Qwen/Qwen3-4B",), likes=likes) for owner, likes in
             (("robot", 99), ("unsloth", 1), ("Qwen", 0), ("other", 100))]
    items.append(listed(repository="me/Different-GGUF"))
    assert [[item.owner for item in group] for group in groups(items, Policy())] == [["Qwen", "unsloth", "other", "robot"], ["me"]]
    assert groups(items, Policy(publishers=("robot",)))[0][0].owner == "robot"


def test_of_one_publisher_the_plain_quant_comes_first():
    plain = listed(repository="mradermacher/X-7B-GGUF", paths=("X-7B.Q4_K_M.gguf",), likes=1)
    weighted = listed(repository="mradermacher/X-7B-i1-GGUF", paths=("X-7B.i1-Q4_K_M.gguf",), likes=99)
    assert groups([weighted, plain], Policy()) == [[plain, weighted]]
    assert groups([plain, weighted], Policy(quant="I1-Q4_K_M")) == [[weighted, plain]]


@pytest.mark.parametrize("data, words", [
    ({"size": 1}, ("unknown key", "size", "max_size")), ({"sort": "best"}, ("sort is unknown", "trending")), ({"category": "poems"}, ("category is unknown",)),
    ({"count": 0}, ("count is out of range", "1 to 50")), ({"consider": 501}, ("1 to 500",)), ({"max_age_days": -1}, ("max_age_days",)),
    ({"count": True}, ("out of range",)), ({"min_parameters": "4B", "max_parameters": "1B"}, ("min_parameters is above max_parameters",)),
    ({"licenses": "mit"}, ("A list of names",)), ({"quant": "Q4 K"}, ("not a quant",)), ({"gated": "yes"}, ("wrong form",)),
    ({"license_unknown": "deny"}, ("license_unknown",)),
    ({"max_size": "big"}, ("size is not one", "4 GiB")), ({"max_parameters": "4X"}, ("number of parameters",)),
])
def test_a_policy_that_cannot_be_meant(data, words):
    with pytest.raises(FleetError) as error:
        Policy.from_dict(data)
    for word in words:
        assert word in str(error.value)


def test_a_policy_of_the_module_s_defaults_is_the_default_policy():
    assert Policy.from_dict({name: option.get("default") for name, option in Policy.spec().items()}) == Policy()


@pytest.mark.parametrize("text, size", [("4 GiB", 4 << 30), ("4G", 4 << 30), ("4GB", 4 * 10 ** 9), ("1.5 MB", 1_500_000), (1024, 1024), ("800k", 800 << 10),
                                        ("12B", 12)])
def test_sizes(text, size):
    assert parse_size(text, "x") == size


@pytest.mark.parametrize("text, count", [("1.5B", 1_500_000_000), ("350m", 350_000_000), (7, 7), ("2T", 2 * 10 ** 12)])
def test_counts(text, count):
    assert parse_count(text, "x") == count
