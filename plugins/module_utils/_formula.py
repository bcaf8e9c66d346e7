# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Arithmetic that can be read afterwards: a whole number with the formula it came from, in names and in numbers.

The value and both texts are made by the same operation, so an explanation cannot differ from the result.
Both texts are Python expressions of `+ - * //`, `max` and `min`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Union

_SUM, _QUOTIENT, _PRODUCT, _ATOM = 1, 2, 3, 4
"""What an expression is, so that it gets brackets where it needs them."""


@dataclass(frozen=True)
class Formula:
    """`value`, its formula `text` with names, `numbers` the same with values; `parts` are the named formulas inside."""

    value: int
    text: str
    numbers: str
    level: int = _ATOM
    parts: tuple[tuple[str, Formula], ...] = ()

    def __add__(self, other: Number) -> Formula:
        right = formula(other)
        if not right.value and right.text == "0":
            return self
        if not self.value and self.text == "0":
            return right
        return _joined(self, "+", right, self.value + right.value, _SUM, False)

    def __radd__(self, other: int) -> Formula:
        return formula(other) + self

    def __sub__(self, other: Number) -> Formula:
        right = formula(other)
        return _joined(self, "-", right, self.value - right.value, _SUM, True)

    def __mul__(self, other: Number) -> Formula:
        right = formula(other)
        return self if right.text == "1" else _joined(self, "*", right, self.value * right.value, _PRODUCT, False)

    def __rmul__(self, other: int) -> Formula:
        return self if other == 1 else formula(other) * self

    def __floordiv__(self, other: Number) -> Formula:
        right = formula(other)
        return self if right.text == "1" else _joined(self, "//", right, self.value // right.value, _QUOTIENT, True)

    def called(self, name: str) -> Formula:
        """The same value under a name: one word in what it is used in, and a part with its own formula."""
        return Formula(self.value, name, str(self.value), _ATOM, ((name, self),))


Number = Union[int, Formula]


def named(name: str, value: int) -> Formula:
    """A number of the model or of the settings."""
    return Formula(value, name, str(value))


def formula(value: Number) -> Formula:
    """A plain number as it is."""
    return value if isinstance(value, Formula) else Formula(value, str(value), str(value))


def largest_of(values: Iterable[Number]) -> Formula:
    """`max(...)` of one or more."""
    return _called("max", max, [formula(value) for value in values])


def smallest_of(values: Iterable[Number]) -> Formula:
    """`min(...)` of one or more."""
    return _called("min", min, [formula(value) for value in values])


def rounded_up(value: Number, step: Number) -> Formula:
    """The next multiple of `step`, as an expression."""
    return (formula(value) + step - 1) // step * step


def _called(name: str, choose: object, values: list[Formula]) -> Formula:
    if len(values) == 1:
        return values[0]
    texts, numbers = (", ".join(getattr(value, form) for value in values) for form in ("text", "numbers"))
    return Formula(choose(value.value for value in values), f"{name}({texts})", f"{name}({numbers})", _ATOM, _parts(values))  # type: ignore[operator]


def _parts(values: Iterable[Formula]) -> tuple[tuple[str, Formula], ...]:
    """The parts of all, each name once."""
    return tuple({name: (name, part) for value in values for name, part in value.parts}.values())


def _joined(left: Formula, sign: str, right: Formula, value: int, level: int, strict: bool) -> Formula:
    """Two expressions and the sign between them; `strict` signs bracket an equal on their right."""
    texts = []
    for form in ("text", "numbers"):
        first, second = getattr(left, form), getattr(right, form)
        first = f"({first})" if left.level < level else first
        limit = _PRODUCT if level == _QUOTIENT else level
        second = f"({second})" if right.level < limit or (strict and right.level == limit) else second
        texts.append(f"{first} {sign} {second}")
    return Formula(value, texts[0], texts[1], level, _parts((left, right)))
