# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Reads the header of a GGUF file (versions 2 and 3) in bounds: keys, and tensor infos when asked.

Layout (all little-endian): magic, u32 version, u64 tensor count, u64 key count, keys, tensor infos,
padding, tensor data. Nothing a file claims is believed before it is compared with a limit and with
the bytes that are left in the file; all arithmetic is on unbounded integers.
"""
from __future__ import annotations

import hashlib
import math
import re
import struct
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Mapping, Sequence

from ._gguf_bytes import U64, BytesSource, Cursor, FileSource, GgufError, HttpSource, Limits
from ._gguf_tensors import TensorGroup, merge_groups, read_tensors

__all__ = ["BytesSource", "FileSource", "GgufError", "Header", "HttpSource", "Limits", "TensorGroup", "read_header"]

HEADER_SCHEMA = 1
PARAMETERS = frozenset("""
    block_count context_length embedding_length embedding_length_out embedding_length_per_layer_input feed_forward_length vocab_size
    expert_count expert_used_count expert_feed_forward_length expert_shared_feed_forward_length expert_shared_count
    leading_dense_block_count nextn_predict_layers interleave_moe_layer_step use_parallel_residual
    attention.head_count attention.head_count_kv attention.key_length attention.value_length attention.key_length_swa
    attention.value_length_swa attention.sliding_window attention.sliding_window_pattern attention.shared_kv_layers
    attention.kv_lora_rank attention.q_lora_rank attention.key_length_mla attention.value_length_mla attention.causal
    attention.indexer.head_count attention.indexer.key_length attention.indexer.top_k
    ssm.conv_kernel ssm.inner_size ssm.state_size ssm.time_step_rank ssm.group_count
    full_attention_interval recurrent_layers wkv.head_size token_shift_count kda.head_dim shortconv.l_cache
    pooling_type rope.dimension_count rope.scaling.type rope.scaling.factor rope.scaling.original_context_length
""".split())
"""Architecture keys that are kept, without the architecture's name in front."""
ESSENTIAL = ("block_count", "embedding_length")
"""A plan-mode read goes on until it has seen these."""

