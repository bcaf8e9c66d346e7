"""What a plan is made from."""
from __future__ import annotations

from typing import Any

import fleets
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
CAPACITY = {**fleets.host().as_dict(), "read_at": "2020-01-01T00:00:00Z"}


def imagined(variables: dict[str, Any], *more: Any, wanted: Any = None, **asked: Any) -> dict[str, Any]:
    given = {"variables": variables, "files": {}, "slips": ["a slip"], "refused": "", **asked}
    return FILTERS["imagined"](given, {"ai1": CAPACITY}, [{"name": "m", "source": "hf://a/b"}] if wanted is None else wanted, *more)


def test_every_filter_has_a_page(request) -> None:
    folder = request.config.rootpath / "plugins" / "filter"
    assert all(yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name for name in FILTERS)


def test_imagined() -> None:
    made = imagined({"slots": "4"}, ["ai1"])
    assert made["wanted"] == [{"name": "m", "source": "hf://a/b", "slots": 4}] and list(made["capacities"]) == ["ai1"] and made["refused"] == ""
    assert made["notes"][:2] == ["a slip", "What if: every model with slots 4."] and "days ago" in made["notes"][-1]


@pytest.mark.parametrize("variables, more, asked, sentence", [
    ({"remove_hosts": "ai9"}, ([],), {}, "not there"), ({}, (["ai1"], True), {}, "needs the capacity of every server"),
    ({}, (), {"refused": "Said before."}, "Said before."), ({}, (), {"wanted": "qwen3-8b"}, "no list of models: got the text qwen3-8b")])
def test_a_refusal_is_a_sentence_and_no_plan(variables: Any, more: Any, asked: Any, sentence: str) -> None:
    made = imagined(variables, *more, **asked)
    assert sentence in made["refused"] and (made["capacities"], made["wanted"], made["notes"], made["like"]) == ({}, [], [], {})


def test_deployed_plan() -> None:
    assert FILTERS["deployed_plan"]({"ai1": {}}) == {"hosts": {"ai1": {"instances": [], "workers": []}}, "placement": {}}


def test_a_deployed_plan_that_is_damaged_is_ansibles_error() -> None:
    with pytest.raises(AnsibleFilterError, match="damaged .ai1, state/plan.json.instances.0.."):
        FILTERS["deployed_plan"]({"ai1": {"instances": [1]}})


@pytest.mark.parametrize("values, sentences", [
    ({"fleet_lock_store": "git", "common_topology": "auto", "common_placement": "pack", "common_root": "/opt/localai"}, []),
    ({"fleet_lock_store": "primry", "common_root": "/srv"}, ["fleet_lock_store must be controller, primary or git: got primry."]),
    ({"common_topology": "ring", "common_placement": "", "common_root": "opt"},
     ["common_topology must be auto, standalone, replicated, federated, sharded or distributed: got ring.",
      "common_placement must be spread or pack: got nothing.", "common_root must be an absolute path: got opt. Give the folder from / on, as /opt/localai."])])
def test_wrong_values(values: dict[str, Any], sentences: list[str]) -> None:
    assert FILTERS["wrong_values"](values) == sentences


def test_the_words_of_a_sentence_are_the_choices_of_the_role(request) -> None:
    specs = yaml.safe_load((request.config.rootpath / "roles" / "common" / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for spec in specs.values() for name, option in spec["options"].items()}
    for name in ("fleet_lock_store", "common_topology", "common_placement"):
        *most, last = options[name]["choices"]
        assert FILTERS["wrong_values"]({name: "none of them"}) == [f"{name} must be {', '.join(most)} or {last}: got none of them."]
