"""fleet_lock against a hub and a registry on loopback."""
from __future__ import annotations

import os
import re
from dataclasses import replace

import fleets
import hub_repository
import hub_shop
import pytest
import registry_server
import yaml
from ansible_collections.localai.fleet.plugins.module_utils import _presets

from tests.lab import hub as lab

NAME = hub_repository.NAME


@pytest.fixture
def server(tmp_path):
    with lab.running(hub_repository.make(tmp_path / "hub")) as running:
        yield running


@pytest.fixture
def registry():
    with registry_server.running() as running:
        running.put_image("go-skynet/local-ai", "v4.9.0")
        running.put_index("library/nginx", "1.30.6", "amd64", "arm64")
        yield running


@pytest.fixture
def args(tmp_path, server, registry):
    (tmp_path / "inventory").mkdir()
    return {
        "path": str(tmp_path / "inventory" / "fleet.lock.yml"), "hub_endpoint": server.url, "registry": registry.address,
        "wanted": [{"name": "tiny", "source": f"hf://{NAME}", "aliases": ["gpt-4"]}],
        "images": {"localai": {"name": "quay.io/go-skynet/local-ai", "version": "v4.9.0"}, "nginx": {"name": "docker.io/library/nginx", "version": "1.30.6"}},
    }


def text_of(args) -> str:
    with open(args["path"], encoding="utf-8") as stream:
        return stream.read()


def without_time(result) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "T", str(result))


def test_quartet(run_module, args):
    predicted = run_module("fleet_lock", args, check=True)
    assert predicted["changed"] and not os.path.exists(args["path"])
    real = run_module("fleet_lock", args)
    assert without_time(real) == without_time(predicted)
    text = text_of(args)
    for check in (True, False):
        again = run_module("fleet_lock", args, check=check)
        assert not again["changed"] and again["resolved"] == [] and again["changes"] == []
        assert again["lock"] == real["lock"] == yaml.safe_load(text) and text_of(args) == text


def test_what_is_returned_and_written(run_module, args):
    result = run_module("fleet_lock", args)
    assert result["resolved"] == [
        {"what": "model", "name": "tiny", "reason": "not in the lock"}, {"what": "image", "name": "localai", "reason": "not in the lock"},
        {"what": "image", "name": "nginx", "reason": "not in the lock"}]
    assert [line.split(":")[0] for line in result["changes"]] == ["image localai", "image nginx", "model tiny"]
    assert result["lock"]["images"]["localai"]["platform"] == "linux/amd64" and result["lock"]["images"]["nginx"]["platform"] == "multi"
    assert args["registry"].split("//")[1] not in text_of(args)
    assert result["diff"]["prepared"].splitlines() == [f"{args['path']}:", *(f"  {line}" for line in result["changes"])]
    assert re.match(r"model tiny: added, acme/Tiny-GGUF@\w{12} Q4_K_M, file tiny-Q4_K_M.gguf \(\w{12}\), size [\d.]+ MiB, license mit, memory [\d.]+ MiB",
                    result["changes"][2])
    assert os.stat(args["path"]).st_mode & 0o777 == 0o644
    assert os.listdir(os.path.dirname(args["path"])) == ["fleet.lock.yml"]


def test_nothing_is_asked_when_nothing_lacks(run_module, args, server, registry):
    run_module("fleet_lock", args)
    server.log.clear()
    registry.requests.clear()
    args["wanted"][0]["context"] = 8192
    assert not run_module("fleet_lock", args)["changed"]
    assert server.log.as_list() == [] and registry.requests == []


def test_only_what_is_asked_for_moves(run_module, args, server, registry, tmp_path):
    before = run_module("fleet_lock", args)["lock"]
    hub_repository.add_gguf(tmp_path / "hub", "tiny-Q4_K_M.gguf", general__name="a newer one")
    registry.put_image("go-skynet/local-ai", "v4.9.0", salt="moved")
    args["wanted"].append({"name": "eight", "source": f"hf://{NAME}", "quant": "Q8_0"})
    after = run_module("fleet_lock", args)
    assert after["lock"]["models"]["tiny"] == before["models"]["tiny"] and after["lock"]["images"] == before["images"]
    assert after["changes"][0].startswith("model eight: added") and len(after["changes"]) == 1
    assert after["lock"]["models"]["eight"]["commit"] != before["models"]["tiny"]["commit"]


