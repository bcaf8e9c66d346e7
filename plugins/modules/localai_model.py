#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One revision of a model's settings on one running LocalAI."""
from __future__ import annotations

DOCUMENTATION = r"""
module: localai_model
short_description: Have a revision of a model beside what a running LocalAI serves, or take it away
version_added: 0.1.0
description:
  - Puts a revision into the settings folder of a running LocalAI and loads it, without a served name that points to it. It can be asked by its own name.
  - A revision that does not load is taken away again, and the module fails with the reason. What runs beside it notices nothing.
  - M(localai.fleet.localai_reload) moves names to a revision, and takes away the ones that are not wanted.
  - An instance that holds a limited number of models (on demand) ends the longest unused one for it, when that is idle.
options:
  state:
    description:
      - V(present) has the revision there and, with O(load), loaded. V(absent) waits until it is idle, stops it, and removes its settings.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The revision, C(NAME.DIGEST), as the filter P(localai.fleet.model_yaml#filter) names it.
    type: str
    required: true
  content:
    description:
      - Its settings, the content of its file. Required with O(state=present).
    type: str
  links:
    description:
      - Links to the parts of a model in several files, as the filter P(localai.fleet.model_yaml#filter) returns them.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path in the settings folder.
        type: str
        required: true
      target:
        description: What it points to.
        type: str
        required: true
  container:
    description:
      - The container.
    type: str
    default: localai
  path:
    description:
      - The folder of the container's settings.
    type: path
    required: true
  records:
    description:
      - The file in which M(localai.fleet.localai_reload) keeps what each container was last told.
    type: path
    required: true
  load:
    description:
      - Whether the revision is loaded now. Else its first request loads it.
    type: bool
    default: true
  in_place_of:
    description:
      - Served names whose revisions are stopped first, when they are idle, for their memory. Their settings stay, and the names point to them as before.
      - Until a request loads them again nothing answers to these names, so nobody should ask for them meanwhile.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.revisions
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Have the new settings of a model beside the old ones
  localai.fleet.localai_model:
    name: chat.0a1b2c3d
    content: "{{ settings }}"
    path: /opt/localai/config/localai/localai
    records: /opt/localai/state/instances.json
    api_key: "{{ admin_key }}"

- name: Take them away again
  localai.fleet.localai_model:
    name: chat.0a1b2c3d
    state: absent
    path: /opt/localai/config/localai/localai
    records: /opt/localai/state/instances.json
    api_key: "{{ admin_key }}"
"""

RETURN = r"""
address:
  description: Address of the running container on its first network.
  returned: success
  type: str
  sample: 10.213.1.2
loaded:
  description: Whether the revision is loaded now.
  returned: success
  type: bool
load_seconds:
  description: What loading it took; V(null) when it was not loaded by this run.
  returned: success
  type: float
  sample: 4.2
engine:
  description:
    - The process that serves it, with C(pid), C(rss_anonymous_bytes) and C(rss_file_bytes) after it was loaded; V(null) when it was not loaded by this run.
    - M(localai.fleet.localai_info) tells the same of this process later.
  returned: success
  type: dict
  sample: {pid: 4711, rss_anonymous_bytes: 90177536, rss_file_bytes: 269484032}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._cgroup import Tree
from ansible_collections.localai.fleet.plugins.module_utils._containers import engines
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._modelyaml import is_revision
from ansible_collections.localai.fleet.plugins.module_utils._reload import Wanted, record, suspects
from ansible_collections.localai.fleet.plugins.module_utils._server import Server, find
from ansible_collections.localai.fleet.plugins.module_utils._settings import (
    digest_of,
    held,
    link,
    read,
    read_records,
    referred,
    remove,
    unlink_all_but,
    write,
    write_records,
)


def argument_spec():
    """Options as documented."""
    text = {"type": "str", "required": True}
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": text,
        "content": {"type": "str"},
        "links": {"type": "list", "elements": "dict", "default": [], "options": {"path": text, "target": text}},
        "container": {"type": "str", "default": "localai"},
        "path": {"type": "path", "required": True},
        "records": {"type": "path", "required": True},
        "load": {"type": "bool", "default": True},
        "in_place_of": {"type": "list", "elements": "str", "default": []},
        "api_key": {"type": "str", "required": True, "no_log": True},
        "port": {"type": "int", "default": 8080},
        "load_timeout": {"type": "int", "default": 1800},
        "drain_timeout": {"type": "int", "default": 600},
        "root": {"type": "path", "default": "/"},
    }


class Place:
    """The revision's file, the LocalAI that reads it, and what that knows now."""

    def __init__(self, module):
        self.params = params = module.params
        self.name, self.folder = params["name"], params["path"]
        self.file = os.path.join(self.folder, f"{self.name}.yaml")
        if not is_revision(self.name):
            raise FleetError("The name is not that of a revision", "name", self.name, "Give one as the filter model_yaml names it: NAME.DIGEST.")
        found = find(lambda argv: module.run_command(list(argv), handle_exceptions=False), params["container"])
        if found is None:
            raise FleetError("The container does not run", params["container"], do=f"Look at docker logs {params['container']}.")
        self.running, self.address = found
        self.server = Server(params["container"], self.address, params["port"], params["api_key"])
        self.known, self.before = self.server.known(), read(self.file)

    def tell(self, content):
        """Keep that LocalAI was told these settings, or that it has none of this name."""
        records = read_records(self.params["records"])
        mine = records.get(self.params["container"]) or {}
        same = (mine.get("container_id"), mine.get("started_at")) == (self.running.container_id, self.running.started_at)
        told = {name: digest for name, digest in ((mine.get("models") or {}) if same else {}).items() if name != self.name}
        if content is not None:
            told[self.name] = digest_of(content)
        if same or content is not None:
            write_records(self.params["records"], {**records, self.params["container"]: record(told, self.running)})


