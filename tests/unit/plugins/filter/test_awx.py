"""Filters of the role awx."""
from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.awx import FilterModule

FILTERS = FilterModule().filters()


def test_every_filter_has_a_page(request) -> None:
    folder = request.config.rootpath / "plugins" / "filter"
    assert all(yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name for name in FILTERS)


def test_the_filters_call_the_engine() -> None:
    assert FILTERS["awx_rule"]({"at": "03:00", "days": None}) == "DTSTART;TZID=UTC:20260101T030000 RRULE:FREQ=DAILY;INTERVAL=1"
    assert FILTERS["awx_survey"]([{"variable": "a", "question": "?"}])["spec"][0]["variable"] == "a"
    assert FILTERS["awx_arrows"]([{"id": 1, "identifier": "a", "success_nodes": [1]}]) == ["a success a"]
    hook = {"name": "hook", "type": "webhook", "url": "https://hooks.example.com"}
    told = FILTERS["awx_notifications"]([hook], "fleet")
    there = {"name": "fleet hook", "notification_type": "webhook", "notification_configuration": told["wanted"][0]["configuration"]}
    assert FILTERS["awx_same"]([{}, there], told["wanted"][0])
    assert not FILTERS["awx_same"]([], told["wanted"][0])


def test_errors_are_sentences() -> None:
    with pytest.raises(AnsibleFilterError, match="A schedule needs a time of day"):
        FILTERS["awx_rule"]({"at": "noon"})
