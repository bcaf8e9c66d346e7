# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image references by digest."""
from __future__ import annotations

DOCUMENTATION = r"""
name: image_reference
short_description: Pull reference of an image of the lock
version_added: 0.1.0
author: localai.fleet contributors (@localai-fleet)
description:
  - The name and the digest of an image, from a mirror registry when one is given.
options:
  _input:
    description: An image of the lock, with C(name) and C(digest).
    type: dict
    required: true
  registry:
    description: Host and port of the registry that takes the place of the image's own.
    type: str
    default: ""
positional: registry
"""

EXAMPLES = r"""
- name: Where LocalAI comes from
  ansible.builtin.debug:
    msg: "{{ lock.images.localai | localai.fleet.image_reference('mirror.example.com:5000') }}"
"""

RETURN = r"""
_value:
  description: The reference, C(registry/path@digest).
  type: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.localai.fleet.plugins.module_utils._compose import image_reference as reference
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def image_reference(image, registry=""):
    """The filter."""
    try:
        return reference(image, registry)
    except FleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"image_reference": image_reference}
