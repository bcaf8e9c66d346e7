#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can give, as a fact."""
from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_facts
short_description: Read what a host can give to inference
version_added: 0.1.0
description:
  - Reads cores, CPU quota, NUMA nodes, instruction sets, memory and disk of a host from C(/proc), C(/sys) and its control groups
    of version 1 and 2, and returns them as the fact C(localai_capacity).
  - What the host runs already is returned as the fact C(localai_deployed). With a fact cache both outlast the run, and plans can be made offline.
  - What no file tells is V(null). Nothing is guessed, nothing is changed, and one call takes less than 100 ms.
  - Memory that the collection's own containers use is counted as available, because a new plan may use it again. Nor is their
    work part of what other programs keep busy.
extends_documentation_fragment:
  - localai.fleet.attributes
attributes:
  facts:
    description: Returns an C(ansible_facts) dictionary that updates existing host facts.
    support: full
options:
  store:
    description: The collection's directory on the host. Its free space and its list of own containers are read.
    type: path
    default: /opt/localai
  root:
    description: Read the files of the host below this directory. Nothing outside it is read.
    type: path
    default: /
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Read what the servers can give
  localai.fleet.capacity_facts:

- name: Show the cores that a model may use
  ansible.builtin.debug:
    var: ansible_facts.localai_capacity.usable_cores
"""

RETURN = r"""
ansible_facts:
  description: The capacity of the host as a fact.
  returned: success
  type: dict
  contains:
    localai_capacity:
      description: Cores are physical cores, sizes are bytes, V(null) is unknown or unlimited.
      type: dict
      returned: success
      contains:
        schema: {description: Version of these fields., type: int, returned: success, sample: 1}
        read_at: {description: When the host was read., type: str, returned: success, sample: "2026-11-23T04:00:00Z"}
        arch: {description: Machine type., type: str, returned: success, sample: x86_64}
        isa: {description: Instruction sets that every CPU has., type: list, elements: str, returned: success, sample: [avx, avx2]}
        cpu_model: {description: Name of the CPU., type: str, returned: success}
        logical_cpus_online: {description: Logical CPUs of the host., type: int, returned: success, sample: 16}
        allowed_cpus: {description: "Logical CPUs that this host may use: allowed by the affinity and every control group, and online.", type: list,
                       elements: int, returned: success}
        cores: {description: "The cores of the allowed CPUs, each with those CPUs as C(cpus) and C(performance).", type: list, elements: dict,
                returned: success}
        physical_cores_allowed: {description: Their number., type: int, returned: success, sample: 8}
        performance_cores_allowed: {description: Fast cores among them; all when none is., type: int, returned: success, sample: 8}
        usable_cores: {description: "Fast cores, and not more than the quota rounded down; at least 1.", type: int, returned: success, sample: 7}
        smt: {description: Whether cores of the host have several logical CPUs., type: bool, returned: success}
        sockets: {description: Sockets of the host., type: int, returned: success, sample: 1}
        numa_nodes: {description: "Memory nodes whose memory may be used, each with C(id), C(cpus) and C(memory_bytes).", type: list, elements: dict,
                     returned: success}
        numa_hugepages_bytes: {description: Reserved huge pages of each of the C(numa_nodes)., type: list, elements: int, returned: success}
        numa_node: {description: The memory node that this describes; V(null) for a whole host., type: int, returned: success}
        quota_cores: {description: Smallest CPU quota of the control groups in cores., type: float, returned: success, sample: 7.5}
        other_load_cores: {description: Cores that programs other than our containers keep busy now; for a warning and never for a plan., type: float,
                           returned: success, sample: 0.2}
        memory_total_bytes: {description: Memory of the host., type: int, returned: success}
        memory_limit_bytes: {description: Smallest memory limit of the control groups; memory of the nodes that they allow., type: int, returned: success}
        memory_available_bytes: {description: Memory that is free for models now., type: int, returned: success}
        memory_used_by_deployment_bytes: {description: Memory of our own containers; already part of the available., type: int, returned: success}
        hugepages_reserved_bytes: {description: Reserved huge pages; no part of the available memory., type: int, returned: success}
        swap_total_bytes: {description: Swap space., type: int, returned: success}
        memory_channels: {description: Memory channels of 64 bits with a module in them., type: int, returned: success}
        memory_bandwidth_bytes_per_second: {description: What these channels move at most., type: int, returned: success, sample: 204800000000}
        store_free_bytes: {description: Free disk space for the store., type: int, returned: success}
        tuning: {description: The measurement of threads that the role tuning left on the host; V(false) when its file is damaged., type: raw,
                 returned: success}
        virtualization: {description: "V(none), V(vm) or V(container).", type: str, returned: success, sample: none}
    localai_deployed:
      description: What the role localai left as deployed, with C(instances) as in a plan; empty when nothing is.
      type: dict
      returned: success
"""

import os
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._capacity import read_capacity
from ..module_utils._cgroup import Tree
from ..module_utils._deployed import read_json
from ..module_utils._errors import FleetError
from ..module_utils._glue import fail


def argument_spec() -> dict[str, dict[str, object]]:
    return {
        "store": {"type": "path", "default": "/opt/localai"},
        "root": {"type": "path", "default": "/"},
    }


def deployed(root: str, store: str) -> dict[str, Any]:
    """The host's own part of the plan that is deployed; empty when there is none, or none that can be read."""
    found = read_json(Tree(root), f"{store}/state/plan.json")
    return found if isinstance(found, dict) else {}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        root, store = module.params["root"], module.params["store"]
        if not os.path.isdir(root):
            raise FleetError("The root of the host's files is no directory", "root", repr(root), "Name the directory that has the host's /proc and /sys.")
        capacity = {**read_capacity(root, store).as_dict(), "read_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    except FleetError as error:
        fail(module, error)
    module.exit_json(changed=False, ansible_facts={"localai_capacity": capacity, "localai_deployed": deployed(root, store)})


if __name__ == "__main__":
    main()
