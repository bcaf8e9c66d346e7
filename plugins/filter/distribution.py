# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters through which the role models learns who fetches what from whom."""
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.localai.fleet.plugins.module_utils._distribution import distribute, peers
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"distribution": told(distribute), "peers": told(peers)}
