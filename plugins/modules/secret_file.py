#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret made once and kept in a file."""
from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Make a secret once and keep it in a file
version_added: 0.1.0
description:
  - Makes a random secret when the file is missing, and keeps it ever after. A given secret takes the file's place.
  - The file appears whole or not at all, also when several hosts ask for it at the same moment.
  - Register the result with C(no_log) and read the secret from RV(content).
options:
  path:
    description:
      - The file. Its folder is created with permissions 0700.
    type: path
    required: true
  value:
    description:
      - The secret to use instead of a random one, for example from a vault. Empty means none.
    type: str
  bytes:
    description:
      - Random bytes of a new secret. It is written as twice as many hexadecimal digits.
    type: int
    default: 32
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Make the key once
  localai.fleet.secret_file:
    path: /opt/localai/secrets/localai_admin.key
  no_log: true
  register: key
"""

RETURN = r"""
content:
  description:
    - The secret, Base64 encoded. In check mode, when the file is missing, a random one that is not kept.
  returned: success
  type: str
"""

import base64

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._secret import closed, decide, read, tighten, write


def argument_spec():
    """Options as documented."""
    return {
        "path": {"type": "path", "required": True},
        "value": {"type": "str", "no_log": True},
        "bytes": {"type": "int", "default": 32},
    }


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    path, given = module.params["path"], module.params["value"]
    try:
        found = read(path)
        secret, change = decide(given, found, path, module.params["bytes"])
        if change and not module.check_mode:
            change = write(path, secret, replace=bool(given))
            secret = read(path) or secret
        if found is not None and not change and not closed(path):
            change = True
            if not module.check_mode:
                tighten(path)
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("The secret could not be kept", path, str(error)))
    before = "" if found is None else "a secret, not shown\n"
    after = "a new secret, not shown\n" if change else before
    module.exit_json(changed=change, content=base64.b64encode(secret.encode()).decode(), diff=_glue.diff(before, after, path))


if __name__ == "__main__":
    main()
