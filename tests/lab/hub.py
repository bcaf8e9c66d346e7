"""A server that is compatible with the Hugging Face Hub, over a folder of repositories, with a switch for each fault.

Standard library only, one file: it also runs in an image that has nothing but python3.

    python hub.py --root DIR [--host 0.0.0.0] [--port 8080] [--cert FILE --key FILE] [--switches FILE]

Repositories are the folders `<root>/<owner>/<name>`; `repo.json` in one may say `commit`, `license`, `base_model`, `language`,
`tags`, `gated`, `private`, `disabled`, `tokens`, `downloads`, `likes`, `trendingScore`, `createdAt`, `lastModified`, `pipeline_tag`,
`library_name`, `gguf` (the Hub's own reading of one file: `total` parameters, `architecture`, `context_length`, `chat_template`,
`totalFileSize`). Large files and `.gguf` answer with a redirect to a short-lived link, as the real Hub does. `GET /__health__` says
that it is up; the request log is `GET /__requests__` (`DELETE` empties it), how many of each kind there were `GET /__calls__`;
faults are switched with `PUT /__switch__` or through `--switches FILE`.

The list, `GET /api/models`, takes `search`, `author`, `filter` (repeated: and), `pipeline_tag`, `gated`, `num_parameters`, `apps`,
`sort`, `direction`, `limit`, `cursor`, and `full`, `cardData`, `config` or `expand` (also `expand[]`) for what each item shall say.

A switch is set to `true` (always), a number (so many times), `false` (off) or an object with `times` (-1: always), `match`
(only where the URL contains it) and the parameters below:

| switch | what happens | parameters |
| --- | --- | --- |
| rate_limit | 429 | `retry_after` (1), `header`: `Retry-After`, `RateLimit`, or `date` for a Retry-After that is one |
| slow | an answer that comes late | `seconds` (1) |
| error_500, error_503 | that status | `retry_after` |
| truncate | the connection closes in mid-body | `after` bytes (half of it) |
| wrong_bytes | right size, wrong content | |
| forbidden_resume | 403 on a range that does not start at 0 (an expired link) | |
| ignore_range | 200 and the whole file where a range was asked | |
| no_content_range | 206 without `Content-Range` | |
| unsatisfiable | 416 on a range | |
| drip | slow body | `bytes_per_second` (65536) |
| redirect_host | the link is on another host | `to`: base URL (localhost and 127.0.0.1 change places) |
| redirect_loop | a link that leads to itself | |
| no_etag | no `ETag`, no `X-Linked-Etag` | |
| no_commit | no `X-Repo-Commit` | |
| gated | the repository needs a token | |
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qs, quote, unquote, urlsplit

SWITCHES = (
    "rate_limit", "error_500", "error_503", "truncate", "wrong_bytes", "forbidden_resume", "ignore_range", "no_content_range",
    "unsatisfiable", "drip", "redirect_host", "redirect_loop", "no_etag", "no_commit", "gated", "slow",
)
KINDS = (
    ("list", r"/api/models"), ("repository", r"/api/models/[^/]+/[^/]+(?:/revision/.*)?"), ("api", r"/api/.*"), ("range", r"/.*/resolve/.*"),
    ("cdn", r"/__cdn__/.*"),
)
SORTS = ("trendingScore", "downloads", "likes", "lastModified", "createdAt")
EXPAND = frozenset("""author baseModels cardData childrenModelCount config createdAt disabled downloads downloadsAllTime evalResults gated gguf inference
    inferenceProviderMapping lastModified library_name likes mask_token model-index pipeline_tag private resourceGroup safetensors sha siblings spaces
    tags transformersInfo trendingScore usedStorage widgetData""".split())
ALWAYS = ("_id", "id", "modelId")
PLAIN = (*ALWAYS, "createdAt", "downloads", "library_name", "likes", "pipeline_tag", "private", "tags", "trendingScore")
BLOCK = 1 << 18
LFS_FROM = 10 * 1024 * 1024
LFS_NAMES = (".gguf", ".safetensors", ".bin")
PAGE = 1000
DATE = "2026-01-01T00:00:00.000Z"


class Problem(Exception):
    """An answer that is not 200: status, the Hub's error code, a message and more headers."""

    def __init__(self, status: int, message: str, code: str = "", headers: "dict[str, str] | None" = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


# --- repositories ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """One file of a repository: path in it, place on disk, size in bytes, sha256 and git blob id."""

    path: str
    disk: Path
    size: int
    sha256: str
    oid: str

    @property
    def lfs(self) -> bool:
        return self.size > LFS_FROM or self.path.endswith(LFS_NAMES)

    @property
    def etag(self) -> str:
        return f'"{self.sha256 if self.lfs else self.oid}"'

    def entry(self) -> "dict[str, Any]":
        """As in a tree listing."""
        entry: "dict[str, Any]" = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 135}
        return entry

    def sibling(self, blobs: bool) -> "dict[str, Any]":
        """As in `siblings` of a model."""
        sibling: "dict[str, Any]" = {"rfilename": self.path}
        if blobs:
            sibling.update(size=self.size, blobId=self.oid)
            if self.lfs:
                sibling["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 135}
        return sibling


class Digests:
    """sha256 and git blob id of files, computed once and kept beside each file (in memory where that is read-only)."""

    def __init__(self) -> None:
        self._known: "dict[tuple[str, int, int], tuple[str, str]]" = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> "tuple[str, str]":
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._from_disk(path, stat) or self._compute(path, stat)
            return self._known[key]

    @staticmethod
    def _beside(path: Path) -> Path:
        return path.with_name(f".{path.name}.digests")

    def _from_disk(self, path: Path, stat: os.stat_result) -> "tuple[str, str] | None":
        try:
            kept = json.loads(self._beside(path).read_text())
        except (OSError, ValueError):
            return None
        if (kept.get("size"), kept.get("mtime_ns")) != (stat.st_size, stat.st_mtime_ns):
            return None
        return kept["sha256"], kept["oid"]

    def _compute(self, path: Path, stat: os.stat_result) -> "tuple[str, str]":
        sha256, oid = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % stat.st_size)
        with path.open("rb") as handle:
            while True:
                block = handle.read(BLOCK)
                if not block:
                    break
                sha256.update(block)
                oid.update(block)
        kept = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256.hexdigest(), "oid": oid.hexdigest()}
        try:
            fresh = self._beside(path).with_suffix(".new")
            fresh.write_text(json.dumps(kept))
            os.replace(fresh, self._beside(path))
        except OSError:
            pass
        return kept["sha256"], kept["oid"]


