#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have running LocalAI containers serve what their settings folders hold."""
from __future__ import annotations

DOCUMENTATION = r"""
module: localai_reload
short_description: Have running LocalAI containers serve what their settings folders hold
version_added: 0.1.0
description:
  - LocalAI does not watch its models. The settings of a model are a revision, named C(NAME.DIGEST), and served names are aliases that point to one.
  - For a change this module loads the new revision beside the old one, moves the names by a reload, waits until the old one is idle,
    stops it, and removes its file and its entry in LocalAI's memory. No request fails and nothing is restarted.
  - What is served and not loaded, as after a start of the container, is loaded too, so that no request waits for it.
  - Where the container's memory does not hold both, the old revision goes before the new one is loaded, and the requests of that moment wait.
  - A new revision that does not load moves nothing. The names point to the old one as before, in the folder too, and the module fails with the reason.
  - The container is restarted only when it keeps a served name that it was told to forget.
options:
  containers:
    description:
      - The containers, as the filter P(localai.fleet.model_yaml#filter) returns them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the container, and of its settings folder.
        type: str
        required: true
      files:
        description: The wanted files of its settings folder, as they were given to M(localai.fleet.config_files). All others are removed.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the file; without its ending it is the name of a revision or a served name.
            type: str
            required: true
          content:
            description: The whole content.
            type: str
            required: true
          mode:
            description: Permissions; not used here.
            type: str
      names:
        description: The revision that each served name points to.
        type: dict
        required: true
      links:
        description: Links to the parts of models in several files; folders of others are removed.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path in the settings folder.
            type: str
            required: true
          target:
            description: What it points to; not used here.
            type: str
      load:
        description: Whether what is served is loaded, before a name moves to it. Else its first request loads it.
        type: bool
        default: true
      needs:
        description: Memory of each revision that cannot be dropped, in bytes.
        type: dict
        default: {}
  path:
    description:
      - The folder that holds the settings folders.
    type: path
    required: true
  state:
    description:
      - The file that keeps what each container was last told.
    type: path
    required: true
  stop_timeout:
    description:
      - Seconds that a container gets to finish its answers before it is killed, when it must be restarted.
    type: int
    default: 90
  timeout:
    description:
      - Seconds until a restarted container must be ready.
    type: int
    default: 120
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.revisions
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Serve what the folder /opt/localai/config/localai/localai holds
  localai.fleet.localai_reload:
    containers: "{{ instances | localai.fleet.model_yaml(models_wanted, lock) }}"
    path: /opt/localai/config/localai
    state: /opt/localai/state/instances.json
    api_key: "{{ admin_key }}"
"""

RETURN = r"""
actions:
  description: What was done to each container.
  returned: success
  type: dict
  sample: {localai: "load chat.0a1b2c3d, reload, stop chat.9f8e7d6c, remove chat.9f8e7d6c.yaml, forget chat.9f8e7d6c"}
addresses:
  description: Address of each running container on its first network.
  returned: success
  type: dict
  sample: {localai: 10.213.1.2}
limits:
  description: Memory limit of each running container, in bytes; 0 is none.
  returned: success
  type: dict
  sample: {localai: 2147483648}
instances:
  description: What is now known of each container.
  returned: success
  type: list
  elements: dict
  sample: [{name: localai, container_id: 4f6e, started_at: "2026-11-23T04:00:00.5Z", models: {}}]
"""

import collections
import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._cgroup import Tree
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._modelyaml import alias, is_revision
from ansible_collections.localai.fleet.plugins.module_utils._reload import Wanted, decide, record, suspects
from ansible_collections.localai.fleet.plugins.module_utils._server import Server, find, room
from ansible_collections.localai.fleet.plugins.module_utils._settings import (
    digest_of,
    held,
    read_records,
    remove,
    unlink_all_but,
    write,
    write_records,
)

NOTHING = "nothing"
Done = collections.namedtuple("Done", "steps record running address")


def argument_spec():
    """Options as documented."""
    text = {"type": "str", "required": True}
    files = {"type": "list", "elements": "dict", "required": True, "options": {"name": text, "content": text, "mode": {"type": "str"}}}
    links = {"type": "list", "elements": "dict", "default": [], "options": {"path": text, "target": {"type": "str"}}}
    return {
        "containers": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": text, "files": files, "names": {"type": "dict", "required": True}, "links": links, "load": {"type": "bool", "default": True},
            "needs": {"type": "dict", "default": {}}}},
        "path": {"type": "path", "required": True},
        "state": {"type": "path", "required": True},
        "api_key": {"type": "str", "required": True, "no_log": True},
        "port": {"type": "int", "default": 8080},
        "load_timeout": {"type": "int", "default": 1800},
        "drain_timeout": {"type": "int", "default": 600},
        "stop_timeout": {"type": "int", "default": 90},
        "timeout": {"type": "int", "default": 120},
        "root": {"type": "path", "default": "/"},
    }


def digests(files):
    """Digest of the settings by name."""
    return {item["name"][:-len(".yaml")]: digest_of(item["content"]) for item in files}


def run_of(module):
    """A command of the host."""
    return lambda argv: module.run_command(list(argv), handle_exceptions=False)


