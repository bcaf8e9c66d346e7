#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LocalAI backend, taken out of its image."""
from __future__ import annotations

DOCUMENTATION = r"""
module: localai_backend
short_description: Have a LocalAI backend's files on the host
version_added: 0.1.0
description:
  - Takes the files of a backend image out into a folder named by the image's digest, so that LocalAI can use them read-only.
  - The folder appears whole or not at all, and one that is there is never written again.
options:
  image:
    description:
      - The backend's image by digest, C(NAME@sha256:DIGEST).
    type: str
    required: true
  path:
    description:
      - The folder that holds one folder a digest.
    type: path
    required: true
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Have the llama.cpp backend
  localai.fleet.localai_backend:
    image: quay.io/go-skynet/local-ai-backends@sha256:1111111111111111111111111111111111111111111111111111111111111111
    path: /opt/localai/backends
"""

RETURN = r"""
directory:
  description: The folder of this backend.
  returned: success
  type: str
  sample: /opt/localai/backends/1111111111111111111111111111111111111111111111111111111111111111
"""

import os
import shutil
import stat

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._images import check_reference, digest, present, pull

# The engine puts these into every container; an image of files alone has none of them.
ADDED = (".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "etc")


def argument_spec():
    """Options as documented."""
    return {"image": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}


def told(run, argv, what, image):
    """Standard output of a command that must succeed."""
    code, out, err = run(argv)
    if code != 0:
        raise FleetError(what, image, (err or out).strip(), "Look at the host's Docker engine.")
    return out.strip()


def copy_out(run, image, folder):
    """The image's files in `folder`, through a container that never runs."""
    name = f"localai-backend-{digest(image)[:12]}"
    run(["docker", "rm", "--force", "--volumes", name])
    told(run, ["docker", "create", "--name", name, "--network", "none", image, "/run.sh"], "The backend's image could not be opened", image)
    try:
        told(run, ["docker", "cp", f"{name}:/.", folder], "The backend's files could not be copied out of the image", image)
    finally:
        run(["docker", "rm", "--force", "--volumes", name])


def drop_added(folder):
    """Remove what the engine, not the image, put there."""
    for name in ADDED:
        path = os.path.join(folder, name)
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        elif os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)
        elif name in ("dev", "proc", "sys") and os.path.isdir(path):
            shutil.rmtree(path)


def open_up(folder):
    """Everything root's, readable by the service user; run.sh executable, because LocalAI cannot make it so on a read-only mount."""
    for base, folders, files in os.walk(folder):
        for path in [base] + [os.path.join(base, name) for name in files]:
            if os.path.islink(path):
                continue
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            os.chown(path, 0, 0)
            os.chmod(path, (mode | 0o555 if os.path.isdir(path) or mode & 0o111 else mode | 0o444) & 0o755)
    os.chmod(os.path.join(folder, "run.sh"), 0o755)


def extract(run, image, target):
    """The backend in `target`, which appears by one rename."""
    partial = target + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    os.chmod(os.path.dirname(target), 0o755)
    try:
        copy_out(run, image, partial)
        if not os.path.isfile(os.path.join(partial, "run.sh")):
            raise FleetError("The image is no LocalAI backend: it holds no /run.sh", image, do="Check the name and version of the backend's image.")
        drop_added(partial)
        open_up(partial)
        os.sync()
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    image, path = module.params["image"], module.params["path"]

    def run(argv):
        return module.run_command(list(argv), handle_exceptions=False)

    try:
        check_reference(image)
        target = os.path.join(path, digest(image))
        missing = not os.path.isdir(target)
        if missing and not module.check_mode:
            module.get_bin_path("docker", required=True)
            if not present(run, image):
                pull(run, image)
            extract(run, image, target)
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("The backend could not be stored", path, str(error), "Look at the disk of the host."))
    before = "" if missing else image + "\n"
    module.exit_json(changed=missing, directory=target, diff=_glue.diff(before, image + "\n", target))


if __name__ == "__main__":
    main()