def test_quartet_of_a_refresh(run_module, args, tmp_path, server):
    args["wanted"].append({"name": "eight", "source": f"hf://{NAME}", "quant": "Q8_0"})
    before = run_module("fleet_lock", args)["lock"]
    for name, kind in (("tiny-Q4_K_M.gguf", 15), ("tiny-Q8_0.gguf", 7)):
        hub_repository.add_gguf(tmp_path / "hub", name, file_type=kind, general__name="a newer one")
    assert not run_module("fleet_lock", args)["changed"]
    args["refresh"] = ["eight"]
    predicted = run_module("fleet_lock", args, check=True)
    assert predicted["changed"] and yaml.safe_load(text_of(args)) == before
    real = run_module("fleet_lock", args)
    assert without_time(real) == without_time(predicted) and real["resolved"] == [{"what": "model", "name": "eight", "reason": "asked for"}]
    assert real["lock"]["models"]["tiny"] == before["models"]["tiny"] and real["lock"]["images"] == before["images"]
    assert real["lock"]["models"]["eight"] != before["models"]["eight"] and [line.split(":")[0] for line in real["changes"]] == ["model eight"]
    for check in (True, False):
        server.log.clear()
        again = run_module("fleet_lock", args, check=check)
        assert not again["changed"] and again["changes"] == [] and again["lock"] == real["lock"]
        assert [entry["path"].split("?")[0] for entry in server.log.as_list()] == [f"/api/models/{NAME}"]


def test_quartet_of_a_proposal(run_module, args, tmp_path):
    run_module("fleet_lock", args)
    text, out = text_of(args), tmp_path / "proposal.yml"
    hub_repository.add_gguf(tmp_path / "hub", "tiny-Q4_K_M.gguf", general__name="a newer one")
    args.update(out=str(out), refresh=["tiny"])
    predicted = run_module("fleet_lock", args, check=True)
    assert predicted["changed"] and not out.exists()
    real = run_module("fleet_lock", args)
    assert without_time(real) == without_time(predicted) and yaml.safe_load(out.read_text()) == real["lock"] and text_of(args) == text
    for check in (True, False):
        again = run_module("fleet_lock", args, check=check)
        assert not again["changed"] and again["changes"] == real["changes"] and again["lock"] == real["lock"]
    out.write_text("nonsense: [")
    assert run_module("fleet_lock", args)["changed"] and "nonsense" not in out.read_text()


@pytest.fixture
def searched(args, tmp_path):
    """A wanted model that is searched for, in a Hub where two are found."""
    for rank, name in ((1, "acme/Small-GGUF"), (2, "acme/Trendy-GGUF")):
        hub_shop.add(tmp_path / "hub", name, trendingScore=rank)
    del args["images"], args["registry"]
    return {**args, "wanted": [{"name": "best", "source": "search", "search": {"publishers": ["acme"], "category": "chat"}}]}


def test_quartet_of_a_search(run_module, searched, server, tmp_path):
    predicted = run_module("fleet_lock", searched, check=True)
    server.log.clear()
    real = run_module("fleet_lock", searched)
    assert without_time(real) == without_time(predicted) and server.log.calls()["list"] == 1
    entry = real["lock"]["models"]["best"]
    assert (entry["source"], entry["repository"], entry["search"]) == ("search", "acme/Trendy-GGUF", {"publishers": ["acme"], "category": "chat"})
    assert "best: added, acme/Trendy-GGUF@" in real["changes"][0] and "found by search" in real["changes"][0]
    hub_shop.add(tmp_path / "hub", "acme/Newest-GGUF", trendingScore=9)
    server.log.clear()
    for check in (True, False):
        assert not run_module("fleet_lock", searched, check=check)["changed"]
    assert server.log.as_list() == []
    assert run_module("fleet_lock", {**searched, "refresh": ["best"]})["lock"]["models"]["best"]["repository"] == "acme/Newest-GGUF"
    assert not run_module("fleet_lock", {**searched, "refresh": ["best"]})["changed"]


