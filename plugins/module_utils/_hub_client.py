# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Asks a Hugging Face Hub, or a mirror of it, for its list and about repositories. Runs on the controller only, with huggingface_hub."""
from __future__ import annotations

import importlib
import os
import re
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Callable, Sequence, TypeVar

from . import _http
from ._errors import FleetError
from ._gguf import GgufError, Header, HttpSource, read_header
from ._headers import HeaderCache
from ._hub import HubUnavailable, RepoFile
from ._listing import EXPAND, Listing, base_models_of, license_of, listing
from ._patience import PASSING, Patience, asked_wait
from ._search import SORTS, Policy
from ._version import VERSION

T = TypeVar("T")

ENDPOINT = "https://huggingface.co"
# The client reads these once, when it is imported. Nothing is asked of the Hub but what we ask, and nothing is written.
_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_DISABLE_XET": "1",
}


class ClientMissing(Exception):
    """huggingface_hub cannot be imported; the cause is the ImportError."""


@dataclass(frozen=True)
class HubOptions:
    """How the Hub is reached. `ca_path` is a PEM file trusted besides the system's; `timeout` seconds a request.

    `patience` seconds may be waited in all for a Hub that limits or fails. `cache` is a folder for headers that were read, "" for none.
    """

    endpoint: str = ENDPOINT
    token: str = field(default="", repr=False)
    ca_path: str | None = None
    timeout: float = 30.0
    patience: float = 60.0
    cache: str = ""


@dataclass(frozen=True)
class Repository:
    """A repository at one commit. `gated` is "", "auto" or "manual"; files have sizes in bytes."""

    name: str
    commit: str
    files: tuple[RepoFile, ...]
    license: str | None = None
    gated: str = ""
    private: bool = False
    tags: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()


