"""What AWX is sent and what it says: schedules, surveys, notifications, workflows."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._awx import arrows, notifications, same, schedule_rule, survey
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

SLACK = {"name": "chat", "type": "slack", "token": "secret", "channels": ["#ai"]}
MAIL = {"name": "mail", "type": "email", "host": "smtp.example.com", "sender": "a@example.com", "recipients": ["b@example.com"]}
HOOK = {"name": "hook", "type": "webhook", "url": "https://hooks.example.com"}


@pytest.mark.parametrize(("given", "rule"), [
    ({"at": "03:00"}, "DTSTART;TZID=UTC:20260101T030000 RRULE:FREQ=DAILY;INTERVAL=1"),
    ({"at": "23:59", "timezone": "Europe/Berlin"}, "DTSTART;TZID=Europe/Berlin:20260101T235900 RRULE:FREQ=DAILY;INTERVAL=1"),
    ({"at": "00:05", "days": ["th", "MO"], "timezone": "Etc/GMT+5"},
     "DTSTART;TZID=Etc/GMT+5:20260101T000500 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TH"),
    ({"at": "02:30", "days": ["MO", "MO"]}, "DTSTART;TZID=UTC:20260101T023000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO"),
])
def test_a_schedule_is_one_rule(given: dict[str, Any], rule: str) -> None:
    assert schedule_rule(**given) == rule


@pytest.mark.parametrize(("given", "said"), [
    ({"at": "3:00"}, 'got 3:00. Write hours and minutes in quotes, as "03:00"'),
    ({"at": "24:00"}, "needs a time of day"),
    ({"at": 180}, "in quotes"),  # YAML 1.1 reads 03:00 without quotes as minutes
    ({"at": "03:00", "days": ["MO", "1TU"]}, "got 1TU. Use MO, TU"),
    ({"at": "03:00", "timezone": "Europe/Berlin RRULE:X"}, "name of a time zone"),
])
def test_a_schedule_that_is_none_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(FleetError, match=said):
        schedule_rule(**given)


def test_a_survey_has_every_field_and_requires_nothing() -> None:
    made = survey([{"variable": "context", "question": "Context?", "type": "integer", "min": 128, "max": 4096, "default": 256},
                   {"variable": "explain", "question": "?"}])
    assert made == {"name": "", "description": "", "spec": [
        {"variable": "context", "question_name": "Context?", "question_description": "", "type": "integer", "required": False, "min": 128, "max": 4096,
         "choices": [], "default": 256},
        {"variable": "explain", "question_name": "?", "question_description": "", "type": "text", "required": False, "min": 0, "max": 1024, "choices": []},
    ]}
    assert survey([]) == {}
    with pytest.raises(FleetError, match="unknown type .context.: got number"):
        survey([{"variable": "context", "question": "?", "type": "number"}])


def test_a_notification_has_every_field_that_awx_keeps() -> None:
    made = notifications([SLACK, {**MAIL, "security": "tls", "port": 465}, {**HOOK, "validate_certs": False, "events": ["started", "approval"]}], "fleet")
    assert made["wanted"] == [
        {"name": "fleet chat", "type": "slack", "configuration": {"token": "secret", "channels": ["#ai"]}},
        {"name": "fleet mail", "type": "email", "configuration": {
            "host": "smtp.example.com", "port": 465, "username": "", "password": "", "sender": "a@example.com", "recipients": ["b@example.com"],
            "timeout": 30, "use_tls": False, "use_ssl": True}},
        {"name": "fleet hook", "type": "webhook", "configuration": {
            "url": "https://hooks.example.com", "http_method": "POST", "username": "", "password": "", "headers": {}, "disable_ssl_verification": True}},
    ]
    assert made["events"] == {
        "started": ["fleet hook"], "success": [], "error": ["fleet chat", "fleet mail"], "approval": ["fleet chat", "fleet mail", "fleet hook"]}


@pytest.mark.parametrize(("wrong", "said"), [
    ({**SLACK, "token": None}, "lacks a field .notification chat.: got nothing. Give it token"),
    ({**SLACK, "channels": []}, "Give it channels"),
    ({**HOOK, "channels": ["#ai"]}, "no such field .notification hook.: got channels. It takes url"),
    ({**HOOK, "type": "irc"}, "got irc. Use webhook, slack, email"),
])
def test_a_notification_that_awx_would_refuse_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(FleetError, match=said) as caught:
        notifications([wrong], "fleet")
    assert "secret" not in str(caught.value)


def test_what_awx_has_is_compared_as_far_as_it_shows() -> None:
    wanted = notifications([SLACK], "fleet")["wanted"][0]
    there = {"name": "fleet chat", "notification_type": "slack", "notification_configuration": {"token": "$encrypted$", "channels": ["#ai"]}}
    assert same(there, wanted)
    assert not same({**there, "name": "other"}, wanted)
    assert not same({**there, "notification_type": "email"}, wanted)
    assert not same({**there, "notification_configuration": {"token": "$encrypted$", "channels": ["#ops"]}}, wanted)
    assert not same({**there, "notification_configuration": {"token": "$encrypted$"}}, wanted)
    assert not same({}, wanted)


def test_arrows_are_the_same_by_number_and_by_name() -> None:
    wanted = [{"identifier": "look", "success_nodes": ["ask"], "failure_nodes": ["tell"]}, {"identifier": "ask"}, {"identifier": "tell"}]
    there = [{"id": 5, "identifier": "tell", "success_nodes": [], "failure_nodes": [], "always_nodes": []},
             {"id": 7, "identifier": "look", "success_nodes": [9], "failure_nodes": [5], "always_nodes": []},
             {"id": 9, "identifier": "ask", "success_nodes": [], "failure_nodes": [], "always_nodes": []}]
    assert arrows(there) == arrows(wanted) == ["look failure tell", "look success ask"]
    assert arrows([{**there[1], "always_nodes": [4]}]) == ["look always 4", "look failure 5", "look success 9"], "of a step that is not among them"