def test_another_policy_is_searched_for_again(run_module, searched):
    run_module("fleet_lock", searched)
    searched["wanted"][0]["search"] = {"text": "small"}
    result = run_module("fleet_lock", searched)
    assert result["resolved"][0]["reason"] == "search was category chat, publishers acme"
    assert result["lock"]["models"]["best"]["repository"] == "acme/Small-GGUF"


@pytest.mark.parametrize("change, words", [
    ({"wanted": [{"name": "best", "source": "search", "search": {"licenses": ["gpl-3.0"]}}]}, ("finds no model", "best.search", "acme/Trendy-GGUF:")),
    ({"wanted": [{"name": "best", "source": "search", "search": {"licence": "mit"}}]}, ("unknown key", "best.search", "licence")),
    ({"capacities": {"ai1": {"schema": 9}}}, ("capacities.ai1.schema",)), ({"capacities": {"ai1": 5}}, ("This is no capacity", "capacities.ai1")),
])
def test_a_search_that_finds_nothing_says_why(run_module, searched, change, words):
    result = run_module("fleet_lock", {**searched, **change})
    assert result["failed"] and not os.path.exists(searched["path"])
    for word in words:
        assert word in result["msg"]


def test_a_search_takes_what_fits_the_hosts(run_module, searched):
    small = fleets.host(memory=600 << 20).as_dict()
    assert "The search finds no model" in run_module("fleet_lock", {**searched, "capacities": {"ai1": small}})["msg"]
    assert run_module("fleet_lock", {**searched, "capacities": {"ai1": fleets.host().as_dict()}})["changed"]


def test_a_lock_that_is_kept_elsewhere(run_module, args):
    first = run_module("fleet_lock", {**args, "content": ""})
    assert first["changed"] and yaml.safe_load(first["text"]) == first["lock"] and not os.path.exists(args["path"])
    given = first["text"] + "# a comment\n"
    again = run_module("fleet_lock", {**args, "content": given})
    assert not again["changed"] and again["text"] == given and again["lock"] == first["lock"]
    assert f"{args['path']}, line 1" in run_module("fleet_lock", {**args, "content": "nonsense: ["})["msg"]


def test_nothing_can_be_refreshed_without_asking(run_module, args):
    run_module("fleet_lock", args)
    assert "model tiny (asked for)" in run_module("fleet_lock", {**args, "refresh": ["tiny"], "resolve": "never"})["msg"]


@pytest.mark.parametrize("prune, left", [(True, ["other"]), (False, ["other", "tiny"])])
def test_models_that_are_no_longer_wanted(run_module, args, prune, left):
    run_module("fleet_lock", args)
    args["wanted"][0]["name"] = "other"
    result = run_module("fleet_lock", {**args, "prune": prune})
    assert sorted(result["lock"]["models"]) == left
    assert any(line.startswith("model tiny: removed") for line in result["changes"]) is prune


@pytest.mark.parametrize("half", ["wanted", "images"])
def test_a_half_that_is_not_given_is_left_alone(run_module, args, half):
    before = run_module("fleet_lock", args)["lock"]
    del args[half]
    result = run_module("fleet_lock", args)
    assert result["lock"] == before and not result["changed"]


def test_formatting_by_hand_is_no_change(run_module, args):
    run_module("fleet_lock", args)
    text = text_of(args) + "# a comment\n"
    with open(args["path"], "w", encoding="utf-8") as stream:
        stream.write(text)
    assert not run_module("fleet_lock", args)["changed"] and text_of(args) == text


