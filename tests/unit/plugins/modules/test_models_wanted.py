"""models_wanted: the file is written, kept, and never taken from a person's hands unasked."""
from __future__ import annotations

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils import _choice

CANDIDATES = [
    {"name": name, "repository": f"acme/{name}-GGUF", "categories": ["chat"], "wanted": {"name": name, "source": f"hf://acme/{name}-GGUF", "quant": "Q4_K_M"}}
    for name in ("small", "large")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "group_vars" / "localai" / "models.yml"


def args(path, choose="1", **more):
    return {"path": str(path), "candidates": CANDIDATES, "choose": choose, **more}


def test_quartet(run_module, path):
    predicted = run_module("models_wanted", args(path), check=True)
    assert predicted["changed"] and not path.exists()
    done = run_module("models_wanted", args(path))
    assert done["changed"] and done["diff"] == predicted["diff"] and path.read_text() == done["text"] == done["diff"]["after"]
    assert yaml.safe_load(path.read_text())["models_wanted"] == done["wanted"] == [
        {"name": "small", "source": "hf://acme/small-GGUF", "quant": "Q4_K_M", "aliases": ["gpt-3.5-turbo", "gpt-4"]}]
    for check in (True, False):
        again = run_module("models_wanted", args(path, wanted=done["wanted"]), check=check)
        assert not again["changed"] and again["changes"] == []
    assert [item.name for item in path.parent.iterdir()] == ["models.yml"] and path.stat().st_mode & 0o777 == 0o644


def test_what_the_file_held_is_kept(run_module, path):
    first = run_module("models_wanted", args(path))
    second = run_module("models_wanted", args(path, "2", wanted=first["wanted"], aliases={"gpt-4": "large"}))
    assert path.with_name("models.yml.previous").read_text() == first["text"]
    assert second["changes"] == ["small: aliases gpt-3.5-turbo, gpt-4 → gpt-3.5-turbo", "large: added, hf://acme/large-GGUF Q4_K_M, answers to gpt-4 too"]


@pytest.mark.parametrize("text, how", [("models_wanted: []\n", "written"), ("", "changed")])
def test_a_file_by_hand_is_not_overwritten_unless_told(run_module, path, text, how):
    first = run_module("models_wanted", args(path))
    path.write_text(text or first["text"].replace("Q4_K_M", "Q8_0"))
    before = path.read_text()
    for check in (True, False):
        result = run_module("models_wanted", args(path, "2"), check=check)
        assert result["failed"] and f"The file was {how} by hand" in result["msg"] and "choose_overwrite=true" in result["msg"]
    assert path.read_text() == before
    assert run_module("models_wanted", args(path, "2", overwrite=True))["changed"]
    assert path.with_name("models.yml.previous").read_text() == before


def test_a_change_by_hand_at_the_same_moment_stays(run_module, path, monkeypatch):
    run_module("models_wanted", args(path))
    text_of = _choice.file_text

    def meanwhile(*given):
        path.write_text("models_wanted: [] # mine\n")
        return text_of(*given)

    monkeypatch.setattr(_choice, "file_text", meanwhile)
    result = run_module("models_wanted", args(path, "2"))
    assert "changed by someone else since it was read" in result["msg"]
    assert path.read_text() == "models_wanted: [] # mine\n" and not path.with_name("models.yml.previous").exists()


@pytest.mark.parametrize("text, words", [
    ("models_wanted: []\nproxy_domain: x\n", "other variables too"), ("- x\n", "holds something else"), ("a: [", "cannot be read")])
def test_a_file_that_holds_something_else_is_never_overwritten(run_module, path, text, words):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    result = run_module("models_wanted", args(path, overwrite=True))
    assert result["failed"] and words in result["msg"] and path.read_text() == text


def test_a_folder_that_would_hide_a_file_is_refused_with_the_way_out(run_module, path):
    path.parent.parent.mkdir()
    hidden = path.parent.parent / "localai.yml"
    hidden.write_text("proxy_domain: x\n")
    result = run_module("models_wanted", args(path))
    assert result["failed"] and f"mkdir -p {path.parent} && mv {hidden} {path.parent}/main.yml" in result["msg"] and not path.parent.exists()
    path.parent.mkdir()
    hidden.rename(path.parent / "main.yml")
    assert run_module("models_wanted", args(path))["changed"]


def test_a_file_that_is_kept_elsewhere(run_module):
    given = {"candidates": CANDIDATES, "choose": "large"}
    first = run_module("models_wanted", given)
    assert first["changed"] and first["diff"]["after_header"] == "models.yml"
    again = run_module("models_wanted", {**given, "content": first["text"], "wanted": first["wanted"]})
    assert not again["changed"] and again["text"] == first["text"]


@pytest.mark.parametrize("change, words", [({"choose": "lrge"}, "Near are large"), ({"aliases": {"x": "9"}}, "An alias is to lead"), ({"choose": "1,1"}, "")])
def test_choices_that_cannot_be_meant(run_module, path, change, words):
    result = run_module("models_wanted", {**args(path), **change})
    assert (result.get("failed") and words in result["msg"] and not path.exists()) if words else len(result["wanted"]) == 1
