"""A deployed memory limit that is about right stays, so that a like-sized model makes no container anew."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan
from ansible_collections.localai.fleet.plugins.module_utils._budget import SYSTEM_RESERVE_BYTES
from ansible_collections.localai.fleet.plugins.module_utils._instances import STEADY_LESS, STEADY_PERCENT
from ansible_collections.localai.fleet.plugins.module_utils._plan_diff import changes
from fleets import GIB, MIB, header, host, plan, want, wants


def deployed(found: _plan.Plan, **limits: int) -> dict[str, Any]:
    """The plan as what runs, with the memory limits of instances of ai1 changed by so many bytes."""
    data = json.loads(json.dumps(found.as_dict()))
    for instance in data["hosts"]["ai1"]["instances"]:
        instance["memory_limit"] += limits.get(instance["name"].replace("-", "_"), 0)
    return data


def limit(found: _plan.Plan, index: int = 0) -> int:
    return found.hosts["ai1"].instances[index].memory_limit


FRESH = plan(host())


@pytest.mark.parametrize("by, kept", [
    (0, True), (MIB, True), (limit(FRESH) * STEADY_PERCENT // 100, True), (limit(FRESH) * STEADY_PERCENT // 100 + MIB, False),
    (-MIB, True), (-STEADY_LESS, True), (-STEADY_LESS - 1, False), (GIB, False), (-limit(FRESH), False),
])
def test_a_limit_that_is_about_right_stays(by: int, kept: bool) -> None:
    again = plan(host(), previous=deployed(FRESH, localai=by))
    assert limit(again) == (limit(FRESH) + by if kept else limit(FRESH))
    assert limit(again) >= again.hosts["ai1"].instances[0].memory_planned
    assert again.hosts["ai1"].instances[0].file_share == 1.0


@pytest.mark.parametrize("grown", [-20 * MIB, -MIB, MIB, 20 * MIB])
def test_a_like_sized_model_changes_nothing_of_its_container(grown: int) -> None:
    before = plan(host(), digests={"m": "a" * 64})
    after = plan(host(), headers={"m": header(800 * MIB + grown)}, digests={"m": "b" * 64}, previous=deployed(before))
    assert limit(after) == limit(before)
    told = changes(deployed(before), after.as_dict())
    assert {change.what for change in told} <= {"m", "instance localai"}
    assert {name for change in told if change.what == "instance localai" for name, _old, _new in change.fields} <= {"memory planned"}


def test_a_much_larger_model_gets_its_own_limit() -> None:
    after = plan(host(), headers={"m": header(3 * GIB)}, previous=deployed(FRESH))
    assert limit(after) > limit(FRESH) + 2 * GIB
    assert limit(after) == limit(plan(host(), headers={"m": header(3 * GIB)}))


def test_a_host_without_memory_to_spare_keeps_no_smaller_limit() -> None:
    small = host(FRESH.hosts["ai1"].instances[0].memory_planned + 700 * MIB)
    tight = plan(small)
    assert tight.hosts["ai1"].instances[0].file_share < 1
    assert limit(plan(small, previous=deployed(tight, localai=-MIB))) == limit(tight)
    assert limit(plan(small, previous=deployed(tight))) == limit(tight)


def test_all_limits_of_a_host_still_fit_together() -> None:
    models = wants({"name": "m"}, {"name": "late", "residency": "on_demand"})
    exact = host(sum(instance.memory_limit for instance in plan(host(), models).hosts["ai1"].instances) + SYSTEM_RESERVE_BYTES + MIB)
    fresh = plan(exact, models)
    again = plan(exact, models, previous=deployed(fresh, localai=16 * MIB, localai_ondemand=16 * MIB))
    assert [instance.memory_limit for instance in again.hosts["ai1"].instances] == [instance.memory_limit for instance in fresh.hosts["ai1"].instances]
    roomy = plan(host(), models, previous=deployed(plan(host(), models), localai=16 * MIB, localai_ondemand=16 * MIB))
    assert [limit(roomy, 0) - limit(plan(host(), models), 0), limit(roomy, 1) - limit(plan(host(), models), 1)] == [16 * MIB, 16 * MIB]


def test_a_plan_made_from_itself_is_itself() -> None:
    once = plan(host(), previous=deployed(FRESH, localai=5 * MIB))
    assert plan(host(), previous=deployed(once)).as_dict() == once.as_dict()


def test_what_was_never_deployed_has_a_limit_of_its_own() -> None:
    assert plan(host(), [want("new")], previous={"hosts": {"ai1": {"instances": []}}}).as_dict()["hosts"] == plan(host(), [want("new")]).as_dict()["hosts"]
