"""What people read of a changed lock."""
from __future__ import annotations

from dataclasses import replace

import fleets
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _lock_diff
from ansible_collections.localai.fleet.plugins.module_utils._lock import Lock, LockedFile, LockedImage, LockedModel
from ansible_collections.localai.fleet.plugins.module_utils._wanted import WantedModel

MIB = 1 << 20
HEADER = fleets.header(file_size=800 * MIB)
TINY = LockedModel(
    source="hf://acme/Tiny-GGUF", repository="acme/Tiny-GGUF", commit="a" * 40, quant="Q4_K_M", license="mit", architecture="llama",
    files=(LockedFile("tiny-Q4_K_M.gguf", 800 * MIB, "b" * 64),), chat_template_sha256="1" * 64, header=HEADER.as_dict(),
    resolved_at="2026-11-23T04:00:00Z", resolved_by="localai.fleet 0.1.0",
)
URL = "https://files.example.com/w.gguf"
SIGNED = f"{URL}?signature=hidden-word"
WEB = replace(TINY, source=SIGNED, repository=None, commit=None, files=(LockedFile("w.gguf", 2 << 30, "c" * 64, SIGNED),), license=None)
NGINX = LockedImage("docker.io/library/nginx", "1.30.6", "sha256:" + "d" * 64, "multi")
LOCK = Lock({"nginx": NGINX}, {"tiny": TINY, "web": WEB})
AT_A, AT_E = "acme/Tiny-GGUF@aaaaaaaaaaaa Q4_K_M", "acme/Tiny-GGUF@eeeeeeeeeeee Q4_K_M"
FILE, REST = "file tiny-Q4_K_M.gguf (bbbbbbbbbbbb)", "chat template 111111111111"
SHARDS = tuple(LockedFile(f"big-0000{part}-of-00002.gguf", 600 * MIB, str(part) * 64) for part in (1, 2))
PROJECTOR = LockedFile("mmproj-F16.gguf", 100 * MIB, "f" * 64)


def changed(**fields):
    return Lock(LOCK.images, {**LOCK.models, "tiny": replace(TINY, **fields)})


@pytest.mark.parametrize("new, lines", [
    (LOCK, []),
    (Lock({}, {"tiny": TINY}), [
        "image nginx: removed, docker.io/library/nginx:1.30.6 sha256:dddddddddddd multi",
        f"model web: removed, {URL} Q4_K_M, file w.gguf (cccccccccccc), size 2.00 GiB, license unknown, chat template 111111111111",
    ]),
    (Lock(LOCK.images, {**LOCK.models, "new": TINY}), [f"model new: added, {AT_A}, {FILE}, size 800.0 MiB, license mit, {REST}"]),
    (changed(commit="e" * 40, license="gemma"), [
        f"model tiny: {AT_A} -> {AT_E}, license mit -> gemma, {FILE}, size 800.0 MiB, {REST}"]),
    (changed(commit="e" * 40, chat_template_sha256="2" * 64), [
        f"model tiny: {AT_A} -> {AT_E}, chat template 111111111111 -> 222222222222, {FILE}, size 800.0 MiB, license mit"]),
    (changed(chat_template_sha256=None), [f"model tiny: chat template 111111111111 -> none, {AT_A}, {FILE}, size 800.0 MiB, license mit"]),
    (changed(files=SHARDS), [
        f"model tiny: {FILE} -> big-00001-of-00002.gguf and 1 more (111111111111), size 800.0 MiB -> 1.17 GiB (+400.0 MiB), {AT_A}, license mit, {REST}"]),
    (changed(projector=PROJECTOR), [
        f"model tiny: projector none -> mmproj-F16.gguf (100.0 MiB), {AT_A}, {FILE}, size 800.0 MiB, license mit, {REST}"]),
    (Lock({"nginx": replace(NGINX, version="1.30.7")}, LOCK.models), [
        "image nginx: docker.io/library/nginx:1.30.6 sha256:dddddddddddd multi -> docker.io/library/nginx:1.30.7 sha256:dddddddddddd multi",
    ]),
    (changed(resolved_by="x"), ["model tiny: resolved_by changed"]),
])
def test_a_line_for_each_change(new, lines):
    assert _lock_diff.diff(LOCK, new) == lines


def test_memory_is_that_of_the_wanted_context_and_slots():
    wanted = WantedModel(name="tiny", source="hf://acme/Tiny-GGUF")
    small, large = (_lock_diff.planned_bytes(TINY, replace(wanted, context=context)) for context in (4096, 32_768))
    assert large - small > 28_672 * 16 * 2 * 8 * 64 * 2  # keys and values of the further tokens, f16
    bigger = replace(TINY, header=replace(HEADER, file_size=900 * MIB).as_dict(), files=(LockedFile("tiny-Q4_K_M.gguf", 900 * MIB, "b" * 64),))
    line = _lock_diff.diff(Lock({}, {"tiny": TINY}), Lock({}, {"tiny": bigger}), [wanted])[0]
    assert "size 800.0 MiB -> 900.0 MiB (+100.0 MiB)" in line and "memory " in line
    assert f"memory {_lock_diff.size(small)} -> {_lock_diff.size(small + 100 * MIB)} (+100.0 MiB)" in line


def test_memory_is_that_of_the_host_that_needs_most():
    wanted = WantedModel(name="tiny", source="hf://acme/Tiny-GGUF")
    unknown, avx2, plain = (_lock_diff.planned_bytes(TINY, wanted, [isa]) for isa in ((), ("sse42", "avx", "avx2"), ("sse42",)))
    assert plain < avx2 <= unknown and avx2 - plain == 400 * MIB  # the weights that AVX2 has rewritten
    line = _lock_diff.diff(Lock(), Lock(models={"tiny": TINY}), [wanted], [("sse42",), ("sse42", "avx", "avx2")])[0]
    assert f"memory {_lock_diff.size(avx2)}" in line


def test_memory_counts_the_projector_and_leaves_out_what_the_engine_refuses():
    wanted = WantedModel(name="tiny", source="hf://acme/Tiny-GGUF", vision=True)
    without, with_it = (_lock_diff.planned_bytes(replace(TINY, projector=projector), wanted) for projector in (None, PROJECTOR))
    assert with_it - without > PROJECTOR.size
    odd = fleets.header(parameters={**HEADER.parameters, "attention.key_length": 20, "attention.value_length": 20})
    assert _lock_diff.planned_bytes(replace(TINY, header=odd.as_dict()), replace(wanted, kv_type="q8_0")) is None
