"""Presets and candidates as a table; presets as data."""
from __future__ import annotations

import re

import hub_repository
import hub_shop
import pytest
from ansible_collections.localai.fleet.plugins.module_utils._choices import choices
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._fits import Site
from ansible_collections.localai.fleet.plugins.module_utils._hub import HubUnavailable
from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
from ansible_collections.localai.fleet.plugins.module_utils._listing import CATEGORIES
from ansible_collections.localai.fleet.plugins.module_utils._presets import PRESETS, expanded, preset
from ansible_collections.localai.fleet.plugins.module_utils._search import Policy
from ansible_collections.localai.fleet.plugins.module_utils._wanted import parse_wanted
from fleets import host

from tests.lab import hub as lab

GIB = 1 << 30


@pytest.fixture
def server(tmp_path):
    with lab.running(tmp_path) as running:
        yield running


def ask(server, policy=None, presets=(), site=None):
    return choices(Hub(HubOptions(server.url, patience=0)), policy and Policy.from_dict(policy), presets, site)


def test_presets_are_sound():
    parse_wanted([{**item.wanted(), "name": f"m{number}"} for number, item in enumerate(PRESETS)])
    assert [item["name"] for item in map(lambda one: one.wanted(), PRESETS)] == [item.name for item in PRESETS]
    assert len({item.name for item in PRESETS}) == len({item.repository for item in PRESETS}) == len(PRESETS)
    for item in PRESETS:
        assert set(item.categories) <= set(CATEGORIES) and item.license and item.note and item.parameters > 10 ** 8
    assert {"phi-2", "orca-mini-3b", "llama-3.2-1b-instruct"} <= {item.name for item in PRESETS}
    assert {"chat", "code", "embedding"} <= {category for item in PRESETS for category in item.categories}
    assert "NOT for business" in preset("orca-mini-3b").note and preset("orca-mini-3b").license == "cc-by-nc-sa-4.0"


EMBED = preset("qwen3-embedding-0.6b")
NOTHING = {"context": None, "aliases": [], "template": {"chat": None, "completion": None}, "kind": None, "quant": ""}


@pytest.mark.parametrize("item, expected", [
    ({"name": "e", "source": "preset:qwen3-embedding-0.6b"}, {**EMBED.wanted(), "name": "e"}),
    ({"name": "e", "source": "preset:qwen3-embedding-0.6b", **NOTHING}, {**NOTHING, **EMBED.wanted(), "name": "e"}),
    ({"name": "e", "source": "preset:qwen3-embedding-0.6b", "quant": "F16", "context": 512}, {**EMBED.wanted(), "name": "e", "quant": "F16", "context": 512}),
    ({"name": "p", "source": "preset:phi-2", "template": {"chat": "x"}, "slots": 3},
     {**preset("phi-2").wanted(), "name": "p", "template": {"chat": "x"}, "slots": 3}),
    ({"name": "x", "source": "hf://a/b", "quant": None}, {"name": "x", "source": "hf://a/b", "quant": None}),
])
def test_a_source_that_is_a_preset(item, expected):
    expected = {**expected, "source": item["source"]}
    assert expanded(item) == expected
    model = parse_wanted([item])[0]
    assert model.source == expected["source"] and model.quant == (expected["quant"] or "Q4_K_M") and model.context == (expected.get("context") or 4096)


def test_a_source_that_is_no_preset_says_where():
    with pytest.raises(FleetError, match=r"models_wanted\[0\], x.source.*got phi2.*phi-2"):
        parse_wanted([{"name": "x", "source": "preset:phi2"}])


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(FleetError, match="no such preset.*got lama-3.2-1b.*llama-3.2-1b-instruct"):
        preset("lama-3.2-1b")


def test_presets_and_what_was_searched(server, tmp_path):
    one = preset("llama-3.2-1b-instruct")
    hub_shop.add(tmp_path, one.repository, likes=1)
    hub_shop.add(tmp_path, "acme/Tiny-1B-Instruct-GGUF", license="mit", trendingScore=1)
    hub_shop.add(tmp_path, "acme/Only-GGUF", file="mmproj-F16.gguf")
    found = ask(server, {"category": "chat"}, ["all"], Site({"ai1": host(memory=8 * GIB), "ai2": host(memory=16 * GIB)}))
    assert [item["name"] for item in found["candidates"]] == ["llama-3.2-1b-instruct", "tiny-1b-instruct"]
    assert [item["preset"] for item in found["candidates"]] == ["llama-3.2-1b-instruct", None]
    assert found["candidates"][0]["wanted"] == one.wanted() and found["candidates"][0]["license"] == "llama3.2"
    assert sorted(found["candidates"][1]["plan"]["hosts"]) == ["ai1", "ai2"]
    text = found["text"]
    assert text[0].split() == ["#", "model", "for", "size", "memory", "threads", "tokens/s", "fits-on", "license"]
    assert text[1].startswith("1  llama-3.2-1b-instruct") and "ai1,ai2" in text[1] and text[2].startswith("2  tiny-1b-instruct (acme)")
    assert not re.search(r".{80}[^ ] [^ ]", text[1])  # a single space behind column 80 is where Ansible breaks a line
    assert text[3].startswith("1: small and fast; free also for business")
    missing = [line for line in text if line.startswith("not shown: ")]
    assert len(missing) == 1 and "phi-2" in missing[0] and missing[0].endswith(": The repository does not exist, or is private.")
    assert text[-1] == "2 more of what the Hub lists were refused; -v shows each with its reason."
    assert found["calls"]["list"] == 1 and {item["reason"] for item in found["refused"] if item["repository"] == one.repository} == {"It is among the presets."}


def test_what_fits_on_no_host_says_by_how_much(server, tmp_path):
    hub_shop.add(tmp_path, preset("qwen3-8b").repository)
    found = ask(server, None, ["qwen3-8b"], Site({"ai1": host(memory=GIB // 2)}))
    assert found["candidates"] == [] and "not shown: qwen3-8b: It fits on no host: got qwen3-8b needs" in found["text"][1] and "short" in found["text"][1]


def test_two_of_one_name_get_names_of_their_own(server, tmp_path):
    hub_shop.add(tmp_path, preset("phi-2").repository)
    hub_shop.add(tmp_path, "acme/phi_2-GGUF", **{"gguf": {"total": 10 ** 6, "architecture": "llama"}})
    names = [item["name"] for item in ask(server, {"sort": "newest"}, ["phi-2"])["candidates"]]
    assert names[0] == "phi-2" and len(set(names)) == len(names)


def test_nothing_was_found(server, tmp_path):
    hub_shop.add(tmp_path, "acme/Only-GGUF", file="mmproj-F16.gguf")
    assert ask(server, {"sort": "likes"})["text"] == ["Nothing was found.", "not shown: acme/Only-GGUF: It holds only projectors, no model."]


def test_a_hub_that_cannot_be_asked_is_an_error_not_a_refusal(server):
    server.switches.set({"error_503": True})
    with pytest.raises(HubUnavailable, match="HTTP 503"):
        ask(server, None, ["phi-2"])


def test_options_of_a_preset_and_of_the_site(server, tmp_path):
    hub_repository.add_gguf(tmp_path, "phi-2.Q4_K_M.gguf", preset("phi-2").repository)
    found = ask(server, None, ["phi-2"], Site({"ai1": host(memory=8 * GIB)}, options={"slots": 3}))["candidates"][0]
    entry = found["plan"]["hosts"]["ai1"]
    assert (entry["context"], entry["slots"], entry["kind"]) == (2048, 3, "chat") and found["wanted"]["stopwords"] == ["Instruct:", "<|endoftext|>"]
