# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Each number of a memory estimate with the formula it came from."""
from __future__ import annotations

from dataclasses import dataclass

from ._formula import Formula
from ._gguf import Header
from ._memory import Settings, formulas


@dataclass(frozen=True)
class Term:
    """One number: its name (a part of a term is `term.part`), bytes, the formula in names, and the same with values.

    Both texts are whole-number expressions (`+ - * //`, `max`, `min`); `values` evaluates to `bytes`. Parts count in
    whatever unit their formula has: most are bytes, cells and rows are tokens.
    """

    name: str
    bytes: int
    formula: str
    values: str


def explain(shape: Header, settings: Settings = Settings()) -> tuple[Term, ...]:
    """Every term of `estimate` in its order, each followed by its named parts, then the sums.

    Built on the very formulas that `estimate` evaluates. Raises `FleetError` as `estimate` does.
    """
    found: list[Term] = []
    for name, term in formulas(shape, settings).items():
        found.append(_term(name, term))
        found.extend(_term(f"{name}.{part}", inner) for part, inner in _parts(term))
    return tuple(found)


def _parts(term: Formula) -> list[tuple[str, Formula]]:
    """Named formulas inside, outermost first, each once."""
    found: dict[str, Formula] = {}
    waiting = list(term.parts)
    while waiting:
        name, part = waiting.pop(0)
        if name not in found:
            found[name] = part
            waiting.extend(part.parts)
    return list(found.items())


def _term(name: str, value: Formula) -> Term:
    return Term(name, value.value, value.text, value.numbers)
