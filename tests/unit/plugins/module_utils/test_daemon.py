"""Settings of the Docker engine."""
from __future__ import annotations

import json

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _daemon
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

HARD = {"live-restore": True, "log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize(("existing", "user", "mirrors", "expected"), [
    ({}, {}, [], HARD),
    ({"live-restore": False}, {}, [], {**HARD, "live-restore": False}),
    ({"live-restore": False}, {"live-restore": True}, [], HARD),
    ({"data-root": "/srv"}, {"debug": True}, [], {**HARD, "data-root": "/srv", "debug": True}),
    ({"log-opts": {"max-size": "1m"}}, {}, [], {**HARD, "log-opts": {"max-size": "1m", "max-file": "3"}}),
    ({"log-driver": "journald"}, {}, [], {"live-restore": True, "log-driver": "journald"}),
    ({"log-driver": "json-file"}, {}, [], HARD),
    ({"log-driver": "syslog", "log-opts": {"tag": "x"}}, {"log-driver": "local"}, [], {"live-restore": True, "log-driver": "local"}),
    ({"registry-mirrors": ["https://a"]}, {}, ["https://b"], {**HARD, "registry-mirrors": ["https://b", "https://a"]}),
    ({"registry-mirrors": ["https://b"]}, {}, ["https://b"], {**HARD, "registry-mirrors": ["https://b"]}),
])
def test_merge(existing, user, mirrors, expected) -> None:
    assert _daemon.merge(HARD, json.dumps(existing), user, mirrors) == expected


def test_a_second_merge_changes_nothing() -> None:
    once = _daemon.merge(HARD, "", {"debug": True}, ["https://b"])
    assert _daemon.unchanged(_daemon.merge(HARD, _daemon.text(once), {"debug": True}, ["https://b"]), _daemon.text(once))


@pytest.mark.parametrize(("existing", "same"), [("", False), ('{"a":1}', True), ('{"a": 2}', False)])
def test_unchanged_compares_meaning(existing, same) -> None:
    assert _daemon.unchanged({"a": 1}, existing) is same


@pytest.mark.parametrize("existing", ["{", "[]", '"x"'])
def test_a_broken_file_is_a_sentence(existing) -> None:
    with pytest.raises(FleetError, match="JSON"):
        _daemon.merge(HARD, existing, {})
