# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files."""
from __future__ import annotations

DOCUMENTATION = r"""
name: compose_env
short_description: Text of an environment file for Docker Compose
version_added: 0.1.0
author: localai.fleet contributors (@localai-fleet)
description:
  - Sorted C(KEY='value') lines in which nothing is interpreted.
options:
  _input:
    description: Names and values.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Text of an environment file
  ansible.builtin.debug:
    msg: "{{ {'LOCALAI_LOG_LEVEL': 'info'} | localai.fleet.compose_env }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.localai.fleet.plugins.module_utils._compose import env_text
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def compose_env(values):
    """The filter."""
    try:
        return env_text(values)
    except FleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"compose_env": compose_env}
