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
import os
import re
import struct
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Mapping, Sequence

from ._gguf_bytes import U32, U64, BytesSource, Cursor, FileSource, GgufError, HttpSource, Limits, printable
from ._gguf_tensors import Seen, TensorGroup, merge_groups, read_tensors

__all__ = ["BytesSource", "FileSource", "GgufError", "Header", "HttpSource", "Limits", "TensorGroup", "read_header"]

HEADER_SCHEMA = 1
PARAMETERS = frozenset("""
    block_count decoder_block_count context_length embedding_length embedding_length_out embedding_length_per_layer_input feed_forward_length vocab_size
    expert_count expert_used_count expert_feed_forward_length expert_shared_feed_forward_length expert_shared_count
    expert_chunk_feed_forward_length experts_per_group moe_every_n_layers moe_latent_size
    leading_dense_block_count nextn_predict_layers interleave_moe_layer_step use_parallel_residual swin_norm
    attention.head_count attention.head_count_kv attention.key_length attention.value_length attention.key_length_swa
    attention.value_length_swa attention.sliding_window attention.sliding_window_pattern attention.shared_kv_layers
    attention.kv_lora_rank attention.q_lora_rank attention.key_length_mla attention.value_length_mla attention.causal attention.relative_buckets_count
    attention.indexer.head_count attention.indexer.key_length attention.indexer.top_k attention.indexer.block_size
    ssm.conv_kernel ssm.inner_size ssm.state_size ssm.time_step_rank ssm.group_count
    full_attention_interval attention.recurrent_layers time_mix_extra_dim time_decay_extra_dim attention.decay_lora_rank attention.iclr_lora_rank
    attention.value_residual_mix_lora_rank attention.gate_lora_rank wkv.head_size token_shift_count kda.head_dim shortconv.l_cache
    pooling_type rope.dimension_count rope.scaling.type rope.scaling.factor rope.scaling.original_context_length
    has_vision_encoder projector_type vision.projector_type vision.projection_dim vision.embedding_length vision.feed_forward_length
    vision.image_size vision.patch_size vision.spatial_merge_size vision.projector.scale_factor vision.image_max_pixels
    vision.preproc_image_size vision.preproc_max_tiles vision.is_deepstack_layers vision.image_grid_pinpoints
    vision.n_wa_pattern vision.window_size vision.sam.head_count
""".split())
"""Architecture keys that are kept, without the architecture's name in front."""
PER_LAYER = frozenset("""
    feed_forward_length expert_feed_forward_length expert_shared_feed_forward_length expert_used_count attention.head_count attention.head_count_kv
    attention.sliding_window attention.sliding_window_pattern attention.recurrent_layers vision.feed_forward_length vision.is_deepstack_layers
    vision.image_grid_pinpoints
""".split())
"""Those that may be an array with an entry a layer."""
FLAGS = frozenset("attention.causal use_parallel_residual swin_norm has_vision_encoder".split())
FLAGS_OR_NUMBERS = frozenset("attention.sliding_window_pattern attention.recurrent_layers vision.is_deepstack_layers".split())
WORDS = frozenset("rope.scaling.type projector_type vision.projector_type".split())
SCALE = "rope.scaling.factor"
"""The one that may have a fraction."""
ESSENTIAL = ("block_count", "embedding_length")
ESSENTIAL_ONE_OF = ("attention.head_count", "ssm.state_size", "wkv.head_size", "shortconv.l_cache")
"""A plan-mode read goes on until it has seen the first two, one of these and the start of the vocabulary."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_STRUCTS = {number: struct.Struct(form) for number, form in _SCALARS.items()}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_TOKENS, _TEMPLATE = "tokenizer.ggml.tokens", "tokenizer.chat_template"
_TEXTS = ("general.architecture", "general.name", "general.license", "general.type", "tokenizer.ggml.model")
_NUMBERS = ("general.alignment", "general.file_type", "general.quantization_version", "split.no", "split.count", "split.tensors.count")
_LONGEST_TEXT = 1024
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True)
class Header:
    """What the planner needs of a GGUF file (or of a whole split set).

    `parameters` maps keys of `PARAMETERS` to numbers, bools or per-layer lists. `file_size` and
    `bytes_read` are bytes. `complete` tells that all keys were read; when it is False, `file_type`, `alignment`,
    `split_count`, `merge_count`, `has_chat_template` and what else stands behind the vocabulary may be unknown (None).
    `tensors` is None in plan mode, else tensor infos summed by type, role and row divisor.
    """

    version: int
    architecture: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    license: str | None = None
    general_type: str | None = None
    file_type: int | None = None
    alignment: int | None = None
    quantization_version: int | None = None
    tensor_count: int = 0
    key_count: int = 0
    vocab_size: int = 0
    merge_count: int | None = None
    tokenizer_model: str | None = None
    has_chat_template: bool | None = None
    chat_template_sha256: str | None = None
    split_count: int | None = None
    split_no: int | None = None
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
        plain = {key: value for key, value in vars(self).items() if value is not None}
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
            header = cls(**known, tensors=tensors)
            wrong = [name for owner in (header, *(tensors or ())) for name, kind in owner.__annotations__.items() if not _is(kind, getattr(owner, name))]
            wrong = wrong or [f"parameters.{name}" for name, value in header.parameters.items() if name in PARAMETERS and _wrong(name, value, Limits())]
        except (TypeError, AttributeError) as error:
            raise GgufError("A stored GGUF header is damaged", "header", printable(str(error)), "Resolve the model again.") from error
        if wrong:
            raise GgufError("A stored GGUF header is damaged", f"header.{wrong[0]}", "a value of another type", "Resolve the model again.")
        return header


def _is(kind: str, value: Any) -> bool:
    """Whether a value is of an annotation of `Header` or `TensorGroup`; a bool is no int."""
    plain, _bar, optional = kind.partition(" | ")
    if value is None:
        return bool(optional)
    wanted = {"int": int, "str": str, "bool": bool}.get(plain, Mapping if plain.startswith("Mapping") else tuple)
    return isinstance(value, wanted) and not (plain == "int" and isinstance(value, bool))


@dataclass
class _Keys:
    """Keys while they are being read; `places` has the byte at which each kept one starts."""

    names: Seen = field(default_factory=Seen)
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    kept_bytes: int = 0
    vocabulary: int | None = None
    merges: int = 0
    template: str | None = None
    complete: bool = False


def read_header(source: Any, limits: Limits = Limits(), exact: bool = False) -> Header:
    """Read the header of one GGUF file, or of a split set given as a list in shard order.

    A source is a path, an `http(s)` URL as text, bytes, or an object of `_gguf_bytes`. Plan mode (`exact=False`) reads 64 KB
    and stops at the vocabulary once the essential keys are known. Exact mode reads all keys and tensor infos. Raises `GgufError`
    (a `FleetError`) whose `where` names the source, the byte offset and the field. Layout: the GGUF specification of ggml.
    """
    if isinstance(source, (list, tuple)):
        return _read_split([_source(part) for part in source], limits, exact)
    return _read_one(_source(source), limits, exact, Seen())[0]


def _source(source: Any) -> Any:
    """The object that reads a path, a URL or bytes; such an object itself as it is."""
    if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        return HttpSource(source)
    if isinstance(source, (str, os.PathLike)):
        return FileSource(source)
    if isinstance(source, (bytes, bytearray)):
        return BytesSource(bytes(source))
    if not hasattr(source, "read_at"):
        raise GgufError("This is no source of a GGUF header", "source", type(source).__name__, "Give a path, a URL, or a list of them in shard order.")
    return source


def _read_split(sources: Sequence[Any], limits: Limits, exact: bool) -> Header:
    """Shard 1 has the keys; sizes and tensor infos are summed over all shards."""
    if not sources or len(sources) > limits.splits:
        raise GgufError("A split model has no parts or too many", "sources", f"{len(sources)} parts", f"Give 1 to {limits.splits} parts in order.")
    shards: list[Header] = []
    claims: list[int | None] = []
    names, end, left = Seen(), time.monotonic() + limits.seconds, limits
    for number, source in enumerate(sources):
        shard, claimed = _read_one(source, left, exact, names, (number, len(sources)), shards[0] if shards else None)
        if number and shard.architecture not in ("", shards[0].architecture):
            raise GgufError("The parts of a split model do not fit together", f"{source.label}, general.architecture",
                            f"{shard.architecture}, {shards[0].architecture} in the first part", "Give all parts of one model.")
        left = replace(left, total_bytes=left.total_bytes - shard.bytes_read, tensors=left.tensors - shard.tensor_count, seconds=end - time.monotonic())
        shards.append(shard)
        claims.append(claimed)
    total = sum(shard.tensor_count for shard in shards)
    for source, claimed in zip(sources, claims):
        if claimed is not None and claimed != total:
            raise GgufError("The parts of a split model do not hold its tensors", f"{source.label}, split.tensors.count",
                            f"{total} tensors, {claimed} announced", "Download all parts again.")
    return _summed(shards, total, exact)


def _check_part(cursor: Cursor, keys: _Keys, header: Header, part: tuple[int, int] | None) -> None:
    """A file must be the part it is given as; one given alone must be the first. In plan mode that may stand in what was not read."""
    number, count = header.split_no, header.split_count
    if number is None or (part is None and not number) or (part is not None and number == part[0] and count in (None, part[1])):
        return
    got = f"part {number + 1}" + ("" if count is None else f" of {count}")
    cursor.field = "split.no and split.count"
    place = keys.places.get("split.no", keys.places.get("split.count"))
    if part is None:
        raise cursor.error("Only the first file of a split model has its keys", got, "Name the first part.", offset=place)
    raise cursor.error("The parts of a split model do not fit together", f"{got}, wanted {part[0] + 1} of {part[1]}", "Give all parts, in order.", offset=place)


def _summed(shards: Sequence[Header], tensors: int, exact: bool) -> Header:
    """The first shard's header with the sizes and tensors of all."""
    sizes, first = [shard.file_size for shard in shards], shards[0]
    if len(shards) > 1:  # the other parts said so
        first = replace(first, split_no=0, split_count=len(shards))
    return replace(first, tensor_count=tensors, bytes_read=sum(shard.bytes_read for shard in shards),
                   file_size=None if None in sizes else sum(size or 0 for size in sizes),
                   tensors=merge_groups([shard.tensors or () for shard in shards]) if exact else None)


