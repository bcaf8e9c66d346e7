#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of the edge's consumers, one file each."""
from __future__ import annotations

DOCUMENTATION = r"""
module: consumer_keys
short_description: Keep one key for each consumer of the edge
version_added: 0.1.0
description:
  - Makes a random key for each consumer that has none, once, and keeps it in a file that only root can read.
  - A given key takes the file's place. Keys of consumers that are no longer named are removed.
  - No key leaves the host. What is returned is its SHA-256.
options:
  path:
    description:
      - The directory that holds the keys and nothing else, as C(NAME.key) with permissions 0400. Its own are 0700.
    type: path
    required: true
  consumers:
    description:
      - The consumers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the consumer.
        type: str
        required: true
      key:
        description: The key to use instead of a random one, for example from a vault. Empty means none.
        type: str
      models:
        description: Served names the consumer may use. It is handed on unchanged.
        type: list
        elements: str
        default: []
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: One key for each team
  localai.fleet.consumer_keys:
    path: /opt/localai/secrets/consumers
    consumers:
      - name: team-a
      - name: team-b
        key: "{{ vault_team_b_key }}"
        models: [small-model]
  register: keys
"""

RETURN = r"""
consumers:
  description: The consumers as they are afterwards, in the given order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the consumer.
      type: str
      returned: always
    models:
      description: Served names the consumer may use.
      type: list
      elements: str
      returned: always
    sha256:
      description: SHA-256 of its key in hexadecimal digits. In check mode, of a key that is not kept, when it would be made.
      type: str
      returned: always
    path:
      description: The file that holds its key.
      type: str
      returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue, _secret
from ansible_collections.localai.fleet.plugins.module_utils._consumers import SUFFIX, Found, digest, plan
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def argument_spec():
    """Options as documented."""
    consumer = {
        "name": {"type": "str", "required": True},
        "key": {"type": "str", "no_log": True},
        "models": {"type": "list", "elements": "str", "default": []},
    }
    return {
        "path": {"type": "path", "required": True},
        "consumers": {"type": "list", "elements": "dict", "required": True, "no_log": False, "options": consumer},
    }


def read(folder):
    """The keys that are there, by the consumer's name."""
    found = {}
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        if entry.is_file(follow_symlinks=False) and entry.name.endswith(SUFFIX):
            found[entry.name[:-len(SUFFIX)]] = Found(_secret.read(entry.path) or "", _secret.closed(entry.path))
    return found


def make_folder(folder):
    """The directory, closed, and the folder of all secrets around it likewise when it is missing."""
    _secret.make_folder(os.path.dirname(folder))
    _secret.make_folder(folder)
    os.chmod(folder, _secret.FOLDER_MODE)


def apply(folder, actions):
    """Do what the plan says."""
    for action in actions:
        path = os.path.join(folder, action.name + SUFFIX)
        if action.key is not None:
            _secret.write(path, action.key, replace=True)
        elif action.kind == "tighten":
            _secret.tighten(path)
        else:
            os.unlink(path)


def diff(folder, before, actions):
    """Which consumers have a key; never a key."""
    removed = {action.name for action in actions if action.kind == "remove"}
    told = {action.name: f" ({action.kind}d)" for action in actions if action.kind in ("create", "replace")}
    after = sorted((set(before) | set(told)) - removed)
    return _glue.diff("".join(f"{name}\n" for name in sorted(before)), "".join(f"{name}{told.get(name, '')}\n" for name in after), folder)


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    folder, consumers = module.params["path"], module.params["consumers"]
    try:
        found = read(folder)
        actions, keys = plan(consumers, found)
        loose = not os.path.isdir(folder) or not _secret.closed(folder, _secret.FOLDER_MODE)
        if not module.check_mode:
            if loose:
                make_folder(folder)
            apply(folder, actions)
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("The keys of the consumers could not be kept", folder, str(error)))
    module.exit_json(
        changed=loose or bool(actions),
        consumers=[
            {"name": c["name"], "models": c["models"], "sha256": digest(keys[c["name"]]), "path": os.path.join(folder, c["name"] + SUFFIX)}
            for c in consumers
        ],
        diff=diff(folder, found, actions),
    )


if __name__ == "__main__":
    main()
