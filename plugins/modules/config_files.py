#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wanted files of one directory, all or none."""
from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Bring all files of one directory to their wanted state
version_added: 0.1.0
description:
  - Writes a set of small text files into one directory and removes files it owns that are no longer wanted.
  - All files are written beside their targets and validated before the first one takes its place by an atomic rename,
    so a wrong file changes nothing and a reader never sees half a file.
options:
  path:
    description:
      - The directory. It is created when it is missing, and its missing parents with permissions 0755.
    type: path
    required: true
  mode:
    description:
      - Permissions of the directory, as octal text.
    type: str
    default: "0755"
  owner:
    description:
      - Owner of the directory and of files that name none. Left alone by default.
    type: str
  group:
    description:
      - Group of the directory and of files that name none. Left alone by default.
    type: str
  files:
    description:
      - The files.
    type: list
    elements: dict
    default: []
    suboptions: &file
      name:
        description: Name of the file, without a folder.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, as octal text.
        type: str
        default: "0644"
      owner:
        description: Owner of the file.
        type: str
      group:
        description: Group of the file.
        type: str
      validate:
        description: A command that must succeed before the file is taken; C(%s) is the path of the file to look at.
        type: str
  secret_files:
    description:
      - Files whose content never appears in a result, a diff or a log.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *file
  purge:
    description:
      - Shell patterns of names that this set owns. A file that matches one and is not wanted is removed.
      - Folders are never removed.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Hold exactly two models' settings
  localai.fleet.config_files:
    path: /opt/localai/models
    group: localai
    files:
      - name: chat.yaml
        content: "{{ chat | to_nice_yaml }}"
        mode: "0640"
      - name: gpt-4.yaml
        content: |
          name: gpt-4
          alias: chat
        mode: "0640"
    purge: ["*.yaml"]
"""

RETURN = r"""
written:
  description: Names of the files that were created or replaced.
  returned: success
  type: list
  elements: str
  sample: [chat.yaml]
removed:
  description: Names of the files that were removed.
  returned: success
  type: list
  elements: str
  sample: [old.yaml]
"""

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._files import STAGED, Action, Found, Wanted, parse_files, parse_mode, plan


def argument_spec():
    """Options as documented."""
    def item(no_log):
        return {
            "name": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": no_log},
            "mode": {"type": "str", "default": "0644"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "validate": {"type": "str"},
        }
    return {
        "path": {"type": "path", "required": True},
        "mode": {"type": "str", "default": "0755"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "files": {"type": "list", "elements": "dict", "default": [], "options": item(False)},
        "secret_files": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": item(True)},
        "purge": {"type": "list", "elements": "str", "default": []},
    }


def desired(params):
    """The wanted files of both lists."""
    owner, group = params["owner"], params["group"]
    return parse_files(params["files"], False, owner, group) + parse_files(params["secret_files"], True, owner, group)


def owner_name(uid):
    """Name of a user, or its number when it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    """Name of a group, or its number when it has no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def read(path):
    """Regular files of the directory by name; a missing directory holds none."""
    found = {}
    for entry in os.scandir(path) if os.path.isdir(path) else ():
        if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size < 2 ** 22:
            status = entry.stat(follow_symlinks=False)
            with open(entry.path, "rb") as handle:
                content = handle.read()
            found[entry.name] = Found(content, stat.S_IMODE(status.st_mode), owner_name(status.st_uid), group_name(status.st_gid))
    return found


def directory_action(params):
    """The change that the directory itself needs, or None."""
    wanted = Wanted(params["path"], b"", parse_mode(params["mode"], "mode"), params["owner"], params["group"])
    if not os.path.isdir(params["path"]):
        return Action("create", params["path"], "", "directory\n", wanted)
    status = os.stat(params["path"])
    found = Found(b"", stat.S_IMODE(status.st_mode), owner_name(status.st_uid), group_name(status.st_gid))
    actions = plan([wanted], {wanted.name: found}, [])
    return actions[0] if actions else None


def ids(wanted):
    """Numbers of owner and group; -1 leaves one alone."""
    try:
        uid = -1 if wanted.owner is None else int(wanted.owner) if wanted.owner.isdigit() else pwd.getpwnam(wanted.owner).pw_uid
        gid = -1 if wanted.group is None else int(wanted.group) if wanted.group.isdigit() else grp.getgrnam(wanted.group).gr_gid
    except KeyError as error:
        raise FleetError("The owner or group of a file does not exist", wanted.name, f"{wanted.owner}:{wanted.group}",
                         "Create it first.") from error
    return uid, gid


def give(path, wanted):
    """Set owner, group and permissions."""
    os.chown(path, *ids(wanted))
    os.chmod(path, wanted.mode)


def make_directory(action):
    """Create the directory or set its owner and permissions."""
    missing = []
    folder = action.name
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        os.mkdir(folder)
        os.chmod(folder, 0o755)  # whatever the umask of the connection is
    give(action.name, action.wanted)


def stage(module, folder, action):
    """Write the file beside its target and have it validated; returns its path."""
    staged = os.path.join(folder, STAGED.format(name=action.name))
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as handle:
        handle.write(action.wanted.content)
        give(staged, action.wanted)
        handle.flush()
        os.fsync(handle.fileno())
    if action.wanted.validate:
        code, out, err = module.run_command([word.replace("%s", staged) for word in action.wanted.validate.split()])
        if code != 0:
            raise FleetError("A file did not pass its check, so nothing was changed", os.path.join(folder, action.name),
                             (err or out).strip()[-2000:] or f"exit code {code}", "Correct what it was made of.")
    return staged


def apply(module, folder, actions):
    """Stage everything, then rename, then remove."""
    writes = [action for action in actions if action.kind in ("create", "replace")]
    staged = []
    try:
        for action in writes:
            staged.append(os.path.join(folder, STAGED.format(name=action.name)))
            stage(module, folder, action)
        for path, action in zip(staged, writes):
            os.replace(path, os.path.join(folder, action.name))
    finally:
        for path in staged:
            if os.path.lexists(path):
                os.unlink(path)
    for action in actions:
        target = os.path.join(folder, action.name)
        if action.kind == "attributes":
            give(target, action.wanted)
        elif action.kind == "remove" and os.path.lexists(target):
            os.unlink(target)


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        folder = directory_action(params)
        actions = plan(desired(params), read(params["path"]), params["purge"])
        if not module.check_mode:
            if folder:
                make_directory(folder)
            apply(module, params["path"], actions)
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("The files could not be written", params["path"], str(error)))
    told = ([folder] if folder else []) + actions
    module.exit_json(
        changed=bool(told),
        written=[action.name for action in actions if action.kind in ("create", "replace")],
        removed=[action.name for action in actions if action.kind == "remove"],
        diff=[_glue.diff(a.before, a.after, os.path.join(params["path"], a.name)) for a in told],
    )


if __name__ == "__main__":
    main()