def _read_one(
    source: Any, limits: Limits, exact: bool, names: Seen, part: tuple[int, int] | None = None, first: Header | None = None,
) -> tuple[Header, int | None]:
    """The header of one file, `part` of a split set whose `first` part has the keys, and `split.tensors.count`, which the whole set claims."""
    cursor = Cursor(source, limits)
    version, tensor_count, key_count = _read_preamble(cursor)
    keys, later = _Keys(), part is not None and part[0] > 0
    for index in range(key_count):
        if not _read_key(cursor, keys, index, exact or later):
            break
    else:
        keys.complete = True
    header = replace(_assemble(cursor, keys, version, later), tensor_count=tensor_count, key_count=key_count)
    _check_part(cursor, keys, header, part)
    claimed = _whole(cursor, keys, "split.tensors.count", None)
    if exact:
        header = replace(header, tensors=read_tensors(cursor, tensor_count, header.alignment or 32, names, _layers_loaded(first or header)))
    return replace(header, bytes_read=cursor.bytes_read, file_size=source.size), claimed


def _layers_loaded(header: Header) -> int | None:
    """How many layers the engine loads; None where it loads all."""
    layers, further = header.get("block_count"), header.get("nextn_predict_layers")
    return max(1, layers - further) if layers and further else None


def _read_preamble(cursor: Cursor) -> tuple[int, int, int]:
    """Magic, version and both counts."""
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise cursor.error("This is not a GGUF file", repr(magic), "Name a .gguf file.", offset=0)
    cursor.field = "version"
    version = cursor.number(U32)
    if version and version & 0xFFFF == 0:
        raise cursor.error("The GGUF file is big-endian", f"version {version:#010x}", "Use the little-endian file.", offset=4)
    if version not in (2, 3):
        raise cursor.error("The GGUF version is not supported", str(version), "Use a file of version 2 or 3.", offset=4)
    tensors = _count(cursor, "tensor count", cursor.limits.tensors, 33)
    return version, tensors, _count(cursor, "key count", cursor.limits.keys, 14)


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
    cursor.field = printable(raw, 80) or cursor.field
    if not raw or not keys.names.add(raw):
        raise cursor.error("A key occurs twice" if raw else "A key has no name", f"key {index}", offset=start)
    name = raw.decode("latin-1")  # one to one: no two keys become the same name
    if _wanted(name):
        keys.places[name] = start
    kind = cursor.number(U32)
    if kind == _ARRAY:
        if not _read_array(cursor, keys, name, exact):
            return False
    elif name == _TOKENS:
        raise cursor.error("The vocabulary must be an array of texts", f"value type {kind}", offset=cursor.offset - 4)
    elif kind == _STRING:
        _read_string(cursor, keys, name)
    elif kind in _STRUCTS:
        value = cursor.number(_STRUCTS[kind])
        _keep(cursor, keys, name, bool(value) if kind == _BOOL else value, 16)
    else:
        raise cursor.error("A key has an unknown value type", str(kind), offset=cursor.offset - 4)
    return True


