# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that judges a deployment."""
from __future__ import annotations

DOCUMENTATION = r"""
name: verdict
short_description: Judge whether what runs is what was planned
version_added: 0.1.0
description:
  - Compares a plan with the instances that run and with the answers of a probe, and returns one verdict.
  - Each failed check has a cure.
positional: infos_before, infos_after, probes
options:
  _input:
    description: The plan, as M(localai.fleet.fleet_plan) returns it.
    type: dict
    required: true
  infos_before:
    description: The result of M(localai.fleet.localai_info) of each host before the probe, by host name.
    type: dict
    required: true
  infos_after:
    description: The same after the probe.
    type: dict
    required: true
  probes:
    description: Results of M(localai.fleet.chat_probe), as a list, or by gateway name.
    type: raw
    required: true
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Judge the deployment
  ansible.builtin.set_fact:
    verdict: "{{ plan | localai.fleet.verdict(before, after, [answer]) }}"

- name: End with the verdict
  ansible.builtin.assert:
    that: verdict.ok
    fail_msg: "{{ verdict.summary }}"
"""

RETURN = r"""
_value:
  description:
    - A dictionary with C(ok), C(failed), C(summary), C(checks) and C(measured).
    - A check has C(host), C(instance), C(name), C(target), C(ok), C(got), C(want), C(seconds) and C(cure).
  type: dict
"""

from typing import Any, Callable

from ..module_utils._verdict import verdict
from ..plugin_utils._filters import told


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"verdict": told(verdict)}
