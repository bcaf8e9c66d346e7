"""The lab's hub satisfies the real `huggingface_hub` client, and each of its switches does what it says."""
from __future__ import annotations

import hashlib
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
from huggingface_hub import HfApi, hf_hub_download  # noqa: E402  the environment is read at import
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: E402

from tests.lab import hub  # noqa: E402

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO = "acme/Tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "hub" / REPO
    (folder / "extra").mkdir(parents=True)
    (folder / FILE).write_bytes(BODY)
    (folder / "extra" / "mmproj-f16.gguf").write_bytes(b"GGUF" * 10)
    (folder / "README.md").write_text("# Tiny\n")
    (folder / "repo.json").write_text(json.dumps({"license": "mit", "tags": ["gguf", "license:mit"], "downloads": 7}))
    for n in range(3):
        (tmp_path / "hub" / "other" / f"model-{n}").mkdir(parents=True)
    return tmp_path / "hub"


@pytest.fixture
def server(root: Path) -> Iterator[hub.HubServer]:
    with hub.running(root) as running:
        yield running


def get(url: str, headers: dict[str, str] | None = None, method: str = "GET", data: bytes | None = None) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers=headers or {}, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def resolve(server: hub.HubServer, path: str = FILE) -> str:
    return f"{server.url}/{REPO}/resolve/main/{path}"


# the real client


def test_model_info(server: hub.HubServer) -> None:
    info = HfApi(endpoint=server.url).model_info(REPO, files_metadata=True)
    by_name = {s.rfilename: s for s in info.siblings}
    assert sorted(by_name) == ["README.md", "extra/mmproj-f16.gguf", FILE]
    assert (by_name[FILE].size, by_name[FILE].lfs.sha256) == (len(BODY), SHA256)
    assert by_name["README.md"].lfs is None
    assert len(info.sha) == 40 and info.downloads == 7 and info.card_data.license == "mit"
    assert HfApi(endpoint=server.url).model_info(REPO, revision=info.sha).sha == info.sha


def test_list_models_pages(server: hub.HubServer) -> None:
    api = HfApi(endpoint=server.url)
    assert [m.id for m in api.list_models(search="tiny", filter="gguf")] == [REPO]
    assert [m.id for m in api.list_models(author="other")] == [f"other/model-{n}" for n in range(3)]
    status, headers, body = get(f"{server.url}/api/models?limit=1&author=other")
    assert status == 200 and len(json.loads(body)) == 1 and 'rel="next"' in headers["Link"]
    following = headers["Link"].split(">")[0].lstrip("<")
    assert json.loads(get(following)[2])[0]["id"] == "other/model-1"


def test_tree_and_paths(server: hub.HubServer) -> None:
    api = HfApi(endpoint=server.url)
    tree = {e.path: e for e in api.list_repo_tree(REPO, recursive=True)}
    assert sorted(tree) == ["README.md", "extra", "extra/mmproj-f16.gguf", FILE]
    assert tree[FILE].lfs.sha256 == SHA256 and tree[FILE].size == len(BODY)
    assert sorted(e.path for e in api.list_repo_tree(REPO)) == ["README.md", "extra", FILE]
    assert [e.path for e in api.list_repo_tree(REPO, "extra")] == ["extra/mmproj-f16.gguf"]
    assert [e.path for e in api.get_paths_info(REPO, [FILE, "absent"])] == [FILE]
    assert api.list_repo_refs(REPO).branches[0].target_commit == api.model_info(REPO).sha