def _read_string(cursor: Cursor, keys: _Keys, name: str) -> None:
    length = cursor.length(cursor.limits.string_bytes, "string")
    if name == _TEMPLATE and length:  # data, never rendered: only its digest is kept
        digest = hashlib.sha256()
        cursor.pour(length, digest.update)
        keys.template = digest.hexdigest()
    elif _wanted(name):  # a text where a number belongs is refused once the architecture is known
        kept = min(length, _LONGEST_TEXT)
        raw = cursor.take(kept)
        text = raw.decode("utf-8", "backslashreplace") if name == "general.architecture" else printable(raw, kept)  # an identifier is never mended
        _keep(cursor, keys, name, text, kept)
        cursor.skip(length - kept)
    else:
        cursor.skip(length)


def _read_array(cursor: Cursor, keys: _Keys, name: str, exact: bool) -> bool:
    """Read or go over an array; False when plan mode stops instead of reading on."""
    start = cursor.offset
    kind = cursor.number(U32)
    if kind == _ARRAY:
        raise cursor.error("Arrays inside arrays are not allowed", "element type 9", offset=start)
    if kind != _STRING and kind not in _STRUCTS:
        raise cursor.error("An array has an unknown element type", str(kind), offset=start)
    size = 8 if kind == _STRING else _STRUCTS[kind].size
    count = _array_length(cursor, size)
    if name == _TOKENS:
        if kind != _STRING:
            raise cursor.error("The vocabulary must be an array of texts", f"element type {kind}", offset=start)
        keys.vocabulary = count
    if name == "tokenizer.ggml.merges":
        keys.merges = count
    wanted = _wanted(name)
    may_stop = not exact and not wanted and _has_essentials(keys)
    if kind == _STRING:
        _keep(cursor, keys, name, [""], 16)  # texts where numbers belong are refused once the architecture is known
        return cursor.skip_strings(count, patient=not may_stop)
    if wanted:
        _keep_array(cursor, keys, name, kind, count)
    elif may_stop and not cursor.holds(count * size):
        return False
    else:
        cursor.skip(count * size)
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
    if not 1 <= count <= cursor.limits.layers:
        raise cursor.error(f"A per-layer array is over the limit of {cursor.limits.layers} layers" if count else "A per-layer array is empty",
                           str(count), offset=cursor.offset - 8)
    values = cursor.unpack(struct.Struct(f"<{count}{_SCALARS[kind][1]}"))
    _keep(cursor, keys, name, [bool(value) for value in values] if kind == _BOOL else list(values), 8 * count)