class Hub:
    """One Hub for the length of a module's run. Raises ClientMissing when huggingface_hub is not installed.

    `calls` counts what was asked: pages of the `list`, each `repository`, and each `header` that was read from files.
    """

    def __init__(self, options: HubOptions = HubOptions()) -> None:
        self.options = options
        self.endpoint = options.endpoint.rstrip("/")
        self.shown = _http.bare_url(self.endpoint)
        self._client = _load()
        if self._client.constants.HF_HUB_OFFLINE:
            raise FleetError("The Hub is needed, and HF_HUB_OFFLINE forbids to ask it", self.shown,
                             do="Unset HF_HUB_OFFLINE, or use a lock that names all wanted models.")
        context = _http.trust(options.ca_path)
        httpx = self._client.utils.httpx
        self._client.set_client_factory(lambda: httpx.Client(verify=context, follow_redirects=True, timeout=options.timeout))
        self._api = self._client.HfApi(
            endpoint=self.endpoint, token=options.token or False, library_name=_http.USER_AGENT, library_version=VERSION,
        )
        self.calls = {"list": 0, "repository": 0, "header": 0}
        self._known: dict[tuple[str, str | None], Repository] = {}
        self._patience = Patience(options.patience)
        self._cache = HeaderCache(options.cache, self.shown) if options.cache else None

    def listings(self, policy: Policy) -> list[Listing]:
        """One page of the Hub's list, in the policy's order, with what most repositories can be judged by. One call.

        FleetError, each in its own words: refused token, rate limit, a Hub (or a mirror that has no list) that fails or is out of reach.
        """
        query: list[tuple[str, str]] = [("filter", "gguf"), *_filters(policy), ("sort", SORTS[policy.sort])]
        query += [("limit", str(policy.consider)), *(("expand", key) for key in EXPAND)]
        try:
            found = self._asked("list", lambda: self._page(query), "its list of models")
        except HubUnavailable:
            raise
        except FleetError as error:
            raise HubUnavailable("The endpoint has no list to search", self.shown, error.got or error.what,
                                 f"Mirrors often have files only. Search at {ENDPOINT}, or name repositories.") from error
        if not isinstance(found, list):
            raise HubUnavailable("The Hub answered something else than a list of models", self.shown, type(found).__name__, "Check the endpoint.")
        return [item for item in map(listing, found[:policy.consider]) if item]

    def repository(self, name: str, revision: str | None = None) -> Repository:
        """The repository's commit and files: one call (two at mirrors that leave sizes out of it), none for one that was asked for before.

        FleetError, each in its own words: not found or private, gated, no such revision, refused token, rate limit,
        a Hub that fails, is unreachable or not trusted.
        """
        if (name, revision) not in self._known:
            found = self._asked("repository", lambda: self._repository(name, revision), name, revision)
            self._known.update({(name, revision): found, (name, found.commit): found})
        return self._known[(name, revision)]

    def url(self, repository: str, commit: str, path: str) -> str:
        """Where a file of a repository is downloaded from."""
        return self._client.hf_hub_url(repository, path, revision=commit, endpoint=self.endpoint)

    def header(self, repository: Repository, files: Sequence[RepoFile]) -> Header:
        """The GGUF header of the chosen file, or of all shards in order, read whole by byte ranges, or kept from an earlier time."""
        kept = self._cache.get(files) if self._cache else None
        if kept is not None:
            return kept
        for attempt in count(1):
            self.calls["header"] += 1
            try:
                header = self._header(repository, files)
            except GgufError as error:
                wait = self._patience.wait(attempt, None) if _passing(error.got) else None
                if wait is None:
                    raise self._refused(error, repository) from error
                self._patience.spend(wait)
            else:
                break
        if self._cache:
            self._cache.put(files, header)
        return header

    def _header(self, repository: Repository, files: Sequence[RepoFile]) -> Header:
        headers = {"Authorization": f"Bearer {self.options.token}"} if self.options.token else {}
        opener = _http.build_opener(self.options.ca_path)
        urls = [(self.url(repository.name, repository.commit, file.path), file.size) for file in files]
        sources = [HttpSource(url, headers=headers, size=size, opener=opener) for url, size in urls]
        return read_header(sources[0] if len(sources) == 1 else sources, exact=True)

    def _refused(self, error: GgufError, repository: Repository) -> FleetError:
        if error.got in ("HTTP 401", "HTTP 403") and repository.gated:
            return self._gated(repository.name)
        return self._limited(error.where, "") if error.got == "HTTP 429" else error

    def _page(self, query: Sequence[tuple[str, str]]) -> Any:
        utils = self._client.utils
        headers = utils.build_hf_headers(token=self.options.token or False, library_name=_http.USER_AGENT, library_version=VERSION)
        answer = utils.get_session().get(f"{self.endpoint}/api/models", params=query, headers=headers)
        utils.hf_raise_for_status(answer)
        return answer.json()

    def _repository(self, name: str, revision: str | None) -> Repository:
        try:
            info = self._api.model_info(name, revision=revision, files_metadata=True, timeout=self.options.timeout)
            found = _repository(name, info, self._files(name, info))
        except (KeyError, TypeError, AttributeError) as error:  # the client takes the answer's form for granted
            raise ValueError("an answer of another form") from error
        if not _is_sound(found):
            raise ValueError("a commit, a size or a digest that is none")
        return found

    def _asked(self, kind: str, call: Callable[[], T], name: str, revision: str | None = None) -> T:
        """The answer of a call. The client does not repeat this one: a limit or a fault is waited for here, as long as there is patience."""
        for attempt in count(1):
            self.calls[kind] += 1
            try:
                return call()
            except (OSError, ValueError, self._client.utils.httpx.HTTPError) as error:
                response = getattr(error, "response", None)
                passing = response is not None and response.status_code in PASSING
                wait = self._patience.wait(attempt, asked_wait(response.headers, time.time())) if passing else None
                if wait is None:
                    raise self._explained(error, name, revision) from error
            self._patience.spend(wait)
        raise AssertionError  # count never ends

    def _files(self, name: str, info: Any) -> tuple[RepoFile, ...]:
        siblings = info.siblings or []
        if all(sibling.size is not None for sibling in siblings):
            return tuple(RepoFile(sibling.rfilename, sibling.size, _sha256(sibling.lfs)) for sibling in siblings)
        entries = self._api.list_repo_tree(name, recursive=True, revision=info.sha)
        return tuple(RepoFile(entry.path, entry.size, _sha256(entry.lfs)) for entry in entries if hasattr(entry, "size"))

    # errors

    def _explained(self, error: Exception, name: str, revision: str | None) -> FleetError:
        errors, where = self._client.errors, f"{name} at {self.shown}"
        if isinstance(error, errors.GatedRepoError):
            return self._gated(name)
        if isinstance(error, errors.RevisionNotFoundError):
            return FleetError("The repository has no such revision", where, str(revision), "Name a branch, a tag or a commit of it.")
        if isinstance(error, errors.RepositoryNotFoundError):
            return self._not_found(where)
        if isinstance(error, errors.DisabledRepoError):
            return FleetError("The repository is disabled by the Hub", where, do="Choose another repository.")
        if isinstance(error, errors.HFValidationError):
            return FleetError("The repository's name is not usable", where, name, "Names have the form owner/repository.")
        response = getattr(error, "response", None)
        if response is not None:
            return self._status(response, where)
        return self._unreachable(error, where)

    def _status(self, response: Any, where: str) -> FleetError:
        if response.status_code == 401:
            return HubUnavailable("The Hub refuses the token", where, "HTTP 401", "Check the token; it may have expired.")
        if response.status_code == 403:
            return FleetError("The Hub forbids the repository to this token", where, "HTTP 403", "Use a token that may read it.")
        if response.status_code == 429:
            return self._limited(where, self._wait(response.headers))
        if response.status_code == 404:
            return self._not_found(where)
        return HubUnavailable("The Hub failed", where, f"HTTP {response.status_code}", "Try again later.")

    def _not_found(self, where: str) -> FleetError:
        if self.options.token:
            return FleetError("The repository does not exist, or this token may not see it", where, do="Check its name and the token's rights.")
        return FleetError("The repository does not exist, or is private", where, do="Check its name; a private one needs a token.")

    def _gated(self, name: str) -> FleetError:
        got = "a token without access" if self.options.token else "no token"
        return FleetError("The repository is gated", f"{name} at {self.shown}", got,
                          f"Accept its conditions at {self.shown}/{name} and give the token of that account.")

    def _limited(self, where: str, wait: str) -> FleetError:
        advice = "" if self.options.token else " A token has a higher limit of its own."
        return HubUnavailable("The Hub limits how often it may be asked", where, "HTTP 429", f"Try again {wait or 'in five minutes'}.{advice}")

    def _wait(self, headers: Any) -> str:
        seconds = asked_wait(headers, time.time())
        return "" if seconds is None else f"in {int(seconds + 0.999)} seconds"

    def _unreachable(self, error: Exception, where: str) -> FleetError:
        tls = _http.tls_reason(error)
        if tls:
            return HubUnavailable("The Hub's certificate is not trusted", where, tls,
                                  "Give its authority's certificate as models_hub_ca, in a task as ca_path or hub_ca.")
        if isinstance(error, ValueError):
            return HubUnavailable("The Hub answered something else than a repository", where, type(error).__name__, "Check the endpoint.")
        return HubUnavailable("The Hub cannot be reached", where, _http.reason(error), "Check the endpoint, the network and the proxy.")


