"""Brackets stand where Python needs them, so that a text evaluates to its value."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._formula import Formula, formula, largest_of, named, rounded_up, smallest_of

A, B, C = named("a", 7), named("b", 3), named("c", 2)


@pytest.mark.parametrize("made, text", [
    (A + B * C, "a + b * c"), ((A + B) * C, "(a + b) * c"), (A * (B + C), "a * (b + c)"), (A - (B - C), "a - (b - c)"), (A - B - C, "a - b - c"),
    (A - (B + C), "a - (b + c)"), (A * B // C, "a * b // c"), (A // B * C, "(a // b) * c"), (A * (B // C), "a * (b // c)"), (A // (B * C), "a // (b * c)"),
    (A // (B // C), "a // (b // c)"), ((A + B) // C, "(a + b) // c"), (4 * A + 2, "4 * a + 2"), (1 * A, "a"), (A * 1, "a"), (A // 1, "a"), (0 + A, "a"),
    (A + 0, "a"), (formula(0) + A, "a"), (sum([A, B], formula(0)), "a + b"), (largest_of((A, B + C, 9)), "max(a, b + c, 9)"),
    (smallest_of((A, B)) * C, "min(a, b) * c"), (largest_of([A]), "a"), (rounded_up(A, 4), "((a + 4 - 1) // 4) * 4")])
def test_text_and_value(made: Formula, text: str) -> None:
    assert made.text == text
    assert eval(made.text, {"max": max, "min": min, "a": 7, "b": 3, "c": 2}) == made.value == eval(made.numbers)


def test_a_named_formula_is_one_word_and_a_part() -> None:
    inner = (A + B).called("both")
    outer = (inner * C + inner).called("all")
    assert (outer.text, outer.numbers) == ("all", "30") and outer.value == 30
    assert [name for name, _part in outer.parts] == ["all"] and [name for name, _part in outer.parts[0][1].parts] == ["both"]
