"""Secrets that are made once."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _secret
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

OLD, GIVEN = "a" * 32, "from-the-vault-0123"


@pytest.mark.parametrize(("given", "found", "expected"), [
    (None, OLD, (OLD, False)), ("", OLD, (OLD, False)), (GIVEN, OLD, (GIVEN, True)), (GIVEN, GIVEN, (GIVEN, False)), (GIVEN, None, (GIVEN, True)),
])
def test_decide(given, found, expected) -> None:
    assert _secret.decide(given, found, "file") == expected


def test_a_new_one_is_long_and_new() -> None:
    first, change = _secret.decide(None, None, "file")
    assert change and len(first) == 64 and first != _secret.decide(None, None, "file")[0]


@pytest.mark.parametrize("bad", ["short", "with blank 0123456789", "with,comma0123456789", "quote'0123456789abc"])
def test_a_bad_form_is_told_without_the_secret(bad) -> None:
    for given, found in ((bad, None), (None, bad)):
        with pytest.raises(FleetError) as error:
            _secret.decide(given, found, "file")
        assert bad not in str(error.value)


def test_a_short_one_is_refused() -> None:
    with pytest.raises(FleetError, match="too short"):
        _secret.generate(8)