def _load() -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        for part in ("constants", "errors", "utils"):
            importlib.import_module(f"huggingface_hub.{part}")
        client = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ClientMissing("huggingface_hub") from error
    if not hasattr(client.utils, "httpx"):
        raise ClientMissing("huggingface_hub") from ImportError("huggingface_hub is older than 2.0")
    return client


def _repository(name: str, info: Any, files: tuple[RepoFile, ...]) -> Repository:
    card, tags = info.card_data or {}, tuple(info.tags or ())
    return Repository(
        name=name, commit=info.sha, files=files, license=license_of(card, tags), gated=info.gated or "", private=bool(info.private),
        tags=tags, base_models=base_models_of(card, tags),
    )


def _is_sound(repository: Repository) -> bool:
    """Whether commit, sizes and digests are such, as the lock pins them."""
    return bool(re.fullmatch(r"[0-9a-f]{40}", str(repository.commit))) and all(
        isinstance(file.path, str) and isinstance(file.size, int) and file.size >= 0
        and (file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", str(file.sha256))) for file in repository.files)


def _filters(policy: Policy) -> list[tuple[str, str]]:
    """What of a policy the Hub itself can filter by, so that its page holds more of what is wanted."""
    found = [("filter", policy.language)] if policy.language else []
    if len(policy.licenses) == 1 and policy.license_unknown == "refuse":
        found.append(("filter", f"license:{policy.licenses[0]}"))
    if len(policy.publishers) == 1:
        found.append(("author", policy.publishers[0]))
    if policy.text:
        found.append(("search", policy.text))
    return found if policy.gated else [*found, ("gated", "false")]


def _passing(got: str) -> bool:
    """Whether the reason of a GgufError is an answer that another try may turn into a better one."""
    status = re.fullmatch(r"HTTP (\d{3})", got)
    return bool(status) and int(status[1]) in PASSING


def _sha256(lfs: Any) -> str | None:
    return lfs.sha256 if lfs else None
