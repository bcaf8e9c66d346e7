#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: what is deployed, pinned to commits, sizes and digests."""
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_lock
short_description: Pin wanted models and images in the lock file
version_added: 0.1.0
description:
  - Reads the lock, checks it, and resolves what it lacks, models at the Hugging Face Hub or at their own server, images at their registry.
    Each model is pinned to a commit and its files to size and SHA-256, each image to its digest, together with what planning needs to
    know of the model's header.
  - An entry is resolved when it is absent or was locked for another source, revision, quant, file or SHA-256 than is wanted now. No
    other entry moves, whatever the Hub or the registry has by then.
  - Other bytes for a commit that the lock knows, or another digest for a tag that it knows, are an error that names both.
  - A model may be a split set, whose shards are locked in order, and have a projector beside it, which reads images.
  - Everything is resolved before anything is written, and the file is replaced at once, so a failure changes nothing.
  - Runs on the controller. Commit the file beside your inventory.
options:
  path:
    description:
      - The lock file. It is made when it is missing; its folder is not.
    type: path
    required: true
  content:
    description:
      - Text of the lock, for one that is kept elsewhere. O(path) then only names it in messages, and is neither read nor written.
    type: str
  wanted:
    description:
      - The wanted models, as in the variable C(models_wanted). Models of the lock are left alone when it is not given.
  images:
    description:
      - The wanted images, by key, each with C(name), its full name such as V(quay.io/go-skynet/local-ai), and C(version), an exact tag.
        V(latest) is refused. Images of the lock are left alone when it is not given.
    type: dict
  capacities:
    description:
      - The capacity of each host, as M(localai.fleet.capacity_facts) returns it. A search takes only what fits on one of them, and RV(changes)
        tells the memory on those hosts.
    type: dict
    default: {}
  prune:
    description:
      - Whether models and images that are no longer wanted leave the lock.
    type: bool
    default: true
  refresh:
    description:
      - Names of wanted models that are resolved anew, to the newest commit of their revision. No other entry moves.
      - An entry stays as it is when the newest commit has the same files under the same license.
    type: list
    elements: str
    default: []
  out:
    description:
      - Another file to write the lock to, such as a proposal to look at. O(path) is then only read.
    type: path
  resolve:
    description:
      - V(missing) asks for nothing but what the lock lacks.
      - V(never) asks for nothing. What the lock lacks is an error that names it.
      - V(verify) also asks the Hub and the registry whether the commits and tags of all other entries still are what the lock says.
    type: str
    choices: [missing, never, verify]
    default: missing
  registry:
    description:
      - A registry, C(HOST:PORT), that is asked instead of the images' own. With C(http://) in front it is asked without TLS. It does not
        appear in the lock, nor does a scheme in what the hosts pull.
    type: str
    default: ""
  registry_username:
    description:
      - User at the registry.
    type: str
  registry_password:
    description:
      - Password or token of that user.
    type: str
  registry_ca:
    description:
      - PEM file of certificate authorities trusted for the registry besides the system's.
    type: path
  hub_endpoint:
    description:
      - Base URL of the Hub or of a mirror. The environment variable E(HF_ENDPOINT) is used when it is not given.
    type: str
    default: https://huggingface.co
  hub_token:
    description:
      - Token for private and gated repositories. The environment variable E(HF_TOKEN) is used when it is not given.
    type: str
  hub_cache:
    description:
      - Folder that keeps headers of models by the SHA-256 of their files, so that each is read once. Empty keeps none.
    type: path
    default: ""
  hub_ca:
    description:
      - PEM file of certificate authorities trusted for the Hub and for C(https://) sources besides the system's.
    type: path
  timeout:
    description:
      - Seconds that one request may take.
    type: int
    default: 30
requirements:
  - huggingface_hub >= 2.0, when a model of a repository has to be resolved
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.wanted
seealso:
  - module: localai.fleet.hf_gguf_info
  - module: localai.fleet.fleet_plan
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Pin what is wanted
  localai.fleet.fleet_lock:
    path: "{{ inventory_dir }}/fleet.lock.yml"
    wanted:
      - name: llama-3.2-1b-instruct
        source: hf://bartowski/Llama-3.2-1B-Instruct-GGUF
        quant: Q4_K_M
        aliases: [gpt-4]
    images:
      localai:
        name: quay.io/go-skynet/local-ai
        version: v4.9.0
  delegate_to: localhost
  register: locked

- name: Ask again whether tags and commits are what they were
  localai.fleet.fleet_lock:
    path: "{{ inventory_dir }}/fleet.lock.yml"
    wanted: "{{ models_wanted }}"
    resolve: verify
  delegate_to: localhost
"""

RETURN = r"""
text:
  description: The text of the lock. It is the one that was read, byte for byte, when nothing changes.
  returned: success
  type: str
lock:
  description: The whole lock as data, in the shape of the file.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of the shape.
      type: int
    images:
      description: By key, C(name), C(version), C(digest) and C(platform) of each image.
      type: dict
    models:
      description: By served name, source, commit, files, license and header of each model.
      type: dict
resolved:
  description: What was resolved, and why.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: V(model) or V(image).
      type: str
    name:
      description: Name of the model or key of the image.
      type: str
    reason:
      description: Why the lock's entry was not enough.
      type: str
changes:
  description:
    - What changes in the lock O(path), a line for each entry. Ansible's diff mode shows the same lines.
    - The memory of a model is what is planned for it and its files at its context and slots, on the host of O(capacities) that needs most.
  returned: success
  type: list
  elements: str
  sample:
    - "model tiny: acme/Tiny-GGUF@aaaaaaaaaaaa Q4_K_M -> acme/Tiny-GGUF@bbbbbbbbbbbb Q4_K_M, size 241.4 MiB -> 250.0 MiB (+8.6 MiB), license mit"
"""

import os
import traceback
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ..module_utils import _glue, _http, _kept, _lock, _lock_diff, _oci
from ..module_utils._capacity import Capacity
from ..module_utils._errors import FleetError
from ..module_utils._hub_client import ClientMissing, Hub, HubOptions
from ..module_utils._lock import Lock, LockedImage, LockedModel, Missing
from ..module_utils._oci import Image, Registry
from ..module_utils._resolve import as_served_now, resolve_model
from ..module_utils._wanted import WantedModel, parse_wanted, wanted_spec


def argument_spec() -> dict[str, Any]:
    return {
        "path": {"type": "path", "required": True},
        "content": {"type": "str"},
        "wanted": {"type": "list", "elements": "dict", "options": wanted_spec()},
        "images": {"type": "dict"},
        "capacities": {"type": "dict", "default": {}},
        "prune": {"type": "bool", "default": True},
        "refresh": {"type": "list", "elements": "str", "default": []},
        "out": {"type": "path"},
        "resolve": {"type": "str", "choices": ["missing", "never", "verify"], "default": "missing"},
        "registry": {"type": "str", "default": ""},
        "registry_username": {"type": "str"},
        "registry_password": {"type": "str", "no_log": True},
        "registry_ca": {"type": "path"},
        "hub_endpoint": {"type": "str", "default": "https://huggingface.co", "fallback": (env_fallback, ["HF_ENDPOINT"])},
        "hub_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HF_TOKEN"])},
        "hub_ca": {"type": "path"},
        "hub_cache": {"type": "path", "default": ""},
        "timeout": {"type": "int", "default": 30},
    }


def parse_images(given: Mapping[str, Any]) -> dict[str, Image]:
    images = {}
    for key, item in given.items():
        if not isinstance(item, dict) or set(item) != {"name", "version"}:
            raise FleetError("A wanted image is not a mapping of name and version", f"images.{key}", repr(item), "Give it these two keys.")
        images[key] = Image(str(item["name"]), str(item["version"]))
    return images


class Sources:
    """The Hub and the registry, reached when they are first needed."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.registry = Registry(
            params["registry"], params["registry_username"] or "", params["registry_password"] or "", params["registry_ca"], params["timeout"],
        )
        self.hub = lru_cache(maxsize=None)(self._hub)
        self.capacities = lru_cache(maxsize=None)(self._capacities)
        self._opener = lru_cache(maxsize=None)(_http.build_opener)

    def _hub(self) -> Hub:
        params = self.params
        return Hub(HubOptions(params["hub_endpoint"], params["hub_token"] or "", params["hub_ca"], params["timeout"], cache=params["hub_cache"]))

    def _capacities(self) -> dict[str, Capacity]:
        return {host: Capacity.from_dict(data, f"capacities.{host}") for host, data in self.params["capacities"].items()}

    def model(self, wanted: WantedModel, known: LockedModel | None) -> tuple[LockedModel, list[str]]:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return resolve_model(wanted, self.hub, now, self.params["hub_ca"], known, self.capacities())

    def image(self, image: Image) -> LockedImage:
        pin = _oci.resolve(image, self.registry, self._opener(self.registry.ca_path))
        return LockedImage(image.name, image.version, pin.digest, pin.platform)


