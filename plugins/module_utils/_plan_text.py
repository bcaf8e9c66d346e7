# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A plan for people: rows, a table, and the text that diffs compare."""
from __future__ import annotations

import json
from typing import Any, Mapping

from ._plan import INSTANCE, alike, gib

COLUMNS = ("host", "instance", "model", "threads", "context", "slots", "memory_planned", "memory_limit")


def rows(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a model and host, by host; sizes in bytes.

    `memory_planned` is what the model takes besides its file; `memory_limit` is that of its whole instance.
    """
    return [
        {"host": host, "instance": instance["name"], "model": model["name"], "threads": model["threads"], "context": model["context"], "slots": model["slots"],
         "memory_planned": model["memory"]["anonymous"], "memory_limit": instance["memory_limit"]}
        for host, entry in sorted(plan["hosts"].items()) for instance in entry["instances"] for model in instance["models"]]


def table(plan: Mapping[str, Any]) -> list[str]:
    """The rows as aligned lines with a heading, then workers, refusals, warnings and advice. Instances are named where a host has others than one."""
    found = rows(plan)
    columns = [name for name in COLUMNS if name != "instance" or any(row["instance"] != INSTANCE for row in found)]
    cells = [[name.replace("_", " ") for name in columns]] + [[_cell(name, row[name]) for name in columns] for row in found]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]
    return lines + _workers(plan) + notes(plan)


def _workers(plan: Mapping[str, Any]) -> list[str]:
    return [f"worker: {host}: {worker['layers']} layers of {worker['model']}, threads {worker['threads']}, memory limit {gib(worker['memory_limit'])}"
            for host, entry in sorted(plan["hosts"].items()) for worker in entry.get("workers") or []]


def notes(plan: Mapping[str, Any]) -> list[str]:
    """Refusals, warnings and advice, a line each; what is said of several hosts is said once."""
    found = [f"refused: {item['reason']}" for item in plan["refused"]]
    found += [f"warning: {hosts}: {message}" for hosts, message in alike(plan["warnings"])]
    return found + [f"advice: {text}" for text in plan["advice"]]


def text(plan: Mapping[str, Any]) -> str:
    """The whole plan as stable JSON with a line break at the end; empty for no plan."""
    return json.dumps(plan, indent=1, sort_keys=True) + "\n" if plan else ""


def _cell(name: str, value: Any) -> str:
    return gib(value) if name.startswith("memory") else str(value)
