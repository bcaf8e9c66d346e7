# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What AWX is sent, and what it says: schedules, surveys, notifications and workflows in the forms of its API (AWX 24.6). Pure Python."""
from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from ._errors import FleetError

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
EVENTS = ("started", "success", "error", "approval")
OUTCOMES = ("success", "failure", "always")
QUESTION_TYPES = ("text", "textarea", "integer", "float", "multiplechoice", "multiselect")
ENCRYPTED = "$encrypted$"
"""What AWX shows instead of a secret."""
FIRST_DAY = "20260101"
"""A rule begins on a day that never moves, so that the same schedule is the same text in every run."""
_TIME = re.compile(r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
# Fields of a notification that AWX wants, with the default of those that the user may leave out (None: must be given).
_FIELDS: dict[str, dict[str, Any]] = {
    "webhook": {"url": None, "http_method": "POST", "username": "", "password": "", "headers": {}},
    "slack": {"token": None, "channels": None},
    "email": {"host": None, "port": 25, "username": "", "password": "", "sender": None, "recipients": None, "timeout": 30},
}
_OURS = {"webhook": {"validate_certs": True}, "slack": {}, "email": {"security": "none"}}
_COMMON = ("name", "type", "events")


def schedule_rule(at: str, days: Sequence[str] = (), timezone: str = "UTC") -> str:
    """The recurrence rule of a schedule, as AWX validates it: one DTSTART with its zone, one RRULE with an INTERVAL.

    `at` is HH:MM in `timezone` (a name of the IANA database); `days` are two letters each, none of them means every day. FleetError for others.
    """
    time = _TIME.fullmatch(str(at))
    if not time:
        raise FleetError("A schedule needs a time of day", "at", str(at), 'Write hours and minutes in quotes, as "03:00".')
    if not _ZONE.fullmatch(str(timezone)):
        raise FleetError("A schedule needs the name of a time zone", "timezone", str(timezone), "Write it as Europe/Berlin or UTC.")
    named = [str(day).upper() for day in days]
    wrong = [day for day in named if day not in DAYS]
    if wrong:
        raise FleetError("A schedule has a day that is none", "days", ", ".join(wrong), f"Use {', '.join(DAYS)}.")
    ordered = [day for day in DAYS if day in named]
    rule = f"FREQ=WEEKLY;INTERVAL=1;BYDAY={','.join(ordered)}" if ordered else "FREQ=DAILY;INTERVAL=1"
    return f"DTSTART;TZID={timezone}:{FIRST_DAY}T{time['hour']}{time['minute']}00 RRULE:{rule}"


def survey(questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The survey of a job template; empty for no question.

    A question has `variable` and `question`, and may have `help`, `type` (text), `choices`, `default`, `min` and `max`. None is required: AWX
    passes no variable for an answer that is left empty and has no default, and a schedule needs no answers.
    """
    return {"name": "", "description": "", "spec": [_question(one) for one in questions]} if questions else {}


def _question(one: Mapping[str, Any]) -> dict[str, Any]:
    kind = one.get("type", "text")
    if kind not in QUESTION_TYPES:
        raise FleetError("A survey has a question of an unknown type", str(one.get("variable")), str(kind), f"Use {', '.join(QUESTION_TYPES)}.")
    made = {
        "variable": one["variable"], "question_name": one["question"], "question_description": one.get("help", ""), "type": kind, "required": False,
        "min": one.get("min", 0), "max": one.get("max", 1024 if kind == "text" else 1 << 20), "choices": list(one.get("choices", [])),
    }
    return {**made, "default": one["default"]} if "default" in one else made


def notifications(wanted: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """`wanted`: a list of `name`, `type` and `configuration` with every field that AWX keeps; `events`: names by event.

    `prefix` begins the names. A notification without `events` tells of errors and of proposals that wait for an approval. FleetError names a
    field that is missing or that the type does not have.
    """
    made = [_notification(one, prefix) for one in wanted]
    chosen = [(entry["name"], one.get("events") or ("error", "approval")) for entry, one in zip(made, wanted)]
    return {"wanted": made, "events": {event: [name for name, events in chosen if event in events] for event in EVENTS}}


def _notification(one: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    name, kind = one["name"], one["type"]
    where = f"notification {name}"
    if kind not in _FIELDS:
        raise FleetError("A notification has a type that is not known here", where, str(kind), f"Use {', '.join(_FIELDS)}.")
    given = {key: value for key, value in one.items() if key not in _COMMON and value is not None}
    strange = sorted(set(given) - set(_FIELDS[kind]) - set(_OURS[kind]))
    if strange:
        raise FleetError(f"A notification of type {kind} has no such field", where, ", ".join(strange), f"It takes {', '.join(_takes(kind))}.")
    filled = {**_FIELDS[kind], **{key: value for key, value in given.items() if key in _FIELDS[kind]}}
    missing = [key for key, value in filled.items() if value is None or value == []]
    if missing:
        raise FleetError(f"A notification of type {kind} lacks a field", where, "nothing", f"Give it {', '.join(missing)}.")
    return {"name": f"{prefix} {name}", "type": kind, "configuration": {**filled, **_switches(kind, {**_OURS[kind], **given})}}


def _takes(kind: str) -> list[str]:
    return [*_FIELDS[kind], *_OURS[kind]]


def _switches(kind: str, given: Mapping[str, Any]) -> dict[str, bool]:
    """AWX's own words for what is said in one word here."""
    if kind == "webhook":
        return {"disable_ssl_verification": not given["validate_certs"]}
    if kind == "email":
        return {"use_tls": given["security"] == "starttls", "use_ssl": given["security"] == "tls"}
    return {}


def same(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether AWX's notification template says what is `wanted`, as far as can be seen: a secret that AWX hides counts as the same."""
    shown, configuration = existing.get("notification_configuration", {}), wanted["configuration"]
    return (existing.get("name"), existing.get("notification_type")) == (wanted["name"], wanted["type"]) and set(shown) == set(configuration) and all(
        shown[key] in (ENCRYPTED, value) for key, value in configuration.items())


def arrows(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What follows what in a workflow, one text an arrow, as `review failure verify`, sorted.

    `steps` have an `identifier`, and in `success_nodes`, `failure_nodes` and `always_nodes` what follows: by `id` as AWX has them, or by identifier.
    """
    names = {step["id"]: step["identifier"] for step in steps if "id" in step}
    return sorted(f"{step['identifier']} {outcome} {names.get(to, to)}" for step in steps for outcome in OUTCOMES for to in step.get(f"{outcome}_nodes", ()))