def _keep(cursor: Cursor, keys: _Keys, name: str, value: Any, size: int) -> None:
    """Keep a value if the planner may need it; what all kept values weigh is limited too."""
    if not _wanted(name):
        return
    keys.kept_bytes += size + len(name)
    if keys.kept_bytes > cursor.limits.kept_bytes:
        raise cursor.error(f"The parameters are over the limit of {cursor.limits.kept_bytes} bytes", str(keys.kept_bytes), offset=keys.places[name])
    keys.values[name] = value


def _wanted(name: str) -> bool:
    return name in _TEXTS or name in _NUMBERS or name.partition(".")[2] in PARAMETERS


def _has_essentials(keys: _Keys) -> bool:
    """Whether a plan can be made of what was read."""
    if keys.vocabulary is None:
        return False
    prefix = f"{keys.values.get('general.architecture')}."
    return all(prefix + name in keys.values for name in ESSENTIAL) and any(prefix + name in keys.values for name in ESSENTIAL_ONE_OF)


def _refused(cursor: Cursor, keys: _Keys, name: str, what: str, value: Any) -> GgufError:
    """A sentence about a key that was kept."""
    cursor.field = name
    return cursor.error(what, repr(value)[:80], offset=keys.places.get(name))


def _assemble(cursor: Cursor, keys: _Keys, version: int, later: bool) -> Header:
    """The kept keys as a `Header`; the later parts of a split set need no architecture."""
    split_no, split_count = _split(cursor, keys)
    texts = {name: _words(cursor, keys, name) for name in _TEXTS}
    architecture = texts["general.architecture"]
    if architecture is None and not later and not split_no:
        cursor.field = "keys, general.architecture"
        raise cursor.error("The GGUF file does not say its architecture", "no general.architecture")
    if architecture is not None and not _ARCHITECTURE.match(architecture):
        raise _refused(cursor, keys, "general.architecture", "The name of the architecture is not sound", architecture)
    prefix = f"{architecture}."
    found = {name[len(prefix):]: value for name, value in keys.values.items() if architecture and name.startswith(prefix)}
    parameters = {name: _parameter(cursor, keys, prefix, name, value) for name, value in sorted(found.items()) if name in PARAMETERS}
    return Header(
        version=version, architecture=architecture or "", parameters={name: value for name, value in parameters.items() if value is not None},
        name=texts["general.name"], license=texts["general.license"], general_type=texts["general.type"],
        file_type=_whole(cursor, keys, "general.file_type", None), alignment=_alignment(cursor, keys),
        quantization_version=_whole(cursor, keys, "general.quantization_version", None),
        vocab_size=parameters.get("vocab_size", 0) if keys.vocabulary is None else keys.vocabulary, tokenizer_model=texts["tokenizer.ggml.model"],
        merge_count=keys.merges if keys.complete or keys.merges else None,
        has_chat_template=True if keys.template else (False if keys.complete else None), chat_template_sha256=keys.template,
        split_count=split_count, split_no=split_no, complete=keys.complete)


