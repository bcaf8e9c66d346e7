"""Memory of projectors against what llama.cpp 0.7.0 (build 11669) allocated, recorded so that no engine is needed.

`measured_projectors.jsonl`: name, keys, width of the text model, limit of tokens, bytes of the largest buffer over images of five shapes. Sizes of real
projectors, and two of random sizes a kind. `measured_seeing.jsonl`: libmtmd alone, whose RssAnon grew by `held` bytes from before the projector was read
until an image was encoded, without what unpacking it takes. `measured_photos.jsonl`: the most of the whole engine's RssAnon while it read two photos of
12 megapixels one after the other, beside a small text model (`python -m tests.bench projectors`).
"""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _mmproj
from ansible_collections.localai.fleet.plugins.module_utils._explain import explain
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._memory import MIB, Settings, estimate

HERE = Path(__file__).resolve().parents[2]
BUFFERS = [json.loads(line) for line in (HERE / "measured_projectors.jsonl").read_text(encoding="utf-8").splitlines()]
PROCESSES = [json.loads(line) for line in (HERE / "measured_seeing.jsonl").read_text(encoding="utf-8").splitlines()]
PHOTOS = [json.loads(line) for line in (HERE / "measured_photos.jsonl").read_text(encoding="utf-8").splitlines()]
WORST = {"pixtral": 2.1, "gemma4v": 2.03, "llama4": 1.19, "qwen2.5vl_merger": 1.14, "qwen3vl_merger": 1.13, "resampler": 1.11, "qwen2vl_merger": 1.02,
         "kimivl": 1.02}
"""What is planned for more than the images that were measured: images of one column, two images at once, tiles of long images; masks of 32 bits."""
SIGLIP = {"vision.embedding_length": 1152, "vision.feed_forward_length": 4304, "vision.image_size": 896, "vision.patch_size": 14}
TEXT = Header(version=3, architecture="llama", vocab_size=32_000, parameters={
    "block_count": 2, "embedding_length": 2560, "feed_forward_length": 4096, "attention.head_count": 8, "attention.head_count_kv": 8})


def projector(kind: str, **keys: Any) -> Header:
    return Header(version=3, architecture="clip", parameters={"projector_type": kind, **SIGLIP, **{f"vision.{name}": value for name, value in keys.items()}})


@pytest.mark.parametrize("name, keys, text, tokens, measured", BUFFERS, ids=[f"{row[0]}-{row[3]}" for row in BUFFERS])
def test_a_buffer_is_planned_and_never_low(name: str, keys: dict[str, Any], text: int, tokens: int, measured: int) -> None:
    header = Header(version=3, architecture="clip", parameters=keys)
    parts = {part: formula.value for part, formula in _mmproj.projector_bytes(MIB, header, text, tokens, 1).parts}
    assert measured <= parts["buffers"] <= measured * WORST.get(_mmproj.kind_of(header), 1.0)


@pytest.mark.parametrize("row", PROCESSES, ids=[row["name"] for row in PROCESSES])
def test_a_process_holds_less_than_is_planned(row: dict[str, Any]) -> None:
    header = Header(version=3, architecture="clip", parameters=row["keys"])
    planned = _mmproj.projector_bytes(row["size"], header, row["text"], row["tokens"], 1)
    photo = dict(planned.parts)["photo"].value
    assert row["held"] <= planned.value - photo <= row["held"] + (310 if _mmproj.kind_of(header) == "gemma4v" else 90) * MIB  # two images, one column


@pytest.mark.parametrize("row", PHOTOS, ids=[row["name"] for row in PHOTOS])
def test_two_photos_fit_into_what_is_planned(row: dict[str, Any]) -> None:
    header, seeing = Header.from_dict(row["header"]), Header.from_dict(row["seeing"])
    settings = Settings(context=4096, isa=tuple(row["isa"]), projector=seeing.file_size or 0, projector_header=seeing,
                        image_tokens=_mmproj.image_tokens(seeing, 4096, 1, 512))
    found = estimate(header, settings)
    assert row["anonymous"] <= found.anonymous <= row["anonymous"] + (370 if _mmproj.kind_of(seeing) == "gemma4v" else 170) * MIB and found.notes == ()


@pytest.mark.parametrize("header, context, slots, expected", [
    (projector("qwen2vl_merger"), 8192, 1, 1024), (projector("qwen2vl_merger"), 1024, 1, 512), (projector("qwen2vl_merger"), 8192, 8, 512),
    (projector("pixtral"), 65_536, 1, 1024), (projector("lfm2"), 8192, 1, 256), (projector("lfm2"), 64, 1, 64), (projector("gemma4v"), 8192, 1, 512),
    (projector("gemma4v"), 100, 1, 70), (projector("gemma3"), 8192, 1, 0), (projector("mlp"), 512, 1, 0), (None, 512, 1, 256), (None, 65_536, 1, 1024),
    (projector("idefics3", image_size=512, patch_size=16, preproc_image_size=2048, **{"projector.scale_factor": 4}), 4096, 1, 0),
    (projector("idefics3", image_size=512, patch_size=16, preproc_image_size=2048, **{"projector.scale_factor": 4}), 2048, 1, 1024),
    (projector("idefics3", image_size=512, patch_size=16), 8192, 1, 1024), (projector("kimik25"), 8192, 1, 1024),
    (projector("kimik25", image_max_pixels=3_211_264), 8192, 1, 0),
    (projector("another"), 8192, 1, 0), (Header(version=3, architecture="clip"), 8192, 1, 1024)])
