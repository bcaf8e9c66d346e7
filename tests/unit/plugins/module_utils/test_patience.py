"""What a server asks to wait, and when to stop."""
from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _patience
from ansible_collections.localai.fleet.plugins.module_utils._patience import Patience, asked_wait

NOW = 1_800_000_000.0


@pytest.mark.parametrize("headers, expected", [
    ({}, None), ({"Retry-After": "7"}, 7), ({"retry-after": " 0 "}, 0), ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30),
    ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0), ({"Retry-After": "soon"}, None), ({"Retry-After": "-3"}, None), ({"Retry-After": "9" * 40}, None),
    ({"RateLimit": '"api";r=0;t=55'}, 56), ({"ratelimit": '"resolvers"; r=0; t=1', "Retry-After": "9"}, 2),
    ({"RateLimit": '"api";r=3;t=55', "Retry-After": "9"}, 9),
    ({"RateLimit": "nonsense"}, None),
])
def test_what_is_asked(headers, expected):
    assert asked_wait(headers, NOW) == expected


def test_a_date_that_python_trips_over_names_no_time(monkeypatch):
    def as_python_3_9(text):
        raise IndexError(text[0:0])

    monkeypatch.setattr(_patience, "parsedate_to_datetime", as_python_3_9)
    assert asked_wait({"Retry-After": "Apr 0000 , +0800"}, NOW) is None


def test_patience_ends_by_tries_and_by_time(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    patience = Patience(10)
    assert [patience.wait(attempt, None) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, None]
    assert patience.wait(1, 10) == 10 and patience.wait(1, 10.5) is None and patience.wait(4, 0) is None
    patience.spend(4)
    assert slept == [4] and patience.wait(1, 7) is None and patience.wait(1, 6) == 6
    assert Patience(0).wait(1, None) is None and Patience(0).wait(1, 0) == 0
