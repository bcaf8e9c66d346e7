"""Files, HTTP ranges and split sets as sources of a header."""
from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _gguf
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from gguf_writer import Tensor, Typed, dense, dense_tensors, header, write

TINY = dense()
BIG = dense(vocabulary=20_000)


def raw(keys: Any = None, tensors: Any = (), pad: int = 1 << 20) -> bytes:
    """A header and `pad` bytes that stand for tensor data."""
    return header(TINY if keys is None else keys, tensors) + b"\0" * pad


def read(data: bytes) -> _gguf.Header:
    return _gguf.read_header(_gguf.BytesSource(data), exact=True)


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


@pytest.mark.parametrize("exact", [False, True])
def test_a_part_of_another_model_is_a_sentence(exact: bool) -> None:
    foreign = {**dense("qwen3"), "split.no": Typed("u16", 1), "split.count": Typed("u16", 3), "split.tensors.count": Typed("i32", 3)}
    parts = shards()
    parts[1] = _gguf.BytesSource(raw(foreign, [Tensor("blk.0.ffn_up.weight", (256, 64), "Q4_K")]), label="part1")
    with pytest.raises(_gguf.GgufError, match="do not fit together .part1, general.architecture.: got qwen3, llama in the first part"):
        _gguf.read_header(parts, exact=exact)


def written_by_gguf_split(vocabulary: int) -> list[_gguf.BytesSource]:
    """The tool adds its keys behind all others, so behind the vocabulary of the first part."""
    split = [{"split.no": Typed("u16", number), "split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", 2)} for number in range(2)]
    return [_gguf.BytesSource(raw({**dense(vocabulary=vocabulary), **split[0]}, [Tensor("a", (256, 2), "Q4_K")], pad=500), label="part0"),
            _gguf.BytesSource(raw(split[1], [Tensor("b", (256, 2), "Q4_K")], pad=500), label="part1")]


def test_a_split_set_is_read_in_plan_mode_without_the_end_of_its_first_part() -> None:
    sources = written_by_gguf_split(20_000)
    plan, exact = _gguf.read_header(sources), _gguf.read_header(sources, exact=True)
    assert (plan.split_count, plan.split_no, plan.complete, plan.tensor_count, plan.file_size) == (2, 0, False, 2, exact.file_size)
    assert plan.bytes_read < 70_000 and exact.split_count == 2


def numbered_early(number: int) -> list[_gguf.BytesSource]:
    """Two parts; the first says its number before its vocabulary and their count behind it."""
    behind = {"split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", 2)}
    first = raw({"split.no": Typed("u16", number), **dense(vocabulary=20_000), **behind}, [Tensor("a", (256, 2), "Q4_K")], pad=500)
    return [_gguf.BytesSource(first), written_by_gguf_split(4)[1]]


def test_a_number_before_the_vocabulary_needs_no_count() -> None:
    parts = numbered_early(0)
    alone, whole = _gguf.read_header(parts[0]), _gguf.read_header(parts)
    assert (alone.split_no, alone.split_count, whole.split_no, whole.split_count) == (0, None, 0, 2)


@pytest.mark.parametrize(("parts", "text"), [(1, "Only the first file.*part 2[.]"), (2, "do not fit together.*part 2, wanted 1 of 2")])
def test_a_wrong_number_before_the_vocabulary_is_a_sentence_without_the_count(parts: int, text: str) -> None:
    sources = numbered_early(1)[:parts]
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.read_header(sources if parts > 1 else sources[0])


def test_the_limits_hold_for_all_parts_together() -> None:
    sources = written_by_gguf_split(20_000)
    first = _gguf.read_header(sources[0], exact=True).bytes_read
    for limits, text in (({"total_bytes": first}, "larger than the limit"),
                         ({"tensors": 1}, "tensor count is over the limit of 0"), ({"seconds": -1.0}, "too long")):
        with pytest.raises(_gguf.GgufError, match=text):
            _gguf.read_header(sources, _gguf.Limits(**limits), exact=True)


def test_a_tensor_may_not_be_in_two_parts() -> None:
    sources = written_by_gguf_split(4)
    sources[1].data = sources[1].data.replace(b"\x01" + bytes(7) + b"b", b"\x01" + bytes(7) + b"a")
    with pytest.raises(_gguf.GgufError, match="tensor occurs twice .part1, byte"):
        _gguf.read_header(sources, exact=True)


# HTTP ranges

