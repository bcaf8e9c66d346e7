"""LocalAI brought up to date, with a `docker` of the test's own and a server on the loopback that keeps models as LocalAI does."""
from __future__ import annotations

import json
import re

import pytest

KEY = "admin-key-0123456789"
OLD, NEW = "m.0a1b2c3d", "m.9f8e7d6c"


@pytest.fixture
def deployed(tmp_path, localai, fake_docker):
    """A container that started before its settings were written; `restart` has it read them all."""
    folder = tmp_path / "settings" / "localai"
    folder.mkdir(parents=True)
    localai.folder = folder
    container = [{"Id": "c" * 64, "HostConfig": {"Memory": 2 << 30}, "State": {"Running": True, "StartedAt": "2001-01-01T00:00:00.123456789Z"},
                  "NetworkSettings": {"Networks": {"localai": {"IPAddress": "127.0.0.1"}}}}]
    (tmp_path / "inspect.json").write_text(json.dumps(container))
    log = fake_docker(f'case "$1" in inspect) cat {tmp_path}/inspect.json;; restart) sed -i s/2001-01-01/2001-01-02/ {tmp_path}/inspect.json;; esac')
    args = {"path": str(tmp_path / "settings"), "state": str(tmp_path / "state" / "instances.json"), "api_key": KEY,
            "port": localai.server_address[1], "timeout": 10, "drain_timeout": 1, "load_timeout": 10}
    return args, log, folder


def container(folder, revisions, name="localai", **names):
    """A container whose folder holds these revisions and names, as config_files wrote them."""
    texts = {**{revision: f"threads: {number}\n" for number, revision in enumerate(revisions, 1)},
             **{served: f"name: {served}\nalias: {target}\n" for served, target in names.items()}}
    for stem, text in texts.items():
        path = folder / f"{stem}.yaml"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return {"name": name, "files": [{"name": f"{stem}.yaml", "content": text} for stem, text in texts.items()], "names": names}


def asked(server):
    """What was asked that changes something, since the last time."""
    found = [(path, body.get("model")) if body else path for path, body in server.asked if path not in ("/models/reload",)]
    reloads = sum(path == "/models/reload" for path, _body in server.asked)
    server.asked.clear()
    return reloads, found


def serving(run_module, args, localai, folder, *revisions, **names):
    """The container serves these; the changes that it took are forgotten."""
    result = run_module("localai_reload", {**args, "containers": [container(folder, revisions, **names)]})
    assert "msg" not in result, result
    for revision in revisions:
        localai.loaded.add(revision)
    localai.asked.clear()


def test_quartet(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD, **{"gpt-4": OLD})]
    check = run_module("localai_reload", args, check=True)
    assert (check["actions"], check["limits"]) == ({"localai": f"load {OLD}, reload"}, {"localai": 2 << 30})
    assert asked(localai) == (0, [])
    first = run_module("localai_reload", args)
    assert (first["changed"], first["actions"], first["addresses"]) == (True, {"localai": f"load {OLD}, reload"}, {"localai": "127.0.0.1"})
    assert asked(localai) == (1, [("/backend/load", OLD)])
    for check in (True, False):
        assert not run_module("localai_reload", args, check=check)["changed"]
    assert asked(localai) == (0, [])
    assert localai.aliases() == {"m": OLD, "gpt-4": OLD}


def test_a_change_is_loaded_then_served_then_the_old_one_goes(run_module, deployed, localai) -> None:
    args, log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [container(folder, [NEW], m=NEW)]
    told = f"load {NEW}, reload, stop {OLD}, remove {OLD}.yaml, forget {OLD}"
    check = run_module("localai_reload", args, check=True)
    assert (check["changed"], check["actions"]) == (True, {"localai": told})
    assert (folder / f"{OLD}.yaml").exists()
    localai.asked.clear()
    assert run_module("localai_reload", args)["actions"] == {"localai": told}
    assert [path for path, _body in localai.asked] == ["/backend/load", "/models/reload", "/backend/shutdown", f"/models/delete/{OLD}"]
    assert (localai.aliases(), localai.loaded) == ({"m": NEW}, {NEW})
    assert {path.name for path in folder.iterdir()} == {"m.yaml", f"{NEW}.yaml"}
    assert "restart" not in log.read_text()
    assert not run_module("localai_reload", args)["changed"]