def is_doubtful(place):
    """Whether LocalAI may run it with other settings than its file has, since a run that gave it these ended before its engine did."""
    recorded, digest = read_records(place.params["records"]).get(place.params["container"]), digest_of(place.params["content"])
    times = {place.name: held(place.folder).get(f"{place.name}.yaml", 0.0)}
    return place.name in suspects(Wanted(frozenset([place.name]), {}), place.known, recorded, place.running, times, {place.name: digest})


def present(place, check):
    """Have it there; whether that changes something, what loading took, its engine."""
    content, params = place.params["content"], place.params
    written = place.before != content
    told = written or is_doubtful(place)
    loading = params["load"] and (told or place.name not in place.known.loaded)
    if check or not (told or loading):
        return told or loading, None, None
    link(place.folder, {item["path"]: item["target"] for item in params["links"]})
    if written:
        write(place.file, content)
    if told and place.name in place.known.listed:
        place.server.reload()
        place.server.stop([place.name], params["drain_timeout"])
    if told:
        place.tell(content)
    return (True, *load(place)) if loading else (True, None, None)


def load(place):
    """Load it; what that took, and its engine. One that does not load is taken away again."""
    tree, pid = Tree(place.params["root"]), str(place.running.pid)
    place.server.stop({place.known.aliases.get(name) for name in place.params["in_place_of"]} - {place.name}, place.params["drain_timeout"])
    before, start = {process["pid"] for process in engines(tree, pid)}, time.monotonic()
    try:
        place.server.load(place.name, place.params["load_timeout"])
    except FleetError:
        take_away(place)
        raise
    fresh = [process for process in engines(tree, pid) if process["pid"] not in before]
    return round(time.monotonic() - start, 2), fresh[-1] if fresh else None


def take_away(place):
    """Stop it when it is idle, remove its file and links, and have LocalAI forget it."""
    place.server.stop([place.name], place.params["drain_timeout"])
    remove(place.file)
    unlink_all_but(place.folder, referred(place.folder))
    place.server.forget(place.name)
    place.tell(None)


def absent(place, check):
    """Take it away; whether that changes something."""
    names = sorted(name for name, target in place.known.aliases.items() if target == place.name)
    if names:
        raise FleetError("Served names still point to the revision", f"container {place.params['container']}, {place.name}", ", ".join(names),
                         "Move them first, by a run of the playbook site.")
    changed = place.before is not None or place.name in place.known.loaded
    if changed and not check:
        take_away(place)
    return changed


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True, required_if=[("state", "present", ["content"])])
    params, seconds, engine = module.params, None, None
    module.get_bin_path("docker", required=True)
    try:
        place = Place(module)
        if params["state"] == "present":
            changed, seconds, engine = present(place, module.check_mode)
        else:
            changed = absent(place, module.check_mode)
        loaded = place.name in place.server.loaded()
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("The settings could not be written", params["path"], str(error)))
    after = params["content"] if params["state"] == "present" else ""
    module.exit_json(changed=changed, address=place.address, loaded=loaded, load_seconds=seconds, engine=engine,
                     diff=_glue.diff(place.before or "", after, place.file))


if __name__ == "__main__":
    main()