def put_back(server, folder, wanted, known):
    """The folder and LocalAI's memory as they were before: names point to what they pointed to, new revisions are gone."""
    for name, target in wanted.names.items():
        before = known.aliases.get(name)
        path = os.path.join(folder, f"{name}.yaml")
        if before == target:
            continue
        if before:
            write(path, "".join(f"{key}: {json.dumps(text)}\n" for key, text in alias(name, before).items()))
        elif name not in known.listed:
            remove(path)
    new = wanted.revisions - known.listed
    for name in new:
        remove(os.path.join(folder, f"{name}.yaml"))
    server.stop(new, 60)
    for name in sorted(new):
        server.forget(name)


def load_beside(module, server, folder, steps, wanted, known):
    """Load the new revisions before a name moves; if one does not load, nothing is moved."""
    try:
        for name in steps.load:
            server.load(name, module.params["load_timeout"])
    except FleetError as error:
        put_back(server, folder, wanted, known)
        moved = any(known.aliases.get(name, target) != target for name, target in wanted.names.items())
        kept = " The names point to the old settings as before." if moved else ""
        raise FleetError(error.what, error.where, error.got, f"Correct its settings or its file.{kept}") from error


def restart(module, server):
    """Restart the container, for a name that it does not forget; returns what it is now, and its address."""
    run = run_of(module)
    code, out, err = run(["docker", "restart", "--time", str(module.params["stop_timeout"]), server.name])
    found = find(run, server.name) if code == 0 else None
    if found is None:
        raise FleetError("The container could not be restarted", server.name, (err or out).strip(), f"Look at docker logs {server.name}.")
    server.address = found[1]
    server.await_ready(module.params["timeout"])
    return found


def apply(module, server, folder, steps, container, known, told):
    """Carry the steps out; the running container and its address when it had to be restarted, else None. `told` is kept once it has read its settings."""
    wanted = wanted_of(container)
    load_beside(module, server, folder, steps, wanted, known)
    if steps.reload:
        server.reload()
        taken = {name: digest for name, digest in told["models"].items() if name not in steps.stop}  # an engine keeps what it was started with
        write_records(module.params["state"], {**read_records(module.params["state"]), told["name"]: {**told, "models": taken}})
    if steps.stop:
        server.settle()
        server.stop(steps.stop, module.params["drain_timeout"])
    for name in steps.load_later:
        server.load(name, module.params["load_timeout"])
    for name in steps.remove:
        remove(os.path.join(folder, name))
    unlink_all_but(folder, [link["path"] for link in container["links"]])
    for name in steps.forget:
        server.forget(name)
    kept = [name for name in steps.forget if not is_revision(name) and name in server.known().listed]
    if not kept:
        return None
    found = restart(module, server)
    for name in sorted(wanted.served) if container["load"] else ():
        server.load(name, module.params["load_timeout"])
    return found


def wanted_of(container):
    """What the container is to serve."""
    names = [item["name"][:-len(".yaml")] for item in container["files"]]
    return Wanted(frozenset(names) - frozenset(container["names"]), container["names"])


def bring(module, container, recorded):
    """Bring one container up to date; what was done, its new record, what it is and its address (None: not running, which only check mode accepts)."""
    name, told = container["name"], digests(container["files"])
    found = find(run_of(module), name) if module.get_bin_path("docker") else None
    if found is None:
        if module.check_mode:
            return Done(NOTHING, None, None, None)
        raise FleetError("The container does not run", name, do=f"Look at docker logs {name}.")
    running, address = found
    server, folder = Server(name, address, module.params["port"], module.params["api_key"]), os.path.join(module.params["path"], name)
    wanted = wanted_of(container)
    known, files = server.known(), held(folder)
    written = {file[:-len(".yaml")]: when for file, when in files.items()}
    doubtful = suspects(wanted, known, recorded, running, written, told)
    steps = decide(wanted, known, files, doubtful, container["load"], container["needs"], room(running, Tree(module.params["root"])))
    if not module.check_mode:
        running, address = apply(module, server, folder, steps, container, known, record(told, running)) or (running, address)
    return Done(str(steps), record(told, running), running, address)


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    params = module.params
    before = read_records(params["state"])
    try:
        done = {item["name"]: bring(module, item, before.get(item["name"])) for item in params["containers"]}
        instances = [one.record for one in done.values()]
        changed = any(one.steps != NOTHING for one in done.values()) or instances != list(before.values())
        if changed and not module.check_mode:
            write_records(params["state"], {entry["name"]: entry for entry in instances if entry})
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("A settings folder or what the containers were told could not be kept", params["path"], str(error)))
    actions = {name: one.steps for name, one in done.items()}
    addresses = {name: one.address for name, one in done.items() if one.address}
    limits = {name: one.running.memory_limit for name, one in done.items() if one.running}
    told = "".join(f"{name}: {steps}\n" for name, steps in actions.items() if steps != NOTHING)
    module.exit_json(
        changed=changed, actions=actions, addresses=addresses, limits=limits, instances=[entry for entry in instances if entry],
        diff=_glue.diff("", told, "LocalAI"),
    )


if __name__ == "__main__":
    main()
