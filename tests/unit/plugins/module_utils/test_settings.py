"""The settings folder of an instance."""
from __future__ import annotations

import json
import os

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _settings

PART = "split/aa/model-00001-of-00002.gguf"


def test_held_are_files_and_links_with_their_times(tmp_path) -> None:
    (tmp_path / "m.yaml").write_text("x")
    os.utime(tmp_path / "m.yaml", (5, 5))
    (tmp_path / "gguf").mkdir()
    (tmp_path / "loose").symlink_to("nowhere")
    found = _settings.held(str(tmp_path))
    assert (set(found), found["m.yaml"]) == ({"m.yaml", "loose"}, 5.0)
    assert _settings.held(str(tmp_path / "none")) == {}


def test_a_new_file_is_the_services_and_an_old_one_stays_as_it_was(tmp_path) -> None:
    path = tmp_path / "m.yaml"
    _settings.write(str(path), "one")
    assert (path.read_text(), path.stat().st_mode & 0o777, path.stat().st_gid) == ("one", 0o640, tmp_path.stat().st_gid)
    path.chmod(0o600)
    _settings.write(str(path), "two")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o600)
    assert os.listdir(tmp_path) == ["m.yaml"]


def test_read_and_remove_take_what_is_gone(tmp_path) -> None:
    assert _settings.read(str(tmp_path / "m.yaml")) is None
    _settings.remove(str(tmp_path / "m.yaml"))


def test_links_are_made_once_and_repaired(tmp_path) -> None:
    links = {PART: "../../gguf/aa.gguf"}
    assert _settings.link(str(tmp_path), links)
    assert not _settings.link(str(tmp_path), links)
    (tmp_path / PART).unlink()
    (tmp_path / PART).write_text("a file")
    assert _settings.link(str(tmp_path), links)
    assert os.readlink(tmp_path / PART) == "../../gguf/aa.gguf"
    assert (tmp_path / "split").stat().st_mode & 0o777 == 0o755


def test_folders_of_links_stay_as_long_as_a_file_names_them(tmp_path) -> None:
    _settings.link(str(tmp_path), {PART: "x", PART.replace("aa", "bb"): "x"})
    (tmp_path / "m.yaml").write_text(f"parameters:\n  model: {PART}\n")
    assert _settings.referred(str(tmp_path)) == {"split/aa/"}
    _settings.unlink_all_but(str(tmp_path), _settings.referred(str(tmp_path)))
    assert os.listdir(tmp_path / "split") == ["aa"]
    _settings.unlink_all_but(str(tmp_path), ())
    assert os.listdir(tmp_path) == ["m.yaml"]
    _settings.unlink_all_but(str(tmp_path / "none"), ())


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"instances": [1]}', '{"instances": {}}'])
def test_a_damaged_record_is_none(tmp_path, text) -> None:
    path = tmp_path / "state" / "instances.json"
    if text is not None:
        path.parent.mkdir()
        path.write_text(text)
    assert _settings.read_records(str(path)) == {}


def test_records_are_kept_as_the_capacity_reads_them(tmp_path) -> None:
    path = tmp_path / "state" / "instances.json"
    _settings.write_records(str(path), {"localai": {"name": "localai", "container_id": "c"}})
    assert json.loads(path.read_text()) == {"instances": [{"name": "localai", "container_id": "c"}]}
    assert _settings.read_records(str(path)) == {"localai": {"name": "localai", "container_id": "c"}}
