# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Searches a Hub by a policy: one list page, one call for each repository that is read, every refusal with its reason. Controller only."""
from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any, Callable, Iterable, Mapping, Protocol, Sequence

from ._capacity import Capacity
from ._errors import FleetError
from ._fits import Site, fit, refuse_unfit
from ._gguf import Header
from ._hub import HubUnavailable, RepoFile, choose
from ._listing import CATEGORIES, OTHER_TASKS, RUNNABLE, Listing, other_family, served_name
from ._names import FILE_TYPES, IMATRIX, MODEL, PROJECTOR, parse_name
from ._plan import gib
from ._projector import choose_projector
from ._publishers import looks_like, rank
from ._quants import QUANTS

SORTS = {"trending": "trendingScore", "downloads": "downloads", "likes": "likes", "newest": "createdAt"}
"""How a policy sorts → how the Hub calls it."""
MOST_CONSIDERED = 500
MOST_COUNT = 50
BITS_PER_WEIGHT = (0.5, 40.0)
"""What a file of so many parameters can have; a header that claims other is absurd."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", re.IGNORECASE)
_THOUSANDS = {"": 1, "K": 10 ** 3, "M": 10 ** 6, "B": 10 ** 9, "G": 10 ** 9, "T": 10 ** 12}
_POWERS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Policy:
    """What is searched for. Sizes in bytes, ages in days, None is no bound; empty lists allow everything.

    `consider` is how many repositories of the Hub's list are looked at, `count` how many candidates are wanted.
    """

    sort: str = "trending"
    text: str = ""
    quant: str = "Q4_K_M"
    min_parameters: int | None = None
    max_parameters: int | None = None
    min_size: int | None = None
    max_size: int | None = None
    category: str | None = None
    language: str | None = None
    licenses: tuple[str, ...] = ()
    licenses_denied: tuple[str, ...] = ()
    license_unknown: str = "allow"
    publishers: tuple[str, ...] = ()
    gated: bool = False
    min_age_days: int | None = None
    max_age_days: int | None = None
    consider: int = 200
    count: int = 5

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "search") -> Policy:
        """A policy of a user's mapping; a missing or null key takes its default. FleetError names the key, what it holds and what it takes."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(str(key) for key in set(data) - known)
        if unknown:
            raise FleetError("A search has an unknown key", where, ", ".join(unknown), f"Known are {', '.join(item.name for item in fields(cls))}.")
        given = {key: value for key, value in data.items() if value is not None}
        policy = cls(**{key: _CONVERT.get(key, _as_is)(value, f"{where}.{key}") for key, value in given.items()})
        _check(policy, where)
        return policy

    @staticmethod
    def spec() -> dict[str, dict[str, Any]]:
        """The argument suboptions of a search, shared by every module that takes one."""
        words = {"type": "list", "elements": "str", "default": []}
        return {
            "sort": {"type": "str", "choices": list(SORTS), "default": "trending"}, "text": {"type": "str", "default": ""},
            "quant": {"type": "str", "default": "Q4_K_M"}, "min_parameters": {"type": "str"}, "max_parameters": {"type": "str"},
            "min_size": {"type": "str"}, "max_size": {"type": "str"}, "category": {"type": "str", "choices": list(CATEGORIES)},
            "language": {"type": "str"}, "licenses": words, "licenses_denied": words,
            "license_unknown": {"type": "str", "choices": ["allow", "refuse"], "default": "allow"}, "publishers": words,
            "gated": {"type": "bool", "default": False}, "min_age_days": {"type": "int"}, "max_age_days": {"type": "int"},
            "consider": {"type": "int", "default": 200}, "count": {"type": "int", "default": 5},
        }


