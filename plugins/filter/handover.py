# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters through which the playbook hands the plan to the roles."""
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._handover import addresses, listen_address, model_files, routes


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with its error as a sentence of Ansible's own family."""
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FleetError as error:
            raise AnsibleFilterError(str(error)) from error
    return call


class FilterModule:
    """Names by which playbooks call them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "addresses": _told(addresses),
            "listen_address": _told(listen_address),
            "model_files": _told(model_files),
            "routes": _told(routes),
        }
