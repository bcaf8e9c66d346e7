# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The plan as lines for people. Pure Python; sizes in GiB here, and only here."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

GIB = 1 << 30
COLUMNS = ("host", "instance", "model", "threads", "context", "slots", "memory", "file", "limit")
LEFT = 3


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Table of the plan, then what was refused, warnings and advice.

    `memory` is anonymous memory and must be free; `file` is the part of the model's file kept in the page cache;
    `limit` is what the container may use.
    """
    lines = _aligned([COLUMNS, *_rows(plan)])
    lines += [f"refused: {item['reason']}" for item in plan.get("refused", ())]
    lines += [f"warning: {item.get('host') or 'fleet'}: {item['message']}" for item in plan.get("warnings", ())]
    return lines + [f"advice: {_words(item)}" for item in plan.get("advice", ())]


def gib(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / GIB:.2f} GiB"


def _rows(plan: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for host in sorted(plan["hosts"]):
        instances = plan["hosts"][host]["instances"]
        for instance in instances:
            rows += [_row(host, instance, model) for model in instance["models"]]
        if not instances:
            rows.append((host, "-", "-", "-", "-", "-", "-", "-", "-"))
    return rows


def _row(host: str, instance: Mapping[str, Any], model: Mapping[str, Any]) -> Sequence[str]:
    memory = model["memory"]
    return (
        host, instance["name"], model["name"], str(model["threads"]), str(model["context"]), str(model["slots"]),
        gib(memory["anonymous"]), gib(memory["file_backed"]), gib(instance["memory_limit"]),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) if at < LEFT else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def _words(item: Any) -> str:
    return str(item.get("message", item)) if isinstance(item, Mapping) else str(item)