def test_never_asks_for_nothing_and_names_all_that_lacks(run_module, args, server, registry):
    args["resolve"] = "never"
    refused = run_module("fleet_lock", args)
    assert refused["failed"] and "model tiny (not in the lock); image localai (not in the lock); image nginx" in refused["msg"]
    assert not os.path.exists(args["path"])
    run_module("fleet_lock", {**args, "resolve": "missing"})
    server.log.clear()
    registry.requests.clear()
    assert not run_module("fleet_lock", args)["changed"] and server.log.as_list() == [] and registry.requests == []
    args["wanted"][0]["quant"] = "Q8_0"
    assert "quant was Q4_K_M" in run_module("fleet_lock", args)["msg"] and server.log.as_list() == []


def test_verify_says_which_tag_and_which_file_moved(run_module, args, server, registry, tmp_path):
    hub_repository.about(tmp_path / "hub", commit="a" * 40, license="mit")
    before = run_module("fleet_lock", args)["lock"]
    args["resolve"] = "verify"
    assert not run_module("fleet_lock", args)["changed"]
    moved = registry.put_image("go-skynet/local-ai", "v4.9.0", salt="moved")
    said = run_module("fleet_lock", args)["msg"]
    assert moved in said and before["images"]["localai"]["digest"] in said and "quay.io/go-skynet/local-ai:v4.9.0" in said
    del args["images"], args["registry"]
    args["images"] = {}
    changed = hub_repository.add_gguf(tmp_path / "hub", "tiny-Q4_K_M.gguf", general__name="other")
    said = run_module("fleet_lock", args)["msg"]
    assert changed in said and before["models"]["tiny"]["files"][0]["sha256"] in said and "a" * 40 in said


def test_other_bytes_for_a_known_commit_change_nothing(run_module, args, tmp_path):
    hub_repository.about(tmp_path / "hub", commit="a" * 40)
    run_module("fleet_lock", args)
    text = text_of(args)
    hub_repository.add_gguf(tmp_path / "hub", "tiny-Q4_K_M.gguf", general__name="other")
    args["wanted"].append({"name": "second", "source": f"hf://{NAME}"})
    result = run_module("fleet_lock", args)
    assert result["failed"] and "other bytes for the same commit" in result["msg"] and text_of(args) == text


@pytest.mark.parametrize("change, words", [
    ({"wanted": [{"name": "tiny", "source": f"hf://{NAME}", "quant": "Q6_K"}]}, ("no Q6_K", "Q4_K_M, Q8_0")),
    ({"wanted": [{"name": "tiny", "source": f"hf://{NAME}", "projector": "tiny-Q8_0.gguf"}]}, ("no projector", "architecture llama")),
    ({"refresh": ["tiny", "nobody"]}, ("refreshed that is not wanted", "nobody")),
    ({"out": "/nonexistent/proposal.yml"}, ("cannot be written", "/nonexistent/proposal.yml")),
    ({"wanted": [{"name": "tiny", "source": "file:///srv/x.gguf"}]}, ("no known form", "hf://OWNER/REPOSITORY", "https://HOST")),
    ({"wanted": [{"name": "tiny", "source": "preset:phi2"}]}, ("no such preset", "phi-2")),
    ({"wanted": [{"name": "reload", "source": f"hf://{NAME}"}]}, ("LocalAI's own routes",)),
    ({"images": {"localai": {"name": "quay.io/go-skynet/local-ai", "version": "latest"}}}, ("exact version",)),
    ({"images": {"localai": {"name": "quay.io/go-skynet/local-ai", "version": "v9"}}}, ("no such tag", "quay.io/go-skynet/local-ai:v9")),
    ({"images": {"localai": "x"}}, ("images.localai", "name and version")),
    ({"registry": "ftp://mirror"}, ("registry address is not usable", "ftp://mirror")),
    ({"registry": "127.0.0.1:1"}, ("cannot be reached", "127.0.0.1:1")),
    ({"registry_ca": "/nonexistent.pem"}, ("CA file",)),
    ({"path": "/nonexistent/fleet.lock.yml"}, ("cannot be written", "/nonexistent/fleet.lock.yml")),
    ({"path": "/"}, ("cannot be read",)),
])
def test_failures_are_sentences_and_change_nothing(run_module, args, tmp_path, change, words):
    hub_repository.add_split(tmp_path / "hub")
    result = run_module("fleet_lock", {**args, "hub_token": "hf_secretword", "registry_username": "ann", "registry_password": "pa55word", **change})
    assert result["failed"] and not os.path.exists(args["path"])
    for word in words:
        assert word in result["msg"]
    assert "secretword" not in str(result) and "pa55word" not in str(result)


