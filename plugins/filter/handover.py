# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters through which the playbook hands the plan to the roles."""
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.localai.fleet.plugins.module_utils._handover import addresses, listen_address, model_files, routes, served
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


class FilterModule:
    """Names by which playbooks call them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "addresses": told(addresses),
            "listen_address": told(listen_address),
            "model_files": told(model_files),
            "routes": told(routes),
            "served": told(served),
        }
