# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a refresh does to each host: which models change, where the new one runs beside the old one first, where it cannot. Pure Python.

A host is changed in one of two ways. `beside`: its memory holds both, so the new model is loaded while the old one serves, and the names move.
`swap`: it does not, or its container is made anew, so the host is drained at the edge first (`drain`), or answers nothing for that time, and the
new model is loaded in the place of the old one.
"""
from __future__ import annotations

import hashlib
from typing import Any, Iterable, Mapping, Sequence

from ._errors import FleetError
from ._plan import some
from ._plan_diff import changes

BEFORE = ".before"
"""Behind the name of a model that is planned beside its successor."""
BESIDE, SWAP, NONE = "beside", "swap", "none"
CONTAINER = ("memory_limit", "cpus", "cpuset", "threads", "max_active", "tmp_size", "residency", "node")
"""What a container is made of: a difference makes it anew."""
_OF_A_FILE = {"files", "sha256", "kind", "checkpoints", "unified"}
_OF_SIZE = {"memory planned", "memory limit", "file share"}
Models = Mapping[str, Any]


def digests(entry: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What names the bytes of a locked model: its files' sha256 in order, then its projector's."""
    if not entry:
        return ()
    return tuple(file["sha256"] for file in [*entry["files"], *([entry["projector"]] if entry.get("projector") else [])])


def changed_models(current: Mapping[str, Any], proposal: Mapping[str, Any]) -> list[str]:
    """Models of both locks whose files differ, by name."""
    now, then = current.get("models") or {}, proposal.get("models") or {}
    return sorted(name for name in set(now) & set(then) if digests(now[name]) != digests(then[name]))


def text_digest(text: str) -> str:
    """What stands for a lock's text in a proposal."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_proposal(base: str, current_text: str, current: Mapping[str, Any], proposal: Mapping[str, Any], where: str) -> None:
    """FleetError when a proposal was made from another lock than the current one, or would change more than models' files.

    `base`: what `text_digest` said of the lock that it was made from.
    """
    if base != text_digest(current_text):
        raise FleetError("The lock moved since the proposal was made", where,
                         f"made from {base[:12] or 'nothing'}, the lock is {text_digest(current_text)[:12]}", "Propose again, and review that.")
    if (current.get("images") or {}) != (proposal.get("images") or {}):
        raise FleetError("The proposal changes images", where, "another image than the lock's", "A refresh changes models; propose again.")
    there, then = set(current.get("models") or {}), set(proposal.get("models") or {})
    if there != then:
        raise FleetError("The proposal has other models than the lock", where, some(sorted(there ^ then)),
                         "Deploy what is wanted with site.yml, then propose again.")


def going_back(current: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The lock that a rollback applies: the current one with every model that both have as it was before.

    FleetError when nothing would change.
    """
    before = previous.get("models") or {}
    back = {**current, "models": {name: before.get(name, entry) for name, entry in (current.get("models") or {}).items()}}
    if not changed_models(current, back):
        raise FleetError("There is no earlier lock to go back to", "the previous lock", "no model that differs" if before else "none",
                         "The lock's history may have it: put the entry back by hand and run site.yml.")
    return back


def check_deployed(states: Mapping[str, Mapping[str, Any]], lock: Mapping[str, Any]) -> None:
    """FleetError when a host runs another file than the lock has: a refresh starts from what is deployed."""
    for host in sorted(states):
        for instance in states[host].get("instances") or ():
            for model in instance["models"]:
                wanted, runs = digests((lock.get("models") or {}).get(model["name"])), _runs(model)
                if runs != wanted:
                    raise FleetError("A host runs another file than the lock has", f"{host}, {model['name']}", ", ".join(name[:12] for name in runs),
                                     "Run site.yml first; a refresh starts from what is deployed.")


