"""LocalAI's settings of a model."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _modelyaml
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

SHA = "a" * 64
PLANNED = {
    "name": "m", "sha256": SHA, "kind": "chat", "threads": 3, "threads_batch": 4, "context": 4096, "batch": 512, "slots": 2, "unified": True,
    "kv_type": "f16", "prompt_cache": 256 << 20, "checkpoints": 3, "aliases": ["gpt-4"],
}
PLAIN = {
    "name": "m", "backend": "llama-cpp", "known_usecases": ["chat", "completion"], "context_size": 4096, "threads": 3, "mmap": True,
    "parameters": {"model": f"gguf/{SHA}.gguf", "batch": 512},
    "options": ["parallel:2", "kv_unified:true", "threads_batch:4", "cache_ram:256", "n_ctx_checkpoints:3"],
}


@pytest.mark.parametrize(("planned", "wanted", "changes"), [
    ({}, {}, {}),
    ({}, {"template": {"chat": "", "chat_message": None}, "stopwords": [], "max_tokens": None}, {}),
    ({}, {"template": {"chat": "{{.Input}}", "completion": ""}}, {"template": {"chat": "{{.Input}}"}}),
    ({}, {"stopwords": ["\nuser:"]}, {"stopwords": ["\nuser:"]}),
    ({}, {"max_tokens": 512}, {"parameters": {"model": f"gguf/{SHA}.gguf", "batch": 512, "max_tokens": 512}}),
    ({"kv_type": "q8_0"}, {}, {"cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attention": "on"}),
    ({"kind": "embedding"}, {}, {"known_usecases": ["embeddings"], "embeddings": True, "options": [*PLAIN["options"], "pooling_type:mean"]}),
    ({"kind": "rerank"}, {}, {"known_usecases": ["rerank"], "reranking": True}),
    ({"kind": "completion"}, {}, {"known_usecases": ["completion"]}),
    ({"unified": False, "prompt_cache": 0, "slots": 1, "checkpoints": 0}, {},
     {"options": ["parallel:1", "kv_unified:false", "threads_batch:4", "cache_ram:0", "n_ctx_checkpoints:0"]}),
])
def test_render(planned, wanted, changes) -> None:
    assert _modelyaml.render({**PLANNED, **planned}, wanted) == {**PLAIN, **changes}


def test_an_unknown_kind_is_a_sentence() -> None:
    with pytest.raises(FleetError, match="kind of model"):
        _modelyaml.render({**PLANNED, "kind": "image"}, {})


def test_render_all_has_revisions_and_the_names_that_point_to_them() -> None:
    found = _modelyaml.render_all({"models": [PLANNED, {**PLANNED, "name": "n", "aliases": []}]}, [{"name": "m"}, {"name": "n"}])
    first, second = _modelyaml.revision(PLAIN), _modelyaml.revision({**PLAIN, "name": "n"})
    assert found == {
        first: {**PLAIN, "name": first}, second: {**PLAIN, "name": second}, "m": {"name": "m", "alias": first}, "gpt-4": {"name": "gpt-4", "alias": first},
        "n": {"name": "n", "alias": second}}
    assert list(found)[:2] == [first, second], "what names point to is written before them"
    assert _modelyaml.targets(found) == {"m": first, "gpt-4": first, "n": second}


def test_a_revision_is_named_after_its_settings() -> None:
    name = _modelyaml.revision(PLAIN)
    assert _modelyaml.is_revision(name)
    assert name.startswith("m.")
    assert name == _modelyaml.revision(dict(reversed(PLAIN.items())))
    assert name != _modelyaml.revision({**PLAIN, "threads": 4})
    assert not _modelyaml.is_revision("llama-3.2-1b-instruct")


def test_a_served_name_must_not_look_like_a_revision() -> None:
    with pytest.raises(FleetError, match="ends like the name of a model's settings.*m.0a1b2c3d"):
        _modelyaml.render_all({"models": [{**PLANNED, "aliases": ["m.0a1b2c3d"]}]}, [{"name": "m"}])


def test_a_model_in_several_files_is_found_by_links() -> None:
    split = {**PLANNED, "files": ["1" * 64, "2" * 64]}
    first = f"split/{'1' * 64}/model-00001-of-00002.gguf"
    assert _modelyaml.links(split) == {first: f"../../gguf/{'1' * 64}.gguf", first.replace("00001-of", "00002-of"): f"../../gguf/{'2' * 64}.gguf"}
    assert _modelyaml.render(split, {})["parameters"]["model"] == first
    assert _modelyaml.links({**PLANNED, "files": [SHA]}) == {}
    assert _modelyaml.render({**PLANNED, "files": [SHA], "projector": None}, {}) == PLAIN


def test_a_model_that_reads_images() -> None:
    found = _modelyaml.render({**PLANNED, "projector": "p" * 64, "image_tokens": 1024}, {})
    assert found == {**PLAIN, "known_usecases": ["chat", "completion", "vision"], "mmproj": f"gguf/{'p' * 64}.gguf",
                     "options": [*PLAIN["options"], "image_max_tokens:1024"]}
    assert _modelyaml.render({**PLANNED, "projector": "p" * 64, "image_tokens": 0}, {})["options"] == PLAIN["options"]
    assert _modelyaml.render(PLANNED, {}) == PLAIN, "nothing of it stays for the next model"


@pytest.mark.parametrize(("header", "option"), [
    ({"pooling_type": 1}, []), ({"pooling_type": 3}, []), ({"pooling_type": 0}, ["pooling_type:mean"]), ({"pooling_type": None}, ["pooling_type:mean"]),
])
def test_an_embedding_model_whose_file_names_no_pooling_gets_one(header, option) -> None:
    planned = {**PLANNED, "kind": "embedding"}
    assert _modelyaml.render(planned, {}, header)["options"] == [*PLAIN["options"], *option]
    rendered = _modelyaml.render_all({"models": [planned]}, [{"name": "m"}], {"models": {"m": {"header": header}}})
    assert next(iter(rendered.values()))["options"] == [*PLAIN["options"], *option]


def test_a_planned_model_must_be_wanted() -> None:
    with pytest.raises(FleetError, match="models_wanted lacks"):
        _modelyaml.render_all({"models": [PLANNED]}, [])
