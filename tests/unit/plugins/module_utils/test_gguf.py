from __future__ import annotations

import json
import random
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _gguf
from gguf_writer import Tensor, Typed, dense, dense_tensors, header, string, value, write

TINY = dense()
BIG = dense(vocabulary=20_000)


def raw(keys: Any = None, tensors: Any = (), pad: int = 1 << 20, **more: Any) -> bytes:
    """A header and `pad` bytes that stand for tensor data."""
    return header(TINY if keys is None else keys, tensors, **more) + b"\0" * pad


def preamble(version: int = 3, tensors: int = 0, keys: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def with_key(name: str, item: Any) -> bytes:
    return raw({**TINY, name: item})


def read(data: bytes, exact: bool = True, **limits: Any) -> _gguf.Header:
    return _gguf.read_header(_gguf.BytesSource(data), _gguf.Limits(**limits), exact=exact)


def test_reads_what_the_planner_needs() -> None:
    found = read(raw(tensors=dense_tensors(), keys=dense(attention__sliding_window=512, attention__causal=False, pooling_type=1)))
    assert (found.architecture, found.name, found.license, found.file_type, found.alignment) == ("llama", "tiny", "mit", 15, 32)
    assert (found.vocab_size, found.tokenizer_model, found.context_length, found.complete) == (64, "gpt2", 4096, True)
    assert (found.causal, found.pooling_type, found.get("attention.sliding_window")) == (False, 1, 512)
    assert found.has_chat_template and len(found.chat_template_sha256 or "") == 64
    assert (found.get("block_count"), found.get("no_such"), found.get("no_such", 7)) == (2, None, 7)


def test_tensor_infos_are_summed_by_type_role_and_rows() -> None:
    tensors = dense_tensors() + [Tensor("blk.0.ffn_up_exps.weight", (256, 12, 4), "Q4_K"), Tensor("blk.0.ffn_down.weight", (256, 9), "Q4_K")]
    groups = {(group.type, group.role, group.rows_divisor): (group.count, group.bytes) for group in read(raw(tensors=tensors)).tensors or ()}
    assert groups == {
        ("Q4_K", "matrix", 32): (4, 2 * (512 + 256) * 144), ("Q4_K", "matrix", 1): (1, 9 * 144), ("Q4_K", "experts", 4): (1, 48 * 144),
        ("Q6_K", "embedding", 32): (1, 64 * 210), ("Q6_K", "output", 32): (1, 64 * 210), ("F32", "other", 1): (2, 2048)}


def test_an_embedding_without_an_output_matrix_is_tied() -> None:
    roles = {group.role for group in read(raw(tensors=dense_tensors(tied=True))).tensors or ()}
    assert "tied" in roles and "embedding" not in roles


@pytest.mark.parametrize("item, want", [
    (Typed("u8", 3), 3), (Typed("i8", 3), 3), (Typed("u16", 3), 3), (Typed("i16", 3), 3), (Typed("u32", 3), 3), (Typed("i32", 3), 3),
    (Typed("u64", 3), 3), (Typed("i64", 3), 3), (True, True), ([1, 0, 2], [1, 0, 2]), ([True, False], [True, False]),
    (Typed("i32", [1, 2]), [1, 2]), (Typed("u64", [5]), [5]), (Typed("u8", [1, 0]), [1, 0])])
def test_every_number_type_and_per_layer_arrays(item: Any, want: Any) -> None:
    found = read(with_key("llama.attention.sliding_window_pattern", item)).get("attention.sliding_window_pattern")
    assert found == want and type(found) is type(want)


def test_keys_of_another_architecture_and_unknown_ones_are_left_out() -> None:
    found = read(raw({**TINY, "qwen3.block_count": 99, "llama.future.key": 1, "odd": [1.5, 2.5], "x.y": "text"}))
    assert found.get("block_count") == 2 and set(found.parameters) <= _gguf.PARAMETERS


def test_the_architecture_may_come_last() -> None:
    keys = {name: item for name, item in TINY.items() if name != "general.architecture"}
    assert read(raw({**keys, "general.architecture": "llama"})).get("block_count") == 2


def test_header_goes_through_json_and_is_small() -> None:
    found = read(raw(BIG, dense_tensors()))
    text = json.dumps(found.as_dict())
    assert _gguf.Header.from_dict(json.loads(text)) == found
    assert len(text) < 2_000 and "t19999" not in text
    plan = read(raw(BIG), exact=False)
    assert _gguf.Header.from_dict(plan.as_dict()) == plan


@pytest.mark.parametrize("change, text", [({"schema": 99}, "unknown schema"), ({"surprise": 1}, "damaged"), ({"tensors": [{"type": 1}]}, "damaged")])
def test_a_damaged_stored_header_is_a_sentence(change: dict[str, Any], text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.Header.from_dict({**read(raw()).as_dict(), **change})


def test_plan_mode_stops_at_the_vocabulary_and_exact_mode_does_not() -> None:
    data = raw(BIG, dense_tensors(vocabulary=64))
    plan, exact = read(data, exact=False), read(data)
    assert (plan.bytes_read, plan.complete, plan.vocab_size, plan.file_type, plan.has_chat_template) == (65_536, False, 20_000, None, None)
    assert plan.tensors is None and plan.parameters == exact.parameters
    assert (exact.complete, exact.file_type, exact.has_chat_template) == (True, 15, True)


def test_plan_mode_reads_on_until_the_essential_keys_are_known() -> None:
    late = {name: item for name, item in BIG.items() if not name.endswith("embedding_length")}
    found = read(raw({**late, "llama.embedding_length": 256}), exact=False)
    assert found.get("embedding_length") == 256 and found.bytes_read > 65_536


def test_plan_mode_of_a_short_header_is_complete() -> None:
    found = read(raw(), exact=False)
    assert found.complete and found.tensors is None and found.has_chat_template


@pytest.mark.parametrize("data, text, where", [
    (b"", "ends inside its header", "byte 0, magic"),
    (b"GG", "ends inside its header", "magic"),
    (b"PK\3\4" + b"\0" * 60, "not a GGUF file", "byte 0, magic"),
    (b"GGUF\0\0\0\3" + b"\0" * 60, "big-endian", "byte 4, version"),
    (preamble(1), "version is not supported", "byte 4, version"),
    (preamble(4), "version is not supported", "byte 4, version"),
    (preamble(tensors=1_000_001), "tensor count is over the limit", "byte 8, tensor count"),
    (preamble(tensors=1 << 63), "tensor count is over the limit", "byte 8, tensor count"),
    (preamble(tensors=9), "tensor count does not fit", "byte 8, tensor count"),
    (preamble(keys=65_537), "key count is over the limit", "byte 16, key count"),
    (preamble(keys=1 << 63), "key count is over the limit", "byte 16, key count"),
    (preamble(keys=100) + b"\0" * 100, "key count does not fit", "byte 16, key count"),
    (preamble() + struct.pack("<Q", 257) + b"k" * 400, "length of a key is over", "byte 24, key 0"),
    (preamble() + struct.pack("<Q", 1 << 63) + b"k" * 400, "length of a key is over", "byte 24, key 0"),
    (preamble() + struct.pack("<Q", 200) + b"k" * 20, "key is longer than the file", "byte 24, key 0"),
    (preamble() + string("") + struct.pack("<IQ", 4, 1), "has no name", "byte 24, key 0"),
    (preamble() + string("a.b") + struct.pack("<IQ", 13, 1), "unknown value type", "byte 35, a.b"),
    (preamble() + string("a.b") + struct.pack("<I", 4) + b"\1", "does not fit into the file|ends inside", "a.b|key count"),
    (preamble() + string("a.b") + struct.pack("<IQ", 8, 1 << 40), "length of a string is over", "byte 39, a.b"),
    (preamble() + string("a.b") + struct.pack("<IQ", 8, 1 << 20), "string is longer than the file", "byte 39, a.b"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 4, 1 << 63), "array is over the limit", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 8, 1 << 63), "array is over the limit", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 4, 4_000_000), "array is longer than the file", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 9, 1) + b"\0" * 64, "Arrays inside arrays", "byte 37, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 77, 1) + b"\0" * 64, "unknown element type", "byte 37, a"),
    (preamble() + string("a") + struct.pack("<IIQQ", 9, 8, 2, 1 << 50) + b"\0" * 64, "length of a string is over", "byte 49, a"),
    (raw([*TINY.items(), ("general.name", "again")]), "occurs twice", "general.name"),
    (raw({"general.name": "x"}), "does not say its architecture", "keys"),
    (raw({"general.architecture": "a.b/c"}), "name of the architecture", "keys"),
    (raw({"general.architecture": ""}), "name of the architecture", "keys"),
    (with_key("llama.block_count", "many"), "must be a whole number", "llama.block_count"),
    (with_key("llama.block_count", 5_000), "number of layers is over", "llama.block_count"),
    (with_key("llama.block_count", [1, 2]), "number of layers is over", "llama.block_count"),
    (with_key("llama.embedding_length", 1.5), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.embedding_length", Typed("i32", -1)), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.embedding_length", Typed("u64", 1 << 63)), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.attention.head_count_kv", [0] * 5_000), "per-layer array is over", "llama.attention.head_count_kv"),
    (with_key("llama.attention.head_count_kv", Typed("f32", [1.0])), "must be a whole number", "head_count_kv"),
    (with_key("general.alignment", 0), "alignment must be a power of two", "general.alignment"),
    (with_key("general.alignment", 24), "alignment must be a power of two", "general.alignment"),
    (with_key("general.alignment", 1 << 17), "alignment must be a power of two", "general.alignment"),
    (with_key("general.alignment", "32"), "must be a whole number", "general.alignment"),
    (with_key("split.no", 1), "Only the first file", "bytes"),
    (raw(tensors=[Tensor("a", (4,)), Tensor("a", (4,))]), "tensor occurs twice", "tensor 1 a"),
    (raw(tensors=[Tensor("", (4,))]), "tensor has no name", "tensor 0"),
    (raw(tensors=[Tensor("n" * 65, (4,))]), "length of a tensor name is over", "tensor 0"),
    (raw(tensors=[Tensor("a", ())]), "1 to 4 dimensions", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (1, 1, 1, 1, 1))]), "1 to 4 dimensions", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (0,))]), "dimension of a tensor", "tensor 0 a"),
    (raw(tensors=[Tensor("a", ((1 << 32) + 1,), offset=0)]), "dimension of a tensor", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (1 << 32, 1 << 32, 1 << 32, 1 << 32), offset=0)]), "behind the end of the file", "tensor data"),
    (raw(tensors=[Tensor("a", (4,), type_number=4)]), "unknown type", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (4,), type_number=1 << 31)]), "unknown type", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (100, 2), "Q4_K")]), "whole Q4_K blocks", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (4,), offset=8)]), "not a multiple of 32", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (32,), offset=0), Tensor("b", (4,), offset=32)]), "tensors overlap", "tensor data"),
    (raw(tensors=[Tensor("a", (4,), offset=1 << 62)]), "behind the end of the file", "tensor data"),
    (raw(tensors=dense_tensors(), pad=100), "behind the end of the file", "tensor data"),
])
def test_a_hostile_or_damaged_header_gives_a_sentence(data: bytes, text: str, where: str) -> None:
    with pytest.raises(_gguf.GgufError) as caught:
        read(data)
    assert re.search(text, caught.value.what)
    assert re.search(where, caught.value.where) and caught.value.do
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize("limits, data, text", [
    ({"total_bytes": 70_000}, raw(BIG), "header is larger than the limit"),
    ({"seconds": -1.0}, raw(BIG), "took too long"),
    ({"kept_bytes": 100}, raw(), "parameters are over the limit"),
    ({"array_items": 10}, raw(), "array is over the limit"),
    ({"string_bytes": 5}, raw(), "length of a string"),
    ({"keys": 3}, raw(), "key count is over"),
    ({"tensors": 1}, raw(tensors=dense_tensors()), "tensor count is over")])
