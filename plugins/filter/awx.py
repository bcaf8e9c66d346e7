# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role awx: what AWX is sent, in the forms its API takes."""
from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ansible_collections.localai.fleet.plugins.module_utils import _awx
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told


def awx_rule(schedule: Mapping[str, Any]) -> str:
    """The recurrence rule of a schedule."""
    return _awx.schedule_rule(schedule["at"], schedule.get("days") or (), schedule.get("timezone") or "UTC")


def awx_survey(questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The survey of a job template."""
    return _awx.survey(questions)


def awx_notifications(wanted: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """The notification templates, and which of them tells of which event."""
    return _awx.notifications(wanted, prefix)


def awx_same(existing: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    """Whether one of AWX's notification templates is the wanted one."""
    return any(_awx.same(one, wanted) for one in existing)


def awx_arrows(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What follows what in a workflow, as AWX has it or as it is wanted."""
    return _awx.arrows(steps)


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "awx_arrows": told(awx_arrows),
            "awx_notifications": told(awx_notifications),
            "awx_rule": told(awx_rule),
            "awx_same": told(awx_same),
            "awx_survey": told(awx_survey),
        }