def test_a_revision_that_does_not_load_moves_nothing(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [container(folder, [NEW], m=NEW, **{"gpt-4": NEW})]
    localai.refuses[NEW] = "the file is no model"
    result = run_module("localai_reload", args)
    assert re.search(f"does not load.*{NEW}.*the file is no model.*point to the old settings as before", result["msg"])
    assert (localai.aliases(), localai.loaded) == ({"m": OLD}, {OLD})
    assert {path.name for path in folder.iterdir()} == {"m.yaml", f"{OLD}.yaml"}
    assert json.loads((folder / "m.yaml").read_text().splitlines()[1].partition(": ")[2]) == OLD
    localai.refuses.clear()
    args["containers"] = [container(folder, [NEW], m=NEW, **{"gpt-4": NEW})]
    assert run_module("localai_reload", args)["changed"]
    assert (localai.aliases(), localai.loaded) == ({"m": NEW, "gpt-4": NEW}, {NEW})


def test_a_busy_one_is_waited_for_and_a_late_request_is_no_way_back(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [container(folder, [NEW], m=NEW)]
    localai.busy[OLD] = 2
    localai.late.append(OLD)
    assert run_module("localai_reload", args)["changed"]
    assert localai.loaded == {NEW}
    assert [body for path, body in localai.asked if path == "/backend/shutdown"] == [{"model": OLD}] * 4


def test_one_that_stays_busy_is_said(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [container(folder, [NEW], m=NEW)]
    localai.busy[OLD] = 1000
    assert re.search(f"still busy.*{OLD}.*Run again", run_module("localai_reload", args)["msg"])
    assert (localai.aliases(), (folder / f"{OLD}.yaml").exists()) == ({"m": NEW}, True)
    localai.busy.clear()
    assert run_module("localai_reload", args)["actions"] == {"localai": f"stop {OLD}, remove {OLD}.yaml, forget {OLD}"}


def test_without_loading_the_first_request_does_it(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [{**container(folder, [NEW], m=NEW), "load": False}]
    assert run_module("localai_reload", args)["changed"]
    assert "/backend/load" not in [path for path, _body in localai.asked]
    assert (localai.aliases(), localai.loaded) == ({"m": NEW}, set())


def test_a_removed_name_needs_no_restart(run_module, deployed, localai) -> None:
    args, log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD, **{"gpt-4": OLD})
    (folder / "notes").write_text("somebody's\n")
    args["containers"] = [container(folder, [OLD], m=OLD)]
    result = run_module("localai_reload", args)
    assert result["actions"] == {"localai": "remove gpt-4.yaml, remove notes, forget gpt-4"}
    assert localai.listed() == {"m", OLD}
    assert "restart" not in log.read_text()
    assert not run_module("localai_reload", args)["changed"]


def test_a_name_that_is_not_forgotten_costs_a_restart(run_module, deployed, localai) -> None:
    args, log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD, **{"gpt-4": OLD})
    localai.forgets = False
    args["containers"] = [container(folder, [OLD], m=OLD)]
    result = run_module("localai_reload", args)
    assert "restart --time 90 localai" in log.read_text()
    assert result["instances"][0]["started_at"].startswith("2001-01-02")
    assert asked(localai)[1][-1] == ("/backend/load", OLD)


def test_settings_that_were_tampered_with_are_read_again(run_module, deployed, localai, tmp_path) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    args["containers"] = [container(folder, [OLD], m=OLD)]
    (tmp_path / "state" / "instances.json").unlink()
    assert run_module("localai_reload", args)["actions"] == {"localai": f"reload, stop {OLD}, load {OLD}"}
    assert not run_module("localai_reload", args)["changed"]


def test_tampered_settings_that_a_busy_engine_keeps_are_not_taken_as_told(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    serving(run_module, args, localai, folder, OLD, m=OLD)
    (folder / f"{OLD}.yaml").write_text("threads: 9\n")
    localai.do("/models/reload", "")
    args["containers"] = [{**container(folder, [OLD], m=OLD), "files": [{"name": f"{OLD}.yaml", "content": "threads: 2\n"},
                                                                        {"name": "m.yaml", "content": f"name: m\nalias: {OLD}\n"}]}]
    (folder / f"{OLD}.yaml").write_text("threads: 2\n")
    localai.busy[OLD] = 1000
    assert "still busy" in run_module("localai_reload", args)["msg"]
    localai.busy.clear()
    assert run_module("localai_reload", args)["actions"] == {"localai": f"reload, stop {OLD}, load {OLD}"}
    assert not run_module("localai_reload", args)["changed"]


def test_folders_of_links_that_nothing_has_go(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    for name in ("a", "b"):
        (folder / "split" / name).mkdir(parents=True)
    args["containers"] = [{**container(folder, [OLD], m=OLD), "links": [{"path": "split/a/model-00001-of-00002.gguf", "target": "x"}]}]
    assert run_module("localai_reload", args)["changed"]
    assert [path.name for path in (folder / "split").iterdir()] == ["a"]


def test_each_container_has_settings_of_its_own(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD), container(folder, [OLD], name="localai-ondemand", m=OLD)]
    assert set(run_module("localai_reload", args)["actions"]) == {"localai", "localai-ondemand"}
    args["containers"] = args["containers"][:1]
    assert [entry["name"] for entry in run_module("localai_reload", args)["instances"]] == ["localai"]


def test_without_a_container(run_module, deployed, tmp_path) -> None:
    args, _log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD)]
    (tmp_path / "inspect.json").write_text("[{\"State\": {\"Running\": false}}]")
    assert run_module("localai_reload", args, check=True)["changed"]
    assert "does not run" in run_module("localai_reload", args)["msg"]
    assert not (tmp_path / "state").exists()


def test_a_server_that_refuses_is_a_sentence(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD)]
    localai.statuses["/models/reload"] = 500
    assert "refused to take its new settings" in run_module("localai_reload", args)["msg"]
    localai.statuses["/v1/models"] = 401
    assert "does not tell what it serves" in run_module("localai_reload", args)["msg"]


def test_the_key_is_in_no_result_and_no_command(run_module, deployed) -> None:
    args, log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD)]
    assert KEY not in str(run_module("localai_reload", args))
    assert KEY not in log.read_text()


def test_a_first_model_that_does_not_load_says_nothing_of_old_settings(run_module, deployed, localai) -> None:
    args, _log, folder = deployed
    args["containers"] = [container(folder, [OLD], m=OLD)]
    localai.refuses[OLD] = "the file is no model"
    result = run_module("localai_reload", args)
    assert re.search(f"does not load.*{OLD}.*the file is no model.*Correct its settings", result["msg"]) and "old settings" not in result["msg"]