def test_each_limit_holds(limits: dict[str, Any], data: bytes, text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        read(data, **limits)


def test_control_characters_never_reach_a_message() -> None:
    data = preamble() + string("a\x1b[2J\n\u202eb") + struct.pack("<IQ", 99, 0)
    with pytest.raises(_gguf.GgufError) as caught:
        read(data)
    assert str(caught.value).isprintable()
    assert read(raw({**TINY, "general.name": "a\x1b\x00b"})).name == "ab"


def test_damaged_bytes_end_in_a_header_or_a_sentence() -> None:
    whole, luck = raw(BIG, dense_tensors(), pad=4_000), random.Random(7)
    for _round in range(1_500):
        data = bytearray(whole[:luck.randrange(len(whole))] if luck.random() < 0.3 else whole)
        for _change in range(luck.randrange(1, 6)):
            at = luck.randrange(min(len(data), 700)) if data and luck.random() < 0.8 else luck.randrange(max(1, len(data)))
            data[at:at + 1] = bytes([luck.randrange(256)])
        try:
            read(bytes(data), exact=luck.random() < 0.5)
        except _gguf.GgufError as error:
            assert error.where


# Files and split sets

def test_file_source_reads_a_sparse_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", BIG, dense_tensors())
    found = _gguf.read_header(_gguf.FileSource(path), exact=True)
    assert found.file_size == path.stat().st_size and found.bytes_read <= found.file_size


@pytest.mark.parametrize("name, text", [("absent.gguf", "cannot be read"), ("", "not a regular file"), ("a\0b", "cannot be read")])
def test_a_path_that_is_no_file_is_a_sentence(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.FileSource(f"{tmp_path}/{name}")


def shards(count: int = 3, claimed: int | None = None) -> list[_gguf.BytesSource]:
    parts = [[Tensor("token_embd.weight", (256, 64), "Q6_K")], [Tensor("blk.0.ffn_up.weight", (256, 64), "Q4_K")], [Tensor("output.weight", (256, 64), "Q6_K")]]
    total = len(parts) if claimed is None else claimed
    split = [{"split.no": Typed("u16", number), "split.count": Typed("u16", count), "split.tensors.count": Typed("i32", total)} for number in range(3)]
    keys = [{**TINY, **split[0]}, split[1], split[2]]
    return [_gguf.BytesSource(raw(keys[number], parts[number], pad=20_000), label=f"part{number}") for number in range(3)]


def test_a_split_set_is_summed() -> None:
    sources = shards()
    found = _gguf.read_header(sources, exact=True)
    assert (found.tensor_count, found.split_count, found.file_size) == (3, 3, sum(len(source.data) for source in sources))
    assert {(group.role, group.bytes) for group in found.tensors or ()} == {("embedding", 13_440), ("matrix", 9_216), ("output", 13_440)}
    assert _gguf.read_header(sources).tensors is None
    assert _gguf.read_header(sources[0]).split_count == 3


@pytest.mark.parametrize("sources, text", [
    ([], "no parts"), (shards()[:2], "do not fit together"), ([shards()[0], shards()[2], shards()[1]], "do not fit together"),
    (shards()[1:], "do not fit together"), (shards(claimed=9), "do not hold its tensors"), ([shards()[0]] * 3, "do not fit together")])
def test_parts_that_do_not_fit_are_a_sentence(sources: list[Any], text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.read_header(sources, exact=True)


# HTTP ranges

class _Handler(BaseHTTPRequestHandler):
    """Serves `server.data` by ranges; the first part of the path names a fault."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.log.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        fault = self.path.strip("/").partition("?")[0]
        if fault == "elsewhere":
            self._answer(302, b"", {"Location": f"http://localhost:{server.server_port}/plain"})
        elif fault == "here":
            self._answer(302, b"", {"Location": "/plain"})
        elif fault == "401":
            self._answer(401, b"no", {})
        elif fault == "whole":
            self._answer(200, server.data, {})
        else:
            self._range(fault)

    def _range(self, fault: str) -> None:
        server: Any = self.server
        start, end = (int(part) for part in self.headers["Range"].split("=")[1].split("-"))
        if start >= len(server.data):
            self._answer(416, b"", {})
            return
        part = server.data[start:end + 1]
        part = part[:1_000] if fault == "short" else part
        first = start + 1 if fault == "shifted" else start
        self._answer(206, part, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(server.data)}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, item in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, item)
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            pass

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.data, server.log = raw(BIG, dense_tensors(), pad=400_000), []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url(server: Any, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


def test_plan_mode_is_one_range_request(web: Any) -> None:
    found = _gguf.read_header(_gguf.HttpSource(url(web, "m.gguf"), headers={"Authorization": "Bearer s3cret"}))
    assert (found.bytes_read, found.file_size) == (65_536, len(web.data))
    assert web.log == [("/m.gguf", "bytes=0-65535", "Bearer s3cret")]


def test_exact_mode_gives_what_a_file_gives(web: Any) -> None:
    remote = _gguf.read_header(_gguf.HttpSource(url(web, "m.gguf"), size=len(web.data)), exact=True)
    assert remote == read(web.data) and len(web.log) == 2


@pytest.mark.parametrize("path, token", [("here", "Bearer s3cret"), ("elsewhere", None)])
def test_a_token_follows_a_redirect_only_on_its_own_host(web: Any, path: str, token: str | None) -> None:
    _gguf.read_header(_gguf.HttpSource(url(web, path), headers={"Authorization": "Bearer s3cret"}))
    assert web.log[-1][0] == "/plain" and web.log[-1][2] == token


def test_a_server_without_ranges_is_good_for_the_first_read_only(web: Any) -> None:
    assert _gguf.read_header(_gguf.HttpSource(url(web, "whole"))).bytes_read == 65_536
    with pytest.raises(_gguf.GgufError, match="does not answer byte ranges"):
        _gguf.read_header(_gguf.HttpSource(url(web, "whole")), exact=True)


@pytest.mark.parametrize("path, text, more", [
    ("401", "refused the GGUF file.*HTTP 401", {}), ("shifted", "another byte range", {}), ("short", "too many requests", {}),
    ("m.gguf", "size of the GGUF file differs", {"size": 5})])
def test_http_faults_are_sentences_without_secrets(web: Any, path: str, text: str, more: dict[str, Any]) -> None:
    with pytest.raises(_gguf.GgufError, match=text) as caught:
        _gguf.read_header(_gguf.HttpSource(url(web, path) + "?sig=s3cret", headers={"Authorization": "Bearer s3cret"}, **more), exact=True)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("bad", ["ftp://h/m.gguf", "file:///etc/passwd", "m.gguf", "http:///m.gguf"])
def test_only_http_urls(bad: str) -> None:
    with pytest.raises(_gguf.GgufError, match="http or https"):
        _gguf.HttpSource(bad)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(_gguf.GgufError, match="cannot be reached"):
        _gguf.read_header(_gguf.HttpSource("http://127.0.0.1:1/m.gguf"))


def test_fixed_arrays_are_stepped_over_not_read() -> None:
    scores = preamble(keys=4) + string("general.architecture") + value("llama") + string("llama.block_count") + value(1)
    scores += string("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3_000_000) + b"\0" * 12_000_000 + string("llama.embedding_length") + value(8)
    found = read(scores, exact=True)
    assert found.get("embedding_length") == 8 and found.bytes_read < 3_000_000
