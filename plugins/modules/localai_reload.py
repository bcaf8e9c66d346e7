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
  - LocalAI does not watch its models. This module reloads it for new and changed models, stops the engine processes of
    changed ones, and restarts the container when a model was removed, because nothing else drops one.
  - What each container was last told is kept in a file, so that a run that was interrupted is made good by the next one.
options:
  containers:
    description:
      - The containers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the container, and of its settings folder.
        type: str
        required: true
      files:
        description: The wanted files of its settings folder, as they were given to M(localai.fleet.config_files).
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the file; without its ending it is the served name.
            type: str
            required: true
          content:
            description: The whole content.
            type: str
            required: true
          mode:
            description: Permissions; not used here.
            type: str
  path:
    description:
      - The folder that holds the settings folders.
      - A container that started before the last change of its own is restarted when nothing is known of it.
    type: path
    required: true
  state:
    description:
      - The file that keeps what each container was last told.
    type: path
    required: true
  api_key:
    description:
      - An admin key of LocalAI.
    type: str
    required: true
  port:
    description:
      - Port of LocalAI in its container.
    type: int
    default: 8080
  stop_timeout:
    description:
      - Seconds that a container gets to finish its answers before it is killed.
    type: int
    default: 90
  timeout:
    description:
      - Seconds until a restarted container must be ready.
    type: int
    default: 120
extends_documentation_fragment:
  - localai.fleet.attributes
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Serve what the folder /opt/localai/config/localai/localai holds
  localai.fleet.localai_reload:
    containers:
      - name: localai
        files: "{{ model_files }}"
    path: /opt/localai/config/localai
    state: /opt/localai/state/instances.json
    api_key: "{{ admin_key }}"
"""

RETURN = r"""
actions:
  description: What was done to each container.
  returned: success
  type: dict
  sample: {localai: "reload, stop gemma-3-270m"}
addresses:
  description: Address of each running container on its first network.
  returned: success
  type: dict
  sample: {localai: 10.213.1.2}
instances:
  description: What is now known of each container.
  returned: success
  type: list
  elements: dict
  sample: [{name: localai, container_id: 4f6e, started_at: "2026-11-23T04:00:00.5Z", models: {}}]
"""

import hashlib
import http.client
import json
import os
import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.localai.fleet.plugins.module_utils import _glue
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._reload import Decision, Running, decide, record

# Stopping a busy engine process waits for its answer for up to 30 seconds.
REQUEST_TIMEOUT = 60


def argument_spec():
    """Options as documented."""
    text = {"type": "str", "required": True}
    files = {"type": "list", "elements": "dict", "required": True, "options": {"name": text, "content": text, "mode": {"type": "str"}}}
    return {
        "containers": {"type": "list", "elements": "dict", "required": True, "options": {"name": text, "files": files}},
        "path": {"type": "path", "required": True},
        "state": {"type": "path", "required": True},
        "api_key": {"type": "str", "required": True, "no_log": True},
        "port": {"type": "int", "default": 8080},
        "stop_timeout": {"type": "int", "default": 90},
        "timeout": {"type": "int", "default": 120},
    }


def digests(files):
    """Digest of the settings by served name."""
    return {os.path.splitext(item["name"])[0]: hashlib.sha256(item["content"].encode()).hexdigest() for item in files}


def seconds(text):
    """The engine's time stamp, with up to nine decimals, in seconds since 1970."""
    whole, dummy, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def inspect(module, name):
    """The container and its address, or None when there is no such running container."""
    code, out, dummy = module.run_command(["docker", "inspect", "--type", "container", name], handle_exceptions=False)
    found = json.loads(out)[0] if code == 0 else None
    if not found or not found["State"]["Running"]:
        return None
    networks = (found["NetworkSettings"].get("Networks") or {}).values()
    address = next((network["IPAddress"] for network in networks if network.get("IPAddress")), "")
    started = found["State"]["StartedAt"]
    return Running(name, found["Id"], started, seconds(started)), address


def written(path):
    """When the folder or a settings file in it last changed, in seconds since 1970; 0 without a folder."""
    if not os.path.isdir(path):
        return 0.0
    paths = [path] + [entry.path for entry in os.scandir(path) if entry.name.endswith(".yaml")]
    return max(os.stat(name).st_mtime for name in paths)


