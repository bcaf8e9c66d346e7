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
extends_documentation_fragment:
  - localai.fleet.attributes
  - localai.fleet.wanted
options:
  capacities:
    description: What each host can give, by name, as M(localai.fleet.capacity_facts) returns it. Measured threads in it count while they are valid.
    type: dict
    required: true
  wanted:
    required: true
  lock:
    description: The lock as M(localai.fleet.fleet_lock) returns it. It must hold every wanted model.
    type: dict
    required: true
  topology:
    description:
      - How the hosts form one service. V(auto) is sharded when a model is to be split, else standalone for one server and replicated for more.
      - V(federated) leaves memory to the front of LocalAI's federation on gateways. V(distributed) runs models on O(workers) behind frontends on
        O(servers), with the database and the messages on O(control).
    type: str
    choices: [auto, standalone, replicated, federated, sharded, distributed]
    default: auto
  placement:
    description: V(spread) puts replicas on the emptiest hosts, V(pack) on as few hosts as hold them.
    type: str
    choices: [spread, pack]
    default: spread
  servers:
    description: Names of the servers. All hosts that are neither O(workers) nor O(control) by default.
    type: list
    elements: str
  gateways:
    description: Names of the hosts that run the proxy. On a server that is a gateway too, some memory and a core are left to it.
    type: list
    elements: str
    default: []
  workers:
    description: Names of the hosts that compute layers of models with O(wanted[].shards), or all models of the topology V(distributed).
    type: list
    elements: str
    default: []
  control:
    description: Names of the hosts that run PostgreSQL and NATS in the topology V(distributed).
    type: list
    elements: str
    default: []
  labels:
    description: A list of labels for each host that has some.
    type: dict
    default: {}
  reserved_cores:
    description: For hosts that say so, the cores to leave to other programs. Without a word, one from four cores on, and one more on a gateway from eight on.
    type: dict
    default: {}
  round_trips:
    description: For workers of which it is known, milliseconds from their server and back. A worker that is more than 1 ms away is refused.
    type: dict
    default: {}
  refuse:
    description:
      - What happens when a wanted model fits on fewer servers than asked for.
      - V(fail) fails with the shortfall and what would fit. V(report) returns the plan of the rest.
    type: str
    choices: [fail, report]
    default: fail
  previous:
    description:
      - The plan that is deployed. The difference is against it, and what is placed stays where it is while it fits.
      - A plan made again from itself is the same.
    type: dict
  explain:
    description: A wanted model or an alias, whose numbers RV(explanation) shall tell.
    type: str
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
      description:
        - Models that a host cannot hold, with C(reason), the bytes C(short_by) that the host must have more, the options C(fits_with) that would
          make them fit (maybe none), and the hosts C(fits_on) that would hold them as they are.
        - A C(quant) among them is an estimate.
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
    - {host: ai1, instance: localai, model: llama-3.2-1b-instruct, threads: 7, context: 4096, slots: 2, memory_planned: 1300234240, memory_limit: 2443182080}
changes:
  description: What the plan changes in what is deployed, a line each; empty when O(previous) is not given.
  returned: success
  type: list
  elements: str
  sample: ["deployed: qwen3-8b on ai1, ai2: context 4096 → 8192"]
explanation:
  description:
    - For O(explain), how the model came to its numbers on each kind of host. Every term of memory with its formula and with values, then limits,
      threads and speed; empty without O(explain).
  returned: success
  type: list
  elements: str
text:
  description: O(notes) and the table as lines, followed by workers, refusals, warnings, advice and the first of RV(changes), in diff mode all.
  returned: success
  type: list
  elements: str