class Repository:
    """One folder `<root>/<owner>/<name>`."""

    def __init__(self, identity: str, folder: Path, digests: Digests) -> None:
        self.id, self.folder, self._digests = identity, folder, digests
        about = folder / "repo.json"
        self.about: "dict[str, Any]" = json.loads(about.read_text()) if about.exists() else {}

    def files(self) -> "list[File]":
        paths = sorted(p for p in self.folder.rglob("*") if p.is_file() and self._shown(p))
        return [self._file(p) for p in paths]

    def file(self, path: str) -> File:
        disk = self.folder / path
        if ".." in path.split("/") or not self._shown(disk) or not disk.is_file():
            raise Problem(404, f"{path} does not exist on \"main\"", "EntryNotFound")
        return self._file(disk)

    def _file(self, disk: Path) -> File:
        sha256, oid = self._digests.of(disk)
        return File(disk.relative_to(self.folder).as_posix(), disk, disk.stat().st_size, sha256, oid)

    def _shown(self, disk: Path) -> bool:
        parts = disk.relative_to(self.folder).parts
        return parts != ("repo.json",) and not any(part.startswith(".") for part in parts)

    @property
    def commit(self) -> str:
        """As `repo.json` says, or made from the content: the same files have the same commit."""
        if "commit" in self.about:
            return str(self.about["commit"])
        listing = "".join(f"{f.path} {f.sha256} {f.size}\n" for f in self.files())
        return hashlib.sha1(listing.encode()).hexdigest()

    def check_revision(self, revision: str) -> None:
        if revision not in ("main", self.commit):
            raise Problem(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def tree(self, below: str, recursive: bool) -> "list[dict[str, Any]]":
        prefix = f"{below}/" if below else ""
        inside = [f for f in self.files() if f.path.startswith(prefix)]
        if below and not inside:
            raise Problem(404, f"{below} does not exist on \"main\"", "EntryNotFound")
        folders: "dict[str, dict[str, Any]]" = {}
        entries = []
        for file in inside:
            parents = file.path[len(prefix):].split("/")[:-1]
            for depth in range(1, len(parents) + 1 if recursive else min(len(parents), 1) + 1):
                path = prefix + "/".join(parents[:depth])
                folders.setdefault(path, {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path})
            if recursive or not parents:
                entries.append(file.entry())
        return sorted([*folders.values(), *entries], key=lambda entry: str(entry["path"]))

    def info(self, blobs: bool = False) -> "dict[str, Any]":
        files = self.files()
        tags = list(self.about.get("tags", ["gguf"]))
        card = {key: self.about[key] for key in ("license", "license_name", "base_model", "language", "pipeline_tag") if key in self.about}
        info = {
            "_id": hashlib.sha1(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "modelId": self.id,
            "author": self.id.split("/")[0],
            "sha": self.commit,
            "lastModified": self.about.get("lastModified", DATE),
            "createdAt": self.about.get("createdAt", DATE),
            "private": self.about.get("private", False),
            "disabled": self.about.get("disabled", False),
            "gated": self.about.get("gated", False),
            "downloads": self.about.get("downloads", 0),
            "likes": self.about.get("likes", 0),
            "trendingScore": self.about.get("trendingScore", 0),
            "tags": tags,
            "cardData": card,
            "siblings": [f.sibling(blobs) for f in files],
            "usedStorage": sum(f.size for f in files),
        }
        info.update({key: self.about[key] for key in ("pipeline_tag", "library_name", "gguf", "config") if key in self.about})
        return info


class Repositories:
    """All repositories below a folder; read anew at each request, so files may come and go."""

    def __init__(self, root: Path) -> None:
        self.root, self._digests = Path(root), Digests()

    def get(self, identity: str) -> Repository:
        folder = self.root / identity
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", identity) or not folder.is_dir():
            raise Problem(401, "Repository not found", "RepoNotFound")
        return Repository(identity, folder, self._digests)

    def search(self, query: "dict[str, list[str]]") -> "list[dict[str, Any]]":
        """Everything that the list's parameters ask for, in their order, each item with all that is known of it."""
        found = [self.get(folder.relative_to(self.root).as_posix()).info()
                 for folder in sorted(self.root.glob("[!.]*/[!.]*")) if folder.is_dir()]
        order = query.get("sort", ["trendingScore"])[0]
        if order not in SORTS:
            raise Problem(400, f"Invalid sort parameter: {order}")
        if query.get("direction", ["-1"])[0] != "-1":
            raise Problem(400, "Only descending order is supported")
        return sorted((info for info in found if wanted(info, query)), key=lambda info: info[order], reverse=True)


def wanted(info: "dict[str, Any]", query: "dict[str, list[str]]") -> bool:
    """Whether a repository is what a list's parameters ask for."""
    def first(name: str) -> str:
        return query.get(name, [""])[0]

    tags = {*info["tags"], info.get("library_name"), info.get("pipeline_tag")}
    return (
        all(word in info["id"].lower() for word in first("search").lower().split())
        and first("author").lower() in ("", info["author"].lower())
        and set(query.get("filter", [])) <= tags
        and first("pipeline_tag") in ("", info.get("pipeline_tag"))
        and first("gated").lower() in ("", str(bool(info["gated"])).lower())
        and (not query.get("apps") or "gguf" in info)
        and not info["private"] and in_bounds((info.get("gguf") or {}).get("total"), first("num_parameters")))


def in_bounds(count: "int | None", bounds: str) -> bool:
    """Whether a number of parameters is within `min:1B,max:9B`; an unknown one is within no bounds."""
    said = dict(part.split(":", 1) for part in bounds.split(",") if ":" in part)
    units = {"K": 10 ** 3, "M": 10 ** 6, "B": 10 ** 9, "T": 10 ** 12}
    numbers = {key: float(text.rstrip("KMBT")) * units.get(text[-1:], 1) for key, text in said.items()}
    return not said or (count is not None and numbers.get("min", 0) <= count <= numbers.get("max", float("inf")))


def shown(info: "dict[str, Any]", query: "dict[str, list[str]]") -> "dict[str, Any]":
    """What of a repository one item of a list says: little, unless more is asked for."""
    keys = [*query.get("expand", []), *query.get("expand[]", [])]
    asked = {name for name in ("full", "cardData", "config") if query.get(name, ["false"])[0].lower() in ("true", "1")}
    if keys and asked:
        raise Problem(400, "expand cannot be combined with full, cardData or config")
    if set(keys) - EXPAND:
        raise Problem(400, f"Invalid expand: {', '.join(sorted(set(keys) - EXPAND))}")
    names = [*ALWAYS[:2], *keys] if keys else [*PLAIN, *(asked - {"full"})]
    if "full" in asked:
        names += ["author", "gated", "lastModified", "sha", "siblings"]
    return {name: info[name] for name in names if name in info}


# --- faults and the log ---------------------------------------------------------------------------------------------


class Switches:
    """The faults that are on; `take` uses one up."""

    def __init__(self, path: "Path | None" = None) -> None:
        self._path, self._stamp = path, 0
        self._on: "dict[str, dict[str, Any]]" = {}
        self._lock = threading.Lock()
        self.clears = 0  # how often all were switched off: a slow body under way then goes on at full speed

    def set(self, wanted: "dict[str, Any]") -> None:
        """Change the switches named; the others stay."""
        unknown = sorted(set(wanted) - set(SWITCHES))
        if unknown:
            raise Problem(400, f"Unknown switch {', '.join(unknown)}; there are {', '.join(SWITCHES)}.")
        with self._lock:
            for name, value in wanted.items():
                self._on.pop(name, None)
                if value is not False and value is not None:
                    self._on[name] = {"times": -1, **self._spec(value)}

    @staticmethod
    def _spec(value: Any) -> "dict[str, Any]":
        if value is True:
            return {}
        return {"times": value} if isinstance(value, int) else dict(value)

    def clear(self) -> None:
        with self._lock:
            self._on.clear()
            self.clears += 1

    def as_dict(self) -> "dict[str, Any]":
        with self._lock:
            return {name: dict(spec) for name, spec in self._on.items()}

    def reload(self) -> None:
        """Take over the file when it has changed: it then says all switches."""
        if self._path is None or not self._path.exists():
            return
        stamp = self._path.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp = stamp
            text = self._path.read_text().strip()
            self.clear()
            self.set(json.loads(text) if text else {})

    def take(self, name: str, url: str) -> "dict[str, Any] | None":
        with self._lock:
            spec = self._on.get(name)
            if spec is None or spec["times"] == 0 or spec.get("match", "") not in url:
                return None
            if spec["times"] > 0:
                spec["times"] -= 1
            return spec


@dataclass
class Entry:
    """One request: `bytes` are those of the body that were handed to the connection so far, counted before a client can have them all."""

    id: int
    method: str
    path: str
    range: "str | None"
    authorization: bool
    client: str = ""
    status: int = 0
    bytes: int = 0
    done: bool = False
    time: float = field(default_factory=time.time)


class RequestLog:
    def __init__(self) -> None:
        self.entries: "list[Entry]" = []
        self._count = 0
        self._lock = threading.Lock()

    def add(self, method: str, path: str, byte_range: "str | None", authorization: bool, client: str) -> Entry:
        with self._lock:
            self._count += 1
            entry = Entry(self._count, method, path, byte_range, authorization, client)
            self.entries.append(entry)
            return entry

    def clear(self) -> None:
        with self._lock:
            self.entries = []

    def as_list(self) -> "list[dict[str, Any]]":
        with self._lock:
            return [dict(vars(entry)) for entry in self.entries]

    def calls(self) -> "dict[str, int]":
        """How many requests of each kind there were: `list`, `repository`, other `api`, `range` (of files), `cdn`."""
        counted = dict.fromkeys((name for name, _pattern in KINDS), 0)
        for entry in self.as_list():
            path = unquote(urlsplit(entry["path"]).path)
            kind = next((name for name, pattern in KINDS if re.fullmatch(pattern, path)), None)
            if kind:
                counted[kind] += 1
        return counted


# --- HTTP -----------------------------------------------------------------------------------------------------------


def parse_range(header: "str | None", size: int) -> "tuple[int, int] | None":
    """First and last byte of a `Range` header of one range; None when there is none; 416 when it is outside."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        return max(0, size - int(last)), size - 1
    if int(first) >= size or (last and int(last) < int(first)):
        raise Problem(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
    return int(first), min(int(last) if last else size - 1, size - 1)


class Handler(BaseHTTPRequestHandler):
    """One connection. Routes are tried in order; each answers or raises `Problem`."""

    protocol_version = "HTTP/1.1"
    server_version = "lab-hub/1"
    timeout = 120
    server: "HubServer"

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        split = urlsplit(self.path)
        self.query = parse_qs(split.query, keep_blank_values=True)
        path = unquote(split.path)
        if path.startswith("/__") and not path.startswith("/__cdn__/"):
            self.entry = Entry(0, self.command, path, None, False)
        else:
            self.entry = self.server.log.add(
                self.command, self.path, self.headers.get("Range"), "Authorization" in self.headers, self.client_address[0])
        try:
            self.server.switches.reload()
            self._route(path)
        except Problem as problem:
            self._problem(problem)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True
        self.entry.done = True

    def _route(self, path: str) -> None:
        if path.startswith("/__") and not path.startswith("/__cdn__/"):
            return self._control(path)
        self._front_faults()
        for pattern, method in ROUTES:
            found = re.fullmatch(pattern, path)
            if found:
                return getattr(self, method)(**{k: v or "" for k, v in found.groupdict().items()})
        raise Problem(404, f"No such route: {path}")

    # control

    def _control(self, path: str) -> None:
        if path == "/__health__":
            return self._json({"ok": True})
        if path == "/__requests__":
            if self.command == "DELETE":
                self.server.log.clear()
            return self._json(self.server.log.as_list())
        if path == "/__calls__":
            return self._json(self.server.log.calls())
        if path == "/__switch__":
            return self._switch()
        raise Problem(404, f"No such route: {path}")

    def _switch(self) -> None:
        if self.command == "DELETE":
            self.server.switches.clear()
        elif self.command in ("PUT", "POST"):
            try:
                wanted = json.loads(self.body or b"{}")
            except ValueError as error:
                raise Problem(400, f"The switches are not JSON: {error}.")
            self.server.switches.set(wanted)
        self._json(self.server.switches.as_dict())

    # faults

    def _on(self, name: str) -> "dict[str, Any] | None":
        return self.server.switches.take(name, self.path)

    def _front_faults(self) -> None:
        slow = self._on("slow")
        if slow is not None:
            time.sleep(slow.get("seconds", 1))
        limited = self._on("rate_limit")
        if limited is not None:
            wait = limited.get("retry_after", 1)
            headers = {
                "RateLimit": {"RateLimit": f'"api";r=0;t={wait}', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
                "date": {"Retry-After": formatdate(time.time() + wait, usegmt=True)},
            }.get(limited.get("header", ""), {"Retry-After": str(wait)})
            raise Problem(429, "We had to rate limit you", headers=headers)
        for name, status in (("error_500", 500), ("error_503", 503)):
            spec = self._on(name)
            if spec is not None:
                raise Problem(status, "Internal error", headers={"Retry-After": str(spec["retry_after"])} if "retry_after" in spec else {})

    def _check_gate(self, repository: Repository) -> None:
        if not repository.about.get("gated") and self._on("gated") is None:
            return
        token = (self.headers.get("Authorization") or "").partition("Bearer ")[2]
        known = repository.about.get("tokens")
        if not token:
            raise Problem(401, f"Access to model {repository.id} is restricted. You must be authenticated to access it.", "GatedRepo")
        if token not in known if known else not token.startswith("hf_"):
            raise Problem(403, f"Access to model {repository.id} is restricted and you are not in the authorized list.", "GatedRepo")

    # the Hub's API

    def _list(self) -> None:
        found = self.server.repositories.search(self.query)
        start = int(self.query.get("cursor", ["0"])[0])
        count = min(int(self.query.get("limit", [str(PAGE)])[0]), PAGE)
        headers = {}
        if start + count < len(found):
            rest = "&".join(f"{k}={quote(v)}" for k, values in self.query.items() if k != "cursor" for v in values)
            headers["Link"] = f'<{self._base()}/api/models?{rest}&cursor={start + count}>; rel="next"'
        self._json([shown(info, self.query) for info in found[start:start + count]], headers)

    def _model(self, repo: str, rev: str = "") -> None:
        repository = self.server.repositories.get(repo)
        repository.check_revision(rev or "main")
        self._json(repository.info(blobs=self._flag("blobs")))

    def _tree(self, repo: str, rev: str, path: str = "") -> None:
        repository = self.server.repositories.get(repo)
        repository.check_revision(rev)
        self._json(repository.tree(path.strip("/"), self._flag("recursive")))

    def _paths(self, repo: str, rev: str) -> None:
        repository = self.server.repositories.get(repo)
        repository.check_revision(rev)
        wanted = self._wanted_paths()
        self._json([f.entry() for f in repository.files() if f.path in wanted])

    def _wanted_paths(self) -> "list[str]":
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return list(json.loads(self.body).get("paths", []))
        return parse_qs(self.body.decode()).get("paths", [])

    def _refs(self, repo: str) -> None:
        commit = self.server.repositories.get(repo).commit
        self._json({"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}], "tags": [], "converts": []})

    def _flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")

    # files

    def _resolve(self, repo: str, rev: str, path: str) -> None:
        repository = self.server.repositories.get(repo)
        repository.check_revision(rev)
        self._check_gate(repository)
        file = repository.file(path)
        if self._on("redirect_loop") is not None:
            return self._empty(302, {"Location": self._base() + self.path})
        other = self._on("redirect_host")
        headers = self._file_headers(repository, file)
        if not file.lfs and other is None:
            return self._send_file(file, headers)
        base = self._base() if other is None else other.get("to") or self._other_base()
        signature = hashlib.sha1(f"{time.time_ns()}".encode()).hexdigest()[:12]
        location = f"{base}/__cdn__/{repo}/{quote(path)}?Expires={int(time.time()) + 3600}&Signature={signature}"
        self._empty(302, {**headers, "Location": location})

    def _cdn(self, repo: str, path: str) -> None:
        repository = self.server.repositories.get(repo)
        file = repository.file(path)
        self._send_file(file, self._file_headers(repository, file))

    def _file_headers(self, repository: Repository, file: File) -> "dict[str, str]":
        headers = {"Accept-Ranges": "bytes"}
        if self._on("no_commit") is None:
            headers["X-Repo-Commit"] = repository.commit
        if self._on("no_etag") is None:
            headers["ETag"] = file.etag
            if file.lfs:
                headers["X-Linked-Etag"] = file.etag
        if file.lfs:
            headers["X-Linked-Size"] = str(file.size)
        return headers

    def _range(self, file: File) -> "tuple[int, int] | None":
        asked = self.headers.get("Range")
        if not asked or self._on("ignore_range") is not None:
            return None
        if self._on("unsatisfiable") is not None:
            raise Problem(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{file.size}"})
        if self.headers.get("If-Range", file.etag) != file.etag:
            return None
        span = parse_range(asked, file.size)
        if span and span[0] > 0 and self._on("forbidden_resume") is not None:
            raise Problem(403, "Request has expired")
        return span

    def _send_file(self, file: File, headers: "dict[str, str]") -> None:
        span = self._range(file)
        first, last = span or (0, file.size - 1)
        headers["Content-Length"] = str(last - first + 1)
        headers["Content-Type"] = "application/octet-stream"
        if span and self._on("no_content_range") is None:
            headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        self._start(206 if span else 200, headers)
        if self.command != "HEAD":
            self._send_body(file, first, last + 1)

    def _send_body(self, file: File, first: int, end: int) -> None:
        cut, drip = self._on("truncate"), self._on("drip")
        wrong = self._on("wrong_bytes") is not None
        if cut is not None:
            end = min(end, first + cut.get("after", (end - first) // 2))
            self.close_connection = True
        rate = drip.get("bytes_per_second", 65536) if drip is not None else 0
        block, clears = max(1, rate // 20) if rate else BLOCK, self.server.switches.clears
        with file.disk.open("rb") as handle:
            handle.seek(first)
            at = first
            while at < end:
                data = handle.read(min(block, end - at))
                if not data:
                    break
                at += len(data)
                self.entry.bytes += len(data)
                self.wfile.write(bytes([data[0] ^ 0xFF]) + data[1:] if wrong else data)
                if rate and clears == self.server.switches.clears:
                    time.sleep(len(data) / rate)

    # answers

    def _base(self) -> str:
        return f"{'https' if self.server.tls else 'http'}://{self.headers.get('Host', 'localhost')}"

    def _other_base(self) -> str:
        base = self._base()
        return base.replace("127.0.0.1", "localhost") if "127.0.0.1" in base else base.replace("localhost", "127.0.0.1")

    def _start(self, status: int, headers: "dict[str, str]") -> None:
        self.entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _empty(self, status: int, headers: "dict[str, str]") -> None:
        self._start(status, {**headers, "Content-Length": "0"})

    def _json(self, value: Any, headers: "dict[str, str] | None" = None, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self._start(status, {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})})
        if self.command != "HEAD":
            self.entry.bytes += len(data)
            self.wfile.write(data)

    def _problem(self, problem: Problem) -> None:
        headers = {**problem.headers, "X-Error-Message": problem.message}
        if problem.code:
            headers["X-Error-Code"] = problem.code
        self._json({"error": problem.message}, headers, problem.status)

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.verbose:
            print(f"{self.address_string()} {format % args}", flush=True)


REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES = (
    (r"/api/models", "_list"),
    (rf"/api/models/{REPO}/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", "_tree"),
    (rf"/api/models/{REPO}/paths-info/(?P<rev>[^/]+)", "_paths"),
    (rf"/api/models/{REPO}/refs", "_refs"),
    (rf"/api/models/{REPO}(?:/revision/(?P<rev>[^/]+))?", "_model"),
    (rf"/__cdn__/{REPO}/(?P<path>.+)", "_cdn"),
    (rf"/{REPO}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "_resolve"),
)


class HubServer(ThreadingHTTPServer):
    """The server: `url`, `repositories`, `switches` and `log`."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(
        self, root: Path, host: str = "127.0.0.1", port: int = 0, cert: "Path | None" = None, key: "Path | None" = None,
        switches: "Path | None" = None, verbose: bool = False,
    ) -> None:
        super().__init__((host, port), Handler)
        self.repositories, self.switches, self.log = Repositories(root), Switches(switches), RequestLog()
        self.verbose, self.tls = verbose, None
        if cert:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(cert, key)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{host!s}:{port}"

    def get_request(self) -> "tuple[socket.socket, Any]":
        """The handshake is left to the connection's own thread, so a slow client holds nobody up."""
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        if self.verbose:
            super().handle_error(request, client_address)


@contextmanager
def running(root: Path, **options: Any) -> "Iterator[HubServer]":
    """A server in a thread of this process, for tests."""
    server = HubServer(root, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(description="A Hub-compatible server over a folder of repositories.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--switches", type=Path)
    args = parser.parse_args()
    server = HubServer(args.root, args.host, args.port, args.cert, args.key, args.switches, verbose=True)
    print(f"serving {args.root} on {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