def read_state(path):
    """What is recorded, by container; nothing for a missing or damaged file."""
    try:
        with open(path, encoding="utf-8") as handle:
            return {entry["name"]: entry for entry in json.load(handle)["instances"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_state(path, instances):
    """Keep the record; the file is whole at any moment."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8") as handle:
        os.fchmod(handle.fileno(), 0o640)
        json.dump({"instances": instances}, handle, indent=2, sort_keys=True)
        handle.write("\n")
    os.replace(partial, path)


def ask(module, address, method, path, body=None):
    """Status of one request to LocalAI."""
    connection = http.client.HTTPConnection(address, module.params["port"], timeout=REQUEST_TIMEOUT)
    headers = {"Authorization": f"Bearer {module.params['api_key']}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body=json.dumps(body or {}), headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def expect(module, name, address, path, body, allowed):
    """One request that must be answered by one of the statuses `allowed`."""
    try:
        status = ask(module, address, "POST", path, body)
    except (OSError, http.client.HTTPException) as error:
        raise FleetError("LocalAI does not answer", f"container {name}, {path}", str(error), f"Look at docker logs {name}.") from error
    if status not in allowed:
        raise FleetError("LocalAI refused to take its new settings", f"container {name}, {path}", f"status {status}", f"Look at docker logs {name}.")


def restart(module, name):
    """Restart the container and wait until it is ready; returns what it is now, and its address."""
    argv = ["docker", "restart", "--time", str(module.params["stop_timeout"]), name]
    code, out, err = module.run_command(argv)
    if code != 0:
        raise FleetError("The container could not be restarted", name, (err or out).strip(), f"Look at docker logs {name}.")
    end = time.monotonic() + module.params["timeout"]
    while time.monotonic() < end:
        found = inspect(module, name)
        try:
            if found and found[1] and ask(module, found[1], "GET", "/readyz") == 200:
                return found
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.5)
    raise FleetError("LocalAI was not ready in time after its restart", f"container {name}", f"{module.params['timeout']} s",
                     f"Look at docker logs {name}.")


def apply(module, running, address, decision):
    """Do what was decided; returns the container and its address as they are then."""
    if decision.restart:
        return restart(module, running.name)
    if decision.reload:
        expect(module, running.name, address, "/models/reload", {}, {200})
    for name in decision.stop:
        expect(module, running.name, address, "/backend/shutdown", {"model": name}, {200, 404})  # 404: not loaded
    return running, address


def bring(module, container, recorded):
    """Bring one container up to date; returns the decision, its new record and its address (None: not running, which only check mode accepts)."""
    name, wanted = container["name"], digests(container["files"])
    found = inspect(module, name) if module.get_bin_path("docker") else None
    if found is None:
        if module.check_mode:
            return Decision(), None, None
        raise FleetError("The container does not run", name, do=f"Look at docker logs {name}.")
    running, address = found
    decision = decide(wanted, recorded, running, written(os.path.join(module.params["path"], name)))
    if not module.check_mode:
        running, address = apply(module, running, address, decision)
    return decision, record(wanted, running), address


def main():
    """Read, plan, apply, exit."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    params = module.params
    before = read_state(params["state"])
    try:
        done = [(item["name"], *bring(module, item, before.get(item["name"]))) for item in params["containers"]]
        instances = [entry for dummy, dummy, entry, dummy in done]
        changed = any(decision.changed for dummy, decision, dummy, dummy in done) or instances != list(before.values())
        if changed and not module.check_mode:
            write_state(params["state"], instances)
    except FleetError as error:
        _glue.fail(module, error)
    except OSError as error:
        _glue.fail(module, FleetError("What the containers were told could not be kept", params["state"], str(error)))
    actions = {name: str(decision) for name, decision, dummy, dummy in done}
    addresses = {name: address for name, dummy, dummy, address in done if address}
    told = "".join(f"{name}: {action}\n" for name, action in actions.items() if action != "nothing")
    module.exit_json(
        changed=changed, actions=actions, addresses=addresses, instances=[entry for entry in instances if entry],
        diff=_glue.diff("", told, "LocalAI"),
    )


if __name__ == "__main__":
    main()