class _Handler(BaseHTTPRequestHandler):
    """Serves `server.data` by ranges; the path names a fault."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.log.append((self.path, dict(self.headers)))
        fault, here = self.path.strip("/").partition("?")[0], f"http://localhost:{server.server_port}"
        fixed: dict[str, tuple[int, bytes, dict[str, str]]] = {
            "elsewhere": (302, b"", {"Location": f"{here}/plain"}), "here": (302, b"", {"Location": "/plain"}), "round": (302, b"", {"Location": "/round"}),
            "endless": (302, b"x", {"Location": "/plain", "Content-Length": str(1 << 62)}), "ftp": (302, b"", {"Location": "ftp://h/x"}),
            "401": (401, b"no", {}), "500": (500, b"oops", {}),
            "429": (429, b"", {"Retry-After": "90"}), "204": (204, b"", {}), "whole": (200, server.data, {}),
            "cut": (200, server.data[:300], {"Content-Length": str(len(server.data))})}
        if fault in fixed:
            self._answer(*fixed[fault])
        elif fault == "noise":
            self.wfile.write(b"\x1b[2J this is no HTTP\r\n\r\n")
        elif fault in ("drip", "slowhead"):
            self._drip(fault)
        else:
            self._range(fault)

    def _range(self, fault: str) -> None:
        server: Any = self.server
        start, end = (int(part) for part in self.headers["Range"].split("=")[1].split("-"))
        if start >= len(server.data):
            self._answer(416, b"", {})
            return
        part, size = server.data[start:end + 1], len(server.data)
        part = part[:1_000] if fault == "short" else part[:30_000] if fault == "parts" else b"" if fault == "empty" else part
        first = start + 1 if fault == "shifted" else start
        told = {"unnamed": "", "garbled": "bytes 0-\xb2/x", "reversed": f"bytes {start}-{start - 1}/{size}", "beyond": f"bytes {start}-{size}/{size}",
                "sizeless": f"bytes {start}-{end}/*", "grows": f"bytes {start}-{start + len(part) - 1}/{size + start}", "empty": f"bytes {start}-{end}/{size}"}
        span = told.get(fault, f"bytes {first}-{first + len(part) - 1}/{size}")
        headers = {"Content-Range": span} if span else {}
        if fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        self._answer(206, part, headers)

    def _drip(self, fault: str) -> None:
        """A byte now and then, for ever: of the body or of the head."""
        server: Any = self.server
        head = b"HTTP/1.0 206 x\r\nContent-Range: bytes 0-65535/900000\r\n\r\n" if fault == "drip" else b"HTTP/1.0 206 x\r\nX: "
        try:
            self.wfile.write(head)
            while not server.over.wait(0.05):
                self.wfile.write(b"G")
        except ConnectionError:
            pass

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
    server.data, server.log, server.over = raw(BIG, dense_tensors(), pad=400_000), [], threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def url(server: Any, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


def test_plan_mode_is_one_range_request(web: Any) -> None:
    found = _gguf.read_header(_gguf.HttpSource(url(web, "m.gguf"), headers={"Authorization": "Bearer s3cret"}))
    assert (found.bytes_read, found.file_size) == (65_536, len(web.data))
    [(path, sent)] = web.log
    assert (path, sent["Range"], sent["Authorization"], sent["Accept-Encoding"]) == ("/m.gguf", "bytes=0-65535", "Bearer s3cret", "identity")


def test_exact_mode_gives_what_a_file_gives(web: Any) -> None:
    remote = _gguf.read_header(_gguf.HttpSource(url(web, "m.gguf"), size=len(web.data)), exact=True)
    assert remote == read(web.data) and len(web.log) == 2


@pytest.mark.parametrize("path, kept", [("here", True), ("elsewhere", False)])
def test_secrets_follow_a_redirect_only_on_their_own_host(web: Any, path: str, kept: bool) -> None:
    secrets = {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret", "X-Api-Key": "s3cret"}
    _gguf.read_header(_gguf.HttpSource(url(web, path), headers=secrets))
    last, sent = web.log[-1]
    assert last == "/plain" and "Range" in sent and all((name in sent) is kept for name in secrets)


def test_a_server_without_ranges_is_good_for_the_first_read_only(web: Any) -> None:
    assert _gguf.read_header(_gguf.HttpSource(url(web, "whole"))).bytes_read == 65_536
    with pytest.raises(_gguf.GgufError, match="does not answer byte ranges"):
        _gguf.read_header(_gguf.HttpSource(url(web, "whole")), exact=True)


@pytest.mark.parametrize("path, text, more", [
    ("401", "refused the GGUF file.*HTTP 401.*Check the URL", {}), ("500", "refused the GGUF file.*HTTP 500.*Try again later", {}),
    ("429", "refused the GGUF file.*HTTP 429.*Try again in 90 seconds", {}),
    ("204", "does not answer byte ranges.*HTTP 204 for byte 0", {}),
    ("round", "refused the GGUF file.*HTTP 302", {}), ("ftp", "without TLS", {}), ("noise", "cannot be reached", {}),
    ("cut", "byte ranges.*HTTP 200 for byte 300", {}),
    ("shifted", "another byte range.*start 1, wanted 0", {}), ("unnamed", "does not say which bytes.*missing", {}), ("garbled", "does not say which bytes", {}),
    ("reversed", "impossible byte range|which bytes", {}), ("beyond", "impossible byte range", {}), ("gzip", "compresses the GGUF file.*gzip", {}),
    ("grows", "size of the GGUF file differs", {}), ("empty", "gave no more bytes.*byte 0, magic", {}), ("short", "too many requests", {}),
    ("m.gguf", "size of the GGUF file differs", {"size": 5})])
def test_http_faults_are_sentences_without_secrets(web: Any, path: str, text: str, more: dict[str, Any]) -> None:
    with pytest.raises(FleetError, match=text) as caught:
        _gguf.read_header(_gguf.HttpSource(url(web, path) + "?sig=s3cret", headers={"Authorization": "Bearer s3cret"}, **more), exact=True)
    assert "s3cret" not in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["endless", "parts", "sizeless"])
def test_odd_but_sound_answers_are_read(web: Any, path: str) -> None:
    found = _gguf.read_header(_gguf.HttpSource(url(web, path)), exact=True)
    assert (found.tensors, found.vocab_size) == (read(web.data).tensors, 20_000)


@pytest.mark.parametrize("path", ["drip", "slowhead"])
def test_a_server_that_drips_ends_at_the_wall_time(web: Any, path: str) -> None:
    start = time.monotonic()
    with pytest.raises(_gguf.GgufError, match="took too long.*byte 0"):
        _gguf.read_header(_gguf.HttpSource(url(web, path)), _gguf.Limits(seconds=0.4))
    assert time.monotonic() - start < 5


def test_requests_are_counted(web: Any) -> None:
    with pytest.raises(_gguf.GgufError, match="too many requests.*more than 1"):
        _gguf.read_header(_gguf.HttpSource(url(web, "m.gguf")), _gguf.Limits(requests=1), exact=True)
    assert len(web.log) == 1


@pytest.mark.parametrize("name, item", [("Authorization", "Bearer s3cret\nX: y"), ("Authorization", "Bearer s3cr\u00e9t"), ("X\n", "s3cret")])
def test_a_header_that_cannot_be_sent_is_not_shown(name: str, item: str) -> None:
    with pytest.raises(_gguf.GgufError, match="request header holds characters") as caught:
        _gguf.HttpSource("https://h/m.gguf", headers={name: item})
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("bad, text", [
    ("https://user:s3cret@h/m.gguf", "holds credentials"), ("https://h:99999/m.gguf", "http or https"), ("http://[::1/m.gguf", "http or https"),
    ("https://h/a b.gguf", "characters that no URL"), ("https://h/\u00e9.gguf", "characters that no URL"), ("https://u:s3cret@h:x/m?s3cret", "http or https")])
def test_a_url_that_cannot_be_asked_is_a_sentence(bad: str, text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text) as caught:
        _gguf.HttpSource(bad)
    assert "s3cret" not in str(caught.value)


def test_a_path_a_url_and_bytes_are_sources(web: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(web.data)
    want = read(web.data)
    for source in (str(path), path, url(web, "m.gguf"), web.data, [path], [url(web, "m.gguf")]):
        assert _gguf.read_header(source, exact=True) == want
    assert [_gguf.read_header(source).bytes_read for source in (path, url(web, "m.gguf"))] == [65_536, 65_536]


@pytest.mark.parametrize("source, text", [
    (None, "no source of a GGUF header.*NoneType"), (5, "no source"), ([None], "no source"), ("ftp://h/m.gguf", "http or https"),
    ("absent.gguf", "cannot be read"), ("/", "not a regular file"), ("", "cannot be read")])
def test_what_is_no_source_is_a_sentence(source: Any, text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.read_header(source)


@pytest.mark.parametrize("bad", ["ftp://h/m.gguf", "file:///etc/passwd", "m.gguf", "http:///m.gguf"])
def test_only_http_urls(bad: str) -> None:
    with pytest.raises(_gguf.GgufError, match="http or https"):
        _gguf.HttpSource(bad)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(_gguf.GgufError, match="cannot be reached"):
        _gguf.read_header(_gguf.HttpSource("http://127.0.0.1:1/m.gguf"))
