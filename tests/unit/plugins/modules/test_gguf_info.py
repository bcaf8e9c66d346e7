from __future__ import annotations

import re
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Callable

import pytest
from gguf_writer import dense, dense_tensors, write

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny.gguf", dense(), dense_tensors())


def test_quartet(run_module: Run, file: Path) -> None:
    args = {"path": [str(file)], "exact": True}
    results = [run_module("gguf_info", args, check=check) for check in (True, False, True, False)]
    assert all(result == results[0] for result in results)
    header = results[0]["header"]
    assert results[0]["changed"] is False and (header["architecture"], header["file_type"], header["tensor_count"]) == ("llama", 15, 8)
    assert {group["role"] for group in header["tensors"]} == {"embedding", "matrix", "output", "other"}
    assert (results[0]["mode"], results[0]["sources"]) == ("exact", [str(file)])
    assert re.fullmatch(r"llama, 2 layers, 64 tokens of vocabulary; read [0-9,]+ of [0-9,]+ bytes \([0-9.]+ %\) in exact mode", results[0]["msg"])


def test_plan_mode_reads_no_tensor_infos(run_module: Run, file: Path) -> None:
    result = run_module("gguf_info", {"path": str(file)})
    assert "tensors" not in result["header"] and result["mode"] == "plan" and result["msg"].endswith("in plan mode")


def test_plan_mode_reads_a_thousandth_of_a_large_file(run_module: Run, tmp_path: Path) -> None:
    large = write(tmp_path / "large.gguf", dense(vocabulary=150_000), dense_tensors())
    with large.open("r+b") as stream:
        stream.truncate(300_000_000)
    header = run_module("gguf_info", {"path": str(large)})["header"]
    assert header["bytes_read"] == 65_536 <= header["file_size"] / 1_000 and not header["complete"] and "alignment" not in header


def test_all_parts_of_a_split_model(run_module: Run, tmp_path: Path) -> None:
    split = [{"split.no": number, "split.count": 2} for number in range(2)]
    parts = [write(tmp_path / "1.gguf", {**dense(), **split[0]}, dense_tensors()), write(tmp_path / "2.gguf", split[1], [])]
    result = run_module("gguf_info", {"path": [str(part) for part in parts]})
    assert (result["header"]["split_count"], result["header"]["tensor_count"], result["sources"]) == (2, 8, [str(part) for part in parts])
    assert "first of" not in result["msg"]
    assert run_module("gguf_info", {"path": str(parts[0])})["msg"].endswith("in plan mode; it is the first of 2 files")
    wrong = run_module("gguf_info", {"path": [str(part) for part in parts[::-1]]})
    assert wrong["failed"] and "do not fit together" in wrong["msg"]


@pytest.mark.parametrize("args, text", [
    ({"path": ["/absent.gguf"]}, "cannot be read.*absent.gguf"), ({"path": ["/dev/null"]}, "not a regular file"), ({"url": ["ftp://h/x"]}, "http or https"),
    ({}, "one of the following is required"),
    ({"path": []}, "no parts"), ({"path": None}, "no parts"), ({"url": []}, "no parts"),
    ({"path": ["/a"], "url": ["http://h/a"]}, "mutually exclusive"),
    ({"url": ["https://h/x.gguf"], "ca_path": "/absent.pem"}, "CA file cannot be read")])
def test_bad_input_is_a_sentence(run_module: Run, args: dict[str, Any], text: str) -> None:
    result = run_module("gguf_info", args)
    assert result["failed"] and re.search(text, result["msg"])


def test_a_file_that_is_no_model(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello world, this is no model")
    result = run_module("gguf_info", {"path": str(tmp_path / "x.gguf")})
    assert result["failed"] and "not a GGUF file" in result["msg"] and result["failure"]["where"].endswith("byte 0, magic")


def test_url_without_ranges_is_enough_for_the_first_bytes(run_module: Run, file: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, directory=str(file.parent), **more)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        result = run_module("gguf_info", {"url": f"http://127.0.0.1:{server.server_port}/tiny.gguf", "token": "s3cret"})
    finally:
        server.shutdown()
        server.server_close()
    assert result["header"]["architecture"] == "llama" and "s3cret" not in str(result) and result["sources"][0].endswith("/tiny.gguf")
