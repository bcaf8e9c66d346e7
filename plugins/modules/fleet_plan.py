#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one decision for the fleet."""
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Decide which model runs where, with which threads and limits
version_added: 0.1.0
description:
  - Takes what the servers can give, what is wanted and the lock, and returns the plan of the whole fleet. It needs no network and no host.
  - Memory is planned for each model with every term apart. A model is placed where the memory that cannot be paged out fits.
  - The same input gives the same plan, byte for byte. Only O(out) and O(out_html) are ever written.
  - A model that the lock has in several files (a split set) is refused, since it cannot be served yet.
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.wanted
options:
  capacities:
    description: What each server can give, by name, as M(localai.fleet.capacity_facts) returns it.
    type: dict
    required: true
  wanted:
    required: true
  lock:
    description: The lock as M(localai.fleet.fleet_lock) returns it. It must hold every wanted model.
    type: dict
    required: true
  topology:
    description: How the servers form one service. V(auto) is standalone for one server and replicated for more.
    type: str
    choices: [auto, standalone, replicated]
    default: auto
  gateways:
    description: Names of the hosts that run the proxy. On a server that is a gateway too, some memory is left to it.
    type: list
    elements: str
    default: []
  refuse:
    description:
      - What happens when a wanted model fits on fewer servers than asked for.
      - V(fail) fails with the shortfall and what would fit. V(report) returns the plan of the rest.
    type: str
    choices: [fail, report]
    default: fail
  previous:
    description: The plan that is deployed. The difference is against it, and replicas stay where they are while they fit.
    type: dict
  notes:
    description: Sentences that say what the plan assumes. They come first in RV(text) and on the page.
    type: list
    elements: str
    default: []
  out:
    description: A file to write the plan to, as JSON.
    type: path
  out_html:
    description: A file to write the plan to, as one page of HTML that needs no other file, no script and no network.
    type: path
author:
  - localai.fleet contributors (@localai-fleet)
"""

EXAMPLES = r"""
- name: Plan the fleet
  localai.fleet.fleet_plan:
    capacities:
      ai1: "{{ hostvars.ai1.ansible_facts.localai_capacity }}"
      ai2: "{{ hostvars.ai2.ansible_facts.localai_capacity }}"
    wanted: "{{ models_wanted }}"
    lock: "{{ common_lock }}"
    gateways: "{{ groups.localai_gateway }}"
  delegate_to: localhost
  register: planned

- name: Print the plan
  ansible.builtin.debug:
    var: planned.text
"""

RETURN = r"""
plan:
  description: The plan. Sizes are bytes.
  returned: success
  type: dict
  contains:
    schema: {description: Version of these fields., type: int, returned: success, sample: 1}
    topology: {description: How the servers form one service., type: str, returned: success, sample: replicated}
    hosts:
      description:
        - Budget, C(instances) and C(workers) of each host.
        - An instance has its NUMA C(node) or null, its C(residency), limits, threads and models, a model every term of its memory.
      type: dict
      returned: success
    placement: {description: The servers of each model., type: dict, returned: success, sample: {llama-3.2-1b-instruct: [ai1, ai2]}}
    shards: {description: "How each model that is split is shared between a server and its workers.", type: dict, returned: success}
    refused:
      description: Models that a server cannot hold, with C(reason), C(short_by) bytes and C(fits_with).
      type: list
      elements: dict
      returned: success
    warnings: {description: What to know of a host., type: list, elements: dict, returned: success}
    advice: {description: What to know of a model., type: list, elements: str, returned: success}
    unmet: {description: Models on fewer servers than asked for., type: list, elements: str, returned: success}
table:
  description: A row for each model on each server. C(memory_planned) is the model's, without its file. C(memory_limit) is its whole container's.
  returned: success
  type: list
  elements: dict
  sample:
    - {host: ai1, model: llama-3.2-1b-instruct, threads: 7, context: 4096, slots: 2, memory_planned: 1300234240, memory_limit: 2443182080}
changes:
  description: What the plan changes in what is deployed, a line each; empty when O(previous) is not given.
  returned: success
  type: list
  elements: str
  sample: ["deployed: qwen3-8b on ai1, ai2: context 4096 → 8192"]
text:
  description: O(notes) and the table as lines, followed by refusals, warnings, advice and the first of RV(changes), in diff mode all.
  returned: success
  type: list
  elements: str
