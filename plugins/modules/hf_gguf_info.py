#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Hugging Face Hub offers: one repository as one quant, or what a search, or the presets, find."""
from __future__ import annotations

DOCUMENTATION = r"""
module: hf_gguf_info
short_description: Read what a Hugging Face repository offers as one quant, or search for models that fit
version_added: 0.1.0
description:
  - With O(repository), asks the Hugging Face Hub, or a mirror of it, which file or split set of a repository is the wanted quant, and reads
    that file's GGUF header by byte ranges.
  - With O(search), asks the Hub for one page of its list, judges every repository on it, and reads the best of those that remain. What is
    not taken is returned with the reason.
  - With O(presets), looks at models that the collection knows by name.
  - With O(capacities), every candidate carries what it would run with and where it fits, by the same engine that makes the plan.
  - No model is downloaded. Headers that were read are kept below O(cache_path), by the SHA-256 of their files.
  - A Hub that limits or fails is waited for as it asks, at most O(patience) seconds in all.
  - Runs on the controller. Hosts never ask the Hub.
options:
  repository:
    description:
      - Name of the repository, C(OWNER/REPOSITORY).
    type: str
  search:
    description:
      - What to search for. One call for the list, and one for each repository that is read.
      - Re-uploads of one model are grouped, and the best publisher is taken, the model's own maker first. Projectors, drafts, importance
        matrices, architectures that the engine cannot run, owners that only look like a known one, and headers that claim absurd things are
        refused.
    type: dict
    suboptions:
      sort:
        description: The Hub's order. Candidates keep it.
        type: str
        choices: [trending, downloads, likes, newest]
        default: trending
      text:
        description: Words that the repository's name must have.
        type: str
        default: ""
      quant:
        description: The wanted quant.
        type: str
        default: Q4_K_M
      min_parameters:
        description: Fewest parameters, as V(500M) or V(1.5B).
        type: str
      max_parameters:
        description: Most parameters.
        type: str
      min_size:
        description: Least size of the model's files, as V(800 MB) or V(4 GiB).
        type: str
      max_size:
        description: Largest size of the model's files. With O(capacities) it is never above the memory of the largest host.
        type: str
      category:
        description: What the model must be for.
        type: str
        choices: [chat, code, reasoning, tools, vision, embedding, rerank]
      language:
        description: Two letters of a language that the model must state.
        type: str
      licenses:
        description: Licenses that are taken, as the Hub names them (V(apache-2.0), V(llama3.2)). Empty takes all but O(search.licenses_denied).
        type: list
        elements: str
        default: []
      licenses_denied:
        description: Licenses that are not taken.
        type: list
        elements: str
        default: []
      license_unknown:
        description: Whether a model without a known license is taken.
        type: str
        choices: [allow, refuse]
        default: allow
      publishers:
        description: Owners that are taken, the best first, also where one looks like another. Empty takes all that look like nobody else.
        type: list
        elements: str
        default: []
      gated:
        description: Whether models are taken for which access has to be asked.
        type: bool
        default: false
      min_age_days:
        description: Fewest days since the repository was made.
        type: int
      max_age_days:
        description: Most days since the repository was made.
        type: int
      consider:
        description: How many repositories of the list are looked at, 1 to 500.
        type: int
        default: 200
      count:
        description: How many candidates are wanted, 1 to 50.
        type: int
        default: 5
  presets:
    description:
      - Names of presets to look at, or V(all). One call for each.
    type: list
    elements: str
  capacities:
    description:
      - What each host can give, by name, as M(localai.fleet.capacity_facts) returns it. A candidate that fits on no host is refused.
    type: dict
  gateways:
    description: Names of hosts that run the proxy too, with O(capacities).
    type: list
    elements: str
    default: []
  reserved_cores:
    description: Cores that a host leaves to other programs, by host, with O(capacities).
    type: dict
    default: {}
  beside:
    description:
      - Models that are wanted already, as in C(models_wanted). Candidates must fit beside those that O(lock) has.
    type: list
    elements: dict
    default: []
  lock:
    description: The lock, as M(localai.fleet.fleet_lock) returns it, for O(beside) and for the hosts' own measurements of threads and speed.
    type: dict
  options:
    description: Options of a wanted model to plan candidates with, such as C(context) and C(slots).
    type: dict
    default: {}
  cache_path:
    description:
      - Folder that keeps headers. Empty keeps none. It never holds a secret and can be deleted at any time.
    type: path
    default: ""
  patience:
    description: Seconds that may be waited in all for a Hub that limits or fails.
    type: int
    default: 60
  revision:
    description:
      - Branch, tag or commit. The newest commit of the main branch by default.
    type: str
  quant:
    description:
      - The wanted quant. A plain file is preferred over C(UD-) and C(i1-) ones unless the quant asks for these, as V(UD-Q4_K_M) does.
    type: str
    default: Q4_K_M
  file:
    description:
      - Path of the file in the repository, instead of a choice by quant.
    type: str
  endpoint:
    description:
      - Base URL of the Hub or of a mirror. The environment variable E(HF_ENDPOINT) is used when it is not given.
    type: str
    default: https://huggingface.co
  token:
    description:
      - Token for private and gated repositories. The environment variable E(HF_TOKEN) is used when it is not given.
    type: str
  ca_path:
    description:
      - PEM file of certificate authorities that are trusted besides the system's.
    type: path
  timeout:
    description:
      - Seconds that one request may take.
    type: int
    default: 30
requirements:
  - huggingface_hub >= 2.0
extends_documentation_fragment:
  - localai.fleet.attributes
seealso:
  - module: localai.fleet.fleet_lock
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Look at a quant
  localai.fleet.hf_gguf_info:
    repository: bartowski/Llama-3.2-1B-Instruct-GGUF
    quant: Q4_K_M
  delegate_to: localhost
  register: found

- name: Find small chat models of the last half year that fit on the hosts
  localai.fleet.hf_gguf_info:
    search:
      sort: trending
      category: chat
      max_parameters: 4B
      licenses: [apache-2.0, mit]
      license_unknown: refuse
      max_age_days: 180
    capacities:
      ai1: "{{ hostvars.ai1.ansible_facts.localai_capacity }}"
  delegate_to: localhost
  register: models

- name: Show them
  ansible.builtin.debug:
    var: models.text

- name: Say how large it is and how it is licensed
  ansible.builtin.debug:
    msg: "{{ found.files[0].path }}: {{ found.size }} bytes, {{ found.license }}"
"""