def test_tokens_of_one_image(header: Header | None, context: int, slots: int, expected: int) -> None:
    assert _mmproj.image_tokens(header, context, slots, 512) == expected


@pytest.mark.parametrize("kind, keys, tiles", [
    ("mlp", {}, 1), ("mlp", {"image_grid_pinpoints": [336, 672, 672, 672, 1008, 336]}, 5), ("mlp", {"image_grid_pinpoints": [336]}, 1),
    ("internvl", {"preproc_max_tiles": 6}, 7), ("internvl", {}, 13), ("idefics3", {"preproc_image_size": 1344}, 17), ("gemma3", {}, 1)])
def test_tiles_of_an_image(kind: str, keys: dict[str, Any], tiles: int) -> None:
    assert _mmproj._tiles(projector(kind, **{"image_size": 336, **keys})) == tiles


def test_a_limit_of_the_header_is_planned_where_the_engine_heeds_no_other() -> None:
    own = _mmproj.encoder_of(projector("kimik25", image_max_pixels=3_211_264), 2560, 1024)
    assert own and own.patches == 3_211_264 // 196
    ours = _mmproj.encoder_of(projector("glm5v", image_max_pixels=3_211_264), 2560, 1024)
    assert ours and ours.patches == 4096


def test_several_tiles_at_once() -> None:
    encoder = _mmproj.encoder_of(projector("internvl", image_size=448, **{"projector.scale_factor": 2}), 2560, 0)
    assert encoder and (encoder.patches, encoder.pieces) == (1024, 4)
    alone = _mmproj.encoder_of(projector("mlp", image_size=448), 2560, 0)
    assert alone and (alone.patches, alone.pieces) == (1024, 1)


@pytest.mark.parametrize("header", [None, Header(version=3, architecture="clip"), projector("gemma3", patch_size=0), projector("gemma3", image_size=0)])
def test_without_sizes_it_is_a_bound_that_says_so(header: Header | None) -> None:
    found = estimate(TEXT, Settings(projector=5 * MIB, projector_header=header, image_tokens=1024))
    assert found.projector == 5 * MIB + _mmproj.BOUND + 12 * _mmproj.PHOTO and "bound" in found.notes[0] and "resolved again" in found.notes[0]
    assert estimate(TEXT, Settings(projector=2 << 30, projector_header=header)).projector > 6 << 30


def test_a_kind_whose_graph_is_not_known_is_a_bound_that_says_so() -> None:
    seen = estimate(TEXT, Settings(projector=5 * MIB, projector_header=projector("another"), image_tokens=0))
    assert seen.projector > _mmproj.BOUND and "type another" in seen.notes[0]
    huge = _mmproj.projector_bytes(5 * MIB, projector("dots_ocr", image_max_pixels=11_289_600), 2560, 0, 1).value
    assert huge > 4 * 57_600 * (3 * 4304 + 2 * 1152)
    masked = _mmproj.projector_bytes(5 * MIB, projector("mimovl", image_max_pixels=11_289_600, window_size=64), 2560, 0, 1).value
    assert masked - huge == _mmproj.MAPS * 57_600 ** 2


@pytest.mark.parametrize("kind", [*_mmproj.LOOKS, "another"])
@pytest.mark.parametrize("keys", [{"spatial_merge_size": 1 << 30}, {"patch_size": 1 << 30}, {"patch_size": 1}, {"image_size": 1 << 30}, {"embedding_length": 1},
                                  {"feed_forward_length": 0}, {"feed_forward_length": [1, 4304]}])
def test_absurd_sizes_are_planned_or_a_bound(kind: str, keys: dict[str, Any]) -> None:
    assert _mmproj.projector_bytes(MIB, projector(kind, **keys), 0, 1024, 1).value > MIB


def test_deep_features_and_slots_need_more() -> None:
    plain, deep = projector("qwen3vl_merger"), projector("qwen3vl_merger", is_deepstack_layers=[True, False, True])
    sizes = [_mmproj.projector_bytes(MIB, header, 2560, 1024, 1).value for header in (projector("qwen3vl_merger", is_deepstack_layers=[False]), deep, plain)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    more = _mmproj.projector_bytes(MIB, plain, 2560, 1024, 3).value - sizes[2]
    assert more == 2 * (12 * _mmproj.PHOTO + 3 * 12 * 196 * 4096 + 4 * 1024 * 2560 * 4)


def test_the_projector_is_explained_term_by_term() -> None:
    settings = Settings(projector=5 * MIB, projector_header=projector("gemma3"), image_tokens=0)
    terms = {term.name: term for term in explain(TEXT, settings)}
    assert terms["projector"].formula == "file_of_projector + buffers + work + image + photo + 6291456"
    assert terms["projector.buffers"].bytes == 127_139_840 and eval(terms["projector.buffers"].values) == 127_139_840  # noqa: S307
    parts = sum(terms[f"projector.{part}"].bytes for part in ("buffers", "work", "image", "photo"))
    assert estimate(TEXT, settings).projector == parts + 5 * MIB + _mmproj.GRAPH
    assert estimate(TEXT, replace(settings, projector=0)).projector == 0
