#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an OpenAI-compatible service as a client would."""
from __future__ import annotations

DOCUMENTATION = r"""
module: chat_probe
short_description: Prove that an OpenAI-compatible service answers
version_added: 0.1.0
description:
  - Asks a service as a client would, and returns one check for each question with what was got, what was wanted and the cure.
  - Every model and alias must give a real answer of its kind, a stream must arrive in chunks and end with C([DONE]),
    a request without a key must be refused, and admin routes must be closed.
  - A failed check is no failed task. Read RV(ok), or hand RV(checks) to the filter P(localai.fleet.verdict#filter).
  - Changes nothing, and asks in check mode too.
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  base_url:
    description: The address as clients write it, such as C(https://ai.example.com). An ending C(/v1) is left off.
    type: str
    required: true
  key:
    description: The key of a consumer. Without it the checks for refused requests are left out.
    type: str
    default: ""
  ca_file:
    description: PEM file of the authority that signed the certificate, on the machine that probes. Empty means the system's authorities.
    type: str
    default: ""
  resolve_to:
    description:
      - Dial this address, with C(:port) where it differs, in place of the name in O(base_url).
      - The certificate is still checked for the name, and the name is still sent.
    type: str
    default: ""
  models:
    description: The served models to ask.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The served name.
        type: str
        required: true
      kind:
        description: What it must answer.
        type: str
        choices: [chat, completion, embedding, rerank]
        default: chat
      aliases:
        description: Its other names. Each must answer too.
        type: list
        elements: str
        default: []
      times:
        description:
          - How often to ask it by its name. With as many times as instances behind a gateway that takes turns, each is asked once
            while nobody else asks.
        type: int
        default: 1
  prompt:
    description: What is asked.
    type: str
    default: Say hello in one short sentence.
  max_tokens:
    description: The longest answer in tokens.
    type: int
    default: 16
  stream:
    description: Whether to ask for a stream too.
    type: bool
    default: true
  ready_path:
    description: The route that tells readiness without a key. Empty leaves this check out.
    type: str
    default: /readyz
  closed_routes:
    description:
      - Routes that must answer 404 to a consumer. An empty list leaves these checks out.
      - Each is asked with GET. Only a route that then answers 404 is also asked with POST and an empty body, where it is one that changes things.
    type: list
    elements: str
    default: [/models/apply, /backends/apply, /system, /metrics, /backend/shutdown, /swagger/index.html, /api/settings]
  timeout:
    description: The longest wait for an answer in seconds. The first question may have to load a model.
    type: float
    default: 300
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Ask the service through its gateway
  localai.fleet.chat_probe:
    base_url: https://ai.example.com
    resolve_to: 192.0.2.10
    ca_file: /opt/localai/config/ca.crt
    key: "{{ key_of_a_consumer }}"
    models:
      - name: llama-3.2-1b-instruct
        kind: chat
        aliases: [gpt-4]
  delegate_to: localhost
  register: answer

- name: Tell what failed
  ansible.builtin.debug:
    msg: "{{ answer.checks | rejectattr('ok') | map(attribute='cure') }}"
"""

RETURN = r"""
ok:
  description: Whether every check passed.
  returned: success
  type: bool
failed_checks:
  description: How many checks failed.
  returned: success
  type: int
base_url:
  description: The address that was asked.
  returned: success
  type: str
checks:
  description: The checks in the order of asking. When nothing answers at all, the first is the only one.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: V(ready), V(models), V(chat), V(completion), V(embedding), V(rerank), V(stream), V(no_key), V(wrong_key) or V(closed).
      type: str
      returned: success
    target: {description: The model or route that was asked., type: str, returned: success}
    ok: {description: Whether it passed., type: bool, returned: success}
    got: {description: What was seen., type: str, returned: success}
    want: {description: What was wanted., type: str, returned: success}
    seconds: {description: How long it took., type: float, returned: success}
    cure: {description: What to do; empty when it passed., type: str, returned: success}
    answered: {description: Whether any HTTP answer came., type: bool, returned: success}
    first_token_seconds: {description: Time to the first text of a stream., type: float, returned: success}
    tokens_per_second: {description: Speed of a stream after its first token., type: float, returned: success}
    tokens: {description: Tokens of a stream., type: int, returned: success}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FleetError
from ..module_utils._glue import fail
from ..module_utils._probe import ADMIN_ROUTES, KINDS, Options, Target, Wanted, probe


def argument_spec() -> dict[str, dict[str, Any]]:
    model = {
        "name": {"type": "str", "required": True},
        "kind": {"type": "str", "choices": list(KINDS), "default": "chat"},
        "aliases": {"type": "list", "elements": "str", "default": []},
        "times": {"type": "int", "default": 1},
    }
    return {
        "base_url": {"type": "str", "required": True},
        "key": {"type": "str", "default": "", "no_log": True},
        "ca_file": {"type": "str", "default": ""},
        "resolve_to": {"type": "str", "default": ""},
        "models": {"type": "list", "elements": "dict", "default": [], "options": model},
        "prompt": {"type": "str", "default": "Say hello in one short sentence."},
        "max_tokens": {"type": "int", "default": 16, "no_log": False},
        "stream": {"type": "bool", "default": True},
        "ready_path": {"type": "str", "default": "/readyz"},
        "closed_routes": {"type": "list", "elements": "str", "default": list(ADMIN_ROUTES)},
        "timeout": {"type": "float", "default": 300},
    }


def desired(params: dict[str, Any]) -> tuple[Target, list[Wanted], Options]:
    """What to ask, of whom, and how."""
    target = Target(*(params[name] for name in ("base_url", "key", "ca_file", "resolve_to", "timeout")))
    wanted = [Wanted(model["name"], model["kind"], tuple(model["aliases"]), model["times"]) for model in params["models"]]
    options = Options(params["prompt"], params["max_tokens"], params["stream"], params["ready_path"],
                      tuple(params["closed_routes"]))
    return target, wanted, options


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        checks = [check.as_dict() for check in probe(*desired(module.params))]
    except FleetError as error:
        fail(module, error)
    failed = sum(not check["ok"] for check in checks)
    module.exit_json(changed=False, ok=not failed, failed_checks=failed, base_url=module.params["base_url"], checks=checks)


if __name__ == "__main__":
    main()
