"""One revision beside what a LocalAI serves, with a `docker` of the test's own and a server on the loopback that keeps models as LocalAI does."""
from __future__ import annotations

import json
import re
from typing import Any

import pytest

KEY = "admin-key-0123456789"
OLD, NEW = "m.0a1b2c3d", "m.9f8e7d6c"
SHA = "b" * 64


@pytest.fixture
def serving(tmp_path, localai, fake_docker):
    """A container that serves OLD as m; the arguments that want NEW beside it."""
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / f"{OLD}.yaml").write_text(f"name: {OLD}\n")
    (folder / "m.yaml").write_text(f"name: m\nalias: {OLD}\n")
    localai.folder = folder
    localai.do("/models/reload", "")
    localai.loaded.add(OLD)
    (tmp_path / "inspect.json").write_text(json.dumps([{
        "Id": "c" * 64, "State": {"Running": True, "StartedAt": "2001-01-01T00:00:00.5Z", "Pid": 7},
        "NetworkSettings": {"Networks": {"localai": {"IPAddress": "127.0.0.1"}}}}]))
    log = fake_docker(f"cat {tmp_path}/inspect.json")
    args = {"name": NEW, "content": f"name: {NEW}\n", "path": str(folder), "records": str(tmp_path / "state" / "instances.json"), "api_key": KEY,
            "port": localai.server_address[1], "drain_timeout": 1, "root": str(tmp_path / "root")}
    return args, folder, log


def asked(server):
    """What was asked that changes something, since the last time."""
    found = [path for path, _body in server.asked]
    server.asked.clear()
    return found


def test_quartet_of_present(run_module, serving, localai) -> None:
    args, folder, _log = serving
    check = run_module("localai_model", args, check=True)
    assert (check["changed"], check["loaded"], check["diff"]["after"]) == (True, False, f"name: {NEW}\n")
    assert (asked(localai), (folder / f"{NEW}.yaml").exists()) == ([], False)
    real = run_module("localai_model", args)
    assert (real["changed"], real["loaded"], real["address"], real["engine"]) == (True, True, "127.0.0.1", None)
    assert real["load_seconds"] >= 0
    assert (asked(localai), localai.loaded, localai.aliases()) == (["/backend/load"], {OLD, NEW}, {"m": OLD})
    assert (folder / f"{NEW}.yaml").stat().st_mode & 0o777 == 0o640
    for check in (True, False):
        again = run_module("localai_model", args, check=check)
        assert (again["changed"], again["loaded"], again["load_seconds"]) == (False, True, None)
    assert asked(localai) == []


def test_quartet_of_absent(run_module, serving, localai) -> None:
    args, folder, _log = serving
    run_module("localai_model", args)
    gone = {**args, "state": "absent"}
    asked(localai)
    assert run_module("localai_model", gone, check=True)["changed"]
    assert asked(localai) == []
    real = run_module("localai_model", gone)
    assert (real["changed"], real["loaded"]) == (True, False)
    assert asked(localai) == ["/backend/shutdown", f"/models/delete/{NEW}"]
    assert ({path.name for path in folder.iterdir()}, localai.listed()) == ({"m.yaml", f"{OLD}.yaml"}, {"m", OLD})
    for check in (True, False):
        assert not run_module("localai_model", gone, check=check)["changed"]


def test_the_old_one_goes_first_where_it_is_asked_for_and_keeps_its_names(run_module, serving, localai) -> None:
    args, folder, _log = serving
    args = {**args, "in_place_of": ["m", "nobody"]}
    for changed in (True, False):
        assert run_module("localai_model", args)["changed"] is changed
        assert (localai.loaded, localai.aliases()) == ({NEW}, {"m": OLD})
    assert asked(localai) == ["/backend/shutdown", "/backend/load"]
    assert (folder / f"{OLD}.yaml").exists()
    run_module("localai_model", {**args, "name": OLD, "content": f"name: {OLD}\n"})
    assert localai.loaded == {OLD, NEW}, "a revision is not in its own place"


def test_what_localai_was_told_is_kept(run_module, serving, tmp_path) -> None:
    args, _folder, _log = serving

    def told() -> dict[str, Any]:
        return json.loads((tmp_path / "state" / "instances.json").read_text())["instances"][0]["models"]

    run_module("localai_model", args)
    assert set(told()) == {NEW}
    run_module("localai_model", {**args, "state": "absent"})
    assert told() == {}


def test_one_that_does_not_load_is_taken_away(run_module, serving, localai) -> None:
    args, folder, _log = serving
    localai.refuses[NEW] = "the file is no model"
    result = run_module("localai_model", args)
    assert re.search(f"does not load.*{NEW}.*the file is no model", result["msg"])
    assert ({path.name for path in folder.iterdir()}, localai.listed(), localai.loaded) == ({"m.yaml", f"{OLD}.yaml"}, {"m", OLD}, {OLD})