def _words(cursor: Cursor, keys: _Keys, name: str) -> str | None:
    value = keys.values.get(name)
    if value is not None and not isinstance(value, str):
        raise _refused(cursor, keys, name, "A key must be a text", value)
    return value


def _whole(cursor: Cursor, keys: _Keys, name: str, default: int | None) -> Any:
    value = keys.values.get(name, default)
    if name in keys.values and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise _refused(cursor, keys, name, "A key must be a whole number", value)
    return value


def _split(cursor: Cursor, keys: _Keys) -> tuple[int | None, int | None]:
    """`split.no` and `split.count`; None for one that may stand in what was not read."""
    number, count = _whole(cursor, keys, "split.no", 0 if keys.complete else None), _whole(cursor, keys, "split.count", 1 if keys.complete else None)
    if count is None:
        return number, None
    count = count or 1  # a file in one piece may say 0
    if count > cursor.limits.splits:
        raise _refused(cursor, keys, "split.count", f"The number of parts is over the limit of {cursor.limits.splits}", count)
    if "split.count" in keys.values and number is not None and number >= count:
        raise _refused(cursor, keys, "split.no", f"A part must have a number below the number of parts, {count}", number)
    return number, count


def _alignment(cursor: Cursor, keys: _Keys) -> int | None:
    value = _whole(cursor, keys, "general.alignment", 32 if keys.complete else None)
    if value is not None and (not 0 < value <= cursor.limits.alignment or value & (value - 1)):
        raise _refused(cursor, keys, "general.alignment", f"The alignment must be a power of two up to {cursor.limits.alignment}", value)
    return value


def _parameter(cursor: Cursor, keys: _Keys, prefix: str, name: str, value: Any) -> Any:
    """A parameter that the planner may calculate with: whole, not negative, not absurd; or one of the few of another kind."""
    if name == SCALE and isinstance(value, float) and not math.isfinite(value):
        return None
    wrong = _wrong(name, value, cursor.limits)
    if wrong:
        raise _refused(cursor, keys, prefix + name, *wrong)
    return bool(value) if name in FLAGS else value


def _wrong(name: str, value: Any, limits: Limits) -> tuple[str, Any] | None:
    """Why the planner may not calculate with a parameter, and the value or item at fault; None where it may."""
    if name in WORDS:
        return None if isinstance(value, str) else ("A key must be a text", value)
    if name == SCALE and (value is None or isinstance(value, float) and math.isfinite(value)):
        return None
    if isinstance(value, list) and name not in PER_LAYER:
        return "A parameter must be one number, not an array", value
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool) and name in FLAGS | FLAGS_OR_NUMBERS:
            continue
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item <= limits.dimension:
            return f"A parameter must be a whole number from 0 to {limits.dimension}", item
    if name == "block_count" and value > limits.layers:
        return f"The number of layers is over the limit of {limits.layers}", value
    return None
