# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The only place where engines and Ansible meet."""
from __future__ import annotations

from typing import Any, Mapping, NoReturn, Sequence

from ansible.module_utils.basic import AnsibleModule

from ._errors import FleetError


def fail(module: AnsibleModule, error: FleetError) -> NoReturn:
    """End a module with the error's sentence, and its parts under `failure`."""
    module.fail_json(msg=str(error), failure=error.as_dict())
    raise error  # fail_json does not return; this tells type checkers so


def diff(before: str, after: str, header: str) -> dict[str, Any]:
    """The `diff` value of a module's result: two texts under one header."""
    return {
        "before": before,
        "after": after,
        "before_header": header,
        "after_header": header,
    }


def told(lines: Sequence[str], header: str) -> dict[str, Any]:
    """The `diff` value of a result whose changes are told in lines of their own."""
    return {"prepared": "".join(f"{line}\n" for line in [f"{header}:", *(f"  {line}" for line in lines)] if lines)}


def diff_of_files(before: Mapping[str, str], after: Mapping[str, str | None], header: str) -> list[dict[str, Any]]:
    """The `diff` value of a result that changes several files: each of `after` with what it was; None is no file."""
    return [diff(before.get(name, ""), after[name] or "", f"{header}: {name}") for name in sorted(after)]