RETURN = r"""
candidates:
  description: What was found, the best first, presets before what was searched.
  returned: with O(search) or O(presets)
  type: list
  elements: dict
  contains:
    name: {description: A name to serve it under., type: str, returned: success, sample: llama-3.2-1b-instruct}
    source: {description: As C(models_wanted) takes it., type: str, returned: success, sample: hf://bartowski/Llama-3.2-1B-Instruct-GGUF}
    quant: {description: Its quant., type: str, returned: success, sample: Q4_K_M}
    repository: {description: Its repository., type: str, returned: success, sample: bartowski/Llama-3.2-1B-Instruct-GGUF}
    commit: {description: The commit that was read., type: str, returned: success, sample: 067b946cf014b7c697f3654f621d577a3e3afd1c}
    files: {description: "C(path), C(size) and C(sha256) of its files, in order.", type: list, elements: dict, returned: success}
    projector: {description: The file that lets it see images., type: dict, returned: success}
    size: {description: Bytes of all files of the model., type: int, returned: success, sample: 807694464}
    base_model: {description: What it was made from., type: str, returned: success, sample: meta-llama/Llama-3.2-1B-Instruct}
    license: {description: Its license., type: str, returned: success, sample: llama3.2}
    gated: {description: Whether access has to be asked for., type: str, returned: success}
    categories: {description: What it is for., type: list, elements: str, returned: success, sample: [chat, tools]}
    languages: {description: Languages that it states., type: list, elements: str, returned: success, sample: [en, de]}
    parameters: {description: Parameters as the Hub or the name says., type: int, returned: success, sample: 1235814432}
    architecture: {description: Architecture by the header., type: str, returned: success, sample: llama}
    context_length: {description: Trained context in tokens., type: int, returned: success, sample: 131072}
    downloads: {description: Downloads of the last 30 days., type: int, returned: success}
    likes: {description: Likes of the repository., type: int, returned: success}
    created: {description: Day on which the repository was made., type: str, returned: success, sample: "2026-10-01"}
    preset: {description: "Name of the preset it is of, or null.", type: str, returned: success}
    wanted: {description: An item of C(models_wanted) for it., type: dict, returned: success}
    notes: {description: Sentences for who chooses., type: list, elements: str, returned: success}
    plan:
      description:
        - With O(capacities), by C(hosts) that hold it, C(threads), C(context), C(slots), C(memory) (every term in bytes), C(memory_limit) and
          C(expected_tokens_per_second), and what is C(refused).
      type: dict
      returned: success
refused:
  description: Repositories and files that are no candidates, each with the C(reason), a sentence, and C(repository), C(file) and C(preset).
  returned: with O(search) or O(presets)
  type: list
  elements: dict
calls:
  description: What was asked of the Hub. Pages of the C(list), each C(repository), and each C(header) that was read from files.
  returned: with O(search) or O(presets)
  type: dict
  sample: {list: 1, repository: 5, header: 5}
text:
  description: The candidates as a table, for people.
  returned: with O(search) or O(presets)
  type: list
  elements: str
repository:
  description: Name of the repository.
  returned: with O(repository)
  type: str
  sample: bartowski/Llama-3.2-1B-Instruct-GGUF
commit:
  description: The commit that was read.
  returned: success
  type: str
  sample: 067b946cf014b7c697f3654f621d577a3e3afd1c
files:
  description: The file of the quant, or the shards of a split set in order.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the repository.
      type: str
    size:
      description: Size in bytes.
      type: int
    sha256:
      description: SHA-256 of the content.
      type: str
    url:
      description: Where it is downloaded from, at this commit.
      type: str
size:
  description: Bytes of all files together.
  returned: success
  type: int
quants:
  description: What the repository offers, as O(quant) takes it.
  returned: success
  type: list
  elements: str
license:
  description: The license the repository states, or else the file's header.
  returned: success
  type: str
gated:
  description: V(auto) or V(manual) when access has to be asked for, else empty.
  returned: success
  type: str
private:
  description: Whether the repository is private.
  returned: success
  type: bool
tags:
  description: Tags of the repository.
  returned: success
  type: list
  elements: str
base_models:
  description: The models this one was made from.
  returned: success
  type: list
  elements: str
header:
  description: The fields of the GGUF header that planning needs.
  returned: success
  type: dict
bytes_read:
  description: Bytes that were read of the files.
  returned: success
  type: int
"""