_U32 = struct.Struct("<I")
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_STRUCTS = {number: struct.Struct(form) for number, form in _SCALARS.items()}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_GENERAL = ("general.architecture", "general.name", "general.license", "general.type", "tokenizer.ggml.model")
_NUMBERS = ("general.alignment", "general.file_type", "general.quantization_version", "split.no", "split.count", "split.tensors.count")
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True)
class Header:
    """What the planner needs of a GGUF file (or of a whole split set).

    `parameters` maps keys of `PARAMETERS` to numbers, bools or per-layer lists. `file_size` and
    `bytes_read` are bytes. `complete` tells that all keys were read; when it is False, `file_type`,
    `has_chat_template` and what else stands behind the vocabulary may be unknown (None).
    `tensors` is None in plan mode, else tensor infos summed by type, role and row divisor.
    """

    version: int
    architecture: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    license: str | None = None
    general_type: str | None = None
    file_type: int | None = None
    alignment: int = 32
    quantization_version: int | None = None
    tensor_count: int = 0
    key_count: int = 0
    vocab_size: int = 0
    tokenizer_model: str | None = None
    has_chat_template: bool | None = None
    chat_template_sha256: str | None = None
    split_count: int = 1
    split_no: int = 0
    file_size: int | None = None
    bytes_read: int = 0
    complete: bool = True
    tensors: tuple[TensorGroup, ...] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """An architecture parameter by its name without the architecture."""
        return self.parameters.get(name, default)

    @property
    def causal(self) -> bool | None:
        """`attention.causal`, None when the file does not say."""
        return self.get("attention.causal")

    @property
    def pooling_type(self) -> int | None:
        """`pooling_type`: 0 none, 1 mean, 2 cls, 3 last, 4 rank; None when the file does not say."""
        return self.get("pooling_type")

    @property
    def context_length(self) -> int | None:
        """Trained context in tokens."""
        return self.get("context_length")

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe and small; absent values are left out, keys are sorted."""
        plain = {key: value for key, value in asdict(self).items() if value is not None}
        plain["parameters"] = {key: self.parameters[key] for key in sorted(self.parameters)}
        if self.tensors is not None:
            plain["tensors"] = [asdict(group) for group in self.tensors]
        plain["schema"] = HEADER_SCHEMA
        plain["causal"], plain["pooling_type"] = self.causal, self.pooling_type
        return dict(sorted(plain.items()))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Header:
        """The inverse of `as_dict`; raises `GgufError` for what `as_dict` cannot have written."""
        known = {key: value for key, value in data.items() if key not in ("schema", "causal", "pooling_type")}
        if data.get("schema") != HEADER_SCHEMA:
            raise GgufError("A stored GGUF header has an unknown schema", "header.schema", str(data.get("schema")), "Resolve the model again.")
        try:
            groups = known.pop("tensors", None)
            tensors = None if groups is None else tuple(TensorGroup(**group) for group in groups)
            return cls(**known, tensors=tensors)
        except TypeError as error:
            raise GgufError("A stored GGUF header is damaged", "header", str(error), "Resolve the model again.") from error


@dataclass
class _Keys:
    """Keys while they are being read."""

    names: set[bytes] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    kept_bytes: int = 0
    vocabulary: int = 0
    template: str | None = None
    complete: bool = False


def read_header(source: Any, limits: Limits = Limits(), exact: bool = False) -> Header:
    """Read the header of one GGUF file, or of a split set given as a list in shard order.

    Plan mode (`exact=False`) reads 64 KB and stops at the vocabulary once the essential keys are
    known. Exact mode reads all keys and tensor infos. Raises `GgufError` (a `FleetError`) whose
    `where` names the source, the byte offset and the field. Layout: the GGUF specification of ggml.
    """
    if isinstance(source, (list, tuple)):
        return _read_split(source, limits, exact)
    header, _claimed = _read_one(source, limits, exact)
    if header.split_no != 0:
        raise GgufError("Only the first file of a split model has its keys", source.label,
                        f"part {header.split_no + 1} of {header.split_count}", "Name the first part.")
    return header


def _read_split(sources: Sequence[Any], limits: Limits, exact: bool) -> Header:
    """Shard 1 has the keys; sizes and tensor infos are summed over all shards."""
    if not sources or len(sources) > limits.splits:
        raise GgufError("A split model has no parts or too many", "sources", f"{len(sources)} parts", f"Give 1 to {limits.splits} parts in order.")
    found = [_read_one(source, limits, exact, shard=number) for number, source in enumerate(sources)]
    shards = [header for header, _claimed in found]
    for number, (shard, source) in enumerate(zip(shards, sources)):
        if (shard.split_no, shard.split_count) != (number, len(sources)):
            raise GgufError("The parts of a split model do not fit together", source.label,
                            f"part {shard.split_no + 1} of {shard.split_count}, wanted {number + 1} of {len(sources)}", "Give all parts, in order.")
    claimed, total = found[0][1], sum(shard.tensor_count for shard in shards)
    if claimed is not None and claimed != total:
        raise GgufError("The parts of a split model do not hold its tensors", sources[0].label, f"{total} tensors, {claimed} announced",
                        "Download all parts again.")
    return _summed(shards, total, exact)


def _summed(shards: Sequence[Header], tensors: int, exact: bool) -> Header:
    """The first shard's header with the sizes and tensors of all."""
    sizes = [shard.file_size for shard in shards]
    return replace(shards[0], tensor_count=tensors, bytes_read=sum(shard.bytes_read for shard in shards),
                   file_size=None if None in sizes else sum(size or 0 for size in sizes),
                   tensors=merge_groups([shard.tensors or () for shard in shards]) if exact else None)


def _read_one(source: Any, limits: Limits, exact: bool, shard: int = 0) -> tuple[Header, int | None]:
    """The header of one file and `split.tensors.count`, the number of tensors its whole set claims."""
    cursor = Cursor(source, limits)
    version, tensor_count, key_count = _read_preamble(cursor)
    keys = _Keys()
    for index in range(key_count):
        if not _read_key(cursor, keys, index, exact or shard > 0):
            break
    keys.complete = len(keys.names) == key_count
    cursor.field = "keys"
    header = _assemble(cursor, keys, version, shard)
    header = replace(header, tensor_count=tensor_count, key_count=key_count)
    if exact:
        header = replace(header, tensors=read_tensors(cursor, tensor_count, header.alignment))
    return replace(header, bytes_read=cursor.bytes_read, file_size=source.size), keys.values.get("split.tensors.count")


