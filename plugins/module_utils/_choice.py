# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a user chooses: the variables of choose_models.yml, the new models_wanted, and the file that holds it. Pure Python."""
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Mapping, Sequence

from ._errors import FleetError
from ._given import number, truth, words
from ._lock_text import Unsafe, block, parse
from ._search import Policy
from ._wanted import parse_wanted

PREFIX = "choose_"
STANDARD_ALIASES = ("gpt-3.5-turbo", "gpt-4")
"""Names that most clients ask for. Nobody's: the first chat model that is chosen answers to them."""
MODEL_OPTIONS = ("context", "slots", "kv_type", "replicas")
NUMBERS = ("context", "slots", "replicas")
SEARCH = tuple(f"{PREFIX}{item.name}" for item in fields(Policy))
ASKED = (f"{PREFIX}models", f"{PREFIX}aliases", f"{PREFIX}presets", f"{PREFIX}search", f"{PREFIX}only", f"{PREFIX}overwrite",
         *(f"{PREFIX}{name}" for name in MODEL_OPTIONS), *SEARCH)
"""Variables of the playbook choose_models."""
_LISTS = ("licenses", "licenses_denied", "publishers")
_WHOLE = ("min_age_days", "max_age_days", "consider", "count")
_MARK = re.compile(r"^# sha256 of what follows: ([0-9a-f]{64})\n", re.MULTILINE)
_HEAD = """---
# Written by the playbook localai.fleet.choose_models{previous}.
# Change it as you like: the playbook will not overwrite what was changed by hand unless it is told to.
"""


@dataclass(frozen=True)
class Choice:
    """What a run of choose_models.yml was told. `models` is None when nobody chose yet; `search` is None without a live search.

    `presets` are names, or `all`; `options` are those of each chosen model; `aliases` are pairs of alias and model. `only` drops what
    was wanted before, `overwrite` allows to replace a file that was changed by hand.
    """

    models: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    presets: tuple[str, ...] = ("all",)
    search: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    only: bool = False
    overwrite: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {**vars(self), "aliases": dict(self.aliases), "presets": list(self.presets), "search": dict(self.search) if self.search is not None else None}


def parse_choice(variables: Mapping[str, Any]) -> Choice:
    """The choice among variables whose names begin with `choose_`. Empty texts, as surveys send them, are nothing.

    Lists may be texts with commas. FleetError for an unknown name, with the nearest known one, and for a value that cannot be meant.
    """
    given = {name: value for name, value in variables.items() if value not in (None, "", [])}
    for name in sorted(set(variables) - set(ASKED)):
        near = get_close_matches(name, ASKED, n=1, cutoff=0)[0]
        raise FleetError("The variable is none of the playbook choose_models", name, do=f"Did you mean {near}? Known are {', '.join(ASKED)}.")
    presets = words(given.get("choose_presets", "all"))
    options = {name: number(f"{PREFIX}{name}", given[PREFIX + name]) if name in NUMBERS else str(given[PREFIX + name])
               for name in MODEL_OPTIONS if PREFIX + name in given}
    return Choice(
        models=", ".join(words(given["choose_models"])) if "choose_models" in given else None, aliases=_aliases(given.get("choose_aliases", "")),
        presets=() if presets == ["none"] else tuple(presets), search=_search(given), options=options,
        only=truth("choose_only", given.get("choose_only", False)), overwrite=truth("choose_overwrite", given.get("choose_overwrite", False)))


