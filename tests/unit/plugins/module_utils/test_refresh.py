"""What a refresh does to each host: beside, in place, drained or refused; proposals, journals and the way back."""
from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _refresh
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._plan_diff import deployed
from ansible_collections.localai.fleet.plugins.module_utils._wanted import parse_wanted
from fleets import GIB, MIB, header, host, plan

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
ITEMS = [{"name": "m", "source": "hf://a/b", "aliases": ["gpt-4"]}]


def locked(digest: str, projector: str = "") -> dict[str, Any]:
    return {"files": [{"path": "m.gguf", "size": 800 * MIB, "sha256": digest}], "projector": {"sha256": projector} if projector else None}


def lock(**models: Any) -> dict[str, Any]:
    return {"schema": 1, "images": {"localai": {"digest": "x"}}, "models": models}


class Case:
    """A fleet with one model that is refreshed from 800 MiB to another size."""

    def __init__(self, hosts: Any, size: int = 800 * MIB, items: Any = None, **fleet: Any) -> None:
        items = items or ITEMS
        self.current = lock(**{item["name"]: locked(OLD if item["name"] == "m" else OTHER) for item in items})
        self.proposal = lock(**{item["name"]: locked(NEW if item["name"] == "m" else OTHER) for item in items})
        digests = {item["name"]: OTHER for item in items}
        first = plan(hosts, parse_wanted(items), digests={**digests, "m": OLD}, **fleet).as_dict()
        self.before = deployed(json.loads(json.dumps(first["hosts"])))
        headers = {"m": header(size)}
        self.after = plan(hosts, parse_wanted(items), headers, {**digests, "m": NEW}, previous=self.before, **fleet).as_dict()
        inputs = _refresh.both(items, self.current, self.proposal, self.before, self.after)
        self.inputs = inputs
        self.together = plan(hosts, parse_wanted(inputs["wanted"]), headers, {**digests, "m": NEW, "m.before": OLD}, previous=self.before, **fleet).as_dict()

    def parts(self, **more: Any) -> dict[str, Any]:
        return _refresh.parts(["m"], self.before, self.after, self.together, **more)


def just_one(spare: int = 0) -> Any:
    """A host that holds the model with all of its file, and `spare` bytes more."""
    limit = plan(host()).hosts["ai1"].instances[0].memory_limit
    return host(limit + 513 * MIB + spare)


def test_the_plan_for_both_pins_everything_and_has_the_predecessor() -> None:
    case = Case({"ai1": host(), "ai2": host()}, items=[*ITEMS, {"name": "n", "source": "hf://a/c", "replicas": 1}])
    by_name = {item["name"]: item for item in case.inputs["wanted"]}
    assert set(by_name) == {"m", "m.before", "n"}
    assert by_name["m"]["hosts"] == by_name["m.before"]["hosts"] == ["ai1", "ai2"]
    assert len(by_name["n"]["hosts"]) == 1 and "replicas" not in by_name["n"]
    assert by_name["m.before"]["aliases"] == []
    assert case.inputs["lock"]["models"]["m.before"] == locked(OLD)
    assert case.inputs["lock"]["models"]["m"] == locked(NEW)


@pytest.mark.parametrize("hosts", [{"ai1": host()}, {"ai1": host(), "ai2": host()}], ids=["one host", "two"])
def test_a_host_with_memory_has_both_and_its_limit_is_raised_for_that(hosts: Any) -> None:
    case = Case(hosts)
    found = case.parts()
    assert {part["mode"] for part in found.values()} == {"beside"}
    assert [name for name, part in found.items() if part["canary"]] == ["ai1"]
    for name, part in found.items():
        (instance,) = case.after["hosts"][name]["instances"]
        assert part["limits"]["localai"] > instance["memory_limit"] + 700 * MIB
        assert instance["memory_limit"] == case.before["hosts"][name]["instances"][0]["memory_limit"]
    assert all("beside the old one" in line for line in _refresh.lines(["m"], found))


