#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the instances on a host are and use."""
from __future__ import annotations

DOCUMENTATION = r"""
module: localai_info
short_description: Tell the limits, hardening and use of running instances
version_added: 0.1.0
description:
  - Reads the containers of instances from the engine's command line client, and their processor and memory counters from control groups
    of version 1 and 2.
  - Returns no environment value but the numbers of threads and of active backends, and no command line, because others may be secrets.
  - On a host without Docker, or whose engine does not run, the list is empty and RV(reason) says why.
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  names:
    description: The names of the containers.
    type: list
    elements: str
    default: [localai]
  root:
    description: Read the files of the host below this directory.
    type: path
    default: /
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Read the instance of each server
  localai.fleet.localai_info:
  register: before

- name: Show the memory that it uses
  ansible.builtin.debug:
    msg: "{{ before.instances | map(attribute='memory_anonymous_bytes') }}"
"""

RETURN = r"""
instances:
  description: One entry for each container that exists, in the order of O(names). Sizes are bytes, V(null) is unlimited or unknown.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the container., type: str, returned: success, sample: localai}
    id: {description: Its full id., type: str, returned: success}
    running: {description: Whether it runs., type: bool, returned: success}
    health: {description: "V(healthy), V(unhealthy), V(starting), or V(null) without a health check.", type: str, returned: success}
    oom_killed: {description: Whether the kernel ended it for memory., type: bool, returned: success}
    restart_count: {description: How often the engine restarted it., type: int, returned: success}
    started_at: {description: When it was started., type: str, returned: success}
    image: {description: The image as it was named., type: str, returned: success}
    image_digest: {description: The digest of the image., type: str, returned: success}
    user: {description: The user that it runs as., type: str, returned: success, sample: "999:999"}
    threads_env: {description: The value of LOCALAI_THREADS., type: int, returned: success}
    max_active_env: {description: The value of LOCALAI_MAX_ACTIVE_BACKENDS., type: int, returned: success}
    memory_limit: {description: Memory limit., type: int, returned: success}
    cpus: {description: CPU limit in cores., type: float, returned: success, sample: 2.0}
    cpuset: {description: CPUs that it is pinned to., type: str, returned: success, sample: 0-3}
    pids_limit: {description: Limit of processes and threads., type: int, returned: success}
    read_only: {description: Whether its root file system is read-only., type: bool, returned: success}
    privileged: {description: Whether it is privileged., type: bool, returned: success}
    cap_drop: {description: Capabilities that were dropped., type: list, elements: str, returned: success}
    cap_add: {description: Capabilities that were added., type: list, elements: str, returned: success}
    security_opt: {description: Security options., type: list, elements: str, returned: success}
    ports: {description: Published ports., type: list, elements: str, returned: success, sample: ["10.0.0.5:8080->8080/tcp"]}
    nr_periods: {description: Quota periods in which it ran., type: int, returned: success}
    nr_throttled: {description: Quota periods in which it was stopped., type: int, returned: success}
    memory_anonymous_bytes: {description: Memory that cannot be dropped (anonymous and tmpfs)., type: int, returned: success}
    memory_file_bytes: {description: File pages., type: int, returned: success}
    tmp_used_bytes: {description: "What lies in its C(/tmp), where engines write each request.", type: int, returned: success}
    tmp_size_bytes: {description: "What its C(/tmp) can hold.", type: int, returned: success}
    models:
      description:
        - "The revisions of its settings folder, each with C(revision), C(names) that point to it, C(sha256) of its first file, C(loaded), and of its
          engine C(pid), C(rss_anonymous_bytes) and C(rss_file_bytes)."
        - An engine is known by the file that it has mapped. Of several revisions of one file that are loaded, V(null) tells that theirs cannot be told apart.
      type: list
      elements: dict
      returned: success
      sample:
        - {revision: chat.0a1b2c3d, names: [chat, gpt-4], sha256: a5fd3b62, loaded: true, pid: 4711, rss_anonymous_bytes: 90177536, rss_file_bytes: 269484032}
    processes:
      description: "Its processes, each with C(pid), C(name), C(threads), C(rss_anonymous_bytes) and C(rss_file_bytes)."
      type: list
      elements: dict
      returned: success
missing:
  description: Names without a container.
  returned: success
  type: list
  elements: str
reason:
  description: Why nothing could be read; empty when the engine answered.
  returned: success
  type: str
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._cgroup import Tree
from ..module_utils._containers import describe


def argument_spec() -> dict[str, dict[str, Any]]:
    return {
        "names": {"type": "list", "elements": "str", "default": ["localai"]},
        "root": {"type": "path", "default": "/"},
    }


def inspect(module: AnsibleModule, docker: str, kind: str, names: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What the engine knows of these names, and its words on the others."""
    if not names:
        return [], ""
    _code, out, err = module.run_command([docker, kind, "inspect", *names])
    try:
        return [entry for entry in json.loads(out or "[]") if isinstance(entry, dict)], err.strip()
    except ValueError:
        return [], err.strip() or "the engine's answer is no JSON"


def read(module: AnsibleModule) -> tuple[list[dict[str, Any]], str]:
    """The described containers, and why there are none when the engine is not there."""
    docker = module.get_bin_path("docker")
    if docker is None:
        return [], "Docker is not installed on this host."
    found, words = inspect(module, docker, "container", module.params["names"])
    unreachable = "daemon" in words.lower() and "no such container" not in words.lower()
    if not found:
        return [], f"Docker does not answer: {words}" if unreachable else ""
    images, _words = inspect(module, docker, "image", sorted({entry.get("Image", "") for entry in found} - {""}))
    digests = {image.get("Id"): image.get("RepoDigests") or [] for image in images}
    tree = Tree(module.params["root"])
    return [describe(entry, digests.get(entry.get("Image"), []), tree) for entry in found], ""


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    instances, reason = read(module)
    known = {instance["name"] for instance in instances}
    missing = [name for name in module.params["names"] if name not in known]
    module.exit_json(changed=False, instances=instances, missing=missing, reason=reason)


if __name__ == "__main__":
    main()
