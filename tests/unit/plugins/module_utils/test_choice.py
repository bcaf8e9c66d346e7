"""What is chosen: the variables, the new models_wanted, the file."""
from __future__ import annotations

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils import _choice
from ansible_collections.localai.fleet.plugins.module_utils._choice import Choice, by_hand, choose_models, file_text, models_of, parse_choice, shadowed
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

CANDIDATES = [
    {"name": "small", "repository": "acme/Small-GGUF", "categories": ["chat"],
     "wanted": {"name": "small", "source": "hf://acme/Small-GGUF", "quant": "Q4_K_M"}},
    {"name": "vectors", "repository": "acme/Vectors-GGUF", "categories": ["embedding"],
     "wanted": {"name": "vectors", "source": "hf://acme/Vectors-GGUF", "quant": "Q8_0", "kind": "embedding"}},
    {"name": "large", "repository": "acme/Large-GGUF", "categories": ["chat"],
     "wanted": {"name": "large", "source": "hf://acme/Large-GGUF", "quant": "Q4_K_M"}},
]
OLD = {"name": "old", "source": "hf://acme/Old-GGUF", "aliases": ["gpt-4"]}
SMALL, VECTORS, LARGE = (item["wanted"] for item in CANDIDATES)
BOTH = ["gpt-3.5-turbo", "gpt-4"]


@pytest.mark.parametrize("variables, expected", [
    ({}, Choice()),
    ({"choose_models": "", "choose_category": "", "choose_search": ""}, Choice()),
    ({"choose_models": ["1", 3]}, Choice(models="1, 3")),
    ({"choose_models": " small ,, large "}, Choice(models="small, large")),
    ({"choose_aliases": "gpt-4=small, x=2"}, Choice(aliases=(("gpt-4", "small"), ("x", "2")))),
    ({"choose_aliases": {"gpt-4": "small"}}, Choice(aliases=(("gpt-4", "small"),))),
    ({"choose_presets": "none", "choose_only": "yes", "choose_overwrite": True}, Choice(presets=(), only=True, overwrite=True)),
    ({"choose_presets": "phi-2,qwen3-8b"}, Choice(presets=("phi-2", "qwen3-8b"))),
    ({"choose_context": "8192", "choose_slots": 2, "choose_kv_type": "q8_0"}, Choice(options={"context": 8192, "slots": 2, "kv_type": "q8_0"})),
    ({"choose_search": True}, Choice(search={"licenses": [], "licenses_denied": [], "publishers": []})),
    ({"choose_search": "false", "choose_category": "code"}, Choice()),
    ({"choose_category": "code", "choose_licenses": "mit, apache-2.0", "choose_count": "3", "choose_gated": "no"},
     Choice(search={"category": "code", "licenses": ["mit", "apache-2.0"], "licenses_denied": [], "publishers": [], "count": 3, "gated": False})),
])
def test_variables(variables, expected):
    assert parse_choice(variables) == expected and parse_choice(variables).as_dict()["models"] == expected.models


@pytest.mark.parametrize("variables, words", [
    ({"choose_modles": "1"}, ("none of the playbook choose_models", "choose_modles", "Did you mean choose_models?")),
    ({"choose_context": "much"}, ("whole number", "choose_context", "much")),
    ({"choose_only": "perhaps"}, ("True or false", "choose_only")),
    ({"choose_aliases": "gpt-4"}, ("alias has no model", "gpt-4", "ALIAS=MODEL")),
    ({"choose_category": "poems"}, ("category is unknown (choose_category): got poems. Known are chat, code",)),
    ({"choose_sort": "stars"}, ("sort is unknown (choose_sort): got stars",)),
    ({"choose_min_size": "2G", "choose_max_size": "1G"}, ("min_size is above max_size", "(choose_*)")),
    ({"choose_max_parameters": "some"}, ("number of parameters is not one", "some")),
])
def test_variables_that_cannot_be_meant(variables, words):
    with pytest.raises(FleetError) as error:
        parse_choice(variables)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("said, aliases, wanted, only, options, expected", [
    ("1", {}, [], False, {}, [{**SMALL, "aliases": BOTH}]),
    ("small,ACME/Large-GGUF", {}, [], False, {}, [{**SMALL, "aliases": BOTH}, LARGE]),
    ("2", {}, [], False, {}, [VECTORS]),
    ("2,3", {}, [], False, {"slots": 2}, [{**VECTORS, "slots": 2}, {**LARGE, "slots": 2, "aliases": BOTH}]),
    ("1", {}, [OLD], False, {}, [OLD, {**SMALL, "aliases": ["gpt-3.5-turbo"]}]),
    ("1", {"gpt-4": "1"}, [OLD], False, {}, [{key: OLD[key] for key in ("name", "source")}, {**SMALL, "aliases": ["gpt-4", "gpt-3.5-turbo"]}]),
    ("1", {"GPT-4": "small", "gpt-3.5-turbo": "old"}, [OLD], False, {}, [{**OLD, "aliases": ["gpt-3.5-turbo"]}, {**SMALL, "aliases": ["GPT-4"]}]),
    ("1", {}, [OLD], True, {}, [{**SMALL, "aliases": BOTH}]),
    ("1", {}, [{**SMALL, "quant": "Q8_0", "aliases": ["gpt-4", "gpt-3.5-turbo", "me"]}], False, {}, [{**SMALL, "aliases": ["gpt-4", "gpt-3.5-turbo", "me"]}]),
])
def test_new_models_wanted(said, aliases, wanted, only, options, expected):
    assert choose_models(CANDIDATES, said, aliases, wanted, only, options)[0] == expected
    again, told = choose_models(CANDIDATES, said, aliases, expected, only, options)
    assert again == expected and told == []