def test_without_memory_for_both_a_host_with_replicas_elsewhere_is_drained() -> None:
    case = Case({"ai1": just_one(), "ai2": host()})
    found = case.parts()
    assert found["ai1"]["limits"] == {"localai": case.after["hosts"]["ai1"]["instances"][0]["memory_limit"]}, "one at a time"
    assert (found["ai1"]["mode"], found["ai1"]["drain"], found["ai1"]["canary"]) == ("swap", True, False)
    assert "m.before needs" in found["ai1"]["why"] or "m needs" in found["ai1"]["why"]
    assert (found["ai2"]["mode"], found["ai2"]["canary"]) == ("beside", True)
    assert "drained at the edge" in _refresh.lines(["m"], found)[0]


def test_without_replicas_it_is_refused_with_a_sentence_or_interrupts_on_demand() -> None:
    case = Case({"ai1": just_one()})
    with pytest.raises(FleetError, match="refresh_interruption=true") as caught:
        case.parts()
    assert "ai1 cannot have the new and the old m at the same time" in str(caught.value)
    found = case.parts(interruption=True)
    assert (found["ai1"]["mode"], found["ai1"]["drain"], found["ai1"]["canary"]) == ("swap", False, True)
    assert "answers nothing while it loads" in _refresh.lines(["m"], found)[0]


def test_a_much_larger_model_makes_the_container_anew() -> None:
    found = Case({"ai1": host(), "ai2": host()}, size=3 * GIB).parts()
    assert {part["mode"] for part in found.values()} == {"swap"}
    assert "made anew" in found["ai1"]["why"] and "memory limit" in found["ai1"]["why"]


def test_a_host_without_a_model_that_changes_does_nothing() -> None:
    found = Case({"ai1": host(), "ai2": host()}, items=[{**ITEMS[0], "hosts": ["ai2"]}, {"name": "n", "source": "hf://a/c"}]).parts()
    assert (found["ai1"]["mode"], found["ai1"]["models"]) == ("none", [])
    assert found["ai2"]["canary"] and found["ai2"]["models"] == ["m"]


@pytest.mark.parametrize("given, canary", [("", "ai1"), ("ai2", "ai2")])
def test_the_canary_can_be_chosen(given: str, canary: str) -> None:
    found = Case({"ai1": host(), "ai2": host()}).parts(given=given)
    assert [name for name, part in found.items() if part["canary"]] == [canary]


def test_a_canary_that_has_nothing_to_do_is_refused() -> None:
    with pytest.raises(FleetError, match="ai9"):
        Case({"ai1": host()}).parts(given="ai9")


def test_several_models_need_the_fewest_hosts_that_have_them_all() -> None:
    found = {name: {"mode": mode, "models": models, "canary": False} for name, mode, models in (
        ("a", "beside", ["x"]), ("b", "beside", ["x", "y"]), ("c", "swap", ["x", "y", "z"]), ("d", "beside", ["z"]))}
    assert _refresh._canaries(["x", "y", "z"], found, "") == ["b", "d"]
    assert _refresh._canaries(["x", "y", "z"], found, "c") == ["c"]
    assert _refresh._canaries(["nowhere"], found, "") == []


def test_more_than_files_is_not_a_refresh() -> None:
    case = Case({"ai1": host(), "ai2": host()})
    with pytest.raises(FleetError, match="Run site.yml first"):
        case.before["hosts"]["ai1"]["instances"][0]["models"][0]["context"] = 512
        case.parts()
    case = Case({"ai1": host(), "ai2": host()})
    del case.before["hosts"]["ai2"]["instances"][0]
    with pytest.raises(FleetError, match="moves models"):
        case.parts()
    case = Case({"ai1": host()})
    case.after["hosts"]["ai1"]["instances"][0]["cpus"] = 1.5
    with pytest.raises(FleetError, match="What is wanted is not what is deployed"):
        case.parts()


def test_another_kind_is_refused() -> None:
    case = Case({"ai1": host()})
    case.after["hosts"]["ai1"]["instances"][0]["models"][0]["kind"] = "completion"
    with pytest.raises(FleetError, match="another kind.*chat before, completion now"):
        case.parts()


