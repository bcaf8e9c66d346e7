# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions of a run of plan.yml."""
from __future__ import annotations

DOCUMENTATION = r"""
name: questions
author: localai.fleet contributors (@localai-fleet)
version_added: 0.1.0
short_description: What a run of plan.yml is asked by extra variables
description:
  - Returns the extra variables of this run that are questions to the plan, checked, and the content of the files that they name.
  - Only extra variables (C(-e)) are looked at, so that an inventory may use the same short names for something else.
  - The questions are V(explain), V(offline), V(topology), V(add_hosts), V(remove_hosts), V(model), and, of that model or of all,
    V(source), V(quant), V(file), V(sha256), V(context), V(slots), V(kv_type), V(prompt_cache_mib) and V(replicas), and of that model V(shards), V(0) for none.
options:
  _terms:
    description: None.
"""

EXAMPLES = r"""
- name: Tell what was asked
  ansible.builtin.debug:
    var: lookup('localai.fleet.questions')
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(names), the questions asked, C(explain), C(offline), C(topology), C(what_if), whether something else than
      what is wanted and there is planned, C(slips), a sentence for each variable that is almost a question, C(refused), empty or a
      sentence that says why a question cannot be meant, and C(variables) and C(files) for the filter P(localai.fleet.imagined#filter).
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._what_if import QUESTIONS, Asked, is_file, names_asked, questions, slips


def content(path: str) -> Any:
    """What a file of capacities holds, JSON or YAML. FleetError when it cannot be read."""
    try:
        return yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetError("A file of capacities cannot be read", f"add_hosts {path}", error.strerror or str(error), "Check its path.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise FleetError("A file of capacities is neither JSON nor YAML", f"add_hosts {path}", " ".join(str(error).split()), "Correct it.") from error


class LookupModule(LookupBase):
    """Reads no variable of the inventory."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        given = load_extra_vars(self._loader)
        asked, files, refused = Asked(), {}, ""
        try:
            asked = questions(given)
            files = {kind: content(kind) for _count, kind in asked.add_hosts if is_file(kind)}
        except FleetError as error:
            refused = str(error)
        return [{
            "names": names_asked(given), "explain": asked.explain, "offline": asked.offline, "topology": asked.topology, "what_if": asked.what_if,
            "variables": {name: given[name] for name in QUESTIONS if name in given}, "files": files, "slips": slips(given), "refused": refused}]
