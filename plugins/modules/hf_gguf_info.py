#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository of the Hugging Face Hub offers as one quant."""
from __future__ import annotations

DOCUMENTATION = r"""
module: hf_gguf_info
short_description: Read what a Hugging Face repository offers as one quant
version_added: 0.1.0
description:
  - Asks the Hugging Face Hub, or a mirror of it, which file or split set of a repository is the wanted quant, and reads that file's
    GGUF header by byte ranges. Nothing is downloaded and nothing is written.
  - Runs on the controller. Hosts never ask the Hub.
options:
  repository:
    description:
      - Name of the repository, C(OWNER/REPOSITORY).
    type: str
    required: true
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

- name: Say how large it is and how it is licensed
  ansible.builtin.debug:
    msg: "{{ found.files[0].path }}: {{ found.size }} bytes, {{ found.license }}"
"""

RETURN = r"""
repository:
  description: Name of the repository.
  returned: success
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

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ..module_utils import _glue
from ..module_utils._errors import FleetError
from ..module_utils._hub import choose, quants
from ..module_utils._hub_client import ClientMissing, Hub, HubOptions


def argument_spec() -> dict[str, Any]:
    return {
        "repository": {"type": "str", "required": True},
        "revision": {"type": "str"},
        "quant": {"type": "str", "default": "Q4_K_M"},
        "file": {"type": "str"},
        "endpoint": {"type": "str", "default": "https://huggingface.co", "fallback": (env_fallback, ["HF_ENDPOINT"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HF_TOKEN"])},
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 30},
    }


def look(params: dict[str, Any]) -> dict[str, Any]:
    hub = Hub(HubOptions(params["endpoint"], params["token"] or "", params["ca_path"], params["timeout"]))
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


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        found = look(module.params)
    except ClientMissing as error:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=traceback.format_exc(), reason=str(error.__cause__))
    except FleetError as error:
        _glue.fail(module, error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
