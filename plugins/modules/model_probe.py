#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask models prompts and return what they answered and how fast."""
from __future__ import annotations

DOCUMENTATION = r"""
module: model_probe
short_description: Ask models prompts and measure their answers
version_added: 0.1.0
description:
  - Asks one or more models on one instance the same prompts at the same moment, and returns each answer with its times, so that the filter
    P(localai.fleet.gate_verdict#filter) can compare a new model with the one whose place it is to take.
  - An answer that does not come is no failed task but an C(error) in words.
  - Changes nothing, and asks in check mode too.
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  base_url:
    description: The instance, such as C(http://10.213.0.2:8080).
    type: str
    required: true
  key:
    description: The key to ask with.
    type: str
    default: ""
  models:
    description: The names to ask, each for every prompt.
    type: list
    elements: str
    required: true
  prompts:
    description: The prompts, as the filter P(localai.fleet.gate_prompts#filter) makes them.
    type: list
    elements: dict
    required: true
  timeout:
    description: The longest wait for an answer in seconds.
    type: float
    default: 300
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Ask the model that serves and the one that is to take its place
  localai.fleet.model_probe:
    base_url: http://10.213.0.2:8080
    key: "{{ admin_key }}"
    models: [chat, chat.0f1e2d3c]
    prompts: "{{ 'chat' | localai.fleet.gate_prompts('chat', []) }}"
  register: asked
"""

RETURN = r"""
answers:
  description:
    - What each model answered, by model and by the prompt's name.
    - All have C(error), which is empty when an answer came. A text has C(text), C(tokens), C(stopped), C(first_token_seconds) and
      C(tokens_per_second), an embedding has C(similarities), a rerank C(first).
  returned: success
  type: dict
  sample:
    chat:
      capital: {error: "", text: Paris, tokens: 2, stopped: true, first_token_seconds: 0.08, tokens_per_second: 41.5}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FleetError
from ..module_utils._gate import parse
from ..module_utils._glue import fail
from ..module_utils._measure import measure
from ..module_utils._probe import Client, Target


def argument_spec() -> dict[str, dict[str, Any]]:
    return {
        "base_url": {"type": "str", "required": True},
        "key": {"type": "str", "default": "", "no_log": True},
        "models": {"type": "list", "elements": "str", "required": True},
        "prompts": {"type": "list", "elements": "dict", "required": True},
        "timeout": {"type": "float", "default": 300},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        prompts = [parse(item, f"prompts[{index}]") for index, item in enumerate(params["prompts"])]
        client = Client(Target(params["base_url"], params["key"], timeout=params["timeout"]))
        answers = measure(client, params["models"], prompts)
    except FleetError as error:
        fail(module, error)
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