def test_without_loading(run_module, serving, localai) -> None:
    args, folder, _log = serving
    result = run_module("localai_model", {**args, "load": False})
    assert (result["changed"], result["loaded"], asked(localai)) == (True, False, [])
    assert run_module("localai_model", args)["loaded"]


def test_settings_that_differ_are_read_again(run_module, serving, localai) -> None:
    args, _folder, _log = serving
    run_module("localai_model", args)
    asked(localai)
    assert run_module("localai_model", {**args, "content": f"name: {NEW}\nthreads: 2\n"})["loaded"]
    assert asked(localai) == ["/models/reload", "/backend/shutdown", "/backend/load"]
    assert "threads: 2" in localai.memory[NEW]


def test_settings_that_a_busy_engine_did_not_take_are_given_again(run_module, serving, localai) -> None:
    args, _folder, _log = serving
    run_module("localai_model", args)
    other, localai.busy[NEW] = {**args, "content": f"name: {NEW}\nthreads: 2\n"}, 10 ** 9
    assert "still busy" in run_module("localai_model", other)["msg"]
    localai.busy.clear()
    asked(localai)
    assert run_module("localai_model", other, check=True)["changed"]
    assert run_module("localai_model", other)["changed"] and asked(localai) == ["/models/reload", "/backend/shutdown", "/backend/load"]
    assert not run_module("localai_model", other)["changed"]


def test_links_come_and_go_with_it(run_module, serving) -> None:
    args, folder, _log = serving
    path = f"split/{SHA}/model-00001-of-00002.gguf"
    whole = {**args, "content": f"parameters: {{model: {path}}}\n", "links": [{"path": path, "target": f"../../gguf/{SHA}.gguf"}]}
    run_module("localai_model", whole)
    assert (folder / path).readlink().as_posix() == f"../../gguf/{SHA}.gguf"
    run_module("localai_model", {**whole, "state": "absent"})
    assert not (folder / path).parent.exists()


def test_a_revision_that_is_served_is_not_taken_away(run_module, serving, localai) -> None:
    args, folder, _log = serving
    result = run_module("localai_model", {**args, "name": OLD, "state": "absent"})
    assert re.search(f"still point to the revision.*{OLD}.*got m", result["msg"])
    assert ((folder / f"{OLD}.yaml").exists(), localai.loaded) == (True, {OLD})


@pytest.mark.parametrize(("change", "sentence"), [({"name": "m"}, "not that of a revision"), ({"content": None}, "content")])
def test_what_cannot_work_is_refused(run_module, serving, localai, change, sentence) -> None:
    args, _folder, _log = serving
    assert sentence in run_module("localai_model", {name: value for name, value in {**args, **change}.items() if value is not None})["msg"]
    assert asked(localai) == []


def test_without_a_container(run_module, serving, tmp_path) -> None:
    args, folder, _log = serving
    (tmp_path / "inspect.json").write_text('[{"State": {"Running": false}}]')
    assert "does not run" in run_module("localai_model", args)["msg"]
    assert not (folder / f"{NEW}.yaml").exists()


def test_the_engine_that_was_started_is_told(run_module, serving, localai, tmp_path) -> None:
    args, _folder, _log = serving
    group = tmp_path / "root/sys/fs/cgroup/docker"
    group.mkdir(parents=True)
    (tmp_path / "root/sys/fs/cgroup/cgroup.controllers").write_text("memory\n")
    (group / "memory.current").write_text("1\n")
    for pid, names in ((7, ""), (8, f"7f00-7f01 r--p 00000000 08:01 1 /models/gguf/{SHA}.gguf\n")):
        place = tmp_path / "root/proc" / str(pid)
        place.mkdir(parents=True)
        (place / "cgroup").write_text("0::/docker\n")
        (place / "maps").write_text(names)
        (place / "status").write_text("Name:\tld.so\nThreads:\t3\nRssAnon:\t  12 kB\nRssFile:\t  34 kB\n")
    (group / "cgroup.procs").write_text("7\n")
    localai.loads = lambda _name: (group / "cgroup.procs").write_text("7\n8\n")
    engine = run_module("localai_model", args)["engine"]
    assert engine == {"pid": 8, "rss_anonymous_bytes": 12 << 10, "rss_file_bytes": 34 << 10, "blobs": [SHA]}


def test_the_key_is_in_no_result_and_no_command(run_module, serving) -> None:
    args, _folder, log = serving
    assert KEY not in str(run_module("localai_model", args))
    assert KEY not in log.read_text()