def test_a_proposal_that_does_not_fit_is_refused() -> None:
    case = Case({"ai1": host()})
    case.after["unmet"], case.after["refused"] = ["m"], [{"host": "ai1", "model": "m", "reason": "m needs 64 GiB."}]
    with pytest.raises(FleetError, match="does not fit this fleet.*64 GiB"):
        case.parts()


# proposals

CURRENT = lock(m=locked(OLD), n=locked(OTHER, "d" * 64))


def test_what_changes_is_told_by_files_alone() -> None:
    assert _refresh.changed_models(CURRENT, copy.deepcopy(CURRENT)) == []
    assert _refresh.changed_models(CURRENT, lock(m=locked(NEW), n=locked(OTHER, "d" * 64))) == ["m"]
    assert _refresh.changed_models(CURRENT, lock(m=locked(OLD), n=locked(OTHER, "e" * 64))) == ["n"]
    assert _refresh.changed_models(CURRENT, lock(m=locked(OLD), n=locked(OTHER))) == ["n"]
    assert _refresh.changed_models({}, CURRENT) == []


def test_a_proposal_holds_for_the_lock_that_it_was_made_from() -> None:
    proposal = lock(m=locked(NEW), n=locked(OTHER, "d" * 64))
    _refresh.check_proposal(_refresh.text_digest("text"), "text", CURRENT, proposal, "p")
    with pytest.raises(FleetError, match="The lock moved since the proposal was made"):
        _refresh.check_proposal(_refresh.text_digest("text"), "other text", CURRENT, proposal, "p")
    with pytest.raises(FleetError, match="images"):
        _refresh.check_proposal(_refresh.text_digest("text"), "text", CURRENT, {**proposal, "images": {}}, "p")
    with pytest.raises(FleetError, match="other models than the lock"):
        _refresh.check_proposal(_refresh.text_digest("text"), "text", CURRENT, lock(m=locked(NEW)), "p")


def test_the_way_back_is_the_files_of_the_lock_before() -> None:
    now, previous = lock(m=locked(NEW), n=locked(OTHER), added=locked("f" * 64)), lock(m=locked(OLD), n=locked(OTHER), gone=locked("e" * 64))
    back = _refresh.going_back(now, previous)
    assert back == {**now, "models": {"m": locked(OLD), "n": locked(OTHER), "added": locked("f" * 64)}}
    assert _refresh.going_back(back, now)["models"]["m"] == locked(NEW)


@pytest.mark.parametrize("previous", [{}, {"models": {}}, lock(m=locked(NEW))])
def test_without_an_earlier_file_there_is_no_way_back(previous: dict[str, Any]) -> None:
    with pytest.raises(FleetError, match="no earlier lock to go back to"):
        _refresh.going_back(lock(m=locked(NEW)), previous)


def test_a_refresh_starts_from_what_is_deployed() -> None:
    case = Case({"ai1": host()})
    states = {"ai1": case.before["hosts"]["ai1"], "empty": {}}
    _refresh.check_deployed(states, case.current)
    for other in (case.proposal, {"models": {}}):
        with pytest.raises(FleetError, match="Run site.yml first"):
            _refresh.check_deployed(states, other)


# journals

@pytest.mark.parametrize("journal, current, needs", [
    (None, lock(m=locked(OLD)), "nothing"),
    ({}, lock(m=locked(OLD)), "nothing"),
    ({"target": {"m": [NEW]}}, lock(m=locked(OLD)), "back"),
    ({"target": {"m": [NEW]}}, lock(m=locked(NEW)), "finish"),
    ({"target": {"m": [NEW], "n": [OTHER]}}, lock(m=locked(NEW), n=locked(OLD)), "back"),
    ({"target": {"m": [NEW]}}, {}, "back"),
])
def test_what_an_unfinished_refresh_needs(journal: Any, current: Any, needs: str) -> None:
    assert _refresh.repair(journal, current) == needs


def test_a_journal_says_what_was_to_run() -> None:
    assert _refresh.target(lock(m=locked(NEW), n=locked(OTHER, "d" * 64)), ["n"]) == {"n": [OTHER, "d" * 64]}


def test_nothing_to_do_is_a_line_too() -> None:
    assert _refresh.lines([], {}) == ["nothing to refresh: the files that the lock has are the newest"]
