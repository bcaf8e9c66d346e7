# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters through which the role models learns who fetches what from whom."""
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.localai.fleet.plugins.module_utils._distribution import distribute, peers
from ansible_collections.localai.fleet.plugins.module_utils._pace import Window, parse_rate
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


def pace(bandwidth_limit: str, time_window: str = "") -> dict[str, Any]:
    """What the two variables mean; FleetError, with the variable's name, when one cannot be read."""
    window = Window.parse(time_window, "models_time_window")
    return {"bytes_per_second": parse_rate(bandwidth_limit, "models_bandwidth_limit"), "window": str(window or "")}


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"distribution": told(distribute), "pace": told(pace), "peers": told(peers)}
