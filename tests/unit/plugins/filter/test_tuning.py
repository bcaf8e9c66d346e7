"""Filters of the role tuning."""
from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.tuning import FilterModule
from ansible_collections.localai.fleet.plugins.module_utils._capacity import read_capacity

FILTERS = FilterModule().filters()
DEPLOYED = {"instances": [{"name": "localai", "models": []}], "image": "r/a@sha256:" + "a" * 64, "backend_image": "r/b@sha256:" + "b" * 64}
SWEPT = {"threads": 2, "measured": [{"threads": 1, "tokens_per_second": 20.0}, {"threads": 2, "tokens_per_second": 30.0}]}
MODEL = {"name": "tiny", "sha256": "c" * 64, "threads": 2}


def test_every_filter_has_a_page(request) -> None:
    folder = request.config.rootpath / "plugins" / "filter"
    assert all(yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name for name in FILTERS)


def test_from_measurement_to_fact_to_keeping_it(tmp_path) -> None:
    capacity = replace(read_capacity(str(tmp_path)), usable_cores=2).as_dict()
    deployed = {"ai1": DEPLOYED, "ai2": DEPLOYED, "ai3": {}}
    before = FILTERS["tuning_parts"]({name: capacity for name in deployed}, deployed)
    assert {name: part["action"] for name, part in before.items()} == {"ai1": "measure", "ai2": "copy", "ai3": "nothing"}
    fact = FILTERS["tuning_fact"](SWEPT, DEPLOYED, capacity, MODEL, "ai1")
    assert (fact["threads"], fact["measured_on"], fact["tokens_per_second"]) == (2, "ai1", {"1": 20.0, "2": 30.0})
    assert fact["model"] == {"name": "tiny", "sha256": "c" * 64}
    tuned = {**capacity, "tuning": fact}
    after = FILTERS["tuning_parts"]({"ai1": tuned, "ai2": tuned, "ai3": capacity}, deployed)
    assert {name: part["action"] for name, part in after.items()} == {"ai1": "keep", "ai2": "keep", "ai3": "nothing"}
    assert FILTERS["tuning_parts"]({"ai1": tuned}, deployed, force=True)["ai1"]["action"] == "measure"
    late = FILTERS["tuning_parts"]({"ai1": tuned}, deployed, now=4e9)["ai1"]
    assert late["action"] == "measure" and "more than 180 days ago" in late["sentence"]


def test_a_prediction_has_no_threads(tmp_path) -> None:
    fact = FILTERS["tuning_fact"]({"threads": None, "measured": []}, DEPLOYED, read_capacity(str(tmp_path)).as_dict(), MODEL, "ai1", now=0.0)
    assert (fact["threads"], fact["tokens_per_second"], fact["measured_at"]) == (None, {}, "1970-01-01T00:00:00Z")


def test_errors_are_sentences() -> None:
    with pytest.raises(AnsibleFilterError, match="No model on this host generates text"):
        FILTERS["sweep_wanted"](DEPLOYED, {})
    with pytest.raises(AnsibleFilterError, match="read by another version"):
        FILTERS["sweep_options"]({}, {})
