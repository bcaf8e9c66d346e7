"""Wanted models: every option's default, and a sentence for each kind of bad value."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils import _wanted
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

ROOT = Path(__file__).resolve().parents[4]
HF = {"name": "tiny", "source": "hf://owner/Repo-GGUF"}
HTTPS = {"name": "tiny", "source": "https://files.example.com/a/tiny.gguf", "sha256": "AB" * 32}


def test_defaults_are_the_specification():
    model = _wanted.parse_wanted([HF])[0]
    for key, option in _wanted.wanted_spec().items():
        if key not in HF and key != "template":
            got = getattr(model, key)
            assert (list(got) if isinstance(got, tuple) else got) == {"quant": "Q4_K_M", "context": 4096}.get(key, option.get("default")), key
    assert not model.template and model.prompt_cache_bytes == 268435456


def test_the_role_takes_the_same_options():
    options = yaml.safe_load((ROOT / "roles/models/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]["models_wanted"]["options"]

    def bare(spec):
        kept = {name: {key: value for key, value in option.items() if key not in ("description", "no_log", "options")} for name, option in spec.items()}
        return {name: {**option, **({"options": bare(spec[name]["options"])} if "options" in spec[name] else {})} for name, option in kept.items()}

    assert bare(options) == bare(_wanted.wanted_spec())


def test_null_is_left_out():
    spec = dict.fromkeys(_wanted.wanted_spec())
    assert _wanted.parse_wanted([{**spec, **HF}]) == _wanted.parse_wanted([HF])


def test_values_are_normalised():
    model = _wanted.parse_wanted([{**HTTPS, "quant": "ud-q4_k_xl", "aliases": ["gpt-4"], "template": {"chat": "x"}}])[0]
    assert (model.quant, model.sha256, model.served_names) == ("UD-Q4_K_XL", "ab" * 32, ("tiny", "gpt-4"))
    assert model.template == _wanted.Template(chat="x") and model.template


@pytest.mark.parametrize("text, expected", [
    ("hf://owner/repo", _wanted.Source("hf", "owner/repo")),
    ("hf://owner/Repo-1.5_x-GGUF@main", _wanted.Source("hf", "owner/Repo-1.5_x-GGUF", "main")),
    ("search", _wanted.Source("search")), ("preset:phi-2", _wanted.Source("preset", preset="phi-2")),
    ("hf://owner/repo@refs/pr/1", _wanted.Source("hf", "owner/repo", "refs/pr/1")),
    ("https://h.example.com:8443/x.GGUF?a=b", _wanted.Source("https", url="https://h.example.com:8443/x.GGUF?a=b")),
])
def test_source_forms(text, expected):
    assert _wanted.parse_source(text) == expected


@pytest.mark.parametrize("text", [
    "hf://owner", "hf://owner/repo/file", "owner/repo", "preset:", "preset:../x", "presets:phi-2", "file:///srv/x.gguf", "http://h/x.gguf",
    "https://h/x.bin", "https:///x.gguf", "https://user:secretword@h/x.gguf", "https://[/x.gguf", "hf://o/r@", "hf://o/r@a/../x", "hf://../r",
])
def test_other_sources_name_the_forms_that_work(text):
    with pytest.raises(FleetError) as error:
        _wanted.parse_source(text)
    assert "hf://OWNER/REPOSITORY" in str(error.value) and "https://HOST" in str(error.value)
    assert "secretword" not in str(error.value)


@pytest.mark.parametrize("change, words", [
    ({"name": "Big"}, ("models_wanted[0].name", "Big")),
    ({"name": "a" * 64}, ("up to 63",)),
    ({"name": "reload"}, ("LocalAI's own routes", "reload")),
    ({"name": "x.gguf"}, ("looks like a file",)),
    ({"name": None}, ("no name", "models_wanted[0]")),
    ({"source": ""}, ("no source",)),
    ({"aliases": ["gpt/4"]}, ("alias", "gpt/4")),
    ({"aliases": ["Import-URI"]}, ("own routes",)),
    ({"aliases": ["tiny"]}, ("used twice", "tiny")),
    ({"aliases": ["gpt-4", "GPT-4"]}, ("used twice", "GPT-4")),
    ({"contxt": 1}, ("unknown option (models_wanted[0], tiny): got contxt. Did you mean context? Known are name",)),
    ({1: 2, "zzzz": 3}, ("unknown option", "got 1, zzzz. Known are",)),
    ({"source": None}, ("no source (models_wanted[0], tiny). Give it source.",)),
    ({"source": "x" * 5000}, ("… (5000 characters)",)),
    ({"name": 5}, ("name is not a text", "models_wanted[0].name", "5")),
    ({"aliases": 5}, ("aliases is not a list",)),
    ({"labels": "gpu"}, ("labels is not a list", "gpu")),
    ({"template": "x"}, ("template is not a mapping",)),
    ({"context": 8}, ("context", "256")),
    ({"context": "4096"}, ("context", "4096")),
    ({"slots": 0}, ("slots",)),
    ({"prompt_cache_mib": -1}, ("prompt_cache_mib",)),
    ({"replicas": 0}, ("replicas",)),
    ({"replicas": 3, "hosts": ["a", "b"]}, ("3 replicas, 2 hosts",)),
    ({"hosts": ["a", "a"]}, ("twice",)),
    ({"kv_type": "q2"}, ("q2", "q8_0")),
    ({"residency": "always"}, ("always", "on_demand")),
    ({"weight": 0}, ("weight", "0.001")),
    ({"weight": "1"}, ("weight", "0.001")),
    ({"weight": float("nan")}, ("weight", "nan")),
    ({"shards": 0}, ("shards", "64")),
    ({"shards": 2, "residency": "on_demand"}, ("split over workers", "residency on_demand")),
    ({"shards": 2, "replicas": 2}, ("split over workers", "replicas 2")),
    ({"apart_from": ["tiny"]}, ("apart from itself", "tiny.apart_from")),
    ({"apart_from": ["other"]}, ("not wanted", "other")),
    ({"kind": "vision"}, ("vision", "embedding")),
    ({"quant": "../x"}, ("quant", "Q4_K_M")),
    ({"sha256": "xyz"}, ("64 hexadecimal",)),
    ({"file": "../x.gguf"}, ("not a path",)),
    ({"file": "x.safetensors"}, ("not a path",)),
    ({"projector": "../x.gguf"}, ("not a path", "tiny.projector")),
    ({"projector": "mmproj"}, ("not a path", "mmproj")),
    ({"search": {}}, ("not searched", "tiny.search", "source: search")),
    ({"source": "search", "search": "x"}, ("not a mapping", "models_wanted[0], tiny.search", "'x'")),
    ({"source": "search", "file": "x.gguf"}, ("no repository",)),
    ({"source": "search", "search": {"quant": "../x"}}, ("not a quant's name",)),
    ({"vision": "yes"}, ("neither true nor false", "tiny.vision", "yes")),
])
def test_bad_values_are_sentences(change, words):
    with pytest.raises(FleetError) as error:
        _wanted.parse_wanted([{**HF, **change}])
    for word in words:
        assert word in str(error.value)
    assert error.value.do and len(str(error.value)) < 1000


@pytest.mark.parametrize("items, sentence", [
    ({"name": "m"}, "models_wanted is no list of models: got a mapping. Begin each model with '- name:'."),
    ("qwen3-8b", "models_wanted is no list of models: got the text qwen3-8b. Begin each model with '- name:'."),
    (None, "models_wanted is no list of models: got nothing. Begin each model with '- name:'."),
    *(([item], f"A wanted model is not a mapping (models_wanted[0]): got {got}. Give it name and source, as in '- name: NAME'.")
      for item, got in ((1, "the number 1"), ("qwen3-8b", "the text qwen3-8b"), (1.5, "the number 1.5"), (None, "nothing"), ([], "a list"))),
])
def test_what_is_no_list_of_models_is_a_sentence(items, sentence):
    with pytest.raises(FleetError) as error:
        _wanted.parse_wanted(items)
    assert str(error.value) == sentence


def test_texts_become_what_modules_take_them_for():
    given = {"context": "4096", "weight": "0.5", "vision": "yes", "aliases": "a, b", "name": 5, "slots": "many", "kv_type": None, "template": "x",
             "replicas": True}
    assert _wanted.as_modules_take(given) == {
        **given, "context": 4096, "weight": 0.5, "vision": True, "aliases": ["a", "b"], "name": "5"}


@pytest.mark.parametrize("item, word", [
    ({**HTTPS, "sha256": None}, "no sha256"),
    ({**HTTPS, "file": "x.gguf"}, "no repository.*Leave file out"),
    ({**HTTPS, "projector": "x.gguf"}, "no repository.*Leave projector out"),
    ({**HTTPS, "vision": True}, "needs a projector beside it, and the source is no repository"),
    ("tiny", "not a mapping"),
])
def test_bad_items(item, word):
    with pytest.raises(FleetError, match=word):
        _wanted.parse_wanted([item])


@pytest.mark.parametrize("change, search, quant", [
    ({}, {}, "Q4_K_M"), ({"quant": "q8_0"}, {}, "Q8_0"), ({"search": {"category": "code", "language": None}}, {"category": "code"}, "Q4_K_M"),
    ({"quant": "Q8_0", "search": {"quant": "q5_k_m"}}, {"quant": "q5_k_m"}, "Q5_K_M"),
])
def test_a_search_is_kept_as_it_is_asked(change, search, quant):
    model = _wanted.parse_wanted([{"name": "tiny", "source": "search", **change}])[0]
    assert (model.search, model.quant) == (search, quant) and _wanted.parse_wanted([HF])[0].search is None


@pytest.mark.parametrize("change, wants", [
    ({}, False), ({"vision": True}, True), ({"projector": "mmproj-F16.gguf"}, True), ({"vision": True, "projector": "none"}, False),
])
def test_who_wants_a_projector(change, wants):
    assert _wanted.parse_wanted([{**HF, **change}])[0].wants_projector is wants


@pytest.mark.parametrize("second", [HF, {**HF, "name": "b", "aliases": ["TINY"]}])
def test_names_are_of_one_model(second):
    with pytest.raises(FleetError, match="which tiny has already"):
        _wanted.parse_wanted([HF, second])