def test_what_changes_is_told():
    told = choose_models(CANDIDATES, "1", {}, [OLD, {**LARGE, "slots": 2}])[1]
    assert told == ["small: added, hf://acme/Small-GGUF Q4_K_M, answers to gpt-3.5-turbo too"]
    assert choose_models(CANDIDATES, "large", {}, [{**LARGE, "slots": 2, "aliases": BOTH}])[1] == ["large: slots 2 → none"]
    assert choose_models(CANDIDATES, "large", {"gpt-4": "large"}, [OLD], True)[1] == [
        "old: no longer wanted", "large: added, hf://acme/Large-GGUF Q4_K_M, answers to gpt-4, gpt-3.5-turbo too"]


@pytest.mark.parametrize("said, aliases, words", [
    ("smal", {}, ("not among those", "got smal", "Near are small")), ("9", {}, ("got 9", "There are small, vectors, large")),
    (" , ", {}, ("Nothing was chosen",)),
    ("1", {"gpt-4": "large"}, ("An alias is to lead", "got large", "Wanted are small")), ("1", {"bad name": "1"}, ("alias is not usable",)),
])
def test_choices_that_cannot_be_meant(said, aliases, words):
    with pytest.raises(FleetError) as error:
        choose_models(CANDIDATES, said, aliases)
    for word in words:
        assert word in str(error.value)


def test_the_file_says_who_wrote_it():
    text = file_text([{**SMALL, "aliases": BOTH, "stopwords": ["a: b", "#"]}, VECTORS], "models.yml.previous")
    assert yaml.safe_load(text) == {"models_wanted": [{**SMALL, "aliases": BOTH, "stopwords": ["a: b", "#"]}, VECTORS]}
    assert text.startswith("---\n# Written by") and models_of(text, "x")[1] == VECTORS and text.index("name: small") < text.index("source: hf")
    assert text == file_text(models_of(text, "x"), "models.yml.previous")
    assert by_hand(text) == "" and by_hand(text.replace("Q8_0", "Q4_0")) == "changed" and by_hand("models_wanted: []\n") == "written" and by_hand(" \n") == ""


def test_templates_of_localai_are_none_of_ansible():
    item = {**SMALL, "template": {"chat": "{{.Input}}\nOutput:"}}
    text = file_text([item], "x")
    assert 'chat: !unsafe "{{.Input}}' in text and models_of(text, "x") == [item] and file_text(models_of(text, "x"), "x") == text
    elsewhere = file_text([item])
    assert "unsafe" not in elsewhere and "previous" not in elsewhere and models_of(elsewhere, "x") == [item] and by_hand(elsewhere) == ""


@pytest.mark.parametrize("text, words", [
    ("models_wanted: [", ("cannot be read", "line")), ("- 1\n", ("holds something else", "list")), ("models_wanted: 1\n", ("holds something else",)),
    ("models_wanted: []\nproxy_domain: x\n", ("other variables too", "proxy_domain", "common_models_path")),
])
def test_files_that_are_none(text, words):
    with pytest.raises(FleetError) as error:
        models_of(text, "models.yml")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("exists, expected", [
    ([], ""), (["localai"], ""), (["localai.yml", "all.yml"], "localai.yml"), (["localai.json"], "localai.json"), (["localai_server.yml"], "")])
def test_a_file_that_the_folder_would_hide(exists, expected):
    assert shadowed("/x/group_vars/localai/models.yml", exists) == expected


def test_every_key_of_a_search_has_its_variable():
    assert set(_choice.SEARCH) <= set(_choice.ASKED) and "choose_license_unknown" in _choice.SEARCH
