"""Filters of the roles: the engines' decisions as text, their errors as Ansible's."""
from __future__ import annotations

import json

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.roles import FilterModule

FILTERS = FilterModule().filters()


def test_every_filter_has_a_page(request) -> None:
    folder = request.config.rootpath / "plugins" / "filter"
    assert all(yaml.safe_load((folder / f"{name}.yml").read_text())["DOCUMENTATION"]["name"] == name for name in FILTERS)


def test_compose_env() -> None:
    assert FILTERS["compose_env"]({"A": "b"}) == "A='b'\n"


@pytest.mark.parametrize(("name", "arguments", "sentence"), [
    ("compose_env", [{"A-B": "c"}], "name is not usable"),
    ("image_reference", [{"name": "quay.io/a/b"}], "no digest"),
    ("daemon_settings", [{}, "{", {}], "not JSON"),
    ("model_yaml", [[{"name": "localai", "models": [{"name": "m"}]}], []], "models_wanted lacks"),
])
def test_errors_are_sentences(name, arguments, sentence) -> None:
    with pytest.raises(AnsibleFilterError, match=sentence):
        FILTERS[name](*arguments)


def test_daemon_settings_leave_a_file_that_says_the_same() -> None:
    existing = '{"debug":true,\n"live-restore":   true}'
    assert FILTERS["daemon_settings"]({"live-restore": True}, existing, {"debug": True}) == existing
    assert json.loads(FILTERS["daemon_settings"]({"live-restore": True}, "", {}, ["https://m"])) == {"live-restore": True, "registry-mirrors": ["https://m"]}


def test_model_yaml_is_a_folder_an_instance_and_one_file_a_name() -> None:
    model = {"name": "m", "sha256": "a" * 64, "kind": "chat", "threads": 1, "threads_batch": 1, "context": 512, "batch": 512, "slots": 1, "unified": True,
             "kv_type": "f16", "prompt_cache": 0, "checkpoints": 0, "aliases": ["gpt-4"], "memory": {"anonymous": 7}}
    other = {**model, "name": "n", "threads": 2, "aliases": [], "files": ["b" * 64, "c" * 64], "kind": "embedding"}
    lock = {"models": {"n": {"header": {"pooling_type": 2}}}}
    first, second = FILTERS["model_yaml"](
        [{"name": "localai", "residency": "resident", "max_active": None, "models": [model]},
         {"name": "localai-ondemand", "residency": "on_demand", "max_active": 1, "models": [other]}],
        [{"name": "m", "template": {"chat": "{{.Input}}\nassistant:"}}, {"name": "n"}], lock)
    target = first["names"]["m"]
    assert first["names"] == {"m": target, "gpt-4": target}
    assert [(item["name"], item["mode"]) for item in first["files"]] == [(f"{target}.yaml", "0640"), ("m.yaml", "0640"), ("gpt-4.yaml", "0640")]
    settings, alias, _other = (yaml.safe_load(item["content"]) for item in first["files"])
    assert (settings["name"], settings["template"]) == (target, {"chat": "{{.Input}}\nassistant:"})
    assert alias == {"name": "m", "alias": target}
    assert (first["name"], first["load"], first["needs"], first["links"]) == ("localai", True, {target: 7}, [])
    assert (second["name"], second["load"]) == ("localai-ondemand", False)
    assert "pooling_type" not in second["files"][0]["content"]
    assert [link["path"].rpartition("/")[2] for link in second["links"]] == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]


def test_models_that_outnumber_the_cores_are_loaded_by_their_first_request() -> None:
    assert not FILTERS["model_yaml"]([{"name": "localai", "residency": "resident", "max_active": 2, "models": []}], [])[0]["load"]


def test_unknown_variables(tmp_path) -> None:
    spec = tmp_path / "localai" / "meta" / "argument_specs.yml"
    spec.parent.mkdir(parents=True)
    spec.write_text("argument_specs: {main: {options: {localai_port: {type: int}}}}")
    assert FILTERS["unknown_variables"](["localai_port", "other"], str(tmp_path)) == []
    assert FILTERS["unknown_variables"](["localai_prt"], str(tmp_path)) == ["The variable localai_prt is unknown: did you mean localai_port?"]


def test_redact() -> None:
    assert FILTERS["redact"]("the key is hunter2!", ["hunter2"]) == "the key is ********!"