def resolve(
    sources: Sources, old: Lock, wanted: list[WantedModel], images: Mapping[str, Image], lacks: Missing,
) -> tuple[Lock, list[str]]:
    """Entries for what is missing or to be looked at again, and warnings."""
    models, warnings = {}, []
    for model in wanted:
        if model.name in lacks.models:
            models[model.name], said = sources.model(model, old.models.get(model.name))
            warnings += said
    return Lock({key: sources.image(images[key]) for key in lacks.images}, models), warnings


def verify(sources: Sources, lock: Lock, fresh: Lock) -> None:
    """Ask again for every entry that stays; FleetError for one that is no longer what the lock says."""
    images = {key: sources.image(Image(image.name, image.version)) for key, image in lock.images.items() if key not in fresh.images}
    models = {name: as_served_now(model, sources.hub()) for name, model in lock.models.items() if model.commit and name not in fresh.models}
    _lock.check_same(lock, Lock(images, models))


def read(path: str) -> str:
    """The text of a file; empty where there is none."""
    folder, name = os.path.split(path)
    return _kept.read(folder, [name]).get(name, "")


def put(params: Mapping[str, Any], changes: bool, text: str, check: bool) -> bool:
    """Write the lock, or the proposal where one is asked for; whether that changes a file, or the content that was given."""
    target = params["out"] or (params["path"] if params["content"] is None else "")
    changed = read(target) != text if params["out"] else changes
    if target and changed and not check:
        _kept.put(target, text)
    return changed


