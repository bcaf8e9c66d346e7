"""Where a host's memory goes."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_view
from plans import GIB, MIB, host, instance, model


def test_the_parts_of_an_instance_are_its_terms_and_add_up_to_its_limit() -> None:
    parts = _plan_view.instance_parts(instance())
    assert sum(parts.values()) == 1000 * MIB
    assert (parts["kv"], parts["state"], parts["base"], parts["server"], parts["files"]) == (3 * MIB, 3 * MIB, 10 * MIB, 224 * MIB, 710 * MIB)


def test_an_instance_on_demand_counts_its_two_largest_models() -> None:
    small = model("small", memory={**model()["memory"], "kv_full": 0, "anonymous": 65 * MIB})
    parts = _plan_view.instance_parts(instance(model("a"), small, model("b"), residency="on_demand", memory_planned=(224 + 132) * MIB))
    assert (parts["kv"], parts["server"], sum(parts.values())) == (6 * MIB, 224 * MIB, 1000 * MIB)


def test_the_parts_of_a_host_add_up_to_all_its_memory() -> None:
    worker = {"model": "big", "layers": 1, "memory_limit": 500 * MIB, "memory_planned": 400 * MIB}
    parts = {part.term.key: part.bytes for part in _plan_view.host_parts(host(instance(), instance(name="localai-node1"), workers=[worker]))}
    assert sum(parts.values()) == 4 * GIB and parts["reserved"] == GIB and parts["worker"] == 500 * MIB
    assert parts["free"] == 3 * GIB - 2500 * MIB and "files" in parts and list(parts)[-1] == "reserved"


def test_limits_that_take_all_leave_nothing_free() -> None:
    assert "free" not in {part.term.key for part in _plan_view.host_parts(host(instance(), memory_usable_bytes=1000 * MIB))}


def test_what_a_host_serves_is_named_once() -> None:
    worker = {"model": "big", "layers": 1, "memory_limit": MIB, "memory_planned": MIB}
    assert _plan_view.served(host(instance(), instance(model("n"), model()), workers=[worker])) == ["m", "n", "a part of big"]


@pytest.mark.parametrize("given, text", [
    (_plan_view.exact(1234567), "1,234,567"), (_plan_view.percent(1, 3), "33.33%"), (_plan_view.percent(1, 0), "0%"),
    (_plan_view.plural(1, "model"), "1 model"), (_plan_view.plural(0, "model"), "0 models"), (_plan_view.span([None]), "unknown"),
    (_plan_view.span([3, 3]), "3"), (_plan_view.span([7, 5, 3]), "3 to 7"),
    (_plan_view.span(value for value in (7, None, 3)), "3 to 7 or unknown"), (_plan_view.span([38.3, None]), "38.3 or unknown"),
    (_plan_view.fits_with({"slots": 1, "kv_type": "q8_0"}), "slots 1, kv_type q8_0")])
def test_words(given: str, text: str) -> None:
    assert given == text
