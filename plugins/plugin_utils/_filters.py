# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What all filters share. Controller only."""
from __future__ import annotations

from functools import wraps
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with its error as a sentence of Ansible's own family."""
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FleetError as error:
            raise AnsibleFilterError(str(error)) from error
    return call
