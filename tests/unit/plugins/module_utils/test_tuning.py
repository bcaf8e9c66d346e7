"""The measured threads of a host class: whom they are for, how long they hold, who measures."""
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity, _tuning

NOW = 1_764_100_000.0  # 2025-11-25
DAY = 86400
ENGINE = _tuning.engine_digest("r/local-ai@sha256:" + "a" * 64, "r/backends@sha256:" + "b" * 64)
MODEL = {"name": "tiny", "sha256": "c" * 64}


@pytest.fixture
def host(tmp_path) -> _capacity.Capacity:
    return replace(_capacity.read_capacity(str(tmp_path)), cpu_model="Fast 9", usable_cores=4, quota_cores=None, smt=True)


def measured(host, now=NOW, threads=3, engine=ENGINE):
    """A fact as it comes back from a host's file."""
    return json.loads(json.dumps(_tuning.fact(threads, {3: 30.5, 2: 28.0}, MODEL, host, engine, "ai1", now)))


def test_a_measurement_holds_where_and_while_it_is_true(host) -> None:
    fact = measured(host)
    assert fact["tokens_per_second"] == {"2": 28.0, "3": 30.5}
    for later in (-3600, 0, 179.9 * DAY):
        assert _tuning.usable(fact, host, ENGINE, NOW + later) == (3, "")
    assert _tuning.usable(None, host, ENGINE, NOW) == (None, "")
    assert _tuning.told(fact) == "measured on 2025-11-25 on ai1: tiny alone was fastest with 3 threads, 30.5 tokens per second"


@pytest.mark.parametrize("changes, engine, later, told", [
    ({"cpu_model": None}, ENGINE, 0, "are ignored: the CPU: Fast 9 then, none now. Run localai.fleet.tune again."),
    ({"usable_cores": 2, "quota_cores": 2.5}, ENGINE, 0, "are ignored: usable cores: 4 then, 2 now; the CPU quota: none then, 2.5 now. Run"),
    ({"smt": False}, ENGINE, 0, "are ignored: SMT: on then, off now. Run"),
    ({}, "d" * 64, 0, "are ignored: the engine's images are others now. Run"),
    ({}, ENGINE, 180.1 * DAY, "are ignored: that is more than 180 days ago. Run"),
    ({}, ENGINE, -2 * DAY, "are ignored: that is in the future, so a clock is wrong. Run"),
])
def test_what_is_foreign_or_old_is_ignored_with_a_word(host, changes, engine, later, told) -> None:
    threads, sentence = _tuning.usable(measured(host), replace(host, **changes), engine, NOW + later)
    assert threads is None
    assert sentence.startswith("The threads measured on 2025-11-25 ") and told in sentence


def test_a_plan_tells_the_same_on_every_day(host) -> None:
    told = {_tuning.usable(measured(host), host, ENGINE, NOW + day * DAY)[1] for day in range(181, 400)}
    assert len(told) == 1


@pytest.mark.parametrize("damage", [
    False, [], "text", {}, {"schema": 2}, {"threads": 0}, {"threads": True}, {"threads": "3"}, {"threads": None}, {"measured_at": "yesterday"},
    {"measured_at": 3}, {"fingerprint": None}, {"model": {}}, {"model": None}, {"tokens_per_second": {"3": "fast"}}, {"tokens_per_second": []},
    {"measured_on": None}, {"tokens_per_second": {"3": 10**400}}, {"tokens_per_second": {"3": True}}, {"tokens_per_second": {"3": -0.1}},
    {"tokens_per_second": {"3": 1e9}}, {"threads": 8192}, {"threads": 10**30},
])
def test_a_damaged_fact_is_ignored_with_a_word(host, damage) -> None:
    fact = {**measured(host), **damage} if isinstance(damage, dict) and damage else damage
    assert _tuning.usable(fact, host, ENGINE, NOW) == (None, "The measured threads are ignored: state/tuning.json is damaged or of another version. "
                                                       "Run localai.fleet.tune again.")


def test_speeds_are_offered_for_the_measured_file_alone(host) -> None:
    fact = measured(host)
    assert _tuning.speed(fact, MODEL["sha256"], 2) == 28.0
    assert [_tuning.speed(fact, MODEL["sha256"], 5), _tuning.speed(fact, "d" * 64, 2), _tuning.speed(fact, None, 2), _tuning.speed(None, "d", 2)] == [None] * 4


def test_the_engine_is_both_images() -> None:
    one, two = "r/local-ai@sha256:" + "a" * 64, "r/backends@sha256:" + "b" * 64
    assert ENGINE == _tuning.engine_digest("mirror/local-ai@sha256:" + "a" * 64, "sha256:" + "b" * 64), "a mirror serves the same bytes"
    assert ENGINE != _tuning.engine_digest(two, one)
    assert _tuning.engine_digest("", two) == _tuning.engine_digest(one, "no digest") == ""


def test_one_host_of_each_class_measures(host) -> None:
    other = replace(host, usable_cores=8)
    hosts = {"b": _tuning.Host(host, None, ENGINE), "a": _tuning.Host(host, None, ENGINE), "c": _tuning.Host(other, measured(host), ENGINE),
             "d": _tuning.Host(host, None, "")}
    parts = _tuning.assign(hosts, NOW)
    assert {name: (part.action, part.source) for name, part in parts.items()} == {
        "b": ("measure", "b"), "a": ("copy", "b"), "c": ("measure", "c"), "d": ("nothing", "")}
    assert parts["b"].sentence == "Its class has no measurement."
    assert "usable cores: 4 then, 8 now" in parts["c"].sentence
    assert parts["d"].sentence == "Nothing is deployed on it."


def test_the_newest_measurement_of_a_class_is_kept_and_copied(host) -> None:
    old, new = measured(host, NOW - DAY, 2), measured(host)
    facts = {"a": old, "b": new, "c": None, "d": new, "e": measured(host, NOW - 300 * DAY)}
    hosts = {name: _tuning.Host(host, fact, ENGINE) for name, fact in facts.items()}
    parts = _tuning.assign(hosts, NOW)
    assert {name: part.action for name, part in parts.items()} == {"a": "copy", "b": "keep", "c": "copy", "d": "keep", "e": "copy"}
    assert {part.source for part in parts.values()} == {"b"}
    assert parts["d"].sentence == f"It has 3, {_tuning.told(new)}."
    forced = _tuning.assign(hosts, NOW, force=True)
    assert [part.action for part in forced.values()] == ["measure", "copy", "copy", "copy", "copy"]
    assert forced["a"].sentence == "It was asked to."
