"""How a running LocalAI comes to serve what is wanted of it."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._reload import Known, Running, Steps, Wanted, decide, record, suspects

NOW = Running("localai", "c1", "2026-11-23T04:00:00.5Z", 1000.5)
OLD, NEW, OTHER = "m.0a1b2c3d", "m.9f8e7d6c", "n.11112222"
BEFORE = Known(frozenset({OLD, "m", "gpt-4"}), {"m": OLD, "gpt-4": OLD}, frozenset({OLD}))
FILES = ("m.yaml", "gpt-4.yaml", f"{OLD}.yaml")


def wanted(revision: str = OLD, *names: str, **more: str) -> Wanted:
    found = {**{name: revision for name in names or ("m", "gpt-4")}, **more}
    return Wanted(frozenset(found.values()), found)


@pytest.mark.parametrize(("target", "known", "files", "options", "expected"), [
    (wanted(), BEFORE, FILES, {}, "nothing"),
    (wanted(), Known(BEFORE.listed | {NEW}, BEFORE.aliases, BEFORE.loaded), FILES, {}, "nothing"),  # a revision that is gone may stay listed
    (wanted(NEW), BEFORE, (*FILES, f"{NEW}.yaml"), {}, f"load {NEW}, reload, stop {OLD}, remove {OLD}.yaml, forget {OLD}"),
    (wanted(NEW), BEFORE, FILES, {"load": False}, f"reload, stop {OLD}, remove {OLD}.yaml, forget {OLD}"),
    (wanted(NEW), Known(BEFORE.listed, BEFORE.aliases), FILES, {}, f"load {NEW}, reload, remove {OLD}.yaml, forget {OLD}"),
    (wanted(NEW), Known(BEFORE.listed | {NEW}, BEFORE.aliases, frozenset({OLD, NEW})), FILES, {}, f"reload, stop {OLD}, remove {OLD}.yaml, forget {OLD}"),
    (wanted(NEW), BEFORE, FILES, {"needs": {NEW: 5}, "room": 5}, f"load {NEW}, reload, stop {OLD}, remove {OLD}.yaml, forget {OLD}"),
    (wanted(NEW), BEFORE, FILES, {"needs": {NEW: 6}, "room": 5}, f"reload, stop {OLD}, load {NEW}, remove {OLD}.yaml, forget {OLD}"),
    (wanted(), Known(BEFORE.listed, BEFORE.aliases), FILES, {}, f"load {OLD}"),  # it was started anew
    (wanted(), Known(BEFORE.listed, BEFORE.aliases), FILES, {"load": False}, "nothing"),
    (wanted(OLD, n=OTHER), Known(frozenset(), {}, frozenset()), (*FILES, "n.yaml", f"{OTHER}.yaml"), {}, f"load {OLD}, load {OTHER}, reload"),
    (wanted(OLD, n=OTHER), BEFORE, (*FILES, "n.yaml", f"{OTHER}.yaml"), {}, f"load {OTHER}, reload"),
    (wanted(OLD, n=OTHER), BEFORE, (*FILES, "n.yaml", f"{OTHER}.yaml"), {"needs": {OTHER: 6}, "room": 5}, f"reload, load {OTHER}"),
    (wanted(OLD, "m"), BEFORE, FILES, {}, "remove gpt-4.yaml, forget gpt-4"),
    (wanted(OLD, "m"), BEFORE, FILES[::2], {}, "forget gpt-4"),
    (wanted(), BEFORE, (*FILES, "notes", ".yaml"), {}, "remove .yaml, remove notes"),
    (wanted(), BEFORE, FILES, {"suspect": {OLD}}, f"reload, stop {OLD}, load {OLD}"),
    (wanted(), Known(BEFORE.listed, BEFORE.aliases), FILES, {"suspect": {OLD}}, f"reload, load {OLD}"),
    (wanted(), BEFORE, FILES, {"suspect": {OLD}, "load": False}, f"reload, stop {OLD}"),
    (wanted(), Known(frozenset({"m", "gpt-4"}), {"gpt-4": "m"}, frozenset({"m"})), FILES, {"load": False}, "reload, stop m"),
])
def test_decide(target, known, files, options, expected) -> None:
    steps = decide(target, known, files, **options)
    assert str(steps) == expected
    assert steps.changed is (expected != "nothing")


def test_several_revisions_need_room_together() -> None:
    before = Known(frozenset({OLD, "m", "n", OTHER}), {"m": OLD, "n": OTHER}, frozenset({OLD, OTHER}))
    target = wanted("m.aaaaaaaa", "m", n="n.bbbbbbbb")
    needs = {"m.aaaaaaaa": 3, "n.bbbbbbbb": 3}
    assert decide(target, before, (), needs=needs, room=6).load == ("m.aaaaaaaa", "n.bbbbbbbb")
    assert decide(target, before, (), needs=needs, room=5).load_later == ("m.aaaaaaaa", "n.bbbbbbbb")


@pytest.mark.parametrize(("recorded", "written", "expected"), [
    (None, 1000.0, set()),
    (None, 1001.0, {OLD}),
    (record({OLD: "1"}, NOW), 1001.0, set()),
    (record({OLD: "2"}, NOW), 1001.0, {OLD}),
    ({**record({OLD: "1"}, NOW), "started_at": "earlier"}, 1001.0, {OLD}),
    ({**record({OLD: "1"}, NOW), "container_id": "c0"}, 1000.0, set()),
])
def test_suspects(recorded, written, expected) -> None:
    assert suspects(wanted(), BEFORE, recorded, NOW, {OLD: written, "m": 2000.0}, {OLD: "1"}) == expected


def test_what_localai_does_not_know_is_no_suspect() -> None:
    assert suspects(wanted(NEW), BEFORE, None, NOW, {NEW: 2000.0}, {NEW: "1"}) == set()


def test_nothing_to_do_is_no_change() -> None:
    assert not Steps().changed
