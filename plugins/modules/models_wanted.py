#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that holds models_wanted: chosen models put beside what is wanted already."""
from __future__ import annotations

DOCUMENTATION = r"""
module: models_wanted
short_description: Put chosen models into the file of models_wanted
version_added: 0.1.0
description:
  - Makes the new C(models_wanted) of what is wanted already and of models chosen among the candidates of M(localai.fleet.hf_gguf_info), and
    writes it to a file of group variables, which Ansible loads by itself.
  - What the file held before is kept beside it, with C(.previous) added to its name. The file is replaced at once.
  - A file that was written or changed by hand is not overwritten, unless O(overwrite) allows it.
  - A file in a folder that would make Ansible ignore another file is refused with the command that moves that file.
  - Runs on the controller.
options:
  path:
    description:
      - The file. Its folder is made.
      - Without it nothing is written, and RV(text) is what the file should hold.
    type: path
  content:
    description: What the file holds, for one that is kept elsewhere and has no O(path).
    type: str
  name:
    description: The file's name in messages, when it has no O(path).
    type: str
    default: models.yml
  candidates:
    description: Models to choose from, as M(localai.fleet.hf_gguf_info) returns them.
    type: list
    elements: dict
    required: true
  choose:
    description: Which of them, by number from 1 or by name, with commas.
    type: str
    required: true
  aliases:
    description:
      - Further names by model, alias first. An alias leaves the model that had it.
      - C(gpt-3.5-turbo) and C(gpt-4), where no model has them, go to the first chosen chat model.
    type: dict
    default: {}
  options:
    description: Options of a wanted model that every chosen one gets, such as C(context) and C(slots).
    type: dict
    default: {}
  wanted:
    description: What is wanted now. It stays, but for a chosen model of the same name.
    type: list
    elements: dict
    default: []
  only:
    description: Whether what is wanted now leaves.
    type: bool
    default: false
  overwrite:
    description: Whether a file that was written or changed by hand may be replaced.
    type: bool
    default: false
extends_documentation_fragment:
  - localai.fleet.attributes
seealso:
  - module: localai.fleet.hf_gguf_info
  - module: localai.fleet.fleet_lock
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Want the first and the third
  localai.fleet.models_wanted:
    path: "{{ inventory_dir }}/group_vars/localai/models.yml"
    candidates: "{{ models.candidates }}"
    choose: "1, 3"
    aliases:
      gpt-4: "3"
    wanted: "{{ models_wanted }}"
  delegate_to: localhost
"""

RETURN = r"""
wanted:
  description: The new C(models_wanted).
  returned: success
  type: list
  elements: dict
changes:
  description: What changes in it, a line each.
  returned: success
  type: list
  elements: str
  sample: ["qwen3-8b: added, hf://Qwen/Qwen3-8B-GGUF Q4_K_M, answers to gpt-4 too"]
text:
  description: What the file holds.
  returned: success
  type: str
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _choice, _glue, _kept
from ..module_utils._errors import FleetError


def argument_spec() -> dict[str, Any]:
    return {
        "path": {"type": "path"},
        "content": {"type": "str"},
        "name": {"type": "str", "default": "models.yml"},
        "candidates": {"type": "list", "elements": "dict", "required": True},
        "choose": {"type": "str", "required": True},
        "aliases": {"type": "dict", "default": {}},
        "options": {"type": "dict", "default": {}},
        "wanted": {"type": "list", "elements": "dict", "default": []},
        "only": {"type": "bool", "default": False},
        "overwrite": {"type": "bool", "default": False},
    }


def refuse_what_is_by_hand(text: str, where: str, overwrite: bool) -> None:
    """FleetError for a file that a person wrote or changed, unless it may be replaced."""
    _choice.models_of(text, where)
    how = _choice.by_hand(text)
    if how and not overwrite:
        raise FleetError(f"The file was {how} by hand, so it is not overwritten", where,
                         do="Give choose_overwrite=true to replace it; what it holds is then kept beside it. Nothing was changed.")


def refuse_what_hides(path: str) -> None:
    """FleetError when making the file's folder would hide another file of group variables from Ansible."""
    folder = os.path.dirname(path)
    above = os.path.dirname(folder)
    other = _choice.shadowed(path, os.listdir(above) if os.path.isdir(above) else [])
    if other:
        raise FleetError("With this folder Ansible would no longer read the file beside it", folder, os.path.join(above, other),
                         f"Move it into the folder first: mkdir -p {folder} && mv {os.path.join(above, other)} {os.path.join(folder, 'main.yml')}")


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, mutually_exclusive=[("path", "content")])
    params, path = module.params, module.params["path"]
    try:
        new, changes = _choice.choose_models(params["candidates"], params["choose"], params["aliases"], params["wanted"], params["only"], params["options"])
        name = os.path.basename(path) if path else params["name"]
        if path:
            refuse_what_hides(path)
        names = [name, f"{name}.previous"]
        found = _kept.read(os.path.dirname(path), names) if path else {name: params["content"] or ""}
        old = found.get(name, "")
        text = _choice.file_text(new, f"{name}.previous" if path else "")
        if text != old:
            refuse_what_is_by_hand(old, path or name, params["overwrite"])
        if path and text != old and not module.check_mode:
            before = {names[1]: old} if old else {}
            _kept.keep(os.path.dirname(path), {**before, name: text}, _kept.revision(found), names, [])
    except FleetError as error:
        _glue.fail(module, error)
    module.exit_json(changed=text != old, wanted=new, changes=changes, text=text, diff=_glue.diff(old, text, path or name))


if __name__ == "__main__":
    main()