def choose_models(
    candidates: Sequence[Mapping[str, Any]], said: str, aliases: Mapping[str, str], wanted: Sequence[Mapping[str, Any]] = (), only: bool = False,
    options: Mapping[str, Any] | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The new `models_wanted`, and sentences on what changes.

    `said` names candidates, by number (from 1) or name, with commas. What is wanted already stays, unless `only`; a chosen model of the
    same name takes its place and keeps its aliases. `aliases` go to the models that they name, away from others; the standard ones that
    nobody has go to the first chosen chat model. FleetError for what is not among the candidates.
    """
    picked = [{**_candidate(candidates, word)["wanted"], **(options or {})} for word in words(said)]
    if not picked:
        raise FleetError("Nothing was chosen", "choose_models", do="Name models by number or name, as in 1,3.")
    before = {str(item["name"]): dict(item) for item in ([] if only else wanted)}
    for item in picked:
        kept = before.get(item["name"], {}).get("aliases")
        before[item["name"]] = {**item, **({"aliases": list(kept)} if kept else {})}
    chat = [item["name"] for item in picked if _answers(candidates, item)]
    new = list(_with_aliases(before, aliases, chat, candidates).values())
    parse_wanted(new)
    return new, _told(wanted, new)


def file_text(wanted: Sequence[Mapping[str, Any]], previous: str = "") -> str:
    """The file's text: the models, and a digest by which a change by hand is seen. The same models give the same bytes.

    `previous` names the file that keeps what it held, for a file of group variables: Ansible reads those, so LocalAI's templates are marked in it.
    """
    items = [_marked(item) if previous else dict(item) for item in wanted]
    body = block({"models_wanted": items}, in_order=True)
    beside = f", the previous content is beside it as {previous}" if previous else ""
    return f"{_HEAD.format(previous=beside)}# sha256 of what follows: {_digest(body)}\n{body}"


def by_hand(text: str) -> str:
    """How a file's text came about, when not by this playbook alone: empty, `written` or `changed`."""
    found = _MARK.search(text)
    if not text.strip():
        return ""
    if not found:
        return "written"
    return "" if _digest(text[found.end():]) == found[1] else "changed"


def models_of(text: str, where: str) -> list[dict[str, Any]]:
    """The models that a file's text holds. FleetError when it is no such file."""
    data = parse(text, where, "The file of the wanted models", "Correct it.") or {}
    found = data.get("models_wanted", []) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise FleetError("The file of the wanted models holds something else", where, type(data).__name__, "It must be a mapping with models_wanted.")
    others = sorted(str(key) for key in data if key != "models_wanted")
    if others:
        raise FleetError("The file of the wanted models holds other variables too", where, ", ".join(others),
                         "Move them to another file beside it, or name another file as common_models_path.")
    return found


def shadowed(path: str, exists: Sequence[str]) -> str:
    """The file beside a folder of group variables that Ansible would no longer read, were the folder made; empty when there is none.

    `path` is the file to write, `exists` are names in the folder above its folder.
    """
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return next((f"{folder}{ending}" for ending in (".yml", ".yaml", ".json") if f"{folder}{ending}" in exists), "")


# --- what was chosen


def _candidate(candidates: Sequence[Mapping[str, Any]], word: str) -> Mapping[str, Any]:
    names = [str(item["name"]) for item in candidates]
    if word.isdigit() and 1 <= int(word) <= len(candidates):
        return candidates[int(word) - 1]
    for item in candidates:
        if word.lower() in (item["name"].lower(), item["repository"].lower()):
            return item
    near = get_close_matches(word.lower(), names, n=3, cutoff=0.5)
    hint = f"Near are {', '.join(near)}." if near else f"There are {', '.join(names[:20])}." if names else "Nothing was found to choose from."
    raise FleetError("The model is not among those to choose from", "choose_models", word, hint)


def _answers(candidates: Sequence[Mapping[str, Any]], item: Mapping[str, Any]) -> bool:
    """Whether a chosen model answers chats."""
    found = next((one for one in candidates if one["wanted"]["name"] == item["name"]), None)
    return found is not None and not {"embedding", "rerank"} & set(found["categories"]) and item.get("kind") in (None, "chat")


def _with_aliases(
    models: dict[str, dict[str, Any]], aliases: Mapping[str, str], chat: Sequence[str], candidates: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    asked = dict(aliases)
    taken = {name.lower() for item in models.values() for name in (item["name"], *item.get("aliases", ()))}
    for alias in STANDARD_ALIASES:
        if chat and alias not in taken:
            asked.setdefault(alias, chat[0])
    for alias, word in asked.items():
        name = _name_of(word, models, candidates)
        for item in models.values():
            has = item.get("aliases", [])
            item["aliases"] = [other for other in has if other.lower() != alias.lower() or (item is models[name] and other == alias)]
        if alias not in models[name]["aliases"]:
            models[name]["aliases"].append(alias)
    return {name: {key: value for key, value in item.items() if key != "aliases" or value} for name, item in models.items()}


def _name_of(word: str, models: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
    if word in models:
        return word
    name = str(candidates[int(word) - 1]["name"]) if word.isdigit() and 1 <= int(word) <= len(candidates) else word
    if name not in models:
        raise FleetError("An alias is to lead to a model that is not wanted", "choose_aliases", word, f"Wanted are {', '.join(models)}.")
    return name


def _told(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[str]:
    before, after = ({str(item["name"]): dict(item) for item in items} for items in (old, new))
    lines = [f"{name}: no longer wanted" for name in before if name not in after]
    for name, item in after.items():
        answers = f", answers to {', '.join(item['aliases'])} too" if item.get("aliases") else ""
        if name not in before:
            lines.append(f"{name}: added, {item['source']} {item.get('quant', '')}".rstrip() + answers)
        elif before[name] != item:
            keys = sorted(key for key in {*before[name], *item} if before[name].get(key) != item.get(key))
            lines.append(f"{name}: {', '.join(f'{key} {_shown(before[name].get(key))} → {_shown(item.get(key))}' for key in keys)}")
    return lines


def _shown(value: Any) -> str:
    return "none" if value in (None, []) else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# --- the words of the variables


def _search(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """A policy as a mapping; None unless something of a search was said. Checked as a search is anywhere."""
    said = {name[len(PREFIX):]: given[name] for name in SEARCH if name in given}
    live = truth("choose_search", given.get("choose_search", bool(said)))
    if not live:
        return None
    for name in _LISTS:
        said[name] = words(said.get(name, []))
    said.update({name: number(PREFIX + name, said[name]) for name in _WHOLE if name in said})
    if "gated" in said:
        said["gated"] = truth("choose_gated", said["gated"])
    try:
        Policy.from_dict(said, "choose_*")
    except FleetError as error:
        raise FleetError(error.what, error.where.replace("choose_*.", PREFIX), error.got, error.do) from None
    return said


def _aliases(value: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of a mapping, or of a text such as `gpt-4=qwen3-8b, gpt-3.5-turbo=1`."""
    if isinstance(value, Mapping):
        return tuple((str(alias), str(name)) for alias, name in value.items())
    pairs = [part.partition("=") for part in words(value)]
    wrong = next((alias for alias, sign, name in pairs if not (alias.strip() and sign and name.strip())), None)
    if wrong is not None:
        raise FleetError("An alias has no model", "choose_aliases", wrong, "Write ALIAS=MODEL, as in gpt-4=qwen3-8b.")
    return tuple((alias.strip(), name.strip()) for alias, _sign, name in pairs)


def _marked(value: Any) -> Any:
    """The same with a mark on texts that look like templates of Ansible and are such of LocalAI."""
    if isinstance(value, Mapping):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    return Unsafe(value) if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")) else value


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