def _read_preamble(cursor: Cursor) -> tuple[int, int, int]:
    """Magic, version and both counts."""
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise cursor.error("This is not a GGUF file", repr(magic), "Name a .gguf file.", offset=0)
    cursor.field = "version"
    version = cursor.number(_U32)
    if version & 0xFFFF == 0:
        raise cursor.error("The GGUF file is big-endian", f"version {version:#010x}", "Use the little-endian file.", offset=4)
    if version not in (2, 3):
        raise cursor.error("The GGUF version is not supported", str(version), "Use a file of version 2 or 3.", offset=4)
    tensors = _count(cursor, "tensor count", cursor.limits.tensors, 24)
    return version, tensors, _count(cursor, "key count", cursor.limits.keys, 13)


def _count(cursor: Cursor, name: str, most: int, smallest: int) -> int:
    """A u64 count of items that take at least `smallest` bytes each."""
    cursor.field = name
    start = cursor.offset
    count = cursor.number(U64)
    if count > most:
        raise cursor.error(f"The {name} is over the limit of {most}", str(count), offset=start)
    if cursor.remaining is not None and count * smallest > cursor.remaining:
        raise cursor.error(f"The {name} does not fit into the file", f"{count}, {cursor.remaining} bytes left", offset=start)
    return count


def _read_key(cursor: Cursor, keys: _Keys, index: int, exact: bool) -> bool:
    """Read one key; False when plan mode ends here, at an array that is not at hand."""
    cursor.field = f"key {index}"
    start = cursor.offset
    raw = cursor.take(cursor.length(cursor.limits.key_bytes, "key"))
    name = _text(raw)
    cursor.field = name[:80] or cursor.field
    if not raw or raw in keys.names:
        raise cursor.error("A key occurs twice" if raw else "A key has no name", "", offset=start)
    kind = cursor.number(_U32)
    if kind == _ARRAY:
        return _read_array(cursor, keys, raw, exact)
    keys.names.add(raw)
    if kind == _STRING:
        _read_string(cursor, keys, name)
    elif kind in _STRUCTS:
        value = cursor.number(_STRUCTS[kind])
        _keep(cursor, keys, name, bool(value) if kind == _BOOL else value, 16)
    else:
        raise cursor.error("A key has an unknown value type", str(kind), offset=cursor.offset - 4)
    return True


def _read_string(cursor: Cursor, keys: _Keys, name: str) -> None:
    length = cursor.length(cursor.limits.string_bytes, "string")
    if name == "tokenizer.chat_template":  # data, never rendered: only its digest is kept
        keys.template = hashlib.sha256(cursor.take(length)).hexdigest()
    elif _wanted(name):  # a text where a number belongs is refused once the architecture is known
        _keep(cursor, keys, name, _text(cursor.take(length)) if length <= 1024 else None, length)
    else:
        cursor.skip(length)


def _read_array(cursor: Cursor, keys: _Keys, raw: bytes, exact: bool) -> bool:
    """Read or go over an array; False when plan mode stops instead of reading on."""
    name, start = _text(raw), cursor.offset
    kind = cursor.number(_U32)
    if kind == _ARRAY:
        raise cursor.error("Arrays inside arrays are not allowed", "", offset=start)
    if kind != _STRING and kind not in _STRUCTS:
        raise cursor.error("An array has an unknown element type", str(kind), offset=start)
    size = 8 if kind == _STRING else _STRUCTS[kind].size
    count = _array_length(cursor, size)
    if name == "tokenizer.ggml.tokens":
        keys.vocabulary = count
    wanted = _wanted(name)
    may_stop = not exact and not wanted and _has_essentials(keys)
    if kind == _STRING:
        if not cursor.skip_strings(count, patient=not may_stop):
            return False
    elif wanted:
        _keep_array(cursor, keys, name, kind, count)
    elif may_stop and not cursor.holds(count * size):
        return False
    else:
        cursor.skip(count * size)
    keys.names.add(raw)
    return True


def _array_length(cursor: Cursor, size: int) -> int:
    """The u64 element count of an array, inside the limit and the file."""
    start = cursor.offset
    count = cursor.number(U64)
    if count > cursor.limits.array_items:
        raise cursor.error(f"An array is over the limit of {cursor.limits.array_items} elements", str(count), offset=start)
    if cursor.remaining is not None and count * size > cursor.remaining:
        raise cursor.error("An array is longer than the file", f"{count} elements of at least {size} bytes, {cursor.remaining} bytes left", offset=start)
    return count


