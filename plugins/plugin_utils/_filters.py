# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What all filters share. Controller only."""
from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


class Engine:
    """A module of module_utils by its name, imported when a filter first asks it.

    Each worker whose task uses one filter of a collection loads every file of filters of that collection; what these import at once, each such task pays.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(f"ansible_collections.localai.fleet.plugins.module_utils.{self._name}"), name)


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with its error as a sentence of Ansible's own family."""
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FleetError as error:
            raise AnsibleFilterError(str(error)) from error
    return call
