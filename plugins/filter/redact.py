# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs fit to show."""
from __future__ import annotations

DOCUMENTATION = r"""
name: redact
short_description: Replace secrets in a text by stars
version_added: 0.1.0
author: localai.fleet contributors (@localai-fleet)
description:
  - For logs of others that go into an error message.
options:
  _input:
    description: The text.
    type: str
    required: true
  secrets:
    description: The secrets. Texts of fewer than 6 characters are left alone.
    type: list
    elements: str
    required: true
positional: secrets
"""

EXAMPLES = r"""
- name: Show why a container stopped
  ansible.builtin.fail:
    msg: "{{ logs.stdout | localai.fleet.redact([admin_key]) }}"
"""

RETURN = r"""
_value:
  description: The text without the secrets.
  type: str
"""

from ansible_collections.localai.fleet.plugins.module_utils._compose import redact


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"redact": redact}
