"""Files that are read, changed elsewhere and put back."""
from __future__ import annotations

import os
import threading

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _kept
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

LOCK = "fleet.lock.yml"


@pytest.mark.parametrize("one, other, same", [
    ({}, {}, True), ({"a": "x"}, {"a": "x"}, True), ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, True),
    ({"a": "x"}, {"a": "y"}, False), ({"a": "x"}, {"b": "x"}, False), ({"a": ""}, {}, False), ({"a": "x\nb"}, {"a": "x", "b": ""}, False),
])
def test_a_revision_stands_for_names_and_texts(one, other, same):
    assert (_kept.revision(one) == _kept.revision(other)) is same


@pytest.mark.parametrize("name, previous", [(LOCK, "fleet.lock.previous.yml"), ("models.yml", "models.previous.yml"), ("lock", "lock.previous")])
def test_previous_names(name, previous):
    assert _kept.previous_name(name) == previous


@pytest.mark.parametrize("found, wanted, made_from, new", [
    ({}, {}, None, {}), ({}, {"a": "x"}, {}, {"a": "x"}), ({"a": "x"}, {"a": "x"}, {"a": "old"}, {}), ({"a": "x"}, {"a": "y"}, None, {"a": "y"}),
    ({"a": "x"}, {"a": "y"}, {"a": "x"}, {"a": "y"}), ({"a": "x"}, {"a": "y"}, {"a": "old"}, FleetError), ({}, {"a": "y"}, {"a": "old"}, FleetError),
])
def test_what_changes(found, wanted, made_from, new):
    expected = None if made_from is None else _kept.revision(made_from)
    if new is FleetError:
        with pytest.raises(FleetError, match="someone else"):
            _kept.changed(found, wanted, expected, "here")
    else:
        assert _kept.changed(found, wanted, expected, "here") == new


def test_of_many_at_once_one_wins(tmp_path):
    folder, read = str(tmp_path), _kept.revision({})
    outcomes: list[str] = []

    def run(text: str) -> None:
        try:
            outcomes.append(f"wrote {_kept.keep(folder, {LOCK: text}, read, [LOCK], [LOCK])[LOCK]}")
        except FleetError as error:
            outcomes.append(error.what)

    threads = [threading.Thread(target=run, args=(f"{number}\n",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    winners = [outcome for outcome in outcomes if outcome.startswith("wrote")]
    assert len(outcomes) == 16 and winners == [f"wrote {(tmp_path / LOCK).read_text()}"] and os.listdir(folder) == [LOCK]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path, monkeypatch, step):
    _kept.put(str(tmp_path / LOCK), "one\n")

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(FleetError, match="cannot be written.*No space left"):
        _kept.put(str(tmp_path / LOCK), "two\n")
    assert os.listdir(tmp_path) == [LOCK] and (tmp_path / LOCK).read_text() == "one\n"


def test_the_way_back_is_there_before_the_change(tmp_path, monkeypatch):
    """A run that ends between the two writes leaves the old text under both names."""
    _kept.keep(str(tmp_path), {LOCK: "one\n"}, None, [LOCK], [LOCK])
    put, order = _kept.put, []
    monkeypatch.setattr(_kept, "put", lambda path, text: (order.append((os.path.basename(path), text)), put(path, text)))
    _kept.keep(str(tmp_path), {LOCK: "two\n"}, None, [LOCK], [LOCK])
    assert order == [("fleet.lock.previous.yml", "one\n"), (LOCK, "two\n")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner_and_a_link_stays_one(tmp_path):
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_text("one")
    os.chown(target, 4711, 4712)
    link.symlink_to(target)
    _kept.put(str(link), "two")
    assert link.is_symlink() and target.read_text() == "two"
    assert (target.stat().st_uid, target.stat().st_gid, target.stat().st_mode & 0o777) == (4711, 4712, 0o644)
