# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Settings of the Docker engine: ours below those of the host, those below the user's. Pure Python."""
from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from ._errors import FleetError

# Keys that only make sense together: whoever sets the first one decides the others too.
UNITS = {"log-driver": ("log-opts",)}
# Lists of which every layer's items are kept, ours last.
UNITED = ("registry-mirrors", "insecure-registries")


def merge(hardened: Mapping[str, Any], existing: str, user: Mapping[str, Any], mirrors: Sequence[str] = ()) -> dict[str, Any]:
    """The settings to write: `hardened`, over them the host's file, over that the `user` wants.

    `existing` is the text of the host's daemon.json, empty when there is none. Mappings such as log-opts are merged
    key by key unless their unit changed hands. FleetError for a file that is no JSON object.
    """
    result = _over(dict(hardened), parse(existing))
    result = _over(result, {"registry-mirrors": list(mirrors)} if mirrors else {})
    return _over(result, user)


def text(settings: Mapping[str, Any]) -> str:
    """The settings as the file holds them."""
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def unchanged(settings: Mapping[str, Any], existing: str) -> bool:
    """Whether the host's file already says the same, whatever its layout."""
    return bool(existing.strip()) and parse(existing) == dict(settings)


def parse(existing: str) -> dict[str, Any]:
    """The settings of a daemon.json; an empty file holds none."""
    try:
        found = json.loads(existing) if existing.strip() else {}
    except ValueError as error:
        raise FleetError("The engine's settings are not JSON", "/etc/docker/daemon.json", str(error),
                         "Correct or remove the file.") from error
    if not isinstance(found, dict):
        raise FleetError("The engine's settings are no JSON object", "/etc/docker/daemon.json", type(found).__name__,
                         "Correct or remove the file.")
    return found


def _over(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for leader, followers in UNITS.items():
        if leader in high and high[leader] != low.get(leader):
            for follower in followers:
                result.pop(follower, None)
    for key, value in high.items():
        result[key] = _joined(key, result.get(key), value)
    return result


def _joined(key: str, low: Any, high: Any) -> Any:
    if isinstance(low, dict) and isinstance(high, Mapping):
        return {**low, **high}
    if key in UNITED and isinstance(low, list):
        return [*high, *[item for item in low if item not in high]]
    return high
