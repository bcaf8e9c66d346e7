# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's store of blobs lacks."""
from __future__ import annotations

DOCUMENTATION = r"""
name: store_state
short_description: What a store of blobs lacks, and what was abandoned in it
version_added: 0.1.0
author: localai.fleet contributors (@localai-fleet)
description:
  - Compares the files that M(ansible.builtin.find) found in a store with the blobs that it must hold.
options:
  _input:
    description: Files of the host, with C(path) and C(size), as M(ansible.builtin.find) returns them.
    type: list
    elements: dict
    required: true
  wanted:
    description: Blobs that must be there, with C(sha256) and C(size).
    type: list
    elements: dict
    required: true
positional: wanted
"""

EXAMPLES = r"""
- name: Say what is missing
  ansible.builtin.debug:
    msg: "{{ (found.files | localai.fleet.store_state(models_files)).missing }}"
"""

RETURN = r"""
_value:
  description:
    - C(missing) lists the SHA-256 of blobs that are not there whole, in the wanted order.
    - C(ahead) maps each of them to the bytes that the ones after it still need.
    - C(abandoned) lists the SHA-256 of unfinished downloads that nobody wants any more.
  type: dict
"""

from ansible_collections.localai.fleet.plugins.module_utils._store import store_state


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"store_state": lambda found, wanted: store_state(found, wanted).as_dict()}
