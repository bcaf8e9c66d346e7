#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of a GGUF file says."""
from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: Read the header of a GGUF file
version_added: 0.1.0
description:
  - Reads the keys of a GGUF model file from a local file or by byte ranges from a server, and says how many bytes that took.
  - Without O(exact) it reads 64 KB, and more only when the keys that a plan needs stand behind these.
  - Nothing in the file is trusted. Every count and length is checked against a limit and against the size of the file, at most 64 MB
    are read, in at most 12 requests to a server and 30 seconds. A file that leaves a limit fails the task with the byte and the field.
  - Nothing is changed, in check mode neither.
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  path:
    description: The file, or all parts of a split model in their order.
    type: list
    elements: path
  url:
    description: The URL of the file, or of all parts of a split model in their order. The server must answer byte ranges for O(exact=true).
    type: list
    elements: str
  token:
    description: A bearer token for the host of O(url). It is never sent to a host that O(url) redirects to.
    type: str
  ca_path:
    description: A file of certificates to trust besides those of the system.
    type: path
  exact:
    description:
      - Read all keys and tensor infos, some megabytes, instead of the first 64 KB.
      - Only this tells exactly what the engine rewrites into memory at load.
    type: bool
    default: false
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Look at a local file
  localai.fleet.gguf_info:
    path: /srv/models/gemma-3-270m-q4_k_m.gguf
    exact: true

- name: Look at a file on a mirror without downloading it
  localai.fleet.gguf_info:
    url: https://mirror.example.com/models/gemma-3-270m-q4_k_m.gguf
  register: header

- name: Say what it is and what that cost
  ansible.builtin.debug:
    msg: "{{ header.msg }}"

- name: Look at a split model, all parts in order
  localai.fleet.gguf_info:
    url:
      - https://mirror.example.com/models/large-q4_k_m-00001-of-00002.gguf
      - https://mirror.example.com/models/large-q4_k_m-00002-of-00002.gguf
    token: "{{ vault_mirror_token }}"
    ca_path: /etc/ssl/mirror.pem
    exact: true
"""

RETURN = r"""
msg:
  description: One line for people, with how much was read.
  returned: success
  type: str
  sample: gemma3, 18 layers, 262144 tokens of vocabulary; read 65,536 of 253,113,024 bytes (0.026 %) in plan mode
mode:
  description: V(plan) when only the start was wanted, V(exact) when everything was read.
  returned: success
  type: str
  sample: plan
sources:
  description: The files that were read, in order. Users, passwords and queries of URLs are left out.
  returned: success
  type: list
  elements: str
  sample: [/srv/models/gemma-3-270m-q4_k_m.gguf]
header:
  description: What the planner needs of the file. Sizes are bytes. What the part that was read does not tell is absent.
  returned: success
  type: dict
  contains:
    schema: {description: Version of these fields., type: int, returned: success, sample: 1}
    architecture: {description: Architecture of the model., type: str, returned: success, sample: gemma3}
    parameters: {description: Keys of the architecture without its name., type: dict, returned: success, sample: {block_count: 18}}
    name: {description: Name of the model., type: str, returned: when the file tells it}
    license: {description: Licence of the model., type: str, returned: when the file tells it, sample: gemma}
    general_type: {description: "What the file is, such as V(model).", type: str, returned: when the file tells it}
    file_type: {description: Number of the quant., type: int, returned: when read, sample: 15}
    alignment: {description: Alignment of tensors., type: int, returned: when read, sample: 32}
    quantization_version: {description: Version of the quants., type: int, returned: when read, sample: 2}
    version: {description: Version of the file format., type: int, returned: success, sample: 3}
    tensor_count: {description: Number of tensors., type: int, returned: success, sample: 236}
    key_count: {description: Number of keys., type: int, returned: success, sample: 33}
    vocab_size: {description: Tokens of the vocabulary., type: int, returned: success, sample: 262144}
    tokenizer_model: {description: Kind of the tokenizer., type: str, returned: when the file tells it, sample: gpt2}
    causal: {description: Whether tokens only see those before them., type: bool, returned: success}
    pooling_type: {description: How embeddings are pooled., type: int, returned: success}
    has_chat_template: {description: Whether the file holds a chat template., type: bool, returned: when read}
    chat_template_sha256: {description: SHA-256 of the chat template., type: str, returned: when it has one}
    split_count: {description: Number of files of the model., type: int, returned: when read, sample: 1}
    split_no: {description: Number of this file among them., type: int, returned: when read, sample: 0}
    file_size: {description: Size of all files., type: int, returned: when known, sample: 253113024}
    bytes_read: {description: Bytes that were read., type: int, returned: success, sample: 65536}
    complete: {description: Whether all keys were read., type: bool, returned: success}
    tensors: {description: "Tensors by type, role and row divisor, with count and bytes.", type: list, elements: dict, returned: when O(exact=true)}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FleetError
from ..module_utils._gguf import FileSource, Header, HttpSource, read_header
from ..module_utils._glue import fail
from ..module_utils._http import build_opener


def argument_spec() -> dict[str, dict[str, Any]]:
    return {
        "path": {"type": "list", "elements": "path"},
        "url": {"type": "list", "elements": "str"},
        "token": {"type": "str", "no_log": True},
        "ca_path": {"type": "path"},
        "exact": {"type": "bool", "default": False},
    }


def sources(params: dict[str, Any]) -> list[Any]:
    """A source for each file."""
    if params["path"]:
        return [FileSource(path) for path in params["path"]]
    headers = {"Authorization": f"Bearer {params['token']}"} if params["token"] else {}
    opener = build_opener(params["ca_path"])
    return [HttpSource(url, headers=headers, opener=opener) for url in params["url"] or ()]


def sentence(header: Header, mode: str, files: int) -> str:
    """What the file is, how much of it was read, and how many of its parts are not among the `files`."""
    share = f" of {header.file_size:,} bytes ({100 * header.bytes_read / header.file_size:.3f} %)" if header.file_size else " bytes"
    layers = header.get("block_count", "an unknown number of")
    part = f"; it is the first of {header.split_count} files" if (header.split_count or 1) > files else ""
    return f"{header.architecture}, {layers} layers, {header.vocab_size} tokens of vocabulary; read {header.bytes_read:,}{share} in {mode} mode{part}"


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, mutually_exclusive=[("path", "url")], required_one_of=[("path", "url")])
    mode = "exact" if module.params["exact"] else "plan"
    try:
        found = sources(module.params)
        header = read_header(found[0] if len(found) == 1 else found, exact=module.params["exact"])
    except FleetError as error:
        fail(module, error)
    module.exit_json(changed=False, header=header.as_dict(), mode=mode, sources=[source.label for source in found], msg=sentence(header, mode, len(found)))


if __name__ == "__main__":
    main()
