# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that read what a run of choose_models.yml was told, and what it kept."""
from __future__ import annotations

import json
from typing import Any, Callable, Mapping

from ansible_collections.localai.fleet.plugins.plugin_utils._filters import Engine, told

_choice = Engine("_choice")


def choice(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The choice among the variables whose names begin with choose_."""
    return _choice.parse_choice(json.loads(json.dumps(variables))).as_dict()


def kept_models(text: str) -> list[dict[str, Any]]:
    """The wanted models of the file models.yml that is kept with the lock; none without it."""
    return json.loads(json.dumps(_choice.models_of(text, "models.yml")))


class FilterModule:
    """Names by which the role common calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"choice": told(choice), "kept_models": told(kept_models)}
