# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role proxy."""
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.localai.fleet.plugins.module_utils._edge import certificate_names, covers, tables
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"edge_tables": told(tables), "edge_names": told(certificate_names), "edge_covers": told(covers)}
