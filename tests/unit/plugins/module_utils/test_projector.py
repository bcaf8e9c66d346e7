"""Which file of a repository is the projector of a model."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._hub import RepoFile
from ansible_collections.localai.fleet.plugins.module_utils._projector import check_projector, choose_projector, misfit

MODEL = "gemma-3-4b-it-Q4_K_M.gguf"


def files(*paths: str) -> list[RepoFile]:
    return [RepoFile(path, 10, f"{index:064x}") for index, path in enumerate((MODEL, *paths))]


@pytest.mark.parametrize("paths, model, chosen", [
    (("mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"), MODEL, "mmproj-F16.gguf"),
    (("mmproj-F32.gguf", "mmproj-BF16.gguf"), MODEL, "mmproj-BF16.gguf"),
    (("mmproj-model-f16.gguf", "mmproj-F32.gguf"), MODEL, "mmproj-model-f16.gguf"),
    (("mmproj-F32.gguf",), MODEL, "mmproj-F32.gguf"),
    (("mmproj-F32.gguf", "mmproj.gguf"), MODEL, "mmproj.gguf"),
    (("mmproj-Q8_0.gguf", "mmproj-Q4_0.gguf", "mmproj-F32.gguf"), MODEL, "mmproj-Q8_0.gguf"),
    (("mmproj-Q4_0.gguf", "mmproj-F32.gguf"), MODEL, "mmproj-Q4_0.gguf"),
    (("gemma-4-E4B-it-mmproj.gguf",), MODEL, "gemma-4-E4B-it-mmproj.gguf"),
    (("moondream2-mmproj-f16-20250414.gguf", "moondream2.imatrix.gguf"), MODEL, "moondream2-mmproj-f16-20250414.gguf"),
    (("a/mmproj-F16.gguf", "b/mmproj-F16.gguf"), "b/x-Q4_K_M.gguf", "b/mmproj-F16.gguf"),
    (("mmproj-F16.gguf", "b/mmproj-F32.gguf"), "b/x-Q4_K_M.gguf", "b/mmproj-F32.gguf"),
    (("mmproj-F16.gguf", "Q8_0/mmproj-F32.gguf"), "Q4_K_M/x.gguf", "mmproj-F16.gguf"),
])
def test_the_projector_that_is_chosen(paths, model, chosen):
    assert choose_projector(files(*paths), model).path == chosen


def test_copies_are_one():
    same = [RepoFile("mmproj-F16.gguf", 10, "a" * 64), RepoFile("mmproj-model-f16.gguf", 10, "a" * 64)]
    assert choose_projector(same, MODEL).path == "mmproj-F16.gguf"


def test_a_projector_is_asked_for_by_its_path():
    assert choose_projector(files("mmproj-F16.gguf", "vision.gguf"), MODEL, "vision.gguf").path == "vision.gguf"


@pytest.mark.parametrize("given, path, words", [
    (files(), None, ("no projector", "acme/x", "leave vision out")),
    (files("mmproj-a-f16.gguf", "mmproj-b-f16.gguf"), None, ("Several projectors", "mmproj-a-f16.gguf, mmproj-b-f16.gguf", "as projector")),
    (files("mmproj-F16.gguf"), "mmproj-F32.gguf", ("no such projector", "mmproj-F32.gguf", "Its projectors are mmproj-F16.gguf")),
    ([RepoFile("mmproj-F16.gguf", 10, None)], None, ("no sha256", "mmproj-F16.gguf")),
])
def test_refusals_are_sentences(given, path, words):
    with pytest.raises(FleetError) as error:
        choose_projector(given, MODEL, path, "acme/x")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("kind, made_for, width, words", [
    ("mmproj", 2560, 2560, ""), ("mmproj", 2560, 1152, "made for a model of width 2560, and this one has 1152"), (None, 768, 4096, ""),
    ("mmproj", None, 4096, ""),
])
def test_the_width_of_its_model(kind, made_for, width, words):
    projector = Header(version=3, architecture="clip", general_type=kind, parameters={"vision.projection_dim": made_for} if made_for else {})
    said = misfit(projector, Header(version=3, architecture="gemma3", parameters={"embedding_length": width}))
    assert words in said and bool(said) == bool(words)


def test_the_header_decides():
    check_projector(Header(version=3, architecture="clip"), "x")
    with pytest.raises(FleetError, match="reads no images .x."):
        check_projector(Header(version=3, architecture="clip", parameters={"has_vision_encoder": False}), "x")
    with pytest.raises(FleetError, match="no projector .acme/x, mmproj.gguf.: got architecture llama"):
        check_projector(Header(version=3, architecture="llama"), "acme/x, mmproj.gguf")