def proposed(path: str) -> Lock:
    """The proposal of an earlier run; nothing where there is none, or one that cannot be read."""
    try:
        return _lock.load(read(path), path)
    except FleetError:
        return Lock()


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    path, sources = params["path"], Sources(params)
    wanted, images = parse_wanted(params["wanted"] or []), parse_images(params["images"] or {})
    given = read(path) if params["content"] is None else params["content"]
    old = _lock.load(given, path)
    lacks = _lock.missing(old, wanted, images, params["refresh"])
    if params["resolve"] == "never":
        _lock.refuse_missing(lacks, path)
    fresh, warnings = resolve(sources, old, wanted, images, lacks)
    names = None if params["wanted"] is None else [model.name for model in wanted]
    keys = None if params["images"] is None else list(images)
    new = _lock.updated(old, fresh, names, keys, params["prune"])
    new = _lock.settled(new, proposed(params["out"])) if params["out"] else new
    if params["resolve"] == "verify":
        verify(sources, new, fresh)
    text = given if new == old else _lock.dump(new)
    changed = put(params, new != old, text, module.check_mode)
    for warning in warnings:
        module.warn(warning)
    resolved = [{"what": "model", "name": name, "reason": reason} for name, reason in lacks.models.items()]
    resolved += [{"what": "image", "name": key, "reason": reason} for key, reason in lacks.images.items()]
    changes = _lock_diff.diff(old, new, wanted, (capacity.isa for capacity in sources.capacities().values()))
    return {
        "changed": changed, "text": text, "lock": new.as_dict(), "resolved": resolved, "changes": changes, "diff": _glue.told(changes, path),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module)
    except ClientMissing as error:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=traceback.format_exc(), reason=str(error.__cause__))
    except FleetError as error:
        _glue.fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