def test_a_lock_edited_by_hand_is_checked(run_module, args):
    run_module("fleet_lock", args)
    with open(args["path"], "w", encoding="utf-8") as stream:
        stream.write("schema: 1\nmodels:\n  tiny: {commit: x}\n")
    result = run_module("fleet_lock", args)
    assert result["failed"] and "models.tiny" in result["msg"] and args["path"] in result["msg"]


def test_a_lie_in_the_name_is_a_warning(run_module, args, tmp_path):
    hub_repository.add_gguf(tmp_path / "hub", "tiny-Q5_K_M.gguf", file_type=7)
    args["wanted"][0]["quant"] = "Q5_K_M"
    assert "says Q8_0" in str(run_module("fleet_lock", args)["warnings"])


def test_a_link_stays_a_link(run_module, args, tmp_path):
    real = tmp_path / "real.yml"
    real.write_text("---\nschema: 1\n")
    os.symlink(real, args["path"])
    assert run_module("fleet_lock", args)["changed"]
    assert os.path.islink(args["path"]) and "tiny" in real.read_text()


def test_a_header_that_is_kept_is_not_read_again(run_module, args, tmp_path, server):
    first = run_module("fleet_lock", {**args, "hub_cache": str(tmp_path / ".cache"), "hub_token": "hf_secretword"})
    os.unlink(args["path"])
    server.log.clear()
    again = run_module("fleet_lock", {**args, "hub_cache": str(tmp_path / ".cache")})
    assert without_time(again["lock"]) == without_time(first["lock"]) and server.log.calls() == {"list": 0, "repository": 1, "api": 0, "range": 0, "cdn": 0}
    kept = [path.read_text() for path in (tmp_path / ".cache").rglob("*.json")]
    assert len(kept) == 1 and "secretword" not in kept[0]


def test_a_refresh_that_changes_nothing_costs_one_call_a_model(run_module, args, server):
    run_module("fleet_lock", args)
    server.log.clear()
    result = run_module("fleet_lock", {**args, "refresh": ["tiny"]})
    assert not result["changed"] and len(server.log.as_list()) == server.log.calls()["repository"] == 1


def test_a_preset_is_locked_and_a_later_release_moves_nothing_unasked(run_module, args, tmp_path, monkeypatch):
    for name in ("TheBloke/phi-2-GGUF", "acme/phi-2-GGUF"):
        hub_repository.add_gguf(tmp_path / "hub", "phi-2.Q4_K_M.gguf", name)
        hub_repository.add_gguf(tmp_path / "hub", "phi-2.Q8_0.gguf", name, file_type=7)
    args.update(wanted=[{"name": "phi", "source": "preset:phi-2"}], images=None)
    first = run_module("fleet_lock", args)["lock"]["models"]["phi"]
    assert (first["source"], first["repository"], first["quant"]) == ("preset:phi-2", "TheBloke/phi-2-GGUF", "Q4_K_M")
    later = tuple(replace(item, repository="acme/phi-2-GGUF", quant="Q8_0") if item.name == "phi-2" else item for item in _presets.PRESETS)
    monkeypatch.setattr(_presets, "PRESETS", later)
    assert not run_module("fleet_lock", args)["changed"]
    again = run_module("fleet_lock", {**args, "refresh": ["phi"]})
    assert (again["lock"]["models"]["phi"]["repository"], again["lock"]["models"]["phi"]["quant"]) == ("acme/phi-2-GGUF", "Q8_0")
    assert "found by preset:phi-2" in again["changes"][0]
    args["wanted"][0]["quant"] = "Q4_K_M"
    assert run_module("fleet_lock", args)["resolved"][0]["reason"] == "quant was Q8_0"