@pytest.mark.parametrize("path", [FILE, "README.md", "extra/mmproj-f16.gguf"])
def test_download(server: hub.HubServer, root: Path, tmp_path: Path, path: str) -> None:
    got = hf_hub_download(REPO, path, endpoint=server.url, cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == (root / REPO / path).read_bytes()


def test_download_from_another_host_without_the_token(server: hub.HubServer, tmp_path: Path) -> None:
    server.switches.set({"redirect_host": True})
    hf_hub_download(REPO, FILE, endpoint=server.url, cache_dir=tmp_path / "cache", token="hf_secret")
    seen = {entry.path.startswith("/__cdn__"): entry.authorization for entry in server.log.entries}
    assert seen == {True: False, False: True}


def test_download_resumes_after_a_cut(server: hub.HubServer, tmp_path: Path) -> None:
    server.switches.set({"truncate": {"times": 1, "after": 100_000}})
    got = hf_hub_download(REPO, FILE, endpoint=server.url, cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == BODY
    sent = [e.bytes for e in server.log.entries if e.method == "GET"]
    assert (len(sent), sent[0]) == (2, 100_000)


def test_gated(server: hub.HubServer, tmp_path: Path) -> None:
    server.switches.set({"gated": True})
    with pytest.raises(GatedRepoError):
        hf_hub_download(REPO, FILE, endpoint=server.url, cache_dir=tmp_path / "cache", token=False)
    hf_hub_download(REPO, FILE, endpoint=server.url, cache_dir=tmp_path / "cache", token="hf_known")


def test_what_is_not_there(server: hub.HubServer) -> None:
    api = HfApi(endpoint=server.url)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/absent")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="dev")
    assert get(resolve(server, "repo.json"))[0] == 404
    assert get(resolve(server, "..%2F..%2Fother/x"))[0] == 404


def test_tls(root: Path, tls_files: tuple[Path, Path]) -> None:
    cert, key = tls_files
    context = ssl.create_default_context(cafile=str(cert))
    with hub.running(root, cert=cert, key=key) as server:
        with urllib.request.urlopen(f"{server.url}/{REPO}/resolve/main/{FILE}", timeout=10, context=context) as answer:
            assert answer.read() == BODY


# switches

RANGE = {"Range": "bytes=1000-"}


@pytest.mark.parametrize(
    ("switch", "headers", "status", "size", "header"),
    [
        ({}, {}, 200, len(BODY), ("ETag", f'"{SHA256}"')),
        ({}, RANGE, 206, len(BODY) - 1000, ("Content-Range", f"bytes 1000-{len(BODY) - 1}/{len(BODY)}")),
        ({}, {**RANGE, "If-Range": f'"{SHA256}"'}, 206, len(BODY) - 1000, None),
        ({}, {**RANGE, "If-Range": '"other"'}, 200, len(BODY), None),
        ({}, {"Range": "bytes=-10"}, 206, 10, None),
        ({}, {"Range": "bytes=5-9"}, 206, 5, None),
        ({}, {"Range": f"bytes={len(BODY)}-"}, 416, None, ("Content-Range", f"bytes */{len(BODY)}")),
        ({"rate_limit": {"retry_after": 3}}, {}, 429, None, ("Retry-After", "3")),
        ({"rate_limit": {"header": "RateLimit"}}, {}, 429, None, ("RateLimit", '"api";r=0;t=1')),
        ({"error_500": True}, {}, 500, None, None),
        ({"error_503": {"retry_after": 9}}, {}, 503, None, ("Retry-After", "9")),
        ({"forbidden_resume": True}, RANGE, 403, None, None),
        ({"forbidden_resume": True}, {}, 200, len(BODY), None),
        ({"ignore_range": True}, RANGE, 200, len(BODY), None),
        ({"no_content_range": True}, RANGE, 206, len(BODY) - 1000, ("Content-Range", None)),
        ({"unsatisfiable": True}, RANGE, 416, None, None),
        ({"no_etag": True}, {}, 200, len(BODY), ("ETag", None)),
        ({"no_commit": True}, {}, 200, len(BODY), ("X-Repo-Commit", None)),
        ({"gated": True}, {}, 401, None, ("X-Error-Code", "GatedRepo")),
        ({"error_500": {"match": "/elsewhere"}}, {}, 200, len(BODY), None),
    ],
)
def test_switch(server: hub.HubServer, switch: dict[str, Any], headers: dict[str, str], status: int, size: int | None, header: Any) -> None:
    server.switches.set(switch)
    got, answered, body = get(resolve(server), headers)
    assert got == status
    assert size is None or len(body) == size
    assert header is None or answered.get(header[0]) == header[1]


def test_wrong_bytes_have_the_right_size(server: hub.HubServer) -> None:
    server.switches.set({"wrong_bytes": 1})
    first, second = get(resolve(server))[2], get(resolve(server))[2]
    assert len(first) == len(BODY) and first != BODY and second == BODY


def test_redirect_loop(server: hub.HubServer) -> None:
    server.switches.set({"redirect_loop": True})
    assert get(resolve(server))[0] == 302


def test_drip_is_slow(server: hub.HubServer) -> None:
    server.switches.set({"drip": {"bytes_per_second": 100_000}})
    request = urllib.request.Request(resolve(server), headers={"Range": "bytes=0-19999"})
    started = time.monotonic()
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()
    assert time.monotonic() - started > 0.15


def test_switches_over_http_and_log(server: hub.HubServer) -> None:
    put = get(f"{server.url}/__switch__", method="PUT", data=b'{"error_503": 1}')
    assert put[0] == 200 and json.loads(put[2]) == {"error_503": {"times": 1}}
    assert get(f"{server.url}/__switch__", method="PUT", data=b'{"erorr": 1}')[0] == 400
    assert [get(resolve(server))[0] for dummy in range(2)] == [503, 200]
    log = json.loads(get(f"{server.url}/__requests__")[2])
    assert [(e["status"], e["bytes"] >= len(BODY)) for e in log] == [(503, False), (302, False), (200, True)]
    assert json.loads(get(f"{server.url}/__requests__", method="DELETE")[2]) == []
    assert json.loads(get(f"{server.url}/__switch__", method="DELETE")[2]) == {}


def test_switches_from_a_file(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "switches.json"
    path.write_text('{"error_500": true}')
    with hub.running(root, switches=path) as server:
        assert get(resolve(server))[0] == 500
        path.write_text("{}")
        os.utime(path, ns=(1, 1))
        assert get(resolve(server))[0] == 200


def test_digests_are_kept_beside(server: hub.HubServer, root: Path) -> None:
    get(f"{server.url}/api/models/{REPO}")
    kept = root / REPO / f".{FILE}.digests"
    assert json.loads(kept.read_text())["sha256"] == SHA256
    (root / REPO / FILE).write_bytes(b"GGUF changed")
    tree = json.loads(get(f"{server.url}/api/models/{REPO}/tree/main")[2])
    changed = next(e for e in tree if e["path"] == FILE)
    assert changed["lfs"]["oid"] == hashlib.sha256(b"GGUF changed").hexdigest()


# the list, as the real Hub answers it


def put(root: Path, name: str, **about: Any) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "m-Q4_K_M.gguf").write_bytes(b"GGUF")
    (root / name / "repo.json").write_text(json.dumps(about))


@pytest.fixture
def shop(root: Path) -> Path:
    put(root, "a/Small-GGUF", downloads=1, likes=30, trendingScore=2, createdAt="2026-03-01T00:00:00.000Z", lastModified="2026-01-01T00:00:00.000Z",
        tags=["gguf", "en", "license:mit"], pipeline_tag="text-generation", gguf={"total": 10 ** 9, "architecture": "llama", "context_length": 4096})
    put(root, "b/Large-GGUF", downloads=3, likes=10, trendingScore=9, createdAt="2026-01-01T00:00:00.000Z", lastModified="2026-03-01T00:00:00.000Z",
        gated="manual", tags=["gguf", "de"], gguf={"total": 7 * 10 ** 10, "architecture": "qwen3"})
    put(root, "c/Hidden-GGUF", private=True)
    return root


def ids(server: hub.HubServer, **query: Any) -> list[str]:
    return [model.id for model in HfApi(endpoint=server.url).list_models(**query)]


@pytest.mark.parametrize("sort, expected", [
    ("trending_score", ["b/Large-GGUF", "a/Small-GGUF"]), ("downloads", ["b/Large-GGUF", "a/Small-GGUF"]), ("likes", ["a/Small-GGUF", "b/Large-GGUF"]),
    ("created_at", ["a/Small-GGUF", "b/Large-GGUF"]), ("last_modified", ["b/Large-GGUF", "a/Small-GGUF"]),
])
def test_the_list_sorts(shop: Path, server: hub.HubServer, sort: str, expected: list[str]) -> None:
    assert [name for name in ids(server, sort=sort) if name in expected] == expected


@pytest.mark.parametrize("query, expected", [
    ({"filter": ["gguf", "en"]}, ["a/Small-GGUF"]), ({"filter": "license:mit"}, ["a/Small-GGUF", REPO]), ({"gated": True}, ["b/Large-GGUF"]),
    ({"search": "LARGE gguf"}, ["b/Large-GGUF"]),
    ({"pipeline_tag": "text-generation"}, ["a/Small-GGUF"]), ({"num_parameters": "min:500M,max:9B"}, ["a/Small-GGUF"]),
    ({"num_parameters": "min:8B"}, ["b/Large-GGUF"]),
    ({"apps": "llama.cpp"}, ["a/Small-GGUF", "b/Large-GGUF"]), ({"author": "B"}, ["b/Large-GGUF"]),
])
def test_the_list_filters(shop: Path, server: hub.HubServer, query: dict[str, Any], expected: list[str]) -> None:
    assert sorted(ids(server, **query)) == sorted(expected)


def test_what_an_item_says(shop: Path, server: hub.HubServer) -> None:
    api = HfApi(endpoint=server.url)

    def one(**query: Any) -> Any:
        return next(iter(api.list_models(search="small", limit=1, **query)))

    assert (one().sha, one().siblings, one().gguf, one().likes, one().private) == (None, None, None, 30, False)
    full = one(full=True)
    assert len(full.sha) == 40 and full.author == "a" and [file.rfilename for file in full.siblings] == ["m-Q4_K_M.gguf"] and full.card_data is None
    expanded = one(expand=["gguf", "siblings", "cardData", "gated"])
    assert expanded.gguf["architecture"] == "llama" and expanded.siblings and expanded.gated is False
    assert expanded.likes is None and expanded.card_data is not None
    for query in ("expand=nothing", "expand=gguf&full=true", "sort=best", "direction=1"):
        assert get(f"{server.url}/api/models?{query}")[0] == 400
    assert json.loads(get(f"{server.url}/api/models?search=small&expand[]=likes")[2])[0]["likes"] == 30


def test_the_list_goes_on_where_a_page_ends(shop: Path, server: hub.HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PAGE", 2)
    names = ids(server)
    assert len(names) == len(set(names)) == 6 and server.log.calls()["list"] == 3


def test_calls_are_counted(shop: Path, server: hub.HubServer, tmp_path: Path) -> None:
    api = HfApi(endpoint=server.url)
    ids(server)
    api.model_info(REPO, revision=api.model_info(REPO).sha)
    list(api.list_repo_tree(REPO))
    hf_hub_download(REPO, FILE, endpoint=server.url, cache_dir=tmp_path / "cache")
    counted = json.loads(get(f"{server.url}/__calls__")[2])
    assert (counted["list"], counted["repository"], counted["api"]) == (1, 2, 1) and counted["range"] and counted["cdn"]
    get(f"{server.url}/__requests__", method="DELETE")
    assert not any(json.loads(get(f"{server.url}/__calls__")[2]).values())


def test_a_limit_with_a_date_and_an_answer_that_comes_late(server: hub.HubServer) -> None:
    server.switches.set({"rate_limit": {"times": 1, "header": "date", "retry_after": 60}, "slow": {"times": 2, "seconds": 0.05}})
    status, headers, _body = get(f"{server.url}/api/models")
    assert status == 429 and 50 < parsedate_to_datetime(headers["Retry-After"]).timestamp() - time.time() <= 61
    begun = time.monotonic()
    assert get(f"{server.url}/api/models")[0] == 200 and time.monotonic() - begun >= 0.05


def test_every_call_that_the_module_makes_passes_with_the_real_client(shop: Path, server: hub.HubServer) -> None:
    """hf_gguf_info asks for the list by itself, to have one page: the client's own call has the same answer."""
    from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
    from ansible_collections.localai.fleet.plugins.module_utils._listing import EXPAND
    from ansible_collections.localai.fleet.plugins.module_utils._search import Policy

    ours = Hub(HubOptions(server.url)).listings(Policy())
    theirs = list(HfApi(endpoint=server.url).list_models(filter="gguf", gated=False, sort="trending_score", limit=200, expand=list(EXPAND)))
    first, second = (server.log.as_list()[index]["path"] for index in (0, 1))
    assert sorted(parse_qsl(urlsplit(first).query.lower())) == sorted(parse_qsl(urlsplit(second).query.lower()))
    assert [(item.repository, item.commit, item.architecture, item.paths) for item in ours] == [
        (item.id, item.sha, (item.gguf or {}).get("architecture"), tuple(file.rfilename for file in item.siblings)) for item in theirs]
