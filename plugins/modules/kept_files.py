#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few files of a folder, read and put back with a way back."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kept_files
short_description: Read a few files, and put them back unless someone else changed them
version_added: 0.1.0
description:
  - Reads files of one folder, and puts new texts in their place, such as the lock of the fleet on the controller or on its primary host.
  - What is put back was made from what was read. When someone else changed one of the files in between, nothing is written, and the error
    says so. Several runs at the same time are safe.
  - Each file is written beside its place, read back and renamed, so nobody sees half of it.
  - The files must hold no secret. They are readable by all.
options:
  path:
    description:
      - The folder. It is made when something is to be written.
    type: path
    required: true
  previous:
    description:
      - Files of O(names) whose text before their last change is kept beside them, under a name such as C(fleet.lock.previous.yml).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.kept
seealso:
  - module: localai.fleet.git_files
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Read the lock
  localai.fleet.kept_files:
    path: /opt/localai/state
    names: [fleet.lock.yml]
    previous: [fleet.lock.yml]
  register: kept

- name: Put another in its place
  localai.fleet.kept_files:
    path: /opt/localai/state
    names: [fleet.lock.yml]
    previous: [fleet.lock.yml]
    files:
      fleet.lock.yml: "{{ locked.text }}"
    revision: "{{ kept.revision }}"
"""

RETURN = r"""
files:
  description: The texts by name, as they are after the module.
  returned: success
  type: dict
previous:
  description: For each file of O(previous), its text before its last change, where it had one.
  returned: success
  type: dict
revision:
  description: What stands for RV(files), to give with a change that is made from them.
  returned: success
  type: str
written:
  description: Names of the files that changed.
  returned: success
  type: list
  elements: str
"""

from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue, _kept
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def argument_spec() -> dict[str, Any]:
    """Options as documented."""
    words = {"type": "list", "elements": "str"}
    return {
        "path": {"type": "path", "required": True},
        "names": {**words, "required": True},
        "files": {"type": "dict", "default": {}},
        "revision": {"type": "str"},
        "previous": {**words, "default": []},
        "changes": {**words, "default": []},
    }


def before_last(folder: str, names: list[str]) -> dict[str, str]:
    """The text of each file before its last change."""
    found = _kept.read(folder, [_kept.previous_name(name) for name in names])
    return {name: found[_kept.previous_name(name)] for name in names if _kept.previous_name(name) in found}


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Read, plan, apply."""
    folder, names = params["path"], params["names"]
    _kept.check_files(params["files"], names, params["previous"])
    found, before = _kept.read(folder, names), before_last(folder, params["previous"])
    new = _kept.changed(found, params["files"], params["revision"], folder)
    if new and not check:
        new = _kept.keep(folder, params["files"], params["revision"], names, params["previous"])
    shown = _glue.told(params["changes"], folder) if params["changes"] else _glue.diff_of_files(found, new, folder)
    return {**_kept.outcome(found, before, new, params["previous"]), "diff": shown}


def main() -> None:
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except FleetError as error:
        _glue.fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
