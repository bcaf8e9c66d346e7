# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters by which a refresh hands what the engines decide from one step to the next."""
from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.localai.fleet.plugins.filter.roles import model_yaml
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import Engine, told

_gate = Engine("_gate")
_lock = Engine("_lock")
_lock_diff = Engine("_lock_diff")
_reclaim = Engine("_reclaim")
_refresh = Engine("_refresh")
_BASE = re.compile(r"# Proposed in place of the lock ([0-9a-f]{64})\.\n")


def _plain(value: Any) -> Any:
    """The same data without the marks that Ansible puts on it."""
    return json.loads(json.dumps(value))


def proposal_text(lock_text: str, current_text: str, kept: str = "") -> str:
    """What is kept as a proposal: the lock that is proposed, and in its first line which lock it was made from.

    An entry that differs from the kept proposal's in nothing but when it was resolved is that one.
    """
    new, earlier = (_lock.load(text, "the proposal") for text in (lock_text, proposed_lock(kept)))
    settled = _lock.settled(new, earlier)
    return f"# Proposed in place of the lock {_refresh.text_digest(current_text)}.\n{lock_text if settled == new else _lock.dump(settled)}"


def proposed_lock(text: str) -> str:
    """The text of the lock in what is kept as a proposal; empty when nothing is proposed."""
    found = _BASE.match(text or "")
    return text[found.end():] if found else ""


def refresh_names(proposal: Mapping[str, Any], current: Mapping[str, Any], current_text: str, kept: str, where: str) -> list[str]:
    """Names of the models whose files a proposal changes. `kept`: what is kept of it, when it was made by an earlier run."""
    found = _BASE.match(kept or "")
    base = found.group(1) if found else _refresh.text_digest(current_text)
    _refresh.check_proposal(base, current_text, _plain(current), _plain(proposal), where)
    return _refresh.changed_models(_plain(current), _plain(proposal))


def refresh_changes(proposal: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What a proposal changes, in lines for people, wherever it came from."""
    return _lock_diff.diff(_lock.validate(_plain(current)), _lock.validate(_plain(proposal)))


def refresh_checked(states: Mapping[str, Any], lock: Mapping[str, Any]) -> bool:
    """True when every host runs what the lock has."""
    _refresh.check_deployed(_plain(states), _plain(lock))
    return True


def rollback_lock(current: Mapping[str, Any], previous: Mapping[str, Any]) -> str:
    """The text of the lock to go back to."""
    return _lock.dump(_lock.validate(_refresh.going_back(_plain(current), _plain(previous))))


def refresh_both(wanted: Sequence[Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of the plan for the old and the new models together."""
    return _refresh.both(_plain(wanted), *_plain(others))


def refresh_parts(names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any], together: Mapping[str, Any], canary: str = "",
                  interruption: bool = False) -> dict[str, Any]:
    """What each host does (`hosts`), and the same for people (`lines`)."""
    found = _refresh.parts(list(names), *_plain([before, after, together]), canary, interruption) if names else {}
    return {"hosts": found, "lines": _refresh.lines(list(names), found)}


def refresh_candidates(instances: Sequence[Any], wanted: Sequence[Any], lock: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The new revisions of a host, one a model and instance: `instance`, `model`, `kind`, `revision`, `content`, `links`, `planned` (bytes), `load`."""
    found = []
    for instance, settings in zip(_plain(instances), model_yaml(instances, wanted, lock)):
        files = {item["name"]: item["content"] for item in settings["files"]}
        for model in (model for model in instance["models"] if model["name"] in names):
            revision = settings["names"][model["name"]]
            found.append({
                "instance": instance["name"], "model": model["name"], "kind": model["kind"], "revision": revision, "content": files[f"{revision}.yaml"],
                "links": [link for link in settings["links"] if link["path"] in files[f"{revision}.yaml"]],
                "planned": model["memory"]["anonymous"]})
    return found


def refresh_target(proposal: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """Digests of the models that change, for the journal of a host."""
    return _refresh.target(_plain(proposal), list(names))


def refresh_repair(journal: str, lock: Mapping[str, Any]) -> str:
    """What an unfinished refresh needs: `back`, `finish` or `nothing`."""
    return _refresh.repair(json.loads(journal or "null"), _plain(lock))


def gate_prompts(model: str, kind: str, given: Sequence[Any], defaults: bool = True, most: int = 0) -> list[dict[str, Any]]:
    """The prompts for a served model, all or the first `most`."""
    return [prompt.as_dict() for prompt in _gate.prompts_for(str(model), str(kind), _plain(given), defaults)][:int(most) or None]


def gate_verdict(new: Mapping[str, Any], model: str, prompts: Sequence[Any], old: Mapping[str, Any] | None = None, floors: Mapping[str, Any] | None = None,
                 measured: int | None = None, planned: int | None = None) -> dict[str, Any]:
    """Whether the new model may take the old one's place, by what both answered."""
    asked = [_gate.parse(prompt, f"prompts[{index}]") for index, prompt in enumerate(_plain(prompts))]
    memory = (int(measured), int(planned)) if measured and planned else None
    limits = _gate.ANSWERS_ONLY if floors is None else _gate.Floors(**_plain(floors))
    return _gate.judge(str(model), asked, None if old is None else _plain(old), _plain(new), limits, memory).as_dict()


def reclaimed(found: Sequence[Any], locks: Mapping[str, Any], plans: Sequence[Any], settings: Sequence[str], now: float, count: int,
              days: float) -> dict[str, Any]:
    """Which blobs of a host may go, and why the others stay."""
    why = _reclaim.references(_plain(locks), _plain(plans), list(settings))
    return _reclaim.reclaim(_plain(found), why, float(now), _reclaim.Retention(int(count), float(days))).as_dict()


class FilterModule:
    """Names by which the role refresh calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        found = (
            proposal_text, proposed_lock, refresh_names, refresh_changes, refresh_checked, rollback_lock, refresh_both, refresh_parts,
            refresh_candidates, refresh_target, refresh_repair, gate_prompts, gate_verdict, reclaimed,
        )
        return {function.__name__: told(function) for function in found}
