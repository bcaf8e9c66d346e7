"""GGUF names: real ones from a table beside this file, and the forms the table has no example of."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._names import parse_name

ROWS = [
    line.split(" | ")
    for line in (Path(__file__).parent / "gguf_names.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("path, label, kind, shard, stem", ROWS, ids=[row[0] for row in ROWS])
def test_real_names(path, label, kind, shard, stem):
    name = parse_name(path)
    assert (name.label or "-", name.kind, name.stem) == (label, kind, stem)
    assert ("/".join(map(str, name.shard)) if name.shard else "-") == shard
    assert (name.dynamic, name.weighted) == (label.startswith("UD-"), label.startswith("i1-"))


@pytest.mark.parametrize("path, quant", [
    ("m-Q4_K_M.gguf", "Q4_K_M"), ("m.q4_k_m.gguf", "Q4_K_M"), ("m_Q4_k_m.GGUF", "Q4_K_M"), ("Q4_K_M.gguf", "Q4_K_M"),
    ("m-q4km.gguf", "Q4_K_M"), ("m-Q4-K-M.gguf", "Q4_K_M"), ("m.Q4_KM.gguf", "Q4_K_M"), ("m-iq4xs.gguf", "IQ4_XS"),
    ("m Q4_K_M (1).gguf", "Q4_K_M"), ("m-fp16.gguf", "F16"), ("m-FP32.gguf", "F32"), ("m-f16-Q6_K_L.gguf", "Q6_K_L"),
    ("m-Q4_0_4_8.gguf", "Q4_0_4_8"), ("m-Q4_K_R4.gguf", "Q4_K_R4"), ("m-IQ4_KSS.gguf", "IQ4_KSS"), ("m-IQ2_KT.gguf", "IQ2_KT"),
    ("m-TQ1_0.gguf", "TQ1_0"), ("m-i2_s.gguf", "I2_S"), ("m-q8-0.gguf", "Q8_0"), ("m-Q8_0-embed-Q4_K_M.gguf", "Q4_K_M"),
    ("m-Q4_K_M-embed-Q8_0.gguf", "Q8_0"), ("Q5_K_M/m.gguf", "Q5_K_M"), ("m-Q5_K_M/sub/m-00001-of-00002.gguf", "Q5_K_M"),
    ("Q8_0/m-Q4_K_M.gguf", "Q4_K_M"), ("Q3-1.7B-chat.gguf", None), ("Q4-0.5b.gguf", None), ("Qwen2-7B.gguf", None),
    ("m-IQ4_NL_4_4.gguf", "IQ4_NL_4_4"), ("m-Q4_0-8-8.gguf", "Q4_0_8_8"), ("m-Q4_0-4-bit.gguf", "Q4_0"), ("m-mxfp4-moe.gguf", "MXFP4_MOE"),
    ("m-MXFP4.gguf", "MXFP4"),
    ("m-NVFP4-TURBO.gguf", "NVFP4"), ("m-FP8.gguf", "FP8"), ("m-FP8-Q4_K_M.gguf", "Q4_K_M"), ("m-Q8_KV.gguf", "Q8_KV"), ("m-IQ2_BN_R4.gguf", "IQ2_BN_R4"),
    ("m-Q4_K_P.gguf", "Q4_K_P"), ("m-Q8_K_XL.gguf", "Q8_K_XL"), ("m.Q6_K.gguf.part1of2", "Q6_K"), ("m.Q4_K_M.gguf-split-a", "Q4_K_M"),
    ("mQ4_K_M.gguf", None), ("m-Q4_K_Mx.gguf", "Q4_K"), ("tugão-f16.gguf", "F16"), ("", None), ("/", None), (".gguf", None),
])
def test_labels(path, quant):
    assert parse_name(path).quant == quant


@pytest.mark.parametrize("path, kind", [
    ("mmproj.gguf", "projector"), ("m-MMPROJ-f16.gguf", "projector"), ("dir/mmproj_m.gguf", "projector"),
    ("eagle3-m-Q4_K_M.gguf", "draft"), ("dflash-m.gguf", "draft"), ("dspark-m.Q8_0.gguf", "draft"), ("MTP-m.gguf", "draft"),
    ("mtpx-m.gguf", "model"), ("m-MTP-Q4_K_M.gguf", "model"), ("eagle-7b-Q4_K_M.gguf", "model"),
    ("m-mm-proj-f16.gguf", "projector"), ("imatrix/m.dat", "imatrix"), ("m.imatrix", "imatrix"), ("imatrix.gguf", "imatrix"),
    ("imatrix_unsloth.gguf", "imatrix"), ("imatrix.dat", "imatrix"), ("m.imatrix.gguf", "imatrix"),
    ("m-imatrix.gguf", "imatrix"), ("m-f16-imatrix.gguf", "imatrix"), ("m.imatrix.dat", "imatrix"), ("m-Q8_0.imatrix.gguf", "imatrix"),
    ("m-Q4_K_M-imatrix.gguf", "model"), ("m-Imatrix-Q4_K_M.gguf", "model"), ("imatrixes-Q4_K_M.gguf", "model"),
])
def test_kinds(path, kind):
    assert parse_name(path).kind == kind


@pytest.mark.parametrize("path, dynamic, weighted", [
    ("m-UD-Q4_K_M.gguf", True, False), ("m-ud-q4_k_m.gguf", True, False), ("UD-Q4_K_XL/m-Q4_K_XL-00001-of-00002.gguf", True, False),
    ("UD-Q4_K_XL/m.gguf", True, False), ("m.i1-IQ4_XS.gguf", False, True), ("m-I1-Q4_0.gguf", False, True),
    ("CLOUD-Q4_K_M.gguf", False, False), ("Agents-A1-Q4_K_M.gguf", False, False), ("UD-Q8_0/m-Q4_K_M.gguf", False, False),
])
def test_marks(path, dynamic, weighted):
    name = parse_name(path)
    assert (name.dynamic, name.weighted) == (dynamic, weighted)


@pytest.mark.parametrize("path, shard", [
    ("m-00001-of-00002.gguf", (1, 2)), ("m-00002-OF-00002.GGUF", (2, 2)), ("m-00003-of-00002.gguf", None),
    ("m.Q4_K_M-split-00001-of-00002.gguf", (1, 2)), ("m.gguf.part2of3", (2, 3)), ("m.gguf.part4of3", None), ("m.gguf-split-a", None), ("m.gguf.part-b", None),
    ("m-00000-of-00002.gguf", None), ("m-1-of-2.gguf", None), ("m.gguf", None),
])
def test_shards(path, shard):
    assert parse_name(path).shard == shard


@pytest.mark.parametrize("path, stem", [
    ("m.Q4_K_M.gguf-split-a", "m"), ("m.i1-Q6_K.gguf.part1of2", "m"), ("m.Q4_K_M-split-00001-of-00002.gguf", "m"), ("m.gguf.part4of3", "m.gguf.part4of3"),
])
def test_stems_of_pieces(path, stem):
    assert parse_name(path).stem == stem
