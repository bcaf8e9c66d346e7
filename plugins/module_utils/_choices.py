# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Models to choose from, for people: presets and what a search found, as a table. Controller only."""
from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Collection, Sequence

from ._errors import FleetError
from ._fits import Site
from ._hub import HubUnavailable, choose
from ._names import parse_name
from ._plan import gib
from ._presets import PRESETS, Preset, preset
from ._search import Candidate, Policy, Refused, Searched, planned, projector_of, search

COLUMNS = ("#", "model", "for", "size", "memory", "threads", "tokens/s", "fits-on", "license")
ALL = "all"
SHOWN_REFUSALS = 12


def choices(hub: Searched, policy: Policy | None, presets: Sequence[str] = (), site: Site | None = None) -> dict[str, Any]:
    """Candidates (presets first), what was refused, the calls to the Hub, and the table. Plain data.

    FleetError for an unknown preset, and when the Hub cannot be asked.
    """
    before = dict(hub.calls)
    found, refused = _of_presets(hub, presets, site)
    if policy:
        result = search(hub, policy, site=site)
        known = {item.repository for item in found}
        twice = tuple(item for item in result.candidates if item.repository in known)
        found += [item for item in result.candidates if item.repository not in known]
        refused += [*(Refused(item.repository, "It is among the presets.") for item in twice), *result.refused]
    found = _distinct(found)
    taken = [model.name for model in site.beside] if site else []
    return {
        "candidates": [item.as_dict() for item in found], "refused": [asdict(item) for item in refused],
        "calls": {name: count - before.get(name, 0) for name, count in hub.calls.items()}, "text": table(found, refused, taken)}


def table(found: Sequence[Candidate], refused: Sequence[Refused], taken: Collection[str] = ()) -> list[str]:
    """The candidates as aligned lines, numbered from 1, and what is to be known of them; then what is not shown, and why.

    `taken` are names of models that are wanted already. Ansible folds long lines at single spaces, so the last columns have none.
    """
    cells = [COLUMNS, *(_row(number, item) for number, item in enumerate(found, 1))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells] if found else ["Nothing was found."]
    lines += [f"{number}: {'; '.join(words)}" for number, item in enumerate(found, 1) for words in [_known(item, taken)] if words]
    lines += _not_shown([item for item in refused if item.preset])
    searched = [item for item in refused if not item.preset and not item.file]
    listed = [] if found else searched[:SHOWN_REFUSALS]
    lines += [f"not shown: {item.repository}: {item.reason}" for item in listed]
    more = len(searched) - len(listed)
    return lines + ([f"{more} more of what the Hub lists {'was' if more == 1 else 'were'} refused; -v shows each with its reason."] if more else [])


def _of_presets(hub: Searched, names: Sequence[str], site: Site | None) -> tuple[list[Candidate], list[Refused]]:
    wanted = list(PRESETS) if list(names) == [ALL] else [preset(name, "presets") for name in names]
    found, refused = [], []
    for item in wanted:
        try:
            found.append(_of_preset(hub, item, site))
        except HubUnavailable:
            raise
        except FleetError as error:
            refused.append(Refused(item.repository, str(error), preset=item.name))
    return found, refused


def _of_preset(hub: Searched, item: Preset, site: Site | None) -> Candidate:
    repository = hub.repository(item.repository)
    files = choose(repository.files, item.quant, where=item.repository)
    header = hub.header(repository, files)
    plain = {key: value for key, value in item.wanted().items() if key not in ("name", "source", "quant")}
    candidate = Candidate(
        name=item.name, repository=item.repository, commit=repository.commit, files=files, header=header,
        quant=parse_name(files[0].path).label or item.quant, base_model=", ".join(repository.base_models) or item.name, license=item.license,
        gated=repository.gated, categories=item.categories, languages=(), parameters=item.parameters, downloads=0, likes=0, created=None,
        projector=projector_of(repository.files, files[0].path), notes=(item.note,), preset=item.name, options=plain)
    return candidate if site is None else planned(hub, repository, candidate, site)


def _distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """The same with a name of its own for each: the second of one name gets its owner's in front."""
    taken: set[str] = set()
    renamed = []
    for item in found:
        name = item.name if item.name not in taken else f"{item.repository.partition('/')[0].lower().strip('-._')}-{item.name}"[:63]
        taken.add(name)
        renamed.append(item if name == item.name else replace(item, name=name))
    return renamed


def _row(number: int, item: Candidate) -> tuple[str, ...]:
    hosts = (item.plan or {}).get("hosts", {})
    speeds = [entry["expected_tokens_per_second"] for entry in hosts.values() if entry["expected_tokens_per_second"] is not None]
    return (
        str(number), item.name + ("" if item.preset else f" ({item.repository.partition('/')[0]})"), ", ".join(item.categories), gib(item.size),
        _range([entry["memory"]["anonymous"] for entry in hosts.values()], gib), _range([entry["threads"] for entry in hosts.values()], str),
        _range(speeds, lambda speed: f"{speed:.3g}"), _some(sorted(hosts)), item.license or "unknown")


def _known(item: Candidate, taken: Collection[str]) -> list[str]:
    """What a table has no column for."""
    return [*(["wanted now"] if item.name in taken else []), *([f"gated ({item.gated}): its conditions must be accepted"] if item.gated else []), *item.notes]


def _not_shown(refused: Sequence[Refused]) -> list[str]:
    """Presets with what speaks against them; several of the same kind on one line."""
    alike: dict[str, list[Refused]] = {}
    for item in refused:
        alike.setdefault(item.reason.partition(" (")[0], []).append(item)
    return [f"not shown: {items[0].preset}: {items[0].reason}" if len(items) == 1 else f"not shown: {', '.join(str(item.preset) for item in items)}: {what}."
            for what, items in alike.items()]


def _range(values: Sequence[Any], shown: Any) -> str:
    """One value, or the least and the most."""
    if not values:
        return "-"
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low}-{high}".replace(" ", "")


def _some(hosts: Sequence[str]) -> str:
    return ",".join(hosts[:3]) + (f",+{len(hosts) - 3}" if len(hosts) > 3 else "") or "-"