"""

import contextlib
import json
import os
import time
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _lock, _plan_diff, _plan_explain, _plan_html, _plan_text, _tuning
from ..module_utils._capacity import Capacity
from ..module_utils._errors import FleetError
from ..module_utils._explain import Term, explain
from ..module_utils._fleet import PLACEMENTS, SPREAD, TOPOLOGIES, Fleet, Model, model_of
from ..module_utils._form import MOST
from ..module_utils._given import amount, number, words
from ..module_utils._glue import diff, fail
from ..module_utils._needs import settings_of
from ..module_utils._placement import plan_fleet
from ..module_utils._plan import Plan
from ..module_utils._wanted import WantedModel, parse_wanted, wanted_spec


def argument_spec() -> dict[str, dict[str, Any]]:
    return {
        "capacities": {"type": "dict", "required": True},
        "wanted": {"type": "list", "elements": "dict", "required": True, "options": wanted_spec()},
        "lock": {"type": "dict", "required": True},
        "topology": {"type": "str", "choices": ["auto", *TOPOLOGIES], "default": "auto"},
        "placement": {"type": "str", "choices": list(PLACEMENTS), "default": SPREAD},
        "servers": {"type": "list", "elements": "str"},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "workers": {"type": "list", "elements": "str", "default": []},
        "control": {"type": "list", "elements": "str", "default": []},
        "labels": {"type": "dict", "default": {}},
        "reserved_cores": {"type": "dict", "default": {}},
        "round_trips": {"type": "dict", "default": {}},
        "refuse": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        "previous": {"type": "dict"},
        "explain": {"type": "str"},
        "notes": {"type": "list", "elements": "str", "default": []},
        "out": {"type": "path"},
        "out_html": {"type": "path"},
    }


def make_plan(params: dict[str, Any]) -> Plan:
    """Check the input and plan."""
    wanted = parse_wanted(params["wanted"])
    lock = _lock.validate(params["lock"])
    capacities = {name: Capacity.from_dict(data, f"capacities.{name}") for name, data in params["capacities"].items()}
    models = [_model(lock, model) for model in wanted]
    return plan_fleet(capacities, models, params["topology"], _fleet_of(params, capacities, lock))


def refuse_unmet(plan: Plan) -> None:
    """Fail for the first model that could not be placed as asked; the others are counted."""
    if not plan.unmet:
        return
    reasons = [item.reason for item in plan.refused if item.model == plan.unmet[0]]
    more = len(plan.refused) - 1
    others = f" {more} more refusal{'s' if more > 1 else ''}; refuse=report lists all." if more > 0 else ""
    raise FleetError(f"The plan cannot place {plan.unmet[0]} as asked: {reasons[0]}{others}"[:-1], do="Nothing was changed.")


def explained(params: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """How the model that is asked for came to its numbers; empty when none is."""
    if not params["explain"]:
        return []
    wanted = {model.name: model for model in parse_wanted(params["wanted"])}
    name = _plan_explain.find(params["explain"], {name: model.aliases for name, model in wanted.items()})
    model = _model(_lock.validate(params["lock"]), wanted[name])
    capacities = {host: Capacity.from_dict(data, f"capacities.{host}") for host, data in params["capacities"].items()}

    def terms(isa: tuple[str, ...]) -> tuple[Term, ...]:
        return explain(model.header, settings_of(model.wanted, model.header, isa, model.projector_size, model.projector_header))

    return _plan_explain.explanation(name, plan, capacities, terms, model.header)


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
        told = explained(params, data)
        for option, text in {} if module.check_mode else stale.items():
            write(option, params[option], text)
    except FleetError as error:
        fail(module, error)
    module.exit_json(changed=bool(stale), plan=data, table=_plan_text.rows(data), changes=_plan_diff.lines(changes), explanation=told,
                     text=params["notes"] + _plan_text.table(data) + _plan_diff.lines(changes, None if module._diff else _plan_diff.SHOWN), diff=shown)


def _model(lock: _lock.Lock, wanted: WantedModel) -> Model:
    """A wanted model as the lock has it."""
    if wanted.name not in lock.models:
        raise FleetError("The lock lacks a wanted model", f"lock, models.{wanted.name}", do="Complete it with localai.fleet.fleet_lock.")
    return model_of(wanted, lock.models[wanted.name])


def _fleet_of(params: dict[str, Any], capacities: dict[str, Capacity], lock: _lock.Lock) -> Fleet:
    """What the fleet is besides its capacities; measurements that are not valid leave a word."""
    tuning, ignored = _tuning.judged(capacities, lock.images, time.time())
    return Fleet(
        servers=params["servers"], gateways=params["gateways"], workers=params["workers"], control=params["control"],
        labels=_checked(params, "labels", lambda _where, text: words(text), _is_words, "a list of words"), placement=params["placement"],
        reserved_cores=_checked(params, "reserved_cores", number, lambda value: _is_number(value, int), "a whole number from 0 on"),
        round_trip_ms=_checked(params, "round_trips", amount, lambda value: _is_number(value, (int, float)), "a number of milliseconds"),
        tuning=tuning, ignored=ignored, previous=params["previous"])


def _checked(params: dict[str, Any], option: str, read: Callable[[str, Any], Any], test: Callable[[Any], bool], form: str) -> dict[str, Any]:
    """The entries of a dictionary by host that say something; texts, as a command line gives them, are what they stand for."""
    given = {host: read(f"{option}.{host}", value) if isinstance(value, str) else value
             for host, value in params[option].items() if value not in (None, "")}
    for host, value in given.items():
        if not test(value):
            raise FleetError(f"An entry of {option} has the wrong form", f"{option}.{host}", repr(value), f"Give {form}.")
    return given


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value <= MOST


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


if __name__ == "__main__":
    main()