def _runs(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Digests of a planned model, as `digests` has those of a locked one."""
    return tuple(filter(None, [*(model.get("files") or [model.get("sha256")]), model.get("projector")]))


def both(wanted: Sequence[Mapping[str, Any]], current: Mapping[str, Any], proposal: Mapping[str, Any], before: Mapping[str, Any],
         after: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of the plan for old and new together: `{wanted, lock}`.

    Every model stays where `after`, the plan with the proposal, has it; each that changes has its predecessor beside it, as NAME.before.
    """
    names = changed_models(current, proposal)
    places: Mapping[str, Sequence[str]] = after["placement"]
    items, models = [], dict(proposal["models"])
    for item in wanted:
        fixed = {key: value for key, value in item.items() if key not in ("replicas", "labels", "apart_from", "hosts")}
        items.append({**fixed, "hosts": list(places[item["name"]])})
        there = [host for host in before["placement"].get(item["name"], ()) if host in after["hosts"]]
        if item["name"] in names and there:
            items.append({**fixed, "name": item["name"] + BEFORE, "aliases": [], "hosts": there})
            models[item["name"] + BEFORE] = current["models"][item["name"]]
    return {"wanted": items, "lock": {**proposal, "models": models}}


def parts(names: Iterable[str], before: Mapping[str, Any], after: Mapping[str, Any], together: Mapping[str, Any], given: str = "",
          interruption: bool = False) -> dict[str, dict[str, Any]]:
    """What each host does, by host: `mode`, `canary`, `models` that change there, `limits` (bytes by instance while the new one is tried), `drain`, `why`.

    `before`, `after` and `together` are the deployed plan, the one with the proposal, and the one for both. `given`: the host that goes first;
    else the fewest hosts that have every changed model, those that hold both first. FleetError for what a refresh may not do.
    """
    changing = sorted(names)
    _check_same(changing, before, after)
    found = {host: _part(host, changing, before, after, together) for host in sorted(after["hosts"])}
    for host, part in found.items():
        if part["mode"] == SWAP:
            alone = [name for name in _models(after, host) if len(after["placement"].get(name) or ()) < 2]
            if alone and not interruption:
                raise FleetError(f"{host} cannot have the new and the old {some(part['models'])} at the same time, and nothing else serves {some(alone)}",
                                 f"host {host}", part["why"],
                                 "Add a replica or memory, or accept that it answers nothing while it loads: refresh_interruption=true.")
            part["drain"] = not alone
    for host in _canaries(changing, found, given):
        found[host]["canary"] = True
    return found


def _part(host: str, names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any], together: Mapping[str, Any]) -> dict[str, Any]:
    mine = [name for name in names if name in _models(after, host)]
    why = _why_not_beside(host, mine, before, after, together) if mine else ""
    limits = {instance["name"]: instance["memory_limit"] for instance in _instances(after if why else together, host).values()}
    return {"mode": NONE if not mine else SWAP if why else BESIDE, "canary": False, "models": mine, "limits": limits, "drain": False, "why": why}


def _why_not_beside(host: str, names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any], together: Mapping[str, Any]) -> str:
    """Why a host cannot load the new models beside the old ones; empty when it can."""
    for refusal in together.get("refused") or ():
        if refusal["host"] == host:
            return str(refusal["reason"])
    now, then, pair = (_instances(plan, host) for plan in (before, after, together))
    for name, instance in then.items():
        if name not in now:
            return f"its instance {name} is made by this plan"
        differs = [key for key in CONTAINER if now[name].get(key) != instance.get(key)]
        if differs:
            told = ", ".join(f"{key.replace('_', ' ')} {now[name].get(key)} to {instance.get(key)}" for key in differs)
            return f"its container {name} is made anew for the new model ({told})"
        loaded = {model["name"] for model in (pair.get(name) or {"models": ()})["models"]}
        lacking = [model["name"] for model in instance["models"] if model["name"] in names and not {model["name"], model["name"] + BEFORE} <= loaded]
        if lacking:
            return f"both files of {some(lacking)} do not fit into its container {name}"
    return ""


