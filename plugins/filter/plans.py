# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that prepare what a plan is made from."""
from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.localai.fleet.plugins.module_utils._plan_diff import deployed
from ansible_collections.localai.fleet.plugins.module_utils._what_if import imagine, questions
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


def imagined(asked: Mapping[str, Any], capacities: Mapping[str, Any], wanted: Sequence[Any], cached: Sequence[str] = ()) -> dict[str, Any]:
    """What to plan for the questions of a run."""
    plain = json.loads(json.dumps([asked, capacities, wanted]))
    made = imagine(questions(plain[0]["variables"]), plain[1], plain[2], plain[0]["files"], cached, datetime.now(timezone.utc)).as_dict()
    return {**made, "notes": plain[0]["slips"] + made["notes"]}


class FilterModule:
    """Names by which the role common calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"deployed_plan": told(deployed), "imagined": told(imagined)}