@dataclass(frozen=True)
class Candidate:
    """A model that the policy takes. `files` are in order, `projector` is the file that lets it see images; `header` was read from the files.

    `plan` says by host what it would run with (see `_fits`), None when no capacities were given. `notes` are sentences for people.
    """

    name: str
    repository: str
    commit: str
    files: tuple[RepoFile, ...]
    header: Header
    quant: str
    base_model: str
    license: str | None
    gated: str
    categories: tuple[str, ...]
    languages: tuple[str, ...]
    parameters: int | None
    downloads: int
    likes: int
    created: str | None
    projector: RepoFile | None = None
    notes: tuple[str, ...] = ()
    plan: Mapping[str, Any] | None = None
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """As `models_wanted` takes it: the commit is pinned by the lock, not here."""
        return f"hf://{self.repository}"

    @property
    def wanted(self) -> dict[str, Any]:
        """An item of `models_wanted` for it."""
        return {"name": self.name, "source": self.source, "quant": self.quant.upper(), **self.options}

    @property
    def size(self) -> int:
        """Bytes of all files of the model."""
        return sum(file.size for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for people and modules; the header without its tensors."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("header", "options")}
        plain.update(
            source=self.source, size=self.size, wanted=self.wanted, architecture=self.header.architecture, context_length=self.header.context_length,
            files=[asdict(file) for file in self.files], projector=asdict(self.projector) if self.projector else None,
            categories=list(self.categories), languages=list(self.languages), notes=list(self.notes))
        return plain


@dataclass(frozen=True)
class Refused:
    """A repository, one file of it, or a preset, that is no candidate, and why."""

    repository: str
    reason: str
    file: str | None = None
    preset: str | None = None


@dataclass(frozen=True)
class Result:
    """Candidates, the best first; everything else with its reason; and `calls` to the Hub: `list`, `repository` and `header` (ranges of files)."""

    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    calls: Mapping[str, int]


class Searched(Protocol):
    """What a search needs of a Hub; `_hub_client.Hub` has it."""

    calls: dict[str, int]

    def listings(self, policy: Policy) -> Sequence[Listing]:
        """One page of the Hub's list."""

    def repository(self, name: str, revision: str | None = None) -> Any:
        """A repository's files at a commit."""

    def header(self, repository: Any, files: Sequence[RepoFile]) -> Header:
        """The header of a model's files."""


def search(hub: Searched, policy: Policy, capacities: Mapping[str, Capacity] | None = None, site: Site | None = None, now: datetime | None = None) -> Result:
    """What the Hub has for a policy, the best first.

    The list judges most repositories; those that remain are read in turn until `policy.count` candidates are found: a call for the files, and
    ranges of the chosen one for its header. With `capacities` (by host), or a whole `site`, each candidate carries its plan, and what fits on no
    host is refused. FleetError when the Hub cannot be asked.
    """
    site = site or (Site(capacities) if capacities else None)
    policy = _within(policy, site)
    before = dict(hub.calls)
    listings = list(hub.listings(policy))
    refused = {item.repository: why for item in listings for why in [refusal(item, policy, now or datetime.now(timezone.utc))] if why}
    left = [item for item in listings if item.repository not in refused]
    found: list[Candidate] = []
    files: list[Refused] = []
    for group in groups(left, policy):
        winner = _best_of(hub, policy, group, refused, files, site) if len(found) < policy.count else None
        if winner:
            found.append(winner)
        for item in group:
            if item.repository not in refused and (winner is None or item.repository != winner.repository):
                refused[item.repository] = _passed_over(item, winner, policy)
    calls = {name: count - before.get(name, 0) for name, count in hub.calls.items()}
    return Result(tuple(found), (*(Refused(name, why) for name, why in refused.items()), *files), calls)


def _within(policy: Policy, site: Site | None) -> Policy:
    """With hosts in view, a file larger than the memory of the largest is never worth a look: it would be read from disk for each token."""
    largest = site.largest if site else 0
    return replace(policy, max_size=min(policy.max_size or largest, largest)) if largest else policy


def refusal(item: Listing, policy: Policy, now: datetime) -> str:
    """Why a repository is no candidate by what the list tells of it; empty when nothing speaks against it."""
    return next(filter(None, (judge(item, policy, now) for judge in _JUDGES)), "")


def groups(listings: Sequence[Listing], policy: Policy) -> list[list[Listing]]:
    """Re-uploads of one model together, the best publisher first, of one publisher the plain quant first; groups in the list's own order."""
    found: dict[str, list[Listing]] = {}
    for item in listings:
        found.setdefault(item.group, []).append(item)

    def place(item: Listing) -> tuple[Any, ...]:
        return (*_publisher(item, policy), policy.quant not in item.labels, -item.likes, -item.downloads)

    return [sorted(group, key=place) for group in found.values()]


def parse_size(value: Any, where: str) -> int:
    """Bytes of a number or a text such as `4 GiB`, `4G` (both powers of 1024) or `4 GB` (of 1000)."""
    found = _SIZE.fullmatch(str(value).strip())
    if not found or isinstance(value, bool):
        raise FleetError("The size is not one", where, str(value), "Examples are 4 GiB, 800 MB and 4294967296.")
    decimal = str(value).strip().upper().endswith("B") and not found[3] and found[2]
    return int(float(found[1]) * (_THOUSANDS if decimal else _POWERS)[found[2].upper()])


def parse_count(value: Any, where: str) -> int:
    """A number of parameters of a number or a text such as `1.5B` or `350M`."""
    found = _COUNT.fullmatch(str(value).strip())
    if not found or isinstance(value, bool):
        raise FleetError("The number of parameters is not one", where, str(value), "Examples are 1.5B, 350M and 3000000000.")
    return int(float(found[1]) * _THOUSANDS[found[2].upper()])


# --- what the list tells ---


def _closed(item: Listing, policy: Policy, _now: datetime) -> str:
    if item.disabled:
        return "It is disabled by the Hub."
    if item.private and item.owner.lower() not in (name.lower() for name in policy.publishers):
        return "It is private; name its owner in publishers to take it all the same."
    return f"Access has to be asked for ({item.gated}), and gated is off." if item.gated and not policy.gated else ""


def _wrong_publisher(item: Listing, policy: Policy, _now: datetime) -> str:
    allowed = {name.lower() for name in policy.publishers}
    if item.owner.lower() in allowed:
        return ""
    original = looks_like(item.owner)
    if original:
        return f"Its owner {item.owner} looks like {original} and is another one; name it in publishers to take it all the same."
    return f"Its owner {item.owner} is none of the allowed publishers." if allowed else ""


def _wrong_license(item: Listing, policy: Policy, _now: datetime) -> str:
    return license_refusal(item.license, policy)


def license_refusal(license_id: str | None, policy: Policy) -> str:
    """Why a license is not taken; empty when it is."""
    said = (license_id or "").lower()
    if not said or said in ("other", "unknown"):
        return "It states no known license, and license_unknown is refuse." if policy.license_unknown == "refuse" else ""
    if said in (name.lower() for name in policy.licenses_denied):
        return f"Its license {said} is denied."
    return f"Its license {said} is none of the allowed ones." if policy.licenses and said not in (name.lower() for name in policy.licenses) else ""


def _wrong_age(item: Listing, policy: Policy, now: datetime) -> str:
    if policy.min_age_days is None and policy.max_age_days is None:
        return ""
    if item.created is None:
        return "It does not say when it was made."
    age = (now - item.created).days
    if policy.max_age_days is not None and age > policy.max_age_days:
        return f"It is {age} days old, and at most {policy.max_age_days} are asked for."
    return f"It is {age} days old, and at least {policy.min_age_days} are asked for." if policy.min_age_days is not None and age < policy.min_age_days else ""


def _wrong_kind(item: Listing, policy: Policy, _now: datetime) -> str:
    if item.pipeline in OTHER_TASKS:
        return f"It is made for {item.pipeline}, not for text."
    if item.architecture and item.architecture not in RUNNABLE:
        return f"The engine cannot run its architecture {item.architecture}."
    if item.is_draft:
        return "It is a draft that guesses for another model, none to answer by itself."
    family = other_family(item.base, item.architecture or "") if item.architecture else None
    if family:
        return f"Its name claims {family}, its file is of the architecture {item.architecture}."
    if policy.category and policy.category not in item.categories:
        return f"It is for {', '.join(item.categories) or 'no known purpose'}, not for {policy.category}."
    if policy.language and policy.language not in item.languages:
        return f"It states {', '.join(item.languages) or 'no language'}, not {policy.language}."
    return ""


def _wrong_files(item: Listing, policy: Policy, _now: datetime) -> str:
    if not item.paths:  # a mirror's list may leave them out
        return ""
    ggufs = [path for path in item.paths if path.lower().endswith(".gguf")]
    if not ggufs:
        return "It holds no GGUF file."
    kinds = {parse_name(path).kind for path in ggufs}
    if MODEL not in kinds:
        return f"It holds only {' and '.join(_KINDS[kind] for kind in sorted(kinds))}, no model."
    if policy.quant in item.labels or policy.quant in {label.partition("-")[2] for label in item.labels}:
        return ""
    unlabelled = [path for path in ggufs if parse_name(path).kind == MODEL and not parse_name(path).label]
    some = ", ".join(sorted(item.labels)[:12]) or (f"no quant in its names ({unlabelled[0]})" if unlabelled else "none")
    return f"It has no {policy.quant}: it has {some}."


def _wrong_size(item: Listing, policy: Policy, _now: datetime) -> str:
    claimed, parsed = item.parameters, item.parsed_bytes
    if claimed is not None and (claimed <= 0 or (parsed and not BITS_PER_WEIGHT[0] <= 8 * parsed / claimed <= BITS_PER_WEIGHT[1])):
        return f"Its header claims {parameters(claimed)} parameters in {gib(parsed or 0)}, which is absurd."
    number = item.stated_parameters
    if policy.min_parameters is None and policy.max_parameters is None and policy.max_size is None or number is None:
        return ""
    if policy.min_parameters is not None and number < policy.min_parameters:
        return f"It has {parameters(number)} parameters, and at least {parameters(policy.min_parameters)} are asked for."
    if policy.max_parameters is not None and number > policy.max_parameters:
        return f"It has {parameters(number)} parameters, and at most {parameters(policy.max_parameters)} are asked for."
    bits = {label: size for label, size, _type in QUANTS}.get(policy.quant)
    if policy.max_size is not None and bits and claimed and claimed * bits / 8 > 2 * policy.max_size:
        return f"A {policy.quant} of {parameters(claimed)} parameters is far larger than {gib(policy.max_size)}."
    return ""


_JUDGES = (_closed, _wrong_publisher, _wrong_license, _wrong_age, _wrong_kind, _wrong_files, _wrong_size)
_KINDS = {PROJECTOR: "projectors", "draft": "drafts", IMATRIX: "importance matrices"}
_ONE = {PROJECTOR: "a projector", "draft": "a draft", IMATRIX: "an importance matrix"}


# --- what the files tell ---


def _best_of(
    hub: Searched, policy: Policy, group: Sequence[Listing], refused: dict[str, str], files: list[Refused], site: Site | None,
) -> Candidate | None:
    """The first of a group that stands when its files are read; the reasons of the others are added to `refused`."""
    for item in group:
        try:
            return _read(hub, policy, item, files, site)
        except _Refusal as error:
            refused[item.repository] = str(error)
    return None


class _Refusal(Exception):
    """A repository that is read and refused, in a sentence."""


def _read(hub: Searched, policy: Policy, item: Listing, files: list[Refused], site: Site | None) -> Candidate:
    try:
        repository = hub.repository(item.repository, item.commit or None)
        chosen = choose(repository.files, policy.quant, where=item.repository)
        _check_size(sum(file.size for file in chosen), policy)
        header = hub.header(repository, chosen)
        candidate = _candidate(item, policy, repository, chosen, header)
        fitting = candidate if site is None else planned(hub, repository, candidate, site)
    except HubUnavailable:
        raise
    except FleetError as error:
        raise _Refusal(str(error)) from error
    files += [Refused(item.repository, f"It is {_ONE[kind]}, no model.", path) for path, kind in _others(repository.files)]
    return fitting


def planned(hub: Searched, repository: Any, candidate: Candidate, site: Site) -> Candidate:
    """The candidate with its plan; a projector's header is read where one is wanted. FleetError for one that no host holds."""
    wants = {**candidate.options, **site.options}.get("vision")
    beside = hub.header(repository, [candidate.projector]) if wants and candidate.projector else None
    plan = fit(site, candidate.wanted, candidate.header, candidate.files, candidate.projector, beside)
    refuse_unfit(plan)
    return replace(candidate, plan=plan)


def _check_size(size: int, policy: Policy) -> None:
    for bound, wrong, word in ((policy.max_size, policy.max_size is not None and size > policy.max_size, "at most"),
                               (policy.min_size, policy.min_size is not None and size < policy.min_size, "at least")):
        if wrong:
            raise _Refusal(f"Its {policy.quant} has {gib(size)}, and {word} {gib(bound or 0)} are asked for.")


def _candidate(item: Listing, policy: Policy, repository: Any, chosen: tuple[RepoFile, ...], header: Header) -> Candidate:
    """FleetError-free checks of a header against what the list and the name say; a candidate when they agree."""
    size = sum(file.size for file in chosen)
    if header.architecture not in RUNNABLE or header.general_type not in (None, "model"):
        kind = header.general_type or "model"
        raise _Refusal(f"Its file is of the kind {kind} and the architecture {header.architecture}: the engine cannot answer with it.")
    family = other_family(item.base, header.architecture)
    if family:
        raise _Refusal(f"Its name claims {family}, its file is of the architecture {header.architecture}.")
    if item.parameters and not BITS_PER_WEIGHT[0] <= 8 * size / item.parameters <= BITS_PER_WEIGHT[1]:
        raise _Refusal(f"Its header claims {parameters(item.parameters)} parameters in {gib(size)}, which is absurd.")
    license_id = repository.license or header.license
    reason = license_refusal(license_id, policy)
    if reason:
        raise _Refusal(reason)
    projector = projector_of(repository.files, chosen[0].path)
    return Candidate(
        name=served_name(item.base), repository=item.repository, commit=repository.commit, files=chosen, header=header,
        quant=parse_name(chosen[0].path).label or policy.quant, base_model=item.base, license=license_id, gated=repository.gated,
        categories=item.categories, languages=item.languages, parameters=item.stated_parameters, downloads=item.downloads, likes=item.likes,
        created=item.created.date().isoformat() if item.created else None, projector=projector,
        notes=tuple(_notes(chosen, header, repository)), options={"vision": True} if policy.category == "vision" and projector else {})


def projector_of(files: Sequence[RepoFile], model: str) -> RepoFile | None:
    """The projector that the lock would take for a model's file; None when there is none, or none that can be told from others."""
    try:
        return choose_projector(files, model)
    except FleetError:
        return None


def _notes(chosen: Sequence[RepoFile], header: Header, repository: Any) -> Iterable[str]:
    said = parse_name(chosen[0].path).quant
    real = FILE_TYPES.get((header.file_type if header.file_type is not None else -1) & 1023)
    if said in FILE_TYPES.values() and real and said != real:
        yield f"The name says {said}, the file's header says {real}."
    if len(chosen) > 1:
        yield f"It is split into {len(chosen)} files."
    if repository.license and header.license and repository.license.lower() != header.license.lower():
        yield f"The repository states the license {repository.license}, the file {header.license}."


def _others(files: Iterable[RepoFile]) -> Iterable[tuple[str, str]]:
    """Files beside the models that carry a model's ending, with what they are."""
    for file in files:
        kind = parse_name(file.path).kind
        if kind != MODEL and file.path.lower().endswith((".gguf", ".dat", ".imatrix")):
            yield file.path, kind


def _passed_over(item: Listing, winner: Candidate | None, policy: Policy) -> str:
    if winner:
        return f"It is a re-upload of {item.base}, of which {winner.repository} is taken."
    return f"It was not read: {policy.count} that rank above it were enough."


def _publisher(item: Listing, policy: Policy) -> tuple[int, int]:
    names = [name.lower() for name in policy.publishers]
    own = item.owner.lower()
    first = names.index(own) if own in names else len(names)
    return first, -1 if item.base.partition("/")[0].lower() == own and "/" in item.base else rank(own)


# --- a policy ---


def _as_is(value: Any, _where: str) -> Any:
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise FleetError("A list of names is wanted", where, repr(value), "Give a list of texts.")
    return tuple(item.strip() for item in value if item.strip())


def _upper(value: Any, _where: str) -> str:
    return str(value).upper()


def _lower(value: Any, _where: str) -> str | None:
    return str(value).strip().lower() or None


def _choice(value: Any, _where: str) -> Any:
    return value or None


_CONVERT: Mapping[str, Callable[[Any, str], Any]] = {
    "quant": _upper, "language": _lower, "licenses": _names, "licenses_denied": _names, "publishers": _names, "category": _choice,
    "min_parameters": parse_count, "max_parameters": parse_count, "min_size": parse_size, "max_size": parse_size,
}


def _check(policy: Policy, where: str) -> None:
    for key, value, known in (("sort", policy.sort, tuple(SORTS)), ("category", policy.category, (None, *CATEGORIES)),
                              ("license_unknown", policy.license_unknown, ("allow", "refuse"))):
        if value not in known:
            raise FleetError(f"{key} is unknown", f"{where}.{key}", str(value), f"Known are {', '.join(word for word in known if word)}.")
    for key, least, most in (("consider", 1, MOST_CONSIDERED), ("count", 1, MOST_COUNT), ("min_age_days", 0, 36500), ("max_age_days", 0, 36500)):
        value = getattr(policy, key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
            raise FleetError(f"{key} is out of range", f"{where}.{key}", str(value), f"Give a number from {least} to {most}.")
    for low, high in (("min_parameters", "max_parameters"), ("min_size", "max_size"), ("min_age_days", "max_age_days")):
        least, most = getattr(policy, low), getattr(policy, high)
        if least is not None and most is not None and least > most:
            raise FleetError(f"{low} is above {high}, so nothing can be found", where, f"{least} and {most}", "Correct one of them.")
    if not isinstance(policy.gated, bool) or not isinstance(policy.text, str):
        raise FleetError("A key of the search has the wrong form", where, f"gated {policy.gated!r}, text {policy.text!r}", "Give true or false, and a text.")
    if not re.fullmatch(r"(?:(?:UD|I1)-)?[A-Z0-9]+(?:_[A-Z0-9]+)*", policy.quant):
        raise FleetError("The quant is not a quant's name", f"{where}.quant", policy.quant, "An example is Q4_K_M.")


def parameters(count: int | None) -> str:
    """A number of parameters for people; empty when it is not known."""
    if count is None:
        return ""
    for unit, size in (("B", 10 ** 9), ("M", 10 ** 6)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
