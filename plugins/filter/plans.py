# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that prepare what a plan is made from."""
from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import Engine, told

_fleet = Engine("_fleet")
_given = Engine("_given")
_plan_diff = Engine("_plan_diff")
_what_if = Engine("_what_if")
STORES = ("controller", "primary", "git")


def deployed_plan(states: Mapping[str, Any]) -> dict[str, Any]:
    """What runs, as a plan."""
    return _plan_diff.deployed(states)


def imagined(asked: Mapping[str, Any], known: Mapping[str, Any], wanted: Sequence[Any], cached: Sequence[str] = (),
             current: bool = False) -> dict[str, Any]:
    """What to plan for the questions of a run, or the sentence that refuses them."""
    plain = json.loads(json.dumps([asked, known, wanted]))
    nothing = _what_if.Imagined({}, [], ()).as_dict()
    if plain[0]["refused"]:
        return {**nothing, "refused": plain[0]["refused"]}
    try:
        now, asked_now = datetime.now(timezone.utc), _what_if.questions(plain[0]["variables"])
        made = _what_if.imagine(asked_now, plain[1], plain[2], plain[0]["files"], list(cached), now, current).as_dict()
    except FleetError as error:
        return {**nothing, "refused": str(error)}
    return {**made, "notes": plain[0]["slips"] + made["notes"], "refused": ""}


def wrong_values(values: Mapping[str, Any]) -> list[str]:
    """A sentence for each of these variables of the role common whose value cannot be meant."""
    known = {"fleet_lock_store": STORES, "common_topology": ("auto", *_fleet.TOPOLOGIES), "common_placement": _fleet.PLACEMENTS}
    sentences = []
    for name, value in values.items():
        try:
            if name in known:
                _given.one_of(name, value, known[name])
            else:
                _given.folder(name, value)
        except FleetError as error:
            sentences.append(str(error))
    return sentences


class FilterModule:
    """Names by which the role common calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"deployed_plan": told(deployed_plan), "imagined": imagined, "wrong_values": wrong_values}