"""

import contextlib
import json
import os
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _lock, _plan_diff, _plan_html, _plan_text
from ..module_utils._capacity import Capacity
from ..module_utils._errors import FleetError
from ..module_utils._gguf import Header
from ..module_utils._glue import diff, fail
from ..module_utils._placement import plan_fleet
from ..module_utils._plan import Plan
from ..module_utils._wanted import parse_wanted, wanted_spec


def argument_spec() -> dict[str, dict[str, Any]]:
    return {
        "capacities": {"type": "dict", "required": True},
        "wanted": {"type": "list", "elements": "dict", "required": True, "options": wanted_spec()},
        "lock": {"type": "dict", "required": True},
        "topology": {"type": "str", "choices": ["auto", "standalone", "replicated"], "default": "auto"},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "refuse": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        "previous": {"type": "dict"},
        "notes": {"type": "list", "elements": "str", "default": []},
        "out": {"type": "path"},
        "out_html": {"type": "path"},
    }


def make_plan(params: dict[str, Any]) -> Plan:
    """Check the input and plan."""
    wanted = parse_wanted(params["wanted"])
    lock = _lock.validate(params["lock"])
    locked = {model.name: _locked(lock, model.name) for model in wanted}
    return plan_fleet(
        {name: _capacity(name, data) for name, data in params["capacities"].items()}, wanted,
        {name: _header(model) for name, model in locked.items()}, topology=params["topology"], gateways=params["gateways"],
        digests={name: model.files[0].sha256 for name, model in locked.items()}, previous=params["previous"])


def refuse_unmet(plan: Plan) -> None:
    """Fail for the first model that could not be placed as asked; the others are counted."""
    if not plan.unmet:
        return
    reasons = [item.reason for item in plan.refused if item.model == plan.unmet[0]]
    more = len(plan.refused) - 1
    others = f" {more} more placement{'s' if more > 1 else ''} refused; refuse=report lists all." if more > 0 else ""
    raise FleetError(f"The plan cannot place {plan.unmet[0]} as asked: {reasons[0]}{others}"[:-1], do="Nothing was changed.")


def write(option: str, path: str, text: str) -> None:
    """Put a text into place at once; nobody sees half of it."""
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise FleetError("The plan cannot be written", f"{option} {path}", error.strerror or str(error), "Check the path.") from error


def read(path: str | None) -> str:
    """The text that a file holds; empty when there is none."""
    try:
        with open(path or "", encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def stored(path: str | None) -> dict[str, Any]:
    """The plan that a file holds; empty when it holds none."""
    try:
        found = json.loads(read(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and {"schema", "topology", "hosts"} <= set(found) else {}


def texts(plan: dict[str, Any], changes: tuple[_plan_diff.Change, ...] | None, params: dict[str, Any]) -> dict[str, str]:
    """What the files that are asked for must hold, by option."""
    made = {"out": lambda: _plan_text.text(plan), "out_html": lambda: _plan_html.page(plan, changes, params["notes"])}
    return {option: make() for option, make in made.items() if params[option]}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        plan = make_plan(params)
        if params["refuse"] == "fail":
            refuse_unmet(plan)
        data, before = plan.as_dict(), params["previous"]
        changes = None if before is None else _plan_diff.changes(before, data)
        stale = {option: text for option, text in texts(data, changes, params).items() if read(params[option]) != text}
        shown = diff(*(_plan_text.text(_plan_diff.running(each)) for each in (before or stored(params["out"]), data)), "plan")
        for option, text in {} if module.check_mode else stale.items():
            write(option, params[option], text)
    except FleetError as error:
        fail(module, error)
    module.exit_json(changed=bool(stale), plan=data, table=_plan_text.rows(data), changes=_plan_diff.lines(changes),
                     text=params["notes"] + _plan_text.table(data) + _plan_diff.lines(changes, None if module._diff else _plan_diff.SHOWN), diff=shown)


def _locked(lock: _lock.Lock, name: str) -> _lock.LockedModel:
    if name not in lock.models:
        raise FleetError("The lock lacks a wanted model", f"lock, models.{name}", do="Complete it with localai.fleet.fleet_lock.")
    _lock.check_one_file(name, len(lock.models[name].files))
    return lock.models[name]


def _header(model: _lock.LockedModel) -> Header:
    """The header with the size of all the model's files."""
    return replace(Header.from_dict(model.header), file_size=model.size)


def _capacity(name: str, data: Any) -> Capacity:
    if not isinstance(data, dict):
        raise FleetError("A capacity is not a dictionary", f"capacities.{name}", type(data).__name__, "Read it with localai.fleet.capacity_facts.")
    try:
        return Capacity.from_dict(data)
    except FleetError as error:
        raise FleetError(error.what, f"capacities.{name}, {error.where}", error.got, error.do) from error


if __name__ == "__main__":
    main()