import time
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ..module_utils import _choices, _glue, _lock, _tuning
from ..module_utils._capacity import Capacity
from ..module_utils._errors import FleetError
from ..module_utils._fits import Site, locked_models
from ..module_utils._fleet import Fleet
from ..module_utils._given import number
from ..module_utils._hub import choose, quants
from ..module_utils._hub_client import ClientMissing, Hub, HubOptions
from ..module_utils._search import Policy


def argument_spec() -> dict[str, Any]:
    return {
        "repository": {"type": "str"},
        "search": {"type": "dict", "options": Policy.spec()},
        "presets": {"type": "list", "elements": "str"},
        "revision": {"type": "str"},
        "quant": {"type": "str", "default": "Q4_K_M"},
        "file": {"type": "str"},
        "capacities": {"type": "dict"},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "reserved_cores": {"type": "dict", "default": {}},
        "beside": {"type": "list", "elements": "dict", "default": []},
        "lock": {"type": "dict"},
        "options": {"type": "dict", "default": {}},
        "cache_path": {"type": "path", "default": ""},
        "patience": {"type": "int", "default": 60},
        "endpoint": {"type": "str", "default": "https://huggingface.co", "fallback": (env_fallback, ["HF_ENDPOINT"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HF_TOKEN"])},
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 30},
    }


def look(hub: Hub, params: dict[str, Any]) -> dict[str, Any]:
    """One repository."""
    repository = hub.repository(params["repository"], params["revision"])
    files = choose(repository.files, params["quant"], params["file"], where=repository.name)
    header = hub.header(repository, files)
    return {
        "repository": repository.name,
        "commit": repository.commit,
        "files": [
            {"path": file.path, "size": file.size, "sha256": file.sha256, "url": hub.url(repository.name, repository.commit, file.path)}
            for file in files
        ],
        "size": sum(file.size for file in files),
        "quants": quants(repository.files),
        "license": repository.license or header.license,
        "gated": repository.gated,
        "private": repository.private,
        "tags": list(repository.tags),
        "base_models": list(repository.base_models),
        "header": header.as_dict(),
        "bytes_read": header.bytes_read,
    }


def site_of(params: dict[str, Any]) -> Site | None:
    """The fleet that candidates must fit into; None when none is given."""
    if not params["capacities"]:
        return None
    capacities = {name: Capacity.from_dict(data, f"capacities.{name}") for name, data in params["capacities"].items()}
    lock = _lock.validate(params["lock"]) if params["lock"] else _lock.Lock()
    tuning, ignored = _tuning.judged(capacities, lock.images, time.time())
    reserved = {host: number(f"reserved_cores.{host}", cores) for host, cores in params["reserved_cores"].items() if cores not in (None, "")}
    fleet = Fleet(gateways=params["gateways"], reserved_cores=reserved, tuning=tuning, ignored=ignored)
    return Site(capacities, locked_models(params["beside"], lock), fleet, params["options"])


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(), supports_check_mode=True, required_one_of=[("repository", "search", "presets")],
        mutually_exclusive=[("repository", "search"), ("repository", "presets")])
    params = module.params
    try:
        hub = Hub(HubOptions(
            params["endpoint"], params["token"] or "", params["ca_path"], params["timeout"], params["patience"], params["cache_path"]))
        if params["repository"]:
            found = look(hub, params)
        else:
            policy = None if params["search"] is None else Policy.from_dict(params["search"])
            found = _choices.choices(hub, policy, params["presets"] or (), site_of(params))
    except ClientMissing as error:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=traceback.format_exc(), reason=str(error.__cause__))
    except FleetError as error:
        _glue.fail(module, error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
