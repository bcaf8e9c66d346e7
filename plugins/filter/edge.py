# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role proxy."""
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._edge import certificate_names, covers, tables
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with its error as a sentence of Ansible's own family."""
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FleetError as error:
            raise AnsibleFilterError(str(error)) from error
    return call


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"edge_tables": _told(tables), "edge_names": _told(certificate_names), "edge_covers": _told(covers)}