def _check_same(names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """FleetError when the plan with the proposal changes more than the models that are refreshed."""
    if after.get("unmet"):
        reason = next((item["reason"] for item in after.get("refused") or ()), "")
        raise FleetError("The proposal does not fit this fleet", f"models {some(after['unmet'])}", reason, "Choose a smaller file; nothing was changed.")
    kinds = {model["name"]: model["kind"] for host in before["hosts"] for model in _models(before, host).values()}
    for change in changes({"hosts": before["hosts"]}, {"hosts": {host: entry for host, entry in after["hosts"].items() if entry["instances"]}}):
        if change.kind != "changed":
            raise FleetError("The plan with the proposal moves models", change.what, str(change), "Run site.yml first, or choose a file of the old one's size.")
        allowed = _OF_SIZE if change.what.startswith("instance ") else _OF_A_FILE if change.what in names else set()
        if {name for name, _old, _new in change.fields} - allowed:
            raise FleetError("What is wanted is not what is deployed", change.what, str(change), "Run site.yml first; a refresh changes files only.")
    for host in after["hosts"]:
        for name, model in _models(after, host).items():
            if kinds.get(name, model["kind"]) != model["kind"]:
                raise FleetError("The new file is a model of another kind", f"model {name}", f"{kinds[name]} before, {model['kind']} now",
                                 "Say kind in models_wanted, or choose another file.")


def _canaries(names: Sequence[str], found: Mapping[str, Mapping[str, Any]], given: str) -> list[str]:
    """The fewest hosts that have every changed model between them, hosts that hold both first."""
    if given and (given not in found or not found[given]["models"]):
        others = some([host for host in found if found[host]["models"]])
        raise FleetError("The canary has nothing to refresh", "refresh_canary", given, f"Hosts that do are {others}.")
    left, chosen = set(names), []
    while left:
        ranked = sorted(found, key=lambda host: (host != given, found[host]["mode"] != BESIDE, -len(left & set(found[host]["models"])), host))
        host = next((name for name in ranked if left & set(found[name]["models"])), "")
        if not host:
            break  # wanted, but nowhere deployed: nothing to try
        chosen.append(host)
        left -= set(found[host]["models"])
    return chosen


def repair(journal: Mapping[str, Any] | None, lock: Mapping[str, Any]) -> str:
    """What an unfinished refresh of a host needs, by its journal (`target`: digests by model) and the lock that is kept now.

    `back` when the lock never became the new one, `finish` when it did, else `nothing`.
    """
    if not journal:
        return "nothing"
    models = lock.get("models") or {}
    new = all(list(digests(models.get(name))) == list(target) for name, target in (journal.get("target") or {}).items())
    return "finish" if new else "back"


def target(proposal: Mapping[str, Any], names: Iterable[str]) -> dict[str, list[str]]:
    """For the journal: the digests of the models that change."""
    return {name: list(digests(proposal["models"][name])) for name in sorted(names)}


def lines(names: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is going to happen, for people."""
    if not names:
        return ["nothing to refresh: the files that the lock has are the newest"]
    told = []
    for host, part in found.items():
        if part["mode"] == BESIDE:
            told.append(f"{host}: {some(part['models'])} beside the old one{', first' if part['canary'] else ''}")
        elif part["mode"] == SWAP:
            how = "drained at the edge for it" if part["drain"] else "answers nothing while it loads"
            told.append(f"{host}: {some(part['models'])} in place of the old one{', first' if part['canary'] else ''}, {how} ({part['why']})")
    return told


def _instances(plan: Mapping[str, Any], host: str) -> dict[str, Mapping[str, Any]]:
    return {instance["name"]: instance for instance in (plan["hosts"].get(host) or {}).get("instances") or ()}


def _models(plan: Mapping[str, Any], host: str) -> dict[str, Mapping[str, Any]]:
    return {model["name"]: model for instance in _instances(plan, host).values() for model in instance["models"]}
