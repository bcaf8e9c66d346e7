#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few files of a Git repository, read and put back by a commit."""
from __future__ import annotations

DOCUMENTATION = r"""
module: git_files
short_description: Read a few files of a Git repository, and commit new ones unless someone else changed them
version_added: 0.1.0
description:
  - Reads files of one folder of a branch, and commits and pushes new texts, such as the lock of the fleet.
  - What is pushed was made from what was read. When someone else changed one of the files in between, or pushes at the same moment, nothing
    is changed, and the error says so. Commits that touch other files do not matter.
  - There is no commit when nothing changes. Nothing is forced, and nothing stays on the machine that the module runs on.
  - A repository without any branch gets its first commit. In one with branches, the branch must be there.
  - The token never appears in output or in a list of processes. The files must hold no secret.
options:
  url:
    description:
      - The repository, as C(https://HOST/PATH), C(ssh://USER@HOST/PATH), C(USER@HOST:PATH) or C(file:///PATH), without a password.
    type: str
    required: true
  branch:
    description:
      - The branch.
    type: str
    default: main
  path:
    description:
      - The folder in the repository. Its root by default.
    type: str
    default: ""
  previous:
    description:
      - Files of O(names) whose text before the last commit that changed them is read too. This fetches recent commits of the branch, and all of
        them where the files changed long ago.
    type: list
    elements: str
    default: []
  author_name:
    description:
      - Name of who commits.
    type: str
    default: localai.fleet
  author_email:
    description:
      - Address of who commits.
    type: str
    default: localai.fleet@localhost
  token:
    description:
      - Token or password for an C(https://) URL, used with the URL's user, or with V(git).
    type: str
  ssh_key:
    description:
      - File of the private key for an SSH URL. By default those of the user that runs the module.
    type: path
  known_hosts:
    description:
      - File with the host key of an SSH server. By default that of the user that runs the module.
    type: path
  ca:
    description:
      - PEM file of certificate authorities trusted for an C(https://) URL in the place of the system's.
    type: path
  timeout:
    description:
      - Seconds that one exchange with the server may take.
    type: int
    default: 60
requirements:
  - git
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.kept
seealso:
  - module: localai.fleet.kept_files
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Read the lock
  localai.fleet.git_files:
    url: git@git.example.com:ai/fleet.git
    path: inventory
    names: [fleet.lock.yml]
  delegate_to: localhost
  register: kept

- name: Commit another
  localai.fleet.git_files:
    url: git@git.example.com:ai/fleet.git
    path: inventory
    names: [fleet.lock.yml]
    files:
      fleet.lock.yml: "{{ locked.text }}"
    revision: "{{ kept.revision }}"
    changes: "{{ locked.changes }}"
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: The texts by name, as they are after the module.
  returned: success
  type: dict
previous:
  description: For each file of O(previous), its text before the last commit that changed it, where there was one.
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
commit:
  description: The commit that was pushed. Empty when nothing changed, and in check mode.
  returned: success
  type: str
"""

import shutil
import tempfile
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _git, _glue, _kept
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def argument_spec() -> dict[str, Any]:
    """Options as documented."""
    text, words = {"type": "str"}, {"type": "list", "elements": "str"}
    return {
        "url": {**text, "required": True},
        "branch": {**text, "default": "main"},
        "path": {**text, "default": ""},
        "names": {**words, "required": True},
        "files": {"type": "dict", "default": {}},
        "revision": text,
        "previous": {**words, "default": []},
        "changes": {**words, "default": []},
        "author_name": {**text, "default": "localai.fleet"},
        "author_email": {**text, "default": "localai.fleet@localhost"},
        "token": {**text, "no_log": True},
        "ssh_key": {"type": "path", "no_log": False},
        "known_hosts": {"type": "path"},
        "ca": {"type": "path"},
        "timeout": {"type": "int", "default": 60},
    }


def run(params: Mapping[str, Any], scratch: str, check: bool) -> dict[str, Any]:
    """Read, plan, apply."""
    names, previous = params["names"], params["previous"]
    _kept.check_files(params["files"], names, previous)
    remote = _git.Remote(params["url"], params["branch"], params["path"], params["token"] or "", params["ssh_key"], params["known_hosts"],
                         params["ca"], params["timeout"])
    repository = _git.Repository(remote, scratch, history=bool(previous))
    found, before = repository.read(names), repository.before_last(previous)
    new, commit = _kept.changed(found, params["files"], params["revision"], remote.shown), ""
    if new and not check:
        author = _git.Author(params["author_name"], params["author_email"])
        commit = repository.commit(new, author, _git.message(params["changes"], new))
    shown = _glue.told(params["changes"], remote.shown) if params["changes"] else _glue.diff_of_files(found, new, remote.shown)
    return {**_kept.outcome(found, before, new, previous), "commit": commit, "diff": shown}


def main() -> None:
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.no_log_values.update(filter(None, [_git.password_of(module.params["url"])]))  # it is refused, and must not show for that
    scratch = tempfile.mkdtemp(dir=module.tmpdir)
    try:
        result = run(module.params, scratch, module.check_mode)
    except FleetError as error:
        _glue.fail(module, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
