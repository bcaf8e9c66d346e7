#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images by digest on a host."""
from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Have an image on the host, named by its digest
version_added: 0.1.0
description:
  - Pulls the image when the Docker engine does not hold it, and tells in one sentence why it could not.
options:
  name:
    description:
      - The image by digest, C(NAME@sha256:DIGEST).
    type: str
    required: true
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Have nginx
  localai.fleet.container_image:
    name: docker.io/library/nginx@sha256:1111111111111111111111111111111111111111111111111111111111111111
"""

RETURN = r"""
name:
  description: The image.
  returned: success
  type: str
  sample: docker.io/library/nginx@sha256:1111111111111111111111111111111111111111111111111111111111111111
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._images import check_reference, present, pull


def argument_spec():
    """Options as documented."""
    return {"name": {"type": "str", "required": True}}


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    image = module.params["name"]

    def run(argv):
        return module.run_command(list(argv), handle_exceptions=False)

    try:
        check_reference(image)
        missing = not (module.get_bin_path("docker") and present(run, image))
        if missing and not module.check_mode:
            module.get_bin_path("docker", required=True)
            pull(run, image)
    except FleetError as error:
        _glue.fail(module, error)
    before = "" if missing else image + "\n"
    module.exit_json(changed=missing, name=image, diff=_glue.diff(before, image + "\n", "images"))


if __name__ == "__main__":
    main()
