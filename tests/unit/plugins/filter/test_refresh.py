"""Filters of a refresh: what the engines decide, with Ansible's own errors."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.refresh import FilterModule
from ansible_collections.localai.fleet.plugins.module_utils import _lock
from ansible_collections.localai.fleet.plugins.module_utils._gate import Floors
from fleets import MIB, header, host, plan, want

OLD, NEW = "a" * 64, "b" * 64
FILTERS = FilterModule().filters()


def entry(digest: str) -> dict[str, Any]:
    head = header()
    return {"source": "hf://a/b", "repository": "a/b", "commit": "c" * 40, "files": [{"path": "m.gguf", "size": 800 * MIB, "sha256": digest, "url": None}],
            "quant": "Q4_K_M", "license": None, "architecture": head.architecture, "chat_template_sha256": None, "header": head.as_dict(),
            "resolved_at": "2026-01-01T00:00:00Z", "resolved_by": "test", "projector": None}


def lock(digest: str) -> dict[str, Any]:
    return {"schema": 1, "images": {}, "models": {"m": entry(digest)}}


def test_a_proposal_says_which_lock_it_was_made_from() -> None:
    kept = FILTERS["proposal_text"]("schema: 1\nmodels: {}\n", "the lock\n")
    assert FILTERS["proposed_lock"](kept) == "schema: 1\nmodels: {}\n"
    assert FILTERS["refresh_names"](lock(NEW), lock(OLD), "the lock\n", kept, "p") == ["m"]
    assert FILTERS["refresh_names"](lock(NEW), lock(OLD), "any", "", "p") == ["m"], "a proposal of this run"
    with pytest.raises(AnsibleFilterError, match="moved since the proposal"):
        FILTERS["refresh_names"](lock(NEW), lock(OLD), "another lock\n", kept, "p")


def test_the_same_proposal_stays_the_same() -> None:
    first, later = lock(NEW), lock(NEW)
    later["models"]["m"]["resolved_at"] = "2026-02-01T00:00:00Z"
    kept = FILTERS["proposal_text"](_lock.dump(_lock.validate(first)), "the lock")
    assert FILTERS["proposal_text"](_lock.dump(_lock.validate(later)), "the lock", kept) == kept
    assert FILTERS["proposal_text"](_lock.dump(_lock.validate(lock(OLD))), "the lock", kept) != kept


def test_what_a_proposal_changes_is_told_wherever_it_came_from() -> None:
    (line,) = FILTERS["refresh_changes"](lock(NEW), lock(OLD))
    assert line.startswith("model m: ") and OLD[:12] in line and NEW[:12] in line
    assert FILTERS["refresh_changes"](lock(NEW), lock(NEW)) == []


@pytest.mark.parametrize("kept", ["", "models: {}\n", "# Proposed in place of the lock abc.\n"])
def test_what_is_no_proposal_proposes_nothing(kept: str) -> None:
    assert FILTERS["proposed_lock"](kept) == ""


def test_the_lock_to_go_back_to_is_a_lock() -> None:
    text = FILTERS["rollback_lock"](lock(NEW), lock(OLD))
    assert OLD in text and NEW not in text
    with pytest.raises(AnsibleFilterError, match="no earlier lock"):
        FILTERS["rollback_lock"](lock(NEW), lock(NEW))


def test_parts_and_lines() -> None:
    before = plan(host(), digests={"m": OLD}).as_dict()
    after = plan(host(), digests={"m": NEW}, previous=before).as_dict()
    both = FILTERS["refresh_both"]([{"name": "m", "source": "hf://a/b"}], lock(OLD), lock(NEW), before, after)
    together = plan(host(), [want("m"), want("m.before")], digests={"m": NEW, "m.before": OLD}, previous=before).as_dict()
    assert [item["name"] for item in both["wanted"]] == ["m", "m.before"]
    found = FILTERS["refresh_parts"](["m"], before, after, together)
    assert found["hosts"]["ai1"]["mode"] == "beside" and found["lines"] == ["ai1: m beside the old one, first"]
    assert FILTERS["refresh_parts"]([], before, after, {})["hosts"] == {}
    with pytest.raises(AnsibleFilterError, match="ai9"):
        FILTERS["refresh_parts"](["m"], before, after, together, "ai9")


def test_what_a_host_tries() -> None:
    after = plan(host(), [want("m", aliases=["gpt-4"]), want("n")], digests={"m": NEW, "n": OLD}).as_dict()["hosts"]["ai1"]["instances"]
    wanted = [{"name": "m", "source": "hf://a/b", "aliases": ["gpt-4"]}, {"name": "n", "source": "hf://a/b"}]
    (tried,) = FILTERS["refresh_candidates"](after, wanted, {"models": {"m": entry(NEW), "n": entry(OLD)}}, ["m"])
    assert (tried["instance"], tried["model"], tried["kind"]) == ("localai", "m", "chat")
    assert tried["revision"].startswith("m.") and NEW in tried["content"] and tried["planned"] == after[0]["models"][0]["memory"]["anonymous"]
    assert tried["links"] == []


def test_journal() -> None:
    target = FILTERS["refresh_target"](lock(NEW), ["m"])
    assert FILTERS["refresh_repair"](json.dumps({"target": target}), lock(OLD)) == "back"
    assert FILTERS["refresh_repair"](json.dumps({"target": target}), lock(NEW)) == "finish"
    assert FILTERS["refresh_repair"]("", lock(NEW)) == FILTERS["refresh_repair"]("{}", lock(NEW)) == "nothing"


def test_deployed_is_what_the_lock_has() -> None:
    states = {"ai1": plan(host(), digests={"m": OLD}).as_dict()["hosts"]["ai1"]}
    assert FILTERS["refresh_checked"](states, lock(OLD)) is True
    with pytest.raises(AnsibleFilterError, match="site.yml first"):
        FILTERS["refresh_checked"](states, lock(NEW))


def test_prompts_and_verdict() -> None:
    prompts = FILTERS["gate_prompts"]("m", "chat", [{"name": "own", "prompt": "?", "contains": ["x"]}], False)
    assert [prompt["name"] for prompt in prompts] == ["own"]
    assert len(FILTERS["gate_prompts"]("m", "chat", [], True, 2)) == 2 < len(FILTERS["gate_prompts"]("m", "chat", []))
    good = {"own": {"error": "", "text": "x", "tokens_per_second": 10.0}}
    floors = Floors().__dict__
    assert FILTERS["gate_verdict"](good, "m", prompts, good, floors)["ok"]
    assert FILTERS["gate_verdict"](good, "m", prompts, good, floors, 11, 10)["reasons"] == [
        "m: too big: its process holds 11 bytes that cannot be dropped, and the plan has 10"]
    assert not FILTERS["gate_verdict"]({"own": {"error": "", "text": "y"}}, "m", prompts, good, floors)["ok"]
    assert FILTERS["gate_verdict"]({"own": {"error": "", "text": "y"}}, "m", prompts, good)["ok"], "what served before needs only to answer"
    with pytest.raises(AnsibleFilterError, match="contians"):
        FILTERS["gate_prompts"]("m", "chat", [{"name": "own", "prompt": "?", "contians": ["x"]}])


def test_reclaimed() -> None:
    files = [{"path": f"/x/gguf/{name}.gguf", "size": 5, "mtime": 0.0} for name in (OLD, NEW)]
    assert FILTERS["reclaimed"](files, {"the lock": lock(NEW)}, [], [], 10.0 ** 9, 0, 30)["remove"] == [OLD]