def _keep_array(cursor: Cursor, keys: _Keys, name: str, kind: int, count: int) -> None:
    """Keep a per-layer array."""
    if count > cursor.limits.layers:
        raise cursor.error(f"A per-layer array is over the limit of {cursor.limits.layers} layers", str(count))
    form = struct.Struct(f"<{count}{_SCALARS[kind][1]}")
    values = form.unpack(cursor.take(form.size))
    _keep(cursor, keys, name, [bool(value) for value in values] if kind == _BOOL else list(values), 8 * count)


def _keep(cursor: Cursor, keys: _Keys, name: str, value: Any, size: int) -> None:
    """Keep a value if the planner may need it; what all kept values weigh is limited too."""
    if not _wanted(name):
        return
    keys.kept_bytes += size + len(name)
    if keys.kept_bytes > cursor.limits.kept_bytes:
        raise cursor.error(f"The parameters are over the limit of {cursor.limits.kept_bytes} bytes")
    keys.values[name] = value


def _wanted(name: str) -> bool:
    return name in _GENERAL or name in _NUMBERS or name.partition(".")[2] in PARAMETERS


def _has_essentials(keys: _Keys) -> bool:
    architecture = keys.values.get("general.architecture")
    return architecture is not None and all(f"{architecture}.{name}" in keys.values for name in ESSENTIAL)


def _assemble(cursor: Cursor, keys: _Keys, version: int, shard: int) -> Header:
    """The kept keys as a `Header`."""
    architecture = keys.values.get("general.architecture")
    if architecture is None and not shard and not keys.values.get("split.no"):
        raise cursor.error("The GGUF file does not say its architecture", "no general.architecture")
    if architecture is not None and not _ARCHITECTURE.match(str(architecture)):
        raise cursor.error("The name of the architecture is not sound", repr(architecture)[:80])
    prefix = f"{architecture}."
    found = {name[len(prefix):]: value for name, value in keys.values.items() if architecture and name.startswith(prefix)}
    parameters = {name: _number(cursor, prefix + name, value) for name, value in sorted(found.items()) if name in PARAMETERS}
    values = keys.values
    split_no, split_count = _whole(cursor, values, "split.no", 0), max(1, _whole(cursor, values, "split.count", 1))
    return Header(
        version=version, architecture=architecture or "", parameters=parameters, name=values.get("general.name"),
        license=values.get("general.license"), general_type=values.get("general.type"),
        file_type=_whole(cursor, values, "general.file_type", None), alignment=_alignment(cursor, values),
        quantization_version=_whole(cursor, values, "general.quantization_version", None),
        vocab_size=max(keys.vocabulary, parameters.get("vocab_size") or 0), tokenizer_model=values.get("tokenizer.ggml.model"),
        has_chat_template=True if keys.template else (False if keys.complete else None), chat_template_sha256=keys.template,
        split_count=split_count, split_no=split_no, complete=keys.complete)


def _whole(cursor: Cursor, values: Mapping[str, Any], name: str, default: int | None) -> Any:
    value = values.get(name, default)
    if value is not default and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        cursor.field = name
        raise cursor.error("A key must be a whole number", repr(value)[:80])
    return value


def _alignment(cursor: Cursor, values: Mapping[str, Any]) -> int:
    value = _whole(cursor, values, "general.alignment", 32)
    if not 0 < value <= cursor.limits.alignment or value & (value - 1):
        cursor.field = "general.alignment"
        raise cursor.error(f"The alignment must be a power of two up to {cursor.limits.alignment}", str(value))
    return value


def _number(cursor: Cursor, name: str, value: Any) -> Any:
    """A parameter that the planner may calculate with: whole, not negative, not absurd; or the one text and the one float."""
    cursor.field = name
    if name.endswith(".rope.scaling.type") or (name.endswith(".rope.scaling.factor") and isinstance(value, float)):
        return None if isinstance(value, float) and math.isnan(value) else value
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, int) or not 0 <= item <= cursor.limits.dimension:
            raise cursor.error(f"A parameter must be a whole number from 0 to {cursor.limits.dimension}", repr(item)[:80])
    if name.endswith(".block_count") and (isinstance(value, list) or value > cursor.limits.layers):
        raise cursor.error(f"The number of layers is over the limit of {cursor.limits.layers}", repr(value)[:80])
    return value


def _text(raw: bytes) -> str:
    """Text for people: bad UTF-8 replaced, control characters removed."""
    return "".join(letter for letter in raw.decode("utf-8", "replace") if letter.isprintable())
